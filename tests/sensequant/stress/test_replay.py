"""Facts about which rows may be replayed and what the replay says."""

from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sensequant.evaluation.backtest import BacktestConfig
from sensequant.evaluation.costs import CostConfig
from sensequant.evaluation.measures import SESSIONS_PER_YEAR
from sensequant.market.sessions import nse_calendar
from sensequant.records import SkipReason
from sensequant.stress.replay import (
    REPLAY_SCHEMA,
    LastStudent,
    ReplayKind,
    ReplaySettings,
    SymbolScores,
    replay,
    scores_in_period,
)
from sensequant.stress.resilience import FailureMode, ScenarioResult, SkippedScenario
from sensequant.stress.scenarios import Scenario, Severity, StressConfig

CALENDAR = nse_calendar()
SESSIONS = CALENDAR.sessions(date(2017, 1, 1), date(2018, 12, 31))
CRISIS = Scenario(
    name="crisis",
    title="Crisis",
    start=date(2018, 3, 1),
    end=date(2018, 4, 30),
    severity=Severity.HIGH,
    source="2018",
)
IN_CRISIS = [session for session in SESSIONS if CRISIS.start <= session <= CRISIS.end]
NO_PREDICTIONS = pl.DataFrame(
    schema={"symbol": pl.String, "session": pl.Date, "score": pl.Float64, "label": pl.Int8}
)
SETTINGS = ReplaySettings(
    stress=StressConfig(),
    backtest=BacktestConfig(position_frac=1.0, max_position_frac=1.0),
    costs=CostConfig(),
    horizon_sessions=1,
    seed=1,
)


def rows(horizon: int = 1, sessions: list[date] = SESSIONS) -> pl.DataFrame:
    """Labels alternate: positive on even session numbers."""
    numbers = [CALENDAR.number_of(session) for session in sessions]
    ends = [CALENDAR.session_at(number + horizon) for number in numbers]
    return pl.DataFrame(
        {
            "symbol": ["A"] * len(sessions),
            "session": sessions,
            "session_number": numbers,
            "label_end": ends,
            "label": [1 - number % 2 for number in numbers],
            "feature": [float(number % 2) for number in numbers],
        },
        schema_overrides={"label": pl.Int8, "session_number": pl.Int32},
    )


def always(value: float, *, first: date, last: date) -> LastStudent:
    def score(frame: pl.DataFrame) -> NDArray[np.float64]:
        assert "known_score" not in frame.columns
        return np.full(frame.height, value)

    return LastStudent(score, first, last)


def bars(close: list[float], sessions: list[date] = SESSIONS, symbol: str = "A") -> pl.DataFrame:
    return pl.DataFrame(
        {
            "symbol": [symbol] * len(sessions),
            "session": sessions,
            "open": close,
            "close": close,
            "volume": [1e9] * len(sessions),
            "is_unexplained_gap": [False] * len(sessions),
        }
    )


def walk(seed: int, sessions: list[date] = SESSIONS) -> list[float]:
    steps = np.random.default_rng(seed).normal(0, 0.01, len(sessions))
    return (100 * np.exp(np.cumsum(steps))).tolist()


def predictions(score: float, sessions: list[date]) -> pl.DataFrame:
    labelled = rows(sessions=sessions)
    return labelled.select("symbol", "session", "label", score=pl.lit(score))


def period(
    *,
    known: pl.DataFrame = NO_PREDICTIONS,
    student: LastStudent | None = None,
    frame: pl.DataFrame | None = None,
    horizon: int = 1,
) -> SymbolScores:
    return scores_in_period(
        CRISIS,
        symbol="A",
        rows=rows() if frame is None else frame,
        predictions=known,
        student=student,
        horizon_sessions=horizon,
    )


def test_student_trained_later_is_replayed_on_an_earlier_crisis() -> None:
    """All rows whose labels ended before the training are unseen: a replay, marked as such."""
    found = period(student=always(0.7, first=date(2018, 6, 1), last=date(2018, 12, 1)))

    assert found.reason is None
    assert found.frame.schema == REPLAY_SCHEMA
    assert found.frame["replay_kind"].unique().to_list() == [ReplayKind.TRAINED_LATER]
    assert found.frame.filter(~pl.col("is_lead_in"))["session"].to_list() == IN_CRISIS


def test_decisions_before_the_crisis_lead_into_it() -> None:
    """One session more than the horizon precedes the first one of the period."""
    student = always(0.7, first=date(2018, 6, 1), last=date(2018, 12, 1))
    found = period(student=student, horizon=5)
    lead_in = found.frame.filter("is_lead_in")["session"].to_list()

    assert lead_in == [session for session in SESSIONS if session < CRISIS.start][-6:]


def test_rows_after_the_last_label_end_are_unseen() -> None:
    """A student trained before the crisis forecasts it."""
    found = period(student=always(0.7, first=date(2017, 2, 1), last=date(2018, 1, 31)))

    assert found.frame["replay_kind"].unique().to_list() == [ReplayKind.TRAINED_BEFORE]


