"""Files of order books: one row per snapshot, every level in columns of its own.

Belongs here: the layout, what makes a snapshot unusable, and the import into a store. Does not
belong here: what a book says (`depth`).

The layout is that of recorded feeds of NSE: `timestamp`, then for each level k quantity and price
of the bid (`bbq1`, `bbp1`) and of the ask (`bsq1`, `bsp1`), of any number of levels. A level that
has no orders has quantity and price 0. A stamp without an offset is the clock of India.

A snapshot is refused, with the first reason that holds, rather than mended. A feed that repeats one
book for longer than `depth.MAX_AGE` is frozen: what follows is refused until the book changes.
"""

import io
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

import polars as pl

from sensequant.context.depth import DEPTH, MAX_AGE, SIDES
from sensequant.context.files import Delivered, ImportReport, files_at, refusals, symbol_in_name
from sensequant.context.hours import decisions_of, session_of
from sensequant.context.store import ContextStore, WriteCounts
from sensequant.errors import InvalidContextError
from sensequant.market.sessions import SessionCalendar
from sensequant.market.sources.files.reading import read_csv_file
from sensequant.market.sources.files.stamps import read_stamps

__all__ = ["DepthRefusal", "import_depth", "read_depth_file"]

_SUFFIXES = (".csv", ".csv.gz", ".parquet")
_SOURCE = "depth_file"
_PREFIXES: Mapping[str, str] = {
    "bid_price": "bbp",
    "bid_quantity": "bbq",
    "ask_price": "bsp",
    "ask_quantity": "bsq",
}
_STEADY = ("at", "known_at", "source", "is_simulated")


class DepthRefusal(StrEnum):
    """Why a snapshot cannot be used."""

    UNREADABLE_TIME = "unreadable_time"
    OUTSIDE_HOURS = "outside_hours"
    UNREADABLE_NUMBER = "unreadable_number"
    IMPOSSIBLE_NUMBER = "impossible_number"
    EMPTY_BOOK = "empty_book"
    ONE_SIDED_BOOK = "one_sided_book"
    ZERO_QUANTITY = "zero_quantity"
    UNORDERED_LEVELS = "unordered_levels"
    CROSSED_BOOK = "crossed_book"
    DUPLICATE = "duplicate"
    CONTRADICTION = "contradiction"
    FROZEN_FEED = "frozen_feed"


def import_depth(
    store: ContextStore,
    path: Path,
    *,
    calendar: SessionCalendar,
    imported_at: datetime,
    symbol: str | None = None,
    delay: timedelta = timedelta(0),
) -> ImportReport:
    """Bring depth files into a store, and keep what was refused with its reason.

    Parameters
    ----------
    store
        Where to.
    path
        A file, or a folder of files.
    calendar
        The NSE calendar, whose hours a snapshot must lie in.
    imported_at
        Aware time of the import.
    symbol
        Whose books they are; None: that with which a file's name begins.
    delay
        How long after its time a snapshot was known; 0 for a feed that was recorded as it came.

    Raises
    ------
    ConfigError
        There is no such file.
    InvalidContextError
        A file is no depth file, or nobody knows whose it is.
    """
    paths = files_at(path, _SUFFIXES)
    counts, refused, symbols = WriteCounts(), list[pl.DataFrame](), set[str]()
    for each in paths:
        owner = symbol or symbol_in_name(each)
        delivered = read_depth_file(
            each,
            symbol=owner,
            calendar=calendar,
            imported_at=imported_at,
            delay=delay,
            is_simulated=store.is_simulated,
        )
        symbols.add(owner)
        counts += store.write(DEPTH, delivered.rows, written_at=imported_at)
        store.refuse(DEPTH, delivered.refused)
        refused.append(delivered.refused)
    return ImportReport(len(paths), counts, pl.concat(refused), tuple(sorted(symbols)))


