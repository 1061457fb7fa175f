"""Labels relative to volatility, barriers and NIFTY 50: by hand, against a loop, on chance."""

import math
import statistics
from collections.abc import Mapping
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sensequant.errors import ConfigError, InvalidBarsError
from sensequant.labels import LABEL_COLUMNS, LabelConfig, build_labels
from sensequant.splits import SplitConfig, split_validation

N_SESSIONS = 70
SESSIONS = [date(2024, 1, 1) + timedelta(days=2 * position) for position in range(N_SESSIONS)]
CALENDAR = pl.DataFrame(
    {"session": SESSIONS, "session_number": pl.Series(range(N_SESSIONS), dtype=pl.Int32)}
)
Bar = tuple[int, float, float, float, float]
Index = Mapping[int, tuple[float, float]]


def _bars(path: list[Bar], *, symbol: str = "AAA", gaps: frozenset[int] = frozenset()) -> Any:
    return pl.DataFrame(
        {
            "symbol": [symbol] * len(path),
            "session": [SESSIONS[each[0]] for each in path],
            "session_number": [each[0] for each in path],
            "open": [each[1] for each in path],
            "high": [each[2] for each in path],
            "low": [each[3] for each in path],
            "close": [each[4] for each in path],
            "is_unexplained_gap": [each[0] in gaps for each in path],
        },
        schema={
            "symbol": pl.String,
            "session": pl.Date,
            "session_number": pl.Int32,
            **dict.fromkeys(("open", "high", "low", "close"), pl.Float64),
            "is_unexplained_gap": pl.Boolean,
        },
    )


def _point(number: int, price: float) -> Bar:
    return number, price, price, price, price


# Closes 100, 101, 100, 101 ...: log returns of +-log(1.01), so that the volatility is known.
CALM = [_point(number, 100.0 + number % 2) for number in range(21)]
CALM_DAILY = statistics.stdev([(-1) ** number * math.log(1.01) for number in range(20)])


def _build(bars: pl.DataFrame, cost: float = 0.0, **settings: Any) -> pl.DataFrame:
    return build_labels(bars, CALENDAR, LabelConfig(**settings), round_trip_cost_frac=cost)


@pytest.mark.parametrize(
    ("excess", "cost", "expected"),
    [(1e-6, 0.0, 1), (-1e-6, 0.0, 0), (1e-6, 0.001, 0), (0.001 + 1e-6, 0.001, 1)],
)
def test_volatility_label_by_hand(excess: float, cost: float, expected: int) -> None:
    """After 21 calm closes a success must gain half of the deviation times the root of four."""
    limit = 0.5 * CALM_DAILY * 2
    exit_close = 100.0 * (1 + limit + excess)
    path = [*CALM, *(_point(number, 100.0) for number in (21, 22, 23)), _point(24, exit_close)]

    labels = _build(_bars(path), cost, kind="volatility", horizon_sessions=4)

    assert labels["label"].to_list() == [None] * 20 + [expected] + [None] * 4
    assert labels["forward_return"][20] == exit_close / 100.0 - 1
    assert labels["unlabelled_reason"].to_list() == (
        ["missing_volatility"] * 20 + [None] + ["beyond_last_bar"] * 4
    )


def test_volatility_starts_anew_behind_a_gap() -> None:
    """Twenty returns must lie behind the last unexplained gap, its own return not among them."""
    path = [_point(number, 100.0 + number % 2) for number in range(60)]

    labels = _build(_bars(path, gaps=frozenset({30})), kind="volatility", horizon_sessions=1)

    labelled = labels.filter(pl.col("label").is_not_null())["session_number"].to_list()
    assert labelled == [*range(20, 29), *range(50, 59)]
    assert labels["unlabelled_reason"][29] == "unexplained_gap"