def test_crisis_inside_the_training_is_skipped() -> None:
    """Where the last student learned from every row, nothing may be said."""
    found = period(student=always(0.7, first=date(2017, 2, 1), last=date(2018, 12, 1)))

    assert found.reason is SkipReason.SEEN_IN_TRAINING
    assert found.frame.is_empty()


def test_overlapping_labels_are_left_out_at_both_ends() -> None:
    """A row before the training whose label ends inside it was seen through that label."""
    first = IN_CRISIS[20]
    found = period(frame=rows(horizon=3), student=always(0.7, first=first, last=date(2018, 12, 1)))
    inside = found.frame.filter(~pl.col("is_lead_in"))["session"].to_list()

    assert inside == IN_CRISIS[:17]


def test_walk_forward_predictions_come_first() -> None:
    """A prediction made by an earlier student is used even where the last student may score."""
    known = predictions(0.2, IN_CRISIS[:10])
    found = period(known=known, student=always(0.7, first=date(2018, 6, 1), last=date(2018, 12, 1)))
    scores = found.frame.filter(~pl.col("is_lead_in"))

    assert scores["score"].to_list() == [0.2] * 10 + [0.7] * (len(IN_CRISIS) - 10)
    assert scores["replay_kind"].n_unique() == 2


def test_without_a_last_student_only_predictions_count() -> None:
    """Predictions stand without a student; without both there is no earlier training."""
    some = period(known=predictions(0.2, IN_CRISIS))
    none = period()

    assert some.frame.filter(~pl.col("is_lead_in")).height == len(IN_CRISIS)
    assert none.reason is SkipReason.NO_EARLIER_TRAINING


def test_no_rows_in_the_period_is_no_data() -> None:
    """A symbol that was not listed yet has no data, even if it has rows right before."""
    early = [session for session in SESSIONS if session < CRISIS.start]
    found = period(
        frame=rows(sessions=early),
        student=always(0.7, first=date(2018, 6, 1), last=date(2018, 12, 1)),
    )

    assert found.reason is SkipReason.NO_DATA


def test_rows_that_the_student_cannot_score_are_left_out() -> None:
    """NaN from a student is no score; with nothing else the symbol has none."""
    found = period(student=always(np.nan, first=date(2018, 6, 1), last=date(2018, 12, 1)))

    assert found.reason is SkipReason.SEEN_IN_TRAINING
    assert found.frame.is_empty()


@given(first=st.integers(0, len(SESSIONS) - 60), length=st.integers(1, 400))
def test_no_replayed_row_was_learned_from(first: int, length: int) -> None:
    """Whatever the training range, no scored row lies in it, nor does its label reach into it."""
    last = min(first + length, len(SESSIONS) - 1)
    student = always(0.7, first=SESSIONS[first], last=SESSIONS[last])
    found = period(frame=rows(horizon=5), student=student, horizon=5)
    seen = found.frame.join(rows(horizon=5), on="session").filter(
        (pl.col("label_end") >= SESSIONS[first]) & (pl.col("session") <= SESSIONS[last])
    )

    assert seen.is_empty()


def replayed(
    close: list[float],
    *,
    score: float = 1.0,
    benchmark: pl.DataFrame | None = None,
    known: pl.DataFrame = NO_PREDICTIONS,
    settings: ReplaySettings = SETTINGS,
) -> ScenarioResult:
    student = always(score, first=date(2018, 6, 1), last=date(2018, 12, 1))
    found = replay(
        CRISIS,
        scores=[period(student=student, horizon=settings.horizon_sessions)],
        bars=bars(close),
        benchmark=benchmark,
        predictions=known,
        settings=settings,
    )
    assert isinstance(found, ScenarioResult)
    return found


def test_a_fully_invested_replay_earns_the_symbol_from_close_to_close() -> None:
    """Bought for all cash one session before: equity moves as the price, but for a last share."""
    close = walk(1)
    found = replayed(close)
    start, end = SESSIONS.index(IN_CRISIS[0]), SESSIONS.index(IN_CRISIS[-1])
    equity = np.array(close[start - 1 : end + 1])

    assert found.strategy.total_return == pytest.approx(equity[-1] / equity[0] - 1, abs=1e-4)
    assert found.strategy.max_drawdown == pytest.approx(
        (equity / np.maximum.accumulate(equity) - 1).min(), abs=1e-4
    )
    assert (found.first_session, found.last_session) == (IN_CRISIS[0], IN_CRISIS[-1])
    assert found.n_sessions == len(IN_CRISIS)
    assert found.kind == "trained_later"


def test_precision_and_recall_are_counted_in_the_period() -> None:
    """Buying always has the precision of the share of positive labels and a recall of one."""
    found = replayed(walk(1))
    labels = rows(sessions=IN_CRISIS)["label"]

    assert found.hits.precision == pytest.approx(labels.mean())
    assert found.hits.recall == 1.0
    assert found.hits.n_decisions == found.hits.n_labelled == len(IN_CRISIS)
    assert found.hits.lift == 0


