"""The limit of calls per minute as a global concurrency limit of Prefect, for all machines.

Belongs here: the limit's name and size, and waiting for a slot of it. Does not belong here: calls
per day, pauses and stops (`sensequant.ingestion.pacing`), the calls.

A limit with decay is a bucket: in any minute at most its size and what decays in a minute. Prefect
counts whole slots and forgets what had decayed when it refuses (3.8.8), so one call takes a
thousand slots, and a process does not ask before its next slot can be there: asking early costs
what was saved up. A process alone reaches 97 percent of the limit; several share it evenly only
over minutes and reach less, but never more.
"""

import contextlib
import copy
import secrets
import threading
import time
from collections.abc import Callable
from http import HTTPStatus

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import (
    GlobalConcurrencyLimitCreate,
    GlobalConcurrencyLimitUpdate,
)
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from sensequant.errors import SourceError, StopSourceError
from sensequant.market.sources.breeze.config import BreezeConfig

__all__ = ["PrefectRate", "limit_name", "remove_limit", "set_limit"]

_SLOTS_PER_CALL = 1000
_SECONDS_PER_MINUTE = 60.0
_SLOWER, _FASTER = 1.3, 0.95
# A refusal after so many slots is this process's own unevenness, a sooner one that of another.
_N_ALONE = 10
_LONGEST_INTERVAL_SECONDS = 30.0


def limit_name(key_digest: str) -> str:
    """Return the name of the limit of one app key, as the pages show it."""
    return f"breeze-calls-{key_digest}"


def set_limit(name: str, config: BreezeConfig) -> None:
    """Make the limit, or bring it to what the settings say.

    Only this makes it: whoever takes a slot of a limit that is not there is refused.
    """
    size = config.burst * _SLOTS_PER_CALL
    decay = (config.calls_per_minute - config.burst) * _SLOTS_PER_CALL / _SECONDS_PER_MINUTE
    with get_client(sync_client=True) as client:
        try:
            client.update_global_concurrency_limit(
                name=name,
                concurrency_limit=GlobalConcurrencyLimitUpdate(
                    limit=size, slot_decay_per_second=decay
                ),
            )
        except ObjectNotFound:
            # All slots are taken at first: nobody knows what was called before.
            client.create_global_concurrency_limit(
                GlobalConcurrencyLimitCreate(
                    name=name, limit=size, active_slots=size, slot_decay_per_second=decay
                )
            )


def remove_limit(name: str) -> None:
    """Remove the limit of a key that nobody will use again; one that is not there is gone."""
    with get_client(sync_client=True) as client, contextlib.suppress(ObjectNotFound):
        client.delete_global_concurrency_limit_by_name(name)


class PrefectRate:
    """Keeps a limit per minute for all processes that report to one Prefect server.

    Parameters
    ----------
    name
        Name of the limit.
    config
        What the limit was set to.
    client
        Connection to the server.
    monotonic, sleep
        Seconds of a clock that is never set, and how to wait for a number of seconds.
    """

    def __init__(
        self,
        name: str,
        config: BreezeConfig,
        *,
        client: SyncPrefectClient | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._name = name
        self._client = client or get_client(sync_client=True).__enter__()
        self._least_interval = _SECONDS_PER_MINUTE / (config.calls_per_minute - config.burst)
        self._interval = self._least_interval
        self._due = 0.0
        self._n_since_refusal = 0
        self._stopped_by: StopSourceError | None = None
        self._monotonic = monotonic
        self._sleep = sleep
        self._lock = threading.Lock()
        # Chance keeps processes that were refused together from asking again together.
        self._chance = secrets.SystemRandom()

    def take(self) -> None:
        """Wait for a slot and take it.

        Raises
        ------
        StopSourceError
            This process was stopped.
        SourceError
            The limit is not there, or the server does not answer: no call without a limit.
        """
        # One thread asks for all of this process, in the order in which they came.
        with self._lock:
            while True:
                if self._stopped_by is not None:
                    raise copy.copy(self._stopped_by)
                self._sleep(max(0.0, self._due - self._monotonic()))
                if self._is_granted():
                    self._speed_up()
                    return
                self._slow_down()

    def close(self) -> None:
        """Give back the connection to the server."""
        self._client.__exit__(None, None, None)

    def minute_limit_met(self) -> None:
        """Do nothing: the ledger's pause holds for every process."""

    def stop(self, error: StopSourceError) -> None:
        """Let every later `take` of this process raise this error."""
        self._stopped_by = error

    def _speed_up(self) -> None:
        self._n_since_refusal += 1
        self._interval = max(self._least_interval, self._interval * _FASTER)
        # What was missed is made up for, as far as the bucket has saved it.
        self._due = max(self._due, self._monotonic() - self._interval) + self._interval

    def _slow_down(self) -> None:
        is_alone = self._n_since_refusal >= _N_ALONE
        self._n_since_refusal = 0
        if not is_alone:
            self._interval = min(self._interval * _SLOWER, _LONGEST_INTERVAL_SECONDS)
        longest = 1.2 if is_alone else 2.0
        self._due = self._monotonic() + self._interval * self._chance.uniform(1.0, longest)

    def _is_granted(self) -> bool:
        try:
            reply = self._client.increment_concurrency_slots(
                names=[self._name], slots=_SLOTS_PER_CALL, mode="rate_limit"
            )
        except PrefectHTTPStatusError as error:
            if error.response.status_code == HTTPStatus.LOCKED:
                return False
            raise _unlimited(self._name, str(error)) from error
        if not reply.json():
            raise _unlimited(self._name, "the server has no limit of this name")
        return True


def _unlimited(name: str, found: str) -> SourceError:
    return SourceError(
        "calls per minute cannot be limited, so none is made",
        where=f"global concurrency limit {name}",
        expected="a slot of the limit",
        found=found,
        remedy="start the run again: it makes the limit",
    )