@pytest.mark.parametrize("kind", ["volatility", "triple_barrier"])
def test_a_price_that_never_moves_has_no_volatility(kind: str) -> None:
    """Zero is no yardstick: the row is unlabelled, not a success above nothing."""
    path = [_point(number, 100.0) for number in range(30)]

    labels = _build(_bars(path), kind=kind, horizon_sessions=2)

    assert labels["label"].null_count() == 30
    assert labels["unlabelled_reason"].to_list() == (
        ["missing_volatility"] * 28 + ["beyond_last_bar"] * 2
    )


UP, DOWN = 100 * (1 + 0.003 + 2 * CALM_DAILY * 2), 100 * (1 - CALM_DAILY * 2)


@pytest.mark.parametrize(
    ("after", "end", "exit_price", "expected"),
    [
        # Decision after session 20, entry at 100 on 21, time barrier at the close of 24.
        ([FLAT := (100.0, 100.5, 99.5, 100.0)] * 4, 24, 100.0, 0),
        ([FLAT, (100, UP + 1, 99.5, 100), FLAT, FLAT], 22, UP, 1),
        ([FLAT, (100, 100.5, DOWN - 1, 100), FLAT, FLAT], 22, DOWN, 0),
        ([FLAT, (100, UP + 1, DOWN - 1, 100), FLAT, FLAT], 22, DOWN, 0),
        ([FLAT, FLAT, (UP + 2, UP + 3, UP + 1, UP + 2), FLAT], 23, UP + 2, 1),
        ([FLAT, FLAT, FLAT, (90, 91, 89, 90)], 24, 90.0, 0),
        ([(100, UP, 99.5, 100), FLAT, FLAT, FLAT], 21, UP, 1),
        # A gain at the time barrier alone is none: the profit barrier was not touched.
        ([FLAT, FLAT, FLAT, (101, 102, 100, UP - 0.1)], 24, UP - 0.1, 0),
    ],
    ids=["nothing", "profit", "stop", "both", "gap up", "gap down", "entry bar", "time"],
)
def test_triple_barrier_by_hand(
    after: list[tuple[float, float, float, float]], end: int, exit_price: float, expected: int
) -> None:
    """Exit, its session and the label are those of the first touch, or of the time barrier."""
    path = [*CALM, *((21 + place, *bar) for place, bar in enumerate(after))]

    row = _build(
        _bars(path), 0.003, kind="triple_barrier", horizon_sessions=4, profit_multiple=2.0
    ).row(20, named=True)

    assert (row["label_end_number"], row["label_end"]) == (end, SESSIONS[end])
    assert row["forward_return"] == pytest.approx(exit_price / 100 - 1, abs=1e-12)
    assert (row["label"], row["unlabelled_reason"]) == (expected, None)


def test_a_quick_touch_at_the_end_of_the_data_stays_unlabelled() -> None:
    """Else only quick outcomes were known there; its end is that of the time barrier."""
    path = [*CALM, (21, 100.0, 150.0, 100.0, 100.0), _point(22, 100.0)]

    row = _build(_bars(path), kind="triple_barrier", horizon_sessions=4).row(20, named=True)

    assert (row["label"], row["unlabelled_reason"]) == (None, "beyond_last_bar")
    assert (row["label_end_number"], row["forward_return"]) == (24, None)


def test_a_hole_at_the_time_barrier_matters_only_if_it_is_reached() -> None:
    """A position that was closed before does not miss the bar of session 24."""
    late = [_point(25, 100.0)]
    quick = [*CALM, (21, 100.0, 150.0, 100.0, 100.0), *late]
    slow = [*CALM, _point(21, 100.0), *late]

    found = [
        _build(_bars(path), kind="triple_barrier", horizon_sessions=4).row(20, named=True)
        for path in (quick, slow)
    ]

    assert [row["unlabelled_reason"] for row in found] == [None, "missing_bar"]
    assert [row["label_end_number"] for row in found] == [21, 24]


