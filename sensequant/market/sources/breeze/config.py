"""Settings of the Breeze source.

Belongs here: what a person may choose. Does not belong here: secrets (`credentials`), addresses
(`endpoints`), facts of the vendor's service that nobody can choose (`source.MAX_BARS_PER_REPLY`).
"""

from datetime import date
from typing import Literal, Self

from pydantic import Field, model_validator

from sensequant.errors import ConfigError
from sensequant.market.intervals import Interval
from sensequant.records import Config

__all__ = ["BreezeConfig", "HistoryVersion", "RetryConfig", "TimeoutConfig"]

HistoryVersion = Literal["v1", "v2"]
"""Which of the vendor's two history services."""


class TimeoutConfig(Config):
    """How long a request may take."""

    connect_seconds: float = Field(
        default=3.0, gt=0.0, le=60.0, description="longest wait for a connection, in seconds"
    )
    read_seconds: float = Field(
        default=25.0,
        gt=0.0,
        le=300.0,
        description="longest silence of the service within a reply, in seconds",
    )


class RetryConfig(Config):
    """How often a request is made again, and after which waits."""

    n_transient_tries: int = Field(
        default=4,
        ge=1,
        le=10,
        description="tries of a request that fails in a way that may pass, the first included",
    )
    first_wait_seconds: float = Field(
        default=1.0,
        ge=0.0,
        le=60.0,
        description="longest wait before the second try, in seconds; it doubles from try to try, "
        "and the wait is drawn evenly between 0 and the longest",
    )
    longest_wait_seconds: float = Field(
        default=30.0,
        ge=0.0,
        le=600.0,
        description="bound of the doubling wait, in seconds",
    )
    n_minute_limits: int = Field(
        default=5,
        ge=0,
        le=60,
        description="how often one request waits for the next minute because the service says that "
        "its limit per minute is reached",
    )

    @model_validator(mode="after")
    def _waits_are_in_order(self) -> Self:
        if self.first_wait_seconds > self.longest_wait_seconds:
            raise ConfigError(
                "first wait is longer than the longest",
                where="first_wait_seconds, longest_wait_seconds",
                expected=f"first_wait_seconds of at most {self.longest_wait_seconds:g}",
                found=f"{self.first_wait_seconds:g}",
                remedy="lower the one or raise the other",
            )
        return self


class BreezeConfig(Config):
    """How the Breeze API is asked: sizes of chunks, pace, timeouts, retries."""

    # The bounds keep a chunk below the 1000 bars that one reply may hold.
    daily_chunk_sessions: int = Field(
        default=900, ge=1, le=999, description="sessions that one request for daily bars spans"
    )
    thirty_minute_chunk_sessions: int = Field(
        default=70,
        ge=1,
        le=76,
        description="sessions that one request for bars of 30 minutes spans, 13 bars each",
    )
    five_minute_chunk_sessions: int = Field(
        default=12,
        ge=1,
        le=12,
        description="sessions that one request for bars of 5 minutes spans, 75 bars each",
    )
    one_minute_chunk_sessions: int = Field(
        default=2,
        ge=1,
        le=2,
        description="sessions that one request for bars of 1 minute spans, 375 bars each",
    )
    daily_version: HistoryVersion = Field(
        default="v2",
        description="which of the vendor's history services delivers daily bars; the others always "
        "come from v2, because the two disagree on volumes within a session",
    )
    history_start: date = Field(
        default=date(2018, 1, 1),
        ge=date(2000, 1, 3),
        description="first date that a chunk without a start asks for",
    )
    calls_per_minute: int = Field(
        default=90,
        ge=2,
        le=100_000,
        description="requests in any 60 seconds; the vendor refuses more than 100",
    )
    burst: int = Field(
        default=2, ge=1, le=100, description="requests that may follow each other at once"
    )
    calls_per_day: int = Field(
        default=4800,
        ge=1,
        le=10_000_000,
        description="requests in a day of India; the vendor refuses more than 5000",
    )
    max_calls_in_flight: int = Field(
        default=4, ge=1, le=64, description="requests that may be under way at the same time"
    )
    timeouts: TimeoutConfig = Field(
        default=TimeoutConfig(), description="how long a request may take"
    )
    retry: RetryConfig = Field(
        default=RetryConfig(), description="how often and when a request is made again"
    )
    has_ipv4_only: bool = Field(
        default=False,
        description="whether connections leave by IPv4 only, as an address registered with the "
        "vendor may require",
    )
    clock_tolerance_seconds: float = Field(
        default=180.0,
        ge=1.0,
        le=3600.0,
        description="difference between the clock of this machine and that of the service, in "
        "seconds, beyond which a refused signature is put down to the clock",
    )
    proof_stock_code: str = Field(
        default="NIFTY",
        min_length=1,
        max_length=20,
        pattern=r"^[A-Z0-9&-]+$",
        description="Breeze code whose quote proves a login, because the login itself does not "
        "check the secret key",
    )

    @model_validator(mode="after")
    def _burst_is_within_the_minute(self) -> Self:
        if self.burst >= self.calls_per_minute:
            raise ConfigError(
                "burst leaves nothing of the minute",
                where="burst",
                expected=f"below calls_per_minute, {self.calls_per_minute}",
                found=str(self.burst),
                remedy="lower burst or raise calls_per_minute",
            )
        return self

    def sessions_per_chunk(self, interval: Interval) -> int:
        """Return how many sessions one request may span."""
        return {
            "1day": self.daily_chunk_sessions,
            "30minute": self.thirty_minute_chunk_sessions,
            "5minute": self.five_minute_chunk_sessions,
            "1minute": self.one_minute_chunk_sessions,
        }[interval]

    def version_of(self, interval: Interval) -> HistoryVersion:
        """Return which history service delivers bars of this length."""
        return self.daily_version if interval == "1day" else "v2"
