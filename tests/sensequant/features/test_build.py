"""Every registered feature: causal, complete, finite, and equal however it is computed."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensequant.context.sessions import OF_CONTEXT
from sensequant.errors import InvalidBarsError
from sensequant.features.build import build_features
from sensequant.features.context import MarketContext
from sensequant.features.registry import FeatureConfig, model_columns, registered_features
from sensequant.features.spec import Family, FeatureSpec
from sensequant.market.actions import ACTION_SCHEMA
from sensequant.market.adjustments import adjust_bars
from sensequant.market.bars import BAR_SCHEMA
from sensequant.market.sessions import nse_calendar

BarsMaker = Callable[..., pl.DataFrame]
ContextMaker = Callable[..., MarketContext]

ALL = FeatureConfig(
    classic_levels=True,
    gaps=True,
    calendar=True,
    delivery=True,
    market_context=True,
    ranks=True,
    levels=True,
    depth=True,
    sentiment=True,
    macro=True,
    options=True,
    regimes=True,
)
OF_ONE_SYMBOL = ALL.model_copy(update={"ranks": False})
"""All families that need no other symbols."""
OF_MARKET = ALL.model_copy(update=dict.fromkeys(OF_CONTEXT, False))
"""All families that need nothing but bars of symbols and indices."""
OF_BARS = OF_MARKET.model_copy(update={"ranks": False, "market_context": False, "regimes": False})
"""All families that need neither other symbols nor anything beside the bars."""

CONTEXT = ("benchmark", "vix", "depth", "sentiment", "options", "macro")
"""Frames of the context."""

SPECS = registered_features()
N_BARS = 300
SYMBOLS = ("AAA", "BBB", "CCC", "M&M", "ZZZ")
PRICES = ("open", "high", "low", "close")
VOLUMES = ("volume", "delivered_volume")

by_name = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
# A build of all families over five symbols takes a tenth of a second.
few_examples = settings(max_examples=20)


@pytest.fixture(scope="module")
def bars(make_bars: BarsMaker) -> pl.DataFrame:
    # With this seed one symbol rises to a 52-week high after a full year, and keeps below it.
    return make_bars(N_BARS, seed=2, symbols=SYMBOLS)


@pytest.fixture(scope="module")
def context(bars: pl.DataFrame, make_context: ContextMaker) -> MarketContext:
    return make_context(bars)


@pytest.fixture(scope="module")
def matrix(bars: pl.DataFrame, context: MarketContext) -> pl.DataFrame:
    return build_features(bars, ALL, context)


def _constant(bars: pl.DataFrame, *, price: float, volume: float) -> pl.DataFrame:
    return bars.with_columns(*(pl.lit(price).alias(name) for name in PRICES), volume=pl.lit(volume))


def _cut(context: MarketContext, *, until: date) -> MarketContext:
    frames = {name: getattr(context, name) for name in CONTEXT}
    is_first = pl.col("session") <= until
    return replace(context, **{name: frame.filter(is_first) for name, frame in frames.items()})


def _moved(context: MarketContext, *, since: date, factor: float) -> MarketContext:
    frames = {name: getattr(context, name) for name in CONTEXT}
    is_later = pl.col("session") >= since
    moved = pl.when(is_later).then(pl.col(pl.Float64) * factor).otherwise(pl.col(pl.Float64))
    return replace(context, **{name: frame.with_columns(moved) for name, frame in frames.items()})


def test_all_registered_features_are_computed_when_everything_is_on() -> None:
    """The properties below hold for every registered feature, because ALL computes every one."""
    assert tuple(spec.name for spec in SPECS) == model_columns(ALL)
    assert all(getattr(ALL, family.value) for family in Family)


def test_columns_are_symbol_session_and_exactly_the_model_columns(make_bars: BarsMaker) -> None:
    """The matrix holds what the model is fed, as Float64, and nothing else."""
    features = build_features(make_bars(60), FeatureConfig())

    assert ["symbol", "session", *model_columns(FeatureConfig())] == features.columns
    assert set(features.dtypes[2:]) == {pl.Float64()}


@by_name
def test_first_value_stands_after_the_warm_up(spec: FeatureSpec, matrix: pl.DataFrame) -> None:
    """The row `warmup_bars` of a symbol is its first that is not null, and none after it is null.

    Where a feature waits for an event, none before that row has a value.
    """
    for symbol in SYMBOLS:
        values = matrix.filter(pl.col("symbol") == symbol)[spec.name]

        assert values[: spec.warmup_bars].null_count() == spec.warmup_bars
        assert spec.waits_for_event or values[spec.warmup_bars :].null_count() == 0

    assert matrix[spec.name].count() > 0


Change = tuple[str, int, float, float]


@st.composite
def _later_changes(draw: st.DrawFn) -> tuple[int, int, Sequence[Change], float]:
    seed = draw(st.integers(0, 1_000))
    last_kept = draw(st.integers(0, N_BARS - 2))
    change = st.tuples(
        st.sampled_from(SYMBOLS),
        st.integers(last_kept + 1, N_BARS - 1),
        st.sampled_from([1e-3, 0.5, 1.0, 1.01, 1e6]),
        st.sampled_from([0.0, 1.0, 1e9]),
    )
    changes = draw(st.lists(change, min_size=1, max_size=8))
    return seed, last_kept, changes, draw(st.sampled_from([1.0, 1e-3, 1.01, 1e6]))


def _changed(bars: pl.DataFrame, changes: Sequence[Change]) -> pl.DataFrame:
    prices, volumes = np.ones(bars.height), np.ones(bars.height)
    jumps: set[int] = set()
    for symbol, row, price_factor, volume_factor in changes:
        place = SYMBOLS.index(symbol) * N_BARS + row
        prices[place], volumes[place] = price_factor, volume_factor
        jumps |= {place} if price_factor > 2 else set()
    return bars.with_columns(
        pl.col(PRICES) * pl.Series(prices),
        pl.col(VOLUMES) * pl.Series(volumes),
        is_unexplained_gap=pl.int_range(pl.len()).is_in(sorted(jumps)),
    )


@few_examples
@given(_later_changes())
def test_nothing_later_changes_an_earlier_feature(
    make_bars: BarsMaker,
    make_context: ContextMaker,
    case: tuple[int, int, Sequence[Change], float],
) -> None:
    """Whatever happens after t, to any symbol or index, each feature up to t stays to the bit."""
    seed, last_kept, changes, index_factor = case
    bars = make_bars(N_BARS, seed=seed, symbols=SYMBOLS)
    context = make_context(bars, seed=seed)
    last = bars["session"][last_kept]
    moved = _moved(context, since=bars["session"][last_kept + 1], factor=index_factor)

    before = build_features(bars, ALL, context).filter(pl.col("session") <= last)
    after = build_features(_changed(bars, changes), ALL, moved)

    assert before.equals(after.filter(pl.col("session") <= last))


UP = {"open": 1.31, "high": 1.9, "low": 0.8, "close": 1.3, "volume": 3.0, "delivered_volume": 2.0}
DOWN = {"open": 0.6, "high": 0.9, "low": 0.3, "close": 0.7, "volume": 0.1, "delivered_volume": 0.2}


@pytest.fixture(scope="module")
def rows_to_change(matrix: pl.DataFrame) -> pl.DataFrame:
    """Return one row of each symbol; for two of them one on which a pivot becomes known."""
    number = pl.int_range(pl.len()).over("symbol")
    is_pivot = {
        "BBB": pl.col("bars_since_pivot_high") == 5,
        "CCC": pl.col("bars_since_pivot_low") == 5,
    }
    return pl.concat(
        matrix.filter(
            (pl.col("symbol") == symbol) & (number > 252) & is_pivot.get(symbol, pl.lit(value=True))
        )
        .tail(1)
        .select("symbol", "session")
        for symbol in SYMBOLS
    )


@pytest.fixture(scope="module")
def reactions(
    bars: pl.DataFrame, context: MarketContext, matrix: pl.DataFrame, rows_to_change: pl.DataFrame
) -> list[pl.DataFrame]:
    """Return the rows as they are, and with another bar or another index."""
    keys = ["symbol", "session"]
    marked = bars.join(
        rows_to_change.with_columns(is_changed=pl.lit(value=True)),
        on=keys,
        how="left",
        maintain_order="left",
    )
    cases = [matrix]
    for factors in (UP, DOWN):
        changed = marked.with_columns(
            pl.when(pl.col("is_changed")).then(pl.col(name) * factor).otherwise(name).alias(name)
            for name, factor in factors.items()
        )
        cases.append(build_features(changed, ALL, context))
    for factor in (2.0, 0.5, 100.0, 0.01):
        moved = _moved(context, since=bars["session"][-1], factor=factor)
        cases.append(build_features(bars, ALL, moved))
    return [rows_to_change.join(case, on=keys, how="left", maintain_order="left") for case in cases]


@pytest.mark.parametrize(
    "spec",
    [spec for spec in SPECS if spec.family not in {Family.CALENDAR, Family.LISTING}],
    ids=lambda spec: spec.name,
)
def test_a_feature_reacts_to_its_own_session(
    spec: FeatureSpec, reactions: list[pl.DataFrame]
) -> None:
    """Another bar, or another index, on session t changes every feature at t that reads prices."""
    before, *others = (rows[spec.name] for rows in reactions)

    assert any(not before.equals(after, null_equal=True) for after in others)


@few_examples
@given(seed=st.integers(0, 1_000), n_first=st.integers(1, N_BARS))
def test_a_prefix_has_the_features_of_the_whole(
    make_bars: BarsMaker, make_context: ContextMaker, seed: int, n_first: int
) -> None:
    """Computing day by day gives the same bits as computing at once."""
    bars = make_bars(N_BARS, seed=seed, symbols=SYMBOLS)
    context = make_context(bars, seed=seed)
    last = bars["session"][n_first - 1]
    is_first = pl.col("session") <= last

    whole = build_features(bars, ALL, context).filter(is_first)
    assert whole.equals(build_features(bars.filter(is_first), ALL, _cut(context, until=last)))


@settings(max_examples=8)
@given(seed=st.integers(0, 1_000))
def test_symbols_do_not_touch_each_other(
    make_bars: BarsMaker, make_context: ContextMaker, seed: int
) -> None:
    """A batch of symbols has the features of each symbol alone, ranks left out."""
    bars = make_bars(N_BARS, seed=seed, symbols=("AAA", "M&M", "ZZZ"))
    build = partial(build_features, config=OF_ONE_SYMBOL, context=make_context(bars))
    alone = [build(part) for part in bars.partition_by("symbol")]

    assert pl.concat(alone).equals(build(bars))


@pytest.fixture(scope="module")
def scaled_matrix(bars: pl.DataFrame, context: MarketContext) -> pl.DataFrame:
    scaled = bars.with_columns(pl.col(PRICES) * 10, pl.col(VOLUMES) * 7)
    return build_features(scaled, ALL, context)


@by_name
def test_scale_free_features_ignore_the_scale_and_levels_do_not(
    spec: FeatureSpec, matrix: pl.DataFrame, scaled_matrix: pl.DataFrame
) -> None:
    """Prices times ten and volumes times seven leave exactly the scale-free features alone."""
    values, others = (frame[spec.name].drop_nulls().to_numpy() for frame in (matrix, scaled_matrix))

    is_same = values.shape == others.shape and bool(
        np.allclose(values, others, rtol=1e-9, atol=1e-12)
    )

    assert spec.is_scale_free == is_same


@settings(max_examples=20)
@given(
    st.lists(
        st.tuples(st.sampled_from([1e-6, 1.0, 100.0, 1e7]), st.sampled_from([0.0, 1.0, 1e12])),
        min_size=1,
        max_size=80,
    )
)
def test_no_value_is_nan_or_infinite(
    make_bars: BarsMaker, make_context: ContextMaker, levels: list[tuple[float, float]]
) -> None:
    """Constant stretches, huge jumps and empty volumes give numbers or null."""
    repeated = levels * 4
    prices, volumes = (
        pl.Series(values, dtype=pl.Float64) for values in zip(*repeated, strict=True)
    )
    one = make_bars(len(repeated)).with_columns(
        *(prices.alias(name) for name in PRICES), *(volumes.alias(name) for name in VOLUMES)
    )
    bars = pl.concat(one.with_columns(symbol=pl.lit(symbol)) for symbol in SYMBOLS)
    index = one.select("session", "close")
    context = replace(make_context(bars), benchmark=index, vix=index)

    features = build_features(bars, ALL, context).drop("symbol", "session")

    assert features.select(pl.all().is_finite().all()).row(0) == (True,) * len(SPECS)


def test_constant_prices_have_no_position_and_no_dust(make_bars: BarsMaker) -> None:
    """Where nothing moves, dispersion is exactly 0 and what divides by it is null."""
    bars = make_bars(80)
    is_still = pl.int_range(pl.len()) >= 60
    prices = [
        pl.when(is_still).then(123.4567).otherwise(pl.col(name)).alias(name)
        for name in ("open", "high", "low", "close")
    ]
    last = build_features(bars.with_columns(prices), OF_BARS)[-1].to_dicts()[0]

    assert last["bb_bandwidth"] == 0
    assert last["bb_zscore"] is None
    assert last["bb_upper"] == last["bb_middle"] == last["bb_lower"]
    assert last["close_location"] is None
    assert last["range_of_close"] == 0
    assert last["realised_volatility_10"] == 0
    assert last["return_10"] == 0


def test_a_history_that_never_moved_has_no_strength(make_bars: BarsMaker) -> None:
    """RSI and ADX divide by moves; without any they are null, not 0 or 50."""
    features = build_features(_constant(make_bars(60), price=5.0, volume=0.0), OF_BARS)

    for name in ("rsi_14", "adx_14", "directional_balance_14", "vwap", "volume_ratio_20"):
        assert features[name].null_count() == 60
    assert features["atr_14"][-1] == 0
    assert features["macd_line"][-1] == 0
    assert features["obv"][-1] == 0


def test_wilder_strength_starts_where_movement_starts(make_bars: BarsMaker) -> None:
    """After a motionless start, ADX counts its fourteen values from the first that exists."""
    still = _constant(make_bars(100), price=250.0, volume=1.0)
    bars = pl.concat([still[:30], make_bars(100)[30:]])
    adx = build_features(bars, OF_BARS)["adx_14"]

    assert adx.is_null().arg_min() == 30 + 13


ENGINE_SQL = """
SELECT
  avg(close) OVER w20 AS sma_20,
  avg(close) OVER w20 / close - 1 AS sma_20_to_close,
  (close - avg(close) OVER w20) / stddev_pop(close) OVER w20 AS bb_zscore,
  sum((high + low + close) / 3 * volume) OVER w20 / sum(volume) OVER w20 AS vwap,
  volume / avg(volume) OVER w20 AS volume_ratio_20,
  open / lag(close) OVER w - 1 AS overnight_gap,
  close / lag(close, 5) OVER w - 1 AS return_5,
  stddev_samp(log_return) OVER w20 AS realised_volatility_20,
