"""Every fault of a whole reply, on the wire to the real SDK."""

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
import requests

from sensequant.breeze_simulator import CATALOG, BreezeSimulator, Fault
from sensequant.breeze_simulator.fault_catalog import HISTORY_V2, Layer
from sensequant.market.sources.breeze.sdk import Outcome
from sensequant.market.sources.breeze.transport import RawReply

WEEK = (date(2024, 1, 8), date(2024, 1, 12))


def body(error: str | None, *, status: int = 500) -> dict[str, Any]:
    return {"Success": None, "Status": status, "Error": error}


MINUTE = body("Limit exceed: API call per minute:Try after some time", status=5)
EXPECTED: dict[str, tuple[int, object]] = {
    "html_503": (503, "503 Service Unavailable"),
    "html_200": (200, "We will be back soon"),
    "empty_body": (200, ""),
    "null_body": (200, None),
    "list_body": (200, []),
    "service_error": (
        200,
        body("Error while calling service, Please contact admin (T2:154)"),
    ),
    "throttled": (502, "429 Too Many Requests"),
    "redirect": (302, ""),
    "minute_limit": (401, MINUTE),
    "day_limit": (401, body("Limit exceed: API call per day: ", status=5)),
    "session_lost": (200, body("Invalid User Details")),
    "invalid_user_details": (200, body("Invalid User Details")),
    "ip_denied": (
        200,
        body("Request Denied: The IP address used does not match the registered one."),
    ),
    "no_data_found": (200, body("No Data Found", status=200)),
}
"""Status of HTTP and what the SDK returns, or a text in the body where it returns nothing."""

OWN_TESTS = {"connection_reset", "login_expired", "bad_checksum"}


def spoilt(vendor: Any, name: str, **settings: Any) -> tuple[Outcome, RawReply]:
    """Return what the SDK gets while a fault is on."""
    vendor.simulator.faults.add(Fault(name=name, **settings))
    outcome = vendor.ask("SIM03", days=WEEK)
    assert outcome.reply is not None
    return outcome, outcome.reply


def test_no_fault_is_without_a_test() -> None:
    """Every fault that replaces an answer is named here."""
    instead = {name for name, kind in CATALOG.items() if kind.layer == Layer.INSTEAD}

    assert instead == set(EXPECTED) | OWN_TESTS


@pytest.mark.parametrize("name", EXPECTED)
def test_an_answer_is_replaced(vendor: Any, name: str) -> None:
    """The text is the one that users reported; the next answer is whole where that is possible."""
    status, expected = EXPECTED[name]

    outcome, reply = spoilt(vendor, name, times=1)

    assert reply.status == status
    if isinstance(expected, str):
        assert expected in reply.body.decode()
        assert outcome.value is None
    else:
        assert outcome.value == expected
    assert vendor.simulator.calls[-1].outcome == name
    assert vendor.simulator.calls[-1].faults == (name,)
    after = vendor.ask("SIM03", days=WEEK).value
    if name == "session_lost":
        assert after == expected
    else:
        assert len(after["Success"]) == 5


def test_a_reset_connection_has_no_answer(vendor: Any) -> None:
    """The SDK raises; the next call finds a new connection."""
    vendor.simulator.faults.add(Fault(name="connection_reset", times=1))

    lost = vendor.ask("SIM03", days=WEEK)

    assert lost.reply is None
    assert requests.exceptions.ConnectionError in lost.failures
    assert vendor.simulator.calls[-1].http_status == 0
    assert len(vendor.rows("SIM03", days=WEEK)) == 5


def test_a_redirect_leads_to_a_page(vendor: Any) -> None:
    """Who follows it gets HTML with HTTP 200."""
    vendor.simulator.faults.add(Fault(name="redirect"))

    followed = requests.get(vendor.simulator.endpoints.v2 + "historicalcharts", timeout=5)

    assert followed.status_code == 200
    assert "We are sorry" in followed.text


def test_a_lost_session_is_lost_for_the_login_too(vendor: Any, connect: Callable[..., Any]) -> None:
    """The API session has expired; a renewed one works."""
    spoilt(vendor, "session_lost", times=1, after=1, path=HISTORY_V2)
    assert vendor.ask("SIM03", days=WEEK).value["Error"] == "Invalid User Details"

    assert vendor.sdk.probe().value["Error"] == "Resource not available."
    vendor.simulator.renew_session()
    assert len(connect(vendor.simulator).rows("SIM03", days=WEEK)) == 5


@pytest.mark.parametrize("name", ["login_expired", "minute_limit", "day_limit", "html_503"])
def test_login_can_fail(start: Callable[..., BreezeSimulator], connect: Any, name: str) -> None:
    """The SDK raises whatever the reason is."""
    simulator = start(faults=[Fault(name=name, path="customerdetails", times=1)])
    vendor = connect(simulator, is_logged_in=False)

    assert vendor.sdk.log_in().failures != ()
    assert simulator.calls[-1].outcome == name
    assert vendor.sdk.log_in().failures == ()


def test_a_checksum_can_be_refused_although_it_is_right(vendor: Any) -> None:
    """The body has no Success at all, as the vendor's."""
    vendor.simulator.faults.add(Fault(name="bad_checksum", times=1))

    refused = vendor.sdk.quotes("NIFTY").value

    assert refused == {"Status": 5, "Error": "Authentication Fail :: Invalid Checksum."}


def test_a_slow_answer_is_an_answer(vendor: Any) -> None:
    """It comes after the seconds, with the same rows."""
    expected = vendor.rows("SIM03", days=WEEK)

    outcome, reply = spoilt(vendor, "slow", seconds=0.2, times=1)

    assert outcome.value["Success"] == expected
    assert reply.status == 200
    assert vendor.simulator.calls[-1].faults == ("slow",)


def test_a_body_can_be_cut_off(vendor: Any) -> None:
    """The connection ends in the middle of it."""
    vendor.simulator.faults.add(Fault(name="truncated_body", times=1))

    cut = vendor.ask("SIM03", days=WEEK)

    assert requests.exceptions.ChunkedEncodingError in cut.failures
    assert len(vendor.rows("SIM03", days=WEEK)) == 5


def test_a_json_text_can_be_cut_off(vendor: Any) -> None:
    """Half a text as if it were whole: HTTP is content, the SDK is not."""
    outcome, reply = spoilt(vendor, "truncated_json", times=1)

    assert outcome.value is None
    assert reply.body.startswith(b'{"Success":[')
    assert not reply.body.endswith(b"}")


def test_an_envelope_can_lack_success(vendor: Any) -> None:
    """Status and Error are as ever."""
    outcome, _ = spoilt(vendor, "missing_success", times=1)

    assert outcome.value == {"Status": 200, "Error": None}


def test_two_damages_come_together(vendor: Any) -> None:
    """A slow answer can be cut off as well."""
    vendor.simulator.faults.add(Fault(name="slow", seconds=0.01))
    outcome, _ = spoilt(vendor, "truncated_json")

    assert outcome.value is None
    assert vendor.simulator.calls[-1].faults == ("slow", "truncated_json")
