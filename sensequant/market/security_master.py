"""The broker's list of securities: what NSE trades, and by which code the broker knows it.

Belongs here: reading the list out of the archive that ICICI publishes every morning, and deciding
which of its rows name a share that can be asked for. Does not belong here: downloading it (the
broker's adapter), looking names up and keeping dated copies (`market.symbol_map`), comparing with
a universe (`market.discovery`).

The archive `SecurityMaster.zip` holds one text file per exchange; of them `NSEScripMaster.txt` is
read here, and that of derivatives by `market.contract_list`. Its header has a blank after each
comma, its rows have none, texts are quoted, and the order of columns is not relied on. These are
its columns that count:

- `Token`: the number by which market data is streamed; for an index its name, such as `NIFTY 50`.
  `0` stands for a security that is gone; other texts (`NA`, `X5572`, offers for sale) are no
  security that could be asked for.
- `ShortName`: the broker's own code, our `stock_code`. `Series`: `EQ`, `BE` (trade-to-trade), `0`
  for an index, others for bonds, warrants and the like.
- `ExchangeCode`: NSE's symbol. `ISINCode`, `CompanyName`.
- `DeleteFlag`, `DateOfListing`, `DateOfDeListing`, `52WeeksHigh`: used where they are given. In
  lists of 2024 to 2026 the first three are empty in every row seen.

A row of a company that was merged away can stand there for years with its old token, so being in
the list does not prove that a share still trades.

Missing text is null. Nothing is guessed: where two rows claim one symbol or one code, neither is
kept, and all of them are reported.
"""

import csv
import dataclasses
import hashlib
import io
import re
import zipfile
import zlib
from enum import StrEnum
from typing import NamedTuple

import polars as pl

from sensequant.errors import MasterUnavailableError, SourceError
from sensequant.market.symbols import MAX_SYMBOL_LENGTH, SYMBOL_PATTERN

__all__ = [
    "COLLISION_SCHEMA",
    "DROPPED_SCHEMA",
    "MASTER_MEMBER",
    "MASTER_SCHEMA",
    "CollisionKind",
    "DropReason",
    "MemberLayout",
    "SecurityMaster",
    "member_table",
    "parse_master",
    "read_member",
]

MASTER_MEMBER = "NSEScripMaster.txt"
"""File of NSE's cash market within the archive."""

MASTER_SCHEMA = pl.Schema(
    {
        "symbol": pl.String(),
        "stock_code": pl.String(),
        "isin": pl.String(),
        "token": pl.String(),
        "series": pl.String(),
        "company_name": pl.String(),
        "listed_on": pl.Date(),
        "delisted_on": pl.Date(),
        "is_deleted": pl.Boolean(),
        "is_priced_in_year": pl.Boolean(),
    }
)
"""One row of the list. `is_priced_in_year`: whether it states a price range of the last 52 weeks;
null where it has no such column. False means that the broker knows no recent price; true proves
nothing, because the range of a dead security stays as it was."""


class DropReason(StrEnum):
    """Why a row names no share that can be asked for; the first that applies is recorded."""

    NO_SYMBOL = "no_symbol"
    NO_STOCK_CODE = "no_stock_code"
    DELETED = "deleted"
    OTHER_SERIES = "other_series"
    DEAD_TOKEN = "dead_token"  # noqa: S105 - a reason, no secret


class CollisionKind(StrEnum):
    """What two rows claim at once."""

    SYMBOL = "symbol"
    STOCK_CODE = "stock_code"


DROPPED_SCHEMA = pl.Schema({**MASTER_SCHEMA, "reason": pl.String()})
COLLISION_SCHEMA = pl.Schema({"kind": pl.String(), "key": pl.String(), **MASTER_SCHEMA})

_ORDINARY = "EQ"
_TRADE_TO_TRADE = "BE"
_INDEX = "0"
_REQUIRED = ("Token", "ShortName", "Series", "CompanyName", "ISINCode", "ExchangeCode")
_OPTIONAL = ("DeleteFlag", "DateOfListing", "ListingDate", "DateOfDeListing", "52WeeksHigh")
_DATE_FORMATS = ("%d-%b-%Y", "%Y-%m-%d", "%d/%m/%Y", "%d-%m-%Y")
_N_DATE_CHARACTERS = 11
_NOT_DELETED = ("N", "0", "NO", "F", "FALSE")
_LIVE_TOKEN = r"^0*[1-9][0-9]*$"  # noqa: S105 - a pattern, no secret

# The real file has 1.3 MB; an archive that unpacks to far more is none of ICICI's.
_MAX_MEMBER_BYTES = 1 << 28


class MemberLayout(NamedTuple):
    """A file of the archive: its name, the columns that it must and those that it may have."""

    member: str
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()