FROM (SELECT *, ln(close / lag(close) OVER (PARTITION BY symbol ORDER BY session)) AS log_return
      FROM bars)
WINDOW w AS (PARTITION BY symbol ORDER BY session),
       w20 AS (PARTITION BY symbol ORDER BY session ROWS 19 PRECEDING)
ORDER BY symbol, session
"""


def test_sql_windows_agree(make_bars: BarsMaker) -> None:
    """DuckDB's window functions give the same rolling features after warm-up."""
    bars = make_bars(300, symbols=("AAA", "BBB"))
    ours = build_features(bars, OF_BARS)
    with duckdb.connect() as engine:
        engine.register("bars", bars.to_arrow())  # pyright: ignore[reportUnknownArgumentType]
        theirs = pl.DataFrame(engine.sql(ENGINE_SQL).to_arrow_table())

    for name in theirs.columns:
        is_warm = ours[name].is_not_null()
        expected = theirs.filter(is_warm)[name].to_numpy()
        np.testing.assert_allclose(ours.filter(is_warm)[name], expected, rtol=1e-9, atol=1e-12)
        assert is_warm.sum() >= 560


def test_an_unexplained_gap_starts_a_new_history(
    make_bars: BarsMaker, make_context: ContextMaker
) -> None:
    """Behind a jump that nothing explains, features are those of a symbol first seen there."""
    bars = make_bars(2 * N_BARS)
    build = partial(build_features, config=OF_ONE_SYMBOL, context=make_context(bars))
    is_later = pl.int_range(pl.len()) >= N_BARS
    jumped = bars.with_columns(
        pl.when(is_later).then(pl.col(name) / 10).otherwise(pl.col(name)).alias(name)
        for name in PRICES
    ).with_columns(is_unexplained_gap=pl.int_range(pl.len()) == N_BARS)

    features = build(jumped)

    assert features[:N_BARS].equals(build(bars[:N_BARS]))
    assert features[N_BARS:].equals(build(jumped[N_BARS:]))


