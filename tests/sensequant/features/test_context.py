"""What is refused of a context, and families without data."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date

import polars as pl
import pytest

from sensequant.context.sessions import OF_CONTEXT
from sensequant.errors import ConfigError, InvalidBarsError
from sensequant.features.build import build_features
from sensequant.features.context import MarketContext
from sensequant.features.registry import FeatureConfig
from sensequant.features.spec import Family

BarsMaker = Callable[..., pl.DataFrame]
ContextMaker = Callable[..., MarketContext]

CLOSES = pl.DataFrame(
    {"session": [date(2020, 1, 1), date(2020, 1, 2)], "close": [12_000.0, 12_100.0]}
)


@pytest.mark.parametrize("close", [None, float("nan"), float("inf"), 0.0, -1.0], ids=str)
@pytest.mark.parametrize("name", ["benchmark", "vix"])
def test_an_impossible_close_of_an_index_is_refused(name: str, close: float | None) -> None:
    """A close is finite and above zero; the message names index and session."""
    closes = CLOSES.with_columns(close=pl.Series([12_000.0, close], dtype=pl.Float64))

    with pytest.raises(InvalidBarsError, match=f"{name} 2020-01-02"):
        replace(MarketContext(), **{name: closes})


@pytest.mark.parametrize(
    "wrong",
    [CLOSES.reverse(), CLOSES[[0, 0]], CLOSES.drop("close"), CLOSES.cast({"close": pl.Int64})],
    ids=["unsorted", "repeated", "no close", "mistyped"],
)
def test_a_misshapen_index_is_refused(wrong: pl.DataFrame) -> None:
    """Sessions ascend strictly, and both columns are there."""
    with pytest.raises(InvalidBarsError, match="bars of an index"):
        MarketContext(benchmark=wrong)


@pytest.mark.parametrize(
    ("context", "missing"),
    [
        (MarketContext(), "NIFTY 50 and India VIX"),
        (MarketContext(benchmark=CLOSES), "no bars of India VIX"),
        (MarketContext(vix=CLOSES, benchmark=CLOSES[:0]), "no bars of NIFTY 50"),
    ],
    ids=["neither", "no vix", "empty benchmark"],
)
def test_a_market_that_is_not_there_is_refused(
    context: MarketContext, missing: str, make_bars: BarsMaker
) -> None:
    """The message names the flag, what is missing, and what to do."""
    with pytest.raises(ConfigError, match=missing) as caught:
        build_features(make_bars(5), FeatureConfig(market_context=True), context)

    assert caught.value.where == "features.market_context"
    assert "switch features.market_context off" in caught.value.remedy


@pytest.mark.parametrize("family", sorted(OF_CONTEXT))
@pytest.mark.parametrize("is_frame_there", [True, False])
def test_context_that_was_not_imported_is_refused(
    family: Family, make_bars: BarsMaker, make_context: ContextMaker, *, is_frame_there: bool
) -> None:
    """The message names the flag and the command that brings what is missing; one row is enough."""
    bars = make_bars(5)
    frame: pl.DataFrame = getattr(make_context(bars), family)
    config = FeatureConfig.model_validate({family: True})
    absent = replace(MarketContext(), **{family: frame[:0] if is_frame_there else None})
    some = replace(MarketContext(), **{family: frame[1:2]})

    command = "snapshot" if family is Family.OPTIONS else "import"
    with pytest.raises(ConfigError, match=rf"features\.{family}.*sensequant {family} {command}"):
        build_features(bars, config, absent)

    features = build_features(bars, config, some)
    name = next(name for name in features.columns if name.startswith(family))
    assert features[name].is_null().to_list() == [True, False, True, True, True]


@pytest.mark.parametrize(
    "wrong",
    [
        pl.DataFrame({"symbol": ["A", "A"], "session": [date(2020, 1, 1)] * 2}),
        pl.DataFrame({"symbol": ["A"], "session": ["2020-01-01"]}),
        pl.DataFrame({"symbol": ["A"]}),
    ],
    ids=["repeated", "mistyped", "no session"],
)
def test_misshapen_context_of_sessions_is_refused(wrong: pl.DataFrame) -> None:
    """There is one row for each symbol and session."""
    with pytest.raises(InvalidBarsError, match="context of sessions"):
        MarketContext(depth=wrong)


@pytest.mark.parametrize("is_column_there", [True, False])
def test_delivery_without_any_delivered_volume_is_refused(
    make_bars: BarsMaker, *, is_column_there: bool
) -> None:
    """No column, or nothing in it, is no data; one value is enough."""
    bars = make_bars(5)
    empty = bars.with_columns(delivered_volume=pl.lit(None, pl.Float64))
    without = empty if is_column_there else bars.drop("delivered_volume")
    some = bars.with_columns(delivered_volume=pl.Series([None, None, 7.0, None, None]))

    with pytest.raises(ConfigError, match=r"features\.delivery"):
        build_features(without, FeatureConfig(delivery=True))
    assert build_features(some, FeatureConfig(delivery=True))["delivery_share"].count() == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_an_impossible_delivered_volume_is_refused(value: float, make_bars: BarsMaker) -> None:
    """It may be missing, but not be impossible; and nobody looks at it while delivery is off."""
    bars = make_bars(3).with_columns(delivered_volume=pl.Series([1.0, None, value]))

    with pytest.raises(InvalidBarsError, match="AAA 2020-01-03"):
        build_features(bars, FeatureConfig(delivery=True))
    assert build_features(bars, FeatureConfig()).height == 3


def test_ranks_of_four_symbols_are_refused(make_bars: BarsMaker) -> None:
    """Four symbols can never have ranks; five can."""
    config = FeatureConfig(ranks=True)
    bars = make_bars(30, symbols=("A", "B", "C", "D", "E"))

    with pytest.raises(ConfigError, match="bars of 4 symbols"):
        build_features(bars.filter(pl.col("symbol") != "C"), config)
    assert build_features(bars, config)["rank_return_5"].count() == 25 * 5


def test_families_that_are_off_need_nothing(make_bars: BarsMaker) -> None:
    """Without index, delivered volume and other symbols the default is computed all the same."""
    features = build_features(make_bars(60).drop("delivered_volume"), FeatureConfig(levels=True))

    assert features["pivot_high_to_close"].count() > 0