def read_depth_file(
    path: Path,
    *,
    symbol: str,
    calendar: SessionCalendar,
    imported_at: datetime,
    delay: timedelta = timedelta(0),
    is_simulated: bool = False,
) -> Delivered:
    """Read one file of order books and judge every snapshot.

    Parameters
    ----------
    path
        CSV, plain or gzipped, or Parquet.
    symbol
        Whose books they are.
    calendar, imported_at, delay
        As `import_depth` takes them.
    is_simulated
        Whether the books were invented.

    Raises
    ------
    InvalidContextError
        The file cannot be read, or has not the layout.
    """
    table = _opened(path)
    n_levels = _levels_in(table, path)
    judged = _judged(_parsed(table, n_levels), calendar)
    rows = judged.filter(pl.col("reason").is_null()).select(
        symbol=pl.lit(symbol),
        at="at",
        known_at=pl.col("at") + delay,
        source=pl.lit(_SOURCE),
        is_simulated=pl.lit(is_simulated),
        **{side: pl.col(side) for side in SIDES},
    )
    refused = judged.filter(pl.col("reason").is_not_null()).with_columns(symbol=pl.lit(symbol))
    return Delivered(
        rows.cast(DEPTH.schema),
        refusals(refused, source=_SOURCE, path=path, refused_at=imported_at),
    )


def _opened(path: Path) -> pl.DataFrame:
    if not path.name.endswith(".parquet"):
        return read_csv_file(path).table
    try:
        table = pl.read_parquet(io.BytesIO(path.read_bytes()))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise _no_layout(path, str(error).splitlines()[0]) from error
    return table.select(pl.all().cast(pl.String).name.to_lowercase())


def _levels_in(table: pl.DataFrame, path: Path) -> int:
    """Return the number of levels, if each has its four columns."""
    prefixes = tuple(_PREFIXES.values())
    found = [re.fullmatch(rf"({'|'.join(prefixes)})(\d+)", name) for name in table.columns]
    levels = {(match[1], int(match[2])) for match in found if match}
    n_levels = max((level for _, level in levels), default=0)
    needed = {(prefix, level) for prefix in prefixes for level in range(1, n_levels + 1)}
    if not needed or levels != needed or "timestamp" not in table.columns:
        missing = sorted(f"{prefix}{level}" for prefix, level in needed - levels)
        raise _no_layout(path, f"columns without {', '.join(missing[:4]) or 'timestamp, bbp1'}")
    return n_levels


def _parsed(table: pl.DataFrame, n_levels: int) -> pl.DataFrame:
    """Return the stamps as written, the instants, and every side as a list of all its levels."""
    levels = range(1, n_levels + 1)
    lists = {
        side: pl.concat_list(
            pl.col(f"{prefix}{level}").str.strip_chars().cast(pl.Float64, strict=False)
            for level in levels
        )
        for side, prefix in _PREFIXES.items()
    }
    return table.select(
        stamp=pl.col("timestamp"), at=read_stamps("timestamp").instant, **lists
    ).with_row_index("_row")


def _judged(parsed: pl.DataFrame, calendar: SessionCalendar) -> pl.DataFrame:
    """Add to every snapshot the reason why it is refused, and what was wrong; null for none."""
    hours = parsed.with_columns(session=session_of("at")).join(
        decisions_of(calendar), on="session", how="left", maintain_order="left"
    )
    alone = hours.with_columns(reason=_own_reason()).with_columns(
        pl.when(pl.col("reason").is_null()).then(_there(side)).otherwise(pl.col(side)).alias(side)
        for side in SIDES
    )
    return _compared(alone).with_columns(detail=_detail())


