"""Tests of retries, pace and login, through the unmodified SDK."""

import contextlib
import threading
import traceback
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from sensequant.errors import (
    AuthExpiredError,
    AuthInvalidError,
    BadRequestError,
    DayLimitError,
    MalformedReplyError,
    MinuteLimitError,
    SourceError,
    StopSourceError,
    TransientSourceError,
    UnknownSymbolError,
)
from sensequant.market.sources.breeze.client import BreezeClient, Delivery, wire_time
from sensequant.market.sources.breeze.config import BreezeConfig, RetryConfig, TimeoutConfig
from sensequant.market.sources.breeze.credentials import BreezeLogin, SharedLogin
from sensequant.market.sources.breeze.pacing import UnlimitedPacer

FIRST = datetime(2024, 2, 29, 18, 30, tzinfo=UTC)
LAST = datetime(2024, 3, 4, 18, 29, 59, tzinfo=UTC)
LOGIN = ["customerdetails", "quotes"]
DOUBT = {"Success": None, "Status": 500, "Error": "Invalid User Details"}
MINUTE = {"Status": 5, "Error": "Limit exceed: API call per minute:Try after some time"}
DAY = {"Status": 5, "Error": "Limit exceed: API call per day: "}
OUTAGE = {"Success": None, "Status": 500, "Error": "Error while calling service (T2:154)"}
CHECKSUM = {"Status": 5, "Error": "Authentication Fail :: Invalid Checksum."}
EXPIRED = {"Success": None, "Status": 500, "Error": "Resource not available."}

Maker = Callable[..., BreezeClient]


class CountingPacer(UnlimitedPacer):
    """Counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.n_taken = 0
        self.n_minute_limits = 0
        self.stops: list[StopSourceError] = []

    def take(self) -> None:
        """Count it."""
        super().take()
        self.n_taken += 1

    def minute_limit_met(self) -> None:
        """Count it."""
        self.n_minute_limits += 1

    def stop(self, error: StopSourceError) -> None:
        """Keep the error."""
        super().stop(error)
        self.stops.append(error)


def _history(client: BreezeClient, version: Any = "v2") -> Delivery:
    return client.history("RELIND", interval="1day", first=FIRST, last=LAST, version=version)


def test_first_call_logs_in_and_proves_it(service: Any, make_client: Maker) -> None:
    """Login, then one signed call, then what was asked for; later calls need one request each."""
    client = make_client()
    first, second = _history(client), _history(client)

    assert [*LOGIN, "v2", "v2"] == service.kinds()
    assert (first.n_calls, second.n_calls, client.n_calls) == (1, 1, 4)
    assert service.seen[1].fields["stock_code"] == "NIFTY"


def test_proof_asks_for_the_code_that_is_set(service: Any, make_client: Maker) -> None:
    """Another account may see other codes."""
    make_client(BreezeConfig(proof_stock_code="ITC")).login()

    assert service.seen[1].fields["stock_code"] == "ITC"


def test_threads_share_one_login(service: Any, make_client: Maker) -> None:
    """Eight threads that begin at once log in once; no more than four requests are under way."""
    for _ in range(10):
        service.script("v2", {"Success": [], "Status": 200, "Error": None}, delay_seconds=0.05)
    client = make_client()
    with ThreadPoolExecutor(8) as pool:
        deliveries = [task.result() for task in [pool.submit(_history, client) for _ in range(16)]]

    assert len(deliveries) == 16
    assert [*LOGIN, *["v2"] * 16] == service.kinds()
    assert client.n_calls == 18
    assert 2 <= service.most_in_flight <= 4


def test_number_of_calls_under_way_can_be_set(service: Any, make_client: Maker) -> None:
    """One at a time, if that is wanted."""
    for _ in range(4):
        service.script("v2", {"Success": [], "Status": 200, "Error": None}, delay_seconds=0.02)
    client = make_client(BreezeConfig(max_calls_in_flight=1))
    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(_history, client)

    assert service.most_in_flight == 1


class Shelf:
    """Keeps one login, as a file would; counts who came."""

    def __init__(self, shared: SharedLogin | None = None) -> None:
        self.shared = shared
        self.n_visits = 0
        self.n_kept = 0

    @contextlib.contextmanager
    def alone(self) -> Generator[None]:
        """Count a visit."""
        self.n_visits += 1
        yield

    def kept(self) -> SharedLogin | None:
        """Return what was left."""
        return self.shared

    def keep(self, shared: SharedLogin) -> None:
        """Take a login."""
        self.shared = shared
        self.n_kept += 1


def test_login_of_another_client_is_taken_over(service: Any, make_client: Maker) -> None:
    """No second login, but a signed call that proves the first one; later calls need neither."""
    shelf = Shelf()
    make_client(keeper=shelf).login()
    other = make_client(keeper=shelf)
    for _ in range(2):
        _history(other, "v1")

    assert service.kinds() == [*LOGIN, LOGIN[1], "v1", "v1"]
    assert (shelf.n_visits, shelf.n_kept, other.n_calls) == (2, 1, 3)


@pytest.mark.parametrize(
    "answer",
    [
        {"Success": None, "Status": 500, "Error": "Invalid User Details"},
        {"Success": None, "Status": 500, "Error": "Resource not available."},
        {"Success": None, "Status": 5, "Error": "Limit exceed: API call per minute"},
        [],
    ],
    ids=["unknown", "expired", "too many", "senseless"],
)
def test_a_kept_login_that_proves_nothing_is_replaced(
    service: Any, make_client: Maker, answer: Any
) -> None:
    """One of its own follows, and nobody is told to stop: the token may well be good."""
    shelf, pacer = Shelf(), CountingPacer()
    make_client(keeper=shelf).login()
    service.script("quotes", answer)
    make_client(keeper=shelf, pacer=pacer).login()

    assert service.kinds() == [*LOGIN, LOGIN[1], *LOGIN]
    assert shelf.n_kept == 2
    assert pacer.stops == []


def test_a_refused_login_is_not_kept(service: Any, make_client: Maker, login: BreezeLogin) -> None:
    """What was not proven is of no use to others."""
    shelf = Shelf()
    wrong = BreezeLogin(login.api_key, SecretStr("another"), login.session_token)
    with pytest.raises(AuthInvalidError):
        make_client(who=wrong, keeper=shelf).login()

    assert (shelf.n_kept, service.kinds()) == (0, LOGIN)


def test_wrong_secret_is_found_at_the_login(
    service: Any, make_client: Maker, login: BreezeLogin
) -> None:
    """The login itself succeeds; the proof does not, and nobody calls any more."""
    pacer = CountingPacer()
    wrong = BreezeLogin(login.api_key, SecretStr("another"), login.session_token)
    client = make_client(who=wrong, pacer=pacer)
    for _ in range(2):
        with pytest.raises(AuthInvalidError, match="signature"):
            _history(client)

    assert service.kinds() == LOGIN
    assert len(pacer.stops) == 1


def test_code_that_proves_nothing_else_still_proves_the_login(
    service: Any, make_client: Maker
) -> None:
    """Whoever looks for the code has accepted the signature."""
    service.script("quotes", {"Success": None, "Status": 500, "Error": "Historical Data Fail"})
    client = make_client()
    client.login()
    client.login()

    assert service.kinds() == LOGIN


def test_refused_signature_names_the_clock(service: Any, make_client: Maker) -> None:
    """The service's Date is of 2020."""
    service.date = "Wed, 01 Jan 2020 00:00:00 GMT"
    client = make_client()
    client.login()
    service.script("v1", CHECKSUM)

    with pytest.raises(AuthInvalidError, match="clock of this machine is off"):
        _history(client, "v1")


