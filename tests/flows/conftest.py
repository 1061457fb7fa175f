"""One real Prefect server for all tests of flows, a tiny market, and ways to ask what happened.

The server is the one that `sensequant up` starts, with the settings of `deployments/server.env`:
the one that Prefect starts in passing loses task runs. Processes of pytest-xdist share it.
"""

import os
import shutil
import socket
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, cast

import httpx
import polars as pl
import pytest
from prefect.client.schemas.objects import State
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    PREFECT_HOME,
    PREFECT_LOCAL_STORAGE_PATH,
    PREFECT_RESULTS_DEFAULT_SERIALIZER,
    PREFECT_SERVER_ALLOW_EPHEMERAL_MODE,
    temporary_settings,
)

from blocks.environment import Environment
from flows.run_history import historical_training
from sensequant.breeze_simulator.access import simulated_login
from sensequant.breeze_simulator.limits import UNLIMITED
from sensequant.breeze_simulator.market import SimulatedFeed
from sensequant.breeze_simulator.server import BreezeSimulator
from sensequant.cli.server import ensure_server, own_server, stop_server
from sensequant.evaluation.hypotheses import SignificanceConfig
from sensequant.evaluation.validation import ValidationConfig
from sensequant.ingestion.places import market_digest
from sensequant.ingestion.simulators import announce_simulator
from sensequant.market.sources.build import SourceConfig
from sensequant.market.sources.simulated import SimulatedConfig
from sensequant.records import code_version
from sensequant.runs import RunFolder
from sensequant.settings import RunOptions, RunRequest, TrainingConfig
from sensequant.stages import training
from sensequant.stages.context import RunRecord, RunSettings
from sensequant.stages.inline import run_inline
from sensequant.stages.opening import library_versions
from sensequant.storage import locked
from sensequant.stress.scenarios import StressConfig
from sensequant.student import StudentConfig
from sensequant.teacher import TeacherConfig, TeacherResult, train_teacher
from tasks.sources import close_intakes
from tasks.telling import utc_now

ROOT = Path(__file__).parents[2]
RUN_ID = "live_candidate_20250101_000000_0000abcd"
PATIENCE_SECONDS = 300.0
# Nobody reads events here or reacts to them; storing them doubles the work of the database.
_SERVICES_WITHOUT_WORK = (
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED",
)

REQUEST = RunRequest(
    start=date(2022, 1, 1),
    end=date(2023, 6, 30),
    source=SourceConfig(
        simulated=SimulatedConfig(n_symbols=3, history_start=date(2020, 12, 31), seed=7)
    ),
)
"""Two stocks with three windows to learn from and one that is too short; a third not yet listed."""

CONFIG = TrainingConfig(
    teacher=TeacherConfig.model_validate({"booster": {"n_estimators": 20, "num_leaves": 7}}),
    student=StudentConfig(n_estimators=10, num_leaves=4),
    validation=ValidationConfig(n_bootstrap_draws=100, n_placebo=2),
    significance=SignificanceConfig(n_draws=100),
    stress=StressConfig(periods=("rate_hike_selloff_2022", "svb_banking_crisis_2023")),
)


