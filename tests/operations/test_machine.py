"""Facts about a machine that is up: pins, one run at a time, skipped days, notifications."""

import http.server
import json
import threading
from collections.abc import Generator
from datetime import datetime
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import pytest

pytestmark = pytest.mark.slow


class Receiver(http.server.BaseHTTPRequestHandler):
    """Keeps what is posted to it."""

    told: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        """Take one message."""
        length = int(self.headers["content-length"])
        self.told.append({"path": self.path} | json.loads(self.rfile.read(length)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture(scope="module")
def receiver() -> Generator[str]:
    """Return the address of a receiver on loopback."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def start_ingestion(machine: Any, question: dict[str, Any], *, last_days: int) -> str:
    """Let the pilot's retraining bring some days to June 2023, long after; return the run's id."""
    (machine.home / "failing").touch()
    deployment = machine.ask("deployments/name/scheduled-retraining/retrain-pilot")
    recent = {
        "symbols": ["SIM01"],
        "last_days": last_days,
        "source": question["request"]["source"],
    }
    return machine.start(
        deployment["id"],
        parameters={"recent": recent, "options": {"stages": ["data_ingestion"]}},
        at="2023-07-01T00:30:00Z",
    )


def told(*words: str) -> dict[str, Any] | None:
    return next((each for each in Receiver.told if all(w in str(each) for w in words)), None)


def test_each_gpu_pool_sees_its_own_device_and_no_run_can_see_another(machine: Any) -> None:
    """Every task of every run; a variable of the run that would move the pin is refused."""
    deployments = [
        machine.deploy("probes.see_devices", f"see-{device}", work_pool_name=f"gpu-{device}")
        for device in range(2)
    ]
    started = [machine.start(deployment) for deployment in deployments]

    for device, deployment in enumerate(deployments):
        seen = f"CUDA_VISIBLE_DEVICES={device} PCI_BUS_ID in 3 of 3 tasks"
        assert machine.end_of(started[device])["state"]["message"] == seen
        refused = machine.try_to_start(
            deployment, job_variables={"env": {"CUDA_VISIBLE_DEVICES": "7"}}
        )
        assert refused.status_code == 422
        assert "'env' was unexpected" in refused.text


def test_a_deployment_with_wrong_parameters_is_refused_with_the_field(machine: Any) -> None:
    """Over the API as by the form: type and bound are checked before anything starts."""
    deployment = machine.ask("deployments/name/historical-training/historical-training")

    refused = machine.try_to_start(
        deployment["id"], parameters={"config": {"windows": {"window_days": 5}}}
    )

    assert refused.status_code == 409
    assert "5 is less than the minimum of 30" in refused.text


def test_one_universe_is_retrained_by_one_run_at_a_time(machine: Any) -> None:
    """The second waits, visibly, and then runs; nothing is lost."""
    deployment = machine.deploy(
        "probes.take_a_while",
        "one-at-a-time",
        work_pool_name="default",
        concurrency_limit=1,
    )
    first, second = machine.start(deployment), machine.start(deployment)

    waiting = machine.wait(
        lambda: [
            run
            for run in (machine.ask(f"flow_runs/{each}") for each in (first, second))
            if run["state"]["name"] == "AwaitingConcurrencySlot"
        ]
    )

    assert len(waiting) == 1
    ended = [machine.end_of(each) for each in (first, second)]
    assert [run["state"]["type"] for run in ended] == ["COMPLETED", "COMPLETED"]
    starts, ends = zip(*sorted((run["start_time"], run["end_time"]) for run in ended), strict=True)
    assert ends[0] <= starts[1]


def test_a_schedule_that_is_switched_on_makes_runs(machine: Any) -> None:
    """The server's scheduler writes runs ahead, at the schedule's hour of Indian time."""
    deployment = machine.ask("deployments/name/scheduled-retraining/retrain-metals-etfs")
    (monthly,) = (each for each in deployment["schedules"] if each["slug"] == "monthly")
    path = f"deployments/{deployment['id']}/schedules/{monthly['id']}"
    made = {
        "deployments": {"id": {"any_": [deployment["id"]]}},
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
    }

    try:
        machine.ask(path, method="PATCH", active=True)
        runs = machine.wait(lambda: machine.ask("flow_runs/filter", **made), seconds=100)
    finally:
        machine.ask(path, method="PATCH", active=False)

    expected = {datetime.fromisoformat(run["expected_start_time"]) for run in runs}
    local = {at.astimezone(ZoneInfo("Asia/Kolkata")).strftime("%d %H:%M") for at in expected}
    assert local == {"01 08:00"}
    assert all(run["auto_scheduled"] for run in runs)


def test_what_a_schedule_says_begins_by_itself(machine: Any) -> None:
    """A run that nobody started ends with the parameters of its schedule."""
    deployment = machine.ask("deployments/name/daily-ingestion/ingest-daily")
    asked = {"symbols": ["SIM01"], "source": {"kind": "simulated"}}
    minutely = {
        "active": True,
        "schedule": {"cron": "* * * * *", "timezone": "Asia/Kolkata"},
        "parameters": {"asked": asked},
    }
    path = f"deployments/{deployment['id']}/schedules"
    (schedule,) = machine.ask(path, several=[minutely])
    begun = {
        "deployments": {"id": {"any_": [deployment["id"]]}},
        "flow_runs": {"start_time": {"is_null_": False}, "tags": {"all_": ["auto-scheduled"]}},
    }

    try:
        run = machine.wait(lambda: machine.ask("flow_runs/filter", **begun))[0]
    finally:
        machine.ask(f"{path}/{schedule['id']}", method="DELETE")

    assert machine.end_of(run["id"])["state"]["name"] in {"Completed", "Skipped"}
    assert run["parameters"] == {"asked": asked}
    assert run["created_by"]["type"] == "SCHEDULE"


def test_states_of_tasks_are_kept_once(machine: Any, question: dict[str, Any]) -> None:
    """They stand beside the task runs, as every page reads them, and not among the events."""
    run = start_ingestion(machine, question, last_days=60)
    machine.end_of(run)

    def completed(kind: str) -> list[dict[str, Any]]:
        of_run = {"any_resource": {"id_prefix": [f"prefect.{kind}."]}}
        named = {"event": {"name": [f"prefect.{kind}.Completed"]}}
        return machine.ask("events/filter", filter=of_run | named)["events"]

    def task_runs() -> list[dict[str, Any]]:
        of_run = {"parent_flow_run_id": {"any_": [run]}}
        below = machine.ask("flow_runs/filter", flow_runs=of_run)
        ids = [run, *(each["id"] for each in below)]
        found = machine.ask("task_runs/filter", task_runs={"flow_run_id": {"any_": ids}})
        is_over = found and all(each["state_type"] == "COMPLETED" for each in found)
        return found if is_over else []

    # The state of the run is stored as an event after those of its tasks would have been.
    assert machine.wait(lambda: completed("flow-run"))
    kept = machine.wait(task_runs)
    states = machine.ask(f"task_run_states/?task_run_id={kept[0]['id']}")
    assert {"Pending", "Running", "Completed"} <= {each["name"] for each in states}
    assert completed("task-run") == []


def test_a_day_without_a_session_is_skipped_with_its_name(machine: Any) -> None:
    """The scheduled day decides: a Sunday here."""
    deployment = machine.ask("deployments/name/daily-ingestion/ingest-daily")
    asked = {"symbols": ["SIM01"], "source": {"kind": "simulated"}}

    flow_run_id = machine.start(
        deployment["id"], parameters={"asked": asked}, at="2026-11-22T14:30:00Z"
    )

    state = machine.end_of(flow_run_id)["state"]
    assert (state["name"], state["message"]) == (
        "Skipped",
        "Sunday 2026-11-22 is no session of NSE",
    )


def test_retraining_counts_its_days_from_the_scheduled_time(
    machine: Any, question: dict[str, Any]
) -> None:
    """Run long after the time it was scheduled for, it asks for the days before that time."""
    flow_run_id = start_ingestion(machine, question, last_days=90)

    run = machine.end_of(flow_run_id)
    assert run["state"]["type"] == "COMPLETED", run["state"]
    assert run["name"] == "SIM01 last 90 days to 2023-07-01 simulated"
    (folder,) = (machine.home / "runs").glob(f"*_{flow_run_id[:8]}")
    request = json.loads((folder / "config.json").read_text())["request"]
    assert (request["start"], request["end"]) == ("2023-01-20", "2023-06-30")


def test_failures_and_decisions_are_told(
    machine: Any, receiver: str, question: dict[str, Any]
) -> None:
    """A failed run with its reason and the address of its page, an event with its message."""
    machine.prefect(
        "from prefect.blocks.notifications import CustomWebhookNotificationBlock\n"
        f"CustomWebhookNotificationBlock(name='ops', url='{receiver}/hook',\n"
        "    json_data={'subject': '{{subject}}', 'body': '{{body}}'}).save('ops')\n"
    )
    assert "made" in machine.sensequant("deploy", "--notify", "custom-webhook/ops").stdout
    (machine.home / "failing").write_text("SIM01 2022-06-30\nSIM02 2022-01-03", encoding="utf-8")
    deployment = machine.deploy(
        "windows_that_fail.historical_training",
        "told",
        parameters=question,
        work_pool_name="default",
        tags=["sensequant"],
    )

    flow_run_id = machine.start(deployment)
    failed = machine.end_of(flow_run_id)

    assert failed["state"]["type"] == "FAILED"
    message = machine.wait(lambda: told("historical-training Failed", flow_run_id))
    assert "2 of 9 units failed; at most 15% may" in message["body"]
    machine.prefect(
        "from tasks.events import Happening, announce\n"
        "for each in Happening:\n"
        "    announce(each, subject='run-7', message=f'please look: {each}')\n"
        "from prefect.events.worker import EventsWorker\n"
        "EventsWorker.drain_all()\n"
    )
    for name in ("threshold-exceeded", "candidate-ready", "session-expiring"):
        assert machine.wait(lambda name=name: told(f"sensequant.{name}: run-7", "please look"))


def test_doctor_finds_pools_workers_and_automations(machine: Any) -> None:
    """On a machine that is up, all three are well; a paused pool is said."""
    said = machine.sensequant("doctor", check=False).stdout
    for name in ("pools", "workers", "automations", "schedules"):
        assert any(line.split()[:2] == ["ok", name] for line in said.splitlines()), said

    machine.ask("work_pools/gpu-1", method="PATCH", is_paused=True)
    said = machine.sensequant("doctor", check=False).stdout

    assert "gpu-1 is paused" in said
    machine.ask("work_pools/gpu-1", method="PATCH", is_paused=False)


def test_up_and_deploy_can_be_repeated(machine: Any) -> None:
    """Nothing is made or changed or started twice."""
    said = machine.sensequant("up").stdout

    assert "server: found" in said
    for line in said.splitlines():
        name, _, what = line.partition(": ")
        if name.startswith(("pool ", "automation ")):
            assert what.startswith(("unchanged", "left out")), line
        if name.startswith("deployment "):
            assert what.startswith("set"), line
        if name.startswith("worker of "):
            assert what.startswith("found"), line