_LAYOUT = MemberLayout(MASTER_MEMBER, _REQUIRED, _OPTIONAL)


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class SecurityMaster:
    """What one list says.

    Parameters
    ----------
    securities
        Rows of `MASTER_SCHEMA`, one per symbol and one per stock code, sorted by symbol: those in
        series EQ, and those in BE whose symbol has no row in EQ.
    indices
        Rows of `MASTER_SCHEMA` that name an index; `symbol` is the name in the list, which is none
        of ours.
    collisions
        Rows of `COLLISION_SCHEMA`: every candidate for a symbol or stock code that more than one
        row claims. None of them is in `securities`.
    dropped
        Rows of `DROPPED_SCHEMA`: all others, with the reason.
    sha256
        Digest of the file within the archive.
    n_rows
        Rows of that file, without the header.
    n_unreadable_dates
        Dates of listing or delisting that are in no known format; they are null in the frames.
    """

    securities: pl.DataFrame
    indices: pl.DataFrame
    collisions: pl.DataFrame
    dropped: pl.DataFrame
    sha256: str
    n_rows: int
    n_unreadable_dates: int


def parse_master(content: bytes) -> SecurityMaster:
    """Read the list of NSE securities out of ICICI's archive.

    Parameters
    ----------
    content
        Bytes of `SecurityMaster.zip`.

    Raises
    ------
    MasterUnavailableError
        The archive or its file is damaged or empty: another download may help.
    SourceError
        The archive has no file of NSE, or that file lacks a column: the layout has changed.
    """
    text = read_member(content, MASTER_MEMBER)
    table = member_table(text, _LAYOUT)
    rows = _rows(table)
    is_index = (pl.col("series") == _INDEX) | (
        pl.col("isin").is_null() & ~pl.col("token").str.contains(_LIVE_TOKEN)
    )
    # Whether something is null is not known to be an index, so it is judged as a security.
    is_index = is_index.fill_null(value=False) & ~pl.col("is_deleted")
    judged = rows.filter(~is_index).with_columns(_drop_reason().alias("reason"))
    kept = judged.filter(pl.col("reason").is_null()).select(MASTER_SCHEMA.names())
    candidates = _preferred_series(kept)
    collisions = _collisions(candidates)
    return SecurityMaster(
        securities=candidates.join(collisions, on=["symbol", "stock_code"], how="anti"),
        indices=rows.filter(is_index).sort("token", "stock_code"),
        collisions=collisions,
        dropped=judged.filter(pl.col("reason").is_not_null()).sort(DROPPED_SCHEMA.names()),
        sha256=hashlib.sha256(text).hexdigest(),
        n_rows=table.height,
        n_unreadable_dates=_n_unreadable_dates(table),
    )