@pytest.fixture(scope="session")
def market() -> RunSettings:
    """Return the question that all tests of flows ask."""
    return RunSettings(request=REQUEST, config=CONFIG)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Environment]:
    """Return the environment of a running server, to which flows of this process report."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with _server_below(folder / "server") as env, temporary_settings(_client_settings(env)):
        yield env
        # What is still to be sent must not meet a server that is gone.
        APILogWorker.instance().drain()
        EventsWorker.drain_all()


@contextmanager
def _server_below(folder: Path) -> Generator[Environment]:
    """Hold a server that the first one starts and the last one stops."""
    users = folder / "users"
    users.mkdir(parents=True, exist_ok=True)
    mine = users / str(os.getpid())
    with locked(users):
        here = Environment.model_validate({"SENSEQUANT_HOME": folder})
        state = own_server(here)
        env = here.on_port(_unused_port() if state is None else state.port)
        with pytest.MonkeyPatch.context() as patch:
            for name in _SERVICES_WITHOUT_WORK:
                patch.setenv(name, "false")
            ensure_server(env)
        mine.touch()
    try:
        yield env
    finally:
        with locked(users):
            mine.unlink()
            if not any(users.iterdir()):
                stop_server(env)


def _unused_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _client_settings(env: Environment) -> dict[Any, Any]:
    return {
        PREFECT_API_URL: env.server_url,
        PREFECT_HOME: env.prefect_home,
        PREFECT_RESULTS_DEFAULT_SERIALIZER: "json",
        PREFECT_SERVER_ALLOW_EPHEMERAL_MODE: False,
        # A synchronous flow with a heartbeat takes a second to end.
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
    }


@contextmanager
def _at_home(home: Path) -> Generator[Path]:
    """Let tasks of this process keep their data and their results below `home`."""
    results = home / "prefect" / "results"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SENSEQUANT_HOME", str(home))
        with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: results}):
            yield home


@pytest.fixture
def home(server: Environment, tmp_path: Path) -> Generator[Path]:
    """Return the home of one test: an empty folder, on the shared server."""
    assert server
    with _at_home(tmp_path / "home") as home:
        yield home


@pytest.fixture
def folder(home: Path) -> RunFolder:
    """Return the folder of the run that `train` works on; empty at first."""
    return RunFolder(home, RUN_ID)


def _train(**parameters: Any) -> State[Any]:
    # The decorator types `return_state` away where the flow itself returns a state.
    execute = cast("Callable[..., State[Any]]", historical_training)
    given = {"request": REQUEST, "config": CONFIG, "options": RunOptions(workers=2)}
    return execute(**(given | {"run_id": RUN_ID} | parameters), return_state=True)


@pytest.fixture
def train(home: Path) -> Callable[..., State[Any]]:
    """Return the main flow with the tiny market as its default; it returns its final state."""
    assert home
    return _train


class Teaching:
    """Stands between stage 2 and the teacher: counts what is trained, fails what it is told to.

    A window is named by its symbol and its first session.
    """

    def __init__(self) -> None:
        self.taught: list[tuple[str, str]] = []
        self.errors: dict[tuple[str, str], Exception] = {}

    def __call__(self, rows: pl.DataFrame, **settings: Any) -> TeacherResult:
        """Train the teacher, or raise what this window was given."""
        window = (rows["symbol"][0], rows["session"][0].isoformat())
        self.taught.append(window)
        if window in self.errors:
            raise self.errors[window]
        return train_teacher(rows, **settings)


@pytest.fixture
def teaching(monkeypatch: pytest.MonkeyPatch) -> Teaching:
    """Return what counts the teachers that are really trained, and can make some of them fail."""
    double = Teaching()
    monkeypatch.setattr(training, "train_teacher", double)
    return double


@pytest.fixture(scope="session")
def finished(server: Environment, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Return a run on the tiny market with one worker, that nothing disturbed; do not alter it."""
    assert server
    with _at_home(tmp_path_factory.mktemp("finished")) as home:
        state = _train(options=RunOptions(workers=1))
    assert state.name == "Completed", state
    return RunFolder(home, RUN_ID)


@pytest.fixture
def copied(finished: RunFolder, home: Path) -> RunFolder:
    """Return a copy of a finished run in a home where nothing is cached."""
    shutil.copytree(finished.home, home, ignore=shutil.ignore_patterns("prefect"))
    return RunFolder(home, finished.run_id)


@pytest.fixture(scope="session")
def inline(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Return the same run, executed without Prefect."""
    folder = RunFolder(tmp_path_factory.mktemp("inline"), RUN_ID)
    at = datetime(2025, 1, 1, tzinfo=UTC)
    record = RunRecord(
        run_id=RUN_ID,
        started_at=at,
        options=RunOptions(),
        workers=1,
        host="test",
        code_version=code_version(),
        versions=library_versions(),
        is_simulated=True,
    )
    run_inline(
        folder,
        RunSettings(request=REQUEST, config=CONFIG),
        record,
        universes=ROOT / "deployments" / "universes",
        at=at,
    )
    return folder


@pytest.fixture
def ask(server: Environment) -> Callable[..., list[dict[str, Any]]]:
    """Return a reader of the server: a collection, and filters; pages are followed to the end."""

    def read(collection: str, **filters: Any) -> list[dict[str, Any]]:
        return list(_pages(f"{server.server_url}/{collection}/filter", filters))

    return read


def _pages(url: str, filters: dict[str, Any]) -> Iterator[dict[str, Any]]:
    size = 200
    with httpx.Client(trust_env=False, timeout=PATIENCE_SECONDS) as client:
        for offset in range(0, 100 * size, size):
            reply = client.post(url, json=filters | {"limit": size, "offset": offset})
            reply.raise_for_status()
            rows = reply.json()
            yield from rows
            if len(rows) < size:
                return


@pytest.fixture
def eventually() -> Callable[[Callable[[], Any]], Any]:
    """Return a way to wait until an answer is true: the server records task runs with a lag."""

    def wait(answer: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := answer()):
            assert time.monotonic() < deadline, "the server did not say so in time"
            time.sleep(0.2)
        return found

    return wait


@pytest.fixture(scope="session")
def simulator() -> Generator[BreezeSimulator]:
    """Return a running vendor for all tests; use it through `vendor`."""
    feed = SimulatedFeed(REQUEST.source.simulated)
    login = simulated_login(1)
    with BreezeSimulator(feed, clock=utc_now, login=login, limits=UNLIMITED) as running:
        yield running


@pytest.fixture
def source() -> SourceConfig:
    """Return the settings by which a run asks that vendor."""
    return SourceConfig(kind="breeze-simulator", simulated=REQUEST.source.simulated)


@pytest.fixture
def vendor(
    simulator: BreezeSimulator, source: SourceConfig, home: Path
) -> Generator[BreezeSimulator]:
    """Return the vendor as runs of this home find it: without faults, calls or earlier logins."""
    simulator.faults.clear()
    simulator.renew_session()
    simulator.forget_calls()
    announce_simulator(home, simulator, market_digest=market_digest(source))
    yield simulator
    simulator.faults.clear()
    close_intakes()
