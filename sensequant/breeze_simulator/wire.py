"""A request and a reply as they stand on the wire.

Belongs here: the two values, and the vendor's envelope. Does not belong here: sockets (`server`),
or what is answered (`service`).
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

__all__ = ["JSON_TYPE", "Reply", "Request", "envelope", "failure", "page"]

JSON_TYPE = "application/json; charset=utf-8"


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Parameters
    ----------
    route
        Short name of the path (`service.ROUTES`).
    params
        Fields of the JSON body, or of the query string.
    headers
        Headers, names in lower case.
    body
        The exact bytes of the body, which the signature covers.
    """

    route: str
    params: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def identity(self) -> str:
        """Text that two requests share when they ask the same."""
        return "\0".join(
            [self.route, *(f"{key}={self.params[key]}" for key in sorted(self.params))]
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """One reply.

    Parameters
    ----------
    body
        Its body.
    http_status
        Status of HTTP, which is not that of the JSON body.
    content_type
        Its content type.
    location
        Where a redirect leads; empty for none.
    outcome
        Short word for the log of calls.
    delay_seconds
        How long the server is silent before it.
    n_bytes_sent
        After how many bytes of the body the connection is cut; None sends all of them.
    is_reset
        Whether the connection is reset instead of answered.
    """

    body: bytes = b""
    http_status: int = 200
    content_type: str = JSON_TYPE
    location: str = ""
    outcome: str = "ok"
    delay_seconds: float = 0.0
    n_bytes_sent: int | None = None
    is_reset: bool = False


def envelope(success: Any, *, status: int = 200, error: str | None = None) -> Reply:
    """Return the vendor's envelope around an answer."""
    content = {"Success": success, "Status": status, "Error": error}
    return Reply(json.dumps(content, separators=(",", ":")).encode())


def failure(
    error: str, *, outcome: str, status: int = 500, http_status: int = 200, has_success: bool = True
) -> Reply:
    """Return the vendor's envelope around an error; some errors come without `Success`."""
    content: dict[str, Any] = {"Success": None} if has_success else {}
    content |= {"Status": status, "Error": error}
    body = json.dumps(content, separators=(",", ":")).encode()
    return Reply(body, http_status=http_status, outcome=outcome)


def page(title: str, *, http_status: int, outcome: str) -> Reply:
    """Return a page of HTML, as a gateway between client and service sends it."""
    text = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"
    return Reply(text.encode(), http_status=http_status, content_type="text/html", outcome=outcome)
