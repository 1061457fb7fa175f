"""Whether many new rows look like those a student was trained on, column by column.

Belongs here: bins of the training rows and the population stability index (PSI) of new rows
against them. Does not belong here: the novelty of a single row (`student_novelty`), and whether
scores got worse (`evaluation`).

PSI = sum over bins of (new - old) * ln(new / old), shares of rows. Bins are the deciles of the
training rows (fewer where values are tied) and one bin of missing values; bins that are empty on
both sides are left out, all others hold half a row more and count as 0.001 at least, so that an
empty one has a share. Below 0.1 a column counts as stable, from 0.25 on its move as large, as is
usual. Few rows have a high PSI by chance alone: what chance reaches in one of twenty such samples
of independent rows stands beside it. Rows of one session move together, so that chance reaches
further than said.

Source: B. Yurdakul (2018), "Statistical properties of the population stability index" (PSI times
1 / (1/n + 1/m) is about chi-squared with one degree of freedom less than bins).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import model_validator
from scipy.special import chdtri, rel_entr

from sensequant.boosting import Floats
from sensequant.errors import RecordError
from sensequant.records import Finite, Record

__all__ = ["DRIFT_SCHEMA", "ColumnBins", "measure_drift", "training_bins"]

DRIFT_SCHEMA = pl.Schema(
    {
        "column": pl.String,
        "n_rows": pl.Int64,
        "n_missing": pl.Int64,
        "missing_frac_trained": pl.Float64,
        "psi": pl.Float64,
        "psi_by_chance": pl.Float64,
        "state": pl.String,
    }
)
"""One row per feature column, greatest PSI first; psi and state are null with too few rows."""

LEAST_ROWS = 20
MODERATE_PSI = 0.1
LARGE_PSI = 0.25

_DECILES = np.arange(1, 10) / 10
_CHANCE = 0.05
_LEAST_SHARE = 0.001


class ColumnBins(Record):
    """How often the training rows fell into each bin of one column.

    Bin 0 holds values up to `edges[0]`, bin i those above `edges[i - 1]` up to `edges[i]`, the
    last those above all edges.
    """

    edges: tuple[Finite, ...]
    counts: tuple[int, ...]
    n_missing: int

    @model_validator(mode="after")
    def _require_sound_bins(self) -> "ColumnBins":
        rises = all(left < right for left, right in zip(self.edges, self.edges[1:], strict=False))
        is_counted = min(self.counts, default=-1) >= 0 and self.n_missing >= 0
        if not rises or len(self.counts) != len(self.edges) + 1 or not is_counted:
            raise RecordError(
                "bins of a student are not sound",
                where="drift",
                expected="rising edges and one count more",
                found=f"{len(self.edges)} edges, {len(self.counts)} counts",
            )
        return self


def training_bins(features: Floats) -> tuple[ColumnBins, ...]:
    """Count the training rows in bins, one record per column.

    Parameters
    ----------
    features
        Shape (n_rows, n_columns); NaN is missing.
    """
    return tuple(_bins_of(column) for column in features.T)


def measure_drift(
    bins: Sequence[ColumnBins], columns: Sequence[str], features: Floats
) -> pl.DataFrame:
    """Compare new rows with the training rows.

    Parameters
    ----------
    bins
        Of the training rows, one per column.
    columns
        Names of the columns.
    features
        The new rows, shape (n_rows, n_columns); NaN is missing.

    Returns
    -------
    polars.DataFrame
        `DRIFT_SCHEMA`.
    """
    rows = [
        {"column": name, **_drift_of(old, column)}
        for old, name, column in zip(bins, columns, features.T, strict=True)
    ]
    frame = pl.DataFrame(rows, schema=DRIFT_SCHEMA)
    return frame.sort("psi", "column", descending=[True, False], nulls_last=True)


def _bins_of(column: Floats) -> ColumnBins:
    present = column[~np.isnan(column)]
    # Observed values: a value between two tied ones would make a bin that nothing can fill.
    deciles = np.quantile(present, _DECILES, method="inverted_cdf") if len(present) else present
    edges = np.unique(deciles)
    return ColumnBins(
        edges=tuple(edges.tolist()),
        counts=tuple(_counts(present, edges).tolist()),
        n_missing=len(column) - len(present),
    )


def _counts(present: Floats, edges: Floats) -> npt.NDArray[np.intp]:
    places = np.searchsorted(edges, present, side="left")
    return np.bincount(places, minlength=len(edges) + 1)


def _drift_of(old: ColumnBins, column: Floats) -> dict[str, object]:
    present = column[~np.isnan(column)]
    n_missing = len(column) - len(present)
    before = np.array([*old.counts, old.n_missing])
    said: dict[str, object] = {
        "n_rows": len(column),
        "n_missing": n_missing,
        "missing_frac_trained": old.n_missing / before.sum(),
    }
    if len(column) < LEAST_ROWS:
        return said | {"psi": None, "psi_by_chance": None, "state": None}
    after = np.append(_counts(present, np.array(old.edges)), n_missing)
    is_filled = (before + after) > 0
    psi = _psi(before[is_filled], after[is_filled])
    spread = 1 / before.sum() + 1 / len(column)
    freedom = int(is_filled.sum()) - 1
    by_chance = float(chdtri(freedom, _CHANCE)) * spread if freedom else 0.0
    return said | {"psi": psi, "psi_by_chance": by_chance, "state": _state(psi)}


def _psi(before: npt.NDArray[np.intp], after: npt.NDArray[np.intp]) -> float:
    old, new = _shares(before), _shares(after)
    return float((rel_entr(new, old) + rel_entr(old, new)).sum())


def _shares(counts: npt.NDArray[np.intp]) -> Floats:
    return np.maximum((counts + 0.5) / (counts + 0.5).sum(), _LEAST_SHARE)


def _state(psi: float) -> str:
    if psi < MODERATE_PSI:
        return "stable"
    return "moderate" if psi < LARGE_PSI else "large"
