"""Facts about what a crash leaves behind: which runs are over, and which only seem so."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect.client.schemas.objects import FlowRun, State, StateType, TaskRun
from prefect.exceptions import ObjectNotFound

from tasks.tidying import SETTLE_SECONDS, Tidied, end_orphans

NOW = datetime(2026, 1, 23, 12, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


class Server:
    """Keeps runs as the server does, and gives those that have not ended."""

    def __init__(self) -> None:
        self.flow_runs: dict[uuid.UUID, FlowRun] = {}
        self.task_runs: dict[uuid.UUID, TaskRun] = {}

    def flow(
        self, state: StateType, *, since: float, parent: FlowRun | None = None, **fields: Any
    ) -> FlowRun:
        """Add a flow run; with a parent, the task run that stands for it there, too."""
        link = None if parent is None else self.task(StateType.COMPLETED, parent).id
        run = FlowRun(
            flow_id=uuid.uuid4(),
            state=State(type=state, timestamp=ago(since)),
            parent_task_run_id=link,
            **fields,
        )
        self.flow_runs[run.id] = run
        return run

    def task(self, state: StateType, parent: FlowRun, **fields: Any) -> TaskRun:
        """Add a task run."""
        name = fields.pop("name", None)
        run = TaskRun(
            task_key="t",
            dynamic_key="0",
            flow_run_id=parent.id,
            state=State(type=state, name=name, timestamp=ago(500)),
            **fields,
        )
        self.task_runs[run.id] = run
        return run

    def read_flow_runs(self, *, limit: int, offset: int, **_: object) -> list[FlowRun]:
        """Return a page of those that have not ended."""
        return [run for run in self.flow_runs.values() if is_unended(run)][offset : offset + limit]

    def read_task_runs(self, *, limit: int, offset: int, **_: object) -> list[TaskRun]:
        """Return a page of those that have not ended."""
        return [run for run in self.task_runs.values() if is_unended(run)][offset : offset + limit]

    def read_flow_run(self, run_id: uuid.UUID) -> FlowRun:
        """Return one, or raise as the client does."""
        if run_id not in self.flow_runs:
            raise ObjectNotFound(http_exc=Exception(str(run_id)))
        return self.flow_runs[run_id]

    def read_task_run(self, run_id: uuid.UUID) -> TaskRun:
        """Return one, or raise as the client does."""
        if run_id not in self.task_runs:
            raise ObjectNotFound(http_exc=Exception(str(run_id)))
        return self.task_runs[run_id]

    def set_flow_run_state(self, run_id: uuid.UUID, state: State[Any], *, force: bool) -> None:
        """Set it."""
        assert force
        self.flow_runs[run_id].state = state

    def set_task_run_state(self, run_id: uuid.UUID, state: State[Any], *, force: bool) -> None:
        """Set it."""
        assert force
        self.task_runs[run_id].state = state


def is_unended(run: FlowRun | TaskRun) -> bool:
    assert run.state is not None
    return run.state.type in {StateType.RUNNING, StateType.PENDING, StateType.CANCELLING}


@pytest.fixture
def server() -> Any:
    """Return an empty server."""
    return Server()


def state_of(run: FlowRun | TaskRun) -> StateType:
    assert run.state is not None
    return run.state.type


def test_stages_and_tasks_of_a_crashed_run_are_ended(server: Any) -> None:
    """All of them, once."""
    parent = server.flow(StateType.CRASHED, since=100)
    stage = server.flow(StateType.RUNNING, since=200, parent=parent, created=ago(200))
    task = server.task(StateType.RUNNING, stage)

    assert end_orphans(server, now=NOW) == Tidied(n_flow_runs=1, n_task_runs=1)
    assert state_of(stage) is state_of(task) is StateType.CRASHED
    assert end_orphans(server, now=NOW) == Tidied(n_flow_runs=0, n_task_runs=0)


def test_what_is_under_way_is_left_alone(server: Any) -> None:
    """A running run, its stages and its tasks."""
    parent = server.flow(StateType.RUNNING, since=300)
    stage = server.flow(StateType.RUNNING, since=200, parent=parent, created=ago(200))
    server.task(StateType.RUNNING, stage)
    server.task(StateType.PENDING, parent)

    assert end_orphans(server, now=NOW) == Tidied(n_flow_runs=0, n_task_runs=0)


def test_what_is_being_written_down_is_left_alone(server: Any) -> None:
    """The server learns the end of tasks some seconds after that of their run."""
    parent = server.flow(StateType.COMPLETED, since=SETTLE_SECONDS - 1)
    server.task(StateType.RUNNING, parent)

    assert end_orphans(server, now=NOW) == Tidied(n_flow_runs=0, n_task_runs=0)


def test_only_the_earlier_attempt_of_a_retried_run_is_ended(server: Any) -> None:
    """Its stages began before the run did again; its tasks carry the number of its attempt."""
    parent = server.flow(StateType.RUNNING, since=100, run_count=2)
    old = server.flow(StateType.RUNNING, since=200, parent=parent, created=ago(200))
    new = server.flow(StateType.RUNNING, since=90, parent=parent, created=ago(90))
    old_task = server.task(StateType.RUNNING, parent, flow_run_run_count=1)
    new_task = server.task(StateType.RUNNING, parent, flow_run_run_count=2)

    end_orphans(server, now=NOW)

    assert [state_of(run) for run in (old, new)] == [StateType.CRASHED, StateType.RUNNING]
    assert [state_of(run) for run in (old_task, new_task)] == [
        StateType.CRASHED,
        StateType.RUNNING,
    ]


def test_run_with_a_process_of_its_own_is_left_to_its_heartbeats(server: Any) -> None:
    """A shard on another worker may live longer than the run that waited for it."""
    parent = server.flow(StateType.CRASHED, since=100)
    shard = server.flow(
        StateType.RUNNING, since=200, parent=parent, created=ago(200), deployment_id=uuid.uuid4()
    )

    assert end_orphans(server, now=NOW).n_flow_runs == 0
    assert state_of(shard) is StateType.RUNNING


def test_task_that_waits_for_a_failed_one_keeps_its_word(server: Any) -> None:
    """NotReady says why it never ran."""
    parent = server.flow(StateType.FAILED, since=100)
    server.task(StateType.PENDING, parent, name="NotReady")

    assert end_orphans(server, now=NOW).n_task_runs == 0


def test_run_whose_parent_was_deleted_is_left_alone(server: Any) -> None:
    """Nothing tells whether it is over."""
    parent = server.flow(StateType.CRASHED, since=100)
    stage = server.flow(StateType.RUNNING, since=200, parent=parent, created=ago(200))
    server.task(StateType.RUNNING, stage)
    del server.flow_runs[parent.id]

    assert end_orphans(server, now=NOW) == Tidied(n_flow_runs=0, n_task_runs=0)


def test_every_page_is_read(server: Any) -> None:
    """The server gives 200 runs at a time."""
    parent = server.flow(StateType.CRASHED, since=100)
    for _ in range(450):
        server.task(StateType.RUNNING, parent)

    assert end_orphans(server, now=NOW).n_task_runs == 450
