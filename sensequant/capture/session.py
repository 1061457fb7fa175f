"""The capture of one session: connect, listen, write, connect again, to the close.

Belongs here: the loop and its decisions. Does not belong here: the socket
(`market.sources.breeze.depth_socket`), files (`parts`), where a login comes from (`opening`).

A connection that is lost, or mute for everyone, is made anew after growing waits; what was missed
meanwhile is a gap. After several tries in vain the vendor is asked by a signed call whether the
session still holds; if not, the capture ends. What came is written every few seconds, so that a
kill loses no more than that; a disk that refuses is tried again, while memory has room.
"""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

import polars as pl

from sensequant.capture.buffer import TickBuffer
from sensequant.capture.compaction import Compacted, compact_captured
from sensequant.capture.gaps import GapKeeper
from sensequant.capture.parts import PartWriter, tick_files
from sensequant.capture.report import DepthCaptureReport
from sensequant.capture.request import CaptureConfig
from sensequant.context.depth import DEPTH
from sensequant.context.depth_gaps import GapReason
from sensequant.context.store import ContextStore
from sensequant.errors import RetryableError, StopSourceError, StorageError
from sensequant.market.sessions import SessionCalendar, session_date_of
from sensequant.market.sources.breeze.client import Timing
from sensequant.market.sources.breeze.depth_socket import DepthTick

__all__ = ["CaptureParts", "DepthCapture", "Progress", "TickSocket"]

_POLL_SECONDS = 0.1
_TRIES_BEFORE_PROOF = 3
_CONNECT_AHEAD = timedelta(seconds=10)
_LINGER, _QUIET = timedelta(seconds=30), timedelta(seconds=5)
"""Time after the end in which what was stamped before it may still arrive, and time without a tick
after which nothing more is on its way."""

_LAST_TRIES = 5
_LONGEST_DEAD = timedelta(minutes=5)


class TickSocket(Protocol):
    """A socket of market depth (`market.sources.breeze.depth_socket.DepthSocket`)."""

    @property
    def is_open(self) -> bool:
        """Whether the connection stands, as far as this side knows."""
        ...

    def open(
        self,
        rooms: list[str],
        *,
        on_tick: Callable[[DepthTick | None], None],
        on_lost: Callable[[], None],
    ) -> None:
        """Connect and subscribe.

        Raises
        ------
        TransientSourceError
            The service was not reached, or it refused.
        """
        ...

    def close(self) -> None:
        """End the connection."""
        ...


