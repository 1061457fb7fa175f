"""What a reply of the Breeze API means: its value, or the error that says what to do.

Belongs here: the one reading of replies, from the raw reply, what the SDK made of it and what it
raised. Does not belong here: what is done about an error (`client`).

The service answers most failures with a JSON text of its own and any status of HTTP; `Status` in
the JSON is another number. The SDK returns many failures as if they were data, and raises bare
exceptions for the rest, so the raw reply decides wherever there is one. An unknown text is never
taken for data, nor for a lack of data.

No message holds a secret: texts of the service pass through `Reading.redact`, texts of exceptions
are not used at all.
"""

import dataclasses
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Literal, NamedTuple, cast

import requests

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
from sensequant.market.sources.breeze.sdk import Outcome
from sensequant.market.sources.breeze.transport import RawReply

__all__ = ["MAX_RAW_CHARACTERS", "Reading", "SessionDoubtError", "Use", "read_outcome"]

MAX_RAW_CHARACTERS = 4096
"""How much of a reply that makes no sense is kept."""

Use = Literal["login", "probe", "history", "quotes", "option_chain"]
"""What the SDK was used for."""

_UNSENDABLE = (
    requests.exceptions.InvalidHeader,
    requests.exceptions.InvalidSchema,
    requests.exceptions.InvalidURL,
    requests.exceptions.MissingSchema,
)
_LOGIN_PAGE = "log in by browser and save the new session token"
_SOMEBODY_ELSE = "wait; it is the vendor's service"
_MAX_SHOWN = 200


class SessionDoubtError(TransientSourceError):
    """The service does not know the session; that may be a passing fault or its end."""


@dataclasses.dataclass(frozen=True, slots=True)
class Reading:
    """What is needed to read a reply.

    Parameters
    ----------
    use
        What the SDK was used for.
    where
        What was asked for, in words, for messages.
    now
        Clock of this machine when the reply came, aware.
    clock_tolerance
        Difference to the service's clock beyond which a refused signature is put down to it.
    redact
        Takes secrets out of a text.
    """

    use: Use
    where: str
    now: datetime
    clock_tolerance: timedelta
    redact: Callable[[str], str]


class _Meaning(NamedTuple):
    pattern: re.Pattern[str]
    error: type[SenseQuantError]
    what: str
    remedy: str


def _meaning(pattern: str, error: type[SenseQuantError], what: str, remedy: str) -> _Meaning:
    return _Meaning(re.compile(pattern, re.IGNORECASE), error, what, remedy)


_NO_DATA = re.compile(r"no data found", re.IGNORECASE)
_TOO_MANY = re.compile(r"too many requests", re.IGNORECASE)
_SIGNATURE = re.compile(r"checksum|authentication fail", re.IGNORECASE)

_UNKNOWN_TOKEN = _meaning(
    r"invalid session",
    AuthInvalidError,
    "the session token is not known to the service",
    _LOGIN_PAGE,
)

# The first that fits holds.
_MEANINGS = (
    _meaning(
        r"limit exceed.*per day",
        DayLimitError,
        "the service's limit of calls per day is reached",
        "go on after midnight in India; what is left stays planned",
    ),
    _meaning(
        r"limit exceed|too many requests",
        MinuteLimitError,
        "the service's limit of calls per minute is reached",
        "lower calls_per_minute, or stop other programs that use the same key",
    ),
    _meaning(
        r"public key does not exist",
        AuthInvalidError,
        "the app key is not known to the service",
        "copy the app key again from the vendor's page",
    ),
    _UNKNOWN_TOKEN,
    _meaning(
        r"resource not available|session.*expired",
        AuthExpiredError,
        "the session has expired",
        _LOGIN_PAGE,
    ),
    _meaning(
        r"invalid user details",
        SessionDoubtError,
        "the service does not know the session",
        _LOGIN_PAGE,
    ),
    _meaning(
        r"request denied|ip address",
        AddressDeniedError,
        "the service refuses the address that this machine calls from",
        "register the address at the vendor's page, or call from the registered one",
    ),
    _meaning(
        r"historical data fail",
        UnknownSymbolError,
        "the service has no history under this code",
        "compare the code with the security master of today",
    ),
    _meaning(
        r"error while calling service|\bT2\b",
        TransientSourceError,
        "the service says that it has failed",
        _SOMEBODY_ELSE,
    ),
)


def read_outcome(outcome: Outcome, reading: Reading) -> Any:
    """Return the value of a reply.

    Returns
    -------
    object
        A list of rows as delivered, empty where the service says that it has none; None for a
        login and for a probe.

    Raises
    ------
    SenseQuantError
        The kind that says what to do; `SessionDoubtError` where one more look is needed.
    """
    reply = outcome.reply
    if reply is None:
        raise _without_reply(outcome, reading)
    document = _document(reply, outcome)
    if not isinstance(document, dict):
        raise _without_object(reply, reading)
    fields = cast("dict[str, Any]", document)
    error = _stated_error(fields)
    if _NO_DATA.search(error) and not fields.get("Success"):
        return []
    if error or not _is_success(fields, reply):
        raise _refused(fields, error, reply, reading)
    return _value(outcome, fields["Success"], reading)


def _document(reply: RawReply, outcome: Outcome) -> Any:
    if not outcome.failures and outcome.value is not None:
        return outcome.value
    try:
        return json.loads(reply.body)
    except ValueError:
        return None


def _stated_error(fields: dict[str, Any]) -> str:
    error = fields.get("Error")
    return "" if error is None else str(error)


def _is_success(fields: dict[str, Any], reply: RawReply) -> bool:
    has_status = fields.get("Status") == HTTPStatus.OK
    return has_status and fields.get("Success") is not None and reply.status == HTTPStatus.OK


