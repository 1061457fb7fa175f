"""Files of macro series: NSE's indices, reference rates, yields, gold, and plain dated tables.

Belongs here: what such files look like, what makes a value unusable, and the import into a store.
Does not belong here: which series there are and when they are known (`macro`).

A table (CSV, plain or gzipped, or Parquet) has a column of dates and is read in the first of three
ways that fits. Long: a column says which series (`Index Name`, `Currency Pairs`), another one the
value. Wide: columns are named after series (`USD`). Plain: one column of values; the series is
given, or begins the file's name. A file may say when each value was published; then it may hold
several values of one day, of which each is known from its own time on.
"""

import gzip
import io
import zlib
from datetime import date, datetime, time
from enum import StrEnum
from pathlib import Path

import polars as pl

from sensequant.context.files import Delivered, ImportReport, files_at, import_files, refusals
from sensequant.context.hours import decisions_of, session_of
from sensequant.context.macro import (
    MACRO,
    MacroSeries,
    known_series,
    series_named,
    series_of_stem,
)
from sensequant.context.rows import INSTANT
from sensequant.context.store import ContextStore, WriteCounts
from sensequant.errors import InvalidContextError
from sensequant.market.sessions import IST, SessionCalendar
from sensequant.market.sources.files.reading import normalised
from sensequant.market.sources.files.stamps import read_stamps
from sensequant.market.user_tables import parse_dates
from sensequant.storage import locked

__all__ = ["MacroRefusal", "import_macro", "read_macro_file", "store_macro"]

_SUFFIXES = (".csv", ".csv.gz", ".parquet")
_DATES = ("date", "index date", "timestamp", "day", "observation_date")
_NAMES = ("index name", "currency pairs", "currency pair", "series", "symbol")
_VALUES = ("value", "closing index value", "close", "rate", "yield", "ytm", "par yield", "price")
_KNOWN = ("known_at", "released_at", "published_at")
_NOTHING = ("", "-", "--", "na", "n/a", "nan", "null", ".")
_AHEAD = IST.utcoffset(None)
_GIVEN = pl.Schema(dict.fromkeys(("series", "stamp", "text", "known"), pl.String()))


class MacroRefusal(StrEnum):
    """Why a value cannot be used, or where one is missing."""

    UNKNOWN_SERIES = "unknown_series"
    UNREADABLE_TIME = "unreadable_time"
    NO_VALUE = "no_value"
    UNREADABLE_NUMBER = "unreadable_number"
    IMPOSSIBLE_NUMBER = "impossible_number"
    NO_SESSION = "no_session"
    IN_THE_FUTURE = "in_the_future"
    KNOWN_TOO_EARLY = "known_before_it_happened"
    CONTRADICTION = "contradiction"
    DUPLICATE = "duplicate"
    HOLE = "hole"


def import_macro(
    store: ContextStore,
    path: Path,
    *,
    calendar: SessionCalendar,
    imported_at: datetime,
    series: str | None = None,
) -> ImportReport:
    """Bring values of macro series into a store, and keep what was refused with its reason.

    Parameters
    ----------
    store
        Where to.
    path
        A file, or a folder of files.
    calendar
        The NSE calendar.
    imported_at
        Aware time of the import; nothing was published after it.
    series
        Whose values a file holds that does not say so; None: as the beginning of its name says.

    Raises
    ------
    ConfigError
        There is no such file.
    InvalidContextError
        A file has not the columns, or nobody knows whose values it holds.
    """

    def bring(each: Path) -> tuple[Delivered, WriteCounts]:
        delivered = read_macro_file(
            each,
            calendar=calendar,
            imported_at=imported_at,
            series=series,
            is_simulated=store.is_simulated,
        )
        counts = store_macro(store, delivered.rows, written_at=imported_at)
        # Only what lies in the store says whether a hole is one.
        holes = _holes(store, delivered.rows, calendar)
        gaps = refusals(holes, source="macro_file", path=each, refused_at=imported_at)
        refused = pl.concat([delivered.refused, gaps])
        return Delivered(delivered.rows, refused), counts

    return import_files(store, MACRO, files_at(path, _SUFFIXES), bring)


