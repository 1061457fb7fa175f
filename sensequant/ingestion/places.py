"""Where the bars of a source lie, and by which name the ledger knows that place.

Belongs here: one store for each kind of bars that may not meet another kind. Does not belong here:
what is in a store (`market.store`).

Publishers' files are one history and share the home itself. The vendor's bars lie apart, because
nobody has established whether they are adjusted. Every simulated market has a place of its own, so
that invented bars never lie among real ones, nor among those of another seed.
"""

from pathlib import Path
from typing import Literal

from sensequant.context.store import ContextStore
from sensequant.market.sources.build import SourceConfig
from sensequant.market.sources.simulated import SimulatedConfig
from sensequant.market.store import BarStore
from sensequant.records import digest_of

__all__ = [
    "claims_folder",
    "context_store_at",
    "ledger_path",
    "logins_folder",
    "market_digest",
    "real_store",
    "store_at",
    "store_key",
]

_N_DIGITS = 12


_REAL = {"files": ".", "breeze": "breeze"}


def store_key(source: SourceConfig) -> str:
    """Return the folder of a source's store below the home; `.` is the home itself."""
    if source.kind in _REAL:
        return _REAL[source.kind]
    prefix = "breeze-" if source.is_vendor else ""
    return f"simulated/{prefix}{market_digest(source)[:_N_DIGITS]}"


def market_digest(source: SourceConfig) -> str:
    """Return the digest of what a simulated market, or the simulator of the vendor, is made of."""
    if source.folder is not None:
        # A folder is the same however it is spelt, and another one from another working folder.
        index = source.index_folder
        index = None if index is None else index.resolve()
        return digest_of({"folder": source.folder.resolve(), "index_folder": index})
    return digest_of(source.simulated or SimulatedConfig())


def store_at(home: Path, source: SourceConfig) -> BarStore:
    """Return the store of a source's bars."""
    return BarStore(home / store_key(source))


def context_store_at(home: Path, source: SourceConfig) -> ContextStore:
    """Return the store of what is known beside the bars of a source.

    There is one of real context, whatever source the bars come from, and one for each simulated
    market.
    """
    if source.kind in _REAL:
        return ContextStore(home, is_simulated=False)
    return ContextStore(home / store_key(source), is_simulated=True)


def real_store(home: Path, kind: Literal["files", "breeze"]) -> BarStore:
    """Return the store of one kind of real bars, whatever folder they came from."""
    return BarStore(home / _REAL[kind])


def ledger_path(home: Path) -> Path:
    """Return the file of the ledger, one for all sources of a home."""
    return home / "fetches" / "ledger.db"


def logins_folder(home: Path) -> Path:
    """Return the folder of the sessions that processes of a home share; its owner's alone."""
    return home / "fetches" / "private"


def claims_folder(home: Path) -> Path:
    """Return the folder of the locks by which ingestions share the work."""
    return home / "fetches" / "claims"
