"""Facts about what only a file of our own export says."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from sensequant.errors import InvalidBarsError
from sensequant.market.sources.base import Chunk
from sensequant.market.sources.files.source import FilesSource

HEADER = (
    "interval,symbol,session,open,high,low,close,volume,previous_close,average_price,turnover_inr,"
    "n_trades,delivered_volume,series,source_symbol,source,is_simulated,fetched_at_utc,is_final\n"
)


def row(day: str, **changes: str) -> str:
    cells = {
        "interval": "1day",
        "symbol": "TCS",
        "session": day,
        "prices": "100.5,101.25,99.0,100.05",
        "volume": "10",
        "numbers": ",,,,",
        "series": "EQ",
        "source_symbol": "TCS",
        "source": "nsepy",
        "is_simulated": "false",
        "fetched_at_utc": "2024-02-01T10:00:00Z",
        "is_final": "true",
    }
    return ",".join((cells | changes).values()) + "\n"


def write(folder: Path, *rows: str) -> FilesSource:
    (folder / "TCS.csv").write_text(HEADER + "".join(rows))
    return FilesSource(folder)


def test_each_bar_keeps_its_source(tmp_path: Path) -> None:
    """A series that was put together from two sources still says so."""
    source = write(
        tmp_path,
        row("2024-01-02", source="nse_udiff"),
        row("2024-01-01"),
        row("2024-01-03", source=""),
    )

    bars = source.fetch(Chunk("TCS")).bars

    assert bars.select("session", "source").rows() == [
        (date(2024, 1, 1), "nsepy"),
        (date(2024, 1, 2), "nse_udiff"),
        (date(2024, 1, 3), "sensequant_csv"),
    ]


def test_a_bar_that_stands_twice_with_two_sources(tmp_path: Path) -> None:
    """It is one bar; the first source is named."""
    source = write(tmp_path, row("2024-01-01"), row("2024-01-01", source="nse_udiff"))

    fetched = source.fetch(Chunk("TCS"))

    assert fetched.bars["source"].to_list() == ["nsepy"]
    assert fetched.report.n_duplicates_dropped == 1


@pytest.mark.parametrize(
    "change",
    [{"is_simulated": "true"}, {"is_final": "false"}, {"interval": "5minute"}, {"is_final": ""}],
    ids=str,
)
def test_bars_that_may_not_come_back(tmp_path: Path, change: dict[str, str]) -> None:
    """Simulated bars become no real ones, provisional ones no final ones."""
    source = write(tmp_path, row("2024-01-01"), row("2024-01-02", **change))

    with pytest.raises(InvalidBarsError, match=rf"TCS\.csv, column {next(iter(change))}"):
        source.fetch(Chunk("TCS"))


def test_the_other_columns_are_judged_like_any(tmp_path: Path) -> None:
    """A file that was edited by hand has its bad rows set apart."""
    source = write(tmp_path, row("2024-01-01", prices="1,2,3,4"), row("2024-01-02"))

    fetched = source.fetch(Chunk("TCS"))

    assert fetched.bars["session"].to_list() == [date(2024, 1, 2)]
    assert fetched.quarantine["reason"].to_list() == ["high_below_low"]
    assert fetched.bars.schema["volume"] == pl.Int64
