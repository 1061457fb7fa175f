"""Whether daily net returns could have come about without any skill.

Belongs here: the assessment of one series of net returns against its benchmark, its baselines and
all that was tried beside it: which tests, on which rows. Does not belong here: the tests one by one
(`evaluation.inference`, `paired`, `multiple_testing`, `power`), the returns themselves
(`evaluation.backtest`), counting trials (`sensequant.trials`), what is decided from the tests
(`release`).

Every result names its null, its alternative, its source and its assumptions. A test that these
data cannot answer has no figures and a `reason`; an absent p-value is never a pass.

This module loads the statistical libraries; who only reads a report takes `hypotheses`.
"""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import polars as pl

from sensequant.errors import ConfigError, DataError
from sensequant.evaluation.contenders import Contenders
from sensequant.evaluation.hypotheses import (
    RankedRows,
    ReturnSeries,
    SignificanceConfig,
    SignificanceReport,
    TestResult,
    TrialCount,
)
from sensequant.evaluation.inference import (
    alpha_beta,
    deflated_excess_test,
    deflated_sharpe_test,
    information_ratio,
    mean_excess_bootstrap,
    mean_excess_newey_west,
    probabilistic_sharpe_test,
    sharpe_estimate,
    tracking_error,
)
from sensequant.evaluation.multiple_testing import (
    contender_discoveries,
    contender_tests,
    overfitting_probability,
    superior_contenders,
    symbol_discoveries,
    symbol_tests,
)
from sensequant.evaluation.paired import mean_difference, sharpe_difference
from sensequant.evaluation.power import detectable_auc, detectable_sharpe

if TYPE_CHECKING:
    from datetime import date

__all__ = ["BENCHMARK", "Assessment", "OutOfSample", "assess"]

BENCHMARK = "nifty50"
"""What the benchmark is called among the baselines."""

_NO_SCORES = pl.DataFrame(
    schema={
        "symbol": pl.String,
        "session_number": pl.Int64,
        "score": pl.Float64,
        "forward_return": pl.Float64,
    }
)
_COLUMNS = ("session", "net_return", "benchmark_return")


@dataclass(frozen=True, slots=True)
class OutOfSample:
    """Everything that was measured out of sample and is put to the test.

    Attributes
    ----------
    returns
        session (unique, ascending), net_return, benchmark_return; the last may be null wholly or
        in part: tests with a benchmark use the sessions that have one.
    horizon_sessions
        Overlap of positions: least block and lag length.
    trials
        How often these data were tried, this time included.
    n_trades
        Purchases and sales behind the returns; None where that is not known.
    baselines
        session, and one column of net returns per rule to beat, null where it has none.
    contenders
        session, and one column of net returns per contender that was ever tried on these sessions.
    own
        The column of `contenders` that holds the returns.
    scores
        symbol, session_number, score, forward_return of every scored row.
    ranked
        How well the scores rank, with its interval.
    """

    returns: pl.DataFrame
    horizon_sessions: int
    trials: TrialCount
    n_trades: int | None = None
    baselines: pl.DataFrame | None = None
    contenders: pl.DataFrame | None = None
    own: str | None = None
    scores: pl.DataFrame | None = None
    ranked: RankedRows | None = None


@dataclass(frozen=True, slots=True)
class Assessment:
    """The report, and the tables of the two families of tests that it sums up."""

    report: SignificanceReport
    by_symbol: pl.DataFrame
    by_contender: pl.DataFrame


