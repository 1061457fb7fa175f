"""Every fault that the simulator can show: name, layer, where it acts, what to make of it.

Belongs here: the list, which `docs/breeze_simulator.md` repeats as a table. Does not belong here:
when a fault acts (`faults`), what it does (`reply_faults`, `row_faults`, `master`, `depth`).
"""

import dataclasses
from enum import StrEnum

__all__ = [
    "CATALOG",
    "CUSTOMER",
    "HISTORY_V1",
    "HISTORY_V2",
    "MASTER",
    "OPTION_CHAIN",
    "PATHS",
    "QUOTES",
    "STREAM",
    "FaultKind",
    "Layer",
]

CUSTOMER = "customerdetails"
HISTORY_V1 = "v1/historicalcharts"
HISTORY_V2 = "v2/historicalcharts"
QUOTES = "quotes"
OPTION_CHAIN = "optionchain"
MASTER = "master"
STREAM = "stream"

_HISTORY = (HISTORY_V1, HISTORY_V2)
_API = (CUSTOMER, HISTORY_V1, HISTORY_V2, QUOTES, OPTION_CHAIN)
_SESSION = (HISTORY_V1, HISTORY_V2, QUOTES, OPTION_CHAIN)
_HTTP = (*_API, MASTER)

PATHS = (*_HTTP, STREAM)
"""Short names of everything that the simulator serves."""


class Layer(StrEnum):
    """At which point of an answer a fault acts."""

    INSTEAD = "instead"
    """The answer is replaced; nothing is looked up."""

    AFTER = "after"
    """The finished answer is damaged."""

    ROWS = "rows"
    """Values of history rows are changed."""

    SHAPE = "shape"
    """The form of history rows is changed."""

    MASTER = "master"
    """The security master is changed."""

    STREAM = "stream"
    """The socket misbehaves."""

    WORLD = "world"
    """The market or its names are others than the client believes."""


@dataclasses.dataclass(frozen=True, slots=True)
class FaultKind:
    """One fault.

    Parameters
    ----------
    layer
        Where in the answer it acts.
    paths
        Where it can act.
    effect
        What is on the wire.
    meaning
        What a client should make of it.
    settings
        Further settings of `Fault` that it reads.
    """

    layer: Layer
    paths: tuple[str, ...]
    effect: str
    meaning: str
    settings: tuple[str, ...] = ()

    @property
    def readable(self) -> tuple[str, ...]:
        """Settings that it reads; one that can act on a request for a symbol can be bound to it."""
        return (*self.settings, *(("symbol",) if set(self.paths) & set(_SESSION) else ()))


def _instead(effect: str, meaning: str, *, paths: tuple[str, ...] = _HTTP) -> FaultKind:
    return FaultKind(Layer.INSTEAD, paths, effect, meaning)


def _after(effect: str, meaning: str, *settings: str, paths: tuple[str, ...] = _HTTP) -> FaultKind:
    return FaultKind(Layer.AFTER, paths, effect, meaning, settings)


def _rows(effect: str, meaning: str, *settings: str) -> FaultKind:
    return FaultKind(Layer.ROWS, _HISTORY, effect, meaning, settings)


def _shape(effect: str, meaning: str, *settings: str) -> FaultKind:
    return FaultKind(Layer.SHAPE, _HISTORY, effect, meaning, settings)


def _master(effect: str, meaning: str, *settings: str) -> FaultKind:
    return FaultKind(Layer.MASTER, (MASTER,), effect, meaning, settings)


def _ticks(effect: str, meaning: str) -> FaultKind:
    return FaultKind(Layer.STREAM, (STREAM,), effect, meaning, ("symbol",))


_CHOSEN = ("rate", "sessions")
_QUARANTINED = "the row is quarantined with its reason; the gap stands in the ledger"
_RETRY = "transient: try again with growing waits"
_MALFORMED = "malformed: one more try, then the raw body is kept and the chunk fails"
_CROSS = "no row check can see it: comparing with intraday sums or a second source does"