def test_a_candidate_that_never_buys_has_no_resilience() -> None:
    """No decision means no precision: the crisis is replayed but neither passed nor failed."""
    found = replayed(walk(1), score=0.0)

    cash = 1.065 ** (len(IN_CRISIS) / SESSIONS_PER_YEAR) - 1
    assert found.strategy.total_return == pytest.approx(cash)
    assert found.resilience is None
    assert found.passes is None
    assert found.resilience_reason == "not defined: precision, Sharpe ratio"
    assert found.failure_modes == ()


def test_baselines_by_hand() -> None:
    """NIFTY 50 from the close before; 60/40 and cash by explicit products over sessions."""
    index = walk(2)
    found = replayed(walk(1), benchmark=pl.DataFrame({"session": SESSIONS, "close": index}))
    start, end = SESSIONS.index(IN_CRISIS[0]), SESSIONS.index(IN_CRISIS[-1])
    daily = 1.065 ** (1 / 248) - 1
    mixed = 1.0
    for place in range(start, end + 1):
        mixed *= 1 + 0.6 * (index[place] / index[place - 1] - 1) + 0.4 * daily
    nifty, balanced, cash = found.baselines

    assert nifty.total_return == pytest.approx(index[end] / index[start - 1] - 1)
    assert balanced.total_return == pytest.approx(mixed - 1)
    assert cash.total_return == pytest.approx((1 + daily) ** len(IN_CRISIS) - 1)
    assert cash.max_drawdown == 0
    assert cash.sharpe is None


@pytest.mark.parametrize("sessions", [None, IN_CRISIS, SESSIONS[:10]])
def test_without_a_benchmark_its_baselines_say_why(sessions: list[date] | None) -> None:
    """No benchmark, none before the period, none in it: no figures and a reason."""
    benchmark = (
        None
        if sessions is None
        else pl.DataFrame({"session": sessions, "close": walk(2, sessions)})
    )
    nifty, balanced, cash = replayed(walk(1), benchmark=benchmark).baselines

    assert nifty.total_return is None
    assert balanced.reason == nifty.reason == "no bar of NIFTY 50 before or in the period"
    assert cash.total_return is not None


def test_market_shock_is_the_worst_session_in_yearly_deviations() -> None:
    """One fall of 20 % after a year with deviation s is -0.2 / s; it is a black swan."""
    index = walk(3)
    place = SESSIONS.index(IN_CRISIS[5])
    index = index[:place] + [
        price * 0.8 * index[place - 1] / index[place] for price in index[place:]
    ]
    close = walk(1)
    crash = close[:place] + [price * 0.3 for price in close[place:]]
    found = replayed(crash, benchmark=pl.DataFrame({"session": SESSIONS, "close": index}))
    start = SESSIONS.index(IN_CRISIS[0])
    year = np.array(index[start - 249 : start])
    sigma = (year[1:] / year[:-1] - 1).std(ddof=1)

    assert found.market_shock_sigma == pytest.approx(-0.2 / sigma)
    assert found.passes is False
    assert FailureMode.BLACK_SWAN in found.failure_modes


def test_flat_index_has_no_shock() -> None:
    """Without variation before there is no unit to measure a shock in."""
    flat = pl.DataFrame({"session": SESSIONS, "close": [100.0] * len(SESSIONS)})

    assert replayed(walk(1), benchmark=flat).market_shock_sigma is None


def test_hits_outside_the_crisis_leave_the_crisis_out() -> None:
    """Predictions of the period do not count as evidence from other times."""
    found = replayed(walk(1), known=predictions(0.9, SESSIONS[:200] + IN_CRISIS))

    assert found.hits_outside.n_labelled == 200


def test_too_few_sessions_are_skipped() -> None:
    """A crisis of which only a few sessions are covered counts neither way."""
    settings = ReplaySettings(
        stress=StressConfig(min_sessions=200),
        backtest=SETTINGS.backtest,
        costs=SETTINGS.costs,
        horizon_sessions=1,
        seed=1,
    )
    student = always(1.0, first=date(2018, 6, 1), last=date(2018, 12, 1))
    found = replay(
        CRISIS,
        scores=[period(student=student)],
        bars=bars(walk(1)),
        benchmark=None,
        predictions=NO_PREDICTIONS,
        settings=settings,
    )

    assert isinstance(found, SkippedScenario)
    assert found.skip_reason is SkipReason.INSUFFICIENT_SAMPLES


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        ([SkipReason.NO_DATA, SkipReason.SEEN_IN_TRAINING], SkipReason.SEEN_IN_TRAINING),
        ([SkipReason.NO_DATA], SkipReason.NO_DATA),
        ([], SkipReason.NO_DATA),
    ],
)
def test_a_crisis_without_rows_has_the_most_telling_reason(
    reasons: list[SkipReason], expected: SkipReason
) -> None:
    """That something was seen in training says more than that something was not listed."""
    scores = [
        SymbolScores(f"S{n}", REPLAY_SCHEMA.to_frame(), each) for n, each in enumerate(reasons)
    ]
    found = replay(
        CRISIS,
        scores=scores,
        bars=bars(walk(1)),
        benchmark=None,
        predictions=NO_PREDICTIONS,
        settings=SETTINGS,
    )

    assert isinstance(found, SkippedScenario)
    assert found.skip_reason is expected
    assert sum(found.skipped_symbols.values()) == len(reasons)
