"""Every fault of rows, on the wire to the real SDK, against the truth."""

import math
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from sensequant.breeze_simulator import (
    CATALOG,
    BreezeSimulator,
    Fault,
    Limits,
    SettableClock,
    SimulatedFeed,
)
from sensequant.breeze_simulator.fault_catalog import Layer
from sensequant.market.sources.simulated import SimulatedConfig

IST = timezone(timedelta(hours=5, minutes=30))
YEAR = (date(2023, 1, 1), date(2023, 12, 31))
WEEK = (date(2024, 1, 8), date(2024, 1, 12))
TENTH = date(2024, 1, 10)
NINTH = date(2024, 1, 9)
ON_TENTH: dict[str, Any] = {"sessions": (TENTH,)}

Rows = list[dict[str, Any]]


class Spoilt:
    """What the SDK receives with and without a fault."""

    def __init__(self, vendor: Any) -> None:
        self.vendor = vendor

    def rows(self, name: str, *, interval: str = "1day", days: Any = WEEK, **settings: Any) -> Rows:
        """Return the rows while the fault is on."""
        faults = self.vendor.simulator.faults
        faults.clear()
        faults.add(Fault(name=name, **settings))
        found = self.vendor.rows("SIM03", interval, days=days)
        assert self.vendor.simulator.calls[-1].faults == (name,)
        faults.clear()
        return found

    def true(self, *, interval: str = "1day", days: Any = WEEK, symbol: str = "SIM03") -> Rows:
        """Return the rows without a fault."""
        return self.vendor.rows(symbol, interval, days=days)


@pytest.fixture
def spoilt(vendor: Any) -> Spoilt:
    return Spoilt(vendor)


def renewed(simulator: BreezeSimulator) -> BreezeSimulator:
    simulator.renew_session()
    return simulator


def of_day(rows: Rows, day: date) -> Rows:
    return [row for row in rows if row["datetime"].startswith(day.isoformat())]


def others(rows: Rows, day: date) -> Rows:
    return [row for row in rows if not row["datetime"].startswith(day.isoformat())]


def negative(row: dict[str, Any]) -> dict[str, Any]:
    return {"volume": -row["volume"] - 1}


def no_volume(_: dict[str, Any]) -> dict[str, Any]:
    return {"volume": 0}


def no_open(_: dict[str, Any]) -> dict[str, Any]:
    return {"open": 0.0}


def no_low(_: dict[str, Any]) -> dict[str, Any]:
    return {"low": 0.0}


def swapped(row: dict[str, Any]) -> dict[str, Any]:
    return {"open": row["close"], "close": row["open"]}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("negative_volume", negative),
        ("zero_volume", no_volume),
        ("zero_open", no_open),
        ("zero_low", no_low),
        ("swapped_open_close", swapped),
    ],
)
@pytest.mark.parametrize("interval", ["1day", "5minute"])
def test_values_are_wrong_in_the_rows_that_are_hit(
    spoilt: Spoilt, name: str, change: Callable[[Any], dict[str, Any]], interval: str
) -> None:
    """The named session has them, all else is the truth."""
    true = spoilt.true(interval=interval)

    found = spoilt.rows(name, interval=interval, **ON_TENTH)

    assert others(found, TENTH) == others(true, TENTH)
    assert of_day(found, TENTH) == [row | change(row) for row in of_day(true, TENTH)]


def test_rows_can_come_twice(spoilt: Spoilt) -> None:
    """Alike, or with another close and volume."""
    true = spoilt.true()

    alike = spoilt.rows("duplicate_rows", **ON_TENTH)
    differing = spoilt.rows("conflicting_rows", **ON_TENTH)

    assert alike == [*true[:3], true[2], *true[3:]]
    assert differing[:3] + differing[4:] == true
    assert differing[3]["datetime"] == true[2]["datetime"]
    assert differing[3]["volume"] == true[2]["volume"] + 1
    assert differing[3]["close"] != true[2]["close"]
    assert true[2]["low"] <= differing[3]["close"] <= true[2]["high"]


def test_rows_can_be_out_of_order(spoilt: Spoilt) -> None:
    """The same rows, shuffled by a seed."""
    true = spoilt.true(days=YEAR)

    found = spoilt.rows("out_of_order", days=YEAR)

    assert found != true
    assert sorted(found, key=lambda row: row["datetime"]) == true
    assert spoilt.rows("out_of_order", days=YEAR) == found
    assert spoilt.rows("out_of_order", days=YEAR, seed=1) != found


