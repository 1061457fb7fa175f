"""The circle of retraining by flows alone: bars of a session, training, a person, production, back.

The vendor is the simulator, over HTTP and through the vendor's SDK; only the clock is the test's.
"""

import sys
import uuid
from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import polars as pl
import pytest
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import DeploymentFilter
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow
from prefect.schedules import Cron
from prefect.states import Scheduled
from prefect.types.entrypoint import EntrypointType

from flows.expire_candidates import expire_candidates
from flows.ingest_daily import daily_ingestion
from flows.monitor_model import monitor_model
from flows.promote_candidate import promote_candidate
from flows.retrain import scheduled_retraining
from flows.retrain_when_ingested import retrain_when_ingested
from flows.roll_back import roll_back
from flows.stage_candidate import stage_candidate
from sensequant.breeze_simulator.access import simulated_login
from sensequant.breeze_simulator.limits import UNLIMITED
from sensequant.breeze_simulator.market import SimulatedFeed
from sensequant.breeze_simulator.server import BreezeSimulator
from sensequant.evaluation.hypotheses import SignificanceConfig
from sensequant.evaluation.validation import ValidationConfig
from sensequant.ingestion.backfill import BackfillReport
from sensequant.ingestion.places import market_digest
from sensequant.ingestion.simulators import announce_simulator
from sensequant.market.sessions import IST
from sensequant.market.sources.breeze.config import BreezeConfig
from sensequant.market.sources.build import SourceConfig
from sensequant.market.sources.simulated import SimulatedConfig
from sensequant.recent import DailyIngestion, RecentRange
from sensequant.records import Outcome
from sensequant.release.deployment_records import EnvironmentName
from sensequant.release.environments import read_pointer
from sensequant.release.limits import GateConfig
from sensequant.release.models import open_model
from sensequant.runs import RunFolder
from sensequant.settings import DecisionMode, RunOptions, TrainingConfig
from sensequant.stages.decision import Answer, Choice, decide
from sensequant.stages.moving import history_of
from sensequant.stages.scoring import ScoringRequest, score_deployed
from sensequant.storage import read_json, read_table, sha256_of
from sensequant.stress.scenarios import StressConfig
from sensequant.student import StudentConfig
from sensequant.teacher import TeacherConfig
from tasks.sources import close_intakes

pytestmark = pytest.mark.slow

HISTORY_START = date(2020, 12, 31)
SOURCE = SourceConfig(
    kind="breeze-simulator",
    simulated=SimulatedConfig(
        n_symbols=3,
        history_start=HISTORY_START,
        seed=7,
        planted_edge_bps=80,
        annual_drift_frac=-0.2,
        has_events=False,
        has_regimes=False,
        volatility_dispersion=0,
    ),
    breeze=BreezeConfig(
        history_start=HISTORY_START, calls_per_minute=100_000, calls_per_day=100_000
    ),
)
SYMBOLS = tuple(f"SIM{number:02}" for number in range(1, 4))
# An edge that so few bars can show, and limits that they can meet.
CONFIG = TrainingConfig(
    teacher=TeacherConfig.model_validate(
        {"booster": {"n_estimators": 20, "num_leaves": 7, "min_child_samples": 5}}
    ),
    student=StudentConfig(kind="logistic"),
    validation=ValidationConfig(n_bootstrap_draws=100, n_placebo=2),
    significance=SignificanceConfig(n_draws=100),
    stress=StressConfig(periods=("svb_banking_crisis_2023",)),
    gates=GateConfig(
        min_scored_sessions=1,
        min_trades=1,
        min_mean_excess_return=-1,
        min_deflated_sharpe=0.5,
        max_alpha_p_value=0.5,
        max_drawdown_frac=1,
        min_resilience=0,
    ),
)
INGESTION = DailyIngestion(symbols=SYMBOLS, since=HISTORY_START, source=SOURCE)
RECENT = RecentRange(symbols=SYMBOLS, last_days=500, source=SOURCE)
WHO = {"by": "bo", "reason": "because"}
PRODUCTION = EnvironmentName.PRODUCTION
FIRST_FRIDAY, NEXT_FRIDAY = date(2023, 6, 9), date(2023, 6, 23)
WHOLE = ("2022-01-25..2022-07-23", "2022-07-24..2023-01-19")
"""The windows of both trainings that no bar of the two weeks in between belongs to."""