def test_purging_uses_the_session_of_the_touch() -> None:
    """A row whose barrier was touched before the validation part need not be purged."""
    path = [*CALM, *((number, 100.0, 130.0, 99.9, 100.0) for number in range(21, 60))]
    numbers = ("session_number", "label_end_number")

    def purged(**settings: Any) -> int:
        rows = _build(_bars(path), horizon_sessions=10, **settings).drop_nulls("label").tail(30)
        starts, ends = (rows[name].cast(pl.Int64).to_numpy() for name in numbers)
        return split_validation(starts, ends, SplitConfig()).purged.size

    # Every position is closed within its first bar; labels of fixed horizon reach ten ahead.
    assert (purged(kind="triple_barrier"), purged(kind="fixed")) == (1, 10)


def _benchmark(prices: Mapping[int, tuple[float | None, float | None]]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "session": [SESSIONS[number] for number in prices],
            "open": [start for start, _ in prices.values()],
            "close": [end for _, end in prices.values()],
        },
        schema={"session": pl.Date, "open": pl.Float64, "close": pl.Float64},
    )


def test_excess_label_by_hand() -> None:
    """The index returns close of t+2 over open of t+1, as the symbol; costs come off as well."""
    path = [(number, 100.0, 100.0, 100.0, 105.0) for number in range(12)]
    index: dict[int, tuple[float | None, float | None]] = {
        number: (1000.0, 1000.0 + 5 * number) for number in range(12) if number != 7
    }
    index |= {4: (None, 1020.0), 9: (1000.0, None)}

    labels = build_labels(
        _bars(path),
        CALENDAR,
        LabelConfig(kind="excess", horizon_sessions=2, threshold_frac=0.015),
        round_trip_cost_frac=0.004,
        benchmark=_benchmark(index),
    )

    # 5 percent less 0.4 of costs less 0.5 (t + 2) of the index must exceed 1.5 percent.
    expected = [1, 1, 1, None, 1, None, None, None, 0, 0, None, None]
    assert labels["label"].to_list() == expected
    unknown = labels.filter(pl.col("unlabelled_reason") == "missing_benchmark")
    # Without an open on 4, any bar on 7, a close on 9.
    assert unknown["session_number"].to_list() == [3, 5, 6, 7]
    known = labels.drop_nulls("label")["forward_return"].to_list()
    assert known == pytest.approx([0.05] * 6)


def test_excess_needs_a_benchmark() -> None:
    """No index, no excess: the request is refused, nothing is taken for zero."""
    with pytest.raises(ConfigError, match="need a benchmark"):
        _build(_bars(CALM), kind="excess")


@pytest.mark.parametrize(
    ("benchmark", "message"),
    [
        (_benchmark({1: (1.0, 1.0)}).drop("open"), "lacks columns"),
        (_benchmark({1: (1.0, 1.0)}).with_columns(close=pl.lit(1)), "lacks columns"),
        (_benchmark({1: (1.0, 0.0)}), "no series"),
        (_benchmark({1: (float("nan"), 1.0)}), "no series"),
        (pl.concat([_benchmark({1: (1.0, 1.0)})] * 2), "no series"),
    ],
)
def test_an_impossible_benchmark_is_refused(benchmark: pl.DataFrame, message: str) -> None:
    """Prices are finite and positive, each session comes once, types are those of bars."""
    with pytest.raises(InvalidBarsError, match=message):
        build_labels(
            _bars(CALM),
            CALENDAR,
            LabelConfig(kind="excess"),
            round_trip_cost_frac=0,
            benchmark=benchmark,
        )


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"volatility_multiple": 1.0}, "volatility_multiple"),
        ({"profit_multiple": 2.0}, "profit_multiple"),
        ({"kind": "volatility", "threshold_frac": 0.01}, "threshold_frac"),
        ({"kind": "volatility", "stop_multiple": 2.0}, "stop_multiple"),
        ({"kind": "triple_barrier", "threshold_frac": 0.01}, "threshold_frac"),
        ({"kind": "triple_barrier", "volatility_multiple": 1.0}, "volatility_multiple"),
        ({"kind": "excess", "profit_multiple": 2.0}, "profit_multiple"),
        ({"sample_weights": "random"}, "sample_weights"),
        ({"kind": "triple_barrier", "stop_multiple": 0.0}, "stop_multiple"),
    ],
)
def test_settings_without_effect_are_refused(settings: dict[str, Any], named: str) -> None:
    """What the kind does not read cannot be changed; the refusal names it."""
    with pytest.raises(ValidationError, match=named):
        LabelConfig.model_validate(settings)


