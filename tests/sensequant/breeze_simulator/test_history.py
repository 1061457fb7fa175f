"""Facts about history replies, as the real SDK receives them."""

from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from typing import Any

import polars as pl
import pytest

from sensequant.breeze_simulator import (
    BreezeSimulator,
    Limits,
    SettableClock,
    SimulatedFeed,
)
from sensequant.market.intervals import Interval

IST = timezone(timedelta(hours=5, minutes=30))
WEEK = (date(2024, 1, 8), date(2024, 1, 12))
YEARS = (date(2018, 1, 1), date(2024, 1, 12))
V2_FIELDS = {
    "close",
    "datetime",
    "exchange_code",
    "high",
    "low",
    "open",
    "stock_code",
    "volume",
}
V1_FIELDS = V2_FIELDS | {
    "product_type",
    "expiry_date",
    "right",
    "strike_price",
    "open_interest",
    "count",
}


def truth_rows(feed: SimulatedFeed, interval: Interval, days: tuple[date, date]) -> list[Any]:
    """Return time in India and values of the true bars."""
    bars = feed.truth("SIM03", interval, *days)
    if interval == "1day":
        at = pl.col("session").dt.to_string("%Y-%m-%d 00:00:00")
    else:
        local = pl.col("starts_at").dt.convert_time_zone("Asia/Kolkata")
        at = local.dt.to_string("%Y-%m-%d %H:%M:%S")
    return bars.select(at, "open", "high", "low", "close", "volume").rows()


