"""Facts about watching a deployed model: what is fine, what is degraded, and what is unknown."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from sensequant.errors import ConfigError, RecordError
from sensequant.evaluation.figures import Figure
from sensequant.evaluation.measures import roc_auc
from sensequant.evaluation.scoring import ClassificationFigures
from sensequant.ingestion.places import store_at
from sensequant.market.intervals import DAILY
from sensequant.release.deployment_records import EnvironmentName
from sensequant.release.limits import PromotionLimits
from sensequant.release.monitoring import (
    Alert,
    Finding,
    FindingName,
    Health,
    MonitorLimits,
    MonitorReport,
)
from sensequant.stages import monitoring, shadow
from sensequant.stages.monitoring import monitor
from sensequant.stages.moving import Order
from sensequant.stages.promotion import stage_candidate
from sensequant.stages.scoring import Scorers, ScoringRequest, score_deployed
from sensequant.stages.shadow import judge_rows
from sensequant.storage import read_json, read_table, write_json, write_table
from sensequant.student_file import read_student

STAGING = EnvironmentName.STAGING
SOON = datetime(2023, 7, 3, 12, tzinfo=UTC)
LATER = datetime(2023, 10, 31, 12, tzinfo=UTC)
"""Four months, of which all but the last seven sessions have outcomes."""

World = Any
"""The home that the fixture `world` makes (`tests/conftest.py`)."""


def upside_down(scorers: Scorers, rows: pl.DataFrame) -> pl.DataFrame:
    """Return what a model says that ranks losers above winners."""
    said = judge_rows(scorers, rows)
    noise = pl.Series([0.05 * (number % 7) for number in range(said.height)])
    return said.with_columns(score=0.9 - 0.6 * pl.col("label").cast(pl.Float64) + noise * 0.1)


@pytest.fixture
def staged(world: World) -> World:
    """Return a home in whose staging a model stands since the last session that was delivered."""
    order = Order(
        actor="bo",
        reason="because",
        clock=lambda: world.AT,
        limits=PromotionLimits(),
        load=lambda path, sha256: read_student(path, sha256=sha256),
    )
    stage_candidate(world.folder(1), order)
    return world


def looked(world: World, at: datetime, **limits: Any) -> MonitorReport:
    return monitor(world.home, STAGING, MonitorLimits.model_validate(limits), at=at)


def finding(report: MonitorReport, name: str) -> Finding:
    return next(each for each in report.findings if each.name == name)


def test_figures_are_those_of_the_rows_that_are_kept(staged: World) -> None:
    """Outcomes are joined as they become known; every figure can be made again from the table."""
    staged.deliver(LATER.date())
    report = looked(staged, LATER)
    rows = read_table(staged.home / "monitoring" / "staging" / "rows.parquet")
    known = rows.drop_nulls(["score", "label"])

    assert report.since is not None
    assert report.run_id == staged.folder(1).run_id
    assert report.is_simulated
    assert (report.since.n_rows, report.since.n_realised) == (rows.height, known.height)
    assert known.height == rows.height - 3 * 7
    assert rows["session"].min() == date(2023, 7, 3)
    assert report.since.auc.value == pytest.approx(
        roc_auc(known["label"].to_numpy(), known["score"].to_numpy())
    )
    assert {each.name for each in report.findings} == {
        "data",
        "feature_schema",
        "expiry",
        "silence",
        "scores",
        "precision",
        "hit_rate",
        "calibration",
        "reward",
        "drift",
    }
    stored = staged.home / "monitoring" / "staging" / "20231031T120000Z.json"
    assert MonitorReport.model_validate(read_json(stored)) == report


def test_too_little_to_say_is_no_alarm(staged: World) -> None:
    """One session after the deployment there is no outcome, and too few rows for their bins."""
    staged.deliver(SOON.date())
    report = looked(staged, SOON)

    assert report.health is Health.UNKNOWN
    assert finding(report, "scores").health is Health.UNKNOWN
    assert finding(report, "drift").found == "too few rows since the deployment"
    assert finding(report, "data").health is Health.FINE


def test_stale_bars_and_expired_students_degrade(staged: World) -> None:
    """Nothing was delivered for four months: the bars are old and say nothing of the model."""
    report = looked(staged, LATER)

    assert report.health is Health.DEGRADED
    assert finding(report, "data").health is Health.DEGRADED
    assert "2023-06-30" in finding(report, "data").found
    assert finding(report, "scores").health is Health.UNKNOWN


def test_each_limit_turns_its_own_finding(staged: World) -> None:
    """A limit that nothing can keep degrades, one that anything keeps does not."""
    staged.deliver(LATER.date())
    strict = looked(staged, LATER, max_silent_frac=1e-9, max_drifted_frac=1e-9)
    loose = looked(staged, LATER, max_silent_frac=1, max_drifted_frac=1)

    assert strict.n_drifted is not None
    assert strict.n_drifted > 0
    assert finding(strict, "drift").health is Health.DEGRADED
    assert finding(loose, "drift").health is Health.FINE
    assert finding(loose, "silence").health is Health.FINE
    assert strict.since == loose.since


def test_scores_that_are_upside_down_degrade(
    staged: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that ranks losers above winners is told by the whole interval of its AUC."""
    staged.deliver(LATER.date())
    monkeypatch.setattr(monitoring, "judge_rows", upside_down)
    report = looked(staged, LATER)

    assert report.health is Health.DEGRADED
    assert finding(report, "scores").health is Health.DEGRADED
    (alert,) = [each for each in report.alerts if each.name is FindingName.SCORES]
    assert report.since is not None
    assert alert.figure == report.since.auc
    assert (alert.limit, alert.since, alert.n_observations) == (0.5, LATER, 1)


