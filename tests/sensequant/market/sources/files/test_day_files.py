"""Facts about NSE's bhavcopies: one file per session, in two layouts.

The UDiFF rows are written by hand from the published list of columns.
"""

import gzip
import io
import json
import zipfile
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from sensequant.errors import ConfigError, InvalidBarsError, MissingBarsError
from sensequant.market.bars import validate_bars
from sensequant.market.sources.base import Chunk
from sensequant.market.sources.files.day_files import find_day_files
from sensequant.market.sources.files.source import FilesSource

FULL_HEADER = (
    "SYMBOL, SERIES, DATE1, PREV_CLOSE, OPEN_PRICE, HIGH_PRICE, LOW_PRICE, LAST_PRICE, CLOSE_PRICE,"
    " AVG_PRICE, TTL_TRD_QNTY, TURNOVER_LACS, NO_OF_TRADES, DELIV_QTY, DELIV_PER\n"
)
UDIFF_HEADER = (
    "TradDt,BizDt,Sgmt,Src,FinInstrmTp,FinInstrmId,ISIN,TckrSymb,SctySrs,XpryDt,"
    "FininstrmActlXpryDt,StrkPric,OptnTp,FinInstrmNm,OpnPric,HghPric,LwPric,ClsPric,LastPric,"
    "PrvsClsgPric,UndrlygPric,SttlmPric,OpnIntrst,ChngInOpnIntrst,TtlTradgVol,TtlTrfVal,"
    "TtlNbOfTxsExctd,SsnId,NewBrdLotQty,Rmks,Rsvd1,Rsvd2,Rsvd3,Rsvd4\n"
)


def full(symbol: str, day: str, close: str = "102.5", series: str = "EQ") -> str:
    return (
        f"{symbol}, {series}, {day}, 100.00, 101.00, 103.00, 100.50, 102.00, {close}, 101.90,"
        " 1000, 1.02, 9, 400, 40.00\n"
    )


def udiff(symbol: str, day: str, close: str = "102.50", series: str = "EQ") -> str:
    return (
        f"{day},{day},CM,NSE,STK,1,INE000A01001,{symbol},{series},,,,,{symbol} LTD,101.00,103.00,"
        f"100.50,{close},102.00,100.00,,{close},,,1000,101900.00,9,F1,1,,,,,\n"
    )


def zipped(name: str, content: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sec_bhavdata_full_05072024.csv").write_text(
        FULL_HEADER
        + full("TCS", "05-Jul-2024", "101.5")
        + full("M&M", "05-Jul-2024", series="BE")
        + full("718GS2033", "05-Jul-2024", series="GS")
    )
    (tmp_path / "sec_bhavdata_full_08072024.csv.gz").write_bytes(
        gzip.compress((FULL_HEADER + full("TCS", "08-Jul-2024")).encode())
    )
    name = "BhavCopy_NSE_CM_0_0_0_{}_F_0000.csv"
    (tmp_path / f"{name.format(20240708)}.zip").write_bytes(
        zipped(
            name.format(20240708),
            UDIFF_HEADER
            + udiff("TCS", "2024-07-08", "102.45")
            + udiff("TCS", "2024-07-08", series="BL")
            + udiff("M&M", "2024-07-08"),
        )
    )
    (tmp_path / name.format(20240709)).write_text(UDIFF_HEADER + udiff("TCS", "2024-07-09"))
    (tmp_path / "README.md").write_text("no bhavcopy")
    return tmp_path


def test_both_layouts_make_one_series(folder: Path) -> None:
    """Plain, gzipped and zipped files; the full bhavcopy holds where both have the session."""
    source = FilesSource(folder)

    fetched = source.fetch(Chunk("TCS"))

    assert (source.intervals, source.symbols()) == (("1day",), ("M&M", "TCS"))
    assert validate_bars(fetched.bars).select(
        "session", "close", "delivered_volume", "average_price", "turnover_inr", "source"
    ).rows() == [
        (date(2024, 7, 5), 101.5, 400, 101.9, 102_000.0, "nse_bhavcopy"),
        (date(2024, 7, 8), 102.5, 400, 101.9, 102_000.0, "nse_bhavcopy"),
        (date(2024, 7, 9), 102.5, None, None, 101_900.0, "nse_udiff"),
    ]
    assert fetched.bars["series"].unique().to_list() == ["EQ"]
    assert fetched.bars["previous_close"].to_list() == [100.0] * 3


