"""The end of the time to decide: reject what nobody decided on, and wake the runs that wait."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from tasks.decisions import settle_decisions

__all__ = ["expire_candidates"]


@flow(name="expire-candidates", flow_run_name="expire candidates")
def expire_candidates() -> State[Any]:
    """Reject candidates whose time to decide is over, and resume suspended runs that are decided.

    A suspended run schedules one for the end of its time. Started at any other moment, it resumes
    runs that were decided on by command while the server was away.
    """
    settled = settle_decisions()
    return Completed(message=f"{len(settled.expired)} expired, {len(settled.resumed)} resumed")