@pytest.mark.parametrize(
    ("validated", "health"),
    [(0.95, Health.DEGRADED), (0.01, Health.FINE)],
    ids=["better then", "worse then"],
)
def test_decisions_are_held_against_the_validation(
    staged: World, monkeypatch: pytest.MonkeyPatch, validated: float, health: Health
) -> None:
    """Precision and hit rate degrade where their whole interval lies below the one of then."""
    then = Figure(value=validated, lower=validated, upper=validated, n=500, unit="fraction")
    fields = ClassificationFigures.model_fields.keys() - {"schema_version"}
    figures = ClassificationFigures.model_validate(dict.fromkeys(fields, then))

    def known(_: object) -> ClassificationFigures:
        return figures

    monkeypatch.setattr(monitoring, "_validated", known)
    staged.deliver(LATER.date())
    report = looked(staged, LATER)

    for name in ("precision", "hit_rate"):
        found = finding(report, name)
        assert (found.health, found.limit) == (health, validated)
        assert found.figure is not None
        assert found.figure.n > 0
    # An error is worse where it is larger.
    other = {Health.FINE: Health.DEGRADED, Health.DEGRADED: Health.FINE}[health]
    assert finding(report, "calibration").health is other


def rewards_by_hand(world: World, rows: pl.DataFrame) -> list[float | None]:
    """Return what decisions earned: from the next open to the close five sessions later."""
    store = store_at(world.home, world.SETTINGS.request.source)
    found: list[float | None] = []
    for row in rows.iter_rows(named=True):
        bars = store.read(row["symbol"], interval=DAILY).filter(pl.col("session") > row["session"])
        if row["score"] is None or bars.height < 5:
            found.append(None)
            continue
        earned = bars["close"][4] / bars["open"][0] - 1
        signal = int(row["score"] > 0.52) - int(row["score"] < 0.48)
        found.append(0.0 if abs(earned) < 0.001 else float(np.clip(signal * earned, -0.1, 0.1)))
    return found


def test_reward_is_that_of_the_bars_since(staged: World) -> None:
    """Every reward that is kept is made again by hand, and the figure from them."""
    staged.deliver(LATER.date())
    found = finding(looked(staged, LATER), "reward")
    rows = read_table(staged.home / "monitoring" / "staging" / "rows.parquet")

    by_hand = rewards_by_hand(staged, rows)
    assert rows["reward"].to_list() == pytest.approx(by_hand, nan_ok=True)
    assert rows["reward"].null_count() >= 3 * 5
    assert (rows["signal"] == 1).any()
    assert (rows["signal"] == -1).any()
    # Without a validation there is nothing to hold it against, and that is no alarm.
    assert (found.health, found.found) == (Health.UNKNOWN, "it has no interval there")


