"""Net returns of everything that was tried, laid beside each other.

Belongs here: which sessions and which contenders are compared. Does not belong here: the tests of
them (`multiple_testing`, `overfitting`), counting them (`sensequant.trials`).
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["Contenders"]

_Floats = NDArray[np.float64]

_LEAST_SHARED_FRAC = 0.8
"""A contender with fewer of the run's sessions is counted, and not laid beside the others."""


@dataclass(frozen=True, slots=True)
class Contenders:
    """Net returns of everything that was tried, on the sessions that all share.

    Attributes
    ----------
    names
        One per column of `returns`.
    own
        Name of the contender that is judged; None when the run has none.
    returns
        Shape (n_sessions, n_contenders).
    benchmark
        Shape (n_sessions,), NaN where it is missing.
    n_left_out
        Contenders that share too few sessions, or whose returns do not vary.
    """

    names: tuple[str, ...]
    own: str | None
    returns: _Floats
    benchmark: _Floats
    n_left_out: int

    @classmethod
    def of(cls, returns: pl.DataFrame, tried: pl.DataFrame, own: str | None) -> "Contenders":
        """Lay contenders beside each other.

        Parameters
        ----------
        returns
            session, benchmark_return of the run that is judged.
        tried
            session, and one column of net returns per contender, null where it has none.
        own
            The column that is judged.
        """
        base = returns.select("session", "benchmark_return")
        wide = base.join(tried, on="session", how="left", maintain_order="left")
        names = [name for name in tried.columns if name != "session"]
        least = _LEAST_SHARED_FRAC * wide.height
        near = [name for name in names if wide[name].count() >= max(1.0, least)]
        shared = wide.drop_nulls(near) if near else wide.clear()
        moving = [name for name in near if shared[name].n_unique() > 1]
        columns = [shared[name].cast(pl.Float64).to_numpy() for name in moving]
        return cls(
            names=tuple(moving),
            own=own if own in moving else None,
            returns=np.column_stack(columns) if columns else np.empty((shared.height, 0)),
            benchmark=shared["benchmark_return"].fill_null(float("nan")).to_numpy(),
            n_left_out=len(names) - len(moving),
        )

    @property
    def has_benchmark(self) -> NDArray[np.bool_]:
        """Which sessions have a benchmark."""
        return np.isfinite(self.benchmark)

    @property
    def excess(self) -> _Floats:
        """Net returns over the benchmark, on the sessions that have one."""
        rows = self.has_benchmark
        return self.returns[rows] - self.benchmark[rows, None]
