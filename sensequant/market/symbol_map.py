"""Which code the broker has for an NSE symbol, as of a date, with proof of where that stands.

Belongs here: looking a symbol, stock code, ISIN or token up; dated copies of the map on disk; what
changed between two of them. Does not belong here: reading the broker's list
(`market.security_master`), changes of NSE symbols by date (`market.renames`), comparing with a
universe (`market.discovery`).

An ISIN names a company's share across changes of its symbol, so two maps are compared by ISIN.
An ISIN itself changes when the face value does (a split); its first seven characters, the issuer,
stay. Rows without an ISIN, and those that share one, are compared by symbol.

A symbol that is not in the map is refused. It is never sent to the broker as it stands, because
another company may have that text as its code.
"""

import dataclasses
import difflib
import re
from collections.abc import Iterable
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Self

import polars as pl

from sensequant.errors import ConfigError, DigestMismatchError, RecordError, UnknownSymbolError
from sensequant.market.security_master import MASTER_SCHEMA, SecurityMaster
from sensequant.market.symbols import INDIA_VIX, NIFTY50
from sensequant.records import digest_of
from sensequant.storage import read_table, write_table

__all__ = [
    "INDEX_NAMES",
    "SNAPSHOT_FOLDER",
    "SYMBOL_CHANGE_SCHEMA",
    "SYMBOL_MAP_SCHEMA",
    "RowKind",
    "SymbolChange",
    "SymbolMap",
    "diff_maps",
    "latest_snapshot",
    "read_snapshot",
    "write_snapshot",
]

INDEX_NAMES = {NIFTY50: "NIFTY50", INDIA_VIX: "INDIAVIX"}
"""Our name of an index to its name in the broker's list, without blanks and in upper case."""

SNAPSHOT_FOLDER = "symbols/master"
"""Where dated copies lie, below SENSEQUANT_HOME."""


class RowKind(StrEnum):
    """What a row of the map is."""

    SECURITY = "security"
    INDEX = "index"
    COLLISION = "collision"
    """A candidate for a symbol or code that several rows claim; none of them is used."""

    DROPPED = "dropped"
    """A row of the list that cannot be asked for, with the reason."""


SYMBOL_MAP_SCHEMA = pl.Schema({"kind": pl.String(), **MASTER_SCHEMA, "reason": pl.String()})
"""Rows of a map. `reason` says why a row was dropped, or which key it collides on."""


class SymbolChange(StrEnum):
    """How a security differs between two maps."""

    ADDED = "added"
    REMOVED = "removed"
    RENAMED = "renamed"
    """Same ISIN under another NSE symbol."""

    CODE_CHANGED = "code_changed"
    """Same ISIN and another code of the broker."""

    ISIN_CHANGED = "isin_changed"
    """Same symbol and issuer with another ISIN: the face value changed."""

    REUSED = "reused"
    """Same symbol with the ISIN of another issuer: another company has the name now."""

    COLLIDED = "collided"
    """It was usable, and now several rows claim its symbol or code."""


SYMBOL_CHANGE_SCHEMA = pl.Schema(
    {
        "change": pl.String(),
        "symbol_before": pl.String(),
        "symbol": pl.String(),
        "stock_code_before": pl.String(),
        "stock_code": pl.String(),
        "isin_before": pl.String(),
        "isin": pl.String(),
    }
)

