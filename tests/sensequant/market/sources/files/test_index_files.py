"""Facts about index bars beside the stocks."""

from datetime import date
from pathlib import Path

import pytest

from sensequant.errors import InvalidBarsError
from sensequant.market.bars import validate_bars
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.files.index_files import find_index_files, read_index

SESSIONS = nse_calendar().numbers()["session"]
NSE = "date,open,high,low,close,volume,value,symbol\r\n"
YAHOO = "Date,Close,High,Low,Open,Volume\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "nifty50_nse_2000_2021.csv").write_text(
        NSE + "2024-01-01,100,110,90,105,25358322.0,884.15,NIFTY 50\r\n"
        "2024-01-02,105,111,104,110,10,1,NIFTY 50\r\n"
    )
    (tmp_path / "nifty50_yahoo_2007_2026.csv").write_text(
        YAHOO + "2024-01-02,1,1,1,1,0\n2024-01-03,112.5,113,109.25,110.5,501000\n"
        "2024-01-06,112,113,109,110,0\n"
    )
    (tmp_path / "nifty50_tri_2015_2025.csv").write_text(
        "timestamp,open,high,low,close,volume,mcap\r\n"
        "2024-01-01 00:00:00+05:30,11052.57,11052.57,11052.57,11052.57,0,0\r\n"
    )
    (tmp_path / "indiavix_nse_2012_2026.csv").write_text(
        "Date ,Open ,High ,Low ,Close ,Prev. Close ,Change ,% Change \n"
        "01-JAN-2024,14.5,15.5,14.0,14.75,14.25,0.5,\n"
    )
    (tmp_path / "nse_sessions_observed_2000_2026.csv").write_text("date,weekday\n2024-01-01,Mon\n")
    return tmp_path


def test_indices_are_found_by_name(folder: Path) -> None:
    """Each index has its files, best first; other lists in the folder are no index."""
    found = find_index_files(folder)

    assert {symbol: [path.name for path in paths] for symbol, paths in found.items()} == {
        "NIFTY50": ["nifty50_nse_2000_2021.csv", "nifty50_yahoo_2007_2026.csv"],
        "NIFTY50TRI": ["nifty50_tri_2015_2025.csv"],
        "INDIAVIX": ["indiavix_nse_2012_2026.csv"],
    }
    assert find_index_files(None) == {}


def test_the_exchange_goes_first_and_another_fills_later_dates(folder: Path) -> None:
    """Where both have a session, the exchange's bar stands; every bar names its source."""
    split, _ = read_index("NIFTY50", find_index_files(folder)["NIFTY50"], sessions=SESSIONS)

    assert validate_bars(split.good).select("session", "close", "volume", "source").rows() == [
        (date(2024, 1, 1), 105.0, 25358322, "nse_index"),
        (date(2024, 1, 2), 110.0, 10, "nse_index"),
        (date(2024, 1, 3), 112.5, 501000, "yahoo_index"),
    ]
    assert split.good["turnover_inr"].to_list() == [8_841_500_000.0, 10_000_000.0, None]
    assert split.good["source_symbol"].to_list() == ["NIFTY 50", "NIFTY 50", "NIFTY50"]
    assert split.quarantine["reason"].to_list() == ["not_a_session"]
    assert (split.report.n_rows_read, split.report.n_rows_quarantined) == (5, 1)


def test_total_return_and_volatility(folder: Path) -> None:
    """The total return index has one value per session, India VIX no volume."""
    found = find_index_files(folder)
    total, _ = read_index("NIFTY50TRI", found["NIFTY50TRI"], sessions=SESSIONS)
    vix, _ = read_index("INDIAVIX", found["INDIAVIX"], sessions=SESSIONS)

    assert total.good.select("session", "open", "low", "volume").rows() == [
        (date(2024, 1, 1), 11052.57, 11052.57, 0)
    ]
    assert vix.good.select("session", "high", "previous_close", "volume").rows() == [
        (date(2024, 1, 1), 15.5, 14.25, 0)
    ]


def test_a_first_file_without_any_good_row_is_passed_over(folder: Path) -> None:
    """A better file that holds only wrong rows leaves the index to the next one."""
    (folder / "nifty50_nse_2000_2021.csv").write_text(NSE + "never,1,1,1,1,1,1,NIFTY 50\n")

    split, _ = read_index("NIFTY50", find_index_files(folder)["NIFTY50"], sessions=SESSIONS)

    assert split.good["source"].to_list() == ["yahoo_index", "yahoo_index"]


def test_the_digest_covers_every_file(folder: Path) -> None:
    """A change of either file changes the digest."""
    paths = find_index_files(folder)["NIFTY50"]
    _, before = read_index("NIFTY50", paths, sessions=SESSIONS)
    with paths[1].open("a") as file:
        file.write("2024-01-04,112,113,109,110,0\n")

    _, after = read_index("NIFTY50", paths, sessions=SESSIONS)

    assert before != after


def test_an_index_file_of_another_layout_is_refused(folder: Path) -> None:
    """A file with the name of an index and another table is told so."""
    (folder / "indiavix_nse_2012_2026.csv").write_text("date,weekday\n2024-01-01,Mon\n")

    with pytest.raises(InvalidBarsError, match="none of the known layouts"):
        read_index("INDIAVIX", find_index_files(folder)["INDIAVIX"], sessions=SESSIONS)