def _random_bars(rng: np.random.Generator, symbol: str, n: int = N_SESSIONS) -> pl.DataFrame:
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, size=n)))
    start = close * np.exp(rng.normal(0, 0.01, size=n))
    spread = np.exp(np.abs(rng.normal(0, 0.01, size=(2, n))))
    high = np.maximum(close, start) * spread[0]
    low = np.minimum(close, start) / spread[1]
    path = list(zip(range(n), start, high, low, close, strict=True))
    is_traded = rng.random(n) < 0.97
    kept = [bar for bar, is_kept in zip(path, is_traded, strict=True) if is_kept]
    return _bars(kept, symbol=symbol, gaps=frozenset(rng.integers(0, n, size=1).tolist()))


Rows = dict[tuple[str, int], dict[str, Any]]
Outcome = tuple[int, float | None, int | None, str | None]
COST = 0.003


def _loop(bars: pl.DataFrame, index: Index, config: LabelConfig) -> list[Outcome]:
    rows = {(row["symbol"], row["session_number"]): row for row in bars.iter_rows(named=True)}
    return [_outcome(rows, index, config, *key) for key in rows]


def _outcome(rows: Rows, index: Index, config: LabelConfig, symbol: str, number: int) -> Outcome:
    horizon = number + config.horizon_sessions
    daily = _daily_volatility(rows, symbol, number)
    scale = math.nan if daily is None else daily * math.sqrt(config.horizon_sessions)
    end, price, is_profit = horizon, math.nan, False
    if config.kind == "triple_barrier":
        end, price, is_profit = _touch(rows, config, scale, symbol, number)
    entry, closing = rows.get((symbol, number + 1)), rows.get((symbol, end))
    days = [rows.get((symbol, day), {}) for day in range(number + 1, end + 1)]
    reasons = {
        "beyond_last_bar": horizon > max(other for owner, other in rows if owner == symbol),
        "missing_bar": entry is None or closing is None,
        "unexplained_gap": any(day.get("is_unexplained_gap") for day in days),
        "missing_volatility": config.kind != "excess" and daily is None,
        "missing_benchmark": config.kind == "excess"
        and not (number + 1 in index and horizon in index),
    }
    reason = next((name for name, applies in reasons.items() if applies), None)
    if reason is not None or entry is None or closing is None:
        return horizon, None, None, reason
    gross = (closing["close"] if math.isnan(price) else price) / entry["open"] - 1
    if config.kind == "triple_barrier":
        return end, gross, int(is_profit), None
    limit = config.volatility_multiple * scale
    if config.kind == "excess":
        limit = config.threshold_frac + index[horizon][1] / index[number + 1][0] - 1
    return end, gross, int(gross - COST > limit), None


def _touch(
    rows: Rows, config: LabelConfig, scale: float, symbol: str, number: int
) -> tuple[int, float, bool]:
    entry = rows.get((symbol, number + 1), {}).get("open", math.nan)
    up = entry * (1 + (scale * config.profit_multiple + COST))
    down = entry * (1 - scale * config.stop_multiple)
    horizon = number + config.horizon_sessions
    for day in range(number + 1, horizon + 1):
        bar = rows.get((symbol, day))
        if bar is None:
            continue
        if bar["open"] >= up or bar["open"] <= down:
            return day, bar["open"], bar["open"] >= up
        if bar["low"] <= down:
            return day, down, False
        if bar["high"] >= up:
            return day, up, True
    return horizon, math.nan, False