@pytest.mark.parametrize("interval", ["1day", "5minute"])
def test_rows_can_lie_before_the_window(spoilt: Spoilt, interval: str) -> None:
    """Those of the three sessions before it, true ones."""
    true = spoilt.true(interval=interval)
    earlier = spoilt.true(interval=interval, days=(date(2024, 1, 3), date(2024, 1, 5)))

    assert spoilt.rows("out_of_window", interval=interval) == earlier + true


def test_an_empty_answer_has_no_rows_to_spoil(vendor: Any) -> None:
    """A holiday stays empty, and the fault has not acted."""
    vendor.simulator.faults.add(Fault(name="out_of_window"), Fault(name="other_symbol", rate=1.0))

    assert vendor.rows("SIM03", days=(date(2024, 1, 13), date(2024, 1, 14))) == []
    assert vendor.simulator.calls[-1].faults == ()


@pytest.mark.parametrize("interval", ["1day", "5minute"])
@pytest.mark.parametrize("name", ["other_symbol", "other_symbol_hidden"])
def test_another_company_can_stand_in(spoilt: Spoilt, name: str, interval: str) -> None:
    """With its own code, or under the code that was asked for."""
    true, foreign = (spoilt.true(interval=interval, symbol=one) for one in ("SIM03", "SIM04"))
    is_hidden = name == "other_symbol_hidden"
    code = {"stock_code": true[0]["stock_code"]} if is_hidden else {}

    found = spoilt.rows(name, interval=interval, **ON_TENTH)

    assert others(found, TENTH) == others(true, TENTH)
    assert of_day(found, TENTH) == [row | code for row in of_day(foreign, TENTH)]


def test_the_neighbour_of_an_index_is_a_stock(vendor: Any) -> None:
    """An index can be mistaken too."""
    expected = vendor.rows("SIM01", days=WEEK)[2]
    vendor.simulator.faults.add(Fault(name="other_symbol", sessions=(TENTH,)))

    assert vendor.ask_code("NIFTY", days=WEEK).value["Success"][2] == expected


def test_the_first_candle_can_be_missing(spoilt: Spoilt) -> None:
    """One bar of 9:15; a daily bar has no first candle, nor has a part of a session."""
    true = spoilt.true(interval="5minute")
    first = of_day(true, TENTH)[0]

    found = spoilt.rows("missing_first_candle", interval="5minute", **ON_TENTH)

    assert found == [row for row in true if row != first]
    assert first["datetime"] == "2024-01-10 09:15:00"
    vendor = spoilt.vendor
    vendor.simulator.faults.add(Fault(name="missing_first_candle", **ON_TENTH))
    assert len(vendor.rows("SIM03", days=WEEK)) == 5
    assert vendor.simulator.calls[-1].faults == ()


@pytest.mark.parametrize("interval", ["1day", "5minute"])
def test_a_day_can_be_missing(spoilt: Spoilt, interval: str) -> None:
    """All its bars, and nothing else."""
    true = spoilt.true(interval=interval)

    found = spoilt.rows("missing_day", interval=interval, **ON_TENTH)

    assert found == others(true, TENTH)


def test_a_share_of_the_rows_is_hit_and_always_the_same(spoilt: Spoilt) -> None:
    """However the range is cut, the same sessions are missing; another seed hits others."""
    true = spoilt.true(days=YEAR)
    found = spoilt.rows("missing_day", days=YEAR, rate=0.1)
    halves = spoilt.rows("missing_day", days=(YEAR[0], date(2023, 6, 30)), rate=0.1)
    halves += spoilt.rows("missing_day", days=(date(2023, 7, 1), YEAR[1]), rate=0.1)

    assert found == halves
    assert 0.84 * len(true) < len(found) < 0.96 * len(true)
    assert spoilt.rows("missing_day", days=YEAR, rate=0.1, seed=7) != found
    assert 0.9 < len(spoilt.rows("missing_day", days=YEAR)) / len(true) < 0.99