def test_a_split_that_no_list_knows_is_no_move_of_the_market(make_bars: BarsMaker) -> None:
    """Raw bars fall to a tenth on a split; adjusted without it, features start anew behind it."""
    bars = make_bars(2 * N_BARS)
    is_later = pl.int_range(pl.len()) >= N_BARS
    raw = bars.with_columns(
        *(
            pl.when(is_later).then(pl.col(name) / 10).otherwise(pl.col(name)).alias(name)
            for name in PRICES
        ),
        pl.col(VOLUMES).cast(pl.Int64),
        source_symbol="symbol",
        source=pl.lit("test"),
        is_simulated=pl.lit(value=True),
    )
    complete = pl.concat([BAR_SCHEMA.to_frame(), raw], how="diagonal").select(BAR_SCHEMA.names())
    adjusted = adjust_bars(complete, ACTION_SCHEMA.to_frame(), nse_calendar())

    features = build_features(adjusted, OF_BARS)

    assert features["return_1"].is_null().to_numpy().nonzero()[0].tolist() == [0, N_BARS]
    assert features[N_BARS:].equals(build_features(adjusted[N_BARS:], OF_BARS))


def test_a_hole_of_two_hundred_sessions_is_no_bar(make_bars: BarsMaker) -> None:
    """Rows are bars: behind a hole, features are those of the same bars without it."""
    bars = make_bars(N_BARS)
    later = make_bars(N_BARS + 200)["session"][200 + 150 :]
    holed = bars.with_columns(session=pl.concat([bars["session"][:150], later]))
    config = OF_BARS.model_copy(update={"calendar": False, "listing": False})

    features = build_features(holed, config)

    assert features.drop("session").equals(build_features(bars, config).drop("session"))