_SCHEMA_VERSION = 1
_N_NAME_DIGITS = 12
_N_ISSUER_CHARACTERS = 7
_SNAPSHOT_NAME = re.compile(rf"(\d{{4}}-\d{{2}}-\d{{2}})_([0-9a-f]{{{_N_NAME_DIGITS}}})\.parquet")


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class SymbolMap:
    """The broker's codes on one date.

    Parameters
    ----------
    frame
        Rows of `SYMBOL_MAP_SCHEMA`, sorted.
    as_of
        Date of the list.
    """

    frame: pl.DataFrame
    as_of: date
    sha256: str = dataclasses.field(init=False)
    _by_symbol: dict[str, dict[str, str | None]] = dataclasses.field(init=False, repr=False)
    _by_code: dict[str, str] = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        used = self.frame.filter(pl.col("kind").is_in((RowKind.SECURITY, RowKind.INDEX)))
        rows = used.select("symbol", "stock_code", "isin", "token").to_dicts()
        object.__setattr__(self, "_by_symbol", {row["symbol"]: row for row in rows})
        object.__setattr__(self, "_by_code", {row["stock_code"]: row["symbol"] for row in rows})
        object.__setattr__(self, "sha256", digest_of(self.frame.rows()))

    @classmethod
    def from_master(cls, master: SecurityMaster, *, as_of: date) -> Self:
        """Make the map of a list.

        Indices stand under our names. One that the list does not have, or has under two codes, is
        left out, as a security would be.
        """
        parts = [
            _rows(master.securities, RowKind.SECURITY),
            *_index_rows(master.indices, taken=master.securities),
            _rows(master.collisions, RowKind.COLLISION, reason=pl.col("kind")),
            _rows(master.dropped, RowKind.DROPPED, reason=pl.col("reason")),
        ]
        return cls(pl.concat(parts).unique().sort(SYMBOL_MAP_SCHEMA.names()), as_of)

    def stock_code(self, symbol: str) -> str:
        """Return the broker's code of a symbol or index.

        Raises
        ------
        UnknownSymbolError
            The map has no single code for it; the message says why and names similar symbols.
        """
        return str(self._row(symbol)["stock_code"])

    def isin(self, symbol: str) -> str | None:
        """Return the ISIN of a symbol, or None where the list states none (indices).

        Raises
        ------
        UnknownSymbolError
            The symbol is not in the map.
        """
        return self._row(symbol)["isin"]

    def token(self, symbol: str) -> str:
        """Return the number (for an index: the name) under which market data is streamed.

        Raises
        ------
        UnknownSymbolError
            The symbol is not in the map.
        """
        return str(self._row(symbol)["token"])

    def symbol_of(self, stock_code: str) -> str:
        """Return the NSE symbol or index name that has a code of the broker.

        Raises
        ------
        UnknownSymbolError
            No symbol of the map has it.
        """
        if stock_code in self._by_code:
            return self._by_code[stock_code]
        raise self._unknown(
            "stock code is not in the broker's list",
            found=stock_code,
            remedy=_nearest(stock_code, self._by_code) or "ask for the symbols of the map",
        )

    def has(self, symbol: str) -> bool:
        """Return whether the map has a code for a symbol or index."""
        return symbol in self._by_symbol

    def symbols(self) -> tuple[str, ...]:
        """Return the securities, sorted, without the indices."""
        return self._names(RowKind.SECURITY)

    def indices(self) -> tuple[str, ...]:
        """Return the indices that the list has, by our names, sorted."""
        return self._names(RowKind.INDEX)

    def rows_of(self, symbol: str, *kinds: RowKind) -> pl.DataFrame:
        """Return the rows under a symbol (`SYMBOL_MAP_SCHEMA`), of these kinds or of all."""
        of_symbol = self.frame.filter(pl.col("symbol") == symbol)
        return of_symbol.filter(pl.col("kind").is_in(kinds)) if kinds else of_symbol

    def _names(self, kind: RowKind) -> tuple[str, ...]:
        return tuple(self.frame.filter(pl.col("kind") == kind)["symbol"].sort())

    def _row(self, symbol: str) -> dict[str, str | None]:
        if symbol in self._by_symbol:
            return self._by_symbol[symbol]
        candidates = self.rows_of(symbol, RowKind.COLLISION)
        if candidates.height:
            raise self._unknown(
                "several rows of the broker's list claim this symbol or its code",
                found=f"{symbol}: "
                + "; ".join(" ".join(map(str, row)) for row in candidates.select(_SHOWN).rows()),
                remedy="ask the broker which one holds; until then the symbol cannot be fetched",
            )
        reasons = self.rows_of(symbol, RowKind.DROPPED)["reason"].unique().sort()
        raise self._unknown(
            "symbol is not in the broker's list",
            found=" ".join([symbol, *(f"({reason})" for reason in reasons)]),
            remedy=_nearest(symbol, self._by_symbol)
            or "look the ticker up at the exchange; it may have been renamed or delisted",
        )

    def _unknown(self, what: str, *, found: str, remedy: str) -> UnknownSymbolError:
        return UnknownSymbolError(
            what,
            where=f"list of {self.as_of}, {self.sha256[:_N_NAME_DIGITS]}",
            expected=f"one of {len(self._by_symbol)} symbols",
            found=found,
            remedy=remedy,
        )


