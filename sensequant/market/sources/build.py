"""Which source of bars a run uses.

Belongs here: the configuration of a source, and the sources that need nothing but it. Does not
belong here: the sources, nor what a vendor's source needs besides (login, pace, list of securities;
`sensequant.ingestion.opening`).
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from sensequant.errors import ConfigError
from sensequant.market.sources.base import BarSource
from sensequant.market.sources.breeze.config import BreezeConfig
from sensequant.market.sources.files.source import FilesSource
from sensequant.market.sources.simulated import SimulatedConfig, SimulatedSource
from sensequant.records import Config

__all__ = ["SourceConfig", "SourceKind", "build_source"]

SourceKind = Literal["simulated", "files", "breeze-simulator", "breeze"]

_FILES = ("folder", "index_folder", "actions_path")
_SETTINGS_OF: dict[SourceKind, tuple[str, ...]] = {
    "simulated": ("simulated",),
    "files": _FILES,
    "breeze": ("breeze", "credentials_block", "actions_path"),
    "breeze-simulator": ("breeze", "simulated", *_FILES),
}


class SourceConfig(Config):
    """Where bars come from; settings of another kind of source are refused."""

    kind: SourceKind = Field(
        default="simulated",
        description="simulated: a seeded market, for trials and tests; files: a folder of CSV "
        "files that somebody fetched; breeze: the ICICI Breeze API; breeze-simulator: the same "
        "through the vendor's SDK, from a server on this machine, without credentials",
    )
    folder: Path | None = Field(
        default=None,
        description="files, breeze-simulator: folder with SYMBOL.csv or SYMBOL.csv.gz, with "
        "SYMBOL/1day/YYYY-MM-DD.csv, or with NSE's bhavcopies",
    )
    index_folder: Path | None = Field(
        default=None,
        description="files, breeze-simulator: folder with index files; empty looks for `index` "
        "inside and beside the folder",
    )
    actions_path: Path | None = Field(
        default=None,
        description="all but simulated: NSE's list of corporate actions; empty looks for "
        "`corporate_actions/corporate_actions.parquet` inside and beside the folder",
    )
    simulated: SimulatedConfig | None = Field(
        default=None,
        title="Simulated",
        description="simulated, breeze-simulator: settings of the simulated market; empty takes "
        "their defaults",
    )
    breeze: BreezeConfig | None = Field(
        default=None,
        title="Breeze",
        description="breeze, breeze-simulator: sizes of chunks, pace, retries; empty takes their "
        "defaults, and lets the simulator answer as fast as it can",
    )
    credentials_block: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9-]+$",
        description="breeze only: name of a block of type Breeze Credentials; empty takes the "
        "environment's login, else the block `breeze`",
    )

    @model_validator(mode="after")
    def _settings_belong_to_the_kind(self) -> Self:
        own = _SETTINGS_OF[self.kind]
        names = [name for name in type(self).model_fields if name != "kind"]
        given = [name for name in names if name not in own and getattr(self, name) is not None]
        if given:
            raise ConfigError(
                "settings belong to another kind of source",
                where=", ".join(given),
                expected=f"settings of kind {self.kind}: {', '.join(own)}",
                found=", ".join(f"{name}={getattr(self, name)}" for name in given),
                remedy="leave them out or change kind",
            )
        if self.kind == "files" and self.folder is None:
            raise ConfigError(
                "no folder to read files from",
                where="folder",
                expected="a folder with bars",
                found="nothing",
                remedy="name the folder",
            )
        return self

    @model_validator(mode="after")
    def _simulator_serves_one_market(self) -> Self:
        if self.folder is not None and self.simulated is not None:
            raise ConfigError(
                "simulator cannot serve two markets",
                where="folder and simulated",
                expected="a folder of bars or a simulated market",
                found="both",
                remedy="keep one",
            )
        return self

    @model_validator(mode="after")
    def _indices_stand_beside_a_folder(self) -> Self:
        if self.index_folder is not None and self.folder is None:
            raise ConfigError(
                "indices belong to a folder of bars",
                where="index_folder",
                expected="folder, too",
                found="index_folder alone",
                remedy="name the folder, or leave index_folder out",
            )
        return self

    @property
    def is_vendor(self) -> bool:
        """Whether the bars come through the vendor's SDK, from the vendor or a simulator of it."""
        return self.kind in {"breeze", "breeze-simulator"}

    @property
    def options(self) -> str:
        """How the source is named on a command line."""
        words = [f"--source {self.kind}"]
        words += [] if self.folder is None else [f"--data {self.folder}"]
        words += [] if self.credentials_block is None else [f"--block {self.credentials_block}"]
        return " ".join(words)

    @property
    def is_simulated(self) -> bool:
        """Whether what comes is marked as simulated."""
        return self.kind in {"simulated", "breeze-simulator"}


def build_source(config: SourceConfig) -> BarSource:
    """Return the source that the configuration names, where nothing else is needed for it.

    Raises
    ------
    ConfigError
        A folder or file is missing or holds no bars, or the source is a vendor's.
    """
    if config.is_vendor:
        raise ConfigError(
            "source needs a login and a pace",
            where="kind",
            expected="simulated or files",
            found=config.kind,
            remedy="open it with sensequant.ingestion.opening",
        )
    if config.folder is None:
        return SimulatedSource(config.simulated or SimulatedConfig())
    return FilesSource(
        config.folder, index_folder=config.index_folder, actions_path=config.actions_path
    )
