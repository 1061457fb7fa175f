"""How far a row lies from all that a student was trained on.

Belongs here: the few numbers that describe the training rows, and the distance of a row from them.
Does not belong here: what follows from it (`student_file`), and drift of many rows together
(`student_drift`).

Per column, a deviation is the distance from the median in units of the 99th percentile of that
distance among the training rows: 1 is as rare as one row in a hundred, whatever the column's unit
or tail. A missing input deviates by 0.01 over the share of training rows in which the column was
missing: 1 where one in a hundred was missing, 0.1 where one in ten. A deviation counts up to 20,
so that one broken column cannot drown all others, yet is seen alone. A column with fewer than 20
training values has no spread to speak of, and hardly any say in the model either: its values
deviate by 0. So it is with slow features of a symbol that was listed shortly before.

The distance of a row is the root mean square of its deviations over all columns. Novelty is the
distance in multiples of the training rows' own 99th percentile. Columns count as if they were
independent; what is novel only in how columns go together is not seen.
"""

from functools import cached_property

import numpy as np
from pydantic import model_validator

from sensequant.boosting import Floats
from sensequant.errors import RecordError
from sensequant.records import Finite, Record

__all__ = ["NoveltyReference", "novelty_reference"]

_RARE_FRAC = 0.01
_MOST_DEVIATION = 20.0
_LEAST_SCALE = 1e-9
_LEAST_VALUES = 20
_BLOCK_ROWS = 8192


class NoveltyReference(Record):
    """The training rows in few numbers, one per column and in the order of the columns.

    Attributes
    ----------
    median, spread
        Middle value, and 99th percentile of the distance from it; None for a column with fewer
        than 20 values.
    missing_frac
        Share of the rows in which the column is missing.
    n_rows
        Training rows.
    distance_p50, distance_p90, distance_p99, distance_max
        Quantiles of the training rows' own distance.
    """

    median: tuple[Finite | None, ...]
    spread: tuple[Finite | None, ...]
    missing_frac: tuple[Finite, ...]
    n_rows: int
    distance_p50: Finite
    distance_p90: Finite
    distance_p99: Finite
    distance_max: Finite

    @model_validator(mode="after")
    def _require_sound_numbers(self) -> "NoveltyReference":
        lengths = {len(self.median), len(self.spread), len(self.missing_frac)}
        is_positive = all(value is None or value > 0 for value in self.spread)
        if len(lengths) != 1 or not is_positive or self.n_rows < 1 or self.distance_p99 <= 0:
            raise RecordError(
                "novelty reference of a student is not sound",
                where="novelty",
                expected="as many medians, positive spreads and shares, and positive distances",
                found=f"lengths {sorted(lengths)}, distance {self.distance_p99}",
            )
        return self

    def novelty(self, features: Floats) -> Floats:
        """Return the novelty of each row, shape (n_rows,), at least 0.

        Parameters
        ----------
        features
            Shape (n_rows, n_columns); NaN is missing.
        """
        return self._measure.of(features) / self.distance_p99

    @cached_property
    def _measure(self) -> "_Measure":
        return _Measure(
            np.array(self.median, dtype=np.float64),
            np.array(self.spread, dtype=np.float64),
            np.array(self.missing_frac),
            n_rows=self.n_rows,
        )


def novelty_reference(features: Floats) -> NoveltyReference:
    """Describe the training rows.

    Parameters
    ----------
    features
        Shape (n_rows, n_columns) with at least one row; NaN is missing.
    """
    columns = [column[~np.isnan(column)] for column in features.T]
    median = [
        float(np.median(column)) if len(column) >= _LEAST_VALUES else None for column in columns
    ]
    spread = [
        None if middle is None else _spread(column, middle)
        for column, middle in zip(columns, median, strict=True)
    ]
    missing_frac = np.isnan(features).mean(axis=0)
    measure = _Measure(
        np.array(median, dtype=np.float64),
        np.array(spread, dtype=np.float64),
        missing_frac,
        n_rows=len(features),
    )
    distance = measure.of(features)
    p50, p90, p99 = np.quantile(distance, [0.5, 0.9, 0.99]).tolist()
    return NoveltyReference(
        median=tuple(median),
        spread=tuple(spread),
        missing_frac=tuple(missing_frac.tolist()),
        n_rows=len(features),
        distance_p50=p50,
        distance_p90=p90,
        # Rows that are all alike have distance 0; any other row is then far away.
        distance_p99=max(p99, _LEAST_SCALE),
        distance_max=float(distance.max()),
    )


class _Measure:
    def __init__(
        self, median: Floats, spread: Floats, missing_frac: Floats, *, n_rows: int
    ) -> None:
        self._median, self._spread = median, spread
        # Half a row more, so that what never happened in few rows is less rare than in many.
        share = (missing_frac * n_rows + 0.5) / (n_rows + 1)
        self._missing = np.minimum(_RARE_FRAC / share, _MOST_DEVIATION)
        self._is_unknown = np.isnan(median)

    def of(self, features: Floats) -> Floats:
        distance = np.empty(len(features))
        # Blocks keep the arrays in between within the processor's cache.
        for start in range(0, len(features), _BLOCK_ROWS):
            block = features[start : start + _BLOCK_ROWS]
            deviation = np.abs(block - self._median) / self._spread
            deviation[:, self._is_unknown] = 0.0
            np.minimum(deviation, _MOST_DEVIATION, out=deviation)
            deviation = np.where(np.isnan(block), self._missing, deviation)
            squares = np.square(deviation, out=deviation)
            distance[start : start + _BLOCK_ROWS] = np.sqrt(squares.mean(axis=1))
        return distance


def _spread(column: Floats, median: float) -> float:
    distance = np.abs(column - median)
    # The greatest where 99 of 100 values are equal; the least so that a constant has one too.
    spread = float(np.quantile(distance, 1 - _RARE_FRAC)) or float(distance.max())
    return max(spread, _LEAST_SCALE * max(1.0, abs(median)))
