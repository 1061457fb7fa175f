"""Figures of an equity series equal the measures, with intervals or reasons."""

from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest

from sensequant.evaluation import measures
from sensequant.evaluation.figures import (
    Figure,
    PerformanceFigures,
    benchmark_returns,
    performance_figures,
)

DAYS = [date(2025, 6, day) for day in (2, 3, 4, 5, 6)]


RISK_FREE = 0.0002


def sessions(n: int = 200, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    gross, cost = rng.normal(0.001, 0.01, n), np.full(n, 0.0002)
    return pl.DataFrame(
        {
            "net_return": gross - cost,
            "gross_return": gross,
            "cost_return": cost,
            "exposure": rng.uniform(0.4, 0.6, n),
            "turnover": rng.uniform(0.05, 0.15, n),
        }
    )


def figures(frame: pl.DataFrame, **changes: Any) -> PerformanceFigures:
    settings: dict[str, Any] = {
        "n_trades": 12, "min_block": 5, "n_draws": 200, "confidence": 0.9, "seed": 1,
        "risk_free_daily": RISK_FREE,
    }  # fmt: skip
    return performance_figures("strategy", frame, **(settings | changes))


def test_values_are_those_of_the_measures() -> None:
    """Each figure is the measure of its column, its interval around it, n the sessions."""
    frame = sessions()
    net, gross = frame["net_return"].to_numpy(), frame["gross_return"].to_numpy()

    found = figures(frame)

    assert found.net_total_return.value == measures.total_return(net)
    assert found.gross_total_return.value == measures.total_return(gross)
    assert found.net_annual_return.value == measures.annual_return(net)
    assert found.gross_annual_return.value == measures.annual_return(gross)
    assert found.net_annual_volatility.value == measures.annual_volatility(net)
    assert found.net_sharpe.value == measures.sharpe_ratio(net, risk_free_daily=RISK_FREE)
    assert found.gross_sharpe.value == measures.sharpe_ratio(gross, risk_free_daily=RISK_FREE)
    assert found.net_sortino.value == measures.sortino_ratio(net, risk_free_daily=RISK_FREE)
    assert found.net_calmar.value == measures.calmar_ratio(net)
    curve = measures.equity_curve(net)
    assert found.max_drawdown.value == measures.max_drawdown(curve)
    assert found.drawdown_length_sessions.value == measures.drawdown_length_sessions(curve)
    assert found.annual_turnover.value == pytest.approx(frame["turnover"].to_numpy().mean() * 248)
    assert found.mean_exposure.value == pytest.approx(frame["exposure"].to_numpy().mean())
    assert found.annual_cost_frac.value == pytest.approx(0.0002 * 248)
    assert found.cost_share_frac.value == pytest.approx(200 * 0.0002 / gross.sum())
    assert found.n_trades.value == 12
    net_sharpe = found.net_sharpe
    assert net_sharpe.value is not None
    assert net_sharpe.lower is not None
    assert net_sharpe.upper is not None
    assert net_sharpe.lower < net_sharpe.value < net_sharpe.upper
    assert net_sharpe.n == 200


def test_an_index_is_not_traded() -> None:
    """Without trades there is no turnover, exposure or cost."""
    found = figures(sessions(), n_trades=None)

    for figure in (found.n_trades, found.annual_turnover, found.mean_exposure):
        assert figure.value is None
        assert figure.reason == "an index is not traded"
    assert found.net_sharpe.value is not None


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_sessions_have_reasons(n: int) -> None:
    """Of nothing or one session there is no ratio and no interval, but a reason everywhere."""
    found = figures(sessions(n))

    assert found.net_sharpe.value is None
    for _, figure in found:
        if isinstance(figure, Figure):
            assert figure.reason is not None
            assert figure.lower is None


def test_a_portfolio_that_never_traded_has_no_ratios() -> None:
    """All zeros: total return 0, no Sharpe ratio, no cost share."""
    found = figures(sessions().select(pl.all() * 0.0), risk_free_daily=0.0)

    assert found.net_total_return.value == 0
    assert found.net_sharpe.reason == "returns do not vary"
    assert found.net_sortino.reason == "no session fell short of cash"
    assert found.net_calmar.reason == "no drawdown"
    assert found.cost_share_frac.reason == "no gross gain"


def test_benchmark_returns_by_hand() -> None:
    """The first return starts from the last close before; a missing close leaves two gaps."""
    equity = pl.DataFrame({"session": DAYS[1:], "net_return": [0.1, 0.2, 0.3, 0.4]})
    benchmark = pl.DataFrame(
        {"session": [DAYS[4], DAYS[0], DAYS[1], DAYS[2]], "close": [120.0, 100.0, 110.0, 99.0]}
    )

    found = benchmark_returns(equity, benchmark)

    assert found["session"].to_list() == DAYS[1:]
    assert found["net_return"].to_list() == [0.1, 0.2, 0.3, 0.4]
    assert found["benchmark_return"].to_list() == [
        pytest.approx(0.1), pytest.approx(-0.1), None, None,
    ]  # fmt: skip


def test_no_benchmark_is_null_not_zero() -> None:
    """Without a benchmark, or one that starts too late, returns are null."""
    equity = pl.DataFrame({"session": DAYS[:2], "net_return": [0.1, 0.2]})
    late = pl.DataFrame({"session": DAYS[:2], "close": [100.0, 101.0]})

    assert benchmark_returns(equity, None)["benchmark_return"].to_list() == [None, None]
    assert benchmark_returns(equity, late)["benchmark_return"].to_list() == [
        None, pytest.approx(0.01),
    ]  # fmt: skip
    assert benchmark_returns(equity.clear(), late).height == 0