CATALOG: dict[str, FaultKind] = {
    "html_503": _instead("HTTP 503 with a page of HTML", _RETRY),
    "html_200": _instead("HTTP 200 with a page of HTML", _MALFORMED),
    "empty_body": _instead("HTTP 200 without a body", _MALFORMED, paths=_API),
    "null_body": _instead("HTTP 200, the JSON text null", _MALFORMED, paths=_API),
    "list_body": _instead("HTTP 200, the JSON text []", _MALFORMED, paths=_API),
    "service_error": _instead(
        'Status 500, "Error while calling service" (T2:154)', _RETRY, paths=_API
    ),
    "throttled": _instead(
        "HTTP 502 with a page that says 429 Too Many Requests",
        "limit per minute: all workers wait for the next minute",
        paths=_API,
    ),
    "connection_reset": _instead("the connection is reset without a byte", _RETRY),
    "redirect": _instead("HTTP 302 to a page of HTML", _RETRY + "; a redirect is not followed"),
    "minute_limit": _instead(
        "Status 5, limit per minute, HTTP 401",
        "all workers wait for the next minute, then the call is made again",
        paths=_API,
    ),
    "day_limit": _instead(
        "Status 5, limit per day, HTTP 401",
        "everything stops; what is left stays left to do",
        paths=_API,
    ),
    "login_expired": _instead(
        'Status 500, "Resource not available." at login',
        "the session has expired: everything stops, a person logs in again",
        paths=(CUSTOMER,),
    ),
    "session_lost": _instead(
        'the session ends for good: "Invalid User Details" from now on',
        "one more try, then the session is probed, then everything stops as expired",
        paths=_SESSION,
    ),
    "invalid_user_details": _instead(
        'Status 500, "Invalid User Details", although the session lives',
        "one more try, then the session is probed, then tried on",
        paths=_SESSION,
    ),
    "bad_checksum": _instead(
        'Status 5, "Authentication Fail :: Invalid Checksum.", no Success',
        "secret key or clock is wrong: everything stops",
        paths=(HISTORY_V1, QUOTES, OPTION_CHAIN),
    ),
    "ip_denied": _instead(
        'Status 500, "Request Denied: The IP address used does not match"',
        "everything stops; the address has to be registered",
        paths=_API,
    ),
    "no_data_found": _instead(
        'Success null, Status 200, "No Data Found"',
        "an empty answer: calendar, listing and suspension decide what it means",
        paths=_SESSION,
    ),
    "slow": _after(
        "the answer comes after `seconds`", "as any answer; past the timeout: transient", "seconds"
    ),
    "truncated_body": _after("the connection is cut in the middle of the body", _RETRY),
    "truncated_json": _after("half of the JSON text, as if it were whole", _MALFORMED, paths=_API),
    "missing_success": _after("the envelope has no Success", _MALFORMED, paths=_API),
    "duplicate_rows": _rows(
        "rows come twice, alike", "one of them is dropped and counted", *_CHOSEN
    ),
    "conflicting_rows": _rows("rows come twice, differing", "both are quarantined", *_CHOSEN),
    "out_of_order": _rows("rows in random order", "sorted, and noted"),
    "out_of_window": _rows(
        "rows of three sessions before the window", "quarantined as outside the request"
    ),
    "other_symbol": _rows(
        "sessions of another company, with its code",
        "quarantined: the echoed code is wrong",
        *_CHOSEN,
    ),
    "other_symbol_hidden": _rows(
        "sessions of another company, with the code that was asked for", _CROSS, *_CHOSEN
    ),
    "negative_volume": _rows("volume below zero", _QUARANTINED, *_CHOSEN),
    "zero_volume": _rows(
        "volume zero", "kept: a bar without trade is possible; " + _CROSS, *_CHOSEN
    ),
    "zero_open": _rows("open zero", _QUARANTINED, *_CHOSEN),
    "zero_low": _rows("low zero", _QUARANTINED, *_CHOSEN),
    "swapped_open_close": _rows("open and close exchanged", _CROSS, *_CHOSEN),
    "missing_first_candle": _rows(
        "the first intraday bar of a session is missing",
        "fewer bars than the session should have: partial, asked for again",
        *_CHOSEN,
    ),
    "missing_day": _rows(
        "all bars of a session are missing", "missing at the source, or pending if recent", *_CHOSEN
    ),
    "partial_recent": _rows(
        "bars of the last `days` days are unfinished",
        "provisional until delivered twice alike; the first version is kept as a revision",
        "days",
    ),
    "late_eod": _rows(
        "daily bars of the last `days` days are missing", "pending, not missing", "days"
    ),
    "unadjusted_split": _rows(
        "from a session on the price is a fifth and the volume fivefold, and no action says so",
        "stored as it is; the detector of unexplained jumps flags it",
        "sessions",
    ),
    "adjusted_before_2022": _rows(
        "bars before a split are adjusted where the split was before 2022, and only there",
        "stored as it is; the jump that an action demands is missing, and is flagged",
    ),
    "missing_fields": _shape("a field is missing in a row", _QUARANTINED, *_CHOSEN),
    "extra_fields": _shape("rows have a field more", "ignored, and noted"),
    "numbers_as_text": _shape("numbers are texts", "read as numbers, and noted"),
    "nan_numbers": _shape("close is NaN", _QUARANTINED, *_CHOSEN),
    "master_404": _master("HTTP 404", "master unavailable, tried twice: the run stops"),
    "master_corrupt": _master("half of the zip", "master unavailable, as for 404"),
    "master_stale": _master(
        "the list as it was `days` days ago",
        "dated; what is not in it is an unknown symbol",
        "days",
    ),
    "master_collision": _master(
        "one symbol has two rows in series EQ", "the symbol is refused as ambiguous", "symbol"
    ),
    "master_without_dates": _master(
        "DateOfListing is empty, as in the lists of 2024 to 2026", "the first bar tells the listing"
    ),
    "rename": FaultKind(
        Layer.WORLD,
        (MASTER, HISTORY_V1, HISTORY_V2, QUOTES),
        "the symbol gets a new name and code, with the same ISIN; the old code is unknown",
        "found by ISIN in the master; an empty answer under the old code is no missing data",
    ),
    "stream_refused": FaultKind(
        Layer.STREAM, (STREAM,), "the socket refuses the login", "session expired: stop"
    ),
    "stream_dropped": FaultKind(
        Layer.STREAM, (STREAM,), "the connection is closed after `after` ticks", "connect again"
    ),
    "stream_silent": _ticks("no tick is sent", "a watchdog finds it, then connects again"),
    "stream_frozen": _ticks(
        "one book is sent again and again, with new stamps",
        "refused as frozen once it has lasted five minutes",
    ),
    "stream_out_of_order": _ticks(
        "a tick is sent after one of a later second",
        "stands at its own second, known when it came",
    ),
    "stream_wrong_token": _ticks(
        "a tick has a token that nobody subscribed to", "refused as wrong token"
    ),
    "stream_crossed": _ticks("the bids stand above the offers", "refused as crossed book"),
    "stream_empty": _ticks("all prices and quantities are 0", "refused as empty book"),
    "stream_zero_quantity": _ticks(
        "the best bid has no quantity", "refused as price without quantity"
    ),
}
"""All faults by name."""
