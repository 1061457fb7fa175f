"""Facts about moving models: killed at every step, and many processes at once.

Children are forked from one process that has imported everything and done nothing yet, so that one
costs a fraction of a second and no thread is lost by the fork.
"""

import itertools
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from sensequant.errors import SenseQuantError
from sensequant.release.deployment_records import Deployment, DeploymentOutcome, EnvironmentName
from sensequant.release.environments import pointer_path, read_pointer
from sensequant.release.limits import PromotionLimits
from sensequant.release.manifest import CandidateStatus
from sensequant.release.models import models_folder, open_model
from sensequant.release.registry_records import EventKind
from sensequant.runs import RunFolder
from sensequant.stages.decision import Answer, Choice, decide
from sensequant.stages.moving import Order, environments_of, history_of, reconcile
from sensequant.stages.promotion import promote_candidate, rollback_environment, stage_candidate
from sensequant.stages.registry_place import registry_of
from sensequant.storage import sha256_of
from sensequant.student_file import read_student

STAGING, PRODUCTION = EnvironmentName
World = Any
"""The home that the fixture `world` makes (`tests/conftest.py`)."""

AT = datetime(2023, 6, 30, 12, tzinfo=UTC)
LATER = datetime(2023, 7, 14, 12, tzinfo=UTC)


def load(path: Path, sha256: str) -> object:
    return read_student(path, sha256=sha256)


def order(at: datetime) -> Order:
    return Order(actor="bo", reason="because", clock=lambda: at, load=load)