def test_tolerance_of_the_clock_can_be_set(service: Any, make_client: Maker) -> None:
    """Half an hour is put down to the secret where an hour is tolerated."""
    date_there = datetime.now(UTC) - timedelta(minutes=30)
    service.date = date_there.strftime("%a, %d %b %Y %H:%M:%S GMT")
    client = make_client(BreezeConfig(clock_tolerance_seconds=3600.0))
    client.login()
    service.script("v1", CHECKSUM)

    with pytest.raises(AuthInvalidError, match="the signature was refused; where"):
        _history(client, "v1")


@pytest.mark.parametrize("n_failures", [1, 2, 3])
def test_what_may_pass_is_tried_four_times(
    service: Any, make_client: Maker, waits: list[float], n_failures: int
) -> None:
    """Waits are half (the chance given) of 1, 2 and 4 seconds; every try takes a token."""
    pacer = CountingPacer()
    for _ in range(n_failures):
        service.script("v2", b"<html>", status=503)
    delivery = _history(make_client(pacer=pacer))

    assert n_failures + 1 == delivery.n_calls
    assert [0.5, 1.0, 2.0][:n_failures] == waits
    assert pacer.n_taken == 2 + n_failures + 1


def test_what_does_not_pass_is_left_after_four_tries(service: Any, make_client: Maker) -> None:
    """The error says after how many calls."""
    for body in (OUTAGE, b"", OUTAGE, OUTAGE):
        service.script("v2", body, status=500)
    with pytest.raises(TransientSourceError, match="after 4 calls"):
        _history(make_client())

    assert [*LOGIN, *["v2"] * 4] == service.kinds()


