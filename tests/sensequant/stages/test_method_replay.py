"""Facts about the method as of then: what it may know of a crisis, and when it is silent."""

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sensequant.records import SkipReason
from sensequant.runs import RunFolder
from sensequant.stages import crises, method_replay
from sensequant.stages.context import Run, RunSettings, load_run
from sensequant.storage import read_json, read_table, write_table
from sensequant.stress.replay import ReplayKind
from sensequant.stress.resilience import ScenarioResult, SkippedScenario, parse_outcome
from sensequant.stress.scenarios import StressConfig
from sensequant.student import StudentMetadata

CRISIS = "svb_banking_crisis_2023"


def replayed(run: Run, name: str = CRISIS) -> ScenarioResult | SkippedScenario:
    crises.replay_method(run, name)
    return parse_outcome(read_json(run.folder.stress / "method" / f"{name}.json"))


@pytest.fixture
def run(whole: Run, tmp_path: Path) -> Run:
    """Return a copy of a finished run whose settings ask for two windows before each crisis."""
    folder = RunFolder(tmp_path, whole.folder.run_id)
    shutil.copytree(whole.folder.root, folder.root)
    stress = StressConfig(periods=(CRISIS, "flash_crash_2010"), method_windows=2, min_sessions=5)
    config = whole.config.model_copy(update={"stress": stress})
    return Run(folder, whole.request, config)


def test_students_of_the_windows_before_score_the_crisis(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every row is walked forward to, by a student whose last label ended before it began."""
    trained_through: list[date] = []
    really = method_replay.run_apart

    def looked_at(*given: Any, **named: Any) -> Run:
        inner = really(*given, **named)
        records = inner.folder.root.glob("students/universe*/metadata.json")
        told = [StudentMetadata.model_validate(read_json(each)) for each in records]
        trained_through.extend(sorted(each.trained_through for each in told))
        return inner

    monkeypatch.setattr(method_replay, "run_apart", looked_at)
    found = replayed(run)

    assert isinstance(found, ScenarioResult)
    assert found.kind == ReplayKind.WALK_FORWARD
    assert found.n_symbols == 3
    assert found.first_session == date(2023, 3, 9)
    # Two windows before it; a third one holds the crisis and scores nothing in it.
    assert len(trained_through) >= 2
    assert trained_through[1] < date(2023, 3, 9)
    assert not list((run.folder.home / "methods").iterdir())


def test_nothing_after_the_crisis_is_known(run: Run) -> None:
    """Bars that come later change no figure, those before it do."""
    before = replayed(run)
    for symbol in run.symbols:
        bars = read_table(run.folder.bars(symbol))
        later = pl.when(pl.col("session") > date(2023, 3, 27)).then(3.0).otherwise(1.0)
        prices = pl.col("open", "high", "low", "close")
        write_table(run.folder.bars(symbol), bars.with_columns(prices * later))

    assert replayed(run) == before


def test_without_bars_there_is_no_replay(run: Run) -> None:
    """The market begins after that crisis."""
    found = replayed(run, "flash_crash_2010")

    assert isinstance(found, SkippedScenario)
    assert found.skip_reason is SkipReason.NO_DATA
    assert found.skipped_symbols == {"no_data": len(run.symbols)}


def test_without_earlier_bars_nobody_can_be_trained(run: Run) -> None:
    """A market that begins with the crisis teaches nothing before it."""
    for path in sorted((run.folder.root / "bars").glob("*.parquet")):
        write_table(path, read_table(path).filter(pl.col("session") >= date(2023, 3, 1)))

    found = replayed(run)

    assert isinstance(found, SkippedScenario)
    assert found.skip_reason is SkipReason.NO_EARLIER_TRAINING


def test_the_page_tells_of_it_only_where_it_was_asked_for(
    settings: RunSettings, whole: Run, execute: Callable[..., Run], tmp_path: Path
) -> None:
    """A whole run with it has one more unit for each crisis, and a summary of its own."""
    stress = whole.config.stress.model_copy(update={"method_windows": 2, "min_sessions": 5})
    config = settings.config.model_copy(update={"stress": stress})
    asked = execute(tmp_path, settings.model_copy(update={"config": config}))
    page = (asked.folder.stress / "stress_report.md").read_text()
    units = read_table(asked.folder.units("stress"))["name"].to_list()

    assert f"method {CRISIS}" in units
    assert "# The method as of then\n\n- " in page
    assert read_json(asked.folder.stress / "method_summary.json")["n_evaluated"] >= 1
    assert "Not asked for" in (whole.folder.stress / "stress_report.md").read_text()
    assert load_run(asked.folder).config.stress.method_windows == 2
