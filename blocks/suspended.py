"""Resuming a run that waits for the decision of a person.

Belongs here: the answer as Prefect takes it. Does not belong here: the form (`tasks.decisions`),
and whose decision counts (`sensequant.stages.decision`). It loads no more than a client, so that a
command of the terminal does not wait for it.
"""

from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.responses import SetStateStatus

from sensequant.release.registry_records import CandidateEvent, EventKind

__all__ = ["resume_run"]


def resume_run(client: SyncPrefectClient, flow_run_id: str, decided: CandidateEvent) -> str | None:
    """Resume a suspended run by the answer that was recorded; return why it did not, or None."""
    given = {
        "decision": "approve" if decided.kind is EventKind.APPROVED else "reject",
        "name": decided.actor,
        "reason": decided.reason,
        "manifest_sha256": decided.manifest_sha256,
    }
    result = client.resume_flow_run(UUID(flow_run_id), run_input=given)
    if result.status is SetStateStatus.ACCEPT:
        return None
    return str(getattr(result.details, "reason", None) or result.status)