class Clock:
    """The time that tasks and the vendor read."""

    now = datetime(2023, 6, 8, tzinfo=UTC)

    def __call__(self) -> datetime:
        """Return the instant at which it stands."""
        return self.now

    def set(self, day: date, hour: int, minute: int = 0) -> None:
        """Move it on to a time of India."""
        later = datetime(day.year, day.month, day.day, hour, minute, tzinfo=IST).astimezone(UTC)
        assert later >= self.now
        self.now = later


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return a clock that stands until a test moves it, for every task."""
    clock = Clock()
    for name, module in list(sys.modules.items()):
        if name.startswith("tasks.") and hasattr(module, "utc_now"):
            monkeypatch.setattr(module, "utc_now", clock)
    return clock


@pytest.fixture
def market(clock: Clock) -> Generator[BreezeSimulator]:
    """Return a vendor who delivers nothing that lies after the clock."""
    feed = SimulatedFeed(SOURCE.simulated)
    login = simulated_login(1)
    with BreezeSimulator(feed, clock=clock, login=login, limits=UNLIMITED) as running:
        yield running
        close_intakes()


@pytest.fixture
def deployment(home: Path) -> str:
    """Return a training with a weekly schedule, off, of which no other test knows."""
    assert home
    pool = f"retraining-{uuid.uuid4().hex[:8]}"
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
    asked = {
        "recent": RECENT.model_dump(mode="json"),
        "config": CONFIG.model_dump(mode="json"),
        "options": RunOptions(decision=DecisionMode.AWAIT, workers=2).model_dump(mode="json"),
    }
    weekly = Cron(
        "0 6 * * 6", timezone="Asia/Kolkata", active=False, slug="weekly", parameters=asked
    )
    deployed = scheduled_retraining.to_deployment(
        name=pool,
        work_pool_name=pool,
        entrypoint_type=EntrypointType.MODULE_PATH,
        schedules=[weekly],
    )
    cast("Any", deployed).apply()
    return f"{scheduled_retraining.name}/{pool}"


def go_on(flow: Flow[..., Any], flow_run: FlowRun) -> State[Any]:
    """Do what a worker does with a run that is due."""
    parameters = flow_run.parameters
    return cast(
        "State[Any]",
        run_flow(flow, flow_run=flow_run, parameters=parameters, return_type="state"),
    )


def started_by(deployment: str) -> list[FlowRun]:
    """Return the runs of a deployment that nobody has begun."""
    with get_client(sync_client=True) as client:
        found = client.read_deployment_by_name(deployment)
        runs = client.read_flow_runs(
            deployment_filter=DeploymentFilter.model_validate({"id": {"any_": [found.id]}})
        )
    return [run for run in runs if run.state is not None and run.state.is_scheduled()]


def made(folder: RunFolder, kind: str) -> dict[str, str | None]:
    """Return which run made each unit that succeeded; None: this one."""
    rows = read_table(folder.units(kind)).filter(
        pl.col("outcome") == Outcome.SUCCESS, pl.col("kind") == kind
    )
    return dict(rows.select("name", "reused_from").iter_rows())


@dataclass(frozen=True)
class Circle:
    """What the schedules and a person do, at the time of the clock."""

    home: Path
    clock: Clock
    vendor: BreezeSimulator
    deployment: str

    def log_in(self) -> None:
        """Do what a person does each morning: a session of the vendor lasts a day."""
        close_intakes()
        self.vendor.renew_session()
        announce_simulator(self.home, self.vendor, market_digest=market_digest(SOURCE))

    def execute(self, flow: Flow[..., Any], **parameters: Any) -> State[Any]:
        """Execute a flow as if it had been scheduled for this time."""
        with get_client(sync_client=True) as client:
            due = client.create_flow_run(
                flow, parameters=parameters, state=Scheduled(scheduled_time=self.clock.now)
            )
        return go_on(flow, due)

    def ingest(self, *days: date) -> None:
        """Bring the bars of sessions after their close; the next day's look makes them final."""
        for day in days:
            self.clock.set(day, 20)
            self.log_in()
            done = self.execute(daily_ingestion, asked=INGESTION)
            assert done.name == "Completed", done
            report = done.result()
            assert isinstance(report, BackfillReport)
            assert report.n_added >= len(SYMBOLS)

    def train(self, day: date) -> tuple[RunFolder, FlowRun]:
        """Bring the last bars of a week, and train as it follows from that."""
        self.ingest(day - timedelta(days=1), day)
        self.clock.set(day, 20, 30)
        followed = self.execute(retrain_when_ingested, deployment=self.deployment)
        assert str(followed.message).startswith(f"weekly training after {day}: ")
        again = self.execute(retrain_when_ingested, deployment=self.deployment)
        assert again.message == followed.message
        (due,) = started_by(self.deployment)
        # Started late, it asks for the same bars.
        self.clock.set(day, 21)
        with pytest.raises(Pause) as waits:
            go_on(scheduled_retraining, due)
        assert waits.value.state is not None
        assert waits.value.state.name == "Suspended"
        (path,) = (self.home / "runs").glob(f"*_{str(due.id)[:8]}")
        return RunFolder(self.home, path.name), due

    def resumed(self, due: FlowRun) -> State[Any]:
        """Do what a worker does with a run that was resumed."""
        with get_client(sync_client=True) as client:
            again = client.read_flow_run(due.id)
        assert again.state is not None
        assert again.state.is_scheduled(), again.state
        return go_on(scheduled_retraining, again)

    def move(self, flow: Flow[..., Any], folder: RunFolder) -> State[Any]:
        """Stage or promote a candidate, which nothing stands against."""
        moved = self.execute(flow, run_id=folder.run_id, **WHO)
        assert moved.name == "Completed", moved.message
        return moved

    @property
    def in_production(self) -> str | None:
        """The run whose model is used."""
        pointer = read_pointer(self.home, PRODUCTION)
        return (
            None if pointer is None else open_model(self.home, pointer.model_sha256).record.run_id
        )


