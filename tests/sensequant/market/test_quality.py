"""Facts about rows that are wrong: none is corrected, none is lost."""

import json
import math
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.errors import ConfigError
from sensequant.market.bars import INTRADAY_SCHEMA, Interval, validate_bars
from sensequant.market.intervals import bar_starts
from sensequant.market.quality import (
    QUARANTINE_SCHEMA,
    RAW_COLUMNS,
    QuarantineReason,
    RowFormat,
    Split,
    merge_reports,
    split_quarantine,
)
from sensequant.market.sessions import IST, nse_calendar

SESSIONS = pl.Series([date(2024, 1, day) for day in (1, 2, 3, 4, 5, 8)])


def row(session: str = "2024-01-01", **changes: str | None) -> dict[str, str | None]:
    return {
        "session": session,
        "open": "100",
        "high": "110",
        "low": "90",
        "close": "105",
        "volume": "1000",
    } | changes


def split(
    *rows: dict[str, str | None],
    unit: float = 1.0,
    interval: Interval = "1day",
    form: str = "%Y-%m-%d",
    sessions: pl.Series = SESSIONS,
) -> Split:
    schema = {name: pl.String for name in RAW_COLUMNS if name != "row_number"}
    as_read = pl.DataFrame([dict.fromkeys(schema) | one for one in rows], schema=schema)
    raw = as_read.with_row_index("row_number", offset=1).with_columns(
        pl.col("row_number").cast(pl.Int64)
    )
    return split_quarantine(
        raw.select(RAW_COLUMNS),
        as_read=as_read,
        symbol="TCS",
        row_format=RowFormat("test", form, turnover_unit_inr=unit),
        sessions=sessions,
        interval=interval,
    )


STAMP = "%Y-%m-%d %H:%M:%S"
ALL_SESSIONS = nse_calendar().numbers()["session"]


def intraday(*rows: dict[str, str | None], interval: Interval = "5minute") -> Split:
    return split(*rows, interval=interval, form=STAMP, sessions=ALL_SESSIONS)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"open": "n/a"}, "non_numeric_price"),
        ({"close": "nan"}, "non_numeric_price"),
        ({"high": "inf"}, "non_numeric_price"),
        ({"open": ""}, "missing_price"),
        ({"low": "-"}, "missing_price"),
        ({"close": None}, "missing_price"),
        ({"low": "0"}, "zero_or_negative_price"),
        ({"open": "-5"}, "zero_or_negative_price"),
        ({"high": "80", "low": "90"}, "high_below_low"),
        ({"close": "111"}, "price_outside_range"),
        ({"open": "89.95"}, "price_outside_range"),
        ({"volume": "-1"}, "negative_volume"),
        ({"delivered_volume": "-1"}, "negative_volume"),
        ({"volume": None}, "invalid_number"),
        ({"volume": "many"}, "invalid_number"),
        ({"volume": "10.5"}, "invalid_number"),
        ({"volume": "1e19"}, "invalid_number"),
        ({"n_trades": "x"}, "invalid_number"),
        ({"previous_close": "-3"}, "invalid_number"),
        ({"session": "2024-13-01"}, "bad_date"),
        ({"session": None}, "bad_date"),
        ({"session": "2024-01-02 09:15"}, "bad_date"),
        ({"session": "2024-01-06"}, "not_a_session"),
        ({"session": "2031-01-06"}, "outside_calendar"),
        ({"reader_reason": "fabricated"}, "fabricated"),
        ({"reader_reason": "malformed_row", "open": ""}, "malformed_row"),
        ({"reader_reason": "other_symbol"}, "other_symbol"),
        ({"reader_reason": "outside_request", "volume": "-1"}, "outside_request"),
        ({"previous_close": "inf"}, "invalid_number"),
        ({"volume": "nan"}, "invalid_number"),
        ({"turnover_inr": "x", "volume": "-1"}, "invalid_number"),
    ],
    ids=str,
)
def test_each_defect_has_its_reason(changes: dict[str, str | None], reason: str) -> None:
    """A hard error moves the row, as it was read, into quarantine; the others stay bars."""
    wrong = row(**({"session": "2024-01-02"} | changes))  # pyright: ignore[reportArgumentType]
    good, quarantine, report = split(row(), wrong)

    assert good["session"].to_list() == [date(2024, 1, 1)]
    assert quarantine.schema == QUARANTINE_SCHEMA
    assert quarantine.select("symbol", "row_number", "reason").row(0) == ("TCS", 2, reason)
    kept = json.loads(quarantine["raw_values"][0])
    assert {name: kept[name] for name in wrong} == wrong
    assert report.n_by_reason == {reason: 1}
    assert (report.n_rows_read, report.n_rows_good, report.n_rows_quarantined) == (2, 1, 1)


