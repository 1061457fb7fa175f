"""What the tests of ingestion share: the simulated market in chunks, and a place to put it."""

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sensequant.errors import MissingBarsError, StopSourceError
from sensequant.ingestion.context import IngestContext, KeyInUse
from sensequant.ingestion.ledger import Ledger
from sensequant.ingestion.pacing import LedgerPacer
from sensequant.market.bars import bar_schema
from sensequant.market.finality import FinalityConfig
from sensequant.market.intervals import Interval
from sensequant.market.quality import QUARANTINE_SCHEMA, QualityReport
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.base import Chunk, Fetched, require_symbol
from sensequant.market.sources.breeze.pacing import Pacer, UnlimitedPacer
from sensequant.market.sources.simulated import SimulatedConfig, SimulatedSource
from sensequant.market.store import BarStore

NOW = datetime(2024, 6, 28, 14, 0, tzinfo=UTC)
"""A Friday, four hours after the close."""

MARKET = SimulatedSource(SimulatedConfig(n_symbols=3))
"""SIM03 is listed late in 2022, SIM01 lacks forty sessions early in 2023."""


def as_it_is(_chunk: Chunk, fetched: Fetched) -> Fetched:
    """Return a delivery that nothing happened to."""
    return fetched


class InChunks:
    """The simulated market as a vendor delivers it: some sessions a call, no rows for no data.

    `bend` may alter or refuse a delivery; `asked` holds every chunk that was asked for. `pacer`,
    where there is one, allows each call, and is told when the vendor answers no more.
    """

    name = "vendor"
    is_simulated = True

    def __init__(self, *, daily: int | None = 20, intraday: int = 3) -> None:
        self.sizes: dict[str, int | None] = dict.fromkeys(MARKET.intervals, intraday)
        self.sizes["1day"] = daily
        self.asked: list[Chunk] = []
        self.bend: Callable[[Chunk, Fetched], Fetched] = as_it_is
        self.pacer: Pacer = UnlimitedPacer()

    @property
    def intervals(self) -> tuple[Interval, ...]:
        """All of them."""
        return MARKET.intervals

    def symbols(self) -> tuple[str, ...]:
        """Return the stocks."""
        return MARKET.symbols()

    def indices(self) -> tuple[str, ...]:
        """Return the indices."""
        return MARKET.indices()

    def sessions_per_chunk(self, interval: Interval) -> int | None:
        """Return the size of a chunk."""
        return self.sizes[interval]

    def fetch(self, chunk: Chunk) -> Fetched:
        """Return the market's bars; one call each."""
        require_symbol(chunk.symbol, (*self.symbols(), *self.indices()), source=self.name)
        self.pacer.take()
        self.asked.append(chunk)
        try:
            return self.bend(chunk, dataclasses.replace(self._delivered(chunk), n_calls=1))
        except StopSourceError as error:
            self.pacer.stop(error)
            raise

    def actions(self) -> pl.DataFrame:
        """Return the split."""
        return MARKET.actions()

    def _delivered(self, chunk: Chunk) -> Fetched:
        try:
            return MARKET.fetch(chunk)
        except MissingBarsError:
            nothing = bar_schema(chunk.interval).to_frame()
            report = QualityReport(
                symbol=chunk.symbol,
                n_rows_read=0,
                n_rows_good=0,
                n_rows_quarantined=0,
                n_duplicates_dropped=0,
                n_by_reason={},
                n_by_dropped_series={},
            )
            return Fetched(nothing, QUARANTINE_SCHEMA.to_frame(), report, "0" * 64)


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        """Return the instant."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Return a clock at the evening of Friday, 28 June 2024."""
    return Clock()


@pytest.fixture
def vendor() -> InChunks:
    """Return a vendor of the simulated market."""
    return InChunks()


@pytest.fixture
def market() -> SimulatedSource:
    """Return the market that the vendor sells, as the truth."""
    return MARKET


@pytest.fixture
def context(tmp_path: Path, vendor: InChunks, clock: Clock) -> IngestContext:
    """Return an ingestion from the vendor into an empty home."""
    return IngestContext(
        source=vendor,
        store=BarStore(tmp_path / "home" / "vendor"),
        ledger=Ledger.open(tmp_path / "home" / "fetches" / "ledger.db"),
        store_key="vendor",
        claims=tmp_path / "home" / "fetches" / "claims",
        calendar=nse_calendar(),
        clock=clock,
        finality=FinalityConfig(),
    )


@pytest.fixture
def content(tmp_path: Path) -> Callable[[], dict[str, Any]]:
    """Return what reads every byte of the stores, locks left out."""

    def read() -> dict[str, Any]:
        home = tmp_path / "home"
        return {
            path.relative_to(home).as_posix(): path.read_bytes()
            for path in sorted(home.rglob("*.parquet"))
        }

    return read


@pytest.fixture
def log_in(context: IngestContext, vendor: InChunks, clock: Clock) -> Callable[[str], KeyInUse]:
    """Return what logs in at the vendor, so that calls of a key are counted, paused and stopped."""

    def logged_in(session: str) -> KeyInUse:
        key = KeyInUse("0123456789ab", session, 100)
        vendor.pacer = LedgerPacer(
            rate=UnlimitedPacer(),
            ledger=context.ledger,
            key_digest=key.key_digest,
            session_digest=session,
            calls_per_day=key.calls_per_day,
            clock=clock,
            sleep=lambda _seconds: None,
        )
        return key

    return logged_in
