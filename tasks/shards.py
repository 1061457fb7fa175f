"""Sharing the windows of a stage between the GPU pools, one run of the shard flow for each.

Belongs here: which pools can work, starting their shares, waiting, and moving what a pool does not
do. Does not belong here: how windows are divided (`sensequant.stages.costs`), and what a share does
in its own process (`flows.train_shard`).

A pool has a share until its run ends otherwise than `Completed`, is not taken by a worker in time,
or stands still after its worker has gone. Its windows then go to the other pools, and at last to
this process. Units are found by what they follow from, so that what a lost pool had done is not
done again.
"""

import time
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, State, WorkerStatus
from prefect.client.schemas.sorting import TaskRunSort
from prefect.deployments import run_deployment
from prefect.exceptions import MissingResult, ObjectNotFound
from prefect.futures import PrefectFuture
from prefect.states import Cancelled, Cancelling, Crashed
from pydantic import BaseModel, Field, ValidationError

from sensequant.device_timing import DeviceTiming
from sensequant.runs import Stage
from sensequant.stages.context import Findings, Run, load_run
from sensequant.stages.costs import WindowCosts
from sensequant.units import UnitRecord
from tasks.artifacts import show_shares
from tasks.plans import PlannedWindows, windows_at
from tasks.telling import say
from tasks.units import emit_ended, records_of, run_folder
from tasks.watching import tell_faster_device

__all__ = ["SHARD_FLOW", "ShardReport", "Spread", "collect_share", "spread_windows"]

SHARD_FLOW = "train-shard"
"""Name of the flow; its deployments have the names of the pools."""

_POLL_SECONDS = 1.0
_SILENCE_SECONDS = 60.0


class ShardReport(BaseModel):
    """What the run of one share returns: the records of its units, and which device is faster."""

    records: list[UnitRecord] = Field(default_factory=list[UnitRecord])
    timing: DeviceTiming | None = None


@dataclass
class _Share:
    pool: str
    positions: list[int]
    flow_run_id: UUID
    cost_seconds: float
    waits_since: float
    reason: str | None = None
    report: ShardReport | None = None

    @property
    def is_over(self) -> bool:
        return self.report is not None or self.reason is not None


@dataclass
class Spread:
    """What the pools did, and what is left for this process.

    Attributes
    ----------
    records
        Of the units that pools did.
    left
        Windows that this process must do.
    shares
        One row per run of a share, for the page.
    timings
        Of a typical fit, one per pool that measured it.
    """

    left: PlannedWindows
    records: list[UnitRecord] = field(default_factory=list[UnitRecord])
    shares: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    timings: list[DeviceTiming] = field(default_factory=list[DeviceTiming])

    def note(self, pool: str, what: str, share: _Share | None = None, **fields: Any) -> None:
        """Add what became of a share to the table of the page."""
        self.shares.append(
            {
                "pool": pool,
                "share": what,
                "windows": 0 if share is None else len(share.positions),
                "cost": 0.0 if share is None else round(share.cost_seconds, 3),
                "seconds": "",
                "reason": "",
                "flow run": "" if share is None else str(share.flow_run_id),
                **fields,
            }
        )

    def add_to(self, findings: Findings) -> Findings:
        """Return the findings of a stage with those of the devices."""
        values: dict[str, Any] = {}
        if self.shares:
            values |= {"n_units_on_gpu_pools": len(self.records)}
        for timing in self.timings[:1]:
            values |= {
                "fit_seconds_cpu": timing.cpu_seconds,
                f"fit_seconds_{timing.device}": timing.device_seconds,
                "is_cpu_faster": timing.is_cpu_faster,
            }
        return findings.model_copy(update={"values": findings.values | values})


def spread_windows(run_id: str, stage: Stage, windows: PlannedWindows) -> Spread:
    """Let the GPU pools of the run's settings do its windows; return when all have ended.

    Parameters
    ----------
    run_id
        A run whose features are made.
    stage
        Teachers or students.
    windows
        Parallel symbols and names of the windows.

    Returns
    -------
    Spread
        Without pools that can work, everything is left to the caller.
    """
    run = load_run(run_folder(run_id))
    wanted = run.record.options.gpu_pools
    spread = Spread(left=windows)
    if wanted and windows.names:
        with get_client(sync_client=True) as client:
            pools = [pool for pool in wanted if _can_work(client, pool, spread)]
            _Spreading(client, run, stage, windows, spread).share_out(pools)
        show_shares(run_id, stage, spread.shares)
    if spread.left.names:
        timing = tell_faster_device(run_id, stage, spread.left)
        spread.timings += [] if timing is None else [timing]
    return spread


def collect_share(
    run_id: str, stage: Stage, futures: Iterable[PrefectFuture[Any]]
) -> list[UnitRecord]:
    """Wait for the units of a share and return their records; tell those that were cached."""
    folder = run_folder(run_id)
    records: list[UnitRecord] = []
    for future in futures:
        made = records_of(future)
        if future.state.name == "Cached":
            for record in made:
                emit_ended(folder, stage, record, is_cached=True)
        records += made
    return records


