"""Who may ask: app key, secret, the session of the day, the signature.

Belongs here: login, the life of a session, the checks of both versions of the API. Does not belong
here: how often one may ask (`limits`).

A person logs in by browser and gets an API session; `customerdetails` swaps it for a session token,
base64 of ``user:key``, that stands in every further request. Both end at midnight in India, or when
the person logs in again. Login and v2 are not signed, so a wrong secret passes there.
"""

import base64
import binascii
import hashlib
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import SecretStr

from sensequant.breeze_simulator.clock import Clock, next_midnight, wall_time
from sensequant.breeze_simulator.wire import Reply, Request, envelope, failure
from sensequant.market.sources.breeze.credentials import BreezeLogin
from sensequant.records import derive_seed

__all__ = ["INVALID_USER", "Access", "checksum_of", "simulated_login"]

INVALID_USER = "Invalid User Details"
"""What a lost session is called."""

_USER_NAME = "SIMULATED USER"


def simulated_login(seed: int) -> BreezeLogin:
    """Return keys that no vendor has given out; the app key holds `+`, `=` and `!` as real ones."""
    digits = hashlib.sha256(str(derive_seed(seed, "breeze login")).encode()).hexdigest()
    return BreezeLogin(
        api_key=SecretStr(f"{digits[:10]}+{digits[10:20]}=!{digits[20:30]}"),
        secret_key=SecretStr(f"{digits[30:40]}!+{digits[40:50]}="),
        session_token=SecretStr(digits[50:58]),
    )


def checksum_of(timestamp: str, body: bytes, secret: str) -> str:
    """Return the signature of a request: hexadecimal sha256 of time, exact body and secret."""
    return hashlib.sha256(timestamp.encode() + body + secret.encode()).hexdigest()


class Access:
    """The door of the simulated vendor.

    Parameters
    ----------
    login
        Keys and the first API session, valid from now to midnight in India.
    clock
        The vendor's time.
    clock_skew
        Difference between the time of a signed request and the vendor's beyond which the signature
        is refused; None accepts any time.
    """

    def __init__(
        self, login: BreezeLogin, *, clock: Clock, clock_skew: timedelta | None = None
    ) -> None:
        self._clock = clock
        self._clock_skew = clock_skew
        self._lock = threading.Lock()
        self._login = login
        self._n_sessions = 1
        self._ends_at = next_midnight(clock())
        self._is_lost = False

    @property
    def login(self) -> BreezeLogin:
        """Keys and the present API session."""
        return self._login

    @property
    def user_id(self) -> str:
        """Name of the user."""
        return f"SIM{self._digits('user')[:6].upper()}"

    @property
    def session_key(self) -> str:
        """What the present API session is swapped for."""
        return self._digits("session", str(self._n_sessions))[:8]

    @property
    def is_live(self) -> bool:
        """Whether the session has not ended."""
        return not self._is_lost and self._clock() < self._ends_at

    def renew(self) -> BreezeLogin:
        """Log in by browser again: a new API session, valid to midnight; the old one ends."""
        with self._lock:
            self._n_sessions += 1
            token = SecretStr(self._digits("api session", str(self._n_sessions))[:8])
            self._login = BreezeLogin(self._login.api_key, self._login.secret_key, token)
            self._ends_at = next_midnight(self._clock())
            self._is_lost = False
            return self._login

    def lose(self) -> None:
        """End the session before its time."""
        self._is_lost = True

    def customer_details(self, params: Mapping[str, str]) -> Reply:
        """Swap an API session for a session token."""
        if params.get("AppKey") != self._login.api_key.get_secret_value():
            return failure("Public Key does not exist.", outcome="wrong_key")
        if params.get("SessionToken") != self._login.session_token.get_secret_value():
            return failure("Invalid session.", outcome="wrong_session")
        if not self.is_live:
            return failure("Resource not available.", outcome="expired")
        token = base64.b64encode(f"{self.user_id}:{self.session_key}".encode()).decode()
        return envelope(_details(self.user_id, token, wall_time(self._clock())))

    def refuse_v1(self, request: Request) -> Reply | None:
        """Return the refusal of a signed request, or None where it is in order."""
        wrong = self._refuse(request, key_header="x-appkey")
        if wrong is not None:
            return wrong
        timestamp = request.headers.get("x-timestamp", "")
        secret = self._login.secret_key.get_secret_value()
        expected = "token " + checksum_of(timestamp, request.body, secret)
        is_signed = request.headers.get("x-checksum") == expected
        if is_signed and not self._is_skewed(timestamp):
            return None
        return failure(
            "Authentication Fail :: Invalid Checksum.",
            outcome="bad_checksum",
            status=5,
            http_status=401,
            has_success=False,
        )

    def refuse_v2(self, request: Request) -> Reply | None:
        """Return the refusal of an unsigned request, or None where it is in order."""
        return self._refuse(request, key_header="apikey")

    def is_session(self, user_id: str, session_key: str) -> bool:
        """Return whether these are the fields of the live session token."""
        return (user_id, session_key) == (self.user_id, self.session_key) and self.is_live

    def _refuse(self, request: Request, *, key_header: str) -> Reply | None:
        if request.headers.get(key_header) != self._login.api_key.get_secret_value():
            return failure("Public Key does not exist.", outcome="wrong_key")
        user_id, _, key = _decoded(request.headers.get("x-sessiontoken", "")).partition(":")
        if not self.is_session(user_id, key):
            return failure(INVALID_USER, outcome="expired")
        return None

    def _is_skewed(self, timestamp: str) -> bool:
        if self._clock_skew is None:
            return False
        try:
            at = datetime.strptime(timestamp, "%Y-%m-%dT%H:%M:%S.000Z").replace(tzinfo=UTC)
        except ValueError:
            return True
        return abs(at - self._clock()) > self._clock_skew

    def _digits(self, *names: str) -> str:
        key = self._login.secret_key.get_secret_value()
        return hashlib.sha256("\0".join([key, *names]).encode()).hexdigest()


def _decoded(token: str) -> str:
    try:
        return base64.b64decode(token, validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _details(user_id: str, token: str, now: datetime) -> dict[str, Any]:
    day = f"{now:%d-%b-%Y}"
    return {
        "exg_trade_date": {"NSE": day, "BSE": day, "FNO": day, "NDX": day},
        "exg_status": {"NSE": "O", "BSE": "O", "FNO": "Y", "NDX": "X"},
        "segments_allowed": {"Trading": "Y", "Equity": "Y", "Derivatives": "Y", "Currency": "Z"},
        "idirect_userid": user_id,
        "session_token": token,
        "idirect_user_name": _USER_NAME,
        "idirect_ORD_TYP": "N",
        "idirect_lastlogin_time": f"{now:%d-%b-%Y %H:%M:%S}",
        "mf_holding_mode_popup_flg": "N",
        "commodity_exchange_status": "Y",
        "commodity_trade_date": day,
        "commodity_allowed": "O",
    }
