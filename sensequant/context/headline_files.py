"""Files of headlines: tables and RSS feeds.

Belongs here: what such files look like, what makes a headline unusable, and the import into a
store. Does not belong here: what a headline says (`headlines`, `scoring`).

A table (CSV, plain or gzipped, or Parquet) has a column of headlines, one of dates or times, and
may have one of symbols; else the symbol is given, or begins the file's name. A time without an
offset is the clock of India; a date alone, and midnight exactly, are no time of day. Text is UTF-8,
or UTF-16 with its mark; a file in another encoding is refused as a whole, not guessed.
"""

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path
from xml.etree import ElementTree as ET

import polars as pl

from sensequant.context.files import (
    Delivered,
    ImportReport,
    files_at,
    import_files,
    refusals,
    symbol_in_name,
)
from sensequant.context.headlines import HEADLINES, text_of
from sensequant.context.store import ContextStore, WriteCounts
from sensequant.errors import InvalidContextError
from sensequant.market.sessions import IST
from sensequant.market.sources.files.reading import normalised
from sensequant.market.sources.files.stamps import read_stamps
from sensequant.market.symbols import MAX_SYMBOL_LENGTH, SYMBOL_PATTERN
from sensequant.market.user_tables import parse_dates

__all__ = ["HeadlineRefusal", "import_headlines", "judge_headlines", "read_headline_file"]

_FEEDS = (".xml", ".rss")
_SUFFIXES = (".csv", ".csv.gz", ".parquet", *_FEEDS)
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "symbol": ("symbol", "ticker"),
    "stamp": ("published_at", "published", "pubdate", "datetime", "timestamp", "time", "date"),
    "headline": ("headline", "title"),
}
_GIVEN = pl.Schema(dict.fromkeys(_COLUMNS, pl.String()))
_AHEAD = IST.utcoffset(None)


class HeadlineRefusal(StrEnum):
    """Why a headline, or a whole file, cannot be used."""

    UNKNOWN_ENCODING = "unknown_encoding"
    NO_FEED = "no_feed"
    UNKNOWN_SYMBOL = "unknown_symbol"
    NO_HEADLINE = "no_headline"
    UNREADABLE_TIME = "unreadable_time"
    IN_THE_FUTURE = "in_the_future"
    DUPLICATE = "duplicate"


def import_headlines(
    store: ContextStore, path: Path, *, imported_at: datetime, symbol: str | None = None
) -> ImportReport:
    """Bring headlines into a store, and keep what was refused with its reason.

    Parameters
    ----------
    store
        Where to.
    path
        A file, or a folder of files.
    imported_at
        Aware time of the import; nothing was published after it.
    symbol
        Whom the headlines are about; None: as the rows say, or the beginning of the file's name.

    Raises
    ------
    ConfigError
        There is no such file.
    InvalidContextError
        A file has not the columns, or nobody knows whom it is about.
    """

    def bring(each: Path) -> tuple[Delivered, WriteCounts]:
        delivered = read_headline_file(
            each, symbol=symbol, imported_at=imported_at, is_simulated=store.is_simulated
        )
        return delivered, store.write(HEADLINES, delivered.rows, written_at=imported_at)

    return import_files(store, HEADLINES, files_at(path, _SUFFIXES), bring)


def read_headline_file(
    path: Path, *, imported_at: datetime, symbol: str | None = None, is_simulated: bool = False
) -> Delivered:
    """Read one file of headlines and judge every one of them.

    Parameters
    ----------
    path
        CSV, plain or gzipped, Parquet, or RSS (`.xml`, `.rss`).
    imported_at, symbol
        As `import_headlines` takes them.
    is_simulated
        Whether they were invented.

    Raises
    ------
    InvalidContextError
        The file cannot be opened, has not the columns, or nobody knows whom it is about.
    """
    is_feed = path.name.endswith(_FEEDS)
    source = "rss_file" if is_feed else "headline_file"
    try:
        given = _feed(path) if is_feed else _table(path)
    except (UnicodeError, LookupError) as error:
        return _refused_whole(path, source, HeadlineRefusal.UNKNOWN_ENCODING, error, imported_at)
    except ET.ParseError as error:
        return _refused_whole(path, source, HeadlineRefusal.NO_FEED, error, imported_at)
    if symbol is not None or given["symbol"].count() == 0:
        given = given.with_columns(symbol=pl.lit(symbol or symbol_in_name(path)))
    return judge_headlines(
        given, source=source, path=path, imported_at=imported_at, is_simulated=is_simulated
    )


def judge_headlines(
    given: pl.DataFrame, *, source: str, path: Path, imported_at: datetime, is_simulated: bool
) -> Delivered:
    """Judge headlines that a file or a service brought.

    Parameters
    ----------
    given
        symbol, stamp and headline as text, null where there is none.
    source, path
        Where they came from; the name of the path is kept beside what is refused.
    imported_at
        Aware time; nothing was published after it.
    is_simulated
        Whether they were invented.
    """
    judged = _judged(given, imported_at)
    rows = judged.filter(pl.col("reason").is_null()).select(
        "symbol",
        "at",
        "known_at",
        source=pl.lit(source),
        is_simulated=pl.lit(is_simulated),
        headline="headline",
        has_time="has_time",
    )
    refused = judged.filter(pl.col("reason").is_not_null()).with_columns(detail=pl.col("headline"))
    return Delivered(
        rows.cast(HEADLINES.schema),
        refusals(refused, source=source, path=path, refused_at=imported_at),
    )


