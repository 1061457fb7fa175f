"""The layouts of daily files, recognised by their header.

Belongs here: which column of which layout is which column of ours, and its units. Does not belong
here: reading bytes (`reading`), judging rows (`market.quality`).

Layouts
-------
- `nse_bhavcopy`: NSE's full bhavcopy (`sec_bhavdata_full`); turnover in lakh (1e5) rupees.
- `nse_udiff`: NSE's bhavcopy since 2024-07-08, in the common format of the Indian exchanges
  (UDiFF); turnover in rupees, no deliveries, no average price.
- `nse_secwise`: NSE's security-wise archive; turnover in rupees; prices with thousands commas.
- `nsepy`: the widely spread NIFTY-50 set made with nsepy; its turnover is rupees times 1e5.
- `nse_index`: NSE index history with turnover in crore (1e7) rupees.
- `nse_vix`: NSE's India VIX history, without volume.
- `yahoo_index`: Yahoo Finance index history.
- `index_timestamp`: index history with a timestamp, such as the total return index.
- `sensequant_csv`: what `market.export` writes; it names the source of each row.

An index is no share: where its layout has no volume, none of it traded, so its volume is 0.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from sensequant.errors import InvalidBarsError
from sensequant.market.bars import BAR_SCHEMA
from sensequant.market.quality import RAW_COLUMNS, RowFormat

__all__ = [
    "BHAVCOPY",
    "INDEX_LAYOUTS",
    "OWN",
    "STOCK_LAYOUTS",
    "UDIFF",
    "Layout",
    "recognise",
    "to_raw",
]

_DAY_MONTH_YEAR = "%d-%b-%Y"
_ISO = "%Y-%m-%d"


@dataclasses.dataclass(frozen=True, slots=True)
class Layout:
    """One layout of a file.

    Parameters
    ----------
    row_format
        Source name, date format and unit of turnover.
    columns
        Our column (one of `RAW_COLUMNS`) to the normalised name in the file.
    constants
        Our column to the text that holds where the layout has no such column.
    n_date_characters
        Length of the date within the session column; what follows is a time of day.
    also_needed
        Normalised names of further columns by which the layout is recognised.
    """

    row_format: RowFormat
    columns: Mapping[str, str]
    constants: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    n_date_characters: int | None = None
    also_needed: tuple[str, ...] = ()

    @property
    def needed(self) -> frozenset[str]:
        """Normalised names of the columns that a file of this layout has."""
        return frozenset((*self.columns.values(), *self.also_needed))

    @property
    def name(self) -> str:
        """Name of the layout, which is the name of the source kept in its bars."""
        return self.row_format.source


BHAVCOPY = Layout(
    RowFormat("nse_bhavcopy", _DAY_MONTH_YEAR, turnover_unit_inr=1e5),
    {
        "source_symbol": "symbol",
        "series": "series",
        "session": "date1",
        "previous_close": "prev_close",
        "open": "open_price",
        "high": "high_price",
        "low": "low_price",
        "close": "close_price",
        "average_price": "avg_price",
        "volume": "ttl_trd_qnty",
        "turnover_inr": "turnover_lacs",
        "n_trades": "no_of_trades",
        "delivered_volume": "deliv_qty",
    },
)
UDIFF = Layout(
    RowFormat("nse_udiff", _ISO),
    {
        "source_symbol": "tckrsymb",
        "series": "sctysrs",
        "session": "traddt",
        "previous_close": "prvsclsgpric",
        "open": "opnpric",
        "high": "hghpric",
        "low": "lwpric",
        "close": "clspric",
        "volume": "ttltradgvol",
        "turnover_inr": "ttltrfval",
        "n_trades": "ttlnboftxsexctd",
    },
)
_SECWISE = Layout(
    RowFormat("nse_secwise", _DAY_MONTH_YEAR),
    {
        "source_symbol": "symbol",
        "series": "series",
        "session": "date",
        "previous_close": "prevclose",
        "open": "openprice",
        "high": "highprice",
        "low": "lowprice",
        "close": "closeprice",
        "average_price": "averageprice",
        "volume": "totaltradedquantity",
        "turnover_inr": "turnoverinrs",
        "n_trades": "no.oftrades",
        "delivered_volume": "deliverableqty",
    },
)
_NSEPY = Layout(
    RowFormat("nsepy", _ISO, turnover_unit_inr=1e-5),
    {
        "source_symbol": "symbol",
        "series": "series",
        "session": "date",
        "previous_close": "prev close",
        "open": "open",
        "high": "high",
        "low": "low",
        "close": "close",
        "average_price": "vwap",
        "volume": "volume",
        "turnover_inr": "turnover",
        "n_trades": "trades",
        "delivered_volume": "deliverable volume",
    },
)
_OHLC = {"open": "open", "high": "high", "low": "low", "close": "close"}
_NSE_INDEX = Layout(
    RowFormat("nse_index", _ISO, turnover_unit_inr=1e7),
    {
        "source_symbol": "symbol",
        "session": "date",
        **_OHLC,
        "volume": "volume",
        "turnover_inr": "value",
    },
)
_NSE_VIX = Layout(
    RowFormat("nse_vix", _DAY_MONTH_YEAR),
    {"session": "date", **_OHLC, "previous_close": "prev. close"},
    constants={"volume": "0"},
)
_YAHOO_INDEX = Layout(
    RowFormat("yahoo_index", _ISO),
    {"session": "date", **_OHLC, "volume": "volume"},
)
_INDEX_TIMESTAMP = Layout(
    RowFormat("index_timestamp", _ISO),
    {"session": "timestamp", **_OHLC, "volume": "volume"},
    n_date_characters=10,
)

OWN = Layout(
    RowFormat("sensequant_csv", _ISO),
    {name: name for name in RAW_COLUMNS if name in BAR_SCHEMA},
    also_needed=("interval", "source", "is_simulated", "is_final"),
)

STOCK_LAYOUTS = (OWN, BHAVCOPY, UDIFF, _SECWISE, _NSEPY)
"""Layouts of a stock's or fund's file."""

INDEX_LAYOUTS = (OWN, _NSE_INDEX, _NSE_VIX, _YAHOO_INDEX, _INDEX_TIMESTAMP)
"""Layouts of an index's file, the more demanding ones first: Yahoo's columns are in others too."""


def recognise(header: Sequence[str], layouts: Sequence[Layout], *, where: Path) -> Layout:
    """Return the first layout all of whose columns are in the header.

    Parameters
    ----------
    header
        Normalised column names.
    layouts
        Candidates in order.
    where
        The file, for the message.

    Raises
    ------
    InvalidBarsError
        The header is that of none of them.
    """
    for layout in layouts:
        if layout.needed <= set(header):
            return layout
    nearest = max(layouts, key=lambda layout: len(layout.needed & set(header)))
    missing = sorted(nearest.needed - set(header))
    raise InvalidBarsError(
        "file has none of the known layouts",
        where=str(where),
        expected=f"one of {', '.join(layout.name for layout in layouts)}; for the nearest, "
        f"{nearest.name}, it lacks {', '.join(missing)}",
        found=", ".join(header),
        remedy="bring the file into one of these layouts (docs/data.md) or remove it",
    )


def to_raw(table: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """Return the rows of a file under the names of `market.quality.RAW_COLUMNS`, still texts."""
    named = [pl.col(theirs).cast(pl.String).alias(ours) for ours, theirs in layout.columns.items()]
    constants = [pl.lit(text).alias(ours) for ours, text in layout.constants.items()]
    absent = set(RAW_COLUMNS) - set(layout.columns) - set(layout.constants) - {"row_number"}
    nulls = [pl.lit(None, dtype=pl.String).alias(ours) for ours in sorted(absent)]
    raw = table.select(
        pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("row_number"),
        *named,
        *constants,
        *nulls,
    ).select(RAW_COLUMNS)
    if layout.n_date_characters is None:
        return raw
    session = pl.col("session").str.strip_chars().str.head(layout.n_date_characters)
    return raw.with_columns(session)
