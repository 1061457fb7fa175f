"""Facts about exported bars: the slice, the columns, what is never overwritten, the way back."""

import csv
import hashlib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.errors import ConfigError, InvalidBarsError, MissingBarsError, StorageError
from sensequant.market.actions import actions_frame
from sensequant.market.bars import BAR_SCHEMA, INTRADAY_SCHEMA, bar_schema
from sensequant.market.export import ExportRequest, export_bars
from sensequant.market.finality import Finality
from sensequant.market.intervals import Interval
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.base import Chunk
from sensequant.market.sources.files.source import FilesSource
from sensequant.market.store import BarStore

AT = datetime(2024, 2, 1, 10, 0, 0, 250_000, tzinfo=UTC)
SESSIONS = nse_calendar().sessions(date(2024, 1, 1), date(2024, 1, 5))


def daily(symbol: str, **changes: Any) -> pl.DataFrame:
    rows = [
        {
            "symbol": symbol,
            "session": session,
            "open": 100.5 + n,
            "high": 103.0 + n,
            "low": 100.05 + n,
            "close": 102.1 + n,
            "volume": 1000 + n,
            "previous_close": 99.95,
            "turnover_inr": 102_345.67,
            "series": "EQ",
            "source_symbol": symbol,
            "source": "nse_secwise",
            "is_simulated": False,
        }
        | changes
        for n, session in enumerate(SESSIONS)
    ]
    return pl.DataFrame(rows, schema=BAR_SCHEMA)


def intraday(symbol: str, interval: Interval = "5minute") -> pl.DataFrame:
    opened = nse_calendar().opens(SESSIONS[0])
    assert opened is not None
    days = daily(symbol).head(3)
    starts = [opened + timedelta(minutes=5 * n) for n in range(3)]
    return days.with_columns(
        session=pl.lit(SESSIONS[0]), starts_at=pl.Series(starts, dtype=INTRADAY_SCHEMA["starts_at"])
    ).select(bar_schema(interval).names())


@pytest.fixture
def store(tmp_path: Path) -> BarStore:
    made = BarStore(tmp_path / "store")
    for symbol in ("M&M", "TCS"):
        made.write(daily(symbol), interval="1day", fetched_at=AT)
    nifty = daily("NIFTY50", series=None, source="nse_index", source_symbol="NIFTY 50")
    made.write(nifty, interval="1day", fetched_at=AT)
    for symbol in ("TCS", "NIFTY50"):
        made.write(intraday(symbol), interval="5minute", fetched_at=AT)
    return made


def test_daily_bars_come_back_equal(store: BarStore, tmp_path: Path) -> None:
    """One file for each symbol, the index where a source of files looks for it."""
    request = ExportRequest(symbols=("TCS", "M&M", "NIFTY50"))

    report = export_bars(store, tmp_path / "out", request=request)

    assert [file.name for file in report.files] == ["TCS.csv", "M&M.csv", "index/NIFTY50.csv"]
    assert (report.n_rows, report.symbols_without_bars) == (15, ())
    for file in report.files:
        content = (tmp_path / "out" / file.name).read_bytes()
        assert file.sha256 == hashlib.sha256(content).hexdigest()
    source = FilesSource(tmp_path / "out")
    assert (source.symbols(), source.indices()) == (("M&M", "TCS"), ("NIFTY50",))
    for symbol in request.symbols:
        stored = store.read(symbol, interval="1day").select(BAR_SCHEMA.names())
        assert stored.equals(source.fetch(Chunk(symbol)).bars)


@pytest.mark.parametrize("instants", ["utc", "ist"])
def test_intraday_bars_come_back_equal(store: BarStore, tmp_path: Path, instants: Any) -> None:
    """In either zone, which the header names; three bars suffice, because the interval is named."""
    request = ExportRequest(symbols=("TCS", "NIFTY50"), interval="5minute", instants=instants)

    export_bars(store, tmp_path / "out", request=request)

    source = FilesSource(tmp_path / "out")
    assert (source.intervals, source.symbols()) == (("5minute",), ("TCS",))
    for symbol in request.symbols:
        stored = store.read(symbol, interval="5minute").select(INTRADAY_SCHEMA.names())
        assert stored.equals(source.fetch(Chunk(symbol, "5minute")).bars)
    with (tmp_path / "out" / "TCS.csv").open() as file:
        row = next(csv.DictReader(file))
    expected = {"utc": "2024-01-01T03:45:00Z", "ist": "2024-01-01T09:15:00+05:30"}
    assert row[f"starts_at_{instants}"] == expected[instants]
    assert row["fetched_at_utc"] == "2024-02-01T10:00:00.250Z"
    assert (row["interval"], row["session"], row["n_trades"]) == ("5minute", "2024-01-01", "")