def _table(path: Path) -> pl.DataFrame:
    """Return symbol, stamp and headline of a table as text; null where a cell is empty."""
    try:
        content = path.read_bytes()
        if path.name.endswith(".parquet"):
            table = pl.read_parquet(io.BytesIO(content))
        else:
            text = _decoded(gzip.decompress(content) if path.suffix == ".gz" else content)
            table = pl.read_csv(io.BytesIO(text.encode()), infer_schema=False)
    except (OSError, EOFError, zlib.error, pl.exceptions.PolarsError) as error:
        raise _no_table(path, str(error).splitlines()[0]) from error
    named = {normalised(name): name for name in table.columns}
    found = {
        ours: next((named[name] for name in names if name in named), None)
        for ours, names in _COLUMNS.items()
    }
    if found["stamp"] is None or found["headline"] is None:
        raise _no_table(path, ", ".join(table.columns))
    return table.select(_text(name).alias(ours) for ours, name in found.items())


def _text(name: str | None) -> pl.Expr:
    if name is None:
        return pl.lit(None, pl.String)
    text = pl.col(name).cast(pl.String).str.replace_all(r"\s+", " ").str.strip_chars()
    return pl.when(text != "").then(text)


def _decoded(content: bytes) -> str:
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if is_utf16 else "utf-8-sig")


def _feed(path: Path) -> pl.DataFrame:
    """Return stamp and headline of every item of an RSS feed."""
    content = path.read_bytes()
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        message = "feeds declare no types or entities"
        raise ET.ParseError(message)
    # Without declarations there are no entities that could grow or reach out.
    root = ET.fromstring(content)  # noqa: S314
    items = list(root.iter("item"))
    if not items:
        message = "no item"
        raise ET.ParseError(message)
    rows = [(None, _stamp_of(item.findtext("pubDate")), item.findtext("title")) for item in items]
    table = pl.DataFrame(rows, schema=_GIVEN, orient="row")
    return table.select(_text(name) for name in _COLUMNS)


def _stamp_of(text: str | None) -> str | None:
    """Return a date of RFC 822 as the other files write it; others as they are."""
    try:
        published = parsedate_to_datetime(text or "")
    except ValueError:
        return text
    aware = published if published.tzinfo else published.replace(tzinfo=UTC)
    return aware.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _judged(given: pl.DataFrame, imported_at: datetime) -> pl.DataFrame:
    """Add when each headline was published and known, and the reason why it is refused."""
    given = given.with_columns(_stamp=pl.col("stamp").str.replace(r"(:\d{2})\.\d+", "$1"))
    stamps = read_stamps("_stamp")
    is_midnight = stamps.written.is_null() & (
        (stamps.instant + _AHEAD).dt.time() == pl.time(0, 0, 0)
    )
    midnight = (parse_dates("_stamp").cast(pl.Datetime("us")) - _AHEAD).dt.replace_time_zone("UTC")
    has_time = stamps.instant.is_not_null() & ~is_midnight
    timed = given.with_columns(
        has_time=has_time,
        at=pl.when(has_time).then(stamps.instant).when(_is_date()).then(midnight),
    ).with_columns(
        known_at=pl.when("has_time").then("at").otherwise(pl.col("at") + pl.duration(days=1))
    )
    symbol = pl.col("symbol")
    is_symbol = symbol.str.contains(f"^{SYMBOL_PATTERN}$") & (
        symbol.str.len_chars() <= MAX_SYMBOL_LENGTH
    )
    key = ["symbol", "at", "_words"]
    reasons = [
        (~is_symbol.fill_null(value=False), HeadlineRefusal.UNKNOWN_SYMBOL),
        (pl.col("headline").is_null(), HeadlineRefusal.NO_HEADLINE),
        (pl.col("at").is_null(), HeadlineRefusal.UNREADABLE_TIME),
        (pl.col("at") > imported_at, HeadlineRefusal.IN_THE_FUTURE),
        (pl.int_range(pl.len()).over(key) > 0, HeadlineRefusal.DUPLICATE),
    ]
    words = pl.col("headline").map_elements(text_of, return_dtype=pl.String).str.to_lowercase()
    return timed.with_columns(_words=words).with_columns(
        reason=pl.coalesce(pl.when(is_so).then(pl.lit(reason.value)) for is_so, reason in reasons)
    )


def _is_date() -> pl.Expr:
    """Return whether a stamp is a date, with or without midnight behind it, and nothing else."""
    return pl.col("stamp").str.contains(r"^[0-9A-Za-z]+-[0-9A-Za-z]+-[0-9]+([ T]00:00(:00)?)?$")


def _refused_whole(
    path: Path, source: str, reason: HeadlineRefusal, error: Exception, imported_at: datetime
) -> Delivered:
    row = {"symbol": None, "stamp": None, "reason": reason.value, "detail": str(error)}
    table = pl.DataFrame([row], schema=dict.fromkeys(row, pl.String))
    return Delivered(
        HEADLINES.schema.to_frame(),
        refusals(table, source=source, path=path, refused_at=imported_at),
    )


def _no_table(path: Path, found: str) -> InvalidContextError:
    names: Iterator[str] = (" or ".join(names) for names in _COLUMNS.values())
    return InvalidContextError(
        "file is no table of headlines",
        where=str(path),
        expected=f"columns of {'; '.join(names)}",
        found=found,
        remedy="name its columns so, or fetch it again (docs/context.md)",
    )