@dataclass(frozen=True, slots=True)
class CaptureParts:
    """What a capture works with.

    Attributes
    ----------
    socket
        Where ticks come from.
    prove
        Asks the vendor by a signed call; raises `StopSourceError` where the session has ended.
    symbols
        Symbol of each room to subscribe to.
    unknown
        Symbols that were asked for and have no room.
    source
        Who sends.
    store
        The store of context, below whose folder the capture has its files.
    calendar
        The NSE calendar.
    timing
        Clock, waiting and chance.
    """

    socket: TickSocket
    prove: Callable[[], object]
    symbols: Mapping[str, str]
    unknown: tuple[str, ...]
    source: str
    store: ContextStore
    calendar: SessionCalendar
    timing: Timing


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a capture stands.

    Attributes
    ----------
    now, opens, closes
        The instant, and those between which it listens.
    n_ticks, n_connections
        Ticks that came and connections that were made.
    is_connected
        Whether the connection stands.
    """

    now: datetime
    opens: datetime
    closes: datetime
    n_ticks: int
    n_connections: int
    is_connected: bool


class DepthCapture:
    """One capture; it runs once.

    Parameters
    ----------
    parts
        What it works with.
    config
        Sizes and patience.
    minutes
        How long it listens at most; None: to the close.
    tell
        Is told where it stands, each time that something was written.

    Raises
    ------
    ConfigError
        There is no session now (`request.why_no_capture` tells before).
    """

    def __init__(
        self,
        parts: CaptureParts,
        config: CaptureConfig,
        *,
        minutes: float | None = None,
        tell: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._parts, self._config, self._tell = parts, config, tell
        now = self._now()
        self._session = session_date_of(now)
        opens, closes = (
            getattr(parts.calendar, name)(self._session) for name in ("opens", "closes")
        )
        self._opens: datetime = opens
        self._begins = max(now, opens)
        self._ends: datetime = closes
        if minutes is not None:
            self._ends = min(closes, self._begins + timedelta(minutes=minutes))
        self._buffer = TickBuffer(config.buffer_ticks, timedelta(seconds=config.silence_seconds))
        self._gaps = GapKeeper(
            parts.symbols, source=parts.source, is_simulated=parts.store.is_simulated
        )
        self._writer = PartWriter(
            parts.store.root, self._session, begun_at=now, symbols=parts.symbols
        )
        self._n_connections = 0
        self._n_vain = 0
        self._next_try = now
        self._missed: dict[str, datetime] | None = None
        self._connected_at = self._begins
        self._heard: set[str] = set()
        self._is_past_end = False

    def run(self) -> DepthCaptureReport:
        """Wait for the open, listen to the end, and bring what came to the store.

        Raises
        ------
        StorageError
            The disk refused to the end.
        RecordError
            A file of the capture or of the store is damaged.
        """
        self._compact(keep=self._session)
        stopped_by: str | None = None
        self._missed = self._last_known()
        while self._now() < self._begins - _CONNECT_AHEAD:
            self._wait()
        flushed_at = self._now()
        try:
            while not self._is_over(now := self._now()):
                if now < self._ends:
                    self._keep_connected(now)
                if now - flushed_at >= timedelta(seconds=self._config.flush_seconds):
                    self._flush()
                    flushed_at = now
                self._wait()
        except StopSourceError as error:
            stopped_by = str(error)
        finally:
            self._parts.socket.close()
            self._end_gaps()
            self._flush_to_the_end()
        return self._report(self._compact(), stopped_by)

    def _is_over(self, now: datetime) -> bool:
        # Ticks come in the order of the wire: one of later says that those of before are here.
        if now < self._ends:
            return False
        last = max(self._buffer.last_heard or self._ends, self._ends)
        return self._is_past_end or now - last > _QUIET or now - self._ends > _LINGER

    def _keep_connected(self, now: datetime) -> None:
        if self._parts.socket.is_open:
            self._leave_if_mute(now)
            return
        if self._missed is None:
            self._gaps.begin(max(now, self._begins), GapReason.NOT_CONNECTED)
        if now >= self._next_try:
            self._connect()

    def _connect(self) -> None:
        # Counted before it is known how it ends: a connection that says nothing is in vain, too.
        self._n_vain += 1
        self._next_try = self._now() + self._waiting_time()
        try:
            self._parts.socket.open(
                list(self._parts.symbols), on_tick=self._hear, on_lost=self._lose
            )
        except RetryableError:
            if self._n_vain >= _TRIES_BEFORE_PROOF:
                # Where the vendor is not there at all, the socket is tried on.
                with contextlib.suppress(RetryableError):
                    self._parts.prove()
            return
        self._n_connections += 1
        self._connected_at = self._now()
        self._buffer.start_listening(self._parts.symbols, self._connected_at)
        self._end_missed(self._connected_at)
        self._gaps.end(self._connected_at)

    def _waiting_time(self) -> timedelta:
        config = self._config
        doubled = config.first_wait_seconds * 2.0 ** (self._n_vain - 1)
        # At least half of it, so that a service that is down is not knocked at without end.
        part = 0.5 + self._parts.timing.random() / 2
        return part * timedelta(seconds=min(config.longest_wait_seconds, doubled))

    def _leave_if_mute(self, now: datetime) -> None:
        heard = self._buffer.last_heard
        if heard is not None and heard >= self._connected_at:
            self._n_vain = 0
        last = max(self._connected_at, self._begins, heard or self._begins)
        patience = timedelta(seconds=self._config.dead_seconds)
        # Where a new connection is as mute as the old one, it is made anew ever more seldom.
        longer = min(patience * 2.0 ** max(self._n_vain - 1, 0), max(patience, _LONGEST_DEAD))
        if now - last > longer:
            self._parts.socket.close()
            self._gaps.begin(last, GapReason.NO_TICKS)

    def _hear(self, tick: DepthTick | None) -> None:
        # In the thread of the socket.
        now = self._now()
        happened = now if tick is None else min(now, tick.stamp)
        self._is_past_end = happened >= self._ends
        if now >= self._begins and not self._is_past_end:
            self._buffer.add(now, tick)
            if tick is not None:
                self._heard.add(tick.room)

    def _lose(self) -> None:
        # In the thread of the socket.
        now = self._now()
        if now < self._ends and self._missed is None:
            self._gaps.begin(max(now, self._begins), GapReason.NOT_CONNECTED)

    def _flush_to_the_end(self) -> None:
        for _ in range(_LAST_TRIES):
            if self._flush():
                return
            self._wait()
        raise StorageError(
            "captured ticks cannot be written",
            where=str(self._parts.store.root),
            expected="a disk that takes them",
            found=f"{len(self._buffer.take())} ticks are lost",
            remedy="make room; what was written before is brought by the next capture",
        )

    def _flush(self) -> bool:
        heard = self._buffer.take()
        self._gaps.add_silences(self._buffer.silences())
        gaps = self._gaps.take()
        try:
            self._writer.write_ticks(heard)
            heard = []
            self._writer.write_gaps(gaps)
            gaps = gaps.clear()
        except (OSError, StorageError):
            self._buffer.give_back(heard)
            self._gaps.give_back(gaps)
            return False
        since = self._buffer.full_since()
        if since is not None:
            # It is written with the next ones.
            missed = dict.fromkeys(self._parts.symbols.values(), since)
            self._gaps.add(missed, self._now(), GapReason.BUFFER_FULL)
        self._tell(self._progress())
        return since is None

    def _end_gaps(self) -> None:
        now = min(self._now(), self._ends)
        self._end_missed(now)
        self._gaps.end(now)
        self._gaps.add_silences(self._buffer.silent_at(now))

    def _end_missed(self, at: datetime) -> None:
        """Add, the first time, the gap from what was last known of each symbol."""
        if self._missed is not None:
            self._gaps.add(self._missed, at, GapReason.NOT_RUNNING)
            self._missed = None

    def _last_known(self) -> dict[str, datetime]:
        """Return when each symbol was last heard of in this session, else when it opened."""
        parts = self._parts
        known = dict.fromkeys(parts.symbols.values(), self._opens)
        files = tick_files(parts.store.root, self._session)
        if files:
            last = pl.scan_parquet(files).group_by("symbol").agg(pl.col("received").max())
            known |= {k: v for k, v in last.collect().iter_rows() if k in known}
        for symbol in known:
            stored = parts.store.read(DEPTH, symbol, start=self._session, end=self._session)[
                "known_at"
            ].max()
            if isinstance(stored, datetime):
                known[symbol] = max(known[symbol], stored)
        return known

    def _compact(self, *, keep: date | None = None) -> Compacted:
        parts = self._parts
        return compact_captured(
            parts.store,
            calendar=parts.calendar,
            source=parts.source,
            compacted_at=self._now(),
            keep=keep,
        )

    def _report(self, found: Compacted, stopped_by: str | None) -> DepthCaptureReport:
        parts, buffer = self._parts, self._buffer
        silent = (symbol for room, symbol in parts.symbols.items() if room not in self._heard)
        return DepthCaptureReport(
            session=self._session,
            begun_at=self._begins,
            ended_at=min(self._now(), self._ends),
            symbols=tuple(sorted(parts.symbols.values())),
            unknown_symbols=parts.unknown,
            silent_symbols=tuple(sorted(silent)),
            source=parts.source,
            is_simulated=parts.store.is_simulated,
            n_ticks=buffer.n_heard,
            n_lost=buffer.n_lost,
            n_most_waiting=buffer.n_most,
            n_stored=found.counts.n_added,
            n_corrected=found.counts.n_corrected,
            n_known=found.counts.n_known,
            n_refused=dict(sorted(found.refused.items())),
            n_gaps={str(reason): n for reason, n in sorted(self._gaps.numbers.items())},
            gap_seconds={
                str(reason): round(n, 1) for reason, n in sorted(self._gaps.seconds.items())
            },
            n_connections=self._n_connections,
            stopped_by=stopped_by,
        )

    def _progress(self) -> Progress:
        return Progress(
            self._now(),
            self._begins,
            self._ends,
            self._buffer.n_heard,
            self._n_connections,
            self._parts.socket.is_open,
        )

    def _now(self) -> datetime:
        return self._parts.timing.clock().astimezone(UTC)

    def _wait(self) -> None:
        self._parts.timing.sleep(_POLL_SECONDS)
