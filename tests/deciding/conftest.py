"""A machine as `sensequant up` makes it, in a home and on a port of its own, for slow tests."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter

from sensequant.storage import read_json

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 400.0


class Machine:
    """Server, pool and worker below one home, and what a test asks of them."""

    def __init__(self, home: Path) -> None:
        self.home = home
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        self.pages = f"http://127.0.0.1:{port}"
        strange = ("SENSEQUANT_", "PREFECT_", "PYTEST_", "COV_")
        self._variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith(strange)},
            "SENSEQUANT_HOME": str(home),
            "SENSEQUANT_PORT": str(port),
            "SENSEQUANT_GPUS": "0",
            "PYTHONPATH": str(ROOT),
        }

    def sensequant(self, *words: str, exit_code: int = 0) -> str:
        """Run one command of the terminal; return what it said."""
        done = subprocess.run(
            [sys.executable, "-m", "sensequant.cli.app", *words],
            env=self._variables,
            cwd=self.home.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == exit_code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def ask(self, path: str, **body: Any) -> Any:
        """Return the server's answer; POST where there is a body."""
        verb = "POST" if body else "GET"
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            reply = httpx.request(
                verb, f"{self.pages}/api/{path}", json=body or None, trust_env=False, timeout=120
            )
            # SQLite answers so while another writer holds it; Prefect's own client retries.
            if reply.status_code != 503 or time.monotonic() > deadline:
                break
            time.sleep(1)
        reply.raise_for_status()
        return reply.json()

    def start(self, **parameters: Any) -> str:
        """Start the main flow from its deployment; return the id of the flow run."""
        deployment = self.ask("deployments/name/historical-training/historical-training")
        made = self.ask(
            f"deployments/{deployment['id']}/create_flow_run",
            parameters=TypeAdapter(Any).dump_python(parameters, mode="json"),
        )
        return made["id"]

    def state_of(self, flow_run_id: str, *names: str) -> dict[str, Any]:
        """Return the state of a run once it has one of these names."""

        def found() -> dict[str, Any] | None:
            state = self.ask(f"flow_runs/{flow_run_id}")["state"]
            assert state["type"] not in {"FAILED", "CRASHED"} or state["name"] in names, state
            return state if state["name"] in names else None

        return self.wait(found)

    def wait(self, answer: Callable[[], Any]) -> Any:
        """Return an answer once it is true."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := answer()):
            assert time.monotonic() < deadline, self._last_words()
            time.sleep(2)
        return found

    def kill_worker(self) -> None:
        """End the worker of this machine as a power failure would."""
        state: Any = read_json(self.home / "prefect" / "workers" / "default.json")
        os.kill(int(state["pid"]), signal.SIGKILL)

    def _last_words(self) -> str:
        logs = [*self.home.glob("prefect/*.log"), *self.home.glob("prefect/workers/*.log")]
        return "\n".join(f"--- {log.name}\n{log.read_text()[-1500:]}" for log in logs)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Generator[Machine]:
    """Return a machine that is up, and stop it afterwards."""
    made = Machine(tmp_path_factory.mktemp("machine") / "home")
    try:
        made.sensequant("up")
        yield made
    finally:
        made.sensequant("down")
