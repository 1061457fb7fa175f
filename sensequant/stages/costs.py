"""What the windows of a run cost, counted from the rows that are there, and who does which.

Belongs here: the rows behind a window, and which windows must stay together. Does not belong here:
how rows become a cost, and how costs are divided (`sensequant.sharding`).
"""

from collections.abc import Sequence
from datetime import date
from functools import cached_property

import numpy as np
import polars as pl

from sensequant.features.registry import model_columns
from sensequant.runs import Stage
from sensequant.sharding import WINDOW_SECONDS, divide, fit_seconds
from sensequant.stages.context import Run

__all__ = ["WindowCosts"]


class WindowCosts:
    """The costs of some windows of one stage.

    Parameters
    ----------
    run
        A run whose features are made.
    stage
        Teachers or students; a student learns from all windows of its symbol up to its own.
    symbols, names
        Parallel: the symbol of each window, and its first and last day. What is no symbol of the
        run stands for all of them.
    """

    def __init__(
        self, run: Run, stage: Stage, symbols: Sequence[str], names: Sequence[str]
    ) -> None:
        self._run = run
        self._stage = stage
        self._symbols = symbols
        self._names = names

    @cached_property
    def n_rows(self) -> list[int]:
        """Rows of each window."""
        known = set(self._run.symbols)
        sessions = {symbol: self._sessions(symbol) for symbol in sorted(known)}
        return [
            sum(
                self._count(sessions[each], name)
                for each in ([symbol] if symbol in known else sorted(known))
            )
            for symbol, name in zip(self._symbols, self._names, strict=True)
        ]

    @cached_property
    def seconds(self) -> list[float]:
        """Cost of each window; good for comparing them."""
        booster = self._run.config.teacher.booster
        return [
            WINDOW_SECONDS + fit_seconds(n, n_columns=self.n_columns, booster=booster)
            for n in self.n_rows
        ]

    @property
    def n_columns(self) -> int:
        """Features that a model may see."""
        return len(model_columns(self._run.config.features))

    @property
    def typical_rows(self) -> int:
        """Rows of the median window."""
        return max(1, int(np.median(self.n_rows)))

    def divide(self, n_shards: int) -> list[list[int]]:
        """Return the positions of the windows of each shard.

        Students of one symbol stay together, because a student learns from what the one before
        last decided.
        """
        members = self._kept_together()
        costs = [sum(self.seconds[position] for position in group) for group in members]
        return [
            sorted(position for group in shard for position in members[group])
            for shard in divide(costs, n_shards)
        ]

    def _kept_together(self) -> list[list[int]]:
        positions = range(len(self._symbols))
        if self._stage is not Stage.STUDENT_TRAINING:
            return [[position] for position in positions]
        groups: dict[str, list[int]] = {}
        for position in positions:
            groups.setdefault(self._symbols[position], []).append(position)
        return list(groups.values())

    def _sessions(self, symbol: str) -> pl.Series:
        path = self._run.folder.rows(symbol)
        if not path.exists():
            return pl.Series(dtype=pl.Date)
        return pl.read_parquet(path, columns=["session"])["session"]

    def _count(self, sessions: pl.Series, name: str) -> int:
        first, last = (date.fromisoformat(day) for day in name.split(".."))
        begin = 0 if self._stage is Stage.STUDENT_TRAINING else sessions.search_sorted(first)
        return int(sessions.search_sorted(last, side="right")) - int(begin)
