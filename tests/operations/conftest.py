"""A machine as `sensequant up` makes it, in a home and on ports of its own, for slow tests.

One machine serves all of them that run in the same process. Waiting has a limit that only a machine
that is stuck reaches; nothing here sleeps for a fixed time and hopes.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest

from sensequant.evaluation.significance import SignificanceConfig
from sensequant.evaluation.validation import ValidationConfig
from sensequant.market.sources.build import SourceConfig
from sensequant.market.sources.simulated import SimulatedConfig
from sensequant.release.limits import GateConfig
from sensequant.settings import DecisionMode, RunOptions, RunRequest, TrainingConfig
from sensequant.storage import read_json
from sensequant.stress.scenarios import StressConfig
from sensequant.student import StudentConfig
from sensequant.teacher import TeacherConfig

ROOT = Path(__file__).parents[2]
DOUBLES = Path(__file__).parent / "doubles"
PATIENCE_SECONDS = 600.0
POLL_SECONDS = 0.5
ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}

_OTHERS = (
    *("SENSEQUANT_", "PREFECT_", "PYTEST_", "COV_"),
    # Dozens of processes start here; compiling the libraries anew doubles the time of each.
    "PYTHONDONTWRITEBYTECODE",
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
    stress=StressConfig(periods=("rate_hike_selloff_2022",)),
)


# An edge that so few bars can show, and limits that they can meet.
DECIDABLE_REQUEST = RunRequest(
    start=date(2022, 1, 1),
    end=date(2023, 6, 30),
    source=SourceConfig(
        simulated=SimulatedConfig(
            n_symbols=6,
            history_start=date(2020, 12, 31),
            seed=7,
            planted_edge_bps=80,
            has_events=False,
            has_regimes=False,
            volatility_dispersion=0,
        )
    ),
)
DECIDABLE_CONFIG = CONFIG.model_copy(
    update={
        "student": StudentConfig(n_estimators=20, num_leaves=4),
        "stress": StressConfig(periods=("svb_banking_crisis_2023",)),
        "gates": GateConfig(
            min_scored_sessions=1,
            min_trades=1,
            min_mean_excess_return=-1,
            min_deflated_sharpe=0.5,
            max_alpha_p_value=0.5,
            max_drawdown_frac=1,
            min_resilience=0,
        ),
    }
)


class Machine:
    """Server, pools and workers below one home, and what a test asks of them."""

    def __init__(self, home: Path, *, gpus: int = 2) -> None:
        self.home = home
        self.port = _unused_port()
        self._variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith(_OTHERS)},
            "SENSEQUANT_HOME": str(home),
            "SENSEQUANT_PORT": str(self.port),
            "SENSEQUANT_GPUS": str(gpus),
            # Workers hand it on to their runs, which find the doubles there.
            "PYTHONPATH": os.pathsep.join([str(DOUBLES), str(ROOT)]),
        }

    @property
    def pages(self) -> str:
        """Address of the UI."""
        return f"http://127.0.0.1:{self.port}"

    def sensequant(self, *words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run one command of the terminal for this home."""
        done = subprocess.run(
            [sys.executable, "-m", "sensequant.cli.app", *words],
            env=self._variables,
            cwd=self.home.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    def prefect(self, program: str) -> str:
        """Run a Python program that speaks to this machine's server; return what it printed."""
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=self._variables
            | {"PREFECT_API_URL": f"{self.pages}/api", "PREFECT_HOME": str(self.home / "client")},
            cwd=self.home.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ask(
        self,
        path: str,
        *,
        method: str | None = None,
        several: list[dict[str, Any]] | None = None,
        **body: Any,
    ) -> Any:
        """Return the server's answer; POST where there is a body or the path asks for a filter.

        Some paths take `several` of what they make.
        """
        reply = self._request(path, method=method, several=several, **body)
        assert reply.is_success, f"{reply.status_code} {path}: {reply.text}"
        return reply.json() if reply.content else None

    def _request(
        self,
        path: str,
        *,
        method: str | None = None,
        several: list[dict[str, Any]] | None = None,
        **body: Any,
    ) -> httpx.Response:
        is_post = bool(body or several) or path.endswith("filter")
        verb = method or ("POST" if is_post else "GET")
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            reply = httpx.request(
                verb,
                f"{self.pages}/api/{path}",
                json=(several or body) if is_post else None,
                trust_env=False,
                timeout=60,
            )
            # SQLite answers so while another writer holds it; Prefect's own client retries.
            if reply.status_code != 503 or time.monotonic() > deadline:
                return reply
            time.sleep(POLL_SECONDS)

    def deploy(self, entrypoint: str, name: str, **fields: Any) -> str:
        """Deploy a flow of a test under a name of its own; return its id.

        A flow with parameters gets the form of `historical-training`.
        """
        flow = self.ask("flows/", name=name)
        if "parameters" in fields:
            model = self.ask("deployments/name/historical-training/historical-training")
            flow = {"id": model["flow_id"]}
            fields["parameter_openapi_schema"] = model["parameter_openapi_schema"]
        made = self.ask(
            "deployments/", name=name, flow_id=flow["id"], entrypoint=entrypoint, **fields
        )
        return made["id"]

    def start(self, deployment_id: str, *, at: str | None = None, **fields: Any) -> str:
        """Start a run of a deployment as if it had been scheduled for an instant; return its id."""
        reply = self.try_to_start(deployment_id, at=at, **fields)
        reply.raise_for_status()
        return reply.json()["id"]

    def try_to_start(
        self, deployment_id: str, *, at: str | None = None, **fields: Any
    ) -> httpx.Response:
        """Do the same and return what the server says to it."""
        state = {"type": "SCHEDULED", "state_details": {"scheduled_time": at}}
        path = f"deployments/{deployment_id}/create_flow_run"
        return self._request(path, state=state, **fields)

    def retry(self, flow_run_id: str) -> None:
        """Do what the button Retry does."""
        state = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Retry from the UI"}
        self.ask(f"flow_runs/{flow_run_id}/set_state", state=state, force=True)

    def wait(self, answer: Callable[[], Any], *, seconds: float | None = None) -> Any:
        """Return an answer once it is true; fail, or return it as it is after `seconds`."""
        deadline = time.monotonic() + (seconds or PATIENCE_SECONDS)
        while not (found := answer()):
            if time.monotonic() > deadline:
                assert seconds is not None, self.last_words()
                return found
            time.sleep(POLL_SECONDS)
        return found

    def end_of(self, flow_run_id: str, *, attempt: int = 1) -> dict[str, Any]:
        """Return a run once an attempt of it is over."""

        def ended() -> dict[str, Any] | None:
            run = self.ask(f"flow_runs/{flow_run_id}")
            is_over = run["state"]["type"] in ENDED and run["run_count"] >= attempt
            return run if is_over else None

        return self.wait(ended)

    def state_of(self, flow_run_id: str, *names: str) -> dict[str, Any]:
        """Return the state of a run once it has one of these names."""

        def found() -> dict[str, Any] | None:
            state = self.ask(f"flow_runs/{flow_run_id}")["state"]
            assert state["type"] not in {"FAILED", "CRASHED"} or state["name"] in names, state
            return state if state["name"] in names else None

        return self.wait(found)

    def kill_worker(self) -> None:
        """End the worker of the pool `default` as a power failure would."""
        state: Any = read_json(self.home / "prefect" / "workers" / "default.json")
        os.kill(int(state["pid"]), signal.SIGKILL)

    def last_words(self) -> str:
        """Return the end of every log, for whoever reads why a test failed."""
        logs = [*self.home.glob("prefect/*.log"), *self.home.glob("prefect/workers/*.log")]
        return "\n".join(f"--- {log.name}\n{log.read_text()[-1500:]}" for log in logs)


def _unused_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Generator[Machine]:
    """Return a machine with two GPU pools that is up, and stop it afterwards."""
    made = Machine(tmp_path_factory.mktemp("machine") / "home")
    try:
        made.sensequant("up")
        yield made
    finally:
        made.sensequant("down")


def _as_json(request: RunRequest, config: TrainingConfig, options: RunOptions) -> dict[str, Any]:
    models = {"request": request, "config": config, "options": options}
    return {name: json.loads(model.model_dump_json()) for name, model in models.items()}


@pytest.fixture(scope="session")
def question() -> dict[str, Any]:
    """Return the parameters of a tiny run up to its teachers, as JSON."""
    options = RunOptions(stages=("data_ingestion", "teacher_training"), workers=2)  # pyright: ignore[reportArgumentType]
    return _as_json(REQUEST, CONFIG, options)


@pytest.fixture(scope="session")
def decidable() -> dict[str, Any]:
    """Return the parameters of a small run that ends as approvable and waits, as JSON."""
    options = RunOptions(decision=DecisionMode.AWAIT, workers=2)
    return _as_json(DECIDABLE_REQUEST, DECIDABLE_CONFIG, options)
