"""Ends for runs whose process is gone: what a crash leaves as Running would stay so for ever.

Belongs here: finding such runs on the server and giving them their end. Does not belong here:
finding out that a run's own process died; its worker or its missing heartbeats tell that
(`deployments/automations.yaml`).

Only what belonged to an attempt that is over is touched: stages of a run that has ended or was
begun again, and tasks of such runs. A run of a deployment has a process and heartbeats of its own,
so it is left to them even if another run waited for it.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

from prefect import task
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, TaskRunFilter
from prefect.client.schemas.objects import FlowRun, StateType, TaskRun
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed
from pydantic import BaseModel

from tasks.telling import say, utc_now

__all__ = ["SETTLE_SECONDS", "Tidied", "end_orphans", "tidy"]

SETTLE_SECONDS = 60.0
"""The server writes down what tasks did with a lag of seconds; what is younger is left alone."""

_PAGE = 200
_UNENDED = [StateType.RUNNING.value, StateType.PENDING.value, StateType.CANCELLING.value]
_UNENDED_FLOWS = FlowRunFilter.model_validate({"state": {"type": {"any_": _UNENDED}}})
_UNENDED_TASKS = TaskRunFilter.model_validate({"state": {"type": {"any_": _UNENDED}}})
# It waits for a task that failed, and says so.
_ENDED_NAMES = {"NotReady"}
_STARTING = {StateType.RUNNING, StateType.PENDING, StateType.SCHEDULED}
_MESSAGE = "the run that it was part of is over"

Row = TypeVar("Row", FlowRun, TaskRun)


class Tidied(BaseModel):
    """How many runs were given their end."""

    n_flow_runs: int
    n_task_runs: int


@task(task_run_name="end orphans")
def tidy() -> Tidied:
    """Give an end to every stage and task whose run is over."""
    with get_client(sync_client=True) as client:
        tidied = end_orphans(client, now=utc_now())
    say("tidied", flow_runs=tidied.n_flow_runs, task_runs=tidied.n_task_runs)
    return tidied


def end_orphans(client: SyncPrefectClient, *, now: datetime) -> Tidied:
    """Set every orphaned stage, then every orphaned task, to Crashed.

    Parameters
    ----------
    client
        The server.
    now
        Aware instant; what happened less than `SETTLE_SECONDS` before it is left alone.

    Returns
    -------
    Tidied
        What was ended; a second call finds nothing.
    """
    before = now - timedelta(seconds=SETTLE_SECONDS)
    parents = _Parents(client)
    stages = [
        run
        for run in _all(
            lambda n, at: client.read_flow_runs(flow_run_filter=_UNENDED_FLOWS, limit=n, offset=at)
        )
        if parents.have_left(run, before)
    ]
    for run in stages:
        client.set_flow_run_state(run.id, Crashed(message=_MESSAGE), force=True)
    # Stages that have just been ended are parents of tasks.
    parents = _Parents(client)
    ended = {run.id for run in stages}
    units = [
        run
        for run in _all(
            lambda n, at: client.read_task_runs(task_run_filter=_UNENDED_TASKS, limit=n, offset=at)
        )
        if run.flow_run_id in ended or parents.are_past(run, before)
    ]
    for run in units:
        client.set_task_run_state(run.id, Crashed(message=_MESSAGE), force=True)
    return Tidied(n_flow_runs=len(stages), n_task_runs=len(units))


class _Parents:
    """Runs that others are part of, each read once."""

    def __init__(self, client: SyncPrefectClient) -> None:
        self._client = client
        self._runs: dict[UUID, FlowRun | None] = {}

    def have_left(self, run: FlowRun, before: datetime) -> bool:
        """Return whether a stage belongs to an attempt of its run that is over."""
        if run.parent_task_run_id is None or run.deployment_id is not None:
            return False
        try:
            parent_task = self._client.read_task_run(run.parent_task_run_id)
        except ObjectNotFound:
            return False
        parent = self._read(parent_task.flow_run_id)
        if parent is None or parent.state is None or parent.state.timestamp > before:
            return False
        if parent.state.is_final():
            return True
        was_before = (run.created or before) < parent.state.timestamp
        return parent.state.type in _STARTING and was_before

    def are_past(self, run: TaskRun, before: datetime) -> bool:
        """Return whether a task belongs to an attempt of its run that is over."""
        parent = self._read(run.flow_run_id)
        if parent is None or parent.state is None or parent.state.timestamp > before:
            return False
        if run.state is not None and run.state.name in _ENDED_NAMES:
            return False
        return parent.state.is_final() or run.flow_run_run_count < parent.run_count

    def _read(self, flow_run_id: UUID | None) -> FlowRun | None:
        if flow_run_id is None:
            return None
        if flow_run_id not in self._runs:
            try:
                self._runs[flow_run_id] = self._client.read_flow_run(flow_run_id)
            except ObjectNotFound:
                self._runs[flow_run_id] = None
        return self._runs[flow_run_id]


def _all(read: Callable[[int, int], list[Row]]) -> list[Row]:
    def pages() -> Iterator[Row]:
        for offset in range(0, 1_000_000, _PAGE):
            rows = read(_PAGE, offset)
            yield from rows
            if len(rows) < _PAGE:
                return

    return list(pages())