@pytest.fixture(scope="session")
def warm() -> ForkServerContext:
    """Return what forks children from a process that has imported this module."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def act(what: str, home: Path, number: int) -> Deployment:
    if what == "stage":
        return stage_candidate(run_at(home, number), order(AT))
    if what == "promote":
        return promote_candidate(run_at(home, number), order(LATER))
    return rollback_environment(home, STAGING, order(AT))


WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod"}


class Countdown:
    """Kills its own process before the step of a number; without one it counts the steps."""

    def __init__(self, home: Path, kill_at: int | None) -> None:
        self.home, self.kill_at, self.n_steps = str(home), kill_at, 0
        self.intended_at: int | None = None

    def step(self) -> None:
        """Come to the next step."""
        self.n_steps += 1
        if self.n_steps == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(self, name: str, args: tuple[Any, ...]) -> None:
        """See what Python is about to do to a file of the home."""
        is_write = name == "open" and bool(int(args[2] or 0) & WRITING)
        if (is_write or name in CHANGES) and self.home in str(args[0]):
            self.step()

    def statement(self, _c: Any, _u: Any, statement: str, *_: Any) -> None:
        """See what is about to be said to the database; a question changes nothing."""
        if not statement.startswith(("SELECT", "PRAGMA")):
            self.step()
        if statement.startswith("INSERT INTO deployments "):
            self.intended_at = self.n_steps

    def install(self) -> None:
        """Come between this process and the world."""
        sys.addaudithook(self.audit)
        sync = os.fsync

        def counted(descriptor: int) -> None:
            self.step()
            sync(descriptor)

        os.fsync = counted
        event.listen(sa.Engine, "before_cursor_execute", self.statement)
        event.listen(sa.Engine, "commit", lambda _connection: self.step())  # pyright: ignore[reportUnknownLambdaType,reportUnknownArgumentType]


def act_and_die(what: str, home: Path, number: int, kill_at: int | None, counted: Path) -> None:
    countdown = Countdown(home, kill_at)
    countdown.install()
    act(what, home, number)
    if kill_at is None:
        counted.write_text(f"{countdown.n_steps} {countdown.intended_at}")
    else:
        # After the last step, too.
        os.kill(os.getpid(), signal.SIGKILL)


def finished(process: BaseProcess) -> int:
    process.join(300)
    assert process.exitcode is not None
    return process.exitcode


def before(what: str, world: World) -> tuple[int, EnvironmentName]:
    """Bring a home to the moment before an act; return the candidate and the environment."""
    if what == "stage":
        act("stage", world.home, 1)
        return 2, STAGING
    if what == "promote":
        act("stage", world.home, 1)
        world.deliver(LATER.date())
        return 1, PRODUCTION
    act("stage", world.home, 1)
    act("stage", world.home, 2)
    return 1, STAGING


def statuses(home: Path) -> dict[str, CandidateStatus]:
    with closing(registry_of(home)) as registry:
        return {each.run_id: each.status for each in registry.get_candidate_runs()}


@pytest.mark.parametrize(
    "stride", [5, pytest.param(1, marks=pytest.mark.machines)], ids=["some before", "all"]
)
@pytest.mark.parametrize(("what", "n_least"), [("stage", 60), ("promote", 30), ("rollback", 30)])
def test_killed_at_any_step_an_environment_points_to_the_old_or_the_new_model(
    world: World, warm: ForkServerContext, tmp_path: Path, what: str, n_least: int, stride: int
) -> None:
    """Never to neither, never to half of one; the next look settles and tells which it was.

    Before the intention there is nothing to lose: of those steps, every `stride`th.
    """
    number, environment = before(what, world)
    at = LATER if what == "promote" else AT
    old = read_pointer(world.home, environment)
    counted, outcomes = tmp_path / "counted", Counter[str]()

    def run_copy(kill_at: int | None) -> Path:
        home = tmp_path / "copy"
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(world.home, home)
        process = warm.Process(target=act_and_die, args=(what, home, number, kill_at, counted))
        process.start()
        assert finished(process) == (0 if kill_at is None else -signal.SIGKILL)
        return home

    run_copy(None)
    n_steps, intended_at = map(int, counted.read_text().split())
    assert n_steps >= n_least
    for kill_at in (*range(1, intended_at, stride), *range(intended_at, n_steps + 2)):
        home = run_copy(kill_at)
        found = read_pointer(home, environment)
        is_new = found != old
        if found is not None:
            # Whole, whatever else lies about.
            open_model(home, found.model_sha256)
        settled = reconcile(home, actor="cleaner", clock=lambda: at)
        outcomes[require_settled(home, environment, settled, is_new=is_new)] += 1
        if settled and not is_new and kill_at % 5 == 0:
            # Whatever was left does not stand in the way.
            assert act(what, home, number).outcome is DeploymentOutcome.COMPLETED
            require_settled(home, environment, [], is_new=True)
    # Before the intention, between it and the pointer, after the pointer, after all.
    assert set(outcomes) == {"nothing begun", "abandoned", "found done", "done"}


def require_settled(
    home: Path, environment: EnvironmentName, settled: list[Deployment], *, is_new: bool
) -> str:
    """Hold the history against the pointer; return what became of the deployment."""
    history = history_of(home)
    completed = [
        each
        for each in history
        if each.environment is environment and each.outcome is DeploymentOutcome.COMPLETED
    ]
    pointer = read_pointer(home, environment)
    assert all(each.outcome is not None for each in history)
    assert (None if pointer is None else pointer.number) == (
        completed[-1].number if completed else None
    )
    assert all(state.problem is None for state in environments_of(home))
    assert not list(models_folder(home).glob(".*"))
    left = [path.name for path in pointer_path(home, environment).parent.glob(".*")]
    assert left == [".pointers.lock"]
    states = statuses(home)
    for name, status in (
        (STAGING, CandidateStatus.STAGING),
        (PRODUCTION, CandidateStatus.PRODUCTION),
    ):
        stands = read_pointer(home, name)
        if stands is not None and status is CandidateStatus.PRODUCTION:
            assert states[stands.run_id] is status
    if not settled:
        return "done" if is_new else "nothing begun"
    (one,) = settled
    assert one.outcome is (DeploymentOutcome.COMPLETED if is_new else DeploymentOutcome.ABANDONED)
    with closing(registry_of(home)) as registry:
        last = registry.history(one.run_id)[-1]
    told = "found done" if is_new else "nothing has changed"
    assert told in str(one.note)
    if is_new:
        # The history of the candidate says so, too.
        assert (last.actor, "found done" in last.reason) == ("cleaner", True)
    return "found done" if is_new else "abandoned"


def test_environment_takes_no_second_deployment_while_one_is_under_way(
    world: World, warm: ForkServerContext
) -> None:
    """A process that lives keeps the lock: another one waits, and then does what is left to do."""
    act("stage", world.home, 1)
    with closing(registry_of(world.home)) as registry:
        intended = registry.deployments.history()[-1]
    processes = [warm.Process(target=try_to, args=("stage", world.home, 2)) for _ in range(3)]
    for process in processes:
        process.start()
    codes = Counter(finished(process) for process in processes)

    assert codes == {0: 1, 3: 2}
    assert [each.number for each in history_of(world.home)] == [intended.number, 2]


def try_to(what: str, home: Path, number: int) -> None:
    try:
        act(what, home, number)
    except SenseQuantError:
        sys.exit(3)


N_PROCESSES = 20
N_CANDIDATES = 8


@pytest.mark.parametrize(
    ("seconds", "kind"),
    [
        pytest.param(3, "world", id="a moment"),
        pytest.param(60, "world", marks=pytest.mark.machines, id="a minute"),
        pytest.param(60, "world_elsewhere", marks=pytest.mark.machines, id="on PostgreSQL"),
    ],
)
def test_twenty_processes_at_once_lose_no_event(
    request: pytest.FixtureRequest,
    warm: ForkServerContext,
    tmp_path: Path,
    seconds: float,
    kind: str,
) -> None:
    """They approve, stage, promote and roll back as they like; what they were told is what is."""
    world: World = request.getfixturevalue(kind)
    for number in range(3, N_CANDIDATES + 1):
        world.judge(world.train(number))
    together = warm.Barrier(N_PROCESSES + 1)
    start = time.monotonic()
    reports = [tmp_path / f"report{number}" for number in range(N_PROCESSES)]
    processes = [
        warm.Process(target=do_anything, args=(world, seed, start, seconds, together, report))
        for seed, report in enumerate(reports)
    ]
    for process in processes:
        process.start()
    together.wait(300)
    for process in processes:
        process.join(seconds + 300)
    assert [process.exitcode for process in processes] == [0] * N_PROCESSES

    told = Counter[str]()
    for report in reports:
        told.update(report.read_text().split())
    require_whole(world, told)


def do_anything(
    world: World, seed: int, start: float, seconds: float, together: Barrier, report: Path
) -> None:
    """Do what chance says until the time is over, and write down what was said to be done."""
    home: Path = world.home
    chance = random.Random(seed)  # noqa: S311 - a seeded choice of a test
    done: list[str] = []
    order = Order(
        actor=f"process {seed}",
        reason="as chance says",
        clock=lambda: AT + timedelta(seconds=time.monotonic() - start),
        limits=PromotionLimits(staging_hours=0, min_free_mib=1),
        load=load,
        registry=world.registry,
    )
    acts = {
        "approve": lambda: approve(one_of(home, chance), order),
        "stage": lambda: stage_candidate(one_of(home, chance), order),
        "promote": lambda: promote_candidate(staged_or(one_of(home, chance)), order),
        "rollback": lambda: rollback_environment(home, chance.choice((STAGING, PRODUCTION)), order),
        "look": lambda: look(home),
    }
    together.wait(300)
    until = time.monotonic() + seconds
    if seed == 0:
        # Whatever chance says, one of them begins with a candidate that may move.
        attempt(done, "stage", lambda: stage_candidate(run_at(home, 1), order))
    while time.monotonic() < until:
        name = chance.choice(list(acts))
        attempt(done, name, acts[name])
    report.write_text(" ".join(done))


def attempt(done: list[str], name: str, act: Callable[[], object]) -> None:
    """Note what was said to be done; a refusal is an answer, too."""
    try:
        answer = act()
    except SenseQuantError:
        return
    done.append(f"approved:{answer}" if name == "approve" else name)


def run_at(home: Path, number: int) -> RunFolder:
    return RunFolder(home, f"live_candidate_20230630_000000_{number:08x}")


def one_of(home: Path, chance: random.Random) -> RunFolder:
    return run_at(home, chance.randint(1, N_CANDIDATES))


def staged_or(folder: RunFolder) -> RunFolder:
    """Return the run that stands in staging; the given one where nothing does."""
    pointer = read_pointer(folder.home, STAGING)
    return folder if pointer is None else RunFolder(folder.home, pointer.run_id)


def approve(folder: RunFolder, order: Order) -> str:
    answer = Answer(
        choice=Choice.APPROVE,
        name=order.actor,
        reason=order.reason,
        manifest_sha256=sha256_of(folder.manifest),
    )
    return decide(folder, answer, at=order.clock(), registry=order.registry).run_id


def look(home: Path) -> None:
    """Read as one who scores does: there is a whole model, or there never was one."""
    for name in EnvironmentName:
        pointer = read_pointer(home, name)
        if pointer is not None:
            open_model(home, pointer.model_sha256)


def require_whole(world: World, told: Counter[str]) -> None:
    """Hold what processes were told against what the registry and the files say."""
    home: Path = world.home
    with closing(registry_of(home, world.registry)) as registry:
        history = registry.deployments.history()
        candidates = registry.get_candidate_runs()
        events = {each.run_id: registry.history(each.run_id) for each in candidates}
    done = Counter(each.kind.value for each in history)

    assert {name: told[name] for name in ("stage", "promote", "rollback")} == {
        name: done[name] for name in ("stage", "promote", "rollback")
    }
    assert all(each.outcome is DeploymentOutcome.COMPLETED for each in history)
    for name in EnvironmentName:
        chain = [each for each in history if each.environment is name]
        assert all(later.replaces == former.number for former, later in itertools.pairwise(chain))
        assert all(
            each.run_id == chain_of(chain, each.restores).run_id
            for each in chain
            if each.restores is not None
        )
        pointer = read_pointer(home, name)
        assert (pointer.number if pointer else None) == (chain[-1].number if chain else None)
    for run_id, entries in events.items():
        n_approvals = sum(entry.kind is EventKind.APPROVED for entry in entries)
        # Whoever approves again what he has approved is told the same.
        assert n_approvals == 1 if told[f"approved:{run_id}"] else n_approvals <= 1
        assert all(
            later.from_status == former.to_status for former, later in itertools.pairwise(entries)
        )
    assert {each.run_id: each.status for each in candidates} == {
        run_id: entries[-1].to_status for run_id, entries in events.items()
    }
    states = environments_of(home, registry=world.registry)
    assert all(state.problem is None for state in states)
    assert done["stage"] >= 1


def chain_of(chain: list[Deployment], number: int) -> Deployment:
    return next(each for each in chain if each.number == number)