def test_a_difference_between_the_two_is_counted(folder: Path) -> None:
    """Closes of 102.50 and 102.45 differ; a turnover rounded to a thousand rupees does not."""
    source = FilesSource(folder)

    fetched = source.fetch(Chunk("TCS"))

    assert fetched.findings == ("bhavcopies_differ:1",)
    assert source.fetch(Chunk("M&M")).findings == ()
    report = fetched.report
    assert (report.n_rows_read, report.n_rows_good, report.n_duplicates_dropped) == (5, 3, 1)
    assert report.n_by_dropped_series == {"BL": 1}


@pytest.mark.parametrize(
    ("written", "n_different"),
    [
        (udiff("TCS", "2024-07-08"), 0),
        (udiff("TCS", "2024-07-08").replace("101900.00", "103100.00"), 1),
        (udiff("TCS", "2024-07-08").replace("101900.00", ""), 0),
        (udiff("TCS", "2024-07-08").replace(",1000,", ",1001,"), 1),
        (udiff("TCS", "2024-07-08").replace(",9,F1", ",,F1"), 1),
    ],
    ids=["equal", "turnover", "no turnover", "volume", "no trades"],
)
def test_what_counts_as_a_difference(folder: Path, written: str, n_different: int) -> None:
    """Prices, volume and trades must be equal, turnover up to the rounding of the full one."""
    (folder / "BhavCopy_NSE_CM_0_0_0_20240708_F_0000.csv.zip").unlink()
    (folder / "BhavCopy_NSE_CM_0_0_0_20240708_F_0000.csv").write_text(UDIFF_HEADER + written)

    findings = FilesSource(folder).fetch(Chunk("TCS")).findings

    assert findings == ((f"bhavcopies_differ:{n_different}",) if n_different else ())


def test_a_symbol_in_one_layout_only(folder: Path) -> None:
    """M&M traded on 5 July in series BE, in the full bhavcopy, and on 8 July in UDiFF alone."""
    bars = FilesSource(folder).fetch(Chunk("M&M")).bars

    assert bars.select("session", "series", "source").rows() == [
        (date(2024, 7, 5), "BE", "nse_bhavcopy"),
        (date(2024, 7, 8), "EQ", "nse_udiff"),
    ]


def test_a_refused_row_leaves_the_session_to_the_other_layout(folder: Path) -> None:
    """A close above the high in the full bhavcopy is kept apart; the UDiFF bar stands instead."""
    (folder / "sec_bhavdata_full_08072024.csv.gz").unlink()
    (folder / "sec_bhavdata_full_08072024.csv").write_text(
        FULL_HEADER + full("TCS", "08-Jul-2024", "300")
    )

    fetched = FilesSource(folder).fetch(Chunk("TCS"))

    assert fetched.bars["source"].to_list() == ["nse_bhavcopy", "nse_udiff", "nse_udiff"]
    assert fetched.quarantine["reason"].to_list() == ["price_outside_range"]
    assert fetched.findings == ()


def test_the_name_of_the_file_is_the_session(folder: Path) -> None:
    """A row of another date is kept apart under the session of the name, and harms no other."""
    (folder / "BhavCopy_NSE_CM_0_0_0_20240710_F_0000.csv").write_text(
        UDIFF_HEADER + udiff("TCS", "2024-07-09") + udiff("TCS", "never")
    )

    fetched = FilesSource(folder).fetch(Chunk("TCS"))

    assert fetched.bars["session"].max() == date(2024, 7, 9)
    assert fetched.quarantine.select("session", "reason").rows() == [
        (date(2024, 7, 10), "bad_date"),
        (date(2024, 7, 10), "bad_date"),
    ]
    raw = json.loads(fetched.quarantine["raw_values"][0])
    assert (raw["file"], raw["traddt"]) == (
        "BhavCopy_NSE_CM_0_0_0_20240710_F_0000.csv",
        "2024-07-09",
    )


def test_a_file_of_a_holiday(folder: Path) -> None:
    """A bhavcopy of a day that was no session is kept apart."""
    (folder / "sec_bhavdata_full_06072024.csv").write_text(FULL_HEADER + full("TCS", "06-Jul-2024"))

    fetched = FilesSource(folder).fetch(Chunk("TCS"))

    assert fetched.quarantine.select("session", "reason").rows() == [
        (date(2024, 7, 6), "not_a_session")
    ]


