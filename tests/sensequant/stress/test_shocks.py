"""Facts about synthetic shocks, told by NumPy over the bars that were traded."""

from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from sensequant.evaluation.backtest import BacktestConfig, run_backtest
from sensequant.evaluation.costs import CostConfig
from sensequant.market.sessions import nse_calendar
from sensequant.stress import shocks
from sensequant.stress.replay import ReplaySettings
from sensequant.stress.scenarios import StressConfig
from sensequant.stress.shocks import ShockReport, ShockResult, render_shocks, shock_portfolio

SESSIONS = nse_calendar().sessions(date(2023, 1, 1), date(2023, 12, 31))
SYMBOLS = ("A", "B", "C")
FIRST_SCORED = 40
SETTINGS = ReplaySettings(
    stress=StressConfig(),
    backtest=BacktestConfig(position_frac=0.3, max_position_frac=0.3),
    costs=CostConfig(),
    horizon_sessions=1,
    seed=1,
)


def market() -> pl.DataFrame:
    """Return three walks of different volatility; bars open where the last one closed."""
    rng = np.random.default_rng(5)
    frames: list[pl.DataFrame] = []
    for number, symbol in enumerate(SYMBOLS, start=1):
        close = 100 * np.exp(np.cumsum(rng.normal(0, 0.005 * number, len(SESSIONS))))
        opens = np.concatenate([[100.0], close[:-1]])
        frames.append(
            pl.DataFrame(
                {
                    "symbol": symbol,
                    "session": SESSIONS,
                    "open": opens,
                    "high": np.maximum(opens, close) * 1.01,
                    "low": np.minimum(opens, close) * 0.99,
                    "close": close,
                    "volume": 1e9,
                    "is_unexplained_gap": False,
                }
            )
        )
    return pl.concat(frames)


def scores(value: float = 0.9) -> pl.DataFrame:
    """Return the same score for each symbol, from the fortieth session on."""
    return pl.concat(
        pl.DataFrame({"symbol": symbol, "session": SESSIONS[FIRST_SCORED:], "score": value})
        for symbol in SYMBOLS
    )


class Traded:
    """The bars, costs and results of each backtest, in their order."""

    def __init__(self) -> None:
        self.bars: list[pl.DataFrame] = []
        self.slippage_bps: list[float] = []
        self.net: list[NDArray[np.float64]] = []

    def __call__(self, predictions: pl.DataFrame, bars: pl.DataFrame, **settings: Any) -> Any:
        """Trade, and remember by what."""
        result = run_backtest(predictions, bars, **settings)
        self.bars.append(bars)
        self.slippage_bps.append(settings["costs"].slippage_bps)
        self.net.append(result.equity["net_return"].to_numpy())
        return result

    def closes(self, number: int) -> NDArray[np.float64]:
        """Return the closes of one backtest, shape (n_symbols, n_sessions)."""
        by_symbol = self.bars[number].partition_by("symbol", maintain_order=True)
        return np.array([each["close"].to_numpy() for each in by_symbol])


@pytest.fixture
def traded(monkeypatch: pytest.MonkeyPatch) -> Traded:
    """Return what is traded undisturbed, then under each shock in the order of the report."""
    seen = Traded()
    monkeypatch.setattr(shocks, "run_backtest", seen)
    return seen


def shock(report: ShockReport, name: str) -> ShockResult:
    return next(each for each in report.shocks if each.name == name)