def test_number_of_tries_and_waits_can_be_set(
    service: Any, make_client: Maker, waits: list[float]
) -> None:
    """Six tries, the first wait up to 4 seconds, none above 10."""
    retry = RetryConfig(n_transient_tries=6, first_wait_seconds=4.0, longest_wait_seconds=10.0)
    for _ in range(5):
        service.script("v2", b"", status=503)
    _history(make_client(BreezeConfig(retry=retry)))

    assert waits == [2.0, 4.0, 5.0, 5.0, 5.0]


def test_silence_is_tried_again(service: Any, make_client: Maker) -> None:
    """A timeout counts as a failure that may pass."""
    service.script("v2", b"{}", delay_seconds=0.5)
    timeouts = TimeoutConfig(connect_seconds=1.0, read_seconds=0.1)
    delivery = _history(make_client(BreezeConfig(timeouts=timeouts)))

    assert delivery.n_calls == 2


def test_reply_without_sense_is_tried_once_more(service: Any, make_client: Maker) -> None:
    """The second one is kept for the quarantine."""
    service.script("v2", b"<html>first")
    service.script("v2", b"<html>second")
    with pytest.raises(MalformedReplyError) as caught:
        _history(make_client())

    assert [*LOGIN, "v2", "v2"] == service.kinds()
    assert caught.value.raw == "<html>second"
    service.script("v2", b"<html>third")
    assert _history(make_client()).n_calls == 2


def test_minute_limit_pauses_everybody_and_goes_on(
    service: Any, make_client: Maker, waits: list[float]
) -> None:
    """The pacer waits, not the call, and other failures are counted apart."""
    pacer = CountingPacer()
    for body in (MINUTE, MINUTE, OUTAGE, MINUTE):
        service.script("v2", body)
    delivery = _history(make_client(pacer=pacer))

    assert (delivery.n_calls, pacer.n_minute_limits) == (5, 3)
    assert waits == [0.5]


def test_minute_limit_without_end_is_left(service: Any, make_client: Maker) -> None:
    """As often as is set, then an error."""
    pacer = CountingPacer()
    for _ in range(3):
        service.script("v2", MINUTE)
    client = make_client(BreezeConfig(retry=RetryConfig(n_minute_limits=2)), pacer=pacer)
    with pytest.raises(MinuteLimitError, match="after 3 calls"):
        _history(client)

    assert pacer.n_minute_limits == 2


@pytest.mark.parametrize(("body", "expected"), [(DAY, DayLimitError), (EXPIRED, AuthExpiredError)])
def test_day_limit_and_expiry_stop_everybody(
    service: Any, make_client: Maker, body: Any, expected: type[StopSourceError]
) -> None:
    """No second try, and no later call is made."""
    pacer = CountingPacer()
    client = make_client(pacer=pacer)
    service.script("v2", body)
    for _ in range(3):
        with pytest.raises(expected):
            _history(client)

    assert [*LOGIN, "v2"] == service.kinds()
    assert expected is type(pacer.stops[0])


def test_day_limit_at_the_login_is_no_refused_key(service: Any, make_client: Maker) -> None:
    """The SDK's own words for it are those of any failure."""
    service.script("customerdetails", DAY)

    with pytest.raises(DayLimitError):
        make_client().login()


def test_login_is_tried_again_too(service: Any, make_client: Maker) -> None:
    """An outage at the login, then at the proof; both pass."""
    service.script("customerdetails", OUTAGE)
    service.script("quotes", b"", status=502)
    make_client().login()

    assert service.kinds() == ["customerdetails", "customerdetails", "quotes", "quotes"]


def test_unknown_session_once_is_a_passing_fault(service: Any, make_client: Maker) -> None:
    """The second try succeeds without a probe."""
    service.script("v2", DOUBT)
    delivery = _history(make_client())

    assert [*LOGIN, "v2", "v2"] == service.kinds()
    assert delivery.n_calls == 2


def test_unknown_session_twice_is_probed(service: Any, make_client: Maker) -> None:
    """The token holds, so the call is tried on; the probe is among its calls."""
    service.script("v2", DOUBT)
    service.script("v2", DOUBT)
    delivery = _history(make_client())

    assert [*LOGIN, "v2", "v2", "customerdetails", "v2"] == service.kinds()
    assert delivery.n_calls == 4


@pytest.mark.parametrize(
    "answer", [EXPIRED, {"Success": None, "Status": 401, "Error": "Invalid session."}]
)
def test_probe_that_fails_means_expired(service: Any, make_client: Maker, answer: Any) -> None:
    """Everybody stops, whatever word the service has for it."""
    client = make_client()
    client.login()
    service.script("v2", DOUBT)
    service.script("v2", DOUBT)
    service.script("customerdetails", answer)
    for _ in range(2):
        with pytest.raises(AuthExpiredError):
            _history(client)

    assert [*LOGIN, "v2", "v2", "customerdetails"] == service.kinds()


