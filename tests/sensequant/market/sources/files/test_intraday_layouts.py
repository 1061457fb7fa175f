"""Facts about the layouts of intraday files."""

from pathlib import Path

import polars as pl
import pytest

from sensequant.errors import InvalidBarsError
from sensequant.market.quality import RAW_COLUMNS
from sensequant.market.sources.files.intraday_layouts import interval_of, intraday_to_raw

BAR = {"open": ["1", "1"], "high": ["2", "2"], "low": ["1", "1"], "close": ["2", "2"]}


def table(stamp: str, first: str, second: str, **more: str) -> pl.DataFrame:
    columns = {stamp: [first, second], **BAR, "volume": ["10.0", "0"]}
    return pl.DataFrame(columns | {name: [text] * 2 for name, text in more.items()})


OWN = dict.fromkeys(
    ("average_price", "delivered_volume", "n_trades", "previous_close", "turnover_inr"), ""
) | {
    "series": "EQ",
    "source_symbol": "TISCO",
    "source": "nsepy",
    "is_simulated": "false",
    "is_final": "true",
    "session": "2023-04-03",
}


@pytest.mark.parametrize(
    ("head", "interval"),
    [
        (table("datetime", "2023-04-03 09:15:00", "2023-04-03 09:20:00"), "5minute"),
        (table("date", "2023-04-03 09:15:00+05:30", "2023-04-03 09:16:00+05:30"), "1minute"),
        (table("timestamp", "2023-04-03T09:45", "2023-04-03T09:15"), "30minute"),
        (table("time", "2023-04-03 09:15:00", "2023-04-03 09:30:00"), None),
        (table("date", "2023-04-03", "2023-04-05"), None),
        (table("date", "2023-04-03 09:15:00", "2023-04-03 09:20:00").clear(), None),
        (table("when", "2023-04-03 09:15:00", "2023-04-03 09:20:00"), None),
        (
            table("date", "2023-04-03 09:15:00", "2023-04-03 09:20:00").drop("volume"),
            None,
        ),
        (
            table("starts_at_utc", "2023-04-03T03:45:00Z", "-", interval="30minute", **OWN),
            "30minute",
        ),
        (table("starts_at_utc", "2023-04-03T03:45:00Z", "-", interval="1day", **OWN), None),
        (table("starts_at_ist", "2023-04-03T03:45:00Z", "-", interval="1week", **OWN), None),
    ],
)
def test_the_interval_of_a_file(head: pl.DataFrame, interval: str | None) -> None:
    """It is the step between stamps; a file of ours names it; a daily file has none."""
    assert interval == interval_of(head)


def test_rows_of_a_charting_site() -> None:
    """The stamp becomes India's clock, the symbol in the row is kept, all else stays text."""
    raw, row_format = intraday_to_raw(
        table("datetime", "2023-04-03 03:45:00Z", "2023-04-03 09:20", symbol="NSE:M_M"),
        where=Path("x"),
    )

    assert raw.columns == list(RAW_COLUMNS)
    assert raw["session"].to_list() == ["2023-04-03 09:15:00", "2023-04-03 09:20:00"]
    assert raw["volume"].to_list() == ["10.0", "0"]
    assert raw["source_symbol"].to_list() == ["NSE:M_M"] * 2
    assert raw["series"].to_list() == [None, None]
    assert row_format.source == "intraday_csv"


def test_rows_without_a_symbol_and_with_a_counter() -> None:
    """A further column is left alone, and a missing symbol is null."""
    counted = table("date", "2023-04-03 09:15:00+05:30", "x").with_columns(pl.lit("0").alias(""))

    raw, _ = intraday_to_raw(counted, where=Path("x"))

    assert raw["session"].to_list() == ["2023-04-03 09:15:00", None]
    assert raw["source_symbol"].to_list() == [None, None]


def test_rows_of_our_own_export() -> None:
    """Everything that a bar has is taken over."""
    raw, row_format = intraday_to_raw(
        table("starts_at_ist", "2023-04-03T09:15:00+05:30", "x", interval="1minute", **OWN),
        where=Path("x"),
    )

    assert raw["session"].to_list() == ["2023-04-03 09:15:00", None]
    assert raw.select("series", "source_symbol").rows() == [("EQ", "TISCO")] * 2
    assert row_format.source == "sensequant_csv"


def test_another_header_is_refused() -> None:
    """The message says what an intraday file has."""
    with pytest.raises(InvalidBarsError, match=r"intraday.*TCS.*datetime, timestamp.*price"):
        intraday_to_raw(pl.DataFrame({"price": ["1"]}), where=Path("TCS.csv"))