def read_macro_file(
    path: Path,
    *,
    calendar: SessionCalendar,
    imported_at: datetime,
    series: str | None = None,
    is_simulated: bool = False,
) -> Delivered:
    """Read one file of macro series and judge every value.

    Parameters
    ----------
    path
        CSV, plain or gzipped, or Parquet.
    calendar, imported_at, series
        As `import_macro` takes them.
    is_simulated
        Whether they were invented.

    Returns
    -------
    Delivered
        Rows of `macro.MACRO`; several of one day where the file says when each was published.

    Raises
    ------
    InvalidContextError
        The file cannot be opened, has not the columns, or nobody knows whose values it holds.
    """
    table = _opened(path)
    given, unknown = _named(_long(table, path, series))
    timed = pl.concat(
        [_TIMED.to_frame()]
        + [
            _timed(part, known_series()[str(part["series"][0])], calendar)
            for part in given.partition_by("series", maintain_order=True)
        ]
    )
    judged = _judged(timed, imported_at)
    rows = judged.filter(pl.col("reason").is_null()).select(
        "symbol",
        "at",
        "known_at",
        source=pl.lit("macro_file"),
        is_simulated=pl.lit(is_simulated),
        value="value",
    )
    wrong = judged.filter(pl.col("reason").is_not_null()).select(
        "symbol", "stamp", "reason", detail="text"
    )
    refused = pl.concat([wrong, unknown])
    return Delivered(
        rows.cast(MACRO.schema),
        refusals(refused, source="macro_file", path=path, refused_at=imported_at),
    )


def store_macro(store: ContextStore, rows: pl.DataFrame, *, written_at: datetime) -> WriteCounts:
    """Write values, of which several may belong to one day, each known from its own time on.

    What is stored of a day stays: another value for it is known from this delivery on, whatever
    time its file says. Only of a day of which nothing is stored does the file say when each of its
    values was known.
    """
    # Two imports at once would both take a day for one of which nothing is stored.
    with locked(store.root / "macro_values"):
        return _stored(store, rows, written_at)


def _stored(store: ContextStore, rows: pl.DataFrame, written_at: datetime) -> WriteCounts:
    counts = WriteCounts()
    stored = pl.concat(
        [MACRO.schema.to_frame()]
        + [store.read(MACRO, name) for name in rows["symbol"].unique().sort()]
    )
    key = ["symbol", "at"]
    same = [*key, "known_at", "value"]
    # Of several versions of a day the earlier ones differ from what is stored last, and are known.
    known = rows.filter(pl.len().over(key) > 1).join(stored, on=same, how="semi")
    fresh = rows.join(known, on=same, how="anti").sort(*same)
    counts += WriteCounts(n_known=rows.height - fresh.height)
    is_stored = pl.struct(key).is_in(stored.select(pl.struct(key)).to_series().implode())
    later, own = fresh.filter(is_stored), fresh.filter(~is_stored)
    # Of a day that is stored only the last word counts, and from now on.
    last = later.unique(subset=key, keep="last", maintain_order=True)
    counts += store.write(MACRO, last, written_at=written_at)
    for _, version in own.with_columns(_n=pl.int_range(pl.len()).over(key)).group_by(
        "_n", maintain_order=True
    ):
        # A version is a correction of the one before, known when its file says.
        counts += store.write(MACRO, version.drop("_n"), written_at=_LONG_AGO)
    return counts


_LONG_AGO = datetime(1900, 1, 1, tzinfo=IST)


def _opened(path: Path) -> pl.DataFrame:
    try:
        content = path.read_bytes()
        if path.name.endswith(".parquet"):
            return pl.read_parquet(io.BytesIO(content))
        text = gzip.decompress(content) if path.suffix == ".gz" else content
        return pl.read_csv(io.BytesIO(text.decode("utf-8-sig").encode()), infer_schema=False)
    except (OSError, EOFError, UnicodeError, zlib.error, pl.exceptions.PolarsError) as error:
        raise _no_table(path, str(error).splitlines()[0]) from error


