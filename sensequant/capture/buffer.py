"""Ticks between the thread of the socket and the disk.

Belongs here: a bounded list, and when each symbol was last heard of. Does not belong here: tables
(`parts`), connections (`session`).
"""

import threading
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from sensequant.market.sources.breeze.depth_socket import DepthTick

__all__ = ["Heard", "Silence", "TickBuffer"]


class Heard(NamedTuple):
    """A tick and when it came; None for one that could not be read."""

    received: datetime
    tick: DepthTick | None


class Silence(NamedTuple):
    """From one tick of a room to its next one."""

    room: str
    since: datetime
    until: datetime


class TickBuffer:
    """What came and is not written yet. One thread may add while another one takes.

    Parameters
    ----------
    limit
        Ticks that it holds at most.
    silence
        Time between two ticks of a room from which on it counts as silent.
    """

    def __init__(self, limit: int, silence: timedelta) -> None:
        self._limit = limit
        self._silence = silence
        self._lock = threading.Lock()
        self._heard: list[Heard] = []
        self._silences: list[Silence] = []
        self._last: dict[str, datetime] = {}
        self._full_since: datetime | None = None
        self.n_heard = 0
        self.n_lost = 0
        self.n_most = 0
        self.last_heard: datetime | None = None

    def add(self, received: datetime, tick: DepthTick | None) -> None:
        """Take a tick in; where there is no room left, it is lost and counted."""
        with self._lock:
            self.n_heard += 1
            self.last_heard = received
            if tick is not None:
                self._listen(tick.room, received)
            if len(self._heard) >= self._limit:
                self.n_lost += 1
                self._full_since = self._full_since or received
                return
            self._heard.append(Heard(received, tick))

    def take(self) -> list[Heard]:
        """Return what came, in order, and forget it."""
        with self._lock:
            heard, self._heard = self._heard, []
            self.n_most = max(self.n_most, len(heard))
        return heard

    def give_back(self, heard: list[Heard]) -> None:
        """Take back what could not be written; the newest are lost where there is no room."""
        with self._lock:
            together = heard + self._heard
            self._heard = together[: self._limit]
            n_over = len(together) - len(self._heard)
            if n_over:
                self.n_lost += n_over
                self._full_since = self._full_since or together[self._limit].received

    def full_since(self) -> datetime | None:
        """Return since when ticks have been lost for want of room, and forget it."""
        with self._lock:
            since, self._full_since = self._full_since, None
        return since

    def start_listening(self, rooms: Iterable[str], at: datetime) -> None:
        """Begin to measure silence anew, as after a connection was made."""
        with self._lock:
            self._last = dict.fromkeys(rooms, at)

    def silences(self) -> list[Silence]:
        """Return the silences that have ended, and forget them."""
        with self._lock:
            ended, self._silences = self._silences, []
        return ended

    def silent_at(self, now: datetime) -> list[Silence]:
        """Return the silences that last at an instant."""
        with self._lock:
            return [
                Silence(room, since, now)
                for room, since in self._last.items()
                if now - since > self._silence
            ]

    def _listen(self, room: str, received: datetime) -> None:
        since = self._last.get(room)
        if since is None:
            # Nobody subscribed to it.
            return
        if received - since > self._silence:
            self._silences.append(Silence(room, since, received))
        self._last[room] = received
