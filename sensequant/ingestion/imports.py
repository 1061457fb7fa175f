"""Lists that a person brings: corporate actions, changes of symbols, listings, sectors.

Belongs here: checking such a list and keeping it where it is looked for. Does not belong here: what
the lists mean (`market`).
"""

from pathlib import Path

import polars as pl

from sensequant.errors import InvalidBarsError
from sensequant.ingestion.shelf import LISTINGS_FILE
from sensequant.market.listings import read_listings
from sensequant.market.renames import RenameTable, read_renames
from sensequant.market.sectors import read_sectors
from sensequant.market.sources.files.action_files import read_actions
from sensequant.market.store import BarStore
from sensequant.storage import read_table, write_atomically, write_table

__all__ = [
    "import_actions",
    "import_listings",
    "import_renames",
    "import_sectors",
    "stored_renames",
    "stored_sectors",
]

_RENAMES_FILE = Path("symbols") / "renames.parquet"
_SECTORS_FILE = Path("symbols") / "sectors.parquet"


def import_actions(store: BarStore, path: Path) -> pl.DataFrame:
    """Bring a list of corporate actions into a store; it replaces the former one of its source.

    Raises
    ------
    InvalidBarsError
        The list cannot be read or contradicts itself, or no line of it moves a price.
    """
    actions = read_actions(path)
    if actions.is_empty():
        # It names no source, so that it would leave the former list in place without a word.
        raise InvalidBarsError(
            "list has no corporate action",
            where=str(path),
            expected="at least one split, bonus, demerger, rights issue or dividend, with a date "
            "such as 05-Dec-2022",
            found="none",
            remedy="look at its columns and dates; the former list stays",
        )
    store.write_actions(actions)
    return actions


def import_renames(home: Path, path: Path) -> RenameTable:
    """Keep a list of changed symbols, in place of the former one.

    Raises
    ------
    InvalidBarsError
        The list cannot be read or contradicts itself.
    """
    renames = read_renames(path)
    # One file, whatever the form of what was handed over: it is replaced as a whole or not at all.
    write_table(home / _RENAMES_FILE, pl.concat([renames.frame, renames.unusable]))
    return renames


def stored_renames(home: Path) -> RenameTable:
    """Return the changes of symbols that were imported; none without."""
    path = home / _RENAMES_FILE
    return read_renames(path) if path.is_file() else RenameTable.empty()


def import_sectors(home: Path, path: Path) -> pl.DataFrame:
    """Keep a list of sectors, in place of the former one.

    Raises
    ------
    InvalidBarsError
        The list cannot be read, or a row is wrong.
    """
    sectors = read_sectors(path)
    write_table(home / _SECTORS_FILE, sectors)
    return sectors


def stored_sectors(home: Path) -> pl.DataFrame | None:
    """Return the sectors that were imported (`market.sectors.SECTOR_SCHEMA`); None without."""
    path = home / _SECTORS_FILE
    return read_table(path) if path.is_file() else None


def import_listings(root: Path, path: Path) -> pl.DataFrame:
    """Keep spells of listing and suspension that a person states, in place of the former ones.

    Raises
    ------
    ConfigError
        The list cannot be read, or a row is wrong.
    """
    listings = read_listings(path)
    write_atomically(root / LISTINGS_FILE, listings.write_csv().encode())
    return listings
