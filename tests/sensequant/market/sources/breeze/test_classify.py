"""Tests of what replies mean, through the unmodified SDK."""

import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import requests
from pydantic import SecretStr

from sensequant.errors import (
    AddressDeniedError,
    AuthExpiredError,
    AuthInvalidError,
    BadRequestError,
    ClockError,
    DayLimitError,
    MalformedReplyError,
    MinuteLimitError,
    SenseQuantError,
    TransientSourceError,
    UnknownSymbolError,
)
from sensequant.market.sources.breeze.classify import (
    MAX_RAW_CHARACTERS,
    Reading,
    SessionDoubtError,
    Use,
    read_outcome,
)
from sensequant.market.sources.breeze.credentials import BreezeLogin, SharedLogin
from sensequant.market.sources.breeze.endpoints import Endpoints
from sensequant.market.sources.breeze.sdk import Outcome, SdkSession, open_sdk
from sensequant.market.sources.breeze.transport import RawReply

NOW = datetime(2024, 3, 4, 10, 0, tzinfo=UTC)
NOBODY = Endpoints(v1="http://127.0.0.1:9/v1/", v2="http://127.0.0.1:9/v2/")
T2 = "Error while calling service, Please contact admin (T2:154)"
MINUTE = "Limit exceed: API call per minute:Try after some time"
PAGE_429 = b"<html><h1>429 Too Many Requests</h1></html>"


def _refusal(status: Any, error: str) -> dict[str, Any]:
    return {"Success": None, "Status": status, "Error": error}


def _success(value: object) -> dict[str, Any]:
    return {"Success": value, "Status": 200, "Error": None}


CHECKSUM = {"Status": 5, "Error": "Authentication Fail :: Invalid Checksum."}
ADDRESS = "Request Denied: The IP address used does not match"

ROWS: list[tuple[str, Any, int, type[SenseQuantError]]] = [
    ("bad_session", _refusal(401, "Invalid session."), 200, AuthInvalidError),
    ("bad_key", _refusal(500, "Public Key does not exist."), 200, AuthInvalidError),
    ("expired", _refusal(500, "Resource not available."), 200, AuthExpiredError),
    ("expired_in_words", _refusal(5, "Session key is expired"), 200, AuthExpiredError),
    # The time of these replies is not that of the reading.
    ("bad_signature", CHECKSUM, 200, ClockError),
    ("minute_limit", {"Status": 5, "Error": MINUTE}, 200, MinuteLimitError),
    ("minute_limit_401", {"Status": 5, "Error": MINUTE}, 401, MinuteLimitError),
    ("limit_of_unknown_length", {"Status": 5, "Error": "Limit exceed"}, 200, MinuteLimitError),
    ("day_limit", {"Status": 5, "Error": "Limit exceed: API call per day: "}, 200, DayLimitError),
    ("edge_502", PAGE_429, 502, MinuteLimitError),
    ("edge_429", b"slow down", 429, MinuteLimitError),
    ("doubt", _refusal(500, "Invalid User Details"), 200, SessionDoubtError),
    ("outage_t2", _refusal(500, T2), 200, TransientSourceError),
    ("outage_t2_500", _refusal(500, T2), 500, TransientSourceError),
    ("html_503", b"<html>Service Unavailable</html>", 503, TransientSourceError),
    ("empty_502", b"", 502, TransientSourceError),
    ("redirect", b"", 302, TransientSourceError),
    ("unknown_500", _refusal(500, "Something new"), 200, TransientSourceError),
    ("data_behind_500", _success([]), 500, TransientSourceError),
    ("wrong_address", _refusal(5, ADDRESS), 200, AddressDeniedError),
    ("unknown_400", _refusal(400, "No such field"), 200, BadRequestError),
    ("unknown_status", _refusal(7, "Something new"), 200, MalformedReplyError),
    ("status_in_words", _refusal("Bad", "Something new"), 200, MalformedReplyError),
    ("html_200", b"<html>Welcome</html>", 200, MalformedReplyError),
    ("html_404", b"<html>Not here</html>", 404, MalformedReplyError),
    ("empty_200", b"", 200, MalformedReplyError),
    ("null", b"null", 200, MalformedReplyError),
    ("list", b"[]", 200, MalformedReplyError),
    ("number", b"7", 200, MalformedReplyError),
    ("truncated", b'{"Success": [{"close": 1.0, "dat', 200, MalformedReplyError),
    ("missing_success", {"Status": 200, "Error": None}, 200, MalformedReplyError),
    ("null_success", _success(None), 200, MalformedReplyError),
    ("text_success", _success("fine"), 200, MalformedReplyError),
    ("missing_status", {"Success": [], "Error": None}, 200, MalformedReplyError),
]