class _Spreading:
    """The shares of one stage: started, watched, and moved where a pool does not do its own."""

    def __init__(
        self,
        client: SyncPrefectClient,
        run: Run,
        stage: Stage,
        windows: PlannedWindows,
        spread: Spread,
    ) -> None:
        self._client = client
        self._run = run
        self._stage = stage
        self._windows = windows
        self._spread = spread
        self._start_seconds = run.record.options.pool_start_seconds

    def share_out(self, pools: list[str]) -> None:
        left = list(range(len(self._windows.names)))
        while pools and left:
            lost = self._one_round(pools, left)
            left = sorted(position for share in lost for position in share.positions)
            pools = [pool for pool in pools if pool not in {share.pool for share in lost}]
            if lost:
                say(
                    "windows move to other devices",
                    is_warning=True,
                    windows=len(left),
                    to=", ".join(pools) or "the process of this run",
                )
        self._spread.left = windows_at(left, self._windows)

    def _one_round(self, pools: list[str], left: list[int]) -> list[_Share]:
        windows = windows_at(left, self._windows)
        costs = WindowCosts(self._run, self._stage, windows.symbols, windows.names)
        parts = zip(pools, costs.divide(len(pools)), strict=True)
        shares: list[_Share] = []
        with self._cancelled_on_error(shares):
            for pool, part in parts:
                if part:
                    cost = sum(costs.seconds[place] for place in part)
                    shares.append(self._start(pool, [left[place] for place in part], cost))
            while not all(share.is_over for share in shares):
                time.sleep(_POLL_SECONDS)
                for share in shares:
                    if not share.is_over:
                        self._look_at(share)
        return [share for share in shares if share.reason is not None]

    def _start(self, pool: str, positions: list[int], cost_seconds: float) -> _Share:
        part = windows_at(positions, self._windows)
        names: dict[str, list[str]] = {}
        for symbol, name in zip(part.symbols, part.names, strict=True):
            names.setdefault(symbol, []).append(name)
        start = cast("Callable[..., FlowRun]", run_deployment)
        flow_run = start(
            f"{SHARD_FLOW}/{pool}",
            parameters={
                "run_id": self._run.folder.run_id,
                "stage": self._stage.value,
                "windows": names,
                "device": pool,
            },
            timeout=0,
            tags=[pool],
        )
        say("share started", pool=pool, windows=len(positions), cost=round(cost_seconds, 3))
        return _Share(pool, positions, flow_run.id, cost_seconds, waits_since=time.monotonic())

    def _look_at(self, share: _Share) -> None:
        flow_run = self._client.read_flow_run(share.flow_run_id)
        state = flow_run.state
        if state is None:
            return
        if state.is_completed():
            self._take_in(share, flow_run, state)
        elif state.is_final():
            self._give_up(share, f"its run ended {state.name}: {state.message}")
        elif state.is_scheduled():
            if time.monotonic() - share.waits_since > self._start_seconds:
                self._end(share, Cancelled(message="other devices take over"))
                self._give_up(share, f"nobody took it within {self._start_seconds} s")
        elif not _is_alive(self._client, share.pool) and self._is_silent(flow_run):
            self._end(share, Crashed(message="its worker is gone, and nothing moves"))
            self._give_up(share, "its worker is gone, and nothing moves")

    def _take_in(self, share: _Share, flow_run: FlowRun, state: State[Any]) -> None:
        try:
            # Prefect hands a model that it stored as JSON back as a dictionary.
            report = ShardReport.model_validate(state.result(raise_on_failure=False))
        except (ValidationError, MissingResult) as error:
            self._give_up(share, f"its run returned no report: {' '.join(str(error).split())}")
            return
        share.report = report
        self._spread.records += report.records
        if report.timing is not None:
            self._spread.timings.append(report.timing)
        seconds = round(flow_run.total_run_time.total_seconds(), 1)
        self._spread.note(share.pool, "done", share, seconds=seconds)

    def _give_up(self, share: _Share, reason: str) -> None:
        share.reason = reason
        self._spread.note(share.pool, "moved", share, reason=reason)
        say("pool gives up its share", is_warning=True, pool=share.pool, reason=reason)

    def _end(self, share: _Share, state: State[Any]) -> None:
        self._client.set_flow_run_state(share.flow_run_id, state, force=True)

    def _is_silent(self, flow_run: FlowRun) -> bool:
        # The process of a share may outlive its worker and go on.
        last = self._client.read_task_runs(
            flow_run_filter=FlowRunFilter.model_validate({"id": {"any_": [flow_run.id]}}),
            sort=TaskRunSort.END_TIME_DESC,
            limit=1,
        )
        state = flow_run.state
        taken = None if state is None else state.timestamp
        times = [taken, flow_run.start_time, *(task_run.end_time for task_run in last)]
        known = [each for each in times if each is not None]
        limit = timedelta(seconds=max(_SILENCE_SECONDS, self._start_seconds))
        return datetime.now(UTC) - max(known, default=datetime.min.replace(tzinfo=UTC)) > limit

    @contextmanager
    def _cancelled_on_error(self, shares: list[_Share]) -> Any:
        try:
            yield
        except BaseException:
            for share in shares:
                if not share.is_over:
                    # Its worker ends the process; what it has done so far stays.
                    self._end(share, Cancelling(message="the run that shares out has ended"))
            raise


def _can_work(client: SyncPrefectClient, pool: str, spread: Spread) -> bool:
    try:
        client.read_deployment_by_name(f"{SHARD_FLOW}/{pool}")
        reason = None if _is_alive(client, pool) else "no worker of it is online"
    except ObjectNotFound:
        reason = f"there is no deployment {SHARD_FLOW}/{pool}; run `sensequant deploy`"
    if reason is not None:
        spread.note(pool, "none", reason=reason)
        say("pool takes no share", is_warning=True, pool=pool, reason=reason)
    return reason is None


def _is_alive(client: SyncPrefectClient, pool: str) -> bool:
    try:
        workers = client.read_workers_for_work_pool(pool)
    except ObjectNotFound:
        return False
    return any(worker.status is WorkerStatus.ONLINE for worker in workers)
