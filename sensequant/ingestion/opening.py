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
from datetime import date
from pathlib import Path
from typing import NamedTuple

import polars as pl

from sensequant.breeze_simulator.access import simulated_login
from sensequant.breeze_simulator.limits import UNLIMITED, Limits
from sensequant.breeze_simulator.market import MarketFeed
from sensequant.breeze_simulator.server import BreezeSimulator
from sensequant.ingestion.context import IngestContext, KeyInUse
from sensequant.ingestion.kept_logins import KeptLogin
from sensequant.ingestion.pacing import LedgerPacer
from sensequant.ingestion.places import claims_folder, logins_folder, market_digest, store_key
from sensequant.ingestion.shelf import Shelf, open_shelf, stored_listings
from sensequant.ingestion.simulators import feed_of, running_simulator
from sensequant.market.sessions import session_date_of
from sensequant.market.sources.base import BarSource
from sensequant.market.sources.breeze.client import BreezeClient, LoginKeeper, Timing
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


def _forget_nothing(_key_digest: str) -> None: ...


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
    forget_rate
        Removes what `rate` has made outside of this process for a key that nobody will use again.
    ledger
        Address or path of the ledger; None for the file below the home.
    """

    home: Path
    timing: Timing
    login: Callable[[str | None], BreezeLogin]
    rate: Callable[[str, BreezeConfig], Pacer]
    forget_rate: Callable[[str], None] = _forget_nothing
    ledger: str | None = None


@dataclasses.dataclass(frozen=True)
class _Service:
    endpoints: Endpoints
    login: BreezeLogin
    config: BreezeConfig
    rate: Pacer
    actions: pl.DataFrame | None
    keeper: LoginKeeper | None = None


class _State(NamedTuple):
    # What, once it changes, makes a source another one in spite of equal settings.
    day: date | None
    changed_at_ns: tuple[int, ...]


class _Opened(NamedTuple):
    state: _State
    context: IngestContext


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
        self._open: dict[str, _Opened] = {}
        self._stack = contextlib.ExitStack()

    def of(self, source: SourceConfig) -> IngestContext:
        """Return source, store and ledger for these settings; equal settings share them.

        A folder that was changed since is listed anew. A vendor is opened anew on each date of
        India: the session of the day before has ended, and so has its list of securities.

        Raises
        ------
        ConfigError
            A folder is missing or holds no bars, or there is no login.
        MasterUnavailableError
            The vendor's list of securities cannot be had.
        """
        key, state = digest_of(source), self._state_of(source)
        # A thousand chunks begin at once; one login and one listing serve them all.
        with self._lock:
            known = self._open.get(key)
            if known is None or known.state != state:
                known = _Opened(state, self._opened(source))
                self._open[key] = known
            return known.context

    def close(self) -> None:
        """Close connections, ledgers and simulators."""
        with self._lock:
            self._open.clear()
            self._stack.close()

    def _state_of(self, source: SourceConfig) -> _State:
        day = session_date_of(self._outside.timing.clock()) if source.is_vendor else None
        return _State(day, tuple(_changed_at_ns(folder) for folder in _folders_of(source)))

    def _opened(self, source: SourceConfig) -> IngestContext:
        # What cannot be opened whole leaves nothing open.
        with contextlib.ExitStack() as stack:
            context = self._put_together(source, stack)
            self._stack.enter_context(stack.pop_all())
        return context

    def _put_together(self, source: SourceConfig, stack: contextlib.ExitStack) -> IngestContext:
        shelf = open_shelf(self._outside.home, source, ledger=self._outside.ledger)
        stack.callback(shelf.ledger.close)
        if not source.is_vendor:
            return self._context(shelf, build_source(source), key=None)
        service = self._service(source, stack)
        key = KeyInUse(
            service.login.key_digest,
            _session_digest(service.login),
            service.config.calls_per_day,
        )
        opened = BreezeSource(
            stack.enter_context(self._client(service, shelf, key)),
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
        return BreezeClient(
            service.endpoints,
            service.login,
            pacer=pacer,
            config=service.config,
            timing=timing,
            keeper=service.keeper,
        )

    def _service(self, source: SourceConfig, stack: contextlib.ExitStack) -> _Service:
        actions = None if source.actions_path is None else read_actions(source.actions_path)
        if source.kind == "breeze":
            config = source.breeze or BreezeConfig()
            login = self._outside.login(source.credentials_block)
            rate = self._outside.rate(login.key_digest, config)
            return _Service(VENDOR, login, config, rate, actions, self._keeper(login))
        feed = feed_of(source)
        simulated = self._simulated_service(source, feed, stack)
        # A list that a person names wins over the one that the market comes with.
        known = feed.actions() if actions is None else actions
        return dataclasses.replace(simulated, actions=known)

    def _simulated_service(
        self, source: SourceConfig, feed: MarketFeed, stack: contextlib.ExitStack
    ) -> _Service:
        is_unhurried = source.breeze is None
        running = running_simulator(self._outside.home, market_digest(source))
        simulator = running or stack.enter_context(
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
        # Of a simulator of one's own no other process knows.
        keeper = None if running is None else self._keeper(login)
        if is_unhurried:
            return _Service(simulator.endpoints, login, config, UnlimitedPacer(), None, keeper)
        rate = self._outside.rate(login.key_digest, config)
        if running is None:
            # Nobody else knows this simulator's key, and the key ends with it.
            stack.callback(self._outside.forget_rate, login.key_digest)
        return _Service(simulator.endpoints, login, config, rate, None, keeper)

    def _keeper(self, login: BreezeLogin) -> LoginKeeper:
        return KeptLogin(logins_folder(self._outside.home), login, self._outside.timing.clock)

    def _symbols(self, service: _Service, root: Path) -> SymbolMap:
        today = session_date_of(self._outside.timing.clock())
        known = latest_snapshot(root, until=today)
        if known is not None and known.as_of == today:
            return known
        master = download_master(service.endpoints, service.config.timeouts)
        found = SymbolMap.from_master(master, as_of=today)
        write_snapshot(root, found)
        return found


def _folders_of(source: SourceConfig) -> tuple[Path, ...]:
    # All folders whose files are listed when the source is opened (`market.sources.files`).
    if source.folder is None:
        return ()
    named = () if source.index_folder is None else (source.index_folder,)
    places = (source.folder, source.folder.absolute().parent)
    beside = (place / name for place in places for name in ("index", "corporate_actions"))
    return (source.folder, *named, *beside)


def _changed_at_ns(folder: Path) -> int:
    return folder.stat().st_mtime_ns if folder.is_dir() else 0


def _session_digest(login: BreezeLogin) -> str:
    # Who corrects the secret key logs in anew, though the token may stay.
    secrets = (login.secret_key, login.session_token)
    text = "\0".join(secret.get_secret_value() for secret in secrets)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