@pytest.fixture
def circle(home: Path, clock: Clock, market: BreezeSimulator, deployment: str) -> Circle:
    """Return what goes round on an empty home."""
    return Circle(home, clock, market, deployment)


def answer_form(folder: RunFolder, due: FlowRun) -> None:
    """Do what a person does on the page of a suspended run."""
    given = {
        "decision": "approve",
        "name": "ann",
        "reason": "read the briefing",
        "manifest_sha256": sha256_of(folder.manifest),
    }
    with get_client(sync_client=True) as client:
        assert client.resume_flow_run(due.id, run_input=given).status is SetStateStatus.ACCEPT


def scores_in_production(home: Path) -> pl.DataFrame:
    return score_deployed(home, PRODUCTION, ScoringRequest()).rows


def assert_only_new_bars_were_learnt(first: RunFolder, second: RunFolder) -> None:
    """Windows without new bars are those of the first run; their students score none, either."""
    for kind, n_kept in (("teacher", 2), ("student", 1)):
        before, after = made(first, kind), made(second, kind)
        kept = {name for name in before if name.endswith(WHOLE[:n_kept])}
        assert len(kept) > 1
        assert {name: after[name] for name in kept} == dict.fromkeys(kept, first.run_id)
        assert {run_id for name, run_id in after.items() if name not in kept} == {None}


def decide_by_command(folder: RunFolder, at: datetime) -> None:
    """Record what a command records while no worker is there to resume the run."""
    yes = Answer(
        choice=Choice.APPROVE,
        name="ann",
        reason="as good on new bars",
        manifest_sha256=sha256_of(folder.manifest),
    )
    decide(folder, yes, at=at)


def test_from_the_bars_of_a_week_to_production_and_back(circle: Circle, teaching: Any) -> None:
    """Two trainings two weeks apart; the second one learns from the window with new bars alone."""
    home, clock = circle.home, circle.clock
    first, due = circle.train(FIRST_FRIDAY)
    assert read_json(first.config)["request"]["end"] == FIRST_FRIDAY.isoformat()
    assert set(made(first, "teacher").values()) == {None}
    n_taught = len(teaching.taught)
    answer_form(first, due)
    clock.set(FIRST_FRIDAY, 22)
    approved = circle.resumed(due)
    assert (approved.name, len(teaching.taught)) == ("Approved", n_taught)
    circle.move(stage_candidate, first)

    # One session short of eight, it may not; after eight, it may.
    circle.ingest(date(2023, 6, 20))
    early = circle.execute(promote_candidate, run_id=first.run_id, **WHO)
    assert "not ready to promote" in str(early.message)
    assert circle.in_production is None
    circle.ingest(date(2023, 6, 21))
    circle.move(promote_candidate, first)
    assert circle.in_production == first.run_id

    teaching.taught.clear()
    second, due = circle.train(NEXT_FRIDAY)
    assert_only_new_bars_were_learnt(first, second)
    assert {day for _, day in teaching.taught} == {"2023-01-20"}
    assert len(teaching.taught) == n_taught // 3 == len(SYMBOLS)
    champion = read_json(second.audit / "champion.json")
    assert champion["run_id"] == first.run_id

    decide_by_command(second, clock.now)
    assert circle.execute(expire_candidates).message == "0 expired, 1 resumed"
    assert circle.resumed(due).name == "Approved"
    circle.move(stage_candidate, second)
    circle.ingest(date(2023, 7, 6), date(2023, 7, 7))
    circle.move(promote_candidate, second)
    assert circle.in_production == second.run_id

    circle.ingest(date(2023, 7, 13), date(2023, 7, 14))
    watched = circle.execute(monitor_model)
    assert watched.name == "Too early to tell", watched
    (report,) = (home / "monitoring" / "production").glob("*Z.json")
    findings = {each["name"]: each["health"] for each in read_json(report)["findings"]}
    assert findings["data"] == findings["feature_schema"] == findings["expiry"] == "fine"
    scores = scores_in_production(home)
    assert scores["session"].unique().to_list() == [date(2023, 7, 13)]

    back = circle.execute(roll_back, **WHO)
    assert back.message == f"{first.run_id} stands in production again, by bo"
    assert circle.in_production == first.run_id
    assert not scores_in_production(home).equals(scores)
    kinds = [each.kind.value for each in history_of(home)]
    assert kinds == ["stage", "promote", "stage", "promote", "rollback"]