PROGRAM = """
import sys
import polars as pl
from sensequant.features.build import build_features
from sensequant.features.context import MarketContext
from sensequant.features.registry import FeatureConfig
bars, index, config = sys.argv[1:]
closes = pl.read_parquet(index)
context = MarketContext(benchmark=closes, vix=closes)
config = FeatureConfig.model_validate_json(config)
features = build_features(pl.read_parquet(bars), config, context)
print(pl.thread_pool_size())
print(features.hash_rows().to_list())
"""


def test_threads_do_not_change_a_bit(make_bars: BarsMaker, tmp_path: Path) -> None:
    """One thread and four give the same bytes, also where a column is long enough to be cut."""
    path, index = tmp_path / "bars.parquet", tmp_path / "index.parquet"
    bars = make_bars(1_600, symbols=SYMBOLS)
    bars.write_parquet(path)
    bars[:1_600].select("session", "close").write_parquet(index)

    outputs = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM, str(path), str(index), OF_MARKET.model_dump_json()],
            env={**os.environ, "POLARS_MAX_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        for threads in ("1", "4")
    ]

    assert [output[0] for output in outputs] == ["1", "4"]
    assert outputs[0][1] == outputs[1][1]


def test_no_bars_give_an_empty_matrix(make_bars: BarsMaker) -> None:
    """An empty frame of bars gives an empty frame of features with all columns."""
    features = build_features(make_bars(5)[:0], FeatureConfig())

    assert (0, 2 + len(model_columns(FeatureConfig()))) == features.shape


def test_the_bars_stay_as_they_were(make_bars: BarsMaker) -> None:
    """The caller's frame is not edited."""
    bars = make_bars(50)
    digest = hashlib.sha256(bars.write_csv().encode()).hexdigest()
    build_features(bars, OF_BARS)

    assert digest == hashlib.sha256(bars.write_csv().encode()).hexdigest()


def test_unusable_bars_are_refused(make_bars: BarsMaker) -> None:
    """Bars that contradict their contract give an error, no features."""
    with pytest.raises(InvalidBarsError, match="not sorted and unique"):
        build_features(make_bars(5).reverse(), FeatureConfig())
