"""Folders with one file per session that holds all symbols, as NSE publishes them.

Belongs here: the two names under which NSE publishes a session, reading all of them once, and which
of the two holds where both are there. Does not belong here: their columns (`layouts`), judging rows
(`market.quality`).

- `sec_bhavdata_full_DDMMYYYY.csv`: the full bhavcopy, with deliveries and average price.
- `BhavCopy_NSE_CM_0_0_0_YYYYMMDD_F_0000.csv`: the bhavcopy of 2024-07-08 on (UDiFF).

Each may be plain, gzipped or zipped. Both are official; where both tell of a symbol's session, the
full one holds, because it says more, and a bar in which the two differ is counted. The name of the
file is the session: a row that bears another date is quarantined under the session of the name.
"""

import re
import threading
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import NamedTuple

import polars as pl

from sensequant.errors import ConfigError, InvalidBarsError
from sensequant.market.bars import PRICES
from sensequant.market.quality import (
    KEPT_SERIES,
    QuarantineReason,
    Split,
    merge_reports,
    split_quarantine,
)
from sensequant.market.sources.files.layouts import BHAVCOPY, UDIFF, Layout, recognise, to_raw
from sensequant.market.sources.files.reading import read_csv_file
from sensequant.records import digest_of

__all__ = ["DayFile", "DayFiles", "DaySplit", "find_day_files"]

_PACKED = r"\.csv(?:\.gz|\.zip)?"
_NAMES: tuple[tuple[re.Pattern[str], str, Layout], ...] = (
    (re.compile(rf"sec_bhavdata_full_(\d{{8}}){_PACKED}", re.IGNORECASE), "%d%m%Y", BHAVCOPY),
    (
        re.compile(rf"BhavCopy_NSE_CM_0_0_0_(\d{{8}})_F_0000{_PACKED}", re.IGNORECASE),
        "%Y%m%d",
        UDIFF,
    ),
)
"""Pattern of a name, format of the date in it, layout; the layout that holds comes first."""

_COMPARED = (*PRICES, "volume", "previous_close", "n_trades")

# The full bhavcopy rounds turnover to 0.01 lakh, which is a thousand rupees.
_TURNOVER_STEP_INR = 1000.0


class DayFile(NamedTuple):
    """One session's file: where it lies, what its name says."""

    path: Path
    session: date
    layout: Layout


class DaySplit(NamedTuple):
    """Bars, quarantine and report of one symbol, and in how many bars the two layouts differ."""

    split: Split
    n_different: int


class _Rows(NamedTuple):
    """All rows of one layout by symbol, and where the rows of each symbol begin and how many."""

    table: pl.DataFrame
    places: Mapping[str, tuple[int, int]]


def find_day_files(folder: Path) -> tuple[DayFile, ...]:
    """Return the per-session files of a folder, by session and layout.

    Raises
    ------
    ConfigError
        A name bears no date, or one session has two files of one layout.
    """
    found: dict[tuple[date, str], DayFile] = {}
    for path in sorted(folder.iterdir()):
        for pattern, date_format, layout in _NAMES:
            matched = pattern.fullmatch(path.name)
            if matched is None:
                continue
            file = DayFile(path, _date_in(matched[1], date_format, path), layout)
            key = (file.session, layout.name)
            if key in found:
                raise ConfigError(
                    "session has two files of one layout",
                    where=str(folder),
                    expected="one file per session and layout",
                    found=f"{found[key].path.name} and {path.name}",
                    remedy="remove one of them",
                )
            found[key] = file
    return tuple(found[key] for key in sorted(found))


