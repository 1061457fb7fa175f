"""Facts about the tasks that look at models: who is told what, and what stands on the page."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from sensequant.evaluation.side_by_side import DELTAS
from sensequant.release.contest import ContestConfig
from sensequant.release.deployment_records import EnvironmentName
from sensequant.release.limits import PromotionLimits
from sensequant.release.monitoring import MonitorLimits, RollbackOutcome
from sensequant.stages import monitoring as stage
from sensequant.stages.moving import Order
from sensequant.stages.promotion import stage_candidate
from sensequant.stages.scoring import Scorers
from sensequant.stages.shadow import judge_rows
from sensequant.student_file import read_student
from tasks import artifacts, contest, monitoring
from tasks.contest import compare_on_new_bars
from tasks.events import Happening
from tasks.monitoring import look_at_model

STAGING = EnvironmentName.STAGING
LATE = datetime(2023, 10, 30, 12, tzinfo=UTC)
World = Any
"""The home that the fixture `world` makes (`tests/conftest.py`)."""


class Page:
    """What is told and shown, where there is no server; and the time that tasks read."""

    def __init__(self) -> None:
        self.now = LATE
        self.told: list[tuple[Happening, str]] = []
        self.tables: dict[str, list[dict[str, Any]]] = {}

    def announce(self, what: Happening, *, subject: str, message: str) -> None:
        """Keep what the server would be told."""
        self.told.append((what, f"{subject}: {message}"))

    def show(self, *, key: str, table: list[dict[str, Any]], **_words: Any) -> None:
        """Keep a table of the page."""
        self.tables[key] = table


@pytest.fixture
def page(world: World, monkeypatch: pytest.MonkeyPatch) -> Page:
    """Return what tasks tell and show of the home of this test."""
    page = Page()
    monkeypatch.setenv("SENSEQUANT_HOME", str(world.home))
    monkeypatch.setattr(artifacts, "create_table_artifact", page.show)
    monkeypatch.setattr(monitoring, "announce", page.announce)
    for task in (monitoring, contest):
        monkeypatch.setattr(task, "utc_now", lambda: page.now)
        monkeypatch.setattr(task, "say", lambda *_said, **_facts: None)  # pyright: ignore[reportUnknownLambdaType,reportUnknownArgumentType]
    return page


def staged(world: World, number: int, at: datetime) -> None:
    order = Order(
        actor="bo",
        reason="because",
        clock=lambda: at,
        limits=PromotionLimits(),
        load=lambda path, sha256: read_student(path, sha256=sha256),
    )
    stage_candidate(world.folder(number), order)


def test_each_alert_is_told_once_and_shown_each_time(world: World, page: Page) -> None:
    """Bars are four months old: an event with the figures, then silence; the table stays."""
    staged(world, 1, world.AT)
    look_at_model.fn(STAGING, MonitorLimits())
    page.now += timedelta(hours=1)
    look_at_model.fn(STAGING, MonitorLimits())

    (told,) = [words for _, words in page.told if " data: " in words]
    assert {what for what, _ in page.told} == {Happening.MODEL_DEGRADED}
    assert told.startswith(f"staging (SIMULATED): {world.folder(1).run_id} in staging: data: ")
    rows = {row["alert"]: row for row in page.tables["alerts"]}
    assert (rows["data"]["observations"], rows["data"]["told now"]) == (
        "2",
        "no, it was told before",
    )


def test_rollback_by_itself_is_told(
    world: World, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was put back, and why; the alert that led to it says so as well."""
    for number in (1, 2):
        staged(world, number, world.AT + timedelta(minutes=number))
    world.deliver(date(2023, 11, 3))

    def upside_down(scorers: Scorers, rows: pl.DataFrame) -> pl.DataFrame:
        said = judge_rows(scorers, rows)
        return said.with_columns(score=0.9 - 0.6 * pl.col("label").cast(pl.Float64))

    monkeypatch.setattr(stage, "judge_rows", upside_down)
    limits = MonitorLimits.model_validate({"rollback": {"is_on": True, "confirmation_hours": 6}})
    look_at_model.fn(STAGING, limits)
    page.now += timedelta(days=1)
    report = look_at_model.fn(STAGING, limits)

    assert report.rollback is not None
    assert report.rollback.outcome is RollbackOutcome.DONE
    what, words = page.told[-1]
    assert what is Happening.ROLLED_BACK
    assert f"{world.folder(1).run_id} stands in staging again; scores: " in words


def test_every_difference_is_a_row_of_the_page(world: World, page: Page) -> None:
    """Of each challenger, with its interval or why there is none."""
    staged(world, 1, world.AT)
    world.deliver(date(2023, 7, 14))
    page.now = datetime(2023, 7, 14, 12, tzinfo=UTC)
    compare_on_new_bars.fn([world.folder(2).run_id], STAGING, ContestConfig())

    assert [row["figure"] for row in page.tables["contest"]] == list(DELTAS)
    assert "no interval" in page.tables["contest"][-1]["difference"]