def read_member(content: bytes, member: str) -> bytes:
    """Return a file of the archive; errors as `parse_master`."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.read(_entry(archive, member))
    # An encrypted entry and an unknown compression are both kinds of RuntimeError.
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
        raise MasterUnavailableError(
            "list of securities is damaged",
            where="SecurityMaster.zip",
            expected="a whole ZIP archive",
            found=f"{len(content)} bytes: {error}",
            remedy="download it again; until then the last snapshot can be used",
        ) from error


def _entry(archive: zipfile.ZipFile, member: str) -> zipfile.ZipInfo:
    for entry in archive.infolist():
        # CDNSEScripMaster.txt and FONSEScripMaster.txt end alike, so the whole name is compared.
        if entry.filename.rpartition("/")[2].lower() == member.lower():
            if entry.file_size > _MAX_MEMBER_BYTES:
                raise MasterUnavailableError(
                    "list of securities is far too large",
                    where=entry.filename,
                    expected=f"at most {_MAX_MEMBER_BYTES} bytes",
                    found=f"{entry.file_size} bytes",
                    remedy="check from where it was downloaded",
                )
            return entry
    raise SourceError(
        "list of securities has no file of NSE",
        where="SecurityMaster.zip",
        expected=member,
        found=", ".join(archive.namelist()) or "an empty archive",
        remedy="check from where it was downloaded; if the vendor renamed the file, this reader "
        "has to learn its name",
    )


def member_table(text: bytes, layout: MemberLayout) -> pl.DataFrame:
    """Return the columns of a layout that a file has, as text under their names in small letters.

    Parameters
    ----------
    text
        The file.
    layout
        Its columns; others are passed over.

    Raises
    ------
    MasterUnavailableError
        It is empty or damaged.
    SourceError
        It lacks a column.
    """
    head, _, body = text.partition(b"\n")
    known = {name.lower() for name in (*layout.required, *layout.optional)}
    names = [name if name in known else f"{n}:{name}" for n, name in _column_names(head, layout)]
    # Some editions repeat the header's blank in the rows, which would hide the quotation mark.
    if b', "' in body:
        body = re.sub(rb',[ \t]+"', b',"', body)
    n_lines = sum(1 for line in body.split(b"\n") if line.strip())
    try:
        table = pl.read_csv(
            io.BytesIO(body),
            has_header=False,
            schema=dict.fromkeys(names, pl.String()),
            columns=[place for place, name in enumerate(names) if name in known],
            encoding="utf8-lossy",
        ).filter(~pl.all_horizontal(pl.all().is_null()))
    except pl.exceptions.PolarsError as error:
        raise _unreadable(layout.member, str(error).splitlines()[0]) from error
    # An unpaired quotation mark swallows the lines after it without an error.
    if table.height != n_lines or not n_lines:
        raise _unreadable(layout.member, f"{n_lines} lines that make {table.height} rows")
    return table


def _column_names(head: bytes, layout: MemberLayout) -> list[tuple[int, str]]:
    line = head.decode("utf-8-sig", errors="replace")
    names = [
        cell.strip().lower() for row in csv.reader([line], skipinitialspace=True) for cell in row
    ]
    missing = [name for name in layout.required if names.count(name.lower()) != 1]
    if missing:
        raise SourceError(
            "list of securities lacks a column",
            where=layout.member,
            expected=f"each of {', '.join(layout.required)} once",
            found=f"not once: {', '.join(missing)}; header: {line[:200]!r}",
            remedy="check from where it was downloaded; if the vendor changed the layout, this "
            "reader has to learn it",
        )
    return list(enumerate(names))


def _unreadable(member: str, found: str) -> MasterUnavailableError:
    return MasterUnavailableError(
        "list of securities cannot be read",
        where=member,
        expected="a header and one line of comma-separated cells per security",
        found=found,
        remedy="download it again; until then the last snapshot can be used",
    )


def _rows(table: pl.DataFrame) -> pl.DataFrame:
    given = set(table.columns)
    flag = _text("DeleteFlag", given).str.to_uppercase()
    high = _text("52WeeksHigh", given)
    return table.select(
        symbol=_text("ExchangeCode", given),
        stock_code=_text("ShortName", given),
        isin=_text("ISINCode", given),
        token=_text("Token", given),
        series=_text("Series", given).str.to_uppercase(),
        company_name=_text("CompanyName", given),
        listed_on=pl.coalesce(_date("DateOfListing", given), _date("ListingDate", given)),
        delisted_on=_date("DateOfDeListing", given),
        is_deleted=flag.is_not_null() & ~flag.is_in(_NOT_DELETED),
        is_priced_in_year=high.cast(pl.Float64, strict=False) > 0,
    ).unique()


def _text(name: str, given: set[str]) -> pl.Expr:
    if name.lower() not in given:
        return pl.lit(None, pl.String)
    text = pl.col(name.lower()).str.strip_chars()
    return pl.when(text != "").then(text)


def _date(name: str, given: set[str]) -> pl.Expr:
    # A time of day may follow the date. A year of two digits would be one of the first century.
    text = _text(name, given).str.slice(0, _N_DATE_CHARACTERS).str.strip_chars()
    text = pl.when(text.str.contains(r"\d{4}")).then(text)
    return pl.coalesce(text.str.to_date(form, strict=False) for form in _DATE_FORMATS)


def _n_unreadable_dates(table: pl.DataFrame) -> int:
    given = set(table.columns)
    names = ("DateOfListing", "ListingDate", "DateOfDeListing")
    unread = [(_text(name, given).is_not_null() & _date(name, given).is_null()) for name in names]
    return sum(table.select(expression.sum()).item() for expression in unread)


def _drop_reason() -> pl.Expr:
    is_symbol = pl.col("symbol").str.contains(f"^(?:{SYMBOL_PATTERN})$") & (
        pl.col("symbol").str.len_bytes() <= MAX_SYMBOL_LENGTH
    )
    return (
        pl.when(~is_symbol.fill_null(value=False))
        .then(pl.lit(DropReason.NO_SYMBOL.value))
        .when(pl.col("stock_code").is_null())
        .then(pl.lit(DropReason.NO_STOCK_CODE.value))
        .when(pl.col("is_deleted"))
        .then(pl.lit(DropReason.DELETED.value))
        .when(~pl.col("series").is_in((_ORDINARY, _TRADE_TO_TRADE)).fill_null(value=False))
        .then(pl.lit(DropReason.OTHER_SERIES.value))
        .when(~pl.col("token").str.contains(_LIVE_TOKEN).fill_null(value=False))
        .then(pl.lit(DropReason.DEAD_TOKEN.value))
    )


def _preferred_series(kept: pl.DataFrame) -> pl.DataFrame:
    ordinary = kept.filter(pl.col("series") == _ORDINARY)
    others = kept.filter(pl.col("series") == _TRADE_TO_TRADE)
    return pl.concat([ordinary, others.join(ordinary, on="symbol", how="anti")]).sort(
        MASTER_SCHEMA.names()
    )


def _collisions(candidates: pl.DataFrame) -> pl.DataFrame:
    of_symbol = candidates.filter(pl.len().over("symbol") > 1).select(
        pl.lit(CollisionKind.SYMBOL.value).alias("kind"), pl.col("symbol").alias("key"), pl.all()
    )
    of_code = candidates.filter(pl.col("symbol").n_unique().over("stock_code") > 1).select(
        pl.lit(CollisionKind.STOCK_CODE.value).alias("kind"),
        pl.col("stock_code").alias("key"),
        pl.all(),
    )
    return pl.concat([of_symbol, of_code]).select(COLLISION_SCHEMA.names()).sort(pl.all())
