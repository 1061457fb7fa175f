"""Tests of the addresses."""

import pytest

from sensequant.market.sources.breeze.endpoints import VENDOR, Endpoints


@pytest.mark.parametrize(
    ("v1", "v2", "expected"),
    [
        ("http://127.0.0.1:80/", "http://127.0.0.2:80/", True),
        ("http://localhost/", "http://[::1]:9/", True),
        ("http://127.0.0.1:80/", "https://api.example.com/", False),
        ("http://10.0.0.1/", "http://10.0.0.1/", False),
        ("", "", False),
    ],
)
def test_only_addresses_of_this_machine_are_loopback(v1: str, v2: str, expected: bool) -> None:
    """A proxy is passed over only where both bases are on this machine."""
    assert expected == Endpoints(v1=v1, v2=v2).is_loopback


def test_vendor_is_written_nowhere_here() -> None:
    """The vendor's addresses are the SDK's own."""
    assert Endpoints() == VENDOR
