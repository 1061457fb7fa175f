"""A person at Prefect's pages: start a run by its form, see windows fail, press Retry, read a log.

Chromium of the system, driven by Playwright. Screenshots stay below `.artifacts/browser`.
"""

import re
import shutil
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

ROOT = Path(__file__).parents[2]
SHOTS = ROOT / ".artifacts" / "browser"
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
        page.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)
        yield page
        browser.close()


FAILING = ("SIM01 2022-06-30", "SIM02 2022-01-03")
TEACHERS = (
    "SIM01 2022-01-03",
    "SIM01 2022-06-30",
    "SIM01 2022-12-27",
    "SIM02 2022-01-03",
    "SIM02 2022-06-30",
    "SIM02 2022-12-27",
)


@pytest.fixture(scope="module")
def deployment(machine: Any, question: dict[str, Any]) -> str:
    """Return a deployment of the main flow in which two of six windows fail, until they may not."""
    (machine.home / "failing").write_text("\n".join(FAILING), encoding="utf-8")
    return machine.deploy(
        "windows_that_fail.historical_training",
        "windows-that-fail",
        parameters=question,
        work_pool_name="default",
    )


def shoot(page: Page, name: str) -> None:
    # Let animations end; there is nothing else to wait for.
    page.wait_for_timeout(700)
    page.screenshot(path=SHOTS / f"{name}.png")


def press_until(page: Page, press: Callable[[], None], seen: str) -> None:
    """Press until the page says so: SQLite may refuse a browser, which does not ask again."""
    for _ in range(5):
        press()
        try:
            page.get_by_text(seen).first.wait_for(timeout=10_000)
        except PlaywrightTimeoutError:
            continue
        return
    pytest.fail(f"the page never said {seen!r}")


def taught(machine: Any) -> list[str]:
    path = machine.home / "taught"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.unlink()
    return sorted(lines)


def test_run_is_started_by_its_form_and_its_failed_windows_by_retry(
    page: Page, machine: Any, deployment: str
) -> None:
    """The form refuses what is out of bounds; Retry trains exactly the windows that failed."""
    page.goto(f"/v2/deployments/deployment/{deployment}/run")
    window_days = page.get_by_label("Window Days")
    expect(page.get_by_text("Length of a window in calendar days.")).to_be_visible()
    submit = page.get_by_role("button", name="Submit")
    window_days.fill("5")
    submit.click()
    assert "30" in window_days.evaluate("field => field.validationMessage")
    shoot(page, "1-form-refuses")
    window_days.fill("180")
    press_until(page, submit.click, "View run")
    shoot(page, "2-submitted")
    page.get_by_text("View run").click()
    page.wait_for_url(re.compile("flow-run"))
    flow_run_id = page.url.split("flow-run/")[1].split("?")[0]

    failed = machine.end_of(flow_run_id)
    assert (
        failed["state"]["message"]
        == "teacher_training failed: 2 of 9 units failed; at most 15% may"
    )
    assert taught(machine) == sorted(TEACHERS)
    expect(page.get_by_text("Failed", exact=True).first).to_be_visible()
    shoot(page, "3-failed")
    page.get_by_role("tab", name="Artifacts").click()
    shoot(page, "4-artifacts")

    (machine.home / "failing").write_text("", encoding="utf-8")

    def retry() -> None:
        page.reload()
        page.get_by_role("button", name="Open menu").first.click()
        page.get_by_role("menuitem", name="Retry").click()
        shoot(page, "5-retry")
        page.get_by_role("alertdialog").get_by_role("button", name="Retry").click()

    press_until(page, retry, "Flow run scheduled for retry")
    done = machine.end_of(flow_run_id, attempt=2)

    assert done["state"]["type"] == "COMPLETED", done["state"]
    assert taught(machine) == sorted(FAILING)
    expect(page.get_by_text("Completed", exact=True).first).to_be_visible()
    shoot(page, "6-completed")


def test_windows_of_the_first_attempt_are_shown_as_cached(page: Page, machine: Any) -> None:
    """On the page of the second attempt's stage, four of six teachers are Cached; a log opens."""
    (stage,) = machine.ask(
        "flow_runs/filter",
        flow_runs={
            "name": {"like_": "teacher training"},
            "state": {"name": {"any_": ["Completed"]}},
        },
    )
    teachers = machine.wait(lambda: teachers_of(machine, stage["id"]))

    assert sorted(name for name, state in teachers if state == "Cached") == [
        "teacher SIM01 2022-01-01..2022-06-29",
        "teacher SIM01 2022-12-27..2023-06-24",
        "teacher SIM02 2022-06-30..2022-12-26",
        "teacher SIM02 2022-12-27..2023-06-24",
    ]
    assert sorted(name for name, state in teachers if state == "Completed") == [
        "teacher SIM01 2022-06-30..2022-12-26",
        "teacher SIM02 2022-01-01..2022-06-29",
    ]
    page.goto(f"/v2/runs/flow-run/{stage['id']}")
    page.get_by_role("tab", name="Task Runs").click()
    expect(page.get_by_text("Cached", exact=True).first).to_be_visible()
    shoot(page, "7-cached")
    page.get_by_placeholder("Search").fill("teacher SIM01 2022-06-30")
    page.get_by_role("link", name="teacher SIM01 2022-06-30..2022-12-26").click()
    page.get_by_role("tab", name="Logs").click()
    expect(page.get_by_text("window=2022-06-30..2022-12-26").first).to_be_visible()
    shoot(page, "8-log")


def teachers_of(machine: Any, flow_run_id: str) -> list[tuple[str, str]]:
    """Return name and state of the six teachers that can be trained, once all are recorded."""
    tasks = machine.ask("task_runs/filter", task_runs={"flow_run_id": {"any_": [flow_run_id]}})
    found = [
        (task["name"], task["state"]["name"])
        for task in tasks
        if re.match(r"teacher SIM0[12] (2022-..-..\.\.|2022-12-27)", task["name"])
    ]
    return found if len(found) == len(TEACHERS) else []


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
    weekly.click()
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
