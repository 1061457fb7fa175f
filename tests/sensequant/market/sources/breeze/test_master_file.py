"""Facts about downloading the vendor's list of securities."""

import io
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from sensequant.errors import MasterUnavailableError
from sensequant.market.sources.breeze.config import TimeoutConfig
from sensequant.market.sources.breeze.master_file import download_master

MASTER = "master.zip"
HEADER = '"Token", "ShortName", "Series", "CompanyName", "ISINCode", "ExchangeCode"'
ROW = '"2885","RELIND","EQ","RELIANCE INDUSTRIES","INE002A01018","RELIANCE"'


def _archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("NSEScripMaster.txt", f"{HEADER}\n{ROW}\n")
    return buffer.getvalue()


ARCHIVE = _archive()


def _symbols(service: Any) -> list[str]:
    return download_master(service.endpoints, TimeoutConfig()).securities["symbol"].to_list()


def test_the_list_as_it_came(service: Any) -> None:
    """One request, without a key, a session or a word of who asks."""
    service.script(MASTER, ARCHIVE)

    assert _symbols(service) == ["RELIANCE"]

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
        {"status": 200},
    ],
)
def test_a_failure_that_passes(service: Any, first: dict[str, Any]) -> None:
    """The second try brings it; half an archive is none, nor is a page that says it is one."""
    service.script(MASTER, b"not it", **first)
    service.script(MASTER, ARCHIVE)

    assert _symbols(service) == ["RELIANCE"]
    assert service.kinds() == [MASTER, MASTER]


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ({"status": 503}, "status 503 of HTTP"),
        ({"status": 302, "headers": (("Location", "/elsewhere"),)}, "status 302 of HTTP"),
        ({"breaks": "reset"}, "ConnectionError"),
        ({"breaks": "short"}, "ChunkedEncodingError"),
        ({}, "is damaged"),
    ],
)
def test_a_failure_that_stays(service: Any, reply: dict[str, Any], found: str) -> None:
    """After two tries the error says what came last, and where; a redirect is not followed."""
    for _ in range(2):
        service.script(MASTER, b"<html>", **reply)
    service.script("elsewhere", ARCHIVE)

    with pytest.raises(MasterUnavailableError, match=found) as caught:
        download_master(service.endpoints, TimeoutConfig())

    assert caught.value.where in (service.endpoints.master, "SecurityMaster.zip")
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

    assert download_master(service.endpoints, timeouts).n_rows == 1