Ask = Callable[[SdkSession], Outcome]


def _history(version: Any) -> Ask:
    return lambda session: session.history(
        "RELIND",
        interval="1day",
        from_date="2024-03-01T00:00:00.000Z",
        to_date="2024-03-04T23:59:59.000Z",
        version=version,
    )


ASKS: dict[str, tuple[Use, Ask]] = {
    "login": ("login", SdkSession.log_in),
    "probe": ("probe", SdkSession.probe),
    "v1": ("history", _history("v1")),
    "v2": ("history", _history("v2")),
    "quotes": ("quotes", lambda session: session.quotes("RELIND")),
}


@pytest.fixture
def session(service: Any, login: BreezeLogin) -> Iterator[SdkSession]:
    with open_sdk(service.endpoints, login) as made:
        made.log_in()
        yield made


def _reading(use: Use = "history", **changes: Any) -> Reading:
    fields: dict[str, Any] = {
        "use": use,
        "where": "RELIND 1day",
        "now": NOW,
        "clock_tolerance": timedelta(minutes=3),
        "redact": _redact,
    }
    return Reading(**(fields | changes))


def _redact(text: str) -> str:
    return text.replace("hidden", "[secret]")


def _outcome(body: bytes, status: int = 200, **headers: str) -> Outcome:
    return Outcome(RawReply(status, headers, body), None, (), 1)