def test_recent_bars_can_be_unfinished_and_are_revised(
    spoilt: Spoilt, clock: SettableClock, connect: Callable[..., Any]
) -> None:
    """Daily bars of today and yesterday, until they are two days old."""
    clock.set(datetime(2024, 1, 12, 18, 0, tzinfo=IST))
    true = spoilt.true()

    found = spoilt.rows("partial_recent")

    assert found[:3] == true[:3]
    for early, late in zip(found[3:], true[3:], strict=True):
        assert early["volume"] == late["volume"] // 2
        assert early["high"] == max(late["open"], late["close"])
        assert early["low"] == min(late["open"], late["close"])
    # Two days later the session has to be a new one, and the bars are the true ones.
    clock.set(datetime(2024, 1, 14, 9, 0, tzinfo=IST))
    vendor = connect(renewed(spoilt.vendor.simulator))
    vendor.simulator.faults.add(Fault(name="partial_recent"))
    assert vendor.rows("SIM03", days=WEEK) == true


def test_recent_sessions_can_lack_their_last_bars(spoilt: Spoilt, clock: SettableClock) -> None:
    """The last fifth is missing, and the bar before it has half its volume."""
    clock.set(datetime(2024, 1, 12, 18, 0, tzinfo=IST))
    true = spoilt.true(interval="5minute")

    found = spoilt.rows("partial_recent", interval="5minute", days=WEEK)

    today, whole = of_day(found, WEEK[1]), of_day(true, WEEK[1])
    assert len(today) == 61
    assert today[:60] == whole[:60]
    assert today[60]["volume"] == whole[60]["volume"] // 2
    assert of_day(found, TENTH) == of_day(true, TENTH)


def test_how_long_bars_stay_unfinished_can_be_set(spoilt: Spoilt, clock: SettableClock) -> None:
    """With one day only today's bar, with four those of four days."""
    clock.set(datetime(2024, 1, 12, 18, 0, tzinfo=IST))
    true = spoilt.true()
    faults = spoilt.vendor.simulator.faults

    for days, n_touched in ((1, 1), (4, 4)):
        faults.clear()
        faults.add(Fault(name="partial_recent", days=days))
        rows = spoilt.vendor.rows("SIM03", days=WEEK)
        assert sum(row != one for row, one in zip(rows, true, strict=True)) == n_touched


def test_daily_bars_can_be_late(spoilt: Spoilt, clock: SettableClock) -> None:
    """Those of three days are missing; minutes of the same days are there."""
    clock.set(datetime(2024, 1, 12, 18, 0, tzinfo=IST))
    true = spoilt.true()
    minutes = spoilt.true(interval="5minute")

    assert spoilt.rows("late_eod", symbol="SIM03") == true[:3]
    faults = spoilt.vendor.simulator.faults
    faults.add(Fault(name="late_eod", days=30))
    assert spoilt.vendor.rows("SIM03", days=WEEK) == []
    assert spoilt.vendor.rows("SIM03", "5minute", days=WEEK) == minutes


def test_a_split_can_be_in_no_list(spoilt: Spoilt) -> None:
    """From the session on prices are a fifth and volumes fivefold, at every interval."""
    for interval in ("1day", "30minute"):
        true = spoilt.true(interval=interval)

        found = spoilt.rows("unadjusted_split", interval=interval, sessions=(TENTH,))

        for row, one in zip(found, true, strict=True):
            ratio = 0.2 if row["datetime"] >= "2024-01-10" else 1.0
            assert row["close"] == pytest.approx(one["close"] * ratio, abs=0.006)
            assert row["volume"] == round(one["volume"] / ratio)


def test_a_split_without_a_date_falls_somewhere_in_the_middle(spoilt: Spoilt) -> None:
    """Its session depends on the seed; before it everything is true."""
    days = (date(2018, 1, 1), date(2024, 1, 12))
    limits = spoilt.vendor.simulator.market.truth("SIM03", "1day", *days)["close"].to_list()[-1000:]

    found = spoilt.rows("unadjusted_split", days=days)

    ratios = [round(row["close"] / one, 1) for row, one in zip(found, limits, strict=True)]
    assert set(ratios) <= {0.2, 1.0}
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[-1] == 0.2