_SHOWN = ("symbol", "stock_code", "series", "token", "isin", "company_name")


def write_snapshot(home: Path, symbols: SymbolMap) -> Path:
    """Write a dated copy below `home`; equal maps of one date give one file.

    Raises
    ------
    StorageError
        The folder cannot be written.
    """
    name = f"{symbols.as_of.isoformat()}_{symbols.sha256[:_N_NAME_DIGITS]}.parquet"
    path = home / SNAPSHOT_FOLDER / name
    write_table(path, symbols.frame, schema_version=_SCHEMA_VERSION)
    return path


def read_snapshot(path: Path) -> SymbolMap:
    """Read a dated copy and check it against the digest in its name.

    Raises
    ------
    ConfigError
        The name is none of a copy.
    RecordError
        It is missing, damaged, of another version or of other columns.
    DigestMismatchError
        Its rows are not those that were written.
    """
    match = _SNAPSHOT_NAME.fullmatch(path.name)
    if match is None:
        raise ConfigError(
            "file is no copy of the broker's list",
            where=str(path),
            expected="YYYY-MM-DD_ and 12 hexadecimal digits, ending in .parquet",
            found=path.name,
            remedy="name a file that `symbols discover` wrote",
        )
    frame = read_table(path, schema_version=_SCHEMA_VERSION)
    if frame.schema != SYMBOL_MAP_SCHEMA:
        raise RecordError(
            "copy of the broker's list has other columns",
            where=str(path),
            expected=", ".join(SYMBOL_MAP_SCHEMA),
            found=", ".join(frame.columns),
            remedy="discover the symbols again",
        )
    symbols = SymbolMap(frame, date.fromisoformat(match[1]))
    if not symbols.sha256.startswith(match[2]):
        raise DigestMismatchError(
            "copy of the broker's list was changed",
            where=str(path),
            expected=match[2],
            found=symbols.sha256[:_N_NAME_DIGITS],
            remedy="remove it and discover the symbols again",
        )
    return symbols


def latest_snapshot(home: Path, *, until: date | None = None) -> SymbolMap | None:
    """Return the newest copy below `home`, or None where there is none.

    Of several copies of one date, that which was written last counts.

    Parameters
    ----------
    until
        Last date that counts; None takes all.
    """
    folder = home / SNAPSHOT_FOLDER
    dated = [
        (match[1], path.stat().st_mtime_ns, path)
        for path in folder.glob("*.parquet")
        if (match := _SNAPSHOT_NAME.fullmatch(path.name))
        and (until is None or match[1] <= until.isoformat())
    ]
    return read_snapshot(max(dated)[2]) if dated else None


def diff_maps(old: SymbolMap, new: SymbolMap) -> pl.DataFrame:
    """Return what changed from one map to another, by ISIN.

    Returns
    -------
    polars.DataFrame
        Rows of `SYMBOL_CHANGE_SCHEMA`, sorted; `_before` is null for what was added, the other
        three are null for what was removed. A security that was both renamed and got another code
        has two rows.
    """
    before, after = _keyed(old, new)
    gone = before.join(after, on="key", how="anti").join(after, on="symbol", how="anti")
    come = after.join(before, on="key", how="anti").join(before, on="symbol", how="anti")
    collided = new.frame.filter(pl.col("kind") == RowKind.COLLISION).select("symbol")
    by_isin = _paired(before, after, on="key")
    by_symbol = _paired(before, after, on="symbol")
    parts = {
        SymbolChange.ADDED: _one_sided(come),
        SymbolChange.REMOVED: _one_sided(
            gone.join(collided, on="symbol", how="anti"), suffix="_before"
        ),
        SymbolChange.COLLIDED: _one_sided(
            gone.join(collided, on="symbol", how="semi"), suffix="_before"
        ),
        SymbolChange.RENAMED: by_isin.filter(pl.col("symbol") != pl.col("symbol_before")),
        SymbolChange.CODE_CHANGED: by_isin.filter(
            pl.col("stock_code") != pl.col("stock_code_before")
        ),
        SymbolChange.ISIN_CHANGED: by_symbol.filter(_has_other_isin() & ~_has_other_issuer()),
        SymbolChange.REUSED: by_symbol.filter(_has_other_issuer()),
    }
    return pl.concat(
        part.select(pl.lit(change.value).alias("change"), pl.exclude("change"))
        for change, part in parts.items()
    ).sort(SYMBOL_CHANGE_SCHEMA.names())


