"""Say of every session whether its bars are here, and if not, why."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from blocks.environment import environment_now
from sensequant.ingestion.request import BackfillRequest
from tasks.backfill import audit_stored, check_stored

__all__ = ["audit_coverage"]


def _name_run() -> str:
    asked = BackfillRequest.model_validate(flow_run.get_parameters()["request"])
    return f"coverage of {asked.title} · {', '.join(asked.intervals)} · {asked.source.kind}"


@flow(name="audit-coverage", flow_run_name=_name_run)
def audit_coverage(request: BackfillRequest = BackfillRequest()) -> State[Any]:
    """Cross-check and audit what is stored; asks the source nothing.

    Args:
        request: Symbols, intervals, range and source; with no symbols, all that have bars here.
    """
    check_stored(request)
    folder = environment_now().home / "coverage" / str(flow_run.get_id())
    summary = audit_stored(request, folder)
    return Completed(message=f"page: {folder / 'coverage.html'}", data=summary)
