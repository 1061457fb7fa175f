"""Downloading the vendor's list of securities.

Belongs here: one request, its timeouts, its errors and its second try. Does not belong here: what
the archive holds (`market.security_master`, `market.contract_list`), and how often it is needed.
The SDK downloads it three times per start and parses it in a way that mixes companies up, so it is
not asked for it.
"""

import contextlib
from collections.abc import Callable
from datetime import date
from typing import TypeVar

import requests

from sensequant.errors import MasterUnavailableError
from sensequant.market.contract_list import parse_expiries
from sensequant.market.security_master import SecurityMaster, parse_master
from sensequant.market.sources.breeze.config import TimeoutConfig
from sensequant.market.sources.breeze.endpoints import Endpoints
from sensequant.market.sources.breeze.sdk import resolved
from sensequant.market.sources.breeze.transport import Transport, TransportConfig

__all__ = ["download_expiries", "download_master"]

_T = TypeVar("_T")

# The archive has megabytes where a reply has kilobytes.
_LEAST_READ_SECONDS = 60.0


def download_master(endpoints: Endpoints, timeouts: TimeoutConfig) -> SecurityMaster:
    """Return the list of shares as the vendor has it now.

    A download that fails, or brings a damaged archive, is tried a second time.

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
    SourceError
        Its layout has changed.
    """
    return _parsed(endpoints, timeouts, parse_master)


def download_expiries(endpoints: Endpoints, timeouts: TimeoutConfig) -> dict[str, tuple[date, ...]]:
    """Return the days on which listed options end, by the vendor's code of their underlying.

    Parameters and errors are those of `download_master`.
    """
    return _parsed(endpoints, timeouts, parse_expiries)


def _parsed(endpoints: Endpoints, timeouts: TimeoutConfig, parse: Callable[[bytes], _T]) -> _T:
    transport = Transport(
        TransportConfig(
            connect_seconds=timeouts.connect_seconds,
            read_seconds=max(timeouts.read_seconds, _LEAST_READ_SECONDS),
            is_direct=endpoints.is_loopback,
            has_ipv4_only=False,
        )
    )
    address = resolved(endpoints).master
    with contextlib.closing(transport):
        try:
            return parse(_downloaded(transport, address))
        except MasterUnavailableError:
            return parse(_downloaded(transport, address))


def _downloaded(transport: Transport, address: str) -> bytes:
    try:
        response = transport.get(address)
    except requests.RequestException as error:
        raise _unavailable(address, f"{type(error).__name__}: {error}") from error
    if response.status_code != requests.codes.ok:
        raise _unavailable(address, f"status {response.status_code} of HTTP")
    return response.content


def _unavailable(address: str, found: str) -> MasterUnavailableError:
    return MasterUnavailableError(
        "the vendor's list of securities cannot be had",
        where=address,
        expected="a zip archive",
        found=found,
        remedy="try again later",
    )
