"""Facts about who is let in."""

import base64
import dataclasses
import hashlib
import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import requests
from pydantic import SecretStr

from sensequant.breeze_simulator import BreezeSimulator, Limits, SettableClock
from sensequant.breeze_simulator.access import Access, checksum_of, simulated_login
from sensequant.breeze_simulator.wire import Request
from sensequant.market.sources.breeze.credentials import BreezeLogin
from sensequant.market.sources.breeze.sdk import Outcome, open_sdk

IST = timezone(timedelta(hours=5, minutes=30))
NOW = datetime(2024, 1, 16, 11, 3, 20, tzinfo=IST)
LOGIN = simulated_login(0)


def details(access: Access, **changed: str) -> dict[str, Any]:
    fields = {
        "AppKey": LOGIN.api_key.get_secret_value(),
        "SessionToken": access.login.session_token.get_secret_value(),
    }
    return json.loads(access.customer_details(fields | changed).body)


def asked(simulator: BreezeSimulator, login: BreezeLogin, *, version: Any = "v2") -> Outcome:
    """Return what the real SDK gets with these keys."""
    with open_sdk(simulator.endpoints, login) as sdk:
        assert sdk.log_in().failures == ()
        code = simulator.directory.of_symbol("SIM03").code
        return sdk.history(
            code,
            interval="1day",
            from_date="2024-01-10T00:00:00.000Z",
            to_date="2024-01-16T23:59:59.000Z",
            version=version,
        )


def test_made_up_keys_hold_the_characters_of_real_ones() -> None:
    """Keys with plus, equals sign and exclamation mark; another seed has others."""
    key = LOGIN.api_key.get_secret_value()

    assert all(character in key for character in "+=!")
    assert simulated_login(0) == LOGIN
    assert simulated_login(1) != LOGIN


def test_the_checksum_is_that_of_the_sdk() -> None:
    """It is the sha256 of time, body and secret, one after the other."""
    expected = hashlib.sha256(b"2024-01-16T05:33:20.000Z{}top secret").hexdigest()

    assert checksum_of("2024-01-16T05:33:20.000Z", b"{}", "top secret") == expected


def test_login_swaps_the_api_session_for_a_token() -> None:
    """The token is base64 of user and key, the same each time until the session ends."""
    access = Access(LOGIN, clock=SettableClock(NOW))

    answer = details(access)["Success"]

    user, key = base64.b64decode(answer["session_token"]).decode().split(":")
    assert (user, key) == (access.user_id, access.session_key)
    assert answer["idirect_userid"] == user
    assert answer["exg_trade_date"]["NSE"] == "16-Jan-2024"
    assert answer == details(access)["Success"]
    assert access.is_session(user, key)
    assert not access.is_session(user, "other")


def test_errors_of_login_are_told_in_the_vendors_words() -> None:
    """Wrong key, wrong session and expired session differ; a new session works again."""
    clock = SettableClock(NOW)
    access = Access(LOGIN, clock=clock)

    assert details(access, AppKey="x")["Error"] == "Public Key does not exist."
    assert details(access, SessionToken="x")["Error"] == "Invalid session."
    clock.set(datetime(2024, 1, 16, 23, 59, 59, tzinfo=IST))
    assert details(access)["Status"] == 200
    clock.advance(timedelta(seconds=1))
    assert details(access) == {"Success": None, "Status": 500, "Error": "Resource not available."}
    old = access.session_key
    access.renew()
    assert details(access)["Status"] == 200
    assert access.session_key != old
    access.lose()
    assert details(access)["Error"] == "Resource not available."


def test_a_wrong_secret_passes_login_and_v2_and_fails_on_v1(simulator: BreezeSimulator) -> None:
    """Neither is signed; the first signed call shows it."""
    wrong = dataclasses.replace(simulator.login, secret_key=SecretStr("wrong"))

    assert asked(simulator, wrong).value["Status"] == 200
    refused = asked(simulator, wrong, version="v1")
    assert refused.value == {"Status": 5, "Error": "Authentication Fail :: Invalid Checksum."}
    assert refused.reply is not None
    assert refused.reply.status == 401
    assert asked(simulator, simulator.login, version="v1").value["Status"] == 200


def test_keys_are_sent_as_they_are(start: Callable[..., BreezeSimulator]) -> None:
    """A login of one's own works through the SDK, whatever its characters."""
    login = BreezeLogin(SecretStr("a+b=c!d/e%20"), SecretStr("s+=!%"), SecretStr("12345678"))

    simulator = start(login=login)

    assert asked(simulator, login, version="v1").value["Status"] == 200


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_session_ends_at_midnight_in_india(
    simulator: BreezeSimulator, clock: SettableClock, version: Any
) -> None:
    """Both versions say that they do not know the user; a renewed session is known."""
    old = simulator.login
    with open_sdk(simulator.endpoints, old) as sdk:
        sdk.log_in()
        clock.set(datetime(2024, 1, 17, 0, 0, tzinfo=IST))
        refused = sdk.history(
            "NIFTY",
            interval="1day",
            from_date="2024-01-10T00:00:00.000Z",
            to_date="2024-01-16T00:00:00.000Z",
            version=version,
        )
    assert refused.value == {"Success": None, "Status": 500, "Error": "Invalid User Details"}

    renewed = simulator.renew_session()

    assert renewed.session_token != old.session_token
    assert asked(simulator, renewed, version=version).value["Status"] == 200


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({}, "Public Key does not exist."),
        ({"apikey": "wrong"}, "Public Key does not exist."),
        ({"apikey": LOGIN.api_key.get_secret_value()}, "Invalid User Details"),
        (
            {"apikey": LOGIN.api_key.get_secret_value(), "X-SessionToken": "no base64!"},
            "Invalid User Details",
        ),
    ],
)
def test_headers_that_are_missing_or_wrong(
    simulator: BreezeSimulator, headers: dict[str, str], error: str
) -> None:
    """They are refused in words."""
    reply = requests.get(
        simulator.endpoints.v2 + "historicalcharts", headers=headers, timeout=5
    ).json()

    assert reply["Error"] == error


def test_the_clock_of_a_client_can_matter(start: Callable[..., BreezeSimulator]) -> None:
    """With a tolerance, signatures of another time are refused: the SDK signs with real time."""
    strict = start(limits=Limits(clock_skew=timedelta(minutes=5)))

    refused = asked(strict, strict.login, version="v1")

    assert "Invalid Checksum" in refused.value["Error"]
    assert asked(strict, strict.login).value["Status"] == 200


def test_a_signature_of_the_present_passes_the_tolerance() -> None:
    """Within the tolerance it is accepted; a text that is no time is not."""
    access = Access(LOGIN, clock=SettableClock(NOW), clock_skew=timedelta(minutes=1))
    token = base64.b64encode(f"{access.user_id}:{access.session_key}".encode()).decode()

    def refused(timestamp: str) -> bool:
        secret = LOGIN.secret_key.get_secret_value()
        headers = {
            "x-appkey": LOGIN.api_key.get_secret_value(),
            "x-sessiontoken": token,
            "x-timestamp": timestamp,
            "x-checksum": f"token {checksum_of(timestamp, b'{}', secret)}",
        }
        return access.refuse_v1(Request("quotes", {}, headers, b"{}")) is not None

    assert not refused("2024-01-16T05:33:00.000Z")
    assert refused("2024-01-16T05:35:00.000Z")
    assert refused("yesterday")