def test_session_that_stays_unknown_has_expired(service: Any, make_client: Maker) -> None:
    """Although the token holds: somebody else may have logged in with it."""
    pacer = CountingPacer()
    client = make_client(pacer=pacer)
    for _ in range(4):
        service.script("v2", DOUBT)
    with pytest.raises(AuthExpiredError, match="4 times"):
        _history(client)

    assert [*LOGIN, "v2", "v2", "customerdetails", "v2", "v2"] == service.kinds()
    assert len(pacer.stops) == 1


def test_one_second_look_even_without_retries(service: Any, make_client: Maker) -> None:
    """A passing doubt is not taken for the end, however few tries are set."""
    config = BreezeConfig(retry=RetryConfig(n_transient_tries=1))
    service.script("v2", DOUBT)
    client = make_client(config)

    assert _history(client).n_calls == 2
    service.script("v2", b"", status=503)
    with pytest.raises(TransientSourceError):
        _history(client)


def test_doubt_at_the_login_is_not_probed(service: Any, make_client: Maker) -> None:
    """A probe would ask the same; after four the session is taken for expired."""
    for _ in range(4):
        service.script("customerdetails", DOUBT)
    with pytest.raises(AuthExpiredError):
        make_client().login()

    assert service.kinds() == ["customerdetails"] * 4


def test_unknown_code_of_v1_is_not_tried_again(service: Any, make_client: Maker) -> None:
    """Asking again would not help."""
    client = make_client()
    client.login()
    service.script("v1", {"Success": None, "Status": 500, "Error": "Historical Data Fail"})
    with pytest.raises(UnknownSymbolError, match="RELIND 1day 2024-03-01 to 2024-03-04, v1"):
        _history(client, "v1")

    assert [*LOGIN, "v1"] == service.kinds()


def test_request_refused_by_the_sdk_costs_no_request(service: Any, make_client: Maker) -> None:
    """Two conditions of three are needed for options."""
    client = make_client()
    with pytest.raises(BadRequestError, match="options"):
        client.option_chain("NIFTY", right="call")

    assert service.kinds() == LOGIN
    assert client.n_calls == 2


def test_quotes_and_options_are_rows(service: Any, make_client: Maker) -> None:
    """As delivered; the conditions stand on the wire as the service has them."""
    client = make_client()
    quotes = client.quotes("RELIND")
    chain = client.option_chain("NIFTY", expiry=date(2024, 3, 28), strike_price_inr=22500.0)

    assert [{"ltp": 100.5, "exchange_code": "NSE"}] == quotes.rows == chain.rows
    fields = service.seen[-1].fields
    assert (fields["expiry_date"], fields["strike_price"]) == ("2024-03-28T06:00:00.000Z", "22500")


def test_ipv4_can_be_asked_for(make_client: Maker) -> None:
    """The setting reaches the connection."""
    client = make_client(BreezeConfig(has_ipv4_only=True))
    client.login()

    assert client._session._transport._config.has_ipv4_only


def test_wire_time_is_the_clock_of_india() -> None:
    """The service reads the digits as Indian time, in spite of the Z."""
    assert wire_time(FIRST) == "2024-03-01T00:00:00.000Z"
    with pytest.raises(ValueError, match="no time zone"):
        wire_time(FIRST.replace(tzinfo=None))


def test_no_error_shows_a_secret(
    service: Any, make_client: Maker, secrets: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the service repeats, in whatever kind of failure."""
    caplog.set_level("DEBUG")
    with make_client(BreezeConfig(retry=RetryConfig(n_transient_tries=1))) as client:
        client.login()
        errors: list[SourceError] = []
        for status in (5, 400, 500, 200):
            body = {"Success": None, "Status": status, "Error": " ".join(secrets)}
            service.script("v2", body)
            service.script("v2", body)
            with pytest.raises(SourceError) as caught:
                _history(client)
            service.scripted.clear()
            errors.append(caught.value)
    texts = ["".join(traceback.format_exception(error)) + str(vars(error)) for error in errors]
    texts += [record.getMessage() for record in caplog.records]

    assert len(errors) == 4
    assert not [text for text in texts for secret in secrets if secret in text]


def test_closed_client_leaves_no_connection(service: Any, make_client: Maker) -> None:
    """Threads that end leave none either."""
    client = make_client()
    thread = threading.Thread(target=lambda: _history(client))
    thread.start()
    thread.join()
    client.close()

    assert client._session._transport._idle == []
    assert [*LOGIN, "v2"] == service.kinds()
