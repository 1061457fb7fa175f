"""Tests of the source: chunks, pages, symbols."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from sensequant.errors import ConfigError, TruncatedReplyError, UnknownSymbolError
from sensequant.market.adjustments import ACTION_SCHEMA
from sensequant.market.bars import DAILY, validate_bars
from sensequant.market.intervals import INTERVALS, Interval, grid
from sensequant.market.sessions import IST, nse_calendar
from sensequant.market.sources.base import BarSource, Chunk
from sensequant.market.sources.breeze.client import BreezeClient
from sensequant.market.sources.breeze.config import BreezeConfig
from sensequant.market.sources.breeze.source import BreezeSource

NOW = datetime(2024, 3, 4, 20, 0, tzinfo=UTC)
CODES = {"RELIANCE": "RELIND", "TCS": "TCS", "NIFTY50": "NIFTY", "INDIAVIX": "INDVIX"}


class Codes:
    """A map of four names."""

    def stock_code(self, symbol: str) -> str:
        """Return the code."""
        if symbol not in CODES:
            raise UnknownSymbolError("no code", found=symbol)
        return CODES[symbol]

    def token(self, symbol: str) -> str:
        """Return the number under which nobody asks here."""
        return self.stock_code(symbol)

    def symbols(self) -> tuple[str, ...]:
        """Return the shares."""
        return ("RELIANCE", "TCS")

    def indices(self) -> tuple[str, ...]:
        """Return the indices, in another order than the source."""
        return ("INDIAVIX", "NIFTY50")


@pytest.fixture
def source(make_client: Callable[..., BreezeClient]) -> BreezeSource:
    return _source(make_client)


def _source(make_client: Callable[..., BreezeClient], **changes: Any) -> BreezeSource:
    fields: dict[str, Any] = {"config": BreezeConfig(), "clock": lambda: NOW}
    return BreezeSource(make_client(), Codes(), **(fields | changes))


def _rows(stamps: list[str], code: str = "RELIND") -> list[dict[str, Any]]:
    return [
        {
            "close": 101.0 + number / 1000,
            "datetime": stamp,
            "exchange_code": "NSE",
            "high": 150.0,
            "low": 99.0,
            "open": 100.0,
            "stock_code": code,
            "volume": number,
        }
        for number, stamp in enumerate(stamps)
    ]


def _stamps(interval: Interval, n: int, *, last: date = date(2024, 3, 1)) -> list[str]:
    calendar = nse_calendar()
    if interval == DAILY:
        sessions = calendar.sessions(date(2015, 1, 1), last)[-n:]
        return [f"{day} 00:00:00" for day in sessions]
    starts = grid(calendar, interval).filter(pl.col("session") <= last)["starts_at"][-n:]
    return [_on_the_wire(start) for start in starts.to_list()]


def _on_the_wire(instant: datetime) -> str:
    return f"{instant.astimezone(IST):%Y-%m-%d %H:%M:%S}"


def _asked(service: Any) -> list[tuple[str, str]]:
    return [
        (seen.fields["from_date"], seen.fields["to_date"])
        for seen in service.seen
        if seen.kind in ("v1", "v2")
    ]


def test_chunk_is_asked_for_from_midnight_to_midnight(service: Any, source: BreezeSource) -> None:
    """One request over whole days, because one from 07:00 on lacks the first daily bar."""
    service.rows = _rows(_stamps(DAILY, 30))
    fetched = source.fetch(Chunk("RELIANCE", DAILY, date(2024, 2, 26), date(2024, 3, 1)))

    assert _asked(service) == [("2024-02-26T00:00:00.000Z", "2024-03-01T23:59:59.000Z")]
    assert fetched.bars.height == 5
    assert (fetched.n_calls, fetched.findings) == (1, ())
    assert service.seen[-1].fields["stock_code"] == "RELIND"


def test_missing_bounds_are_the_history_and_today(service: Any, source: BreezeSource) -> None:
    """It is 20:00 UTC on 4 March, so it is the 5th in India."""
    source.fetch(Chunk("RELIANCE"))

    assert _asked(service) == [("2018-01-01T00:00:00.000Z", "2024-03-05T23:59:59.000Z")]


def test_start_of_the_history_can_be_set(
    service: Any, make_client: Callable[..., BreezeClient]
) -> None:
    """Another account may reach further back."""
    config = BreezeConfig(history_start=date(2023, 6, 1))
    _source(make_client, config=config).fetch(Chunk("RELIANCE"))

    assert _asked(service)[0][0] == "2023-06-01T00:00:00.000Z"


def test_daily_bars_may_come_from_v1(
    service: Any, make_client: Callable[..., BreezeClient]
) -> None:
    """Stamped at noon; bars within a session still come from v2."""
    service.rows = _rows([stamp.replace("00:00:00", "12:00:00") for stamp in _stamps(DAILY, 5)])
    source = _source(make_client, config=BreezeConfig(daily_version="v1"))
    fetched = source.fetch(Chunk("RELIANCE", DAILY, date(2024, 2, 1), date(2024, 3, 1)))
    source.fetch(Chunk("RELIANCE", "5minute", date(2024, 3, 1), date(2024, 3, 1)))

    assert fetched.bars.height == 5
    assert service.kinds()[2:] == ["v1", "v2"]


def test_no_data_is_empty_and_no_error(source: BreezeSource) -> None:
    """What an empty reply means is not decided here."""
    fetched = source.fetch(Chunk("TCS", "5minute", date(2024, 3, 1), date(2024, 3, 1)))

    assert (fetched.bars.height, fetched.quarantine.height, fetched.n_calls) == (0, 0, 1)
    assert validate_bars(fetched.bars, "5minute") is fetched.bars


def test_full_replies_are_paged_backwards(service: Any, source: BreezeSource) -> None:
    """7,500 bars of one minute come in 8 calls that do not overlap."""
    service.rows = _rows(_stamps("1minute", 7500))
    fetched = source.fetch(Chunk("RELIANCE", "1minute", date(2024, 1, 1), date(2024, 3, 1)))

    assert (fetched.bars.height, fetched.n_calls) == (7500, 8)
    assert fetched.findings == ("truncated_and_paged",)
    asked = _asked(service)
    assert {"2024-01-01T00:00:00.000Z"} == {first for first, _ in asked}
    assert sorted((last for _, last in asked), reverse=True) == [last for _, last in asked]
    assert (
        service.rows[0]["datetime"]
        == f"{fetched.bars['starts_at'][0].astimezone(IST):%Y-%m-%d %H:%M:%S}"
    )
    assert fetched.report.n_duplicates_dropped == 0


@pytest.mark.parametrize(("n_bars", "n_calls"), [(999, 1), (1000, 2), (1001, 2), (2000, 3)])
def test_daily_pages_end_where_nothing_is_older(
    service: Any, source: BreezeSource, n_bars: int, n_calls: int
) -> None:
    """A reply of 1000 bars may hide others, so it is followed by one more request."""
    service.rows = _rows(_stamps(DAILY, n_bars))
    fetched = source.fetch(Chunk("RELIANCE", DAILY, date(2015, 1, 1), date(2024, 3, 1)))

    assert (n_bars, n_calls) == (fetched.bars.height, fetched.n_calls)
    assert fetched.report.n_duplicates_dropped == 0


def test_full_reply_that_begins_at_the_start_is_complete(
    service: Any, source: BreezeSource
) -> None:
    """Nothing can be older than the first session asked for."""
    stamps = _stamps(DAILY, 1000)
    service.rows = _rows(stamps)
    first = date.fromisoformat(stamps[0][:10])
    fetched = source.fetch(Chunk("RELIANCE", DAILY, first, date(2024, 3, 1)))

    assert (fetched.bars.height, fetched.n_calls) == (1000, 1)


@pytest.mark.parametrize("interval", [DAILY, "5minute"])
def test_service_that_repeats_itself_is_not_believed(
    service: Any, source: BreezeSource, interval: Interval
) -> None:
    """The older request brings the same newest bars again."""
    rows = _rows(_stamps(interval, 1000))
    for _ in range(2):
        service.script("v2", {"Success": rows, "Status": 200, "Error": None})

    with pytest.raises(TruncatedReplyError, match="fetch fewer sessions"):
        source.fetch(Chunk("RELIANCE", interval, date(2015, 1, 1), date(2024, 3, 1)))


def test_full_reply_of_another_company_is_not_paged(service: Any, source: BreezeSource) -> None:
    """Its stamps say nothing about the bars asked for."""
    rows = _rows(_stamps(DAILY, 1000), code="TCS")
    service.script("v2", {"Success": rows, "Status": 200, "Error": None})

    with pytest.raises(TruncatedReplyError):
        source.fetch(Chunk("RELIANCE", DAILY, date(2015, 1, 1), date(2024, 3, 1)))


def test_symbol_without_a_code_is_never_sent(service: Any, source: BreezeSource) -> None:
    """Another company may have that text as its code."""
    with pytest.raises(UnknownSymbolError):
        source.fetch(Chunk("INFY"))

    assert service.seen == []


def test_index_goes_by_its_own_code(service: Any, source: BreezeSource) -> None:
    """NIFTY50 is NIFTY there, and has no volume."""
    service.rows = [row | {"volume": 0} for row in _rows(_stamps(DAILY, 3), code="NIFTY")]
    fetched = source.fetch(Chunk("NIFTY50", DAILY, date(2024, 2, 1), date(2024, 3, 1)))

    assert fetched.bars["symbol"].to_list() == ["NIFTY50"] * 3
    assert service.seen[-1].fields["stock_code"] == "NIFTY"


def test_range_upside_down_is_refused(source: BreezeSource) -> None:
    """Before anything is asked."""
    with pytest.raises(ConfigError, match="upside down"):
        source.fetch(Chunk("RELIANCE", DAILY, date(2024, 3, 2), date(2024, 3, 1)))


def test_source_describes_itself(
    source: BreezeSource, make_client: Callable[..., BreezeClient]
) -> None:
    """Names, intervals, sizes; a simulator is told apart."""
    promised: BarSource = source
    actions = ACTION_SCHEMA.to_frame().clear()
    simulated = _source(make_client, is_simulated=True, known_actions=actions)

    assert (promised.name, promised.is_simulated) == ("breeze", False)
    assert (simulated.name, simulated.is_simulated) == ("breeze_simulator", True)
    assert source.intervals == INTERVALS
    assert (source.symbols(), source.indices()) == (("RELIANCE", "TCS"), ("NIFTY50", "INDIAVIX"))
    assert [source.sessions_per_chunk(interval) for interval in INTERVALS] == [900, 70, 12, 2]
    assert source.actions().schema == ACTION_SCHEMA
    assert simulated.actions() is actions


def test_same_bars_have_the_same_digest(service: Any, source: BreezeSource) -> None:
    """Fetched twice, nothing changed; a revised bar changes it."""
    chunk = Chunk("RELIANCE", DAILY, date(2024, 2, 1), date(2024, 3, 1))
    service.rows = _rows(_stamps(DAILY, 10))
    first, second = source.fetch(chunk), source.fetch(chunk)
    service.rows[-1]["volume"] += 1
    third = source.fetch(chunk)

    assert first.source_digest == second.source_digest
    assert first.source_digest != third.source_digest