prices = st.floats(0.05, 1e6, allow_nan=False).map(lambda value: round(value, 4))


@given(
    values=st.lists(st.tuples(prices, st.integers(0, 2**52)), min_size=5, max_size=5),
    turnover=st.one_of(st.none(), st.floats(0, 1e12).map(lambda value: round(value, 2))),
)
def test_any_number_survives(
    tmp_path_factory: pytest.TempPathFactory,
    values: list[tuple[float, int]],
    turnover: float | None,
) -> None:
    """The shortest text of a number reads back as that number."""
    folder = tmp_path_factory.mktemp("export")
    close, volume = zip(*values, strict=True)
    price = pl.Series(close, dtype=pl.Float64)
    bars = daily("TCS", turnover_inr=turnover).with_columns(
        open=price, high=price, low=price, close=price, volume=pl.Series(volume, dtype=pl.Int64)
    )
    store = BarStore(folder / "store")
    store.write(bars, interval="1day", fetched_at=AT)

    export_bars(store, folder / "out", request=ExportRequest(symbols=("TCS",)))

    assert bars.equals(FilesSource(folder / "out").fetch(Chunk("TCS")).bars)


def test_a_slice_in_one_file(store: BarStore, tmp_path: Path) -> None:
    """Symbols in the order of the request, sessions from start to end."""
    request = ExportRequest(
        symbols=("TCS", "M&M"),
        start=SESSIONS[1],
        end=SESSIONS[2],
        file_format="parquet",
        is_one_file=True,
    )

    report = export_bars(store, tmp_path / "bars.parquet", request=request)

    table = pl.read_parquet(tmp_path / "bars.parquet")
    assert table.select("symbol", "session").rows() == [
        (symbol, session) for symbol in ("TCS", "M&M") for session in SESSIONS[1:3]
    ]
    assert table.columns[:3] == ["interval", "symbol", "session"]
    stored = store.read("TCS", interval="1day", start=SESSIONS[1], end=SESSIONS[2])
    assert table.head(2).drop("interval").equals(stored)
    assert [(file.name, file.symbols) for file in report.files] == [
        ("bars.parquet", ("TCS", "M&M"))
    ]


def test_parquet_keeps_instants(store: BarStore, tmp_path: Path) -> None:
    """Types are those of the store."""
    request = ExportRequest(symbols=("TCS",), interval="5minute", file_format="parquet")

    export_bars(store, tmp_path, request=request)

    table = pl.read_parquet(tmp_path / "TCS.parquet")
    assert table.drop("interval").equals(store.read("TCS", interval="5minute"))


def test_adjusted_bars(store: BarStore, tmp_path: Path) -> None:
    """A split of one into two doubles later prices, wherever the slice begins."""
    split = ("TCS", SESSIONS[2], "split", 0.5, "split", "test")
    store.write_actions(actions_frame([split]))
    request = ExportRequest(symbols=("TCS",), prices="adjusted", start=SESSIONS[3])

    export_bars(store, tmp_path / "out", request=request)

    table = pl.read_csv(tmp_path / "out" / "TCS.csv")
    assert table.columns[:4] == ["interval", "prices", "symbol", "session"]
    assert table["prices"].unique().to_list() == ["adjusted"]
    assert table.select("session", "close").rows() == [
        ("2024-01-04", pytest.approx(2 * 105.1)),
        ("2024-01-05", pytest.approx(2 * 106.1)),
    ]
    with pytest.raises(InvalidBarsError, match="none of the known layouts"):
        FilesSource(tmp_path / "out").fetch(Chunk("TCS"))


def test_total_returns(store: BarStore, tmp_path: Path) -> None:
    """A dividend of 10 at a close of 103.10 leaves 93.10 of it, by which later prices rise."""
    paid = ("TCS", SESSIONS[2], "dividend", None, "dividend", "test", None, 10.0, "final")
    store.write_actions(actions_frame([paid]))
    request = ExportRequest(symbols=("TCS",), prices="total_return", start=SESSIONS[1])

    export_bars(store, tmp_path / "out", request=request)

    table = pl.read_csv(tmp_path / "out" / "TCS.csv")
    assert table["prices"].unique().to_list() == ["total_return"]
    grown = 103.1 / 93.1
    assert table["close"].to_list() == [
        pytest.approx(103.1),
        *(pytest.approx(close * grown) for close in (104.1, 105.1, 106.1)),
    ]


