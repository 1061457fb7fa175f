"""Facts about telling what lies in a folder of bars."""

from pathlib import Path

import pytest

from sensequant.errors import ConfigError
from sensequant.market.sources.files.catalogue import read_catalogue

HEADER = "datetime,symbol,open,high,low,close,volume\n"


def intraday(minutes: int) -> str:
    rows = (f"2023-04-03 09:{n * minutes:02}:00,X,1,1,1,1,0\n" for n in range(2))
    return HEADER + "".join(rows)


def test_stocks_and_indices_by_interval(tmp_path: Path) -> None:
    """The interval is found in the file, the index by its name, other files are ignored."""
    (tmp_path / "TCS.csv").write_text(intraday(5))
    (tmp_path / "NIFTY.csv").write_text(intraday(5))
    (tmp_path / "BANKNIFTY.csv").write_text(intraday(1))
    (tmp_path / "INFY.csv").write_text(intraday(30))
    (tmp_path / "SBIN.csv").write_text("Date,Symbol\n2024-01-01,SBIN\n")
    (tmp_path / "notes.txt").write_text("x")
    for interval in ("1day", "1minute"):
        (tmp_path / "TCS" / interval).mkdir(parents=True)
        (tmp_path / "TCS" / interval / "2024-01-01.csv").write_text("x")

    found = read_catalogue(tmp_path)

    assert found.intervals == ("1day", "30minute", "5minute", "1minute")
    assert found.symbols == ("INFY", "SBIN", "TCS")
    assert {interval: sorted(places) for interval, places in found.stocks.items()} == {
        "1day": ["SBIN", "TCS"],
        "30minute": ["INFY"],
        "5minute": ["TCS"],
        "1minute": ["TCS"],
    }
    assert found.indices["5minute"] == {"NIFTY50": tmp_path / "NIFTY.csv"}
    assert found.indices["1minute"] == {"BANKNIFTY": tmp_path / "BANKNIFTY.csv"}
    assert not found.is_empty


def test_names_of_charting_sites(tmp_path: Path) -> None:
    """An underscore stands for `&` in one ticker and for `-` in another."""
    for stem in ("M_M", "BAJAJ_AUTO", "L_TFH"):
        (tmp_path / f"{stem}.csv").write_text(intraday(5))

    assert read_catalogue(tmp_path).symbols == ("BAJAJ-AUTO", "L&TFH", "M&M")


def test_an_underscore_in_an_unknown_name(tmp_path: Path) -> None:
    """Nobody guesses which sign it stands for."""
    (tmp_path / "A_B.csv").write_text(intraday(5))

    with pytest.raises(ConfigError, match="A_B"):
        read_catalogue(tmp_path)


def test_two_spellings_of_one_symbol(tmp_path: Path) -> None:
    """They are two files of one symbol."""
    (tmp_path / "M_M.csv").write_text(intraday(5))
    (tmp_path / "M&M.csv").write_text(intraday(5))

    with pytest.raises(ConfigError, match=r"two files.*M&M\.csv and M_M\.csv"):
        read_catalogue(tmp_path)


def test_two_intervals_of_one_symbol(tmp_path: Path) -> None:
    """Files of two intervals are no contradiction."""
    (tmp_path / "TCS.csv").write_text(intraday(5))
    (tmp_path / "TCS" / "1day").mkdir(parents=True)
    (tmp_path / "TCS" / "1day" / "2024-01-01.csv").write_text("x")

    assert read_catalogue(tmp_path).intervals == ("1day", "5minute")


def test_an_empty_folder(tmp_path: Path) -> None:
    """There is nothing in it, and that is told."""
    found = read_catalogue(tmp_path)

    assert found.is_empty
    assert (found.intervals, found.symbols, found.days) == ((), (), ())
