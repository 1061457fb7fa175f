"""Facts about the security master."""

import csv
import io
import zipfile
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import requests

from sensequant.breeze_simulator import BreezeSimulator, Fault, SettableClock, SimulatedFeed
from sensequant.breeze_simulator.master import NSE_COLUMNS
from sensequant.market.security_master import SecurityMaster, parse_master

IST = timezone(timedelta(hours=5, minutes=30))


def downloaded(simulator: BreezeSimulator) -> bytes:
    reply = requests.get(simulator.endpoints.master, timeout=5)
    assert reply.headers["content-type"] == "application/zip"
    return reply.content


def raw_rows(content: bytes) -> list[dict[str, str]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        text = archive.read("NSEScripMaster.txt").decode()
    return list(csv.DictReader(io.StringIO(text), skipinitialspace=True))


def parsed(simulator: BreezeSimulator) -> SecurityMaster:
    return parse_master(downloaded(simulator))


def test_the_file_is_laid_out_like_the_real_one(simulator: BreezeSimulator) -> None:
    """61 columns, a header with a blank after each comma, rows without, everything quoted."""
    content = downloaded(simulator)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        header, row, *_ = archive.read("NSEScripMaster.txt").decode().splitlines()

    assert len(NSE_COLUMNS) == 61
    assert header.startswith('"Token", "ShortName", "Series", "CompanyName", "ticksize"')
    assert header.endswith('"MarginPercentage", "ExchangeCode"')
    assert '", "' not in row
    assert "BSEScripMaster.txt" in names
    assert len(raw_rows(content)[0]) == 61


def test_the_products_reader_finds_every_stock(simulator: BreezeSimulator) -> None:
    """Symbol, code, token and ISIN are those of the directory; traps and bonds are left out."""
    master = parsed(simulator)
    expected = [(one.symbol, one.code, one.isin, one.token) for one in simulator.directory.stocks]

    found = master.securities.select("symbol", "stock_code", "isin", "token").rows()

    assert found == expected
    assert master.collisions.is_empty()
    reasons = master.dropped["reason"].to_list()
    assert sorted(reasons) == ["dead_token", "deleted", "other_series"]
    assert master.indices["stock_code"].to_list() == ["INDVIX", "NIFTY"]
    assert master.n_unreadable_dates == 0


def test_a_stock_is_listed_from_its_first_bar(
    simulator: BreezeSimulator, feed: SimulatedFeed, clock: SettableClock
) -> None:
    """Its date of listing says so; before that date it is not in the list."""
    first = feed.truth("SIM04", "1day")["session"][0]

    listed = dict(parsed(simulator).securities.select("symbol", "listed_on").iter_rows())
    assert listed["SIM04"] == first
    clock.set(datetime(2020, 1, 15, 12, tzinfo=IST))
    assert "SIM04" not in parsed(simulator).securities["symbol"].to_list()


def test_prices_of_the_year_are_those_seen_so_far(
    simulator: BreezeSimulator, feed: SimulatedFeed
) -> None:
    """The highest of 365 days up to today; today's bar counts as the whole of it."""
    today = datetime(2024, 1, 16, tzinfo=IST).date()
    year = feed.truth("SIM03", "1day", today - timedelta(days=364), today)
    row = next(one for one in raw_rows(downloaded(simulator)) if one["ExchangeCode"] == "SIM03")

    assert float(row["52WeeksHigh"]) == year["high"].max()
    assert float(row["52WeeksLow"]) == year["low"].min()


def test_the_sdks_own_look_up_falls_for_the_traps(simulator: BreezeSimulator, vendor: Any) -> None:
    """get_names mixes the share with its bond, and with the company whose code is its symbol."""
    sdk = vendor.sdk
    sdk._module.zip = zipfile.ZipFile(io.BytesIO(downloaded(simulator)))

    def names(symbol: str) -> Any:
        return sdk._breeze.get_names(exchange_code="NSE", stock_code=symbol)

    assert names("SIM04")["isec_stock_code"] == "SIM01"
    trapped = names("SIM01")
    assert len(trapped["isec_token"].split()) > 1
    assert " " in trapped["exchange_stock_code"]
    assert names("NOSUCH")["Error"] == "Result Not Found"


def test_a_renamed_stock_keeps_its_isin(simulator: BreezeSimulator) -> None:
    """The list has the new name and code only."""
    before = parsed(simulator).securities
    isin = before.filter(before["symbol"] == "SIM03")["isin"][0]

    simulator.faults.add(Fault(name="rename", symbol="SIM03"))

    after = parsed(simulator).securities
    row = after.filter(after["isin"] == isin).row(0, named=True)
    assert row["symbol"] == "SIM03X"
    assert row["stock_code"] not in before["stock_code"].to_list()
    assert "SIM03" not in after["symbol"].to_list()


def test_a_missing_or_broken_download(simulator: BreezeSimulator) -> None:
    """404 is a page; half a zip is no zip; the next download is whole."""
    simulator.faults.add(
        Fault(name="master_404", times=1), Fault(name="master_corrupt", times=1, after=1)
    )

    missing = requests.get(simulator.endpoints.master, timeout=5)
    assert missing.status_code == 404
    assert "text/html" in missing.headers["content-type"]
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(downloaded(simulator)))
    assert parsed(simulator).securities.height == 4
    assert [call.outcome for call in simulator.calls] == ["master_404", "master_corrupt", "ok"]


def test_a_stale_list_is_that_of_days_ago(
    start: Callable[..., BreezeSimulator], feed: SimulatedFeed, clock: SettableClock
) -> None:
    """A stock listed yesterday is missing, and nobody has been renamed yet."""
    first = feed.truth("SIM04", "1day")["session"][0]
    clock.set(datetime.combine(first, datetime.min.time(), IST) + timedelta(days=1, hours=12))
    simulator = start(faults=[Fault(name="rename", symbol="SIM03")])

    assert parsed(simulator).securities["symbol"].to_list() == ["SIM01", "SIM02", "SIM03X", "SIM04"]
    simulator.faults.add(Fault(name="master_stale", days=3))
    assert parsed(simulator).securities["symbol"].to_list() == ["SIM01", "SIM02", "SIM03"]


def test_two_rows_for_one_symbol_are_a_collision(simulator: BreezeSimulator) -> None:
    """The reader refuses both, whichever symbol it is."""
    simulator.faults.add(Fault(name="master_collision"))
    assert set(parsed(simulator).collisions["symbol"]) == {"SIM01"}
    simulator.faults.clear()
    simulator.faults.add(Fault(name="master_collision", symbol="SIM03"))
    assert set(parsed(simulator).collisions["symbol"]) == {"SIM03"}


def test_a_list_without_dates(simulator: BreezeSimulator) -> None:
    """Real lists of 2024 to 2026 have none."""
    simulator.faults.add(Fault(name="master_without_dates"))

    assert parsed(simulator).securities["listed_on"].is_null().all()
