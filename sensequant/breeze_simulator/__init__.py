"""A vendor of one's own: the Breeze API on this machine, for the unmodified SDK.

Nothing here is used by a run against the real service. `docs/breeze_simulator.md` says which of
its behaviour has a source and which is a guess, and lists the fault switches.
"""

from sensequant.breeze_simulator.clock import SettableClock
from sensequant.breeze_simulator.fault_catalog import CATALOG
from sensequant.breeze_simulator.faults import Fault, parse_fault
from sensequant.breeze_simulator.limits import UNLIMITED, Call, Limits
from sensequant.breeze_simulator.market import FolderFeed, MarketFeed, SimulatedFeed
from sensequant.breeze_simulator.server import BreezeSimulator, Ports

__all__ = [
    "CATALOG",
    "UNLIMITED",
    "BreezeSimulator",
    "Call",
    "Fault",
    "FolderFeed",
    "Limits",
    "MarketFeed",
    "Ports",
    "SettableClock",
    "SimulatedFeed",
    "parse_fault",
]