def _long(table: pl.DataFrame, path: Path, series: str | None) -> pl.DataFrame:
    """Return name of the series, stamp, value and time of publication as text, in any layout."""
    columns = {normalised(name): name for name in table.columns}

    def first(names: tuple[str, ...]) -> str | None:
        return next((columns[name] for name in names if name in columns), None)

    day, name, value, known = (first(names) for names in (_DATES, _NAMES, _VALUES, _KNOWN))
    if day is None:
        raise _no_table(path, ", ".join(table.columns))
    text = {"stamp": _text(day), "known": _text(known)}
    if value is not None:
        whose = _text(name) if name is not None else pl.lit(series or _in_name(path))
        return table.select(series=whose, **text, text=_text(value)).select(_GIVEN.names())
    wide = {found: column for column in table.columns if (found := series_named(column))}
    if not wide:
        raise _no_table(path, ", ".join(table.columns))
    parts = [
        table.select(series=pl.lit(found), **text, text=_text(column)).select(_GIVEN.names())
        for found, column in wide.items()
    ]
    return pl.concat(parts)


def _in_name(path: Path) -> str:
    found = series_of_stem(path.name.partition(".")[0])
    if found is None:
        raise InvalidContextError(
            "nobody knows whose values a file holds",
            where=str(path),
            expected=f"a name that begins with one of {', '.join(known_series())}",
            found=path.name,
            remedy="rename the file, or say whose they are: --series USDINR",
        )
    return found


def _text(name: str | None) -> pl.Expr:
    if name is None:
        return pl.lit(None, pl.String)
    return pl.col(name).cast(pl.String).str.strip_chars(" \t\"'")


