"""Shares of a stage: who gets them, when they move, and that no pool can hang a run.

The server is a stand-in whose pools do what they are told to: the rules are tested here, real pools
in `tests/flows/test_shards.py`.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, State, StateType, WorkerStatus
from prefect.exceptions import ObjectNotFound
from prefect.states import Completed, Crashed, Failed, Running, Scheduled

from sensequant.device_timing import DeviceTiming
from sensequant.records import Outcome
from sensequant.runs import Stage
from sensequant.settings import RunOptions
from sensequant.stages.context import Findings
from sensequant.units import UnitRecord
from tasks import shards
from tasks.plans import PlannedWindows
from tasks.shards import ShardReport, Spread, spread_windows

WINDOWS = PlannedWindows(
    ["A", "A", "B", "B", "C"],
    ["2020-01-01..2020-06-30", "2020-07-01..2020-12-31"] * 2 + ["2020-01-01..2020-06-30"],
)
RUN_ID = "live_candidate_20250101_000000_0000abcd"
STAGE = Stage.TEACHER_TRAINING

Step = Callable[[dict[str, Any]], State[Any]]


def units(parameters: dict[str, Any]) -> list[UnitRecord]:
    """Return the records of the units that a share asks for."""
    return [
        UnitRecord(
            kind="teacher",
            name=f"teacher {symbol} {name}",
            symbol=symbol,
            window=name,
            outcome=Outcome.SUCCESS,
            seconds=0.1,
        )
        for symbol, names in parameters["windows"].items()
        for name in names
    ]


def done(parameters: dict[str, Any]) -> State[Any]:
    """Return the state of a share that did all it was asked for."""
    return Completed(data=ShardReport(records=units(parameters)))


def waiting(_: dict[str, Any]) -> State[Any]:
    """Return the state of a share that nobody takes."""
    return Scheduled()


def running(_: dict[str, Any]) -> State[Any]:
    """Return the state of a share that is being done, for a long time already."""
    return Running(timestamp=datetime.now(UTC) - timedelta(hours=1))


class Server:
    """The calls that are made to a server, and the pools behind it.

    A pool is a list of what its run shows at each look; the last one stays. A pool that is not
    `online` has lost its worker.
    """

    def __init__(self, **pools: list[Step]) -> None:
        self.pools = {name.replace("_", "-"): steps for name, steps in pools.items()}
        self.online = set(self.pools)
        self.started: list[tuple[str, dict[str, Any], list[str]]] = []
        self.ended: list[tuple[str, StateType]] = []
        self.task_ended_at: datetime | None = None
        self._runs: dict[UUID, tuple[str, dict[str, Any]]] = {}

    def start(self, name: str, *, parameters: dict[str, Any], timeout: int, tags: list[str]) -> Any:
        """Stand in for `run_deployment`."""
        assert timeout == 0
        flow, pool = name.split("/")
        assert flow == "train-shard"
        self.started.append((pool, parameters, tags))
        flow_run_id = uuid4()
        self._runs[flow_run_id] = (pool, parameters)
        return SimpleNamespace(id=flow_run_id)

    def read_flow_run(self, flow_run_id: UUID) -> FlowRun:
        """Return the run as its pool shows it at this look."""
        pool, parameters = self._runs[flow_run_id]
        steps = self.pools[pool]
        step = steps.pop(0) if len(steps) > 1 else steps[0]
        return FlowRun(id=flow_run_id, flow_id=uuid4(), state=step(parameters))

    def set_flow_run_state(self, flow_run_id: UUID, state: State[Any], *, force: bool) -> None:
        """Note how a run was ended from outside."""
        assert force
        self.ended.append((self._runs[flow_run_id][0], state.type))

    def read_workers_for_work_pool(self, pool: str) -> list[Any]:
        """Return one worker for each pool that there is."""
        if pool not in self.pools:
            raise ObjectNotFound(KeyError(pool))
        status = WorkerStatus.ONLINE if pool in self.online else WorkerStatus.OFFLINE
        return [SimpleNamespace(status=status)]

    def read_deployment_by_name(self, name: str) -> None:
        """Know the deployment of each pool that there is."""
        if name.split("/")[1] not in self.pools:
            raise ObjectNotFound(KeyError(name))

    def read_task_runs(self, **_: Any) -> list[Any]:
        """Return the unit that ended last."""
        return [] if self.task_ended_at is None else [SimpleNamespace(end_time=self.task_ended_at)]


class _Costs:
    """Every window costs one second."""

    def __init__(self, _run: Any, _stage: Stage, symbols: list[str], names: list[str]) -> None:
        self.seconds = [1.0] * len(names)
        assert len(symbols) == len(names)

    def divide(self, n_shards: int) -> list[list[int]]:
        """Deal the windows out."""
        return [list(range(len(self.seconds)))[i::n_shards] for i in range(n_shards)]


@pytest.fixture
def spread(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Spread]:
    """Return `spread_windows` on a server; time passes a hundred times faster."""
    clock = iter(range(0, 10**9, 100))

    def on(server: Server, **options: Any) -> Spread:
        @contextmanager
        def client(**_: Any) -> Generator[Server]:
            yield server

        record = SimpleNamespace(options=RunOptions(**options))
        run = SimpleNamespace(folder=SimpleNamespace(run_id=RUN_ID), record=record)

        def load(_folder: Any) -> Any:
            return run

        monkeypatch.setattr(shards, "load_run", load)
        monkeypatch.setattr(shards, "get_client", client)
        monkeypatch.setattr(shards, "run_deployment", server.start)
        monkeypatch.setattr(shards, "WindowCosts", _Costs)
        return spread_windows(RUN_ID, STAGE, WINDOWS)

    def nothing(*_: Any, **__: Any) -> None:
        return None

    monkeypatch.setattr(shards, "show_shares", nothing)
    monkeypatch.setattr(shards, "tell_faster_device", nothing)
    monkeypatch.setattr(
        shards, "time", SimpleNamespace(sleep=nothing, monotonic=lambda: next(clock))
    )
    return on


def names(records: list[UnitRecord]) -> list[str]:
    return sorted(record.name for record in records)


ALL = sorted(f"teacher {s} {n}" for s, n in zip(*WINDOWS, strict=True))


def test_without_pools_everything_is_left_to_the_process(spread: Callable[..., Spread]) -> None:
    """No server is asked, nothing is started."""
    found = spread(Server())

    assert (found.left, found.records, found.shares) == (WINDOWS, [], [])


def test_each_pool_does_its_share(spread: Callable[..., Spread]) -> None:
    """One run per pool, tagged with its name; every window is in one of them."""
    server = Server(gpu_0=[waiting, running, done], gpu_1=[running, running, running, done])

    found = spread(server, gpu_pools=("gpu-0", "gpu-1"), pool_start_seconds=3600)

    assert names(found.records) == ALL
    assert found.left == PlannedWindows([], [])
    assert [(pool, tags) for pool, _, tags in server.started] == [
        ("gpu-0", ["gpu-0"]),
        ("gpu-1", ["gpu-1"]),
    ]
    assert {given["device"] for _, given, _ in server.started} == {"gpu-0", "gpu-1"}
    assert [row["share"] for row in found.shares] == ["done", "done"]
    assert server.ended == []


@pytest.mark.parametrize("end", [Crashed, Failed])
def test_the_share_of_a_pool_that_breaks_goes_to_the_other(
    spread: Callable[..., Spread], end: Callable[..., State[Any]]
) -> None:
    """Only the windows of the broken pool are started again, and never on that pool."""

    def broken(_: dict[str, Any]) -> State[Any]:
        return end(message="killed")

    server = Server(gpu_0=[running, broken], gpu_1=[done])

    found = spread(server, gpu_pools=("gpu-0", "gpu-1"))

    assert names(found.records) == ALL
    assert [pool for pool, _, _ in server.started] == ["gpu-0", "gpu-1", "gpu-1"]
    assert server.started[2][1]["windows"] == server.started[0][1]["windows"]
    moved = next(row for row in found.shares if row["share"] == "moved")
    assert (moved["pool"], moved["windows"]) == ("gpu-0", 3)
    assert "killed" in moved["reason"]


def test_a_share_that_nobody_takes_moves_after_the_time_limit(
    spread: Callable[..., Spread],
) -> None:
    """Its run is cancelled first, so that a worker that comes late does not do it as well."""
    server = Server(gpu_0=[waiting], gpu_1=[done])

    found = spread(server, gpu_pools=("gpu-0", "gpu-1"), pool_start_seconds=300)

    assert names(found.records) == ALL
    assert server.ended == [("gpu-0", StateType.CANCELLED)]
    assert "within 300 s" in next(r["reason"] for r in found.shares if r["share"] == "moved")


def test_a_share_that_stands_still_without_its_worker_moves(
    spread: Callable[..., Spread],
) -> None:
    """The worker has gone while its share ran, and no unit has ended since: it is given up."""
    server = Server(gpu_0=[running], gpu_1=[done])

    def lose(parameters: dict[str, Any]) -> State[Any]:
        server.online.discard("gpu-0")
        return running(parameters)

    server.pools["gpu-0"] = [lose]

    found = spread(server, gpu_pools=("gpu-0", "gpu-1"))

    assert names(found.records) == ALL
    assert server.ended == [("gpu-0", StateType.CRASHED)]


def test_a_share_that_moves_on_without_its_worker_is_left_alone(
    spread: Callable[..., Spread],
) -> None:
    """The process of a share may outlive its worker; as long as units end, it is waited for."""
    server = Server()

    def lose(parameters: dict[str, Any]) -> State[Any]:
        server.online.discard("gpu-0")
        server.task_ended_at = datetime.now(UTC)
        return running(parameters)

    server.pools["gpu-0"] = [lose, lose, lose, done]
    server.online.add("gpu-0")

    found = spread(server, gpu_pools=("gpu-0",))

    assert names(found.records) == ALL
    assert server.ended == []


def test_what_no_pool_does_is_left_to_the_process(spread: Callable[..., Spread]) -> None:
    """A pool without a worker, one that is not there, and one that breaks: all is left."""

    def broken(_: dict[str, Any]) -> State[Any]:
        return Crashed()

    server = Server(gpu_0=[broken], gpu_1=[done])
    server.online.discard("gpu-1")

    found = spread(server, gpu_pools=("gpu-0", "gpu-1", "gpu-2"))

    assert found.records == []
    assert sorted(zip(*found.left, strict=True)) == sorted(zip(*WINDOWS, strict=True))
    assert [(row["pool"], row["share"]) for row in found.shares] == [
        ("gpu-1", "none"),
        ("gpu-2", "none"),
        ("gpu-0", "moved"),
    ]
    assert "sensequant deploy" in found.shares[1]["reason"]


def test_a_run_that_says_something_else_is_not_believed(spread: Callable[..., Spread]) -> None:
    """What is no report, or is not there any more, counts as a share that was not done."""
    for data in ("all well", {"records": 7}, None):

        def odd(_: dict[str, Any], data: Any = data) -> State[Any]:
            return Completed(data=data)

        found = spread(Server(gpu_0=[odd]), gpu_pools=("gpu-0",))

        assert found.left.names == WINDOWS.names
        assert "no report" in found.shares[0]["reason"]


def test_a_report_that_was_stored_is_one(spread: Callable[..., Spread]) -> None:
    """Prefect stores JSON and hands back a dictionary."""

    def stored(parameters: dict[str, Any]) -> State[Any]:
        report = ShardReport(records=units(parameters))
        return Completed(data=report.model_dump(mode="json"))

    found = spread(Server(gpu_0=[stored]), gpu_pools=("gpu-0",))

    assert names(found.records) == ALL


def test_shares_end_with_the_run_that_shares_out(spread: Callable[..., Spread]) -> None:
    """Whatever stops the parent, by Ctrl-C too, stops what it has started and is not over."""

    def interrupted(_: dict[str, Any]) -> State[Any]:
        raise KeyboardInterrupt

    server = Server(gpu_0=[done], gpu_1=[interrupted], gpu_2=[running])

    with pytest.raises(KeyboardInterrupt):
        spread(server, gpu_pools=("gpu-0", "gpu-1", "gpu-2"))

    assert server.ended == [("gpu-1", StateType.CANCELLING), ("gpu-2", StateType.CANCELLING)]


def test_findings_say_how_many_units_pools_did_and_which_device_is_faster() -> None:
    """Figures of the devices stand beside those of the stage; without pools there are none."""
    timing = DeviceTiming(
        device="cuda", n_rows=120, n_columns=40, n_rounds=50, cpu_seconds=0.02, device_seconds=0.5
    )
    found = Findings(values={"n_teachers": 3})
    spread = Spread(left=WINDOWS, timings=[timing])
    assert Spread(left=WINDOWS).add_to(found) == found

    spread.note("gpu-0", "none")

    assert spread.add_to(found).values == {
        "n_teachers": 3,
        "n_units_on_gpu_pools": 0,
        "fit_seconds_cpu": 0.02,
        "fit_seconds_cuda": 0.5,
        "is_cpu_faster": True,
    }
