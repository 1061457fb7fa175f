"""Figures of merit agree with scikit-learn, with hand calculation and with plain loops."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as untyped_metrics

from sensequant.errors import DataError
from sensequant.evaluation import measures
from sensequant.market.sessions import nse_calendar

metrics: Any = untyped_metrics
LABELS = np.array([0, 0, 1, 1, 0, 1, 0, 1])
SCORES = np.array([0.1, 0.4, 0.35, 0.8, 0.4, 0.4, 0.9, 0.7])
RETURNS = [0.10, -0.05, 0.02, -0.08, 0.03]

panels = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 5), st.integers(0, 4)), min_size=1, max_size=40
)
daily = st.lists(st.floats(-0.2, 0.2), min_size=2, max_size=60)


@given(panels)
def test_weighted_auc_with_ties_is_that_of_sklearn(rows: list[tuple[int, int, int]]) -> None:
    """The AUC with weights and mid-rank ties equals scikit-learn's; one class gives None."""
    labels, scores, weights = (np.array(column) for column in zip(*rows, strict=True))

    found = measures.roc_auc(labels, scores / 5, weights)

    if (weights * labels).sum() == 0 or (weights * (1 - labels)).sum() == 0:
        assert found is None
    else:
        kept = weights > 0
        expected = metrics.roc_auc_score(
            labels[kept], scores[kept] / 5, sample_weight=weights[kept]
        )
        assert found == pytest.approx(expected)


def test_auc_counts_pairs() -> None:
    """Without weights the AUC is the share of ordered pairs, ties counting half."""
    pairs = [
        1.0 if positive > negative else 0.5 if positive == negative else 0.0
        for positive in SCORES[LABELS == 1]
        for negative in SCORES[LABELS == 0]
    ]

    assert measures.roc_auc(LABELS, SCORES) == pytest.approx(np.mean(pairs))


def test_losses_are_those_of_sklearn() -> None:
    """Log loss and Brier score equal scikit-learn's, certain mistakes staying finite."""
    scores = np.array([0.0, 0.4, 0.35, 1.0, 0.4, 0.4, 1.0, 0.7])

    assert measures.log_loss(LABELS, scores) == pytest.approx(metrics.log_loss(LABELS, scores))
    assert measures.brier_score(LABELS, scores) == pytest.approx(
        metrics.brier_score_loss(LABELS, scores)
    )


def test_losses_of_nothing_are_absent() -> None:
    """Without rows there is no loss."""
    assert measures.log_loss([], []) is None
    assert measures.brier_score([], []) is None


def test_calibration_by_hand() -> None:
    """Two equal-mass bins: means 0.2 and 0.7, shares of ones 0.5 and 1, so the ECE is 0.3."""
    labels, scores = [0, 1, 1, 1], [0.1, 0.3, 0.6, 0.8]

    table = measures.calibration_table(labels, scores, 2)

    assert table is not None
    assert table.rows() == [
        (0, 2, 0.1, pytest.approx(0.2), 0.3, 0.5),
        (1, 2, 0.6, pytest.approx(0.7), 0.8, 1.0),
    ]
    assert measures.expected_calibration_error(labels, scores, 2) == pytest.approx(0.3)


def test_calibration_keeps_ties_together() -> None:
    """Equal scores share one bin, in whatever order the rows come."""
    labels = np.array([0, 1, 0, 1, 1, 0])
    scores = np.array([0.5, 0.5, 0.5, 0.5, 0.9, 0.1])

    table = measures.calibration_table(labels, scores, 3)
    turned = measures.calibration_table(labels[::-1], scores[::-1], 3)

    assert table is not None
    assert turned is not None
    assert table.equals(turned)
    assert table["n"].to_list() == [5, 1]


def test_calibration_needs_as_many_rows_as_bins() -> None:
    """With fewer rows than bins, or no bins, there is no table."""
    assert measures.calibration_table([0, 1], [0.1, 0.9], 3) is None
    assert measures.calibration_table([0, 1], [0.1, 0.9], 0) is None
    assert measures.expected_calibration_error([0, 1], [0.1, 0.9], 3) is None


def test_confusion_by_hand() -> None:
    """Of eight decisions two are true positives, and so on; the ratios follow."""
    decisions = [0, 1, 1, 0, 1, 0, 1, 1]

    counts = measures.confusion(LABELS, decisions)

    assert counts == measures.Confusion(2, 3, 1, 2)
    assert measures.precision_recall_f1(LABELS, decisions) == pytest.approx((2 / 5, 2 / 4, 4 / 9))


def test_ratios_without_a_denominator_are_absent() -> None:
    """No decision has no precision, no positive label no recall, neither no F1."""
    assert measures.precision_recall_f1([1, 0], [0, 0]) == (None, 0.0, 0.0)
    assert measures.precision_recall_f1([0, 0], [1, 0]) == (0.0, None, 0.0)
    assert measures.precision_recall_f1([0, 0], [0, 0]) == (None, None, None)


def test_hit_rate_counts_gains_among_purchases() -> None:
    """Of three purchases one gained; a return of zero is no gain."""
    assert measures.hit_rate([1, 1, 0, 1], [0.1, 0.0, 0.5, -0.2]) == pytest.approx(1 / 3)
    assert measures.hit_rate([0, 0], [0.1, 0.2]) is None