def test_splits_before_2022_can_be_adjusted(
    start: Callable[..., BreezeSimulator], connect: Callable[..., Any]
) -> None:
    """A market with a split in 2019: bars before it are a tenth; a split of 2023 is left alone."""
    for year, ratio in ((2014, 0.1), (2018, 1.0)):
        feed = SimulatedFeed(SimulatedConfig(n_symbols=4, history_start=date(year, 1, 1)))
        simulator = start(market=feed, limits=Limits(bars_per_reply=5000, calls_per_minute=None))
        vendor = connect(simulator)
        ex_date = feed.actions()["ex_date"][0]
        days = (date(year, 1, 1), date(2023, 12, 31))
        true = vendor.rows("SIM02", days=days)
        simulator.faults.add(Fault(name="adjusted_before_2022"))

        found = vendor.rows("SIM02", days=days)

        assert (ex_date.year < 2022) == (ratio < 1.0)
        for row, one in zip(found, true, strict=True):
            expected = ratio if row["datetime"][:10] < ex_date.isoformat() else 1.0
            assert row["close"] == pytest.approx(one["close"] * expected, abs=0.026)
            assert row["volume"] == round(one["volume"] / expected)
        assert vendor.rows("SIM03", days=days) == vendor.rows("SIM03", days=days)


@pytest.mark.parametrize("interval", ["1day", "5minute"])
def test_fields_can_be_missing(spoilt: Spoilt, interval: str) -> None:
    """One of the five numbers, in the rows that are hit."""
    true = spoilt.true(interval=interval)

    found = spoilt.rows("missing_fields", interval=interval, **ON_TENTH)

    assert others(found, TENTH) == others(true, TENTH)
    for row, one in zip(of_day(found, TENTH), of_day(true, TENTH), strict=True):
        (missing,) = set(one) - set(row)
        assert missing in {"open", "high", "low", "close", "volume"}
        assert row == {name: value for name, value in one.items() if name != missing}


def test_fields_can_be_added_and_numbers_be_texts(spoilt: Spoilt) -> None:
    """The values are true."""
    true = spoilt.true()

    assert spoilt.rows("extra_fields") == [row | {"vwap": row["close"]} for row in true]
    texts = spoilt.rows("numbers_as_text")
    assert [(float(row["close"]), int(row["volume"])) for row in texts] == [
        (row["close"], row["volume"]) for row in true
    ]
    assert all(isinstance(value, str) for row in texts for value in row.values())


def test_numbers_can_be_none_of_them(spoilt: Spoilt) -> None:
    """NaN is no JSON, and Python reads it."""
    found = spoilt.rows("nan_numbers", **ON_TENTH)

    assert math.isnan(of_day(found, TENTH)[0]["close"])
    assert others(found, TENTH) == others(spoilt.true(), TENTH)


def test_a_fault_of_the_first_answer_is_gone_in_the_second(spoilt: Spoilt) -> None:
    """One answer to each request is wrong; asking again gives the truth."""
    vendor = spoilt.vendor
    true = {day: spoilt.true(days=(day, day)) for day in (NINTH, TENTH)}
    vendor.simulator.faults.add(Fault(name="zero_open", rate=1.0, times=1, scope="request"))

    for day, rows in true.items():
        assert vendor.rows("SIM03", days=(day, day))[0]["open"] == 0.0
        assert vendor.rows("SIM03", days=(day, day)) == rows


def test_a_fault_can_be_bound_to_a_symbol_and_to_v1(vendor: Any) -> None:
    """Others, and the other version, are true."""
    vendor.simulator.faults.add(
        Fault(name="zero_open", rate=1.0, symbol="SIM03", path="v1/historicalcharts")
    )

    assert {row["open"] for row in vendor.rows("SIM03", days=WEEK, version="v1")} == {"0"}
    assert "0" not in {row["open"] for row in vendor.rows("SIM02", days=WEEK, version="v1")}
    assert 0.0 not in {row["open"] for row in vendor.rows("SIM03", days=WEEK)}


def test_a_renamed_stock_is_unknown_under_its_old_code(vendor: Any) -> None:
    """Its whole history stands under the new one."""
    true = vendor.rows("SIM03", days=WEEK)
    vendor.simulator.faults.add(Fault(name="rename", symbol="SIM03"))
    new = vendor.simulator.directory.of_symbol("SIM03", frozenset({"SIM03"})).code

    assert vendor.rows("SIM03", days=WEEK) == []
    found = vendor.ask_code(new, days=WEEK).value["Success"]
    assert found == [row | {"stock_code": new} for row in true]


def test_no_fault_is_without_a_test() -> None:
    """Every fault of rows is named in this file."""
    text = Path(__file__).read_text()
    rows = [
        name
        for name, kind in CATALOG.items()
        if kind.layer in (Layer.ROWS, Layer.SHAPE, Layer.WORLD)
    ]

    assert [name for name in rows if f'"{name}"' not in text] == []
