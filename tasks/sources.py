"""Sources, stores and ledgers that are open in this process, as Prefect's world provides them.

Belongs here: the credentials of a block, the limit that all machines share, the clock. Does not
belong here: what is done with a source.
"""

import secrets
import time
from functools import lru_cache
from pathlib import Path

from blocks.credentials import breeze_login
from blocks.environment import Environment
from sensequant.ingestion.context import IngestContext
from sensequant.ingestion.opening import Intakes, Outside
from sensequant.market.sources.breeze.client import Timing
from sensequant.market.sources.breeze.config import BreezeConfig
from sensequant.market.sources.breeze.pacing import Pacer
from sensequant.market.sources.build import SourceConfig
from tasks.pacing import PrefectRate, limit_name, set_limit
from tasks.telling import utc_now

__all__ = ["intake_of"]


def intake_of(source: SourceConfig) -> IngestContext:
    """Return source, store and ledger for these settings; one login serves all tasks.

    Raises
    ------
    ConfigError
        A folder is missing or holds no bars, or there is no login.
    MasterUnavailableError
        The vendor's list of securities cannot be had.
    """
    return _intakes(Environment().home).of(source)


@lru_cache(maxsize=4)
def _intakes(home: Path) -> Intakes:
    return Intakes(Outside(home, _timing(), breeze_login, _rate))


def _timing() -> Timing:
    # Chance spreads the retries of several machines; no result depends on it.
    return Timing(clock=utc_now, sleep=time.sleep, random=secrets.SystemRandom().random)


def _rate(key_digest: str, config: BreezeConfig) -> Pacer:
    name = limit_name(key_digest)
    set_limit(name, config)
    return PrefectRate(name, config)
