"""Facts about the opening of a run: its name, what is frozen, what is refused."""

from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pytest

from sensequant.errors import ConfigError
from sensequant.runs import Stage
from sensequant.settings import RunRequest
from sensequant.stages.context import Run, RunSettings
from sensequant.stages.opening import library_versions, name_run
from sensequant.storage import read_json


def test_the_name_of_a_run_is_its_start_and_eight_hex_digits() -> None:
    """Whatever is no hexadecimal digit is left out of the unique text."""
    name = name_run(datetime(2025, 3, 4, 5, 6, 7, tzinfo=UTC), "xyz-1a2b3c4d-5e6f")

    assert name == "live_candidate_20250304_050607_1a2b3c4d"


def test_the_settings_are_frozen_and_the_record_says_who_runs(
    start: Callable[..., Run], settings: RunSettings, tmp_path: Path
) -> None:
    """`config.json` holds the request and the method; options and host stand in `run.json`."""
    run = start(tmp_path, settings, workers=3, stages=("data_ingestion",))

    assert RunSettings.model_validate(read_json(run.folder.config)) == settings
    assert run.record.host == "test"
    assert run.record.workers == 3
    assert run.stages == (Stage.DATA_INGESTION,)
    assert run.record.outcome is None


def test_the_same_settings_open_the_same_run_again(
    start: Callable[..., Run], settings: RunSettings, tmp_path: Path
) -> None:
    """The settings keep their bytes; the record is that of the new attempt."""
    before = start(tmp_path, settings).folder.config.read_bytes()

    run = start(tmp_path, settings, workers=7)

    assert run.folder.config.read_bytes() == before
    assert run.record.workers == 7


def test_other_settings_are_refused(
    start: Callable[..., Run], settings: RunSettings, tmp_path: Path
) -> None:
    """A run's artifacts belong to one request and one method; nothing of it changes."""
    run = start(tmp_path, settings)
    before = run.folder.run.read_bytes()
    other = settings.model_copy(
        update={"config": settings.config.model_copy(update={"seed": settings.config.seed + 1})}
    )

    with pytest.raises(ConfigError, match="run exists with other settings") as caught:
        start(tmp_path, other, workers=9)

    assert "leave out the run id" in caught.value.remedy
    assert run.folder.run.read_bytes() == before


def test_a_file_of_symbols_is_read_when_the_run_is_opened(
    start: Callable[..., Run], settings: RunSettings, tmp_path: Path
) -> None:
    """The run keeps the symbols and not the name of a file, which may be changed or removed."""
    listed = tmp_path / "symbols.txt"
    listed.write_text("SIM02\nSIM01 # both\n")
    request = RunRequest(symbols_file=listed, source=settings.request.source)
    asked = settings.model_copy(update={"request": request})

    run = start(tmp_path / "home", asked)
    listed.write_text("SIM03\n")

    assert run.request.symbols == ("SIM02", "SIM01")
    assert run.request.title == "SIM02, SIM01"
    with pytest.raises(ConfigError, match="run exists with other settings"):
        start(tmp_path / "home", asked)


def test_library_versions_are_those_installed() -> None:
    """Every library that can change a number is named with its version."""
    found = library_versions()

    assert {"polars", "numpy", "lightgbm", "scipy", "arch", "prefect"} <= found.keys()
    assert found == {name: version(name) for name in found}