def test_returns_by_hand() -> None:
    """Total, annual, volatility, Sharpe, Sortino and Calmar of five sessions."""
    total = 1.10 * 0.95 * 1.02 * 0.92 * 1.03 - 1
    mean = sum(RETURNS) / 5
    deviation = math.sqrt(sum((value - mean) ** 2 for value in RETURNS) / 4)
    downside = math.sqrt((0.05**2 + 0.08**2) / 5)
    deepest = 0.95 * 1.02 * 0.92 - 1

    assert measures.total_return(RETURNS) == pytest.approx(total)
    assert measures.annual_return(RETURNS, 10) == pytest.approx((1 + total) ** 2 - 1)
    assert measures.annual_volatility(RETURNS, 10) == pytest.approx(deviation * math.sqrt(10))
    assert measures.sharpe_ratio(RETURNS, sessions_per_year=10) == pytest.approx(
        mean / deviation * math.sqrt(10)
    )
    assert measures.sharpe_ratio(RETURNS, risk_free_daily=0.01, sessions_per_year=1) == (
        pytest.approx((mean - 0.01) / deviation)
    )
    assert measures.sortino_ratio(RETURNS, sessions_per_year=10) == pytest.approx(
        mean / downside * math.sqrt(10)
    )
    assert measures.max_drawdown(measures.equity_curve(RETURNS)) == pytest.approx(deepest)
    assert measures.calmar_ratio(RETURNS, 10) == pytest.approx(
        ((1 + total) ** 2 - 1) / abs(deepest)
    )


def test_drawdown_length_counts_sessions_below_a_high() -> None:
    """A fall of three sessions that recovers, one open fall of two, a flat line, nothing."""
    assert measures.drawdown_length_sessions([1, 2, 1, 1, 1, 2, 3]) == 3
    assert measures.drawdown_length_sessions([1, 2, 1, 2, 1, 1]) == 2
    assert measures.drawdown_length_sessions([1, 1, 1]) == 0
    assert measures.drawdown_length_sessions([]) is None


def test_undefined_figures_of_returns_are_absent() -> None:
    """No sessions, constant returns, no loss and a total loss have no such figure."""
    assert measures.total_return([]) is None
    assert measures.annual_return([]) is None
    assert measures.annual_return([-1.5]) is None
    assert measures.annual_return([-1.0]) == -1.0
    assert measures.annual_return([1e300], 1e6) is None
    assert measures.annual_volatility([0.1]) is None
    assert measures.sharpe_ratio([0.1]) is None
    assert measures.sharpe_ratio([0.1] * 7) is None
    assert measures.sortino_ratio([]) is None
    assert measures.sortino_ratio([0.1, 0.0]) is None
    assert measures.max_drawdown([]) is None
    assert measures.calmar_ratio([0.1, 0.2]) is None
    assert measures.calmar_ratio([]) is None


def test_cash_at_the_risk_free_return_has_no_ratio() -> None:
    """Returns that differ from it by rounding alone do not vary, and none falls short of it."""
    growth = 1.065 ** (1 / 248)
    equity = 1e7 * growth ** np.arange(300)
    returns = equity[1:] / equity[:-1] - 1

    assert measures.sharpe_ratio(returns, risk_free_daily=growth - 1) is None
    assert measures.sortino_ratio(returns, risk_free_daily=growth - 1) is None


@given(daily, st.floats(0.1, 1000))
def test_drawdown_is_never_positive_and_scale_free(returns: list[float], scale: float) -> None:
    """A drawdown lies in [-1, 0] and does not depend on the capital."""
    one = measures.max_drawdown(measures.equity_curve(returns))
    scaled = measures.max_drawdown(measures.equity_curve(returns, start=scale))

    assert one is not None
    assert -1 <= one <= 0
    assert scaled == pytest.approx(one)


@given(daily)
def test_drawdown_and_its_length_match_a_loop(returns: list[float]) -> None:
    """A plain loop over the sessions finds the same depth and length."""
    equity = [1.0]
    for value in returns:
        equity.append(equity[-1] * (1 + value))
    high, deepest, length, longest = equity[0], 0.0, 0, 0
    for value in equity:
        high = max(high, value)
        deepest = min(deepest, value / high - 1)
        length = 0 if value >= high else length + 1
        longest = max(longest, length)

    curve = measures.equity_curve(returns)

    assert measures.max_drawdown(curve) == pytest.approx(deepest)
    assert measures.drawdown_length_sessions(curve) == longest


@pytest.mark.parametrize(
    ("labels", "scores"),
    [([0, 2], [0.1, 0.2]), ([0, 1], [0.1, math.nan]), ([0, 1], [0.1]), ([[0, 1]], [[0.1, 0.2]])],
)
def test_unusable_input_is_refused(labels: list[int], scores: list[float]) -> None:
    """Other labels than 0 and 1, NaN, and unequal lengths are errors of the caller."""
    with pytest.raises(DataError):
        measures.roc_auc(labels, scores)


def test_session_count_of_a_year_is_that_of_the_calendar() -> None:
    """The mean number of NSE sessions in the years 2005 to 2025 rounds to the constant."""
    calendar = nse_calendar()
    years = calendar.table["session"].dt.year()
    mean = years.is_between(2005, 2025).sum() / 21

    assert round(mean) == measures.SESSIONS_PER_YEAR
