"""Labels: by hand, against a loop, and across holes, gaps and the end of the data."""

from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sensequant.errors import ConfigError, InvalidBarsError
from sensequant.labels import LABEL_COLUMNS, UNLABELLED_REASONS, LabelConfig, build_labels
from sensequant.market.sessions import nse_calendar

N_SESSIONS = 25
FIRST_NUMBER = 100
# Every second day trades, so that a session is no calendar day.
SESSIONS = [date(2024, 1, 1) + timedelta(days=2 * position) for position in range(N_SESSIONS)]
CALENDAR = pl.DataFrame(
    {
        "session": SESSIONS,
        "session_number": pl.Series(range(FIRST_NUMBER, FIRST_NUMBER + N_SESSIONS), dtype=pl.Int32),
    }
)


def _bars(
    positions: list[int],
    *,
    opens: list[float],
    closes: list[float],
    gaps: set[int] | None = None,
    symbol: str = "AAA",
) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "symbol": [symbol] * len(positions),
            "session": [SESSIONS[position] for position in positions],
            "session_number": pl.Series(
                [FIRST_NUMBER + position for position in positions], dtype=pl.Int32
            ),
            "open": pl.Series(opens, dtype=pl.Float64),
            "close": pl.Series(closes, dtype=pl.Float64),
            "is_unexplained_gap": [position in (gaps or set()) for position in positions],
        },
        schema_overrides={
            "symbol": pl.String,
            "session": pl.Date,
            "is_unexplained_gap": pl.Boolean,
        },
    )


def test_a_dozen_rows_by_hand() -> None:
    """Horizon 2, session 6 not traded, a gap at 9, the last bar at 12."""
    positions = [0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12]
    opens = [100.0, 100, 110, 100, 100, 100, 100, 100, 50, 50, 50, 50]
    closes = [100.0, 105, 120, 103, 102, 100, 100, 100, 50, 50, 55, 51]
    bars = _bars(positions, opens=opens, closes=closes, gaps={9})

    labels = build_labels(
        bars,
        CALENDAR,
        LabelConfig(horizon_sessions=2, threshold_frac=0.02),
        round_trip_cost_frac=0.005,
    )

    beyond, missing, gap = UNLABELLED_REASONS[:3]
    expected = [
        # session t: exit close of t+2 over entry open of t+1; success above 2.5 percent gross
        (0, 120 / 100 - 1, 1, None),
        (1, 103 / 110 - 1, 0, None),
        (2, 102 / 100 - 1, 0, None),
        (3, 100 / 100 - 1, 0, None),
        (4, None, None, missing),  # no exit on session 6
        (5, None, None, missing),  # no entry on session 6
        (7, None, None, gap),
        (8, None, None, gap),  # the entry itself opens after the unexplained jump
        (9, 55 / 50 - 1, 1, None),  # the jump lies before the entry
        (10, 51 / 50 - 1, 0, None),
        (11, None, None, beyond),
        (12, None, None, beyond),
    ]
    assert tuple(labels.columns) == LABEL_COLUMNS
    for row, (position, forward_return, label, reason) in zip(
        labels.iter_rows(named=True), expected, strict=True
    ):
        assert row["session"] == SESSIONS[position]
        assert row["label_end"] == SESSIONS[position + 2]
        assert row["label_end_number"] == FIRST_NUMBER + position + 2
        assert row["forward_return"] == forward_return
        assert row["label"] == label
        assert row["unlabelled_reason"] == reason


def test_columns_have_the_types_of_the_contract() -> None:
    """Numbers are Int32, the label Int8, the return Float64."""
    labels = build_labels(
        _bars([0], opens=[1], closes=[1]), CALENDAR, LabelConfig(), round_trip_cost_frac=0
    )

    assert labels.dtypes == [
        pl.String, pl.Date, pl.Int32, pl.Date, pl.Int32, pl.Float64, pl.Int8, pl.String,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("cost", "threshold", "expected"),
    [(0.0, 0.125, 0), (0.0, 0.1249, 1), (0.0625, 0.0625, 0), (0.0624, 0.0625, 1), (0.2, -0.1, 1)],
)
def test_success_exceeds_threshold_after_costs(
    cost: float, threshold: float, expected: int
) -> None:
    """A gross return of an eighth is a success only if, less costs, it is above the threshold."""
    bars = _bars([0, 1], opens=[8, 8], closes=[8, 9])
    config = LabelConfig(horizon_sessions=1, threshold_frac=threshold)

    labels = build_labels(bars, CALENDAR, config, round_trip_cost_frac=cost)

    assert labels["label"].to_list() == [expected, None]
    assert labels["forward_return"][0] == 0.125


def test_a_calendar_that_ends_leaves_the_end_unknown() -> None:
    """Past the calendar's last session the number of the end is known, its date is not."""
    last = N_SESSIONS - 1
    labels = build_labels(
        _bars([last], opens=[1], closes=[1]),
        CALENDAR,
        LabelConfig(horizon_sessions=3),
        round_trip_cost_frac=0,
    )

    assert labels["label_end"].to_list() == [None]
    assert labels["label_end_number"].to_list() == [FIRST_NUMBER + last + 3]


