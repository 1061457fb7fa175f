"""Lists that a person brings: corporate actions, changes of symbols, spells of listing.

Belongs here: checking such a list and keeping it where it is looked for. Does not belong here: what
the lists mean (`market`).
"""

from pathlib import Path

import polars as pl

from sensequant.ingestion.shelf import LISTINGS_FILE
from sensequant.market.listings import read_listings
from sensequant.market.renames import RenameTable, read_renames
from sensequant.market.sources.files.action_files import read_actions
from sensequant.market.store import BarStore
from sensequant.storage import write_atomically

__all__ = ["import_actions", "import_listings", "import_renames", "stored_renames"]

_RENAMES = "renames"


def import_actions(store: BarStore, path: Path) -> pl.DataFrame:
    """Bring a list of corporate actions into a store; it replaces the former one of its source.

    Raises
    ------
    InvalidBarsError
        The list cannot be read, or contradicts itself.
    """
    actions = read_actions(path)
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
    folder = home / "symbols"
    for former in folder.glob(f"{_RENAMES}.*"):
        former.unlink()
    write_atomically(folder / f"{_RENAMES}{''.join(path.suffixes[-2:])}", path.read_bytes())
    return renames


def stored_renames(home: Path) -> RenameTable:
    """Return the changes of symbols that were imported; none without."""
    for path in sorted((home / "symbols").glob(f"{_RENAMES}.*")):
        return read_renames(path)
    return RenameTable.empty()


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
