"""Tasks of stage 1: one per chunk of bars, one per symbol's adjusted bars, then the run's data."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from prefect import task
from prefect.client.schemas.objects import State
from prefect.runtime import task_run
from prefect.states import Completed

from blocks.environment import UNIVERSES_FOLDER, environment_now
from sensequant.coverage.preflight import Question, preflight
from sensequant.coverage.preflight_text import preflight_markdown
from sensequant.errors import ConfigError
from sensequant.ingestion.audits import audit_shelf
from sensequant.ingestion.context import IngestContext
from sensequant.ingestion.request import BackfillRequest
from sensequant.ingestion.shelf import open_shelf
from sensequant.market.sources.base import Chunk
from sensequant.records import Outcome
from sensequant.runs import Stage
from sensequant.stages import ingestion
from sensequant.stages.context import Findings, Run, load_run
from sensequant.units import UnitRecord
from tasks.artifacts import show_known, show_markdown
from tasks.events import tell_short_session
from tasks.runners import submit
from tasks.sources import intake_of
from tasks.telling import say, utc_now
from tasks.units import UnitRef, can_retry, do_unit, emit_ended, run_folder, unit_key

__all__ = [
    "fetch_chunk",
    "forecast_training",
    "freeze_bars",
    "known_bars",
    "plan_chunks",
    "remember_bars",
    "settle_data",
    "symbols_fetched",
    "take_known_bars",
]


def _reads_of_chunk(run: Run, _given: Mapping[str, Any]) -> Iterator[str]:
    # What the source holds is asked of it once per run.
    yield f"skip_fetch={run.record.options.skip_fetch}"


def _reads_of_bars(_run: Run, _given: Mapping[str, Any]) -> Iterator[Path]:
    # A run stands on the bars that were stored when it froze them, whatever the store gets later.
    yield from ()


def _reads_of_forecast(run: Run, _given: Mapping[str, Any]) -> Iterator[Path]:
    # A retried run stands on the same bars, and its forecast is on the page already.
    yield from (run.folder.data, run.folder.plan)


def _intake(run: Run) -> IngestContext | None:
    # With skip_fetch nothing is asked of the source, so that not even a login is needed.
    return None if run.record.options.skip_fetch else intake_of(run.request.source)


def _name_chunk() -> str:
    return ingestion.chunk_name(task_run.parameters["chunk"])


def known_bars(run_id: str) -> list[UnitRecord]:
    """Return what an earlier attempt of this run brought, whole and without a failure."""
    units: list[UnitRecord] = submit(take_known_bars, run_id).result()
    return units


@task(task_run_name="bars brought before")
def take_known_bars(run_id: str) -> State[list[UnitRecord]]:
    """Look for the bars of an earlier attempt, and see whether they are whole."""
    run = load_run(run_folder(run_id))
    units = ingestion.known_units(run)
    for unit in units:
        emit_ended(run.folder, Stage.DATA_INGESTION, unit, is_cached=True)
    if units:
        show_known(run_id, Stage.DATA_INGESTION, units)
    message = f"{len(units)} units of an earlier attempt of this run"
    return Completed(name="Cached" if units else None, message=message, data=units)


def remember_bars(run_id: str) -> None:
    """Let a later attempt of this run find what this one brought."""
    ingestion.remember_units(load_run(run_folder(run_id)))


@task(task_run_name="plan chunks")
def plan_chunks(run_id: str) -> list[Chunk]:
    """Resolve the requested symbols, cut what must be fetched into chunks, store the actions."""
    run = load_run(run_folder(run_id))
    intake = _intake(run)
    chunks = ingestion.plan_chunks(run, intake, universes=UNIVERSES_FOLDER)
    if intake is not None:
        ingestion.store_actions(intake)
        tell_short_session(run.request.source, n_calls=len(chunks))
    return chunks


@task(
    task_run_name=_name_chunk,
    persist_result=True,
    result_serializer="json",
    cache_key_fn=unit_key(_reads_of_chunk),
    retries=2,
    retry_delay_seconds=[2, 10],
    retry_jitter_factor=0.5,
    retry_condition_fn=can_retry,
)
def fetch_chunk(run_id: str, chunk: Chunk) -> UnitRef:
    """Fetch one chunk of bars into the store."""
    folder = run_folder(run_id)
    run = load_run(folder)
    return do_unit(
        folder,
        Stage.DATA_INGESTION,
        lambda: ingestion.fetch_chunk(run, chunk, _intake(run)),
        kind="chunk",
        name=ingestion.chunk_name(chunk),
        symbol=chunk.symbol,
    )


@task(
    task_run_name="bars {symbol}",
    persist_result=True,
    result_serializer="json",
    cache_key_fn=unit_key(_reads_of_bars),
)
def freeze_bars(run_id: str, symbol: str) -> UnitRef:
    """Adjust the stored bars of one symbol and keep them in the run."""
    folder = run_folder(run_id)
    return do_unit(
        folder,
        Stage.DATA_INGESTION,
        lambda: ingestion.freeze_bars(load_run(folder), symbol),
        makes=[folder.bars(symbol), folder.bars(symbol).with_suffix(".json")],
        kind="bars",
        name=f"bars {symbol}",
        symbol=symbol,
    )


def symbols_fetched(units: list[UnitRecord]) -> list[str]:
    """Return the symbols of the units that succeeded, each once, in alphabetical order."""
    return sorted(
        {
            unit.symbol
            for unit in units
            if unit.outcome is Outcome.SUCCESS and unit.symbol is not None
        }
    )


@task(
    task_run_name="pre-flight",
    persist_result=True,
    result_serializer="json",
    cache_key_fn=unit_key(_reads_of_forecast),
)
def forecast_training(run_id: str) -> None:
    """Show on the run's page which windows will be skipped and why, before any is trained."""
    run = load_run(run_folder(run_id))
    asked = BackfillRequest(
        symbols=tuple(run.symbols),
        start=run.request.start,
        end=run.request.end,
        source=run.request.source,
    )
    shelf = open_shelf(run.folder.home, run.request.source, ledger=environment_now().ledger)
    with closing(shelf.ledger):
        audit = audit_shelf(
            shelf, asked, home=run.folder.home, universes=UNIVERSES_FOLDER, now=utc_now()
        )
        question = Question(tuple(run.symbols), asked.start, run.request.end, run.config)
        try:
            page = preflight_markdown(
                preflight(
                    question,
                    shelf.store,
                    audit,
                    calendar=shelf.calendar,
                    source_options=run.request.source.options,
                    context=run.market_context,
                )
            )
        except ConfigError as error:
            # The bars are here; it is the training that these settings will stop.
            page = f"Training will stop at once.\n\n{error}"
            say("training will stop", is_warning=True, error=str(error))
    show_markdown("pre-flight", page, description=f"forecast of {run_id}")


@task(task_run_name="settle data")
def settle_data(run_id: str, symbols: list[str]) -> Findings:
    """Write down which bars this run stands on, and plan its windows."""
    return ingestion.settle(load_run(run_folder(run_id)), symbols)