def test_final_bars_only(tmp_path: Path) -> None:
    """A bar that may still change is left out, and a symbol with no other bar is told."""
    store = BarStore(tmp_path / "store")
    pending = Finality(SESSIONS[1], SESSIONS[-1], timedelta(hours=6))
    store.write(daily("TCS"), interval="1day", fetched_at=AT, finality=pending)
    late = daily("INFY").tail(2)
    store.write(late, interval="1day", fetched_at=AT, finality=pending)
    request = ExportRequest(symbols=("TCS", "INFY"), final_only=True)

    report = export_bars(store, tmp_path / "out", request=request)

    assert [(file.name, file.n_rows) for file in report.files] == [("TCS.csv", 2)]
    assert report.symbols_without_bars == ("INFY",)
    every = request.model_copy(update={"final_only": False})
    assert export_bars(store, tmp_path / "all", request=every).n_rows == 7


def test_nothing_is_overwritten_unless_told(store: BarStore, tmp_path: Path) -> None:
    """One file in the way stops the export before any other is written."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "M&M.csv").write_text("mine")
    request = ExportRequest(symbols=("TCS", "M&M"))

    with pytest.raises(StorageError, match=r"would be replaced.*M&M\.csv"):
        export_bars(store, out, request=request)
    assert [path.name for path in out.iterdir()] == ["M&M.csv"]
    assert (out / "M&M.csv").read_text() == "mine"

    export_bars(store, out, request=request.model_copy(update={"overwrite": True}))
    assert (out / "M&M.csv").read_text().startswith("interval,symbol,session")


def test_requests_that_cannot_be_met(store: BarStore, tmp_path: Path) -> None:
    """Unknown symbols, a range without bars, and a name that does not fit the format."""
    with pytest.raises(MissingBarsError, match=r"INFY, WIPRO 1day"):
        export_bars(store, tmp_path, request=ExportRequest(symbols=("WIPRO", "TCS", "INFY")))
    for is_one_file, name in ((False, "out"), (True, "out.csv")):
        empty = ExportRequest(symbols=("TCS",), end=date(2023, 1, 1), is_one_file=is_one_file)
        with pytest.raises(MissingBarsError, match="no bars to export"):
            export_bars(store, tmp_path / name, request=empty)
        assert not (tmp_path / name).exists()
    with pytest.raises(ConfigError, match=r"ending in \.csv"):
        export_bars(
            store, tmp_path / "x.parquet", request=ExportRequest(symbols=("TCS",), is_one_file=True)
        )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"start": SESSIONS[1], "end": SESSIONS[0]}, "start, end"),
        ({"symbols": ("TCS", "TCS")}, "symbols"),
        ({"interval": "5minute", "prices": "adjusted"}, "prices"),
        ({"interval": "5minute", "prices": "total_return"}, "prices"),
        ({"instants": "ist"}, "instants"),
        ({"interval": "5minute", "instants": "ist", "file_format": "parquet"}, "instants"),
    ],
)
def test_settings_that_contradict_each_other(settings: dict[str, Any], words: str) -> None:
    """They are refused when the request is made."""
    with pytest.raises(ValueError, match=rf"do not fit together.*{words}"):
        ExportRequest.model_validate({"symbols": ("TCS",)} | settings)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("folder", "symbol", "interval"),
    [
        ("daily_nsepy_2000_2020", "TATASTEEL", "1day"),
        ("daily_secwise_2020_2026", "ETERNAL", "1day"),
        ("daily_bhavcopy_2019_2026", "INDIAVIX", "1day"),
        ("daily_bhavcopy_2019_2026", "ADANIPOWER", "1day"),
        ("intraday_5min_2023", "M&M", "5minute"),
        ("intraday_1min_2023_banks", "INDIAVIX", "1minute"),
    ],
)
def test_real_bars_come_back_equal(
    real_data: Path, tmp_path: Path, folder: str, symbol: str, interval: Interval
) -> None:
    """From the publisher's file to the store to our file and back, no value changes."""
    bars = FilesSource(real_data / folder).fetch(Chunk(symbol, interval)).bars
    store = BarStore(tmp_path / "store")
    store.write(bars, interval=interval, fetched_at=AT)

    export_bars(
        store, tmp_path / "out", request=ExportRequest(symbols=(symbol,), interval=interval)
    )

    # An index alone is no folder of stocks, so it is looked for beside one.
    (tmp_path / "stocks").mkdir()
    (tmp_path / "stocks" / "TCS.csv").write_text("Date\n")
    has_index_folder = (tmp_path / "out" / "index").is_dir()
    source = (
        FilesSource(tmp_path / "stocks", index_folder=tmp_path / "out" / "index")
        if has_index_folder
        else FilesSource(tmp_path / "out")
    )
    assert bars.equals(source.fetch(Chunk(symbol, interval)).bars)
