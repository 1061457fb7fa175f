"""Files that bring context, whatever is in them.

Belongs here: which files a path means, whose they are, bringing them one by one, and how refused
rows are written down. Does not belong here: what is in the files (`depth_files`, `headline_files`,
`macro_files`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from sensequant.context.rows import ContextKind
from sensequant.context.store import REFUSED_SCHEMA, ContextStore, WriteCounts
from sensequant.errors import ConfigError, InvalidContextError
from sensequant.market.symbols import validate_symbol

__all__ = [
    "Delivered",
    "ImportReport",
    "files_at",
    "import_files",
    "refusals",
    "symbol_in_name",
]


@dataclass(frozen=True, slots=True)
class Delivered:
    """What one file brought.

    Attributes
    ----------
    rows
        Rows that keep the contract of their kind.
    refused
        The others (`store.REFUSED_SCHEMA`).
    """

    rows: pl.DataFrame
    refused: pl.DataFrame


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did.

    Attributes
    ----------
    n_files
        Files that were read.
    counts
        Rows that were added, corrected, or known already.
    refused
        The refused rows of this import (`store.REFUSED_SCHEMA`).
    symbols
        Whose rows could be used, sorted.
    """

    n_files: int
    counts: WriteCounts
    refused: pl.DataFrame
    symbols: tuple[str, ...]


def files_at(path: Path, suffixes: Sequence[str]) -> list[Path]:
    """Return a file, or those below a folder that end in one of the suffixes, sorted.

    Raises
    ------
    ConfigError
        There is no such file, or the folder holds none.
    """
    if path.is_dir():
        found = sorted(each for each in path.rglob("*") if each.name.endswith(tuple(suffixes)))
    else:
        found = [path] if path.is_file() and path.name.endswith(tuple(suffixes)) else []
    if not found:
        raise ConfigError(
            "nothing to import",
            where=str(path),
            expected=f"a file, or a folder of files, ending in {', '.join(suffixes)}",
            found="an empty folder" if path.is_dir() else "no such file",
            remedy="name the file or folder that holds them",
        )
    return found


def import_files(
    store: ContextStore,
    kind: ContextKind,
    paths: Sequence[Path],
    bring: Callable[[Path], tuple[Delivered, WriteCounts]],
) -> ImportReport:
    """Bring files into a store one after the other, and keep what was refused with its reason.

    Parameters
    ----------
    store
        Where to.
    kind
        What the files hold.
    paths
        The files, at least one; those before one that cannot be used as a whole stay brought.
    bring
        Reads a file and writes its usable rows; returns what it held, and what became of it.
    """
    counts, refused, symbols = WriteCounts(), list[pl.DataFrame](), set[str]()
    for path in paths:
        delivered, written = bring(path)
        counts += written
        store.refuse(kind, delivered.refused)
        refused.append(delivered.refused)
        symbols |= set(delivered.rows["symbol"])
    return ImportReport(len(paths), counts, pl.concat(refused), tuple(sorted(symbols)))


def symbol_in_name(path: Path) -> str:
    """Return the symbol with which a file's name begins, up to its first underscore.

    Raises
    ------
    InvalidContextError
        It does not begin with a symbol.
    """
    text = path.name.partition(".")[0].partition("_")[0]
    try:
        return validate_symbol(text)
    except ConfigError as error:
        raise InvalidContextError(
            "name of the file does not say whose it is",
            where=str(path),
            expected="a name such as RELIANCE_20240102.csv",
            found=text,
            remedy="rename the file, or say whose it is: --symbol RELIANCE",
        ) from error


def refusals(rows: pl.DataFrame, *, source: str, path: Path, refused_at: datetime) -> pl.DataFrame:
    """Return refused rows as they are kept.

    Parameters
    ----------
    rows
        symbol, stamp, reason, detail.
    source, path
        Where they came from.
    refused_at
        Aware time of the import.
    """
    return rows.select(
        "symbol",
        "stamp",
        "reason",
        "detail",
        source=pl.lit(source),
        file=pl.lit(path.name),
        refused_at=pl.lit(refused_at, REFUSED_SCHEMA["refused_at"]),
    ).cast(REFUSED_SCHEMA)