def test_good_rows_become_valid_bars() -> None:
    """Blanks, commas and dashes are spelling; nothing else about a value is changed."""
    good, quarantine, report = split(
        row("2024-01-08", open=" 1,990.05 ", high="2,000", low="1,900.5", close="1950"),
        row(
            " 2024-01-01",
            series=" BE",
            source_symbol=" TATACONSULT ",
            volume="1,000.0",
            delivered_volume=" - ",
            n_trades="12",
            average_price="101.5",
            previous_close="99",
            turnover_inr="122562.63",
        ),
        unit=1e5,
    )

    assert validate_bars(good) is good
    assert quarantine.is_empty()
    assert report.n_by_reason == {}
    assert good.row(0, named=True) == {
        "symbol": "TCS",
        "session": date(2024, 1, 1),
        "open": 100.0,
        "high": 110.0,
        "low": 90.0,
        "close": 105.0,
        "volume": 1000,
        "previous_close": 99.0,
        "average_price": 101.5,
        "turnover_inr": 12_256_263_000.0,
        "n_trades": 12,
        "delivered_volume": None,
        "series": "BE",
        "source_symbol": "TATACONSULT",
        "source": "test",
        "is_simulated": False,
    }
    assert good["open"][1] == 1990.05
    assert good["source_symbol"][1] == "TCS"


def test_identical_copies_are_dropped_and_counted() -> None:
    """Copies that differ in spelling only are one bar."""
    good, quarantine, report = split(row(), row(open="100.0"), row(), row("2024-01-02"))

    assert good.height == 2
    assert quarantine.is_empty()
    assert report.n_duplicates_dropped == 2


def test_copies_that_differ_all_go() -> None:
    """Nobody knows which of two different rows of one session is right."""
    good, quarantine, report = split(
        row(), row(close="104"), row("2024-01-02"), row("2024-01-03"), row("2024-01-03", open="")
    )

    assert good["session"].to_list() == [date(2024, 1, 2)]
    assert quarantine["row_number"].to_list() == [1, 2, 4, 5]
    assert report.n_by_reason == {"conflicting_duplicate": 3, "missing_price": 1}


def test_other_series_are_dropped_with_a_count() -> None:
    """EQ and trade-to-trade BE are kept, block deals and others are counted by name."""
    good, _, report = split(
        row(series="EQ"), row("2024-01-02", series="BE"), row(series="BL"), row(series=" IL")
    )

    assert good["series"].to_list() == ["EQ", "BE"]
    assert report.n_by_dropped_series == {"BL": 1, "IL": 1}


def test_reports_add_up() -> None:
    """The report of several files is the sum of theirs."""
    reports = [
        split(row(), row(), row("x"), row(series="BL")).report,
        split(row("2024-01-02"), row("x"), row("2024-01-03", open="")).report,
    ]

    total = merge_reports(reports, symbol="TCS")

    assert total.model_dump() == {
        "schema_version": 1,
        "symbol": "TCS",
        "n_rows_read": 7,
        "n_rows_good": 2,
        "n_rows_quarantined": 3,
        "n_duplicates_dropped": 1,
        "n_by_reason": {"bad_date": 2, "missing_price": 1},
        "n_by_dropped_series": {"BL": 1},
    }


def test_a_row_of_another_company_contests_nothing() -> None:
    """It goes to quarantine and leaves the bar of its session in place."""
    good, quarantine, _ = split(row(), row(close="104", reader_reason="other_symbol"))

    assert good["close"].to_list() == [105.0]
    assert quarantine["reason"].to_list() == ["other_symbol"]


