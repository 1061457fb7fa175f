"""Downloading the vendor's list of securities.

Belongs here: one request, its timeouts and its errors. Does not belong here: what the archive holds
(`market.security_master`), and how often it is needed. The SDK downloads it three times per start
and parses it in a way that mixes companies up, so it is not asked for it.
"""

import requests

from sensequant.errors import MasterUnavailableError
from sensequant.market.sources.breeze.config import TimeoutConfig
from sensequant.market.sources.breeze.endpoints import Endpoints
from sensequant.market.sources.breeze.sdk import resolved
from sensequant.market.sources.breeze.transport import Transport, TransportConfig

__all__ = ["download_master"]

# The archive has megabytes where a reply has kilobytes.
_LEAST_READ_SECONDS = 60.0
_N_TRIES = 2


def download_master(endpoints: Endpoints, timeouts: TimeoutConfig) -> bytes:
    """Return the archive as the vendor has it now; a connection that fails is tried twice.

    Parameters
    ----------
    endpoints
        Where the service is.
    timeouts
        Longest waits; a longer one is granted for reading.

    Raises
    ------
    MasterUnavailableError
        It cannot be had.
    """
    transport = Transport(
        TransportConfig(
            connect_seconds=timeouts.connect_seconds,
            read_seconds=max(timeouts.read_seconds, _LEAST_READ_SECONDS),
            is_direct=endpoints.is_loopback,
            has_ipv4_only=False,
        )
    )
    address = resolved(endpoints).master
    found = ""
    try:
        for _ in range(_N_TRIES):
            try:
                response = transport.get(address)
            except requests.RequestException as error:
                found = f"{type(error).__name__}: {error}"
                continue
            if response.status_code == requests.codes.ok:
                return response.content
            found = f"status {response.status_code} of HTTP"
    finally:
        transport.close()
    raise MasterUnavailableError(
        "the vendor's list of securities cannot be had",
        where=address,
        expected="a zip archive",
        found=found,
        remedy="try again later",
    )
