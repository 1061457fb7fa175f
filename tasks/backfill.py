"""Tasks of a backfill: plan, one per chunk, check, report.

Belongs here: what a task needs besides `sensequant.ingestion`: the run's page, its states, its
names. Does not belong here: which chunks there are and what becomes of them; the ledger is the
memory of a backfill, so a task that is done again makes no call for what is stored.
"""

import dataclasses
import re
from collections.abc import Generator, Iterable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run, task_run
from prefect.states import Completed, Failed
from prefect.task_runners import TaskRunner
from prefect.utilities.annotations import quote
from pydantic import BaseModel

from blocks.environment import UNIVERSES_FOLDER, environment_now
from sensequant.coverage.files import write_coverage
from sensequant.coverage.summary import CoverageSummary
from sensequant.errors import RetryableError, StopSourceError
from sensequant.ingestion.audits import audit_shelf, cross_check, heading_of, symbols_on
from sensequant.ingestion.backfill import BackfillReport, begin_backfill, summarise
from sensequant.ingestion.chunks import ChunkResult, ingest_chunk
from sensequant.ingestion.ledger_records import ChunkOutcome, StopKind
from sensequant.ingestion.places import real_store
from sensequant.ingestion.planning import ChunkPlan
from sensequant.ingestion.request import BackfillOptions, BackfillRequest
from sensequant.ingestion.shelf import open_shelf
from sensequant.market.sources.base import Chunk
from sensequant.market.sources.build import SourceConfig
from sensequant.stages.ingestion import chunk_name
from sensequant.storage import write_json
from sensequant.telemetry import Telemetry
from tasks.artifacts import show_backfill, show_coverage
from tasks.events import tell_session_ended, tell_short_session
from tasks.runners import in_turn, returned
from tasks.sources import intake_of
from tasks.telling import say, utc_now

__all__ = [
    "OpenedBackfill",
    "audit_stored",
    "backfill_folder",
    "check_stored",
    "close_backfill",
    "collect_results",
    "fetch_chunk_of",
    "open_backfill",
    "submit_chunks",
]


class OpenedBackfill(BaseModel):
    """A backfill that is under way: its name, its beginning, and what it has to do."""

    backfill_id: str
    started_at: datetime
    plan: ChunkPlan


def backfill_folder(home: Path, backfill_id: str) -> Path:
    """Return the folder of a backfill's report and telemetry."""
    return home / "fetches" / "backfills" / backfill_id


@task(task_run_name="plan backfill")
def open_backfill(
    request: BackfillRequest, options: BackfillOptions, *, backfill_id: str | None = None
) -> OpenedBackfill:
    """Write down what is asked for and cut what is left of it into chunks."""
    name = backfill_id or _name_backfill()
    started_at = utc_now()
    context = dataclasses.replace(intake_of(request.source), backfill_id=name)
    plan = begin_backfill(
        request, options, context, universes=UNIVERSES_FOLDER, started_at=started_at
    )
    telemetry = _telemetry(name)
    telemetry.emit("stage_started", stage="backfill", n_units=len(plan.chunks))
    say(
        "backfill planned",
        backfill=name,
        chunks=len(plan.chunks),
        sessions=plan.n_sessions,
        covered=plan.n_sessions_covered,
    )
    tell_short_session(request.source, n_calls=len(plan.chunks))
    return OpenedBackfill(backfill_id=name, started_at=started_at, plan=plan)


def _name_chunk() -> str:
    chunk: Chunk = task_run.parameters["chunk"]
    return f"{chunk_name(chunk)} {chunk.interval}"


# The ledger says what is stored; a key would be made of every parameter and asked for nothing.
@task(task_run_name=_name_chunk, cache_policy=NO_CACHE)
def fetch_chunk_of(backfill_id: str, source: SourceConfig, chunk: Chunk, *, is_forced: bool) -> Any:
    """Fetch one chunk into the store; its state says what became of it."""
    context = dataclasses.replace(intake_of(source), backfill_id=backfill_id)
    try:
        result = ingest_chunk(chunk, context, is_forced=is_forced)
    except (StopSourceError, RetryableError) as error:
        # The client has tried as often as helps; what is left stays in the ledger as left to do.
        result = ChunkResult.from_error(chunk, error)
    except Exception as error:
        # The page shows the traceback of what nobody expects.
        _tell(backfill_id, ChunkResult.from_error(chunk, error))
        raise
    _tell(backfill_id, result)
    return _state_of(result)


def submit_chunks(
    threads: TaskRunner[PrefectFuture[Any]],
    chunks: Iterable[Chunk],
    *,
    backfill_id: str,
    source: SourceConfig,
    is_forced: bool,
) -> Generator[PrefectFuture[Any]]:
    """Hand chunks to a runner, some hundreds ahead, and yield their futures in the same order."""
    # Prefect looks for futures in each field of what it is given, twice; a source has dozens.
    given = {"backfill_id": backfill_id, "source": quote(source), "is_forced": is_forced}
    fetch = cast("Any", fetch_chunk_of)
    return in_turn(threads.submit(fetch, {**given, "chunk": chunk}) for chunk in chunks)