def _daily_volatility(rows: Rows, symbol: str, number: int) -> float | None:
    closes: list[float] = []
    for day in sorted(day for owner, day in rows if owner == symbol and day <= number):
        if rows[symbol, day]["is_unexplained_gap"]:
            closes = []
        closes.append(rows[symbol, day]["close"])
    if len(closes) < 21:
        return None
    logs = [math.log(price) for price in closes[-21:]]
    return statistics.stdev([after - before for before, after in pairwise(logs)])


@given(
    seed=st.integers(0, 10_000),
    kind=st.sampled_from(["volatility", "triple_barrier", "excess"]),
    horizon=st.integers(1, 9),
)
def test_labels_are_those_of_a_loop(seed: int, kind: Any, horizon: int) -> None:
    """Joins and arrays agree with a loop over dictionaries on bars with holes and gaps."""
    rng = np.random.default_rng(seed)
    bars = pl.concat([_random_bars(rng, "AAA"), _random_bars(rng, "BBB")])
    index = {
        number: (float(start), float(end))
        for number, start, end in zip(
            range(N_SESSIONS), *rng.uniform(990, 1010, size=(2, N_SESSIONS)), strict=True
        )
        if rng.random() < 0.95
    }
    config = LabelConfig(kind=kind, horizon_sessions=horizon)

    labels = build_labels(
        bars, CALENDAR, config, round_trip_cost_frac=COST, benchmark=_benchmark(index)
    )

    assert tuple(labels.columns) == LABEL_COLUMNS
    found = labels.select("label_end_number", "forward_return", "label", "unlabelled_reason").rows()
    for row, wanted in zip(found, _loop(bars, index, config), strict=True):
        assert row == (wanted[0], pytest.approx(wanted[1], abs=1e-12), *wanted[2:])


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        # P(Z > 1/2) of a normal return; a barrier at one deviation each is a fair bet either way.
        ("volatility", {}, 0.31),
        ("triple_barrier", {"profit_multiple": 0.25, "stop_multiple": 0.25}, 0.5),
        ("triple_barrier", {"profit_multiple": 0.5, "stop_multiple": 0.25}, 1 / 3),
    ],
)
def test_on_a_random_walk_the_share_of_ones_is_that_of_the_theory(
    kind: Any, settings: dict[str, Any], expected: float
) -> None:
    """Without drift and costs: a normal tail, and the gambler's ruin between two barriers."""
    n, rng = 12_000, np.random.default_rng(5)
    days = [date(1980, 1, 1) + timedelta(days=day) for day in range(n)]
    calendar = pl.DataFrame(
        {"session": days, "session_number": pl.Series(range(n), dtype=pl.Int32)}
    )
    # Forty steps a day, so that high and low are those of the path.
    steps = np.cumsum(rng.normal(0, 0.01 / np.sqrt(40), size=n * 40)).reshape(n, 40)
    path = np.exp(steps - 0.5 * 0.01**2 * np.arange(n)[:, None])
    before = np.concatenate([[1.0], path[:-1, -1]])
    bars = pl.DataFrame(
        {
            "symbol": "AAA",
            "session": days,
            "session_number": pl.Series(range(n), dtype=pl.Int32),
            "open": before,
            "high": np.maximum(path.max(axis=1), before),
            "low": np.minimum(path.min(axis=1), before),
            "close": path[:, -1],
            "is_unexplained_gap": False,
        }
    )

    labels = build_labels(
        bars,
        calendar,
        LabelConfig(kind=kind, horizon_sessions=60, **settings),
        round_trip_cost_frac=0.0,
    )

    share = labels["label"].mean()
    assert isinstance(share, float)
    assert abs(share - expected) < 0.035