def assess(found: OutOfSample, *, seed: int, config: SignificanceConfig) -> Assessment:
    """Run all tests.

    Parameters
    ----------
    found
        What is put to the test.
    seed
        Seed from which every test derives its own.
    config
        Draws, confidence, risk-free return, power.

    Raises
    ------
    ConfigError
        No horizon.
    DataError
        A column is missing, sessions are not ascending, a return or a score is not finite.
    """
    if found.horizon_sessions < 1:
        raise ConfigError(
            "assessment was asked for something impossible",
            expected="horizon_sessions >= 1",
            found=str(found.horizon_sessions),
        )
    frame = _checked(found.returns)
    for name in ("baselines", "contenders", "scores"):
        _require_finite(name, getattr(found, name))
    paired = frame.drop_nulls("benchmark_return")
    data = _series(frame, paired, found, seed=seed, config=config)
    tried = Contenders.of(frame, _tried(found, frame), found.own or _OWN)
    by_contender = contender_tests(tried, data)
    scores = _NO_SCORES if found.scores is None else found.scores
    by_symbol = symbol_tests(scores, horizon_sessions=found.horizon_sessions, config=config)
    reason = found.trials.reason
    tests = (
        sharpe_estimate(data),
        mean_excess_bootstrap(data),
        mean_excess_newey_west(data),
        probabilistic_sharpe_test(data),
        deflated_sharpe_test(data, found.trials),
        deflated_excess_test(data, found.trials, tried, benchmark=BENCHMARK),
        *alpha_beta(data),
        information_ratio(data),
        tracking_error(data),
        sharpe_difference(data, BENCHMARK),
        *_against_baselines(frame, found.baselines, data),
        *superior_contenders(tried, data, reason=reason),
        overfitting_probability(tried, config, reason=reason),
        contender_discoveries(by_contender, config),
        symbol_discoveries(by_symbol, config),
        detectable_sharpe(data),
        detectable_auc(found.ranked, config),
    )
    report = SignificanceReport(
        first_session=cast("date | None", frame["session"].min()),
        last_session=cast("date | None", frame["session"].max()),
        n_sessions=frame.height,
        n_benchmark_sessions=paired.height,
        horizon_sessions=found.horizon_sessions,
        trials=found.trials,
        tests=tests,
        not_done_yet=(),
    )
    return Assessment(report, by_symbol, by_contender)


_OWN = "this run"


def _tried(found: OutOfSample, frame: pl.DataFrame) -> pl.DataFrame:
    if found.contenders is not None:
        return found.contenders
    return frame.select("session", pl.col("net_return").alias(_OWN))


def _series(
    frame: pl.DataFrame,
    paired: pl.DataFrame,
    found: OutOfSample,
    *,
    seed: int,
    config: SignificanceConfig,
) -> ReturnSeries:
    yearly = config.sessions_per_year
    return ReturnSeries(
        net=frame["net_return"].to_numpy(),
        paired_net=paired["net_return"].to_numpy(),
        benchmark=paired["benchmark_return"].to_numpy(),
        risk_free=math.expm1(math.log1p(config.annual_risk_free_frac) / yearly),
        horizon=found.horizon_sessions,
        seed=seed,
        config=config,
        n_trades=found.n_trades,
    )


def _against_baselines(
    frame: pl.DataFrame, baselines: pl.DataFrame | None, data: ReturnSeries
) -> list[TestResult]:
    if baselines is None:
        return []
    both = frame.join(baselines, on="session", how="left", maintain_order="left")
    tests: list[TestResult] = []
    for name in baselines.columns:
        if name == "session":
            continue
        known = both.drop_nulls(name)
        beside = replace(
            data,
            paired_net=known["net_return"].to_numpy(),
            benchmark=known[name].cast(pl.Float64).to_numpy(),
        )
        tests += [mean_difference(beside, name), sharpe_difference(beside, name)]
    return tests


def _require_finite(name: str, frame: pl.DataFrame | None) -> None:
    if frame is None:
        return
    for column in frame.select(pl.selectors.float()):
        n_strange = int((~column.drop_nulls().is_finite()).sum())
        if n_strange:
            raise DataError(
                "a value was not finite",
                where=f"{name}, {column.name}",
                expected="finite numbers, or null where there is none",
                found=f"{n_strange} others",
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
