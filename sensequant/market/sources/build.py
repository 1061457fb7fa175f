"""Which source of bars a run uses.

Belongs here: the configuration of a source and the one place that turns it into a source. Does not
belong here: the sources.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from sensequant.errors import ConfigError
from sensequant.market.sources.base import BarSource
from sensequant.market.sources.files.source import FilesSource
from sensequant.market.sources.simulated import SimulatedConfig, SimulatedSource
from sensequant.records import Config

__all__ = ["SourceConfig", "build_source"]


class SourceConfig(Config):
    """Where bars come from; settings of another kind of source are refused."""

    kind: Literal["simulated", "files"] = Field(
        default="simulated",
        description="simulated: a seeded market, for trials and tests; files: a folder of CSV "
        "files that somebody fetched",
    )
    folder: Path | None = Field(
        default=None,
        description="files only: folder with SYMBOL.csv or SYMBOL.csv.gz, or with "
        "SYMBOL/1day/YYYY-MM-DD.csv",
    )
    index_folder: Path | None = Field(
        default=None,
        description="files only: folder with index files; empty looks for `index` inside and "
        "beside the folder",
    )
    actions_path: Path | None = Field(
        default=None,
        description="files only: Parquet with corporate actions; empty looks for "
        "`corporate_actions/corporate_actions.parquet` inside and beside the folder",
    )
    simulated: SimulatedConfig | None = Field(
        default=None,
        description="simulated only: settings of the simulated market; empty takes their defaults",
    )

    @model_validator(mode="after")
    def _settings_belong_to_the_kind(self) -> Self:
        foreign = {
            "simulated": ("folder", "index_folder", "actions_path"),
            "files": ("simulated",),
        }[self.kind]
        given = [name for name in foreign if getattr(self, name) is not None]
        if given:
            raise ConfigError(
                "settings belong to another kind of source",
                where=", ".join(given),
                expected=f"settings of kind {self.kind}",
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


def build_source(config: SourceConfig) -> BarSource:
    """Return the source that the configuration names.

    Raises
    ------
    ConfigError
        A folder or file is missing or holds no bars.
    """
    if config.folder is None:
        return SimulatedSource(config.simulated or SimulatedConfig())
    return FilesSource(
        config.folder, index_folder=config.index_folder, actions_path=config.actions_path
    )
