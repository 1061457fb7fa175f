"""Replies that stand in for an answer, and answers that are damaged on the way.

Belongs here: what the faults of the layers `instead` and `after` put on the wire. Does not belong
here: when they act (`faults`), faults of rows (`row_faults`).

Texts are those that users of the vendor reported; statuses of HTTP are guesses where
`docs/breeze_simulator.md` says so.
"""

import dataclasses
import json
from collections.abc import Callable

from sensequant.breeze_simulator.access import INVALID_USER
from sensequant.breeze_simulator.faults import Fault
from sensequant.breeze_simulator.limits import day_limit, minute_limit
from sensequant.breeze_simulator.wire import Reply, failure, page

__all__ = ["REDIRECT_TARGET", "damaged", "instead_of_answer"]

REDIRECT_TARGET = "/sorry"
"""Path to which a redirect leads."""

_DEFAULT_SECONDS = 2.0

_REPLIES: dict[str, Callable[[], Reply]] = {
    "html_503": lambda: page("503 Service Unavailable", http_status=503, outcome="html_503"),
    "html_200": lambda: page("We will be back soon", http_status=200, outcome="html_200"),
    "empty_body": lambda: Reply(outcome="empty_body"),
    "null_body": lambda: Reply(b"null", outcome="null_body"),
    "list_body": lambda: Reply(b"[]", outcome="list_body"),
    "service_error": lambda: failure(
        "Error while calling service, Please contact admin (T2:154)", outcome="service_error"
    ),
    "throttled": lambda: page("429 Too Many Requests", http_status=502, outcome="throttled"),
    "connection_reset": lambda: Reply(is_reset=True, http_status=0, outcome="connection_reset"),
    "redirect": lambda: Reply(
        http_status=302, location=REDIRECT_TARGET, content_type="text/html", outcome="redirect"
    ),
    "minute_limit": minute_limit,
    "day_limit": day_limit,
    "login_expired": lambda: failure("Resource not available.", outcome="login_expired"),
    "session_lost": lambda: failure(INVALID_USER, outcome="session_lost"),
    "invalid_user_details": lambda: failure(INVALID_USER, outcome="invalid_user_details"),
    "bad_checksum": lambda: failure(
        "Authentication Fail :: Invalid Checksum.",
        outcome="bad_checksum",
        status=5,
        http_status=401,
        has_success=False,
    ),
    "ip_denied": lambda: failure(
        "Request Denied: The IP address used does not match the registered one.",
        outcome="ip_denied",
    ),
    "no_data_found": lambda: failure("No Data Found", outcome="no_data_found", status=200),
}


def instead_of_answer(fault: Fault) -> Reply:
    """Return the reply that a fault of the layer `instead` puts in place of an answer."""
    return _REPLIES[fault.name]()


def damaged(fault: Fault, reply: Reply) -> Reply:
    """Return a reply as a fault of the layer `after` leaves it."""
    if fault.name == "slow":
        return dataclasses.replace(reply, delay_seconds=fault.seconds or _DEFAULT_SECONDS)
    if fault.name == "truncated_body":
        return dataclasses.replace(
            reply, n_bytes_sent=len(reply.body) // 2, outcome="truncated_body"
        )
    if fault.name == "truncated_json":
        half = reply.body[: len(reply.body) // 2]
        return dataclasses.replace(reply, body=half, outcome="truncated_json")
    content = json.loads(reply.body)
    content.pop("Success", None)
    body = json.dumps(content, separators=(",", ":")).encode()
    return dataclasses.replace(reply, body=body, outcome="missing_success")
