"""What the simulated vendor answers, without any socket.

Belongs here: the way of a request: counted, spoilt, let in, answered, damaged, logged. Does not
belong here: HTTP itself (`server`), single answers (`history`, `quotes`, `options`, `master`).
"""

import json
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

from sensequant.breeze_simulator.access import Access
from sensequant.breeze_simulator.clock import Clock
from sensequant.breeze_simulator.directory import Directory
from sensequant.breeze_simulator.fault_catalog import (
    CUSTOMER,
    HISTORY_V1,
    HISTORY_V2,
    MASTER,
    OPTION_CHAIN,
    QUOTES,
    Layer,
)
from sensequant.breeze_simulator.faults import Faults
from sensequant.breeze_simulator.history import Answer, History
from sensequant.breeze_simulator.limits import CallCounter, CallLog, Limits
from sensequant.breeze_simulator.market import MarketFeed
from sensequant.breeze_simulator.master import Master
from sensequant.breeze_simulator.options import OptionChain
from sensequant.breeze_simulator.quotes import Quotes
from sensequant.breeze_simulator.reply_faults import REDIRECT_TARGET, damaged, instead_of_answer
from sensequant.breeze_simulator.wire import Reply, Request, page

__all__ = ["MASTER_PATH", "ROUTES", "V1_BASE", "V2_BASE", "Service"]

V1_BASE = "/breezeapi/api/v1/"
V2_BASE = "/api/v2/"
MASTER_PATH = "/MotherAppMaster/SecurityMaster.zip"

ROUTES = {
    f"{V1_BASE}customerdetails": CUSTOMER,
    f"{V1_BASE}historicalcharts": HISTORY_V1,
    f"{V1_BASE}quotes": QUOTES,
    f"{V1_BASE}optionchain": OPTION_CHAIN,
    f"{V2_BASE}historicalcharts": HISTORY_V2,
    MASTER_PATH: MASTER,
}
"""Path to its short name."""

_SECRETS = frozenset({"SessionToken", "AppKey"})


class Service:
    """All services of the simulated vendor but the socket; threads may share it.

    Parameters
    ----------
    feed
        The market.
    directory
        Its names.
    clock
        The vendor's time.
    access
        Who may ask.
    faults
        What goes wrong.
    limits
        How often one may ask.
    """

    def __init__(
        self,
        feed: MarketFeed,
        directory: Directory,
        *,
        clock: Clock,
        access: Access,
        faults: Faults,
        limits: Limits,
    ) -> None:
        self.log = CallLog()
        self._clock = clock
        self._directory = directory
        self._access = access
        self._faults = faults
        self._counter = CallCounter(limits)
        self._history = History(
            feed, directory, clock=clock, faults=faults, bars_per_reply=limits.bars_per_reply
        )
        self._quotes = Quotes(feed, directory, clock=clock)
        self._options = OptionChain(feed, directory, clock=clock)
        self._master = Master(feed, directory, clock=clock)

    def answer(self, target: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Answer a GET and log it.

        Parameters
        ----------
        target
            Path and query string.
        headers
            Headers, names in lower case.
        body
            Exact bytes of the body.
        """
        parts = urlsplit(target)
        route = ROUTES.get(parts.path)
        if route is None:
            is_target = parts.path == REDIRECT_TARGET
            title = "We are sorry" if is_target else "404 Not Found"
            return page(title, http_status=200 if is_target else 404, outcome="no_route")
        request = Request(route, _params(parts.query, body), headers, body)
        answer = self._answer(request)
        self.log.add(
            at=self._clock(),
            path=route,
            params={key: one for key, one in request.params.items() if key not in _SECRETS},
            http_status=answer.reply.http_status,
            outcome=answer.reply.outcome,
            faults=answer.faults,
        )
        return answer.reply

    def _answer(self, request: Request) -> Answer:
        if request.route != MASTER:
            beyond = self._counter.count(self._clock())
            if beyond is not None:
                return Answer(beyond)
        symbol = self._symbol(request)
        spoilt = self._faults.first(Layer.INSTEAD, request.route, request.identity, symbol)
        if spoilt is not None:
            if spoilt.name == "session_lost":
                self._access.lose()
            return Answer(instead_of_answer(spoilt), (spoilt.name,))
        answer = self._let_in(request)
        reply, names = answer.reply, list(answer.faults)
        for fault in self._faults.every(Layer.AFTER, request.route, request.identity, symbol):
            reply = damaged(fault, reply)
            names.append(fault.name)
        return Answer(reply, tuple(names))

    def _let_in(self, request: Request) -> Answer:
        if request.route == MASTER:
            faults = self._faults.every(Layer.MASTER, MASTER, request.identity, None)
            reply = self._master.answer(faults, self._faults.renamed())
            return Answer(reply, tuple(fault.name for fault in faults))
        if request.route == CUSTOMER:
            return Answer(self._access.customer_details(request.params))
        if request.route == HISTORY_V2:
            refused = self._access.refuse_v2(request)
        else:
            refused = self._access.refuse_v1(request)
        if refused is not None:
            return Answer(refused)
        renamed = self._faults.renamed()
        if request.route == QUOTES:
            return Answer(self._quotes.answer(request.params, renamed))
        if request.route == OPTION_CHAIN:
            return Answer(self._options.answer(request.params, renamed))
        return self._history.answer(request)

    def _symbol(self, request: Request) -> str | None:
        code = request.params.get("stock_code", "")
        listing = self._directory.of_code(code, self._faults.renamed())
        return None if listing is None else listing.symbol


def _params(query: str, body: bytes) -> dict[str, str]:
    found = dict(parse_qsl(query, keep_blank_values=True))
    if not body:
        return found
    try:
        content: Any = json.loads(body)
    except ValueError:
        return found
    if not isinstance(content, dict):
        return found
    fields = cast("dict[str, object]", content)
    return found | {key: str(value) for key, value in fields.items() if value is not None}
