"""Gaps of a capture while it runs.

Belongs here: beginning and ending gaps of all symbols or of one. Does not belong here: their rows
at rest (`context.depth_gaps`), what is done about them (`session`).
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

import polars as pl

from sensequant.capture.buffer import Silence
from sensequant.context.depth_gaps import DEPTH_GAPS, GapReason

__all__ = ["GapKeeper"]


class GapKeeper:
    """What was not heard so far.

    Parameters
    ----------
    symbols
        Symbol of each room.
    source
        Who would have sent it.
    is_simulated
        Whether what it sends is invented.
    """

    def __init__(self, symbols: Mapping[str, str], *, source: str, is_simulated: bool) -> None:
        self._symbols = symbols
        self._steady = (source, is_simulated)
        self._ended: list[tuple[str, datetime, datetime, GapReason]] = []
        self._open: tuple[datetime, GapReason] | None = None
        self.seconds: dict[GapReason, float] = {}
        self.numbers: dict[GapReason, int] = {}

    def begin(self, at: datetime, reason: GapReason) -> None:
        """Begin a gap of all symbols, unless one has begun."""
        self._open = self._open or (at, reason)

    def end(self, at: datetime) -> None:
        """End the gap of all symbols, if there is one."""
        if self._open is not None:
            since, reason = self._open
            self._open = None
            self.add(dict.fromkeys(self._symbols.values(), since), at, reason)

    def add(self, since: Mapping[str, datetime], until: datetime, reason: GapReason) -> None:
        """Add a gap that has ended, with its beginning for each symbol; counted as one."""
        lasting = {symbol: at for symbol, at in since.items() if at < until}
        if lasting:
            self._ended += [(symbol, at, until, reason) for symbol, at in lasting.items()]
            self._count(reason, (until - min(lasting.values())).total_seconds())

    def add_silences(self, silences: Iterable[Silence]) -> None:
        """Add times in which one symbol was silent; each is counted."""
        for silence in silences:
            symbol = self._symbols[silence.room]
            self.add({symbol: silence.since}, silence.until, GapReason.SILENT)

    def take(self) -> pl.DataFrame:
        """Return the gaps that have ended (`depth_gaps.DEPTH_GAPS`), and forget them."""
        ended, self._ended = self._ended, []
        rows = [(name, at, end, *self._steady, end, reason) for name, at, end, reason in ended]
        return pl.DataFrame(rows, schema=DEPTH_GAPS.schema, orient="row")

    def give_back(self, gaps: pl.DataFrame) -> None:
        """Take back what could not be written; nothing is counted again."""
        rows = gaps.select("symbol", "at", "until", "reason").rows()
        self._ended[:0] = [(name, at, end, GapReason(why)) for name, at, end, why in rows]

    def _count(self, reason: GapReason, seconds: float) -> None:
        self.seconds[reason] = self.seconds.get(reason, 0.0) + seconds
        self.numbers[reason] = self.numbers.get(reason, 0) + 1
