"""Facts about downloading the vendor's list of securities."""

from collections.abc import Callable
from typing import Any

import pytest

from sensequant.errors import MasterUnavailableError
from sensequant.market.sources.breeze.config import TimeoutConfig
from sensequant.market.sources.breeze.master_file import download_master

ARCHIVE = b"PK, or so it says"
MASTER = "master.zip"


def test_the_archive_as_it_came(service: Any) -> None:
    """One request, without a key, a session or a word of who asks."""
    service.script(MASTER, ARCHIVE)

    assert download_master(service.endpoints, TimeoutConfig()) == ARCHIVE

    (seen,) = service.seen
    assert seen.kind == MASTER
    assert seen.fields == {}
    assert not {"X-SessionToken", "X-AppKey", "apikey", "Cookie"} & set(seen.headers)


@pytest.mark.parametrize(
    "first",
    [
        {"status": 503},
        {"status": 404},
        {"status": 302, "headers": (("Location", "/elsewhere"),)},
        {"breaks": "reset"},
        {"breaks": "short"},
    ],
)
def test_a_failure_that_passes(service: Any, first: dict[str, Any]) -> None:
    """The second try brings it; half an archive is none."""
    service.script(MASTER, b"not it", **first)
    service.script(MASTER, ARCHIVE)

    assert download_master(service.endpoints, TimeoutConfig()) == ARCHIVE
    assert service.kinds() == [MASTER, MASTER]


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ({"status": 503}, "status 503 of HTTP"),
        ({"status": 302, "headers": (("Location", "/elsewhere"),)}, "status 302 of HTTP"),
        ({"breaks": "reset"}, "ConnectionError"),
        ({"breaks": "short"}, "ChunkedEncodingError"),
    ],
)
def test_a_failure_that_stays(service: Any, reply: dict[str, Any], found: str) -> None:
    """After two tries the error says what came last, and where; a redirect is not followed."""
    for _ in range(2):
        service.script(MASTER, b"<html>", **reply)
    service.script("elsewhere", ARCHIVE)

    with pytest.raises(MasterUnavailableError, match=found) as caught:
        download_master(service.endpoints, TimeoutConfig())

    assert caught.value.where == service.endpoints.master
    assert service.kinds() == [MASTER, MASTER]


def test_nobody_is_there(start_service: Callable[[], Any]) -> None:
    """A refused connection is the same error."""
    endpoints = start_service().endpoints
    nobody = type(endpoints)(v1=endpoints.v1, v2=endpoints.v2, master="http://127.0.0.1:9/m.zip")
    with pytest.raises(MasterUnavailableError, match="ConnectionError"):
        download_master(nobody, TimeoutConfig())


def test_megabytes_have_more_time_than_a_reply(service: Any) -> None:
    """A silence that would end an ordinary request does not end this one."""
    service.script(MASTER, ARCHIVE, delay_seconds=0.3)

    timeouts = TimeoutConfig(read_seconds=0.05)

    assert download_master(service.endpoints, timeouts) == ARCHIVE
