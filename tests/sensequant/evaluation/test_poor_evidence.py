"""Too little to judge by is told as such, figure by figure, and is never a pass."""

from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest

from sensequant.errors import DataError
from sensequant.evaluation.backtest import BacktestConfig, buy_and_hold, run_backtest
from sensequant.evaluation.costs import CostConfig
from sensequant.evaluation.figures import Figure
from sensequant.evaluation.hypotheses import SignificanceConfig, SignificanceReport, TrialCount
from sensequant.evaluation.significance import OutOfSample, assess
from sensequant.evaluation.validation import Validation, ValidationConfig, validate
from sensequant.market.sessions import nse_calendar
from sensequant.release.evidence import Reports, gather_evidence
from sensequant.release.gates import Decision, evaluate_gates, judge
from sensequant.release.gates import Figure as GateFigure
from sensequant.release.limits import GateConfig

DAYS = nse_calendar().sessions(date(2023, 1, 2), date(2024, 6, 28))
N = len(DAYS)


def market(score: float, *, is_flat: bool = False) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return predictions of one constant score for two symbols, and their bars."""
    rng = np.random.default_rng(1)
    moves = np.zeros((2, N)) if is_flat else rng.normal(0, 0.01, (2, N))
    closes = (100 * np.exp(moves.cumsum(axis=1))).ravel()
    bars = pl.DataFrame(
        {
            "symbol": np.repeat(["A", "B"], N),
            "session": DAYS * 2,
            "open": closes,
            "close": closes,
            "volume": 1e9,
            "is_unexplained_gap": False,
        }
    )
    rows = bars.join(nse_calendar().numbers(), on="session").select(
        "symbol",
        "session",
        "session_number",
        scored_window=pl.col("symbol") + "_w",
        score=pl.lit(score),
        probability=pl.lit(0.5),
        label=(pl.int_range(pl.len()) % 2).cast(pl.Int8),
        forward_return=pl.lit(0.01),
    )
    return rows.filter(pl.col("session") < DAYS[-10]), bars


def measured(
    predictions: pl.DataFrame, bars: pl.DataFrame, *, benchmark: pl.DataFrame | None, **trade: Any
) -> tuple[Validation, SignificanceReport]:
    settings: dict[str, Any] = {
        "horizon_sessions": 5,
        "costs": CostConfig(),
        "config": BacktestConfig(**trade),
    }
    found = validate(
        predictions,
        backtest=run_backtest(predictions, bars, **settings),
        universe=buy_and_hold(predictions, bars, **settings),
        benchmark=benchmark,
        annual_risk_free_frac=0.065,
        seed=1,
        config=ValidationConfig(n_bootstrap_draws=100, n_placebo=2),
    )
    evidence = OutOfSample(
        returns=found.returns,
        horizon_sessions=5,
        trials=TrialCount(n_trials=1),
        n_trades=found.summary.strategy.n_trades.n,
    )
    assessed = assess(evidence, seed=1, config=SignificanceConfig(n_draws=100))
    return found, assessed.report


def decision_on(found: Validation, report: SignificanceReport) -> Decision:
    """Return the verdict where all else is as good as it can be."""
    fine = GateFigure(observed=1.0, n=10, n_unit="sessions")
    evidence = gather_evidence(
        Reports(validation=found.summary, significance=report),
        coverage=fine,
        failure_rate=GateFigure(observed=0.0, n=10, n_unit="units"),
    )
    gates = evaluate_gates(evidence, GateConfig())
    detectable = report.of("detectable_sharpe").estimate
    return judge(gates, detectable_sharpe=detectable, is_simulated=False).decision


def require_reasons(found: Validation, report: SignificanceReport) -> None:
    """Require that what is absent says why."""
    portfolios = (found.summary.strategy, found.summary.universe, found.summary.nifty50)
    for record in (found.summary.classification, *portfolios):
        for name, figure in record:
            if isinstance(figure, Figure) and (figure.value is None or figure.lower is None):
                assert figure.reason, name
    for test in report.tests:
        assert test.estimate is not None or test.reason, test.name


def index(days: list[date]) -> pl.DataFrame:
    moves = np.random.default_rng(3).normal(0, 0.01, len(days))
    return pl.DataFrame({"session": days, "close": 17000 * np.exp(moves.cumsum())})


@pytest.mark.parametrize(
    "case",
    ["no rows", "never bought", "one trade", "zero variance", "no benchmark", "other calendar"],
)
def test_poor_evidence_is_never_a_pass(case: str) -> None:
    """Every absent figure has its reason, and the verdict is no approval."""
    predictions, bars = market(0.9 if case in {"zero variance", "no benchmark"} else 0.1)
    benchmark: pl.DataFrame | None = index(DAYS)
    trade: dict[str, Any] = {}
    if case == "no rows":
        predictions = predictions.clear()
    if case == "one trade":
        is_one = (pl.col("symbol") == "A") & (pl.col("session") >= DAYS[-30])
        predictions = predictions.with_columns(
            score=pl.when(is_one).then(0.9).otherwise(pl.col("score"))
        )
        trade = {"min_change_frac": 0.09}
    if case == "zero variance":
        predictions, bars = market(0.1, is_flat=True)
        trade = {"cash_rate_frac": 0.0}
    if case == "no benchmark":
        benchmark = None
    if case == "other calendar":
        # Every other session, from the year before: no two neighbouring closes are known.
        earlier = nse_calendar().sessions(date(2022, 1, 3), DAYS[-1])
        benchmark = index(earlier[::2])

    found, report = measured(predictions, bars, benchmark=benchmark, **trade)

    require_reasons(found, report)
    assert decision_on(found, report) is not Decision.APPROVE
    strategy = found.summary.strategy
    if case == "one trade":
        assert strategy.n_trades.value == 2
    if case in {"never bought", "zero variance"}:
        assert strategy.net_sharpe.value is None
        assert report.of("deflated_sharpe").p_value is None
    if case in {"no benchmark", "other calendar"}:
        assert found.summary.nifty50.net_total_return.value is None
        assert report.of("alpha").p_value is None
    if case == "no rows":
        assert decision_on(found, report) is Decision.NOT_ENOUGH_EVIDENCE


def test_scores_that_are_no_numbers_stop_the_validation() -> None:
    """NaN comes from a fault, not from a market: no figure is made of the rest."""
    predictions, bars = market(float("nan"))

    with pytest.raises(DataError, match="not finite"):
        measured(predictions, bars, benchmark=index(DAYS))