def _own_reason() -> pl.Expr:
    """Return the first reason that a snapshot gives by itself."""
    at = pl.col("at")
    # A session whose hours are not known has none within which a snapshot could lie.
    in_hours = at.is_between("opens_at", "decided_at", closed="left").fill_null(value=False)
    sides = [pl.col(side) for side in SIDES]
    has_hole = [side.list.eval(pl.element().is_null()).list.any() for side in sides]
    is_impossible = [
        side.list.eval((pl.element() < 0) | ~pl.element().is_finite()).list.any() for side in sides
    ]
    n_levels = {side: _n_there(side) for side in SIDES}
    n_bids, n_asks = n_levels["bid_price"], n_levels["ask_price"]
    is_uneven = (n_bids != n_levels["bid_quantity"]) | (n_asks != n_levels["ask_quantity"])
    best_bid, best_ask = (pl.col(f"{side}_price").list.first() for side in ("bid", "ask"))
    reasons = [
        (at.is_null(), DepthRefusal.UNREADABLE_TIME),
        (~in_hours, DepthRefusal.OUTSIDE_HOURS),
        (pl.any_horizontal(has_hole), DepthRefusal.UNREADABLE_NUMBER),
        (pl.any_horizontal(is_impossible), DepthRefusal.IMPOSSIBLE_NUMBER),
        ((n_bids == 0) & (n_asks == 0), DepthRefusal.EMPTY_BOOK),
        ((n_bids == 0) | (n_asks == 0), DepthRefusal.ONE_SIDED_BOOK),
        (is_uneven | _has_gap(), DepthRefusal.ZERO_QUANTITY),
        (_is_unordered(), DepthRefusal.UNORDERED_LEVELS),
        (best_bid >= best_ask, DepthRefusal.CROSSED_BOOK),
    ]
    return pl.coalesce(pl.when(is_so).then(pl.lit(reason.value)) for is_so, reason in reasons)


def _n_there(side: str) -> pl.Expr:
    return pl.col(side).list.eval(pl.element() > 0).list.sum()


def _there(side: str) -> pl.Expr:
    return pl.col(side).list.head(_n_there(side))


def _has_gap() -> pl.Expr:
    """Return whether a level without orders lies before one that has some, on any list."""
    return pl.any_horizontal(_there(side).list.eval(pl.element() <= 0).list.any() for side in SIDES)


def _is_unordered() -> pl.Expr:
    """Return whether prices do not fall from bid to bid, or not rise from ask to ask."""
    bids = _there("bid_price").list.eval(pl.element().diff() >= 0).list.any()
    asks = _there("ask_price").list.eval(pl.element().diff() <= 0).list.any()
    return bids | asks


def _compared(alone: pl.DataFrame) -> pl.DataFrame:
    """Judge, among the snapshots that are usable by themselves, those that others refute."""
    usable = alone.filter(pl.col("reason").is_null())
    book = pl.struct(SIDES)
    n_books = book.n_unique().over("at")
    is_repeated = pl.int_range(pl.len()).over("at") > 0
    first = usable.select(
        "_row",
        _twin=pl.when(n_books > 1)
        .then(pl.lit(DepthRefusal.CONTRADICTION.value))
        .when(is_repeated)
        .then(pl.lit(DepthRefusal.DUPLICATE.value)),
    )
    left = usable.join(first.filter(pl.col("_twin").is_null()), on="_row").sort("at")
    is_change = pl.any_horizontal(
        pl.col(side).ne_missing(pl.col(side).shift()) for side in SIDES
    ) | (pl.col("session") != pl.col("session").shift())
    since = pl.when(is_change.fill_null(value=True)).then(pl.col("at")).forward_fill()
    frozen = left.with_columns(_since=since).select(
        "_row",
        _frozen=pl.when(pl.col("at") - pl.col("_since") > MAX_AGE).then(
            pl.lit(DepthRefusal.FROZEN_FEED.value)
        ),
    )
    return (
        alone.join(first, on="_row", how="left", maintain_order="left")
        .join(frozen, on="_row", how="left", maintain_order="left")
        .with_columns(reason=pl.coalesce("reason", "_twin", "_frozen"))
    )


def _detail() -> pl.Expr:
    """Return the best prices and quantities as words, for whoever looks at a refused row."""
    firsts = [pl.col(side).list.first().cast(pl.String).fill_null("none") for side in SIDES]
    return pl.format("bid {} x {}, ask {} x {}", *firsts)


def _no_layout(path: Path, found: str) -> InvalidContextError:
    return InvalidContextError(
        "file is no table of order books",
        where=str(path),
        expected="timestamp and for each level k bbqk, bbpk, bsqk, bspk",
        found=found,
        remedy="name a file of this layout (docs/context.md)",
    )