class DayFiles:
    """The bars of all symbols in per-session files; the files are read once, when first needed.

    Parameters
    ----------
    files
        What `find_day_files` returned.
    """

    def __init__(self, files: Iterable[DayFile]) -> None:
        self._files = tuple(files)
        self._lock = threading.Lock()
        self._rows: dict[str, _Rows] | None = None
        self._digests: dict[str, str] = {}

    def symbols(self) -> tuple[str, ...]:
        """Return the symbols with a row in an ordinary series, sorted.

        Raises
        ------
        InvalidBarsError
            A file is damaged, has another layout than its name says, or a row names no symbol.
        MissingBarsError
            A file holds no row.
        """
        return tuple(sorted({symbol for rows in self._read().values() for symbol in rows.places}))

    def digest(self) -> str:
        """Return the digest of the names and bytes of all files."""
        self._read()
        return digest_of(self._digests)

    def split(self, symbol: str, *, sessions: pl.Series) -> DaySplit:
        """Divide the rows of one symbol into bars and quarantine.

        Parameters
        ----------
        symbol
            One of `symbols()`.
        sessions
            Every session of the NSE calendar, sorted.

        Raises
        ------
        InvalidBarsError
            A file is damaged, has another layout than its name says, or a row names no symbol.
        MissingBarsError
            A file holds no row.
        """
        parts = {
            layout.name: self._split(symbol, layout, sessions=sessions)
            for _, _, layout in _NAMES
            if symbol in self._read()[layout.name].places
        }
        if len(parts) == 1:
            return DaySplit(next(iter(parts.values())), 0)
        return _merged(parts[BHAVCOPY.name], parts[UDIFF.name], symbol=symbol)

    def _split(self, symbol: str, layout: Layout, *, sessions: pl.Series) -> Split:
        table, places = self._read()[layout.name]
        own = table.slice(*places[symbol])
        is_of_the_day = _session_of(layout) == pl.col("named_session")
        raw = to_raw(own, layout).with_columns(
            session=own["named_session"].dt.strftime(layout.row_format.date_format),
            reader_reason=own.select(
                pl.when(~is_of_the_day.fill_null(value=False)).then(
                    pl.lit(QuarantineReason.BAD_DATE.value)
                )
            ).to_series(),
        )
        return split_quarantine(
            raw,
            as_read=own.drop("named_session"),
            symbol=symbol,
            row_format=layout.row_format,
            sessions=sessions,
        )

    def _read(self) -> dict[str, _Rows]:
        with self._lock:
            if self._rows is None:
                self._rows = {
                    layout.name: _by_symbol(self._tables(layout), layout) for _, _, layout in _NAMES
                }
            return self._rows

    def _tables(self, layout: Layout) -> list[pl.DataFrame]:
        tables: list[pl.DataFrame] = []
        for file in self._files:
            if file.layout is not layout:
                continue
            table, self._digests[file.path.name] = read_csv_file(file.path)
            recognise(table.columns, (layout,), where=file.path)
            _require_symbols(table, layout, file.path)
            tables.append(
                table.select(
                    *layout.columns.values(),
                    file=pl.lit(file.path.name),
                    named_session=pl.lit(file.session),
                )
            )
        return tables


def _merged(full: Split, udiff: Split, *, symbol: str) -> DaySplit:
    both = udiff.good.join(full.good, on="session", suffix="_full")
    alone = udiff.good.join(full.good, on="session", how="anti")
    good = pl.concat([full.good, alone]).sort("session")
    summed = merge_reports((full.report, udiff.report), symbol=symbol)
    report = summed.model_copy(
        update={
            "n_rows_good": good.height,
            "n_duplicates_dropped": summed.n_duplicates_dropped + both.height,
        }
    )
    quarantine = pl.concat([full.quarantine, udiff.quarantine])
    return DaySplit(Split(good, quarantine, report), both.filter(_differs()).height)


def _by_symbol(tables: list[pl.DataFrame], layout: Layout) -> _Rows:
    columns = [*layout.columns.values(), "file"]
    empty = pl.DataFrame(schema={**dict.fromkeys(columns, pl.String), "named_session": pl.Date})
    rows = pl.concat([empty, *tables])
    symbol = pl.col(layout.columns["source_symbol"]).str.strip_chars()
    is_kept = pl.col(layout.columns["series"]).str.strip_chars().is_in(KEPT_SERIES)
    # Bonds, notes and the market of small companies are half of a file; nobody asks for them.
    wanted = rows.filter(is_kept).select(symbol).unique()
    key = layout.columns["source_symbol"]
    ordered = (
        rows.with_columns(symbol).join(wanted, on=key, how="semi").sort(key, maintain_order=True)
    )
    counted = ordered.group_by(key, maintain_order=True).len()
    ends = counted["len"].cum_sum()
    places = {
        name: (end - n, n) for name, n, end in zip(counted[key], counted["len"], ends, strict=True)
    }
    return _Rows(ordered, places)


def _session_of(layout: Layout) -> pl.Expr:
    text = pl.col(layout.columns["session"]).str.strip_chars()
    return text.str.to_date(layout.row_format.date_format, strict=False)


def _differs() -> pl.Expr:
    turnover = (pl.col("turnover_inr") - pl.col("turnover_inr_full")).abs()
    return pl.any_horizontal(
        *(pl.col(name).ne_missing(pl.col(f"{name}_full")) for name in _COMPARED),
        (turnover > _TURNOVER_STEP_INR).fill_null(value=False),
    )


def _date_in(digits: str, date_format: str, path: Path) -> date:
    try:
        return datetime.strptime(digits, date_format).date()  # noqa: DTZ007 (a session is a date)
    except ValueError as error:
        raise ConfigError(
            "name of a bhavcopy bears no date",
            where=str(path),
            expected=f"a date as {date_format}",
            found=digits,
            remedy="give the file the name under which NSE publishes it",
        ) from error


def _require_symbols(table: pl.DataFrame, layout: Layout, path: Path) -> None:
    symbol = table[layout.columns["source_symbol"]]
    is_blank = symbol.str.strip_chars().fill_null("") == ""
    if is_blank.any():
        raise InvalidBarsError(
            "row of a bhavcopy names no symbol",
            where=f"{path}, row {(is_blank.arg_max() or 0) + 1}",
            expected="a symbol in every row",
            remedy="fetch the file again or remove it",
        )