@pytest.mark.parametrize("ask", ["login", "v1", "v2", "quotes"])
@pytest.mark.parametrize(
    ("body", "status", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_every_failure_has_its_kind(
    service: Any,
    session: SdkSession,
    secrets: tuple[str, ...],
    ask: str,
    body: Any,
    status: int,
    expected: type[SenseQuantError],
) -> None:
    """The same body means the same at the login, in v1, in v2 and in quotes."""
    service.script("*", body, status=status)
    use, send = ASKS[ask]
    with pytest.raises(SenseQuantError) as caught:
        read_outcome(send(session), _reading(use, redact=session.redact))

    assert expected is type(caught.value)
    assert caught.value.where == "RELIND 1day"
    text = "".join(traceback.format_exception(caught.value))
    assert not [secret for secret in secrets if secret in text]


@pytest.mark.parametrize(("breaks", "delay"), [("reset", 0.0), ("short", 0.0)])
@pytest.mark.parametrize("ask", ["login", "v1", "v2"])
def test_connection_that_breaks_may_come_back(
    service: Any, session: SdkSession, ask: str, breaks: str, delay: float
) -> None:
    """Whether before the reply or within it."""
    service.script("*", b'{"Success": [', breaks=breaks, delay_seconds=delay)
    use, send = ASKS[ask]

    with pytest.raises(TransientSourceError, match="did not answer"):
        read_outcome(send(session), _reading(use))


@pytest.mark.parametrize("ask", ["login", "v1", "v2"])
def test_refused_connection_may_come_back(login: BreezeLogin, ask: str) -> None:
    """Nobody listens; the message names the kind of failure."""
    closed = open_sdk(NOBODY, login)
    use, send = ASKS[ask]
    if use != "login":
        closed.adopt(SharedLogin(SecretStr("someone"), SecretStr("something")))

    with pytest.raises(TransientSourceError, match="ConnectionError"):
        read_outcome(send(closed), _reading(use))
    closed.close()


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_history_is_a_list_of_rows(service: Any, session: SdkSession, version: str) -> None:
    """Rows come back as they were delivered; an empty list is an empty list."""
    service.script(version, {"Success": [{"any": "row"}], "Status": 200, "Error": None})
    use, send = ASKS[version]

    assert read_outcome(send(session), _reading(use)) == [{"any": "row"}]
    assert read_outcome(send(session), _reading(use)) == []


@pytest.mark.parametrize("success", [None, [], ""])
def test_no_data_in_words_is_an_empty_reply(
    service: Any, session: SdkSession, success: object
) -> None:
    """The wording of 2026 for the empty list."""
    service.script("v2", {"Success": success, "Status": 200, "Error": "No Data Found"})

    assert read_outcome(ASKS["v2"][1](session), _reading()) == []


def test_unknown_code_of_v1(service: Any, session: SdkSession) -> None:
    """The old service says so where the new one is silent."""
    service.script("v1", {"Success": None, "Status": 500, "Error": "Historical Data Fail"})

    with pytest.raises(UnknownSymbolError):
        read_outcome(ASKS["v1"][1](session), _reading())


def test_login_and_probe_have_no_value(session: SdkSession) -> None:
    """Success is all there is to know."""
    assert read_outcome(session.log_in(), _reading("login")) is None
    assert read_outcome(session.probe(), _reading("probe")) is None


def test_login_that_holds_no_session_makes_no_sense(service: Any, session: SdkSession) -> None:
    """Nothing of its reply is kept, because it may hold one after all."""
    body = {"Success": {"session_token": "bm90aGluZw=="}, "Status": 200, "Error": None}
    service.script("customerdetails", body)

    with pytest.raises(MalformedReplyError) as caught:
        read_outcome(session.log_in(), _reading("login"))
    assert caught.value.raw == ""


def test_token_that_is_not_known_any_more_has_expired(service: Any, session: SdkSession) -> None:
    """It was known at the login."""
    body = {"Success": None, "Status": 401, "Error": "Invalid session."}
    service.script("customerdetails", body)

    with pytest.raises(AuthExpiredError):
        read_outcome(session.probe(), _reading("probe"))


@pytest.mark.parametrize("field", ["interval", "stock_code"])
def test_request_that_the_sdk_refuses_is_not_sent(
    service: Any, session: SdkSession, field: str
) -> None:
    """The SDK answers such a request itself, in the shape of a reply."""
    arguments: dict[str, Any] = {"interval": "1day", "stock_code": "RELIND", field: ""}
    code = arguments.pop("stock_code")
    outcome = session.history(code, from_date="x", to_date="x", version="v2", **arguments)

    with pytest.raises(BadRequestError, match="cannot be empty"):
        read_outcome(outcome, _reading())
    assert service.kinds() == ["customerdetails"]


def test_sdk_without_a_login_says_nothing(service: Any, login: BreezeLogin) -> None:
    """None is no lack of data."""
    with open_sdk(service.endpoints, login) as unused:
        outcome = unused.quotes("RELIND")

    with pytest.raises(BadRequestError, match="nothing"):
        read_outcome(outcome, _reading("quotes"))


def test_key_that_fits_into_no_header() -> None:
    """It is not worth a second try, and it is not shown."""
    outcome = Outcome(None, None, (Exception, requests.exceptions.InvalidHeader), 1)

    with pytest.raises(BadRequestError, match="InvalidHeader"):
        read_outcome(outcome, _reading())


def test_raw_reply_is_kept_in_part_and_without_secrets() -> None:
    """The first 4 kB, with known secrets taken out."""
    with pytest.raises(MalformedReplyError) as caught:
        read_outcome(_outcome(b"<hidden>" + b"x" * 5000), _reading())

    assert caught.value.raw.startswith("<[secret]>xxx")
    assert len(caught.value.raw) == MAX_RAW_CHARACTERS


def test_text_of_the_service_is_shown_without_secrets() -> None:
    """A refusal may repeat what it refuses."""
    body = b'{"Success": null, "Status": 5, "Error": "Invalid session. hidden"}'

    with pytest.raises(AuthInvalidError) as caught:
        read_outcome(_outcome(body), _reading())
    assert caught.value.found == "Invalid session. [secret]"


@pytest.mark.parametrize(
    ("ahead", "words"),
    [
        (timedelta(minutes=11), "660 seconds (11.0 minutes) ahead of"),
        (timedelta(minutes=-5), "300 seconds (5.0 minutes) behind"),
    ],
)
def test_refused_signature_is_put_down_to_a_wrong_clock(ahead: timedelta, words: str) -> None:
    """The reply's Date says what time it is there."""
    body = b'{"Status": 5, "Error": "Authentication Fail :: Invalid Checksum."}'
    outcome = _outcome(body, date=format_datetime(NOW - ahead, usegmt=True))

    with pytest.raises(AuthInvalidError, match="clock") as caught:
        read_outcome(outcome, _reading())
    assert words in caught.value.found


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 04 Mar 2024 09:58:00 -0000"])
def test_refused_signature_with_a_right_clock_is_the_secrets(date: str) -> None:
    """Within the tolerance, or without a Date, the secret key is the cause."""
    body = b'{"Status": 5, "Error": "Authentication Fail :: Invalid Checksum."}'

    with pytest.raises(AuthInvalidError, match="signature was refused; where"):
        read_outcome(_outcome(body, date=date), _reading())