@pytest.mark.parametrize(
    ("stamp", "session"),
    [
        ("2024-01-02 00:00:00", date(2024, 1, 2)),
        ("2024-01-02 12:00:00", date(2024, 1, 2)),
        ("2024-01-01 18:30:00", None),
        ("2024-01-02 09:15:00", None),
        ("2024-01-02", None),
    ],
)
def test_a_daily_stamp_is_midnight_or_noon(stamp: str, session: date | None) -> None:
    """Other hours may come from a converted zone, in which the date is another one."""
    good, quarantine, _ = split(row(stamp), form=STAMP)

    assert good["session"].to_list() == ([session] if session else [])
    assert quarantine["reason"].to_list() == ([] if session else ["bad_date"])
    assert quarantine["starts_at"].null_count() == quarantine.height


def test_an_intraday_stamp_is_the_wall_clock_in_india() -> None:
    """The bar begins at that instant, kept in UTC; its session is the date in India."""
    good, quarantine, report = intraday(
        row("2024-01-02 15:25:00"), row("2024-01-02 09:15:00"), row("2023-11-12 18:15:00")
    )

    assert validate_bars(good, "5minute") is good
    assert quarantine.is_empty()
    assert report.n_rows_good == 3
    assert good.select("session", "starts_at").rows() == [
        (date(2023, 11, 12), datetime(2023, 11, 12, 12, 45, tzinfo=UTC)),
        (date(2024, 1, 2), datetime(2024, 1, 2, 3, 45, tzinfo=UTC)),
        (date(2024, 1, 2), datetime(2024, 1, 2, 9, 55, tzinfo=UTC)),
    ]


@pytest.mark.parametrize(
    ("stamp", "interval", "reason"),
    [
        ("2024-01-02 09:10:00", "5minute", "outside_hours"),
        ("2024-01-02 15:30:00", "1minute", "outside_hours"),
        ("2024-01-02 18:15:00", "5minute", "outside_hours"),
        ("2023-11-12 09:15:00", "5minute", "outside_hours"),
        ("2024-01-02 09:16:00", "5minute", "off_grid"),
        ("2024-01-02 09:15:01", "1minute", "off_grid"),
        ("2024-01-02 09:30:00", "30minute", "off_grid"),
        ("2024-03-02 09:15:30", "5minute", "off_grid"),
        ("2024-01-06 09:15:00", "5minute", "not_a_session"),
        ("1999-12-31 09:15:00", "5minute", "outside_calendar"),
        ("2024-01-02", "5minute", "bad_date"),
        ("2024-01-02 25:15:00", "5minute", "bad_date"),
    ],
)
def test_a_bar_begins_on_the_grid_of_its_session(
    stamp: str, interval: Interval, reason: str
) -> None:
    """Auction, after-close and odd stamps are refused, with the instant where there is one."""
    good, quarantine, _ = intraday(row("2024-01-02 09:45:00"), row(stamp), interval=interval)

    assert good.height == 1
    assert quarantine.schema == QUARANTINE_SCHEMA
    assert quarantine["reason"].to_list() == [reason]
    assert quarantine["starts_at"].null_count() == (reason == "bad_date")


def test_a_session_without_known_hours_takes_whole_minutes() -> None:
    """Of a drill only the first open and the last close are known, so no grid can be held to it."""
    good, quarantine, _ = intraday(row("2024-03-02 11:31:00"), row("2024-03-02 09:16:00"))

    assert good.height == 2
    assert quarantine.is_empty()


@given(
    session=st.sampled_from(
        [date(2005, 3, 1), date(2010, 5, 3), date(2024, 1, 2), date(2023, 11, 12), date(2025, 2, 1)]
    ),
    minute=st.integers(0, 24 * 60 - 1),
    interval=st.sampled_from(["30minute", "5minute", "1minute"]),
)
def test_the_grid_is_that_of_the_intervals(session: date, minute: int, interval: Interval) -> None:
    """A stamp makes a bar where `bar_starts` lists it, in every era of hours."""
    wall = datetime.combine(session, time(), IST) + timedelta(minutes=minute)
    starts = bar_starts(nse_calendar(), session, interval)
    assert starts is not None

    good, quarantine, _ = intraday(row(wall.strftime(STAMP)), interval=interval)

    assert good["starts_at"].to_list() == [start for start in starts if start == wall]
    assert set(quarantine["reason"]) <= {"off_grid", "outside_hours"}