def returns_of(closes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log returns of the sessions that are traded."""
    return np.diff(np.log(closes), axis=1)[:, FIRST_SCORED:]


def test_prices_fall_overnight_and_stay_lower(traded: Traded) -> None:
    """The day's loss is what was held times the fall; the shape of no bar changes."""
    report = shock_portfolio(scores(), market(), SETTINGS)
    before, after = traded.bars[0], traded.bars[1]
    ratio = after["close"] / before["close"]
    (first,) = {
        bars.filter(pl.col("ratio") < 1)["session"][0]
        for bars in before.with_columns(ratio=ratio).partition_by("symbol")
    }
    place = SESSIONS.index(first) - FIRST_SCORED - 1
    held = 3 * 0.3

    assert set(ratio.round(12)) == {1.0, 0.9}
    assert str(SESSIONS[SESSIONS.index(first) - 1]) in shock(report, "gap_down").rule
    for name in ("open", "high", "low"):
        assert (after[name] / after["close"]).to_numpy() == pytest.approx(
            (before[name] / before["close"]).to_numpy()
        )
    assert traded.net[1][place] - traded.net[0][place] == pytest.approx(-0.1 * held, rel=0.1)


def test_deviations_are_multiplied_and_means_stay(traded: Traded) -> None:
    """Each symbol's log returns of the traded sessions; what came before is what it was."""
    shock_portfolio(scores(), market(), SETTINGS)
    before, after = returns_of(traded.closes(0)), returns_of(traded.closes(2))
    mean = before.mean(axis=1, keepdims=True)

    assert after == pytest.approx(mean + 2 * (before - mean), abs=1e-12)
    untouched = slice(None, FIRST_SCORED)
    assert np.array_equal(traded.closes(2)[:, untouched], traded.closes(0)[:, untouched])


def test_all_symbols_follow_one_path(traded: Traded) -> None:
    """Correlations are one, means nearly and deviations exactly those of each symbol."""
    shock_portfolio(scores(), market(), SETTINGS)
    before, after = returns_of(traded.closes(0)), returns_of(traded.closes(3))

    assert np.abs(np.corrcoef(before)).min() < 0.3
    assert np.corrcoef(after) == pytest.approx(np.ones((3, 3)))
    assert after.std(axis=1) == pytest.approx(before.std(axis=1))
    assert after.mean(axis=1) == pytest.approx(before.mean(axis=1), abs=1e-12)


def test_largest_position_stands_still(traded: Traded) -> None:
    """Twenty sessions of one symbol are gone, and nothing else."""
    report = shock_portfolio(scores(), market(), SETTINGS)
    gone = traded.bars[0].join(traded.bars[4], on=["symbol", "session"], how="anti")

    assert gone["symbol"].n_unique() == 1
    assert gone["symbol"][0] in shock(report, "halted_symbol").rule
    assert 0 < gone.height <= 20
    numbers = [SESSIONS.index(session) for session in gone["session"].sort()]
    assert np.diff(numbers).tolist() == [1] * (len(numbers) - 1)
    assert traded.bars[4].height == traded.bars[0].height - gone.height


def test_a_wider_spread_costs_more(traded: Traded) -> None:
    """Ten times the slippage on the same bars."""
    report = shock_portfolio(scores(), market(), SETTINGS)

    assert traded.slippage_bps == [5.0] * 5 + [50.0]
    assert traded.bars[5].equals(traded.bars[0])
    assert traded.net[5].sum() < traded.net[0].sum()
    figures = shock(report, "spread_raised").shocked
    assert figures is not None
    assert figures.total_return == pytest.approx(np.prod(1 + traded.net[5]) - 1)


def test_who_holds_nothing_is_not_hit() -> None:
    """Shocks of what is held say why they have no figure; the page says so, too."""
    report = shock_portfolio(scores(0.1), market(), SETTINGS)
    page = render_shocks(report)

    assert {each.name for each in report.shocks if each.shocked is None} == {
        "gap_down",
        "halted_symbol",
    }
    assert shock(report, "gap_down").reason == "the portfolio never held a position over the night"
    assert "none: the portfolio never held a position over the night" in page


def test_without_scores_there_is_nothing_to_shock() -> None:
    """The report has a reason and no figure, and reads back as it was written."""
    report = shock_portfolio(scores().clear(), market(), SETTINGS)

    assert report.shocks == ()
    assert report.undisturbed is None
    assert report.reason == "no score could be traded"
    assert ShockReport.model_validate(report.model_dump(mode="json")) == report
    assert "None: no score could be traded." in render_shocks(report)
