"""Facts about what a stage reads of a run."""

from collections.abc import Callable
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from sensequant.errors import ConfigError, RecordError
from sensequant.ingestion.places import store_at
from sensequant.market.sources.build import SourceConfig
from sensequant.market.sources.simulated import SimulatedConfig
from sensequant.market.symbols import NIFTY50_TRI
from sensequant.runs import RunFolder, Stage
from sensequant.stages.context import Run, RunSettings, load_run
from sensequant.storage import read_json, write_json


def test_a_run_says_what_was_asked(whole: Run, settings: RunSettings) -> None:
    """All eight stages, the request and the configuration as given."""
    assert whole.stages == tuple(Stage)
    assert whole.request == settings.request
    assert whole.config == settings.config
    assert whole.symbols == ["SIM01", "SIM02", "SIM03"]


def test_windows_come_by_symbol_and_time(whole: Run) -> None:
    """Windows of a symbol follow each other without gap or overlap, up to the last day asked."""
    windows = whole.windows_of("SIM01")

    assert windows[0].start == date(2022, 1, 1)
    assert windows[-1].end == date(2023, 6, 30)
    assert {later.start - former.end for former, later in pairwise(windows)} == {timedelta(days=1)}
    assert [planned.window for planned in whole.windows] == [
        window for symbol in whole.symbols for window in whole.windows_of(symbol)
    ]


def test_a_window_is_found_by_its_short_name(whole: Run) -> None:
    """Anything that is not planned is refused, with the place of the plan."""
    window = whole.windows_of("SIM02")[1]

    assert whole.window("SIM02", window.short).window == window
    with pytest.raises(RecordError, match="window is not planned") as caught:
        whole.window("SIM02", "1999-01-01..1999-06-30")
    assert caught.value.where == str(whole.folder.plan)


def test_the_benchmark_is_none_where_no_file_stands(
    whole: Run, start: Callable[..., Run], settings: RunSettings, tmp_path: Path
) -> None:
    """A run without benchmark bars has none, and invents none."""
    assert whole.benchmark is not None
    assert whole.benchmark["symbol"].unique().to_list() == [NIFTY50_TRI]
    assert start(tmp_path, settings).benchmark is None


def test_scenarios_are_those_that_the_settings_select(whole: Run) -> None:
    """By default the extreme and high ones."""
    assert {scenario.severity for scenario in whole.scenarios} == {"extreme", "high"}


def test_a_record_tells_its_seconds_once_it_ended(whole: Run) -> None:
    """The shared run ends at the instant at which it began; a running one has no duration."""
    assert whole.record.seconds == 0.0
    later = whole.record.model_copy(
        update={"ended_at": whole.record.started_at + timedelta(seconds=90)}
    )
    assert later.seconds == 90.0
    assert later.model_copy(update={"ended_at": None}).seconds is None


def test_an_unknown_run_is_refused(tmp_path: Path) -> None:
    """There must be a configuration in the folder."""
    with pytest.raises(ConfigError, match="run is unknown"):
        load_run(RunFolder(tmp_path, "live_candidate_20250101_000000_00000000"))


def test_settings_of_another_version_are_refused_by_name(copied: Run) -> None:
    """A value that this version forbids is named, with what to do; the file stays as it is."""
    stored = read_json(copied.folder.config)
    stored["config"]["teacher"]["booster"]["num_leaves"] = 1
    write_json(copied.folder.config, stored)
    before = copied.folder.config.read_bytes()

    with pytest.raises(RecordError, match=r"booster\.num_leaves.*open a new run"):
        load_run(copied.folder)

    assert copied.folder.config.read_bytes() == before


def test_a_run_is_read_again_when_its_plan_changes(copied: Run) -> None:
    """The same object serves all units of a stage, and never survives a new plan."""
    assert load_run(copied.folder) is load_run(copied.folder)
    plan = read_json(copied.folder.plan)

    write_json(copied.folder.plan, plan[:2])

    assert len(load_run(copied.folder).windows) == 2


def test_every_simulated_market_has_a_store_of_its_own(tmp_path: Path) -> None:
    """Invented bars lie apart from real ones and from those of other settings."""

    def root(source: SourceConfig) -> Path:
        return store_at(tmp_path, source)._layout.root

    real = root(SourceConfig(kind="files", folder=tmp_path))
    first, again, second = (
        root(SourceConfig(simulated=SimulatedConfig(seed=seed))) for seed in (1, 1, 2)
    )

    assert real == tmp_path
    assert first == again
    assert len({real, first, second}) == 3
    assert first.is_relative_to(tmp_path / "simulated")
