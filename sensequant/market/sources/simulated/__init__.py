"""A seeded market on the NSE calendar: settings, price paths, and the source made of them."""

from sensequant.market.sources.simulated.config import SimulatedConfig
from sensequant.market.sources.simulated.source import SimulatedSource

__all__ = ["SimulatedConfig", "SimulatedSource"]
