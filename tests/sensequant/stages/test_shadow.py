"""Facts about validation in the shadow: which decisions count, and what they were worth."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as untyped_metrics

from sensequant.evaluation.costs import round_trip_cost_frac
from sensequant.market.intervals import DAILY
from sensequant.market.sessions import nse_calendar
from sensequant.release.models import open_model, pack_model, store_model
from sensequant.stages.context import settings_at
from sensequant.stages.scoring import Scorers, scorers_of
from sensequant.stages.shadow import (
    figures_in_shadow,
    reward_figure,
    score_in_shadow,
    validate_in_shadow,
)
from sensequant.storage import sha256_of

metrics: Any = untyped_metrics
World = Any
"""The home that the fixture `world` makes (`tests/conftest.py`)."""

SINCE = datetime(2023, 6, 30, 12, tzinfo=UTC)
UNTIL = datetime(2023, 12, 29, 12, tzinfo=UTC)


@pytest.fixture
def staged(world: World) -> Callable[[date], tuple[Scorers, Any]]:
    """Return what delivers bars and returns the students of candidate 1 with its settings."""
    folder = world.folder(1)
    packed = pack_model(folder, manifest_sha256=sha256_of(folder.manifest))
    model = store_model(world.home, packed)

    def deliver(through: date) -> tuple[Scorers, Any]:
        world.deliver(through)
        opened = open_model(world.home, model.sha256)
        return scorers_of(world.home, opened), settings_at(opened.config)

    return deliver


def test_figures_are_those_of_another_engine(
    staged: Callable[[date], tuple[Scorers, Any]],
) -> None:
    """Outcomes counted by hand from the stored bars; the AUC by scikit-learn."""
    scorers, settings = staged(date(2023, 10, 31))

    found = validate_in_shadow(scorers, settings, nse_calendar(), since=SINCE, until=UNTIL)
    rows = score_in_shadow(scorers, settings, nse_calendar(), since=SINCE, until=UNTIL)

    horizon, asked = settings.config.labels.horizon_sessions, settings.config
    cost = round_trip_cost_frac(asked.costs, settings.request.start)
    expected: dict[tuple[str, date], float] = {}
    for symbol in scorers.symbols:
        bars = scorers.store.read(symbol, interval=DAILY).sort("session")
        opens, closes, days = (bars[name].to_list() for name in ("open", "close", "session"))
        for at in range(len(days) - horizon):
            expected[symbol, days[at]] = closes[at + horizon] / opens[at + 1] - 1
    known = rows.drop_nulls(["score", "label"])
    returns = np.array([expected[key] for key in known.select("symbol", "session").iter_rows()])
    labels = returns - cost > asked.labels.threshold_frac
    np.testing.assert_allclose(known["forward_return"].to_numpy(), returns, atol=1e-12)
    assert found.n_realised == known.height == len(returns) > 200
    auc = metrics.roc_auc_score(labels, known["score"].to_numpy())
    assert found.auc.value == pytest.approx(auc)
    assert (found.auc.lower or 1) < auc < (found.auc.upper or 0)
    decided = known["score"].to_numpy() >= asked.backtest.threshold
    assert found.precision.value == pytest.approx(labels[decided].mean())
    assert found.hit_rate.value == pytest.approx((returns[decided] > 0).mean())


@pytest.mark.parametrize(
    ("since", "first"),
    [
        (datetime(2023, 7, 3, 9, 59, tzinfo=UTC), date(2023, 7, 3)),
        (datetime(2023, 7, 3, 10, 0, tzinfo=UTC), date(2023, 7, 4)),
        (datetime(2023, 7, 1, 8, tzinfo=UTC), date(2023, 7, 3)),
        (datetime(2023, 7, 2, 18, 31, tzinfo=UTC), date(2023, 7, 3)),
    ],
    ids=["before the close", "at the close", "on a Saturday", "after midnight in India"],
)
def test_session_counts_that_closed_after_the_staging(
    staged: Callable[[date], tuple[Scorers, Any]], since: datetime, first: date
) -> None:
    """To the instant of its close, 15:30 in India."""
    scorers, settings = staged(date(2023, 7, 7))

    rows = score_in_shadow(scorers, settings, nse_calendar(), since=since, until=UNTIL)

    assert rows["session"].min() == first
    assert rows.height == 3 * rows["session"].n_unique()


def test_what_has_no_outcome_yet_has_no_figure(
    staged: Callable[[date], tuple[Scorers, Any]],
) -> None:
    """Scored, but not realised: every figure says why it is absent, none is nought."""
    scorers, settings = staged(date(2023, 7, 7))

    found = validate_in_shadow(scorers, settings, nse_calendar(), since=SINCE, until=UNTIL)

    assert (found.n_sessions, found.n_rows, found.n_scored, found.n_realised) == (5, 15, 15, 0)
    for figure in (found.auc, found.precision, found.hit_rate, found.brier_score):
        assert (figure.value, figure.lower, figure.n) == (None, None, 0)
        assert figure.reason


@pytest.mark.parametrize(
    ("n_symbols", "n_sessions", "has_interval"),
    [(1, 41, False), (1, 42, True), (2, 41, False), (3, 1, False), (3, 2, True)],
)
def test_too_few_outcomes_have_no_interval(
    staged: Callable[[date], tuple[Scorers, Any]],
    n_symbols: int,
    n_sessions: int,
    has_interval: bool,
) -> None:
    """Two blocks of 21 sessions, or three symbols and two sessions; the figure itself stands."""
    scorers, settings = staged(date(2023, 10, 31))
    rows = score_in_shadow(scorers, settings, nse_calendar(), since=SINCE, until=UNTIL)
    known = rows.drop_nulls(["score", "label"])
    sessions = known["session"].unique().sort()[:n_sessions].to_list()
    part = known.filter(
        pl.col("symbol").is_in(scorers.symbols[:n_symbols]), pl.col("session").is_in(sessions)
    ).with_columns(
        # Both classes, and decisions, in however few rows.
        label=pl.int_range(pl.len()).mod(2).cast(pl.Int8),
        score=0.4 + 0.2 * pl.int_range(pl.len()).mod(3).cast(pl.Float64) / 2,
        signal=pl.lit(1, pl.Int8),
        reward=0.01 * (pl.int_range(pl.len()).mod(3) - 1),
        best_reward=pl.lit(0.01),
    )

    found = figures_in_shadow(part, settings.config, since=SINCE)
    reward = reward_figure(part, settings.config)

    for figure in (found.auc, found.brier_score, reward):
        assert figure.value is not None
        assert (figure.lower is not None) is has_interval
        assert (figure.upper is not None) is has_interval
        assert has_interval or figure.reason
    if not has_interval:
        assert f"outcomes of {n_sessions} sessions" in str(reward.reason)


def test_nothing_since_the_staging_is_nothing_found(
    staged: Callable[[date], tuple[Scorers, Any]],
) -> None:
    """No session, no row, no figure."""
    scorers, settings = staged(date(2023, 6, 30))

    found = validate_in_shadow(scorers, settings, nse_calendar(), since=SINCE, until=UNTIL)

    assert (found.first_session, found.n_sessions, found.n_rows, found.n_scored) == (None, 0, 0, 0)


def test_scores_of_the_shadow_do_not_see_what_came_later(
    staged: Callable[[date], tuple[Scorers, Any]],
) -> None:
    """The same sessions, scored again after two more weeks, have the same scores."""
    early = score_in_shadow(*staged(date(2023, 7, 7)), nse_calendar(), since=SINCE, until=UNTIL)
    late = score_in_shadow(*staged(date(2023, 7, 21)), nse_calendar(), since=SINCE, until=UNTIL)

    said = ["symbol", "session", "score", "probability", "novelty", "reason"]
    assert (
        late.filter(pl.col("session") <= date(2023, 7, 7)).select(said).equals(early.select(said))
    )


@pytest.mark.parametrize(
    ("until", "last"),
    [
        (datetime(2023, 7, 21, 9, 59, tzinfo=UTC), date(2023, 7, 20)),
        (datetime(2023, 7, 21, 10, 0, tzinfo=UTC), date(2023, 7, 21)),
    ],
    ids=["before the close", "at the close"],
)
def test_nothing_is_read_of_what_is_still_to_come(
    staged: Callable[[date], tuple[Scorers, Any]], until: datetime, last: date
) -> None:
    """A store that holds later bars, as that of a simulated market does, is cut at the question."""
    scorers, settings = staged(date(2023, 10, 31))
    whole = score_in_shadow(scorers, settings, nse_calendar(), since=SINCE, until=UNTIL)

    rows = score_in_shadow(scorers, settings, nse_calendar(), since=SINCE, until=until)

    assert rows["session"].max() == last
    horizon = settings.config.labels.horizon_sessions
    newest = nse_calendar().offset(last, -horizon)
    known = whole.with_columns(
        pl.when(pl.col("session") <= newest).then(pl.col(name)).alias(name)
        for name in ("label", "forward_return")
    )
    assert rows.equals(known.filter(pl.col("session") <= last))
