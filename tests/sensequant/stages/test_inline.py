"""Facts about a whole run in one process: it is repeatable, and its records are complete."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from sensequant.errors import ConfigError
from sensequant.records import Outcome
from sensequant.release.manifest import read_manifest
from sensequant.runs import Stage, StageOutcome
from sensequant.settings import RunRequest
from sensequant.stages.context import Run, RunSettings
from sensequant.storage import read_table, sha256_of
from sensequant.windows import POOLED

ANOTHER_TIME = datetime(2031, 7, 8, 9, 10, tzinfo=UTC)
ANOTHER_RUN = "live_candidate_20310708_091000_ffffffff"


def digests(run: Run) -> dict[str, str]:
    return {
        path.relative_to(run.folder.root).as_posix(): sha256_of(path)
        for path in run.folder.artifacts()
    }


def test_two_runs_of_the_same_request_give_the_same_bytes(
    whole: Run,
    execute: Callable[..., Run],
    settings: RunSettings,
    sectors_in: Callable[[Path], None],
    tmp_path: Path,
) -> None:
    """Another home, id, time and number of workers: no artifact and no evidence differs."""
    sectors_in(tmp_path)
    again = execute(tmp_path, settings, run_id=ANOTHER_RUN, at=ANOTHER_TIME, workers=5)

    assert digests(again) == digests(whole)
    assert len(digests(again)) > 100
    first, second = (read_manifest(run.folder) for run in (whole, again))
    assert first.evidence_digest == second.evidence_digest
    assert first.created_at != second.created_at


def test_stages_done_again_give_the_same_bytes(
    copied: Run, execute: Callable[..., Run], settings: RunSettings
) -> None:
    """All eight on the finished run: bars already stored, trial already counted."""
    before = digests(copied)

    again = execute(copied.folder.home, settings, run_id=copied.folder.run_id, at=ANOTHER_TIME)

    assert digests(again) == before
    assert again.record.ended_at == ANOTHER_TIME


def test_every_stage_leaves_its_record(whole: Run) -> None:
    """In order, successful, and with findings."""
    records = whole.folder.stages()

    assert [record.stage for record in records] == list(Stage)
    assert {record.outcome for record in records} == {StageOutcome.SUCCESS}
    assert all(record.findings for record in records)
    assert {record.run_id for record in records} == {whole.folder.run_id}


def test_counts_of_a_stage_are_those_of_its_units(whole: Run) -> None:
    """Success, skips by reason, failures and their rate, from the table of units."""
    kinds = {
        Stage.DATA_INGESTION: "chunk",
        Stage.TEACHER_TRAINING: "teacher",
        Stage.STUDENT_TRAINING: "student",
        Stage.STRESS_TESTS: "stress",
    }
    for record in whole.folder.stages():
        if record.stage not in kinds:
            continue
        units = read_table(whole.folder.units(kinds[record.stage]))
        skipped = units.filter(pl.col("outcome") == Outcome.SKIPPED)
        assert record.n_success == units.filter(pl.col("outcome") == Outcome.SUCCESS).height
        assert record.n_skipped == skipped.height
        assert record.n_failed == 0
        assert record.failure_rate == 0.0
        assert record.max_failure_rate == whole.config.max_failure_rate
        reasons: list[str] = skipped["reason"].to_list()
        assert record.skip_reasons == {name: reasons.count(name) for name in sorted(set(reasons))}


def test_every_window_has_one_unit_of_each_kind(whole: Run) -> None:
    """Skipped or not, with its symbol and its window, under one name; students of all beside."""
    of_symbols = {(each.window.symbol, each.window.short) for each in whole.windows}
    of_all = {(POOLED, window.short) for window in whole.pooled_windows}
    for kind, planned in (("teacher", of_symbols), ("student", of_symbols | of_all)):
        units = read_table(whole.folder.units(kind)).filter(pl.col("kind") == kind)

        named = units.select("symbol", "window").rows()
        assert len(named) == len(planned)
        assert set(named) == planned
        assert units["name"].to_list() == [f"{kind} {symbol} {window}" for symbol, window in named]


def test_only_the_stages_asked_for_are_executed(
    execute: Callable[..., Run], settings: RunSettings, tmp_path: Path
) -> None:
    """The rest leaves neither record nor file."""
    run = execute(tmp_path, settings, stages=(Stage.DATA_INGESTION,))

    assert [record.stage for record in run.folder.stages()] == [Stage.DATA_INGESTION]
    assert not run.folder.predictions.exists()
    assert run.record.outcome == "completed"


def test_a_stage_that_cannot_do_its_work_stops_the_run(
    execute: Callable[..., Run], settings: RunSettings, tmp_path: Path
) -> None:
    """A wrong request is an error of the caller, not a unit to be skipped."""
    request = RunRequest(symbols=("NOSUCH",), source=settings.request.source)

    with pytest.raises(ConfigError, match="symbol is not in the source"):
        execute(tmp_path, settings.model_copy(update={"request": request}))
