"""Calls to the Breeze API: one login, a token before every try, retries by kind of error.

Belongs here: what is done about each kind of error, and the count of calls. Does not belong here:
what a reply means (`classify`), pages of a long range (`source`).

Policy
------
- What may pass: tried again, after waits drawn evenly between 0 and a bound that doubles from the
  first to the longest.
- A session that the service does not know: tried again once, because that passes; then the session
  token is probed, and if that holds, tried on as above; if the session stays unknown, it has
  expired.
- A reply without sense: tried again once.
- Limit per minute: all callers wait for the next minute, then the call is made again.
- Limit per day, refused keys or addresses, expired session: every caller stops.
- Everything else, and an empty reply: no second try.
"""

import contextlib
import dataclasses
import threading
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any, Literal, Protocol, Self

from sensequant.errors import (
    AuthExpiredError,
    DataError,
    MalformedReplyError,
    MinuteLimitError,
    SenseQuantError,
    SourceError,
    StopSourceError,
    TransientSourceError,
)
from sensequant.market.intervals import Interval
from sensequant.market.sessions import IST
from sensequant.market.sources.breeze.classify import (
    Reading,
    SessionDoubtError,
    Use,
    read_outcome,
)
from sensequant.market.sources.breeze.config import BreezeConfig, HistoryVersion, RetryConfig
from sensequant.market.sources.breeze.credentials import BreezeLogin, SharedLogin
from sensequant.market.sources.breeze.depth_socket import DepthSocket
from sensequant.market.sources.breeze.endpoints import Endpoints
from sensequant.market.sources.breeze.pacing import Pacer
from sensequant.market.sources.breeze.sdk import Outcome, SdkSession, open_sdk
from sensequant.market.sources.breeze.transport import TransportConfig

__all__ = ["BreezeClient", "Delivery", "LoginKeeper", "Timing", "wire_time"]

# The first doubt passes, as a rule; the second asks for proof.
_PROBED_DOUBT = 2


@dataclasses.dataclass(frozen=True, slots=True)
class Timing:
    """The outside world of a client.

    Parameters
    ----------
    clock
        Returns the time, aware.
    sleep
        Waits for a number of seconds.
    random
        Returns a number from 0 up to 1, for the waits between tries.
    """

    clock: Callable[[], datetime]
    sleep: Callable[[float], None]
    random: Callable[[], float]


@dataclasses.dataclass(frozen=True, slots=True)
class Delivery:
    """What was asked for.

    Parameters
    ----------
    rows
        Rows as delivered; nothing is known of their shape. Empty: the service says it has none.
    n_calls
        Requests that it cost, without those of a login.
    """

    rows: list[Any]
    n_calls: int


@dataclasses.dataclass(frozen=True, slots=True)
class _Ask:
    use: Use
    where: str
    send: Callable[[SdkSession], Outcome]


class LoginKeeper(Protocol):
    """Where processes with the same keys and token find the login of one of them."""

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """Let one process at a time look, or log in."""
        ...

    def kept(self) -> SharedLogin | None:
        """Return the login that was left, if it can still hold."""
        ...

    def keep(self, shared: SharedLogin) -> None:
        """Leave a login that was proven."""
        ...


