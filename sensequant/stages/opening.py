"""Opening a run: its folder, its frozen settings, and the record of who runs it where."""

import re
from datetime import datetime
from functools import cache
from importlib.metadata import version

from sensequant.errors import ConfigError
from sensequant.runs import RunFolder, make_run_id
from sensequant.stages.context import Run, RunRecord, RunSettings, load_run, read_settings
from sensequant.storage import write_json

__all__ = ["library_versions", "name_run", "open_run"]

_LIBRARIES = (
    "prefect",
    "polars",
    "pyarrow",
    "numpy",
    "scipy",
    "lightgbm",
    "scikit-learn",
    "arch",
    "statsmodels",
)


def name_run(started_at: datetime, unique: str) -> str:
    """Return the id of a new run from its scheduled start and a unique text of hex digits."""
    return make_run_id(started_at, re.sub(r"[^0-9a-f]", "", unique))


def open_run(folder: RunFolder, settings: RunSettings, record: RunRecord) -> Run:
    """Make a run's folder, or open it again if it was made for the very same settings.

    A file of symbols is read here, once: the run keeps its symbols, not its name.

    Raises
    ------
    ConfigError
        The run exists with other settings: its artifacts would not belong to them.
    """
    settings = settings.model_copy(update={"request": settings.request.resolved()})
    if folder.config.exists():
        stored = read_settings(folder)
        if stored != settings:
            raise ConfigError(
                "run exists with other settings",
                where=str(folder.config),
                expected="the request and configuration that the run was opened with",
                found="different ones",
                remedy="leave out the run id to open a new run",
            )
    else:
        write_json(folder.config, settings)
    write_json(folder.run, record)
    return load_run(folder)


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that a result may depend on."""
    return dict(_versions())


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    # Every unit's key asks, and the answer lies in many files.
    return tuple((name, version(name)) for name in _LIBRARIES)