def test_intraday_copies_are_told_apart_by_their_instant() -> None:
    """A conflict takes its two rows, not the session; equal copies are dropped."""
    good, quarantine, report = intraday(
        row("2024-01-02 09:15:00"),
        row("2024-01-02 09:15:00", close="104"),
        row("2024-01-02 09:20:00"),
        row("2024-01-02 09:20:00", close="105.0"),
        row("2024-01-02 09:25:00"),
    )

    assert good["starts_at"].dt.minute().to_list() == [50, 55]
    assert quarantine["reason"].to_list() == ["conflicting_duplicate"] * 2
    assert report.n_duplicates_dropped == 1


def test_intraday_rows_need_a_time_of_day() -> None:
    """A format of dates alone is a wrong request, not a quarantine of everything."""
    with pytest.raises(ConfigError, match="no time of day"):
        split(row("2024-01-02"), interval="5minute")


def test_no_rows_make_no_bars() -> None:
    """An empty delivery is an empty table with all columns."""
    good, quarantine, report = split(row(series="BL"), interval="5minute", form=STAMP)

    assert good.schema == INTRADAY_SCHEMA
    assert good.is_empty()
    assert quarantine.is_empty()
    assert report.n_by_dropped_series == {"BL": 1}


cells = st.one_of(
    st.none(),
    st.sampled_from(["", "-", "nan", "1e400", "1e30", "abc", "-1", "0", "95", "100", "1,05"]),
)
rows = st.fixed_dictionaries(
    {
        "session": st.sampled_from(["2024-01-01", "2024-01-02", "2024-01-06", "no", "1999-01-01"]),
        **dict.fromkeys(("open", "high", "low", "close", "volume", "turnover_inr"), cells),
        "series": st.sampled_from([None, "EQ", "BL"]),
    }
)


@given(st.lists(rows, min_size=1, max_size=12))
def test_no_row_is_lost_and_every_bar_is_valid(delivered: list[dict[str, Any]]) -> None:
    """Whatever is delivered, each row is a bar, in quarantine, or in a count."""
    good, quarantine, report = split(*delivered)

    validate_bars(good)
    assert set(quarantine["reason"]) <= {reason.value for reason in QuarantineReason}
    assert sum(report.n_by_reason.values()) == quarantine.height
    dropped = report.n_duplicates_dropped + sum(report.n_by_dropped_series.values())
    assert good.height + quarantine.height + dropped == len(delivered)


def number(text: str | None) -> float | None:
    try:
        return float((text or "").strip().replace(",", ""))
    except ValueError:
        return None


WRONG_STAMPS = {
    "no": "bad_date",
    "1999-01-01": "outside_calendar",
    "2024-01-06": "not_a_session",
}


def is_missing(text: str | None) -> bool:
    return (text or "").strip() in ("", "-")


def wrong_price(cell: dict[str, Any]) -> str | None:
    texts = [cell[name] for name in ("open", "high", "low", "close")]
    if any(is_missing(text) for text in texts):
        return "missing_price"
    prices = [price for text in texts if (price := number(text)) is not None]
    if len(prices) < 4 or not all(math.isfinite(price) for price in prices):
        return "non_numeric_price"
    first, high, low, last = prices
    defects = {
        "zero_or_negative_price": min(prices) <= 0,
        "high_below_low": high < low,
        "price_outside_range": max(first, last) > high or min(first, last) < low,
    }
    return next((reason for reason, is_so in defects.items() if is_so), None)


def wrong_number(cell: dict[str, Any]) -> str | None:
    volume, turnover = number(cell["volume"]), number(cell["turnover_inr"])
    is_count = volume is not None and math.isfinite(volume) and volume == int(volume) < 2**53
    is_amount = turnover is not None and math.isfinite(turnover) and turnover >= 0
    if not is_count or not (is_amount or is_missing(cell["turnover_inr"])):
        return "invalid_number"
    return "negative_volume" if volume is not None and volume < 0 else None


@given(rows)
def test_each_row_is_judged_as_by_hand(cell: dict[str, Any]) -> None:
    """Whatever shortcuts the tables take, the reason is that of the plain rules."""
    cell = cell | {"series": None}

    quarantine = split(cell).quarantine

    expected = WRONG_STAMPS.get(cell["session"]) or wrong_price(cell) or wrong_number(cell)
    assert quarantine["reason"].to_list() == ([] if expected is None else [expected])