def _named(given: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give every row its series; return those of series that nobody knows as one refusal each."""
    names: dict[str | None, str | None] = {
        name: None if name is None else series_named(name) for name in given["series"].unique()
    }
    known = given.with_columns(
        _series=pl.col("series").replace_strict(names, return_dtype=pl.String)
    )
    unknown = (
        known.filter(pl.col("_series").is_null())
        .group_by("series", maintain_order=True)
        .agg(pl.col("stamp").first(), n=pl.len())
        .select(
            symbol=pl.lit(None, pl.String),
            stamp="stamp",
            reason=pl.lit(MacroRefusal.UNKNOWN_SERIES.value),
            detail=pl.format("{}: {} rows", pl.col("series").fill_null("no name"), "n"),
        )
    )
    rows = known.drop_nulls("_series").with_columns(series="_series").select(_GIVEN.names())
    return rows, unknown


_TIMED = pl.Schema(
    {
        "symbol": pl.String(),
        "stamp": pl.String(),
        "text": pl.String(),
        "day": pl.Date(),
        "at": INSTANT,
        "known_at": INSTANT,
        "value": pl.Float64(),
        "is_known_given": pl.Boolean(),
    }
)


def _timed(rows: pl.DataFrame, series: MacroSeries, calendar: SessionCalendar) -> pl.DataFrame:
    """Add to the rows of one series the day, when it happened and was known, and the number."""
    rows = rows.with_columns(
        day=_days("stamp"),
        stated=read_stamps("known").instant,
        stated_day=_days("known"),
        value=pl.col("text").str.replace_all("[,%]", "").cast(pl.Float64, strict=False),
    )
    closes = decisions_of(calendar).select(day="session", closes_at="decided_at")
    # A session whose hours nobody knows was over at the end of its day.
    days = calendar.table.select(day="session", is_session=pl.lit(value=True))
    joined = rows.join(closes, on="day", how="left", maintain_order="left").join(
        days, on="day", how="left", maintain_order="left"
    )
    close = pl.when("is_session").then(pl.coalesce("closes_at", _end_of("day")))
    stated = pl.coalesce("stated", _end_of("stated_day"))
    return joined.select(
        symbol=pl.lit(series.series),
        stamp="stamp",
        text="text",
        day="day",
        at=_moment(series.happens, close),
        known_at=pl.when(pl.col("known").is_not_null())
        .then(stated)
        .otherwise(_moment(series.known, close)),
        value="value",
        is_known_given=pl.col("known").is_not_null(),
    ).cast(_TIMED)


def _moment(clock: time | None, close: pl.Expr) -> pl.Expr:
    if clock is None:
        return close
    return _instant(pl.col("day").dt.combine(clock, time_unit="us"))


def _end_of(day: str) -> pl.Expr:
    return _instant(pl.col(day).dt.combine(time(23, 59, 59), time_unit="us"))


def _instant(wall: pl.Expr) -> pl.Expr:
    return (wall - _AHEAD).dt.replace_time_zone("UTC")


def _days(column: str) -> pl.Expr:
    """Return the dates of a column; of numbers alone, the day stands before the month."""
    indian = pl.col(column).str.extract(r"^(\d{1,2}[-/ ](?:\d{1,2}|[A-Za-z]{3})[-/ ]\d{4})(?:\D|$)")
    even = indian.str.replace_all("[/ ]", "-")
    return pl.coalesce(
        parse_dates(column),
        even.str.to_date("%d-%m-%Y", strict=False),
        even.str.to_date("%d-%b-%Y", strict=False),
    )


def _judged(timed: pl.DataFrame, imported_at: datetime) -> pl.DataFrame:
    text = pl.col("text")
    of_one = ["symbol", "day", "known_at"]
    usable = pl.col("day").is_not_null() & pl.col("value").is_finite() & (pl.col("value") > 0)
    n_values = pl.when(usable).then("value").drop_nulls().n_unique().over(of_one)
    reasons = {
        MacroRefusal.UNREADABLE_TIME: pl.col("day").is_null()
        | (pl.col("is_known_given") & pl.col("known_at").is_null()),
        MacroRefusal.NO_VALUE: text.is_null() | text.str.to_lowercase().is_in(_NOTHING),
        MacroRefusal.UNREADABLE_NUMBER: pl.col("value").is_null(),
        MacroRefusal.IMPOSSIBLE_NUMBER: ~pl.col("value").is_finite() | (pl.col("value") <= 0),
        MacroRefusal.NO_SESSION: pl.col("at").is_null(),
        # A rule may say that a value counts from later on than it is here.
        MacroRefusal.IN_THE_FUTURE: (pl.col("at") > imported_at)
        | (pl.col("is_known_given") & (pl.col("known_at") > imported_at)),
        MacroRefusal.KNOWN_TOO_EARLY: pl.col("known_at") < pl.col("at"),
        MacroRefusal.CONTRADICTION: n_values > 1,
        MacroRefusal.DUPLICATE: pl.int_range(pl.len()).over([*of_one, "value"]) > 0,
    }
    return timed.with_columns(
        reason=pl.coalesce(
            pl.when(is_so).then(pl.lit(reason.value)) for reason, is_so in reasons.items()
        )
    )


def _holes(store: ContextStore, rows: pl.DataFrame, calendar: SessionCalendar) -> pl.DataFrame:
    """Return the sessions between the first and last day of a delivery that have no value."""
    spans = rows.group_by("symbol", maintain_order=True).agg(
        first=session_of("at").min(), last=session_of("at").max()
    )
    found: list[tuple[str, date]] = []
    for symbol, first, last in spans.iter_rows():
        days = store.read(MACRO, symbol, start=first, end=last).select(session_of("at"))
        known = set(days.to_series())
        within = max(first, calendar.first), min(last, calendar.last)
        sessions = calendar.sessions(*within) if within[0] <= within[1] else []
        found += [(symbol, day) for day in sessions if day not in known]
    table = pl.DataFrame(found, schema={"symbol": pl.String, "day": pl.Date}, orient="row")
    return table.select(
        "symbol",
        stamp=pl.col("day").dt.to_string(),
        reason=pl.lit(MacroRefusal.HOLE.value),
        detail=pl.lit("a session without a value between two with one"),
    )


def _no_table(path: Path, found: str) -> InvalidContextError:
    return InvalidContextError(
        "file is no table of macro series",
        where=str(path),
        expected=f"a column {' or '.join(_DATES)}, and one of values ({', '.join(_VALUES)}) or "
        "named after a series",
        found=found,
        remedy="name its columns so, or fetch it again (docs/context.md)",
    )
