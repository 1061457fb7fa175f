"""Where the Breeze API is: the vendor's addresses, or those of a simulator on this machine.

Belongs here: the addresses. Does not belong here: their values at the vendor; the SDK has them
(`sdk.resolved`).
"""

import dataclasses
import ipaddress
from urllib.parse import urlsplit

__all__ = ["VENDOR", "Endpoints"]


@dataclasses.dataclass(frozen=True, slots=True)
class Endpoints:
    """The six addresses of the API; an empty one is the vendor's, as the SDK has it.

    Parameters
    ----------
    v1
        Base of login, quotes, option chain and the older history; ends with a slash.
    v2
        Base of the newer history; ends with a slash.
    master
        The zip with the security master.
    stream
        Socket of quotes and market depth.
    ohlc_stream
        Socket of bars.
    orders
        Socket of order notifications.
    """

    v1: str = ""
    v2: str = ""
    master: str = ""
    stream: str = ""
    ohlc_stream: str = ""
    orders: str = ""

    @property
    def is_loopback(self) -> bool:
        """Whether both bases are on this machine, so that no proxy may come between."""
        return all(_is_loopback(address) for address in (self.v1, self.v2))


VENDOR = Endpoints()
"""The vendor's own service."""


def _is_loopback(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
