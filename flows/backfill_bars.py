"""Bring the bars of many symbols and intervals into the store, and say what is still missing."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from blocks.environment import environment_now
from sensequant.ingestion.backfill import BackfillOutcome, BackfillReport
from sensequant.ingestion.request import BackfillOptions, BackfillRequest
from tasks.backfill import (
    audit_stored,
    backfill_folder,
    check_stored,
    close_backfill,
    collect_results,
    open_backfill,
    submit_chunks,
)
from tasks.runners import runner

__all__ = ["backfill_bars"]


def _name_run() -> str:
    request: BackfillRequest = flow_run.get_parameters()["request"]
    asked = BackfillRequest.model_validate(request)
    intervals = ", ".join(asked.intervals)
    return f"{asked.title} · {intervals} · from {asked.start} · {asked.source.kind}"


@flow(name="backfill-bars", flow_run_name=_name_run)
def backfill_bars(
    request: BackfillRequest = BackfillRequest(),
    options: BackfillOptions = BackfillOptions(),
    backfill_id: str | None = None,
) -> State[Any]:
    """Fetch what is missing, chunk by chunk, then cross-check and audit what is stored.

    Args:
        request: Symbols, intervals, range and source.
        options: How to fetch; changes no value of a bar.
        backfill_id: A backfill to go on with under its own name; a new one when empty.
    """
    opened = open_backfill(request, options, backfill_id=backfill_id)
    # The flow's own runner was made before anybody said how many may run side by side.
    with runner(options.workers) as threads:
        futures = submit_chunks(
            threads,
            opened.plan.chunks,
            backfill_id=opened.backfill_id,
            source=request.source,
            is_forced=options.force,
        )
        results = collect_results(futures, opened.plan)
    report = close_backfill(opened, results, request)
    check_stored(request)
    audit_stored(request, backfill_folder(environment_now().home, opened.backfill_id))
    return _final_state(report)


def _final_state(report: BackfillReport) -> State[Any]:
    message = (
        f"{report.n_added} bars added, {report.n_changed} changed; {report.n_left} of "
        f"{report.n_planned} chunks left to do"
    )
    if report.outcome in {BackfillOutcome.STOPPED, BackfillOutcome.FAILED}:
        return Failed(name=report.outcome.value.capitalize(), message=message, data=report)
    if report.outcome is BackfillOutcome.COMPLETED:
        return Completed(message=message, data=report)
    name = report.outcome.value.replace("_", " ").capitalize()
    return Completed(name=name, message=message, data=report)