class BreezeClient:
    """The Breeze API for any number of threads.

    Parameters
    ----------
    endpoints
        Where the service is.
    login
        Who asks.
    pacer
        Says when a call may be made.
    config
        Timeouts, retries, concurrency.
    timing
        Clock, waiting and chance.
    keeper
        Where the login of another process may be found, and left for it; None shares none.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        login: BreezeLogin,
        *,
        pacer: Pacer,
        config: BreezeConfig,
        timing: Timing,
        keeper: LoginKeeper | None = None,
    ) -> None:
        transport = TransportConfig(
            connect_seconds=config.timeouts.connect_seconds,
            read_seconds=config.timeouts.read_seconds,
            is_direct=endpoints.is_loopback,
            has_ipv4_only=config.has_ipv4_only,
        )
        self.endpoints = endpoints
        self._session = open_sdk(endpoints, login, transport=transport)
        self._config = config
        self._pacer = pacer
        self._timing = timing
        self._in_flight = threading.BoundedSemaphore(config.max_calls_in_flight)
        self._counting = threading.Lock()
        self._n_calls = 0
        self._logging_in = threading.Lock()
        self._is_logged_in = False
        self._keeper = keeper

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def n_calls(self) -> int:
        """Requests sent so far, those of the login included."""
        return self._n_calls

    def close(self) -> None:
        """Close every connection."""
        self._session.close()

    def login(self) -> None:
        """Log in and prove it by one signed call; the second time nothing happens.

        The login itself does not check the secret key. Where another process has logged in with
        the same keys and token, its session is taken over once a signed call has proven it. Other
        calls log in by themselves.

        Raises
        ------
        StopSourceError
            Key, secret, token or address are refused, or the limit per day is reached.
        RetryableError
            The service did not answer with sense, in spite of several tries.
        """
        with self._logging_in:
            if self._is_logged_in:
                return
            with contextlib.nullcontext() if self._keeper is None else self._keeper.alone():
                kept = None if self._keeper is None else self._keeper.kept()
                if kept is None or not self._is_taken_over(kept):
                    self._log_in()
            self._is_logged_in = True

    @property
    def _proof(self) -> "_Ask":
        code = self._config.proof_stock_code
        return _Ask("quotes", f"proof of the login, {code}", lambda sdk: sdk.quotes(code))

    def _log_in(self) -> None:
        self._persist(_Ask("login", "login to Breeze", SdkSession.log_in))
        # A code that is not known: the signature was accepted before anybody looked for it.
        with contextlib.suppress(DataError):
            self._persist(self._proof)
        if self._keeper is not None:
            self._keeper.keep(self._session.share())

    def _is_taken_over(self, kept: SharedLogin) -> bool:
        self._session.adopt(kept)
        proof = self._proof
        try:
            self._read(self._sent(proof), proof)
        except DataError:
            return True
        except SourceError:
            # Whatever it was, a login of one's own meets it again, or mends it.
            return False
        return True

    def history(
        self,
        stock_code: str,
        *,
        interval: Interval,
        first: datetime,
        last: datetime,
        version: HistoryVersion = "v2",
    ) -> Delivery:
        """Ask once for bars; the service delivers the newest 1000 of the range.

        Parameters
        ----------
        stock_code
            Breeze's code, which is not the symbol of NSE.
        interval
            Length of the bars.
        first, last
            Instants between which bars may begin, both included; aware.
        version
            Which of the vendor's history services.

        Raises
        ------
        UnknownSymbolError
            The service has no such code (v1 alone says so).
        BadRequestError
            The request is refused as wrong.
        StopSourceError, RetryableError
            As for `login`.
        """
        from_date, to_date = wire_time(first), wire_time(last)
        return self._ask(
            _Ask(
                "history",
                f"{stock_code} {interval} {from_date[:10]} to {to_date[:10]}, {version}",
                lambda sdk: sdk.history(
                    stock_code,
                    interval=interval,
                    from_date=from_date,
                    to_date=to_date,
                    version=version,
                ),
            )
        )

    def quotes(self, stock_code: str) -> Delivery:
        """Ask for the quotes of a share or index; usually one row of each exchange.

        Raises
        ------
        BadRequestError, StopSourceError, RetryableError
            As for `history`.
        """
        where = f"{stock_code} quotes"
        return self._ask(_Ask("quotes", where, lambda sdk: sdk.quotes(stock_code)))

    def option_chain(
        self,
        stock_code: str,
        *,
        expiry: date | None = None,
        right: Literal["call", "put"] | None = None,
        strike_price_inr: float | None = None,
    ) -> Delivery:
        """Ask for the quotes of options on a share or index; two conditions are needed.

        Raises
        ------
        BadRequestError, StopSourceError, RetryableError
            As for `history`.
        """
        expiry_date = "" if expiry is None else f"{expiry.isoformat()}T06:00:00.000Z"
        strike_price = "" if strike_price_inr is None else f"{strike_price_inr:g}"
        return self._ask(
            _Ask(
                "option_chain",
                f"{stock_code} options",
                lambda sdk: sdk.option_chain(
                    stock_code,
                    expiry_date=expiry_date,
                    right=right or "",
                    strike_price=strike_price,
                ),
            )
        )

    def depth_socket(self) -> DepthSocket:
        """Return a socket of market depth with the login of this client; it is not open yet.

        Raises
        ------
        StopSourceError, RetryableError
            As for `login`.
        """
        self.login()
        return DepthSocket(self.endpoints, self._session.share())

    def _ask(self, ask: _Ask) -> Delivery:
        self.login()
        return self._persist(ask)

    def _persist(self, ask: _Ask) -> Delivery:
        tries = _Tries(self._config.retry)
        while True:
            try:
                rows, n_sent = self._try(ask)
                return Delivery(rows or [], tries.n_calls + n_sent)
            except (TransientSourceError, MalformedReplyError, MinuteLimitError) as error:
                tries.n_calls += 1
                self._prepare_again(error, ask, tries)

    def _try(self, ask: _Ask) -> tuple[list[Any] | None, int]:
        outcome = self._sent(ask)
        try:
            return self._read(outcome, ask), outcome.n_requests
        except StopSourceError as error:
            self._pacer.stop(error)
            raise

    def _sent(self, ask: _Ask) -> Outcome:
        with self._in_flight:
            self._pacer.take()
            outcome = ask.send(self._session)
        with self._counting:
            self._n_calls += outcome.n_requests
        return outcome

    def _read(self, outcome: Outcome, ask: _Ask) -> Any:
        reading = Reading(
            use=ask.use,
            where=ask.where,
            now=self._timing.clock(),
            clock_tolerance=timedelta(seconds=self._config.clock_tolerance_seconds),
            redact=self._session.redact,
        )
        return read_outcome(outcome, reading)

    def _prepare_again(self, error: SenseQuantError, ask: _Ask, tries: "_Tries") -> None:
        if isinstance(error, MinuteLimitError):
            tries.count_minute_limit(error)
            self._pacer.minute_limit_met()
            return
        if isinstance(error, SessionDoubtError):
            self._resolve_doubt(error, ask, tries)
        elif isinstance(error, MalformedReplyError):
            tries.count_malformed(error)
        else:
            tries.count_transient(error)
        self._timing.sleep(self._timing.random() * tries.longest_wait_seconds)

    def _resolve_doubt(self, error: SessionDoubtError, ask: _Ask, tries: "_Tries") -> None:
        tries.n_doubts += 1
        if tries.n_doubts == 1:
            return
        if tries.n_doubts == _PROBED_DOUBT and ask.use not in ("login", "probe"):
            probe = self._persist(_Ask("probe", "session of Breeze", SdkSession.probe))
            tries.n_calls += probe.n_calls
        if tries.is_transient_left():
            return
        expired = AuthExpiredError(
            "the session has expired",
            where=error.where,
            found=f"{error.found}, {tries.n_doubts} times",
            remedy=error.remedy,
        )
        self._pacer.stop(expired)
        raise expired


@dataclasses.dataclass(slots=True)
class _Tries:
    config: RetryConfig
    n_calls: int = 0
    n_transient: int = 0
    n_malformed: int = 0
    n_minute_limits: int = 0
    n_doubts: int = 0

    @property
    def longest_wait_seconds(self) -> float:
        n_waits = self.n_transient + self.n_malformed + self.n_doubts
        doubled = self.config.first_wait_seconds * 2.0 ** (n_waits - 1)
        return min(self.config.longest_wait_seconds, doubled)

    def is_transient_left(self) -> bool:
        return self.n_transient + self.n_doubts < self.config.n_transient_tries

    def count_transient(self, error: SenseQuantError) -> None:
        self.n_transient += 1
        if not self.is_transient_left():
            raise _after_tries(error, self.n_calls)

    def count_malformed(self, error: SenseQuantError) -> None:
        self.n_malformed += 1
        if self.n_malformed > 1:
            raise _after_tries(error, self.n_calls)

    def count_minute_limit(self, error: SenseQuantError) -> None:
        self.n_minute_limits += 1
        if self.n_minute_limits > self.config.n_minute_limits:
            raise _after_tries(error, self.n_calls)


def wire_time(instant: datetime) -> str:
    """Return an instant as the service wants it: the clock in India, with a Z that is not meant.

    Raises
    ------
    ValueError
        The instant is naive, so it is none.
    """
    if instant.utcoffset() is None:
        message = f"{instant.isoformat()} has no time zone"
        raise ValueError(message)
    return instant.astimezone(IST).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _after_tries(error: SenseQuantError, n_calls: int) -> SenseQuantError:
    error.found = f"{error.found}, after {n_calls} calls" if error.found else f"{n_calls} calls"
    return error