def collect_results(futures: Iterable[PrefectFuture[Any]], plan: ChunkPlan) -> list[ChunkResult]:
    """Wait for all chunks and return what became of each, failed ones included."""
    results: list[ChunkResult] = []
    for chunk, future in zip(plan.chunks, futures, strict=True):
        value = returned(future)
        if isinstance(value, ChunkResult):
            results.append(value)
        elif isinstance(value, Exception):
            results.append(ChunkResult.from_error(chunk, value))
    return results


@task(task_run_name="cross-check")
def check_stored(request: BackfillRequest) -> dict[str, int]:
    """Hold daily bars against intraday ones and a second source; count disputes by kind."""
    home, second = environment_now().home, request.compare_with
    shelf = open_shelf(home, request.source, ledger=environment_now().ledger)
    with closing(shelf.ledger):
        check = cross_check(
            shelf,
            symbols_on(shelf, request, universes=UNIVERSES_FOLDER),
            other=None if second is None else real_store(home, second),
            other_name=second or "",
        )
    counted = check.disputes.unique(["symbol", "session", "kind"])["kind"].value_counts(sort=True)
    disputes: dict[str, int] = dict(counted.iter_rows())
    say("cross-checked", symbols=check.symbols.height, disputes=disputes)
    return disputes


@task(task_run_name="audit coverage")
def audit_stored(request: BackfillRequest, folder: Path) -> CoverageSummary:
    """Judge every session of the request and write the page of the audit."""
    now = utc_now()
    home = environment_now().home
    shelf = open_shelf(home, request.source, ledger=environment_now().ledger)
    with closing(shelf.ledger):
        audit = audit_shelf(shelf, request, home=home, universes=UNIVERSES_FOLDER, now=now)
        files = write_coverage(folder, audit, heading_of(request, shelf, now=now))
    show_coverage(files)
    say("coverage audited", page=str(files.page), frac=files.summary.total.coverage_frac)
    return files.summary


@task(task_run_name="report")
def close_backfill(
    opened: OpenedBackfill, results: list[ChunkResult], request: BackfillRequest
) -> BackfillReport:
    """Add up what became of the chunks, for the ledger, the page and the folder."""
    context = intake_of(request.source)
    report = summarise(opened.plan, results, context=context, started_at=opened.started_at)
    context.ledger.end_backfill(
        opened.backfill_id,
        outcome=report.outcome.value,
        counts=report.counts,
        ended_at=context.clock(),
    )
    folder = backfill_folder(environment_now().home, opened.backfill_id)
    write_json(folder / "report.json", report)
    _telemetry(opened.backfill_id).emit("stage_ended", stage="backfill", outcome=report.outcome)
    show_backfill(opened.backfill_id, report, results)
    if StopKind.AUTH_EXPIRED in report.n_by_reason:
        tell_session_ended(request.source, n_left=report.n_left)
    say("backfill ended", backfill=opened.backfill_id, outcome=report.outcome, counts=report.counts)
    return report


def _name_backfill() -> str:
    unique = re.sub(r"[^0-9a-f]", "", str(flow_run.get_root_flow_run_id()))[:8]
    return f"backfill_{flow_run.get_scheduled_start_time():%Y%m%d_%H%M%S}_{unique}"


def _telemetry(backfill_id: str) -> Telemetry:
    folder = backfill_folder(environment_now().home, backfill_id)
    folder.mkdir(parents=True, exist_ok=True)
    return Telemetry(folder / "telemetry.jsonl", run_id=backfill_id, now=utc_now)


def _tell(backfill_id: str, result: ChunkResult) -> None:
    words = {ChunkOutcome.EMPTY: "skipped", ChunkOutcome.FAILED: "failed"}
    words[ChunkOutcome.STOPPED] = "failed"
    name = chunk_name(result.chunk)
    _telemetry(backfill_id).emit(
        "unit_ended",
        stage="backfill",
        kind="chunk",
        name=f"{name} {result.interval}",
        outcome=words.get(result.outcome, "success"),
        reason=result.reason,
        seconds=result.seconds,
    )
    say(
        f"chunk {result.outcome}",
        is_warning=not result.is_done,
        reason=result.reason,
        error=result.error_message,
        bars=result.n_bars,
        quarantined=result.n_quarantined or None,
        missing=result.n_missing_sessions or None,
        missing_bars=result.n_missing_bars or None,
        calls=result.n_calls,
        findings=",".join(result.findings) or None,
        seconds=round(result.seconds, 3),
    )


def _state_of(result: ChunkResult) -> ChunkResult | State[Any]:
    if result.outcome is ChunkOutcome.STORED:
        return result
    name = result.outcome.value.capitalize()
    message = result.reason or result.error_message
    if result.is_done:
        return Completed(name=name, message=message, data=result)
    # Nothing of this task is persisted, so a retried run asks the ledger again.
    return Failed(name=name, message=result.error_message, data=result)
