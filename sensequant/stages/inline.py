"""All stages of a run in this process, without an orchestrator.

Belongs here: the order of units and stages, for experiments over many universes and for tests of
the method. Does not belong here: retries, progress, artifacts and concurrency; a run that a person
looks at goes through `flows.run_history`.

The artifacts are those of the flow, byte for byte.
"""

import contextlib
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sensequant.errors import ConfigError, DataError
from sensequant.ingestion.context import IngestContext
from sensequant.ingestion.opening import Intakes, Outside
from sensequant.market.sources.breeze.client import Timing
from sensequant.market.sources.breeze.credentials import BreezeLogin
from sensequant.market.sources.breeze.pacing import local_pacer
from sensequant.records import Outcome
from sensequant.runs import RunFolder, Stage, StageOutcome, StageRecord
from sensequant.stages import (
    certificate,
    crises,
    distillation,
    evidence,
    ingestion,
    release,
    statistical_tests,
    students_evidence,
    training,
)
from sensequant.stages.context import Findings, Run, RunRecord, RunSettings, load_run
from sensequant.stages.opening import open_run
from sensequant.units import UnitRecord, summarise_units, write_units
from sensequant.windows import Window

__all__ = ["lone_process", "run_inline"]


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
    with contextlib.closing(Intakes(lone_process(folder.home, at))) as intakes:
        for stage in run.stages:
            if stage is Stage.DATA_INGESTION:
                is_asked = not run.record.options.skip_fetch
                _ingest(run, intakes.of(run.request.source) if is_asked else None, universes, at)
            else:
                _STAGES[stage](run, at)
            run = load_run(folder)
    release.close(run, at=at)
    return run


def lone_process(home: Path, at: datetime) -> Outside:
    """Return the outside world of a process that shares nothing and whose clock stands still."""

    def no_login(_block: str | None) -> BreezeLogin:
        raise ConfigError(
            "no login to the Breeze API",
            expected="a source that needs none",
            found="source breeze, in this process alone",
            remedy="run it through flows.run_history, which knows the credentials",
        )

    timing = Timing(clock=lambda: at, sleep=time.sleep, random=lambda: 0.5)
    return Outside(
        home,
        timing,
        no_login,
        lambda _key, config: local_pacer(config, clock=lambda: datetime.now(UTC), sleep=time.sleep),
    )


def _ingest(run: Run, intake: IngestContext | None, universes: Path, at: datetime) -> None:
    chunks = ingestion.plan_chunks(run, intake, universes=universes)
    if intake is not None:
        ingestion.store_actions(intake)
    fetched = [
        _attempt(
            lambda chunk=chunk: ingestion.fetch_chunk(run, chunk, intake),
            kind="chunk",
            symbol=chunk.symbol,
        )
        for chunk in chunks
    ]
    frozen = [
        _attempt(lambda s=s: ingestion.freeze_bars(run, s), kind="bars", symbol=s)
        for s in sorted(set(_succeeded(fetched)))
    ]
    found = ingestion.settle(run, _succeeded(frozen))
    _finish(run, Stage.DATA_INGESTION, found, at, units=[*fetched, *frozen], kind="chunk")


def _train(run: Run, at: datetime) -> None:
    units = training.prepare_rows(run)
    units += _over_windows(run, training.planned_teachers(run), training.train_window, "teacher")
    found = training.describe(run)
    _finish(run, Stage.TEACHER_TRAINING, found, at, units=units, kind="teacher")


def _distil(run: Run, at: datetime) -> None:
    windows = distillation.planned_students(run)
    units = _over_windows(run, windows, distillation.train_student_of, "student")
    found = students_evidence.gather(run)
    _finish(run, Stage.STUDENT_TRAINING, found, at, units=units, kind="student")


def _validate(run: Run, at: datetime) -> None:
    _, found = evidence.validate_scores(run)
    _finish(run, Stage.MODEL_VALIDATION, found, at)


def _assess(run: Run, at: datetime) -> None:
    _, found = statistical_tests.assess_significance(run)
    _finish(run, Stage.STATISTICAL_TESTS, found, at)


def _stress(run: Run, at: datetime) -> None:
    units = [crises.replay_scenario(run, scenario.name) for scenario in run.scenarios]
    units += [crises.replay_method(run, name) for name in crises.planned_methods(run)]
    _, found = crises.summarise(run)
    _finish(run, Stage.STRESS_TESTS, found, at, units=units, kind="stress")


def _audit(run: Run, at: datetime) -> None:
    units = [certificate.try_twin(run, number) for number in certificate.planned_twins(run)]
    found = release.audit(run, created_at=at)
    _finish(run, Stage.RELEASE_AUDIT, found, at, units=units, kind="twin" if units else None)


def _brief(run: Run, at: datetime) -> None:
    _, found = release.brief(run, at=at)
    _finish(run, Stage.PROMOTION_BRIEFING, found, at)


_STAGES: dict[Stage, Callable[[Run, datetime], None]] = {
    Stage.TEACHER_TRAINING: _train,
    Stage.STUDENT_TRAINING: _distil,
    Stage.MODEL_VALIDATION: _validate,
    Stage.STATISTICAL_TESTS: _assess,
    Stage.STRESS_TESTS: _stress,
    Stage.RELEASE_AUDIT: _audit,
    Stage.PROMOTION_BRIEFING: _brief,
}


def _over_windows(
    run: Run,
    windows: Iterable[Window],
    work: Callable[[Run, str, str], UnitRecord],
    kind: str,
) -> list[UnitRecord]:
    return [
        _attempt(
            lambda w=window: work(run, w.symbol, w.short),
            kind=kind,
            symbol=window.symbol,
            window=window.short,
        )
        for window in windows
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
