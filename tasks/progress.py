"""How far a stage is, on the page of its run: counts, and the time that is left.

Belongs here: counting units as they end, and saying so every few seconds. Does not belong here: the
terminal's progress (`cli.progress`), which reads telemetry.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable

from sensequant.records import Outcome
from sensequant.units import UnitRecord
from tasks.artifacts import show_progress

__all__ = ["StageProgress"]

_EVERY_SECONDS = 3.0
_MINUTE = 60
_HOUR = 3600


class StageProgress:
    """Progress of one stage.

    Parameters
    ----------
    stage
        Its name, and that of the artifact.
    n_units
        How many units are to come.
    clock
        Returns seconds that only ever grow.
    """

    def __init__(
        self, stage: str, n_units: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stage = stage
        self._n_units = n_units
        self._clock = clock
        self._ended: Counter[Outcome] = Counter()
        self._began = self._shown = clock()
        self._artifact = show_progress(stage, 0.0, self.in_words, artifact=None)

    def count(self, records: Iterable[UnitRecord]) -> None:
        """Count units that have ended; the page is told every few seconds, not at each."""
        self._ended.update(record.outcome for record in records)
        now = self._clock()
        if now - self._shown >= _EVERY_SECONDS:
            self._show(now)

    def end(self) -> None:
        """Show the last counts."""
        self._show(self._clock())

    @property
    def in_words(self) -> str:
        """Counts by outcome, and the time left at the pace so far."""
        n_ended = self._ended.total()
        counts = ", ".join(f"{self._ended[each]} {each}" for each in Outcome if self._ended[each])
        parts = [f"{n_ended} of {self._n_units} units ended", *([counts] if counts else [])]
        if 0 < n_ended < self._n_units:
            pace = (self._shown - self._began) / n_ended
            parts.append(f"about {_in_words(pace * (self._n_units - n_ended))} left")
        return "; ".join(parts)

    def _show(self, now: float) -> None:
        self._shown = now
        share = min(1.0, self._ended.total() / self._n_units) if self._n_units else 1.0
        percent = round(100 * share, 1)
        show_progress(self._stage, percent, self.in_words, artifact=self._artifact)


def _in_words(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.1f} h"