@pytest.mark.parametrize(
    ("sign", "health"), [(1, Health.DEGRADED), (-1, Health.FINE)], ids=["better then", "worse then"]
)
def test_reward_is_held_against_that_of_the_validation(
    staged: World, sign: int, health: Health
) -> None:
    """Degraded where its whole interval lies below that of the run's own decisions."""
    staged.deliver(LATER.date())
    looked(staged, SOON)
    size = [0.01 + 0.001 * (number % 7) for number in range(200)]
    then = pl.DataFrame(
        {
            "symbol": "SIM01",
            "session_number": range(200),
            "reward": [sign * each for each in size],
            "best_reward": size,
        }
    )
    write_table(staged.folder(1).rewards, then)
    report = looked(staged, LATER, cool_down_hours={"reward": 5})
    rows = read_table(staged.home / "monitoring" / "staging" / "rows.parquet")
    known = rows.drop_nulls("reward")

    found = finding(report, "reward")
    assert (found.health, found.limit) == (health, pytest.approx(sign))
    assert found.figure is not None
    assert found.figure.n == known.height
    share = known.select(pl.col("reward").sum() / pl.col("best_reward").sum()).item()
    assert found.figure.value == pytest.approx(share)
    told = [alert for alert in report.alerts if alert.name is FindingName.REWARD]
    assert bool(told) is (health is Health.DEGRADED)


def test_without_a_validation_there_is_nothing_to_hold_decisions_against(staged: World) -> None:
    """Unknown, with the reason; never fine."""
    staged.deliver(LATER.date())
    found = finding(looked(staged, LATER), "precision")

    assert (found.health, found.found) == (Health.UNKNOWN, "it has no interval there")


def test_bars_of_later_sessions_are_not_read(staged: World) -> None:
    """What a store holds beyond the instant of the question changes nothing."""
    staged.deliver(SOON.date())
    before = looked(staged, SOON)
    staged.deliver(LATER.date())

    assert looked(staged, SOON).since == before.since


def test_where_nothing_is_deployed_there_is_nothing_to_look_at(world: World) -> None:
    """An empty environment is refused by name."""
    with pytest.raises(ConfigError, match="nothing is deployed"):
        looked(world, SOON)


def test_features_are_built_once_for_scores_and_drift(
    staged: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The drift is the one that scoring the same sessions by themselves measures."""
    staged.deliver(LATER.date())
    built: list[int] = []
    really = shadow.build_rows

    def counted(*given: Any, **named: Any) -> pl.DataFrame:
        built.append(1)
        return really(*given, **named)

    monkeypatch.setattr(shadow, "build_rows", counted)
    report = looked(staged, LATER)
    asked = ScoringRequest(start=date(2023, 7, 3), end=LATER.date())
    (prediction,) = score_deployed(staged.home, STAGING, asked).predictions.values()

    assert built == [1]
    assert report.n_columns == prediction.drift.height
    assert report.largest_psi == prediction.drift["psi"].max()


def test_who_was_told_is_told_again_only_after_the_cool_down(staged: World) -> None:
    """Old bars: told once, then every six hours; whoever only looks uses nothing up."""
    told: list[tuple[datetime, str]] = []

    def tell(report: MonitorReport, alert: Alert) -> None:
        told.append((report.at, alert.name))

    limits = MonitorLimits.model_validate({"cool_down_hours": {"data": 6}})
    instants = [LATER + timedelta(hours=hours) for hours in (0, 1, 5.9, 6, 8)]
    looked(staged, LATER - timedelta(hours=1))
    reports = [monitor(staged.home, STAGING, limits, at=at, tell=tell) for at in instants]

    of_data = [at for at, name in told if name == "data"]
    assert of_data == [instants[0], instants[3]]
    assert [report.alerts[0].n_observations for report in reports] == [2, 3, 4, 5, 6]
    assert {report.alerts[0].since for report in reports} == {LATER - timedelta(hours=1)}
    assert [report.alerts[0].is_told for report in reports] == [True, False, False, True, False]


def test_clock_that_goes_backwards_is_refused(staged: World) -> None:
    """A report of a later instant is there: no new one is made, and the message names it."""
    looked(staged, LATER)
    before = sorted((staged.home / "monitoring" / "staging").iterdir())

    with pytest.raises(ConfigError, match=r"clock goes backwards.*20231031T120000Z"):
        looked(staged, SOON)

    assert sorted((staged.home / "monitoring" / "staging").iterdir()) == before


def test_former_report_that_cannot_be_read_is_named(staged: World) -> None:
    """Since when something is degraded is not guessed."""
    path = staged.home / "monitoring" / "staging" / "20230701T120000Z.json"
    write_json(path, {"health": "fine"})

    with pytest.raises(RecordError, match="20230701T120000Z"):
        looked(staged, SOON)