def test_the_digest_covers_names_and_bytes(folder: Path) -> None:
    """One more file is another delivery of every symbol."""
    before = FilesSource(folder).fetch(Chunk("M&M")).source_digest
    assert before == FilesSource(folder).fetch(Chunk("TCS")).source_digest
    (folder / "sec_bhavdata_full_10072024.csv").write_text(FULL_HEADER + full("TCS", "10-Jul-2024"))

    assert before != FilesSource(folder).fetch(Chunk("M&M")).source_digest


def test_files_are_read_once(folder: Path) -> None:
    """What one symbol has read serves the next one."""
    source = FilesSource(folder)
    source.symbols()
    for path in folder.glob("*_*"):
        path.unlink()

    assert source.fetch(Chunk("M&M")).bars.height == 2


def test_names_that_cannot_be_used(folder: Path) -> None:
    """A name without a date, two files of one session, and two kinds of files in one folder."""
    odd = folder / "sec_bhavdata_full_31022024.csv"
    odd.write_text("")
    with pytest.raises(ConfigError, match=r"bears no date.*31022024"):
        find_day_files(folder)
    odd.rename(folder / "SEC_BHAVDATA_FULL_08072024.csv")
    with pytest.raises(ConfigError, match=r"two files.*08072024.csv and sec_.*08072024.csv.gz"):
        find_day_files(folder)
    (folder / "SEC_BHAVDATA_FULL_08072024.csv").rename(folder / "TCS.csv")
    with pytest.raises(ConfigError, match=r"stand beside files per symbol.*TCS\.csv"):
        FilesSource(folder)
    (folder / "TCS.csv").rename(folder / "NIFTY.csv")
    (folder / "NIFTY.csv").write_text(
        "datetime,open,high,low,close,volume\n"
        "2024-07-08 09:15:00,1,1,1,1,0\n2024-07-08 09:20:00,1,1,1,1,0\n"
    )
    with pytest.raises(ConfigError, match=r"stand beside files per symbol.*NIFTY\.csv"):
        FilesSource(folder)


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (FULL_HEADER, MissingBarsError, "header and no rows"),
        (UDIFF_HEADER + udiff("TCS", "2024-07-11"), InvalidBarsError, "none of the known layouts"),
        (
            FULL_HEADER + full("TCS", "11-Jul-2024") + full(" ", "11-Jul-2024"),
            InvalidBarsError,
            r"names no symbol.*11072024\.csv, row 2",
        ),
        (FULL_HEADER + full("TCS", "11-Jul-2024")[:40], InvalidBarsError, "cut off"),
    ],
    ids=["empty", "layout", "symbol", "cut"],
)
def test_a_file_that_cannot_be_used(
    folder: Path, content: str, error: type[Exception], words: str
) -> None:
    """The file is named; nothing is guessed about the session that it should hold."""
    (folder / "sec_bhavdata_full_11072024.csv").write_text(content)
    source = FilesSource(folder)

    with pytest.raises(error, match=words):
        source.fetch(Chunk("TCS"))


@pytest.mark.real_data
def test_real_rows_by_session_are_those_by_symbol(real_data: Path, tmp_path: Path) -> None:
    """The same rows as NSE published them, one file per session, make the same bars."""
    place = real_data / "daily_bhavcopy_2019_2026"
    symbols = ("ADANIPOWER", "BAJAJ-AUTO", "GOLDBEES", "M&M")
    rows = pl.concat(
        pl.read_csv(place / f"{symbol}.csv.gz", infer_schema=False).rename(str.strip)
        for symbol in symbols
    ).with_columns(day=pl.col("DATE1").str.strip_chars().str.to_date("%d-%b-%Y"))
    for (day,), part in rows.partition_by("day", as_dict=True, include_key=False).items():
        assert isinstance(day, date)
        part.write_csv(tmp_path / f"sec_bhavdata_full_{day:%d%m%Y}.csv")
    by_session, by_symbol = FilesSource(tmp_path), FilesSource(place)

    assert by_session.symbols() == symbols
    for symbol in symbols:
        expected, found = by_symbol.fetch(Chunk(symbol)), by_session.fetch(Chunk(symbol))
        assert expected.bars.equals(found.bars)
        assert expected.report == found.report
