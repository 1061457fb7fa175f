"""Facts about a folder of files: which layouts, which defects, what is found beside it."""

import gzip
import hashlib
import json
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from sensequant.errors import (
    ConfigError,
    InvalidBarsError,
    MissingBarsError,
    UnknownSymbolError,
)
from sensequant.market.bars import BAR_SCHEMA, validate_bars
from sensequant.market.sources.base import BarSource, Chunk
from sensequant.market.sources.files.source import FilesSource

BHAVCOPY = (
    "SYMBOL, SERIES, DATE1, PREV_CLOSE, OPEN_PRICE, HIGH_PRICE, LOW_PRICE, LAST_PRICE,"
    " CLOSE_PRICE, AVG_PRICE, TTL_TRD_QNTY, TURNOVER_LACS, NO_OF_TRADES, DELIV_QTY, DELIV_PER\n"
    "TATAMOTORS, EQ, 02-Jan-2024,100.0,101.0,103.0,100.5, 102.00,102.5,101.9,1000,1.019,9, 400, 4\n"
    "TATAMOTORS, BE, 01-Jan-2024,99.0, 100.0,101.0,99.0, 100.00,100.0,100.1,900,0.9009,9, -, -\n"
    "TATAMOTORS, BL, 01-Jan-2024,99.0, 100.0,101.0,99.0, 100.00,100.0,100.1,900,0.9009,9, 1, 1\n"
)
SECWISE = (
    "symbol,series,date,prevclose,openprice,highprice,lowprice,lastprice,closeprice,averageprice,"
    "totaltradedquantity,turnoverinrs,no.oftrades,deliverableqty,%dlyqttotradedqty\n"
    'ETERNAL,EQ,02-Jan-2024,"1,000.00","1,001.00","1,003.00","1,000.50",1,"1,002.50","1,001.90",'
    "10173132,20260786998.35,234486,3159950.0,31.06\n"
    'ZOMATO,EQ,01-Jan-2024,999,"1,000.00","1,001.00",999,1,1000,1000.1,900,900090.0,9,,\n'
)
NSEPY = (
    "Date,Symbol,Series,Prev Close,Open,High,Low,Last,Close,VWAP,Volume,Turnover,Trades,"
    "Deliverable Volume,%Deliverble\n"
    "2000-01-03,TISCO,EQ,233.05,237.5,251.7,237.5,251.7,251.7,249.37,4456424,111131914445000.0,,,\n"
    "2000-01-03,TISCO,EQ,233.05,237.5,251.7,237.5,251.7,251.7,249.37,4456424,111131914445000.0,,,\n"
    "2000-01-04,TISCO,EQ,251.7,258.4,271.85,251.3,271.85,300,263.52,9487878,1.0,,,\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "bars"
    place.mkdir()
    (place / "TMPV.csv.gz").write_bytes(gzip.compress(BHAVCOPY.encode()))
    (place / "ETERNAL.csv").write_text(SECWISE)
    (place / "M&M.csv").write_text(NSEPY)
    (place / "README.md").write_text("not a symbol")
    return place


def test_the_names_of_the_files_are_the_symbols(folder: Path) -> None:
    """Symbols are sorted, other files are ignored, and it is a source like any other."""
    source: BarSource = FilesSource(folder)

    assert source.symbols() == ("ETERNAL", "M&M", "TMPV")
    assert (source.intervals, source.indices()) == (("1day",), ())
    assert source.sessions_per_chunk("1day") is None
    assert (source.name, source.is_simulated) == ("files", False)
    assert source.actions().is_empty()


def test_bhavcopy_rows(folder: Path) -> None:
    """Leading blanks, a missing delivery, trade-to-trade and unsorted rows; turnover in lakh."""
    fetched = FilesSource(folder).fetch(Chunk("TMPV"))

    validate_bars(fetched.bars)
    assert fetched.bars["session"].to_list() == [date(2024, 1, 1), date(2024, 1, 2)]
    assert fetched.bars["series"].to_list() == ["BE", "EQ"]
    assert fetched.bars["source_symbol"].to_list() == ["TATAMOTORS"] * 2
    assert fetched.bars["symbol"].to_list() == ["TMPV"] * 2
    assert fetched.bars["turnover_inr"].to_list() == [90_090.0, 101_900.0]
    assert fetched.bars["delivered_volume"].to_list() == [None, 400]
    assert fetched.report.n_by_dropped_series == {"BL": 1}
    content = (folder / "TMPV.csv.gz").read_bytes()
    assert fetched.source_digest == hashlib.sha256(content).hexdigest()


def test_secwise_rows(folder: Path) -> None:
    """Thousands commas, and a change of name inside the file; turnover in rupees."""
    bars = FilesSource(folder).fetch(Chunk("ETERNAL")).bars

    assert bars["close"].to_list() == [1000.0, 1002.5]
    assert bars["source_symbol"].to_list() == ["ZOMATO", "ETERNAL"]
    assert bars["turnover_inr"].to_list() == [900_090.0, 20_260_786_998.35]
    assert bars["delivered_volume"].to_list() == [None, 3_159_950]
    assert bars["source"].unique().to_list() == ["nse_secwise"]


def test_nsepy_rows(folder: Path) -> None:
    """A repeated row counts once, turnover is scaled back, a close above the high is set apart."""
    fetched = FilesSource(folder).fetch(Chunk("M&M"))

    assert fetched.bars["turnover_inr"].to_list() == [1_111_319_144.45]
    assert fetched.bars["n_trades"].to_list() == [None]
    assert fetched.report.n_duplicates_dropped == 1
    assert fetched.quarantine.select("row_number", "reason").rows() == [(3, "price_outside_range")]
    assert json.loads(fetched.quarantine["raw_values"][0])["close"] == "300"


def test_a_chunk_cuts_the_bars_and_not_the_report(folder: Path) -> None:
    """Bars lie within the bounds; quarantine and report tell of the whole file."""
    source = FilesSource(folder)
    day = date(2024, 1, 2)

    assert source.fetch(Chunk("TMPV", start=day)).bars["session"].to_list() == [day]
    cut = source.fetch(Chunk("TMPV", end=date(2024, 1, 1)))
    assert cut.bars["session"].to_list() == [date(2024, 1, 1)]
    assert cut.report.n_rows_read == 3
    later = source.fetch(Chunk("TMPV", start=date(2025, 1, 1)))
    assert later.bars.is_empty()
    assert later.bars.schema == BAR_SCHEMA
    assert later.report == cut.report


def test_the_indices_beside_the_stocks(folder: Path) -> None:
    """They have names of their own, and are no stocks."""
    (folder / "index").mkdir()
    (folder / "index" / "NIFTY50.csv").write_text("Date,Open,High,Low,Close,Volume\n")

    source = FilesSource(folder)

    assert source.indices() == ("NIFTY50",)
    assert source.indices("5minute") == ()
    assert "NIFTY50" not in source.symbols()


def test_requests_that_are_wrong(folder: Path) -> None:
    """An unknown symbol is told its neighbour; a range upside down and an interval are refused."""
    source = FilesSource(folder)

    with pytest.raises(UnknownSymbolError, match="did you mean TMPV"):
        source.fetch(Chunk("TMVP"))
    with pytest.raises(ConfigError, match="upside down"):
        source.fetch(Chunk("TMPV", start=date(2024, 2, 1), end=date(2024, 1, 1)))
    with pytest.raises(ConfigError, match=r"no bars of this interval.*1day.*5minute"):
        source.fetch(Chunk("TMPV", "5minute"))


def test_companions_are_found_inside_beside_and_where_told(folder: Path, tmp_path: Path) -> None:
    """Inside the folder goes before beside it; what is named goes before both."""
    yahoo = "Date,Open,High,Low,Close,Volume\n2024-01-01,{0},{0},{0},{0},0\n"
    for place, level in ((tmp_path / "index", 1), (folder / "index", 2), (tmp_path / "mine", 3)):
        place.mkdir()
        (place / "NIFTY50.csv").write_text(yahoo.format(level))
        opened = FilesSource(folder, index_folder=place if level == 3 else None)
        assert opened.fetch(Chunk("NIFTY50")).bars["close"].to_list() == [float(level)]

    listed = pl.DataFrame(
        {"symbol": ["TMPV"], "subject": ["Bonus 1:1"], "exDate": [date(2024, 1, 2)]}
    )
    for number, place in enumerate((tmp_path, folder, tmp_path / "mine")):
        file = place / "corporate_actions" / "corporate_actions.parquet"
        file.parent.mkdir()
        listed.with_columns(symbol=pl.lit(f"S{number}")).write_parquet(file)
        opened = FilesSource(folder, actions_path=file if number == 2 else None)
        assert opened.actions()["symbol"].to_list() == [f"S{number}"]


def test_folders_that_cannot_be_used(folder: Path, tmp_path: Path) -> None:
    """A missing or empty folder, a doubled symbol, a bad name and a stray index are all told."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="missing"):
        FilesSource(tmp_path / "missing")
    with pytest.raises(ConfigError, match="without any"):
        FilesSource(tmp_path / "empty")
    with pytest.raises(ConfigError, match="a folder of indices"):
        FilesSource(folder, index_folder=tmp_path / "missing")
    with pytest.raises(ConfigError, match="a Parquet file"):
        FilesSource(folder, actions_path=tmp_path / "empty")
    (folder / "TMPV.csv").write_text(BHAVCOPY)
    with pytest.raises(ConfigError, match=r"two files.*TMPV\.csv"):
        FilesSource(folder)
    (folder / "TMPV.csv").rename(folder / "tm pv.csv")
    with pytest.raises(ConfigError, match="tm pv"):
        FilesSource(folder)
    (folder / "tm pv.csv").rename(folder / "NIFTY50.csv")
    with pytest.raises(ConfigError, match="an index stands among"):
        FilesSource(folder)


def test_a_symbol_in_both_shapes_is_refused(folder: Path) -> None:
    """A cache folder and a file of one symbol leave open which one holds."""
    (folder / "TMPV" / "1day").mkdir(parents=True)
    (folder / "TMPV" / "1day" / "2024-01-01.csv").write_text("x")

    with pytest.raises(ConfigError, match="two files"):
        FilesSource(folder)


def test_files_that_cannot_be_used(folder: Path) -> None:
    """A wrong layout raises what a run can skip; of nothing but wrong rows no bar comes back."""
    (folder / "ETERNAL.csv").write_text("time,price\n1,2\n")
    (folder / "M&M.csv").write_text(NSEPY.splitlines()[0] + "\nnever,TISCO,EQ" + ",1" * 12)
    source = FilesSource(folder)

    with pytest.raises(InvalidBarsError, match="none of the known layouts"):
        source.fetch(Chunk("ETERNAL"))
    nothing = source.fetch(Chunk("M&M"))
    assert nothing.bars.is_empty()
    assert nothing.quarantine["reason"].to_list() == ["bad_date"]
    (folder / "M&M.csv").write_text(NSEPY.splitlines()[0] + "\n")
    with pytest.raises(MissingBarsError, match="header and no rows"):
        source.fetch(Chunk("M&M"))


FIVE_MINUTES = (
    "datetime,symbol,open,high,low,close,volume\n"
    "2024-01-02 09:20:00,NSE:M_M,101.0,102.0,101.0,102.0,20.0\n"
    "2024-01-02 09:15:00,NSE:M_M,100.0,101.0,100.0,101.0,10.0\n"
    "2024-01-02 09:20:00,NSE:M_M,101.0,102.0,101.0,102.0,20.0\n"
    "2024-01-01 15:25:00,NSE:M_M,99.0,100.0,99.0,100.0,5.0\n"
)


def test_intraday_files(folder: Path) -> None:
    """Unsorted rows, a row that stands twice, and a name that stands for M&M."""
    for path in folder.iterdir():
        path.unlink()
    (folder / "M_M.csv").write_text(FIVE_MINUTES)
    (folder / "NIFTY.csv.gz").write_bytes(gzip.compress(FIVE_MINUTES.encode()))
    source = FilesSource(folder)

    fetched = source.fetch(Chunk("M&M", "5minute", start=date(2024, 1, 2)))

    assert (source.intervals, source.symbols()) == (("5minute",), ("M&M",))
    assert source.indices("5minute") == ("NIFTY50",)
    assert validate_bars(fetched.bars, "5minute").select(
        "symbol", "starts_at", "volume", "source_symbol", "source"
    ).rows() == [
        ("M&M", datetime(2024, 1, 2, 3, 45, tzinfo=UTC), 10, "NSE:M_M", "intraday_csv"),
        ("M&M", datetime(2024, 1, 2, 3, 50, tzinfo=UTC), 20, "NSE:M_M", "intraday_csv"),
    ]
    assert fetched.report.n_duplicates_dropped == 1
    assert source.fetch(Chunk("NIFTY50", "5minute")).bars.height == 3
    with pytest.raises(ConfigError, match=r"no bars of this interval.*5minute.*1day"):
        source.fetch(Chunk("M&M"))


def test_a_daily_index_beside_intraday_stocks(folder: Path) -> None:
    """The index has a folder of its own, whatever the interval of the stocks."""
    for path in folder.iterdir():
        path.unlink()
    (folder / "M_M.csv").write_text(FIVE_MINUTES)
    (folder / "index").mkdir()
    (folder / "index" / "NIFTY50.csv").write_text(
        "Date,Open,High,Low,Close,Volume\n2024-01-01,1,1,1,1,0\n"
    )

    assert FilesSource(folder).fetch(Chunk("NIFTY50")).bars["close"].to_list() == [1.0]


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("folder_name", "symbol", "n_duplicates"),
    [
        ("daily_bhavcopy_2019_2026", "ADANIPOWER", 0),
        ("daily_secwise_2020_2026", "TMPV", 0),
        ("daily_nsepy_2000_2020", "RELIANCE", 3),
    ],
)
def test_real_files_are_clean_but_for_what_is_known(
    real_data: Path, folder_name: str, symbol: str, n_duplicates: int
) -> None:
    """Each real set reads without quarantine; nsepy has its three repeated sessions."""
    source = FilesSource(real_data / folder_name)

    fetched = source.fetch(Chunk(symbol))

    validate_bars(fetched.bars)
    assert fetched.quarantine.is_empty()
    assert fetched.report.n_duplicates_dropped == n_duplicates
    assert source.indices() == ("NIFTY50", "NIFTY50TRI", "INDIAVIX")


@pytest.mark.real_data
def test_the_two_official_sets_agree(real_data: Path) -> None:
    """On their common sessions of 2020, nsepy and secwise name the same prices and volumes."""
    columns = ["session", "open", "high", "low", "close", "volume", "turnover_inr", "n_trades"]
    old, new = (
        FilesSource(real_data / name).fetch(Chunk("INFY")).bars.select(columns)
        for name in ("daily_nsepy_2000_2020", "daily_secwise_2020_2026")
    )

    common = old.join(new, on="session", suffix="_new")

    assert common.height > 60
    for name in ("open", "high", "low", "close", "volume"):
        assert common[name].to_list() == common[f"{name}_new"].to_list()
    assert common["turnover_inr"].to_list() == pytest.approx(common["turnover_inr_new"].to_list())


@pytest.mark.real_data
def test_rows_without_a_price_in_the_real_vix_are_set_apart(real_data: Path) -> None:
    """India VIX has two sessions with zeros and one close below its low."""
    fetched = FilesSource(real_data / "daily_nsepy_2000_2020").fetch(Chunk("INDIAVIX"))

    assert fetched.quarantine.select("session", "reason").rows() == [
        (date(2013, 8, 22), "price_outside_range"),
        (date(2021, 2, 12), "zero_or_negative_price"),
        (date(2021, 3, 30), "zero_or_negative_price"),
    ]


@pytest.mark.real_data
def test_the_real_five_minute_bars(real_data: Path) -> None:
    """A stock: 68 sessions from 12:30, and two bars behind the evening of Muhurat set apart."""
    source = FilesSource(real_data / "intraday_5min_2023")

    fetched = source.fetch(Chunk("TCS", "5minute"))

    assert (source.intervals, len(source.symbols())) == (("5minute",), 49)
    assert {"BAJAJ-AUTO", "M&M"} <= set(source.symbols())
    bars = validate_bars(fetched.bars, "5minute")
    assert bars["session"].n_unique() == 68
    assert bars["starts_at"][0] == datetime(2023, 8, 31, 7, 0, tzinfo=UTC)
    muhurat = bars.filter(pl.col("session") == date(2023, 11, 12))["starts_at"]
    assert (muhurat.len(), muhurat[0]) == (12, datetime(2023, 11, 12, 12, 45, tzinfo=UTC))
    assert fetched.quarantine.select("starts_at", "reason").rows() == [
        (datetime(2023, 11, 12, 13, 45, tzinfo=UTC), "outside_hours"),
        (datetime(2023, 11, 12, 13, 55, tzinfo=UTC), "outside_hours"),
    ]


@pytest.mark.real_data
def test_the_real_series_that_stands_twice(real_data: Path) -> None:
    """HDFCBANK's five-minute file repeats all of its rows, which drops half of what was good."""
    report = (
        FilesSource(real_data / "intraday_5min_2023").fetch(Chunk("HDFCBANK", "5minute")).report
    )

    assert (report.n_rows_read, report.n_rows_good, report.n_duplicates_dropped) == (
        10_000,
        4998,
        4998,
    )


@pytest.mark.real_data
def test_the_real_five_minute_bars_of_an_index(real_data: Path) -> None:
    """NIFTY is the price index NIFTY50, from 12:25 on, with volumes."""
    source = FilesSource(real_data / "intraday_5min_2023")

    bars = source.fetch(Chunk("NIFTY50", "5minute")).bars

    assert source.indices("5minute") == ("NIFTY50",)
    assert bars["starts_at"][0] == datetime(2023, 8, 31, 6, 55, tzinfo=UTC)
    assert bars["volume"].min() > 0  # pyright: ignore[reportOperatorIssue]


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("symbol", "has_volume"), [("SBIN", True), ("BANKNIFTY", False), ("INDIAVIX", False)]
)
def test_the_real_one_minute_bars(real_data: Path, symbol: str, *, has_volume: bool) -> None:
    """40 whole sessions; the bar of 15:30 on the last one is set apart; an index trades nothing."""
    source = FilesSource(real_data / "intraday_1min_2023_banks")

    fetched = source.fetch(Chunk(symbol, "1minute"))

    assert source.indices("1minute") == ("BANKNIFTY", "INDIAVIX")
    assert validate_bars(fetched.bars, "1minute").height == 40 * 375
    assert fetched.quarantine.select("starts_at", "reason").rows() == [
        (datetime(2023, 6, 1, 10, 0, tzinfo=UTC), "outside_hours")
    ]
    assert (fetched.bars["volume"].sum() > 0) is has_volume


@pytest.mark.real_data
def test_the_real_five_minute_bars_agree_with_the_days(real_data: Path) -> None:
    """Highs and lows are those of the day, but for POWERGRID, adjusted up to its bonus of 1:3."""
    intraday = FilesSource(real_data / "intraday_5min_2023")
    daily = FilesSource(real_data / "daily_bhavcopy_2019_2026")
    differing: dict[str, list[date]] = {}
    for symbol in ("M&M", "POWERGRID", "TCS"):
        parts = intraday.fetch(Chunk(symbol, "5minute")).bars
        days = parts.group_by("session").agg(pl.col("high").max(), pl.col("low").min())
        both = days.join(daily.fetch(Chunk(symbol)).bars, on="session", suffix="_day")
        ratio = pl.col("high") / pl.col("high_day")
        differing[symbol] = sorted(both.filter((ratio - 1).abs() > 0.02)["session"])

    assert (differing["M&M"], differing["TCS"]) == ([], [])
    assert len(differing["POWERGRID"]) == 8
    assert max(differing["POWERGRID"]) == date(2023, 9, 11)
