"""Facts about kill -9 of a run, of a worker, of the server: the same artifacts, nothing left over.

The moments are drawn from a seed, over the time that an undisturbed run takes.
SENSEQUANT_TEST_KILLS says how many for each of the three.
"""

import os
import time
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import psutil
import pytest

from sensequant.records import derive_seed
from sensequant.runs import RunFolder
from sensequant.storage import read_json, sha256_of

N_KILLS = int(os.environ.get("SENSEQUANT_TEST_KILLS", "1"))
SILENCE_SECONDS = 45
ADDED = {"created", "updated"}
SECOND_REPORT_SECONDS = 4
"""A crash is reported by the run's launcher and, up to two seconds later, by its worker as well.

What is set in between, a Retry too, is overwritten by the second report.
"""

UNENDED = {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}

pytestmark = [pytest.mark.slow, pytest.mark.machines]


class Victims:
    """Runs of one deployment, and how each of three processes is killed."""

    def __init__(self, machine: Any, deployment: str) -> None:
        self.machine = machine
        self.deployment = deployment

    def start(self) -> str:
        """Start a run and return once its process executes it."""
        flow_run_id = self.machine.start(self.deployment)
        self.machine.wait(
            lambda: self.machine.ask(f"flow_runs/{flow_run_id}")["state"]["type"] == "RUNNING"
        )
        return flow_run_id

    def artifacts(self, flow_run_id: str) -> dict[str, str]:
        """Return the digest of each artifact of a run, by its name."""
        (root,) = (self.machine.home / "runs").glob(f"*_{flow_run_id[:8]}")
        folder = RunFolder(self.machine.home, root.name)
        return {path.relative_to(root).as_posix(): sha256_of(path) for path in folder.artifacts()}

    def kill_run(self, flow_run_id: str) -> None:
        """Kill the process that executes the run."""
        for process in self._worker().children(recursive=True):
            if process.environ().get("PREFECT__FLOW_RUN_ID") == flow_run_id:
                process.kill()

    def kill_worker(self, _flow_run_id: str) -> None:
        """Kill the worker; `sensequant up` starts another one."""
        self._worker().kill()
        self.machine.sensequant("up")

    def kill_server(self, _flow_run_id: str) -> None:
        """Kill the server, which is away for some seconds."""
        state = read_json(self.machine.home / "prefect" / "server.json")
        psutil.Process(state["pid"]).kill()
        self.machine.sensequant("up", "--server-only")

    def kill_worker_and_run(self, flow_run_id: str) -> None:
        """Kill both at once, the worker first, so that it cannot tell."""
        worker = self._worker()
        processes = [worker, *worker.children(recursive=True)]
        assert any(
            process.environ().get("PREFECT__FLOW_RUN_ID") == flow_run_id for process in processes
        )
        for process in processes:
            process.kill()

    def end(self, flow_run_id: str) -> int:
        """Return how many attempts it took to complete, with Retry pressed in between."""
        states: list[Any] = []
        for attempt in range(1, 4):
            run = self.machine.end_of(flow_run_id, attempt=attempt)
            if run["state"]["type"] == "COMPLETED":
                return attempt
            states.append(run["state"])
            time.sleep(SECOND_REPORT_SECONDS)
            self.machine.retry(flow_run_id)
        pytest.fail(f"{states}\n{self.machine.last_words()}")

    def _worker(self) -> psutil.Process:
        state = read_json(self.machine.home / "prefect" / "workers" / "default.json")
        return psutil.Process(state["pid"])


@pytest.fixture(scope="module")
def victims(machine: Any, question: dict[str, Any]) -> Victims:
    """Return runs of all eight stages on the tiny market."""
    (machine.home / "failing").touch()
    options = {"workers": 2}
    deployment = machine.deploy(
        "windows_that_fail.historical_training",
        "victims",
        parameters=question | {"options": options},
        work_pool_name="default",
        # The tag of all our deployments, by which automations know them.
        tags=["sensequant"],
    )
    return Victims(machine, deployment)


@pytest.fixture(scope="module")
def undisturbed(victims: Victims) -> tuple[dict[str, str], float]:
    """Return the artifacts of a run that nothing disturbs, and the seconds that it took."""
    flow_run_id = victims.start()
    started = time.monotonic()
    assert victims.end(flow_run_id) == 1
    seconds = time.monotonic() - started
    artifacts = victims.artifacts(flow_run_id)
    assert len(artifacts) > 50
    return artifacts, seconds


@pytest.fixture(scope="module", autouse=True)
def left_over(machine: Any) -> Generator[None]:
    """After all kills, nothing of them is shown as under way for ever."""
    yield

    def unended() -> list[str]:
        # It ends what belonged to attempts that are over, once the server has settled.
        machine.sensequant("up")
        flows = machine.ask("flow_runs/filter", flow_runs={"state": UNENDED})
        tasks = machine.ask("task_runs/filter", task_runs={"state": UNENDED})
        left = [run["name"] for run in flows]
        return left + [run["name"] for run in tasks if run["state"]["name"] != "NotReady"]

    machine.wait(lambda: not unended())


def moments(name: str) -> Iterator[float]:
    rng = np.random.default_rng(derive_seed(42, "kill", name))
    yield from rng.uniform(0, 1, N_KILLS)


@pytest.mark.parametrize(
    ("name", "moment_frac"),
    [(name, moment) for name in ("run", "worker", "server") for moment in moments(name)],
)
def test_a_killed_process_changes_no_artifact(
    victims: Victims,
    undisturbed: tuple[dict[str, str], float],
    name: str,
    moment_frac: float,
) -> None:
    """Whatever is killed whenever: taken up by itself or by Retry, the run ends the same."""
    expected, seconds = undisturbed
    flow_run_id = victims.start()
    time.sleep(moment_frac * seconds)

    getattr(victims, f"kill_{name}")(flow_run_id)

    assert victims.end(flow_run_id) <= 2
    assert victims.artifacts(flow_run_id) == expected


def be_impatient(machine: Any) -> None:
    """Shorten the silence after which a run is Crashed, until the next `sensequant up`."""
    automations = machine.ask("automations/filter")
    (silent,) = [each for each in automations if each["name"] == "sensequant-crash-silent-runs"]
    silent["trigger"]["within"] = SILENCE_SECONDS
    place = f"automations/{silent.pop('id')}"
    # What the server adds it does not take back.
    machine.ask(place, method="PUT", **{name: silent[name] for name in silent if name not in ADDED})


def test_a_run_that_died_with_its_worker_is_found_ended_and_taken_up(
    victims: Victims, undisturbed: tuple[dict[str, str], float]
) -> None:
    """As after a power cut: nobody is left to say so but the missing heartbeats."""
    expected, seconds = undisturbed
    machine = victims.machine
    be_impatient(machine)
    flow_run_id = victims.start()
    time.sleep(0.5 * seconds)
    victims.kill_worker_and_run(flow_run_id)

    crashed = machine.end_of(flow_run_id)

    assert crashed["state"]["type"] == "CRASHED"
    assert "no heartbeat" in crashed["state"]["message"]
    machine.sensequant("up")
    tidied = machine.wait(
        lambda: machine.ask(
            "flow_runs/filter",
            flow_runs={"name": {"any_": ["tidy runs"]}, "state": {"type": {"any_": ["COMPLETED"]}}},
        )
    )
    assert any("0 flow runs" not in run["state"]["message"] for run in tidied)
    machine.retry(flow_run_id)
    assert machine.end_of(flow_run_id, attempt=2)["state"]["type"] == "COMPLETED"
    assert victims.artifacts(flow_run_id) == expected
