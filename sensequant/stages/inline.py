"""All stages of a run in this process, without an orchestrator.

Belongs here: the order of units and stages, for experiments over many universes and for tests of
the method. Does not belong here: retries, progress, artifacts and concurrency; a run that a person
looks at goes through `flows.run_history`.

The artifacts are those of the flow, byte for byte.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from sensequant.errors import DataError
from sensequant.records import Outcome
from sensequant.runs import (
    RunFolder,
    Stage,
    StageOutcome,
    StageRecord,
    UnitRecord,
    summarise_units,
    write_units,
)
from sensequant.stages import crises, distillation, evidence, ingestion, release, training
from sensequant.stages.context import Findings, Run, RunRecord, RunSettings, load_run
from sensequant.stages.opening import open_run

__all__ = ["run_inline"]


def run_inline(
    folder: RunFolder, settings: RunSettings, record: RunRecord, *, universes: Path, at: datetime
) -> Run:
    """Execute the stages that `record` asks for and return the run.

    Parameters
    ----------
    folder, settings, record
        The run to open.
    universes
        Folder of the dated lists of symbols.
    at
        Instant that every record of this run carries.

    Raises
    ------
    SenseQuantError
        A stage cannot do its work.
    """
    run = open_run(folder, settings, record)
    for stage in run.stages:
        _STAGES[stage](run, universes, at)
        run = load_run(folder)
    release.close(run, at=at)
    return run


def _ingest(run: Run, universes: Path, at: datetime) -> None:
    chunks = ingestion.plan_chunks(run, universes=universes)
    ingestion.store_actions(run)
    fetched = [
        _attempt(
            lambda chunk=chunk: ingestion.fetch_chunk(run, chunk, fetched_at=at),
            kind="chunk",
            symbol=chunk.symbol,
        )
        for chunk in chunks
    ]
    frozen = [
        _attempt(lambda s=s: ingestion.freeze_bars(run, s), kind="bars", symbol=s)
        for s in _succeeded(fetched)
    ]
    found = ingestion.settle(run, _succeeded(frozen))
    _finish(run, Stage.DATA_INGESTION, found, at, units=[*fetched, *frozen], kind="chunk")


def _train(run: Run, _universes: Path, at: datetime) -> None:
    units = [
        _attempt(lambda s=s: training.prepare_rows(run, s), kind="features", symbol=s)
        for s in run.symbols
    ]
    units += _over_windows(run, training.train_window, "teacher")
    found = training.describe(run)
    _finish(run, Stage.TEACHER_TRAINING, found, at, units=units, kind="teacher")


def _distil(run: Run, _universes: Path, at: datetime) -> None:
    units = _over_windows(run, distillation.train_student_of, "student")
    found = distillation.gather(run)
    _finish(run, Stage.STUDENT_TRAINING, found, at, units=units, kind="student")


def _validate(run: Run, _universes: Path, at: datetime) -> None:
    _, found = evidence.validate_scores(run)
    _finish(run, Stage.MODEL_VALIDATION, found, at)


def _assess(run: Run, _universes: Path, at: datetime) -> None:
    _finish(run, Stage.STATISTICAL_TESTS, evidence.assess_significance(run), at)


def _stress(run: Run, _universes: Path, at: datetime) -> None:
    units = [crises.replay_scenario(run, scenario.name) for scenario in run.scenarios]
    _, found = crises.summarise(run)
    _finish(run, Stage.STRESS_TESTS, found, at, units=units, kind="stress")


def _audit(run: Run, _universes: Path, at: datetime) -> None:
    _finish(run, Stage.RELEASE_AUDIT, release.audit(run, created_at=at), at)


def _brief(run: Run, _universes: Path, at: datetime) -> None:
    _, found = release.brief(run, at=at)
    _finish(run, Stage.PROMOTION_BRIEFING, found, at)


_STAGES: dict[Stage, Callable[[Run, Path, datetime], None]] = {
    Stage.DATA_INGESTION: _ingest,
    Stage.TEACHER_TRAINING: _train,
    Stage.STUDENT_TRAINING: _distil,
    Stage.MODEL_VALIDATION: _validate,
    Stage.STATISTICAL_TESTS: _assess,
    Stage.STRESS_TESTS: _stress,
    Stage.RELEASE_AUDIT: _audit,
    Stage.PROMOTION_BRIEFING: _brief,
}


def _over_windows(
    run: Run, work: Callable[[Run, str, str], UnitRecord], kind: str
) -> list[UnitRecord]:
    return [
        _attempt(
            lambda w=planned.window: work(run, w.symbol, w.short),
            kind=kind,
            symbol=planned.window.symbol,
            window=planned.window.short,
        )
        for planned in run.windows
    ]


def _attempt(
    work: Callable[[], UnitRecord], *, kind: str, symbol: str, window: str | None = None
) -> UnitRecord:
    try:
        return work()
    except DataError as error:
        name = " ".join([kind, symbol, *([] if window is None else [window])])
        return UnitRecord.from_error(
            error, kind=kind, name=name, seconds=0.0, symbol=symbol, window=window
        )


def _succeeded(units: Iterable[UnitRecord]) -> list[str]:
    return [
        unit.symbol for unit in units if unit.outcome is Outcome.SUCCESS and unit.symbol is not None
    ]


def _finish(
    run: Run,
    stage: Stage,
    found: Findings,
    at: datetime,
    *,
    units: Iterable[UnitRecord] = (),
    kind: str | None = None,
) -> None:
    rows = list(units)
    fields: dict[str, Any] = {"outcome": StageOutcome.SUCCESS}
    if kind is not None:
        outcome, counts = summarise_units(rows, max_failure_rate=run.config.max_failure_rate)
        fields = {"outcome": outcome, **counts}
        write_units(run.folder.units(kind), rows)
    run.folder.write_stage(
        StageRecord(
            run_id=run.folder.run_id,
            stage=stage,
            started_at=at,
            seconds=0.0,
            findings=found.values,
            not_done_yet=found.not_done_yet,
            **fields,
        )
    )
