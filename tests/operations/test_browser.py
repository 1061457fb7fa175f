"""A person at Prefect's pages: start a run by its form, see windows fail, press Retry, read a log.

Chromium of the system, driven by Playwright. Screenshots and the time that Retry took stay below
`.artifacts/browser`. SENSEQUANT_TEST_SYMBOLS=102 makes the run one of 714 windows.
"""

import copy
import json
import os
import shutil
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

ROOT = Path(__file__).parents[2]
ANSWER_SECONDS = 60.0
SHOTS = ROOT / ".artifacts" / "browser"
N_SYMBOLS = int(os.environ.get("SENSEQUANT_TEST_SYMBOLS", "3"))
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; `make browsers` installs it"),
]


@pytest.fixture(scope="module")
def page(machine: Any) -> Generator[Page]:
    """Return a page of a browser that speaks to nobody but this machine."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            # Root needs the first; the second keeps everything else of the network away.
            args=["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
        )
        page = browser.new_page(viewport={"width": 1400, "height": 1000}, base_url=machine.pages)
        page.set_default_timeout(300_000)
        expect.set_options(timeout=300_000)
        yield page
        browser.close()


@dataclass(frozen=True)
class Windows:
    """A deployment of the main flow up to its teachers, and which of its windows fail at first."""

    deployment: str
    n: int
    failing: tuple[str, ...]


@pytest.fixture(scope="module")
def windows(machine: Any, question: dict[str, Any]) -> Windows:
    """Return a deployment in which three windows fail, until they may not."""
    width = max(2, len(str(N_SYMBOLS)))
    failing = tuple(
        f"SIM{symbol:0{width}d} {session}"
        for symbol, session in ((1, "2022-06-27"), (2, "2021-07-01"), (N_SYMBOLS, "2023-06-21"))
    )
    # Another test may have trained on this machine.
    (machine.home / "taught").unlink(missing_ok=True)
    (machine.home / "failing").write_text("\n".join(failing), encoding="utf-8")
    parameters = copy.deepcopy(question)
    parameters["request"] |= {"start": "2021-07-01", "end": "2024-12-31"}
    parameters["request"]["source"]["simulated"] |= {"n_symbols": N_SYMBOLS, "has_events": False}
    parameters["config"]["max_failure_rate"] = 0.0
    deployment = machine.deploy(
        "windows_that_fail.historical_training",
        "windows-that-fail",
        parameters=parameters,
        work_pool_name="default",
    )
    # Seven windows of 180 days, and a day that is left.
    return Windows(deployment, n=7 * N_SYMBOLS, failing=failing)


def shoot(page: Page, name: str) -> None:
    # Let animations end; there is nothing else to wait for.
    page.wait_for_timeout(700)
    page.screenshot(path=SHOTS / f"{name}.png")


def press_until(
    page: Page, machine: Any, press: Callable[[], None], is_done: Callable[[], Any]
) -> None:
    """Press until the server has it: SQLite may refuse a browser, which does not ask again.

    What the page says of it is gone after seconds, which a busy machine can miss.
    """
    for _ in range(5):
        press()
        if machine.wait(is_done, seconds=ANSWER_SECONDS):
            return
    shoot(page, "never-taken")
    pytest.fail(f"the server never took what was pressed; the page says: {page.inner_text('body')}")


def approve(page: Page) -> None:
    """Fill in the form of a run that waits for a decision, from the beginning."""
    page.reload()
    page.get_by_role("button", name="Open menu").first.click()
    page.get_by_role("menuitem", name="Resume").click()
    form = page.get_by_role("dialog")
    shoot(page, "11-question")
    form.get_by_label("Name").fill("Ann")
    form.get_by_label("Reason").fill("read it all")
    form.get_by_label("Decision").click()
    page.get_by_role("option", name="approve").click()
    shoot(page, "12-answer")
    form.get_by_role("button", name="Resume").click()


def taught(machine: Any) -> list[str]:
    """Return the windows that were really trained since the last time."""
    path = machine.home / "taught"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.unlink()
    return sorted(lines)


def test_run_is_started_by_its_form_and_its_failed_windows_by_retry(
    page: Page, machine: Any, windows: Windows
) -> None:
    """The form refuses what is out of bounds; Retry trains exactly the windows that failed.

    All others are shown as Cached, by one task whose message counts them.
    """
    flow_run_id = start_by_form(page, machine, windows)
    failed = machine.end_of(flow_run_id)
    assert failed["state"]["message"].startswith("teacher_training failed: 3 of ")
    assert len(taught(machine)) == windows.n
    expect(page.get_by_text("Failed", exact=True).first).to_be_visible()
    shoot(page, "3-failed")
    page.get_by_role("tab", name="Artifacts").click()
    shoot(page, "4-artifacts")
    (machine.home / "failing").write_text("", encoding="utf-8")

    pressed_at = press_retry(page, machine, flow_run_id)

    done = machine.end_of(flow_run_id, attempt=2)
    assert done["state"]["type"] == "COMPLETED", done["state"]
    assert taught(machine) == sorted(windows.failing)
    expect(page.get_by_text("Completed", exact=True).first).to_be_visible()
    shoot(page, "6-completed")
    stage = stage_of(machine, flow_run_id)
    write_down(windows, (datetime.fromisoformat(stage["end_time"]) - pressed_at).total_seconds())
    tasks = machine.wait(lambda: tasks_of(machine, stage["id"], windows))
    teachers = {name: state for name, (state, _) in tasks.items() if name.startswith("teacher ")}
    assert list(teachers.values()) == ["Completed"] * 3
    state, message = tasks["windows done before"]
    assert state == "Cached"
    # Of each symbol, the days that are left over make one window more, which is skipped.
    n_planned = windows.n + N_SYMBOLS
    assert message == f"{n_planned - 3} of {n_planned} windows, 0 of them made by other runs"
    look_at(page, stage["id"], next(iter(teachers)))


def start_by_form(page: Page, machine: Any, windows: Windows) -> str:
    """Fill in the form of the deployment, wrongly at first; return the id of the run."""
    page.goto(f"/v2/deployments/deployment/{windows.deployment}/run")
    window_days = page.get_by_label("Window Days")
    expect(page.get_by_text("Length of a window in calendar days.")).to_be_visible()
    submit = page.get_by_role("button", name="Submit")
    window_days.fill("5")
    submit.click()
    assert "30" in window_days.evaluate("field => field.validationMessage")
    shoot(page, "1-form-refuses")
    before = runs_of(machine, windows)

    def press() -> None:
        # A form whose answer was refused does not send again.
        page.reload()
        page.get_by_label("Window Days").fill("180")
        page.get_by_role("button", name="Submit").click()

    press_until(page, machine, press, lambda: runs_of(machine, windows) - before)
    shoot(page, "2-submitted")
    (flow_run_id,) = runs_of(machine, windows) - before
    page.goto(f"/v2/runs/flow-run/{flow_run_id}")
    return flow_run_id


def runs_of(machine: Any, windows: Windows) -> set[str]:
    ours = {"deployments": {"id": {"any_": [windows.deployment]}}}
    return {run["id"] for run in machine.ask("flow_runs/filter", **ours)}


def press_retry(page: Page, machine: Any, flow_run_id: str) -> datetime:
    """Press Retry on the page of a run; return when it was pressed."""
    pressed_at: list[datetime] = []

    def retry() -> None:
        page.reload()
        page.get_by_role("button", name="Open menu").first.click()
        page.get_by_role("menuitem", name="Retry").click()
        shoot(page, "5-retry")
        pressed_at.append(datetime.now(UTC))
        page.get_by_role("alertdialog").get_by_role("button", name="Retry").click()

    def is_retried() -> bool:
        return machine.ask(f"flow_runs/{flow_run_id}")["state"]["name"] != "Failed"

    press_until(page, machine, retry, is_retried)
    return pressed_at[-1]


def write_down(windows: Windows, seconds: float) -> None:
    """Keep how long Retry took: a figure of this machine and moment, not a bound."""
    figures = {
        "n_windows": windows.n,
        "n_executed": len(windows.failing),
        "seconds_from_click_to_end_of_teachers": round(seconds, 1),
        "load": round(os.getloadavg()[0], 1),
    }
    (SHOTS / "retry.json").write_text(json.dumps(figures), encoding="utf-8")


def look_at(page: Page, stage_id: str, teacher: str) -> None:
    """Open the tasks of the stage, the log of one teacher, and the table of known windows."""
    page.goto(f"/v2/runs/flow-run/{stage_id}")
    page.get_by_role("tab", name="Task Runs").click()
    expect(page.get_by_text("Cached", exact=True).first).to_be_visible()
    shoot(page, "7-cached")
    page.get_by_placeholder("Search").fill(teacher)
    page.get_by_role("link", name=teacher).click()
    page.get_by_role("tab", name="Logs").click()
    expect(page.get_by_text(f"window={teacher.rsplit(maxsplit=1)[-1]}").first).to_be_visible()
    shoot(page, "8-log")
    page.goto(f"/v2/runs/flow-run/{stage_id}")
    page.get_by_role("tab", name="Artifacts").click()
    expect(page.get_by_text("teacher-training-cached").first).to_be_visible()
    shoot(page, "9-cached-windows")


def stage_of(machine: Any, flow_run_id: str) -> dict[str, Any]:
    """Return the teachers' stage of a run that completed."""
    (stage,) = machine.ask(
        "flow_runs/filter",
        flow_runs={
            "parent_flow_run_id": {"any_": [flow_run_id]},
            "name": {"like_": "teacher training"},
            "state": {"name": {"any_": ["Completed"]}},
        },
    )
    return stage


