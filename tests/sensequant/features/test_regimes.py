"""States of the market: at their limits by hand, and as validation names them."""

from collections.abc import Callable

import polars as pl
import pytest

from sensequant.evaluation.regimes import regimes_of
from sensequant.features.build import build_features
from sensequant.features.context import MarketContext
from sensequant.features.registry import FeatureConfig

BarsMaker = Callable[..., pl.DataFrame]
ContextMaker = Callable[..., MarketContext]

CONFIG = FeatureConfig(regimes=True)
VOLATILITY = {"calm": 0.0, "usual": 1.0, "nervous": 2.0}
TREND = {"rising": 1.0, "falling": -1.0}


@pytest.mark.parametrize(
    ("vix", "state"),
    [(14.99, 0), (15.0, 1), (24.99, 1), (25.0, 2), (80.0, 2)],
)
def test_limits_belong_to_the_state_above(
    make_bars: BarsMaker, make_context: ContextMaker, vix: float, state: float
) -> None:
    """Calm ends below 15, and nervous begins at 25."""
    bars = make_bars(3)
    around = make_context(bars)
    assert around.vix is not None
    level = around.vix.with_columns(close=pl.lit(vix))

    features = build_features(bars, CONFIG, MarketContext(around.benchmark, level))

    assert features["regime_volatility"].to_list() == [state] * 3
    assert features["regime_trend"].null_count() == 3


def test_states_are_those_of_the_validation(
    make_bars: BarsMaker, make_context: ContextMaker
) -> None:
    """What a model is fed and what its scores are grouped by are one thing; holes are in none."""
    bars = make_bars(900)
    whole = make_context(bars, seed=4)
    assert whole.benchmark is not None
    assert whole.vix is not None
    nifty = whole.benchmark.filter(pl.int_range(pl.len()) % 37 != 20)
    vix = whole.vix.filter(pl.int_range(pl.len()) % 53 != 21)

    features = build_features(bars, CONFIG, MarketContext(nifty, vix))
    named = regimes_of(bars["session"], nifty=nifty, vix=vix)

    expected = named.select(
        pl.col("vix").replace_strict(VOLATILITY, return_dtype=pl.Float64),
        pl.col("trend").replace_strict(TREND, return_dtype=pl.Float64),
    )
    assert features["regime_volatility"].equals(expected["vix"])
    assert features["regime_trend"].equals(expected["trend"])
    assert expected.select(pl.all().n_unique()).row(0) == (4, 3)