def test_ends_are_counted_in_the_sessions_of_nse() -> None:
    """Seven sessions after 2024-02-27 includes the special Saturday of 2024-03-02."""
    calendar = nse_calendar()
    days = calendar.sessions(date(2024, 2, 20), date(2024, 3, 28))
    bars = pl.DataFrame(
        {
            "symbol": "AAA",
            "session": days,
            "open": 10.0,
            "close": 10.0,
            "is_unexplained_gap": False,
        }
    ).join(calendar.numbers(), on="session")

    labels = build_labels(bars, calendar.numbers(), LabelConfig(), round_trip_cost_frac=0.003)

    end = labels.filter(pl.col("session") == date(2024, 2, 27))["label_end"].item()
    assert end == calendar.offset(date(2024, 2, 27), 7) == date(2024, 3, 6)


def _brute_force(
    bars: pl.DataFrame, config: LabelConfig, cost: float
) -> list[tuple[float | None, int | None, str | None]]:
    found: list[tuple[float | None, int | None, str | None]] = []
    rows = {(row["symbol"], row["session_number"]): row for row in bars.iter_rows(named=True)}
    for symbol, number in rows:
        span = range(number + 1, number + config.horizon_sessions + 1)
        last = max(other for owner, other in rows if owner == symbol)
        entry, end = rows.get((symbol, span[0])), rows.get((symbol, span[-1]))
        if span[-1] > last:
            found.append((None, None, "beyond_last_bar"))
        elif entry is None or end is None:
            found.append((None, None, "missing_bar"))
        elif any(rows.get((symbol, day), {}).get("is_unexplained_gap", False) for day in span):
            found.append((None, None, "unexplained_gap"))
        else:
            gross = end["close"] / entry["open"] - 1
            found.append((gross, int(gross - cost > config.threshold_frac), None))
    return found


@st.composite
def _symbol_bars(draw: st.DrawFn, symbol: str) -> pl.DataFrame:
    positions = sorted(draw(st.sets(st.integers(0, N_SESSIONS - 1), max_size=N_SESSIONS)))
    prices = st.lists(
        st.sampled_from([9.0, 10.0, 10.1, 10.5, 12.0]),
        min_size=len(positions),
        max_size=len(positions),
    )
    gaps = draw(st.sets(st.integers(0, N_SESSIONS - 1), max_size=3))
    return _bars(positions, opens=draw(prices), closes=draw(prices), gaps=gaps, symbol=symbol)


@given(
    first=_symbol_bars("AAA"),
    second=_symbol_bars("BBB"),
    horizon=st.integers(1, 9),
    threshold=st.sampled_from([-0.05, 0.0, 0.02]),
    cost=st.sampled_from([0.0, 0.004]),
)
def test_labels_are_those_of_a_loop(
    first: pl.DataFrame, second: pl.DataFrame, horizon: int, threshold: float, cost: float
) -> None:
    """Joins and a loop over dictionaries give the same returns, labels and reasons."""
    bars = pl.concat([first, second])
    config = LabelConfig(horizon_sessions=horizon, threshold_frac=threshold)

    labels = build_labels(bars, CALENDAR, config, round_trip_cost_frac=cost)

    assert labels.select("symbol", "session").equals(bars.select("symbol", "session"))
    assert labels.select("forward_return", "label", "unlabelled_reason").rows() == _brute_force(
        bars, config, cost
    )


@pytest.mark.parametrize("cost", [-0.001, 1.0, float("nan")])
def test_an_impossible_cost_is_refused(cost: float) -> None:
    """Costs are a fraction of the position."""
    with pytest.raises(ConfigError, match="cost of a round trip"):
        build_labels(
            _bars([0], opens=[1], closes=[1]), CALENDAR, LabelConfig(), round_trip_cost_frac=cost
        )


@pytest.mark.parametrize(
    "change",
    [pl.col("session_number") + 1, pl.lit(None, pl.Int32), pl.lit(7, pl.Int32)],
    ids=["shifted", "missing", "foreign"],
)
def test_numbers_of_another_calendar_are_refused(change: pl.Expr) -> None:
    """A session has the number that the calendar gives it, or no label is built."""
    bars = _bars([3], opens=[1], closes=[1]).with_columns(session_number=change)

    with pytest.raises(InvalidBarsError):
        build_labels(bars, CALENDAR, LabelConfig(), round_trip_cost_frac=0)


def test_a_bar_outside_the_calendar_is_refused() -> None:
    """A session that the calendar does not have is no session."""
    bars = _bars([3], opens=[1], closes=[1]).with_columns(session=pl.date(2024, 1, 2))

    with pytest.raises(InvalidBarsError, match="not those of the calendar"):
        build_labels(bars, CALENDAR, LabelConfig(), round_trip_cost_frac=0)


@pytest.mark.parametrize(
    "setting",
    [{"horizon_sessions": 0}, {"horizon_sessions": 61}, {"threshold_frac": 0.6}, {"kind": "other"}],
)
def test_settings_outside_their_bounds_are_refused(setting: dict[str, object]) -> None:
    """Horizon, threshold and kind have bounds."""
    with pytest.raises(ValidationError):
        LabelConfig.model_validate(setting)
