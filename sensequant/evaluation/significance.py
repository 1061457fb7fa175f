"""Whether daily net returns could have come about without any skill.

Belongs here: the assessment of one series of net returns against its benchmark: which tests, on
which rows. Does not belong here: the tests one by one (`evaluation.inference`), the returns
themselves (`evaluation.backtest`), what is decided from the tests (`release`).

Every result names its null, its alternative, its source and its assumptions. A test that these
data cannot answer has no figures and a `reason`; an absent p-value is never a pass.
"""

import math
from datetime import date
from typing import cast

import polars as pl

from sensequant.errors import ConfigError, DataError
from sensequant.evaluation.hypotheses import ReturnSeries, SignificanceConfig, TestResult
from sensequant.evaluation.inference import (
    alpha_beta,
    deflated_sharpe_test,
    detectable_sharpe,
    information_ratio,
    mean_excess_bootstrap,
    mean_excess_newey_west,
    probabilistic_sharpe_test,
    sharpe_estimate,
    tracking_error,
)
from sensequant.records import Finite, Record

__all__ = [
    "SignificanceConfig",
    "SignificanceReport",
    "TestResult",
    "assess",
]

_NOT_DONE_YET = (
    "Probability of backtest overfitting by combinatorially symmetric cross-validation (PBO).",
    "Superior predictive ability over all students (Hansen 2005).",
    "Step-wise multiple testing over all students (Romano and Wolf 2005).",
    "False-discovery control over symbols (Benjamini and Hochberg 1995).",
    "Test of the difference of two Sharpe ratios (Ledoit and Wolf 2008).",
)
_COLUMNS = ("session", "net_return", "benchmark_return")


class SignificanceReport(Record):
    """All tests on one series of net returns."""

    first_session: date | None
    last_session: date | None
    n_sessions: int
    n_benchmark_sessions: int
    horizon_sessions: int
    n_trials: int
    trial_sharpe_variance: Finite | None
    tests: tuple[TestResult, ...]
    not_done_yet: tuple[str, ...]

    def of(self, name: str) -> TestResult:
        """Return the test of that name.

        Raises
        ------
        ConfigError
            There is none.
        """
        for test in self.tests:
            if test.name == name:
                return test
        raise ConfigError(
            "no such test", expected=", ".join(test.name for test in self.tests), found=name
        )


def assess(
    returns: pl.DataFrame,
    *,
    n_trials: int,
    trial_sharpe_variance: float | None,
    horizon_sessions: int,
    seed: int,
    config: SignificanceConfig,
) -> SignificanceReport:
    """Run all tests on net returns and those on their excess over the benchmark.

    Parameters
    ----------
    returns
        session (unique, ascending), net_return, benchmark_return; the last may be null wholly or
        in part: tests with a benchmark use the sessions that have one.
    n_trials
        Number of distinct model configurations tried on these data, this one included.
    trial_sharpe_variance
        Variance over the trials of their Sharpe ratios **per session**; None when unknown, which
        is only enough for a single trial.
    horizon_sessions
        Overlap of positions: least block and lag length.
    seed
        Seed from which every test derives its own.
    config
        Draws, confidence, risk-free return, power.

    Raises
    ------
    ConfigError
        Fewer than one trial, a negative variance or no horizon.
    DataError
        A column is missing, sessions are not ascending, a return is not finite.
    """
    _check_request(n_trials, trial_sharpe_variance, horizon_sessions)
    frame = _checked(returns)
    paired = frame.drop_nulls("benchmark_return")
    yearly = config.sessions_per_year
    data = ReturnSeries(
        net=frame["net_return"].to_numpy(),
        paired_net=paired["net_return"].to_numpy(),
        benchmark=paired["benchmark_return"].to_numpy(),
        risk_free=math.expm1(math.log1p(config.annual_risk_free_frac) / yearly),
        horizon=horizon_sessions,
        seed=seed,
        config=config,
    )
    tests = (
        sharpe_estimate(data),
        mean_excess_bootstrap(data),
        mean_excess_newey_west(data),
        probabilistic_sharpe_test(data),
        deflated_sharpe_test(data, n_trials, trial_sharpe_variance),
        *alpha_beta(data),
        information_ratio(data),
        tracking_error(data),
        detectable_sharpe(data),
    )
    return SignificanceReport(
        first_session=cast("date | None", frame["session"].min()),
        last_session=cast("date | None", frame["session"].max()),
        n_sessions=frame.height,
        n_benchmark_sessions=paired.height,
        horizon_sessions=horizon_sessions,
        n_trials=n_trials,
        trial_sharpe_variance=trial_sharpe_variance,
        tests=tests,
        not_done_yet=_NOT_DONE_YET,
    )


def _check_request(n_trials: int, variance: float | None, horizon_sessions: int) -> None:
    if n_trials < 1 or (variance or 0.0) < 0 or horizon_sessions < 1:
        raise ConfigError(
            "assessment was asked for something impossible",
            expected="n_trials >= 1, trial_sharpe_variance >= 0, horizon_sessions >= 1",
            found=f"{n_trials}, {variance}, {horizon_sessions}",
        )


def _checked(returns: pl.DataFrame) -> pl.DataFrame:
    missing = [name for name in _COLUMNS if name not in returns.columns]
    if missing:
        raise DataError(
            "returns lack columns", expected=", ".join(_COLUMNS), found=f"no {', '.join(missing)}"
        )
    frame = returns.select("session", pl.col("net_return", "benchmark_return").cast(pl.Float64))
    sessions = frame["session"].to_numpy()
    if frame["session"].null_count() or not (sessions[1:] > sessions[:-1]).all():
        raise DataError("sessions were not ascending", expected="unique, ascending sessions")
    net, benchmark = frame["net_return"], frame["benchmark_return"].drop_nulls()
    if net.null_count() or not (net.is_finite().all() and benchmark.is_finite().all()):
        raise DataError(
            "a return was not finite",
            expected="finite net returns; finite or null benchmark returns",
        )
    return frame
