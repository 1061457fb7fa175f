"""From the settings of a source to everything that an ingestion needs.

Belongs here: opening source, store and ledger together, once per process; the vendor's service and
the simulator of it. Does not belong here: where a login comes from and how several processes share
a limit (`blocks`, `tasks`), which hand both in.
"""

import contextlib
import dataclasses
import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import polars as pl

from sensequant.breeze_simulator.access import simulated_login
from sensequant.breeze_simulator.limits import UNLIMITED, Limits
from sensequant.breeze_simulator.server import BreezeSimulator
from sensequant.ingestion.context import IngestContext, KeyInUse
from sensequant.ingestion.pacing import LedgerPacer
from sensequant.ingestion.places import claims_folder, market_digest, store_key
from sensequant.ingestion.shelf import Shelf, open_shelf, stored_listings
from sensequant.ingestion.simulators import feed_of, running_simulator
from sensequant.market.security_master import parse_master
from sensequant.market.sessions import session_date_of
from sensequant.market.sources.base import BarSource
from sensequant.market.sources.breeze.client import BreezeClient, Timing
from sensequant.market.sources.breeze.config import BreezeConfig
from sensequant.market.sources.breeze.credentials import BreezeLogin
from sensequant.market.sources.breeze.endpoints import VENDOR, Endpoints
from sensequant.market.sources.breeze.master_file import download_master
from sensequant.market.sources.breeze.pacing import Pacer, UnlimitedPacer
from sensequant.market.sources.breeze.source import BreezeSource
from sensequant.market.sources.build import SourceConfig, build_source
from sensequant.market.sources.files.action_files import read_actions
from sensequant.market.symbol_map import SymbolMap, latest_snapshot, write_snapshot
from sensequant.records import digest_of

__all__ = ["Intakes", "Outside"]

UNHURRIED = BreezeConfig(calls_per_minute=100_000, calls_per_day=10_000_000)
"""A simulator whose pace nobody asked about answers as fast as it can."""

_N_LOGINS = 2**31


@dataclasses.dataclass(frozen=True)
class Outside:
    """What the library cannot know by itself.

    Parameters
    ----------
    home
        Root of all data.
    timing
        Clock, waiting and chance.
    login
        Returns the login to the vendor, by the name of a block or without.
    rate
        Returns what keeps the limit per minute of an app key, given its digest.
    """

    home: Path
    timing: Timing
    login: Callable[[str | None], BreezeLogin]
    rate: Callable[[str, BreezeConfig], Pacer]


@dataclasses.dataclass(frozen=True)
class _Service:
    endpoints: Endpoints
    login: BreezeLogin
    config: BreezeConfig
    rate: Pacer
    actions: pl.DataFrame | None


class Intakes:
    """Everything that is open in this process, by the settings of its source.

    Parameters
    ----------
    outside
        What the library cannot know by itself.
    """

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        self._lock = threading.Lock()
        self._open: dict[str, IngestContext] = {}
        self._stack = contextlib.ExitStack()

    def of(self, source: SourceConfig) -> IngestContext:
        """Return source, store and ledger for these settings; equal settings share them.

        A folder that was changed since is listed anew.

        Raises
        ------
        ConfigError
            A folder is missing or holds no bars, or there is no login.
        MasterUnavailableError
            The vendor's list of securities cannot be had.
        """
        folder = source.folder
        listed_at = folder.stat().st_mtime_ns if folder is not None and folder.is_dir() else 0
        key = digest_of([source, listed_at])
        # A thousand chunks begin at once; one login and one listing serve them all.
        with self._lock:
            if key not in self._open:
                self._open[key] = self._opened(source)
            return self._open[key]

    def close(self) -> None:
        """Close connections, ledgers and simulators."""
        with self._lock:
            self._open.clear()
            self._stack.close()

    def _opened(self, source: SourceConfig) -> IngestContext:
        shelf = open_shelf(self._outside.home, source)
        self._stack.callback(shelf.ledger.close)
        if not source.is_vendor:
            return self._context(shelf, build_source(source), key=None)
        service = self._service(source)
        key = KeyInUse(
            service.login.key_digest,
            _session_digest(service.login),
            service.config.calls_per_day,
        )
        opened = BreezeSource(
            self._client(service, shelf, key),
            self._symbols(service, self._outside.home / store_key(source)),
            service.config,
            self._outside.timing.clock,
            is_simulated=source.is_simulated,
            known_actions=service.actions,
        )
        # The list of securities, which may just have come, tells when each one was listed.
        listings = stored_listings(self._outside.home / store_key(source))
        return self._context(dataclasses.replace(shelf, listings=listings), opened, key=key)

    def _context(self, shelf: Shelf, opened: BarSource, *, key: KeyInUse | None) -> IngestContext:
        return IngestContext(
            source=opened,
            store=shelf.store,
            ledger=shelf.ledger,
            store_key=shelf.store_key,
            claims=claims_folder(self._outside.home),
            calendar=shelf.calendar,
            clock=self._outside.timing.clock,
            finality=shelf.finality,
            listings=shelf.listings,
            key=key,
        )

    def _client(self, service: _Service, shelf: Shelf, key: KeyInUse) -> BreezeClient:
        timing = self._outside.timing
        pacer = LedgerPacer(
            rate=service.rate,
            ledger=shelf.ledger,
            key_digest=key.key_digest,
            session_digest=key.session_digest,
            calls_per_day=key.calls_per_day,
            clock=timing.clock,
            sleep=timing.sleep,
        )
        return self._stack.enter_context(
            BreezeClient(
                service.endpoints,
                service.login,
                pacer=pacer,
                config=service.config,
                timing=timing,
            )
        )

    def _service(self, source: SourceConfig) -> _Service:
        if source.kind == "breeze":
            config = source.breeze or BreezeConfig()
            login = self._outside.login(source.credentials_block)
            rate = self._outside.rate(login.key_digest, config)
            actions = None if source.actions_path is None else read_actions(source.actions_path)
            return _Service(VENDOR, login, config, rate, actions)
        return self._simulated_service(source)

    def _simulated_service(self, source: SourceConfig) -> _Service:
        feed = feed_of(source)
        is_unhurried = source.breeze is None
        simulator = running_simulator(
            self._outside.home, market_digest(source)
        ) or self._stack.enter_context(
            BreezeSimulator(
                feed,
                clock=self._outside.timing.clock,
                # Another login each time: what stopped an earlier one must not stop this one.
                login=simulated_login(int(self._outside.timing.random() * _N_LOGINS)),
                limits=UNLIMITED if is_unhurried else Limits(),
            )
        )
        config = source.breeze or UNHURRIED
        login = simulator.login
        rate = UnlimitedPacer() if is_unhurried else self._outside.rate(login.key_digest, config)
        return _Service(simulator.endpoints, login, config, rate, feed.actions())

    def _symbols(self, service: _Service, root: Path) -> SymbolMap:
        today = session_date_of(self._outside.timing.clock())
        known = latest_snapshot(root)
        if known is not None and known.as_of == today:
            return known
        content = download_master(service.endpoints, service.config.timeouts)
        found = SymbolMap.from_master(parse_master(content), as_of=today)
        write_snapshot(root, found)
        return found


def _session_digest(login: BreezeLogin) -> str:
    token = login.session_token.get_secret_value()
    return hashlib.sha256(token.encode()).hexdigest()[:12]
