"""Sources, stores and ledgers that are open in this process, as Prefect's world provides them.

Belongs here: the credentials of a block, the limit that all machines share, the clock. Does not
belong here: what is done with a source.
"""

import atexit
import contextlib
import secrets
import threading
import time
from pathlib import Path

import httpx

from blocks.credentials import breeze_login
from blocks.environment import environment_now
from sensequant.ingestion.context import IngestContext
from sensequant.ingestion.opening import Intakes, Outside
from sensequant.market.sources.breeze.client import Timing
from sensequant.market.sources.breeze.config import BreezeConfig
from sensequant.market.sources.breeze.pacing import Pacer
from sensequant.market.sources.build import SourceConfig
from tasks.pacing import PrefectRate, limit_name, remove_limit, set_limit
from tasks.telling import utc_now

__all__ = ["close_intakes", "intake_of", "live_timing"]

_lock = threading.Lock()
_open: dict[Path, Intakes] = {}
_rates = contextlib.ExitStack()


def intake_of(source: SourceConfig) -> IngestContext:
    """Return source, store and ledger for these settings; one login serves all tasks.

    Raises
    ------
    ConfigError
        A folder is missing or holds no bars, or there is no login.
    MasterUnavailableError
        The vendor's list of securities cannot be had.
    """
    env = environment_now()
    home = env.home
    with _lock:
        if home not in _open:
            outside = Outside(home, live_timing(), breeze_login, _rate, _forget_rate, env.ledger)
            _open[home] = Intakes(outside)
            atexit.register(close_intakes)
        intakes = _open[home]
    return intakes.of(source)


def close_intakes() -> None:
    """Close every connection, ledger and simulator of this process; a later use opens new ones."""
    with _lock:
        for intakes in _open.values():
            intakes.close()
        _open.clear()
        _rates.close()


def live_timing() -> Timing:
    """Return the clock of this machine, real waits, and chance."""
    # Chance spreads the retries of several machines; no result depends on it.
    return Timing(clock=utc_now, sleep=time.sleep, random=secrets.SystemRandom().random)


def _rate(key_digest: str, config: BreezeConfig) -> Pacer:
    name = limit_name(key_digest)
    set_limit(name, config)
    rate = PrefectRate(name, config)
    _rates.callback(rate.close)
    return rate


def _forget_rate(key_digest: str) -> None:
    # The server may have gone before this process, and the limit with it.
    with contextlib.suppress(httpx.HTTPError):
        remove_limit(limit_name(key_digest))