def tasks_of(machine: Any, flow_run_id: str, windows: Windows) -> dict[str, tuple[str, str]]:
    """Return state and message of a stage's tasks by name, once those that failed are recorded."""
    tasks = machine.ask("task_runs/filter", task_runs={"flow_run_id": {"any_": [flow_run_id]}})
    found = {
        task["name"]: (task["state"]["name"], task["state"]["message"] or "") for task in tasks
    }
    n_teachers = sum(name.startswith("teacher ") for name in found)
    is_whole = n_teachers == len(windows.failing) and "windows done before" in found
    return found if is_whole else {}


@pytest.mark.parametrize("name", ["historical-training", "retrain-pilot", "ingest-daily"])
def test_form_of_a_deployment_shows_what_each_field_is(page: Page, machine: Any, name: str) -> None:
    """No field stands there without a title of its own."""
    (deployment,) = machine.ask("deployments/filter", deployments={"name": {"any_": [name]}})
    page.goto(f"/v2/deployments/deployment/{deployment['id']}/run")
    expect(page.get_by_role("button", name="Submit")).to_be_visible()
    shoot(page, f"form-{name}")

    # The page's own word for a field whose schema has no title.
    assert page.get_by_text("Field (Optional)").count() == 0


def test_schedules_are_shown_and_stay_switched_on(page: Page, machine: Any) -> None:
    """Off at first; switched on by a person, a schedule is still on after the next deploy."""
    (deployment,) = machine.ask(
        "deployments/filter", deployments={"name": {"any_": ["retrain-pilot"]}}
    )
    page.goto(f"/v2/deployments/deployment/{deployment['id']}")
    weekly = (
        page.get_by_text("At 06:00 AM, only on Saturday")
        .locator("xpath=../..")
        .get_by_role("switch")
    )
    expect(page.get_by_role("switch")).to_have_count(3)

    def is_on() -> bool:
        schedules = machine.ask(f"deployments/{deployment['id']}")["schedules"]
        return any(each["slug"] == "weekly" and each["active"] for each in schedules)

    def press() -> None:
        page.reload()
        weekly.click()

    press_until(page, machine, press, is_on)
    expect(weekly).to_be_checked()
    shoot(page, "schedules")

    said = machine.sensequant("deploy").stdout

    assert "deployment retrain-pilot: set, schedule weekly on, schedule monthly off" in said
    after = machine.ask(f"deployments/{deployment['id']}")
    assert {s["slug"]: s["active"] for s in after["schedules"]} == {
        "weekly": True,
        "monthly": False,
        "quarterly": False,
    }


def test_candidate_is_approved_on_the_page_of_its_run(
    page: Page, machine: Any, decidable: dict[str, Any]
) -> None:
    """The run waits with a form; whoever fills it in has decided."""
    deployment = machine.ask("deployments/name/historical-training/historical-training")
    run = machine.start(deployment["id"], parameters=decidable)
    machine.state_of(run, "Suspended")
    page.goto(f"/v2/runs/flow-run/{run}")
    expect(page.get_by_text("Suspended", exact=True).first).to_be_visible()
    shoot(page, "10-suspended")

    def has_left() -> bool:
        return machine.ask(f"flow_runs/{run}")["state"]["name"] != "Suspended"

    press_until(page, machine, lambda: approve(page), has_left)
    approved = machine.state_of(run, "Approved")

    assert approved["message"].endswith("approved by Ann: read it all")
    expect(page.get_by_text("Approved", exact=True).first).to_be_visible()
    shoot(page, "13-approved")