def values(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    names = ("datetime", "open", "high", "low", "close", "volume")
    return [tuple(row[name] for name in names) for row in rows]


@pytest.mark.parametrize("interval", ["1day", "30minute", "5minute"])
def test_v2_delivers_the_truth(vendor: Any, feed: SimulatedFeed, interval: Interval) -> None:
    """Numbers are numbers, sessions are labelled by midnight, bars by their start in India."""
    rows = vendor.rows("SIM03", interval, days=WEEK)

    assert values(rows) == truth_rows(feed, interval, WEEK)
    assert all(set(row) == V2_FIELDS for row in rows)
    assert {row["stock_code"] for row in rows} == {vendor.code("SIM03")}
    assert {row["exchange_code"] for row in rows} == {"NSE"}
    assert isinstance(rows[0]["open"], float)
    assert isinstance(rows[0]["volume"], int)


def test_v1_delivers_texts_and_labels_sessions_by_noon(vendor: Any, feed: SimulatedFeed) -> None:
    """Fields as in the SDK's README; trailing zeros of prices are left out."""
    rows = vendor.rows("SIM03", days=WEEK, version="v1")
    expected = truth_rows(feed, "1day", WEEK)

    assert [row["datetime"] for row in rows] == [
        one[0].replace("00:00:00", "12:00:00") for one in expected
    ]
    assert [float(row["close"]) for row in rows] == [one[4] for one in expected]
    assert [row["volume"] for row in rows] == [str(one[5]) for one in expected]
    assert all(set(row) == V1_FIELDS for row in rows)
    assert not any(row["close"].endswith("0") and "." in row["close"] for row in rows)


def test_v1_minutes_are_counted_and_leave_out_the_first(vendor: Any) -> None:
    """From 9:20 to 9:22 there are two rows, the 7th and the 8th of the session, of less volume."""

    def asked(version: Any) -> list[dict[str, Any]]:
        outcome = vendor.sdk.history(
            vendor.code("SIM03"),
            interval="1minute",
            from_date="2024-01-12T09:20:00.000Z",
            to_date="2024-01-12T09:22:00.000Z",
            version=version,
        )
        return outcome.value["Success"]

    v1, v2 = asked("v1"), asked("v2")

    assert [row["datetime"][-8:] for row in v2] == ["09:20:00", "09:21:00", "09:22:00"]
    assert [(row["datetime"][-8:], row["count"]) for row in v1] == [
        ("09:21:00", 7),
        ("09:22:00", 8),
    ]
    assert int(v1[0]["volume"]) < v2[1]["volume"] / 20


def test_v1_counts_from_the_open_of_a_short_session(vendor: Any) -> None:
    """The Muhurat session of 2023 began at 18:15."""
    muhurat = date(2023, 11, 12)

    rows = vendor.rows("SIM03", "5minute", days=(muhurat, muhurat), version="v1")

    assert (rows[0]["datetime"][-8:], rows[0]["count"]) == ("18:15:00", 1)
    assert (rows[-1]["datetime"][-8:], rows[-1]["count"]) == ("19:10:00", 12)


def test_a_start_at_seven_loses_the_daily_bar(vendor: Any) -> None:
    """The bar of a session stands at midnight, before seven."""
    outcome = vendor.sdk.history(
        vendor.code("SIM03"),
        interval="1day",
        from_date="2024-01-08T07:00:00.000Z",
        to_date="2024-01-12T07:00:00.000Z",
        version="v2",
    )

    days = [row["datetime"][:10] for row in outcome.value["Success"]]
    assert days == ["2024-01-09", "2024-01-10", "2024-01-11", "2024-01-12"]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_newest_thousand_rows_are_kept(vendor: Any, feed: SimulatedFeed, version: Any) -> None:
    """Older ones are dropped without a word."""
    rows = vendor.rows("SIM03", days=YEARS, version=version)
    expected = truth_rows(feed, "1day", YEARS)

    assert len(expected) > 1400
    assert [row["datetime"][:10] for row in rows] == [one[0][:10] for one in expected[-1000:]]


def test_the_limit_of_rows_can_be_set(
    start: Callable[..., BreezeSimulator], connect: Callable[..., Any]
) -> None:
    """A smaller one cuts sooner."""
    vendor = connect(start(limits=Limits(bars_per_reply=2)))

    rows = vendor.rows("SIM03", days=WEEK)

    assert [row["datetime"][:10] for row in rows] == ["2024-01-11", "2024-01-12"]


def test_an_unknown_code_is_empty_in_v2_and_an_error_in_v1(vendor: Any) -> None:
    """Neither tells a wrong code from anything else."""
    assert vendor.ask_code("NOSUCH", days=WEEK).value == {
        "Success": [],
        "Status": 200,
        "Error": None,
    }
    assert vendor.ask_code("NOSUCH", days=WEEK, version="v1").value == {
        "Success": None,
        "Status": 500,
        "Error": "Historical Data Fail",
    }


def test_a_symbol_in_place_of_a_code_fetches_another_company(
    vendor: Any, feed: SimulatedFeed
) -> None:
    """The trap: the last stock's code is the first stock's symbol."""
    days = (date(2023, 1, 2), date(2023, 1, 31))

    rows = vendor.ask_code("SIM01", days=days).value["Success"]

    assert [row["close"] for row in rows] == feed.truth("SIM04", "1day", *days)["close"].to_list()
    assert {row["stock_code"] for row in rows} == {"SIM01"}


def test_an_index_has_bars_without_volume(vendor: Any, feed: SimulatedFeed) -> None:
    """NIFTY and India VIX are codes like any other; neither has minutes."""
    for code, symbol in (("NIFTY", "NIFTY50"), ("INDVIX", "INDIAVIX")):
        rows = vendor.ask_code(code, days=WEEK).value["Success"]
        closes = feed.truth(symbol, "1day", *WEEK)["close"].to_list()

        assert [row["close"] for row in rows] == closes
        assert {row["volume"] for row in rows} == {0}
    assert vendor.ask_code("NIFTY", "5minute", days=WEEK).value["Success"] == []


def test_holidays_weekends_and_the_future_are_empty(vendor: Any) -> None:
    """There is no row, and no reason is given."""
    for day in (date(2024, 1, 13), date(2023, 8, 15), date(2024, 1, 17), date(2030, 1, 2)):
        assert vendor.rows("SIM03", days=(day, day)) == []
        assert vendor.rows("SIM03", "5minute", days=(day, day)) == []


def test_today_grows_with_the_clock(vendor: Any, clock: SettableClock, feed: SimulatedFeed) -> None:
    """A bar is unfinished while the session runs, and as it will be after the close."""
    today = (date(2024, 1, 16), date(2024, 1, 16))

    morning = vendor.rows("SIM03", days=today)[0]
    running = vendor.rows("SIM03", "5minute", days=today)
    clock.set(datetime(2024, 1, 16, 15, 30, tzinfo=IST))
    evening = vendor.rows("SIM03", days=today)[0]

    assert morning["volume"] < evening["volume"]
    assert (morning["open"], morning["datetime"]) == (evening["open"], evening["datetime"])
    assert values([evening]) == truth_rows(feed, "1day", today)
    assert len(running) == 22
    assert running[-1]["datetime"] == "2024-01-16 11:00:00"
    assert sum(row["volume"] for row in running) == morning["volume"]


def test_an_interval_without_bars_is_empty(vendor: Any, simulator: BreezeSimulator) -> None:
    """Seconds are asked for in vain."""
    assert vendor.ask("SIM03", "1second", days=WEEK).value["Success"] == []
    assert simulator.calls[-1].outcome == "ok"


def test_another_exchange_has_nothing(simulator: BreezeSimulator, vendor: Any) -> None:
    """The market has no BSE; a date that is none is refused."""
    breeze = vendor.sdk._breeze
    code = vendor.code("SIM03")
    days = {"from_date": "2024-01-08T00:00:00.000Z", "to_date": "2024-01-12T00:00:00.000Z"}
    vendor.ask("SIM03", days=WEEK)
    headers = {
        "apikey": simulator.login.api_key.get_secret_value(),
        "X-SessionToken": breeze.api_handler.base64_session_token,
    }

    def asked(**params: str) -> Any:
        requests = pytest.importorskip("requests")
        return requests.get(
            simulator.endpoints.v2 + "historicalcharts", params=params, headers=headers, timeout=5
        ).json()

    given = {"interval": "1day", "stock_code": code, "exch_code": "NSE"} | days
    assert len(asked(**given)["Success"]) == 5
    assert asked(**given | {"exch_code": "BSE"})["Success"] == []
    assert asked(**given | {"to_date": "tomorrow"})["Error"] == "Invalid date"