def _rows(part: pl.DataFrame, kind: RowKind, *, reason: pl.Expr | None = None) -> pl.DataFrame:
    reason = pl.lit(None, pl.String) if reason is None else reason
    return part.with_columns(reason.alias("reason")).select(
        pl.lit(kind.value).alias("kind"), *MASTER_SCHEMA.names(), "reason"
    )


def _index_rows(indices: pl.DataFrame, *, taken: pl.DataFrame) -> list[pl.DataFrame]:
    return [
        _index_row(
            indices.filter(_without_blanks("token").eq(name) | _without_blanks("symbol").eq(name)),
            ours=ours,
            taken=taken,
        )
        for ours, name in sorted(INDEX_NAMES.items())
    ]


def _index_row(found: pl.DataFrame, *, ours: str, taken: pl.DataFrame) -> pl.DataFrame:
    named = found.with_columns(pl.lit(ours).alias("symbol"))
    clash = taken.filter(
        (pl.col("symbol") == ours) | pl.col("stock_code").is_in(found["stock_code"].implode())
    )
    is_single = named.height == 1 and clash.is_empty() and named["stock_code"].null_count() == 0
    if is_single or named.is_empty():
        return _rows(named, RowKind.INDEX)
    return _rows(named, RowKind.COLLISION, reason=pl.lit("index"))


def _without_blanks(column: str) -> pl.Expr:
    return pl.col(column).str.replace_all(" ", "", literal=True).str.to_uppercase()


def _nearest(text: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(text.upper(), sorted(known), n=3, cutoff=0.6)
    return f"did you mean {', '.join(near)}?" if near else ""


def _keyed(old: SymbolMap, new: SymbolMap) -> tuple[pl.DataFrame, pl.DataFrame]:
    frames = [
        symbols.frame.filter(pl.col("kind") == RowKind.SECURITY).select(
            "symbol", "stock_code", "isin"
        )
        for symbols in (old, new)
    ]
    shared = pl.concat(
        frame.filter(pl.len().over("isin") > 1).select("isin") for frame in frames
    ).drop_nulls()
    by_symbol = pl.format("symbol {}", "symbol")
    is_identity = pl.col("isin").is_not_null() & ~pl.col("isin").is_in(shared["isin"].implode())
    before, after = (
        frame.with_columns(pl.when(is_identity).then("isin").otherwise(by_symbol).alias("key"))
        for frame in frames
    )
    return before, after


def _paired(before: pl.DataFrame, after: pl.DataFrame, *, on: str) -> pl.DataFrame:
    return (
        before.rename({name: f"{name}_before" for name in before.columns})
        .join(after, left_on=f"{on}_before", right_on=on, coalesce=False)
        .select(SYMBOL_CHANGE_SCHEMA.names()[1:])
    )


def _one_sided(frame: pl.DataFrame, *, suffix: str = "") -> pl.DataFrame:
    named = frame.rename({name: f"{name}{suffix}" for name in frame.columns})
    return named.select(
        pl.col(name) if name in named.columns else pl.lit(None, pl.String).alias(name)
        for name in SYMBOL_CHANGE_SCHEMA.names()[1:]
    )


def _has_other_isin() -> pl.Expr:
    return pl.col("isin").ne_missing(pl.col("isin_before"))


def _has_other_issuer() -> pl.Expr:
    before, after = (
        pl.col(name).str.slice(0, _N_ISSUER_CHARACTERS) for name in ("isin_before", "isin")
    )
    return (before != after).fill_null(value=False)
