"""Every registered feature: causal, complete, finite, and equal however it is computed."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.errors import InvalidBarsError
from sensequant.features.build import build_features
from sensequant.features.registry import FeatureConfig, model_columns, registered_features
from sensequant.features.spec import FeatureSpec

BarsMaker = Callable[..., pl.DataFrame]

ALL = FeatureConfig(classic_levels=True)
SPECS = registered_features()
N_BARS = 90

by_name = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)


def _constant(bars: pl.DataFrame, *, price: float, volume: float) -> pl.DataFrame:
    return bars.with_columns(
        *(pl.lit(price).alias(name) for name in ("open", "high", "low", "close")),
        volume=pl.lit(volume),
    )


def test_all_registered_features_are_computed_when_both_forms_are_on() -> None:
    """The properties below hold for every registered feature, because ALL computes every one."""
    assert tuple(spec.name for spec in SPECS) == model_columns(ALL)


def test_columns_are_symbol_session_and_exactly_the_model_columns(make_bars: BarsMaker) -> None:
    """The matrix holds what the model is fed, as Float64, and nothing else."""
    features = build_features(make_bars(60), FeatureConfig())

    assert ["symbol", "session", *model_columns(FeatureConfig())] == features.columns
    assert set(features.dtypes[2:]) == {pl.Float64()}


@by_name
def test_first_value_stands_after_the_warm_up(spec: FeatureSpec, make_bars: BarsMaker) -> None:
    """The first row that is not null has the index `warmup_bars`, and none after it is null."""
    values = build_features(make_bars(N_BARS), ALL)[spec.name]

    assert spec.warmup_bars == values.null_count()
    assert values[spec.warmup_bars :].null_count() == 0


@st.composite
def _later_changes(draw: st.DrawFn) -> tuple[int, int, list[tuple[int, float, float]]]:
    seed = draw(st.integers(0, 1_000))
    last_kept = draw(st.integers(0, N_BARS - 2))
    changes = draw(
        st.lists(
            st.tuples(
                st.integers(last_kept + 1, N_BARS - 1),
                st.sampled_from([1e-3, 0.5, 1.0, 1.01, 1e6]),
                st.sampled_from([0.0, 1.0, 1e9]),
            ),
            min_size=1,
            max_size=5,
        )
    )
    return seed, last_kept, changes


@given(_later_changes())
def test_a_later_bar_changes_no_earlier_feature(
    make_bars: BarsMaker, case: tuple[int, int, list[tuple[int, float, float]]]
) -> None:
    """Whatever happens to bars after t, every feature up to t stays the same to the bit."""
    seed, last_kept, changes = case
    bars = make_bars(N_BARS, seed=seed)
    jumps = {row for row, price_factor, _ in changes if price_factor > 2}
    prices, volume = np.ones(N_BARS), np.ones(N_BARS)
    for row, price_factor, volume_factor in changes:
        prices[row], volume[row] = price_factor, volume_factor
    changed = bars.with_columns(
        *(pl.col(name) * pl.Series(prices) for name in ("open", "high", "low", "close")),
        volume=pl.col("volume") * pl.Series(volume),
        is_unexplained_gap=pl.int_range(pl.len()).is_in(sorted(jumps)),
    )

    before = build_features(bars, ALL)[: last_kept + 1]
    after = build_features(changed, ALL)[: last_kept + 1]

    assert before.equals(after)


@by_name
def test_a_feature_reacts_to_the_bar_of_its_own_session(
    spec: FeatureSpec, make_bars: BarsMaker
) -> None:
    """The last bar, with another close, range and volume, changes every feature of its row."""
    bars = make_bars(N_BARS)
    is_last = pl.int_range(pl.len()) == N_BARS - 1
    changed = bars.with_columns(
        pl.when(is_last).then(pl.col(name) * factor).otherwise(pl.col(name)).alias(name)
        for name, factor in {
            "open": 1.31,
            "high": 1.9,
            "low": 0.8,
            "close": 1.3,
            "volume": 3.0,
        }.items()
    )

    assert build_features(bars, ALL)[spec.name][-1] != build_features(changed, ALL)[spec.name][-1]


@given(seed=st.integers(0, 1_000), n_first=st.integers(1, N_BARS))
def test_a_prefix_has_the_features_of_the_whole(
    make_bars: BarsMaker, seed: int, n_first: int
) -> None:
    """Computing day by day gives the same bits as computing at once."""
    bars = make_bars(N_BARS, seed=seed)

    assert build_features(bars, ALL)[:n_first].equals(build_features(bars[:n_first], ALL))


@given(seed=st.integers(0, 1_000))
def test_symbols_do_not_touch_each_other(make_bars: BarsMaker, seed: int) -> None:
    """A batch of symbols has the features of each symbol alone, in the order of the bars."""
    bars = make_bars(70, seed=seed, symbols=("AAA", "M&M", "ZZZ"))
    alone = [build_features(part, ALL) for part in bars.partition_by("symbol")]

    assert pl.concat(alone).equals(build_features(bars, ALL))


@by_name
def test_scale_free_features_ignore_the_scale_and_levels_do_not(
    spec: FeatureSpec, make_bars: BarsMaker
) -> None:
    """Prices times ten and volumes times seven leave exactly the scale-free features alone."""
    bars = make_bars(200)
    scaled = bars.with_columns(
        pl.col("open", "high", "low", "close") * 10, volume=pl.col("volume") * 7
    )
    values = build_features(bars, ALL)[spec.name].drop_nulls().to_numpy()
    others = build_features(scaled, ALL)[spec.name].drop_nulls().to_numpy()

    is_same = values.shape == others.shape and bool(np.allclose(values, others, rtol=1e-9))

    assert spec.is_scale_free == is_same


@given(
    st.lists(
        st.tuples(st.sampled_from([1e-6, 1.0, 100.0, 1e7]), st.sampled_from([0.0, 1.0, 1e12])),
        min_size=1,
        max_size=80,
    )
)
def test_no_value_is_nan_or_infinite(
    make_bars: BarsMaker, levels: list[tuple[float, float]]
) -> None:
    """Constant stretches, huge jumps and empty volumes give numbers or null."""
    prices, volumes = (pl.Series(values, dtype=pl.Float64) for values in zip(*levels, strict=True))
    bars = make_bars(len(levels)).with_columns(
        *(prices.alias(name) for name in ("open", "high", "low", "close")), volumes.alias("volume")
    )

    features = build_features(bars, ALL).drop("symbol", "session")

    assert features.select(pl.all().is_finite().all()).row(0) == (True,) * len(SPECS)


def test_constant_prices_have_no_position_and_no_dust(make_bars: BarsMaker) -> None:
    """Where nothing moves, dispersion is exactly 0 and what divides by it is null."""
    bars = make_bars(80)
    is_still = pl.int_range(pl.len()) >= 60
    prices = [
        pl.when(is_still).then(123.4567).otherwise(pl.col(name)).alias(name)
        for name in ("open", "high", "low", "close")
    ]
    last = build_features(bars.with_columns(prices), ALL)[-1].to_dicts()[0]

    assert last["bb_bandwidth"] == 0
    assert last["bb_zscore"] is None
    assert last["bb_upper"] == last["bb_middle"] == last["bb_lower"]
    assert last["close_location"] is None
    assert last["range_of_close"] == 0
    assert last["realised_volatility_10"] == 0
    assert last["return_10"] == 0


def test_a_history_that_never_moved_has_no_strength(make_bars: BarsMaker) -> None:
    """RSI and ADX divide by moves; without any they are null, not 0 or 50."""
    features = build_features(_constant(make_bars(60), price=5.0, volume=0.0), ALL)

    for name in ("rsi_14", "adx_14", "directional_balance_14", "vwap", "volume_ratio_20"):
        assert features[name].null_count() == 60
    assert features["atr_14"][-1] == 0
    assert features["macd_line"][-1] == 0
    assert features["obv"][-1] == 0


def test_wilder_strength_starts_where_movement_starts(make_bars: BarsMaker) -> None:
    """After a motionless start, ADX counts its fourteen values from the first that exists."""
    still = _constant(make_bars(100), price=250.0, volume=1.0)
    bars = pl.concat([still[:30], make_bars(100)[30:]])
    adx = build_features(bars, ALL)["adx_14"]

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
    ours = build_features(bars, ALL)
    with duckdb.connect() as engine:
        engine.register("bars", bars.to_arrow())  # pyright: ignore[reportUnknownArgumentType]
        theirs = pl.DataFrame(engine.sql(ENGINE_SQL).to_arrow_table())

    for name in theirs.columns:
        is_warm = ours[name].is_not_null()
        expected = theirs.filter(is_warm)[name].to_numpy()
        np.testing.assert_allclose(ours.filter(is_warm)[name], expected, rtol=1e-9, atol=1e-12)
        assert is_warm.sum() >= 560


PROGRAM = """
import sys
import polars as pl
from sensequant.features.build import build_features
from sensequant.features.registry import FeatureConfig
bars = pl.read_parquet(sys.argv[1])
features = build_features(bars, FeatureConfig(classic_levels=True))
print(pl.thread_pool_size())
print(features.hash_rows().to_list())
"""


def test_an_unexplained_gap_starts_a_new_history(make_bars: BarsMaker) -> None:
    """Behind a jump that nothing explains, features are those of a symbol first seen there."""
    bars = make_bars(2 * N_BARS)
    is_later = pl.int_range(pl.len()) >= N_BARS
    jumped = bars.with_columns(
        pl.when(is_later).then(pl.col(name) / 10).otherwise(pl.col(name)).alias(name)
        for name in ("open", "high", "low", "close")
    ).with_columns(is_unexplained_gap=pl.int_range(pl.len()) == N_BARS)

    features = build_features(jumped, ALL)

    assert features[:N_BARS].equals(build_features(bars[:N_BARS], ALL))
    assert features[N_BARS:].equals(build_features(jumped[N_BARS:], ALL))


def test_threads_do_not_change_a_bit(make_bars: BarsMaker, tmp_path: Path) -> None:
    """One thread and four give the same bytes, also where a column is long enough to be cut."""
    path = tmp_path / "bars.parquet"
    make_bars(3_000, symbols=("AAA", "BBB", "CCC")).write_parquet(path)

    outputs = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM, str(path)],
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
    build_features(bars, ALL)

    assert digest == hashlib.sha256(bars.write_csv().encode()).hexdigest()


def test_unusable_bars_are_refused(make_bars: BarsMaker) -> None:
    """Bars that contradict their contract give an error, no features."""
    with pytest.raises(InvalidBarsError, match="not sorted and unique"):
        build_features(make_bars(5).reverse(), FeatureConfig())