def _value(outcome: Outcome, success: object, reading: Reading) -> Any:
    if reading.use in ("login", "probe"):
        if isinstance(success, dict) and not outcome.failures:
            return None
    elif isinstance(success, list):
        return cast("list[object]", success)
    raise _malformed(outcome.reply, reading, "another shape than the SDK documents")


def _without_reply(outcome: Outcome, reading: Reading) -> SenseQuantError:
    kinds = outcome.failures
    names = ", ".join(dict.fromkeys(kind.__name__ for kind in kinds if kind is not Exception))
    if any(issubclass(kind, _UNSENDABLE) for kind in kinds):
        return BadRequestError(
            "the request cannot be sent",
            where=reading.where,
            expected="an address and keys that fit into a request",
            found=names,
            remedy="copy the keys again, without anything around them",
        )
    if any(issubclass(kind, requests.RequestException) for kind in kinds):
        return TransientSourceError(
            "the service did not answer",
            where=reading.where,
            expected="a reply",
            found=names,
            remedy="check the connection of this machine, then run again",
        )
    return BadRequestError(
        "the SDK refused the request before sending it",
        where=reading.where,
        expected="a request as the SDK documents it",
        found=_local_refusal(outcome.value, reading) or names or "nothing",
        remedy="correct the request",
    )


def _local_refusal(value: object, reading: Reading) -> str:
    if not isinstance(value, dict):
        return ""
    return _shown(_stated_error(cast("dict[str, Any]", value)), reading)


def _without_object(reply: RawReply, reading: Reading) -> SenseQuantError:
    body = _text(reply)
    status = reply.status
    if status == HTTPStatus.TOO_MANY_REQUESTS or _TOO_MANY.search(body):
        return MinuteLimitError(
            "the service's edge refuses more calls",
            where=reading.where,
            found=f"HTTP {status}",
            remedy="lower calls_per_minute, or stop other programs that use the same key",
        )
    is_redirect = HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or is_redirect:
        return TransientSourceError(
            "the service is not available",
            where=reading.where,
            expected="HTTP 200 with JSON",
            found=f"HTTP {status}",
            remedy=_SOMEBODY_ELSE,
        )
    found = "no JSON object" if body.strip() else "an empty body"
    return _malformed(reply, reading, found)


def _refused(
    fields: dict[str, Any], error: str, reply: RawReply, reading: Reading
) -> SenseQuantError:
    if _SIGNATURE.search(error):
        return _bad_signature(error, reply, reading)
    for meaning in _MEANINGS:
        if meaning.pattern.search(error):
            # A token that is probed was known when it was used for the login.
            is_over = meaning is _UNKNOWN_TOKEN and reading.use == "probe"
            kind = AuthExpiredError if is_over else meaning.error
            return kind(
                meaning.what,
                where=reading.where,
                found=_shown(error, reading),
                remedy=meaning.remedy,
            )
    return _unknown(fields, error, reply, reading)


def _unknown(
    fields: dict[str, Any], error: str, reply: RawReply, reading: Reading
) -> SenseQuantError:
    status = fields.get("Status")
    number = status if isinstance(status, int) else 0
    words = _shown(error, reading) or "no word of an error"
    found = f"HTTP {reply.status}, Status {_shown(str(status), reading)}, {words}"
    if max(number, reply.status) >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return TransientSourceError(
            "the service reports an error of its own",
            where=reading.where,
            found=found,
            remedy=_SOMEBODY_ELSE,
        )
    if number >= HTTPStatus.BAD_REQUEST:
        return BadRequestError(
            "the service refuses the request",
            where=reading.where,
            found=found,
            remedy="correct the request",
        )
    return _malformed(reply, reading, found)


def _bad_signature(error: str, reply: RawReply, reading: Reading) -> SenseQuantError:
    skew = _clock_skew(reply, reading.now)
    if skew is not None and abs(skew) > reading.clock_tolerance:
        seconds = round(abs(skew).total_seconds())
        side = "ahead of" if skew > timedelta(0) else "behind"
        return ClockError(
            "the signature was refused because the clock of this machine is off",
            where=reading.where,
            expected=f"within {reading.clock_tolerance.total_seconds():g} seconds of the service",
            found=f"{seconds} seconds ({seconds / 60:.1f} minutes) {side} the service",
            remedy="set the clock of this machine (NTP), then run again",
        )
    return AuthInvalidError(
        "the signature was refused",
        where=reading.where,
        expected="the secret key that belongs to the app key",
        found=_shown(error, reading),
        remedy="copy the secret key again from the vendor's page",
    )


def _clock_skew(reply: RawReply, now: datetime) -> timedelta | None:
    try:
        theirs = parsedate_to_datetime(reply.headers.get("date", ""))
    except ValueError:
        return None
    return now - theirs.replace(tzinfo=theirs.tzinfo or UTC)


def _malformed(reply: RawReply | None, reading: Reading, found: str) -> MalformedReplyError:
    error = MalformedReplyError(
        "the reply makes no sense",
        where=reading.where,
        expected="a JSON object with Success, Status and Error",
        found=found,
        remedy="look at the reply that was kept; if the service has changed, this program must too",
    )
    # The reply to a login holds a session, and one that is not JSON cannot be searched for it.
    if reply is not None and reading.use not in ("login", "probe"):
        error.raw = reading.redact(_text(reply))[:MAX_RAW_CHARACTERS]
    return error


def _text(reply: RawReply) -> str:
    return reply.body.decode(errors="replace")


def _shown(text: str, reading: Reading) -> str:
    return reading.redact(text)[:_MAX_SHOWN]
