"""What each feature was worth to the teachers of a run, averaged over their windows.

Belongs here: means over windows of importances and of missing shares. Does not belong here: how
importances of one window come about (`teacher`), and how they are shown (`reports`).
"""

import polars as pl

from sensequant.student_file import require_columns

__all__ = ["FEATURE_USE_SCHEMA", "feature_use"]

FEATURE_USE_SCHEMA = pl.Schema(
    {
        "feature": pl.String,
        "gain_share": pl.Float64,
        "permutation_log_loss": pl.Float64,
        "missing_frac": pl.Float64,
        "most_missing_frac": pl.Float64,
        "n_windows": pl.Int64,
    }
)
"""One row per feature, most gain first."""


def feature_use(importances: pl.DataFrame, missing: pl.DataFrame) -> pl.DataFrame:
    """Average importances and missing shares over windows, each window counting alike.

    Parameters
    ----------
    importances
        One row per window and feature: window, feature, gain (at least 0) and, where it was
        measured, permutation_log_loss (rise of the log loss, in nats, when the feature is
        shuffled).
    missing
        One row per window and feature: window, feature, missing_frac (share of the rows in
        [0, 1]).

    Returns
    -------
    polars.DataFrame
        `FEATURE_USE_SCHEMA`. gain_share is the mean of the feature's share of all gain of a
        window; a window whose model made no split has no shares and is left out of that mean.
        most_missing_frac is the highest share of a window; n_windows counts the windows whose
        model was offered the feature.

    Raises
    ------
    RecordError
        A column is missing.
    """
    require_columns(importances, ["window", "feature", "gain"])
    require_columns(missing, ["window", "feature", "missing_frac"])
    if "permutation_log_loss" not in importances.columns:
        unmeasured = pl.lit(None, dtype=pl.Float64)
        importances = importances.with_columns(permutation_log_loss=unmeasured)
    total = pl.col("gain").sum().over("window")
    shares = importances.with_columns(gain_share=pl.when(total > 0).then(pl.col("gain") / total))
    rows = shares.join(missing, on=["window", "feature"], how="left", validate="1:1")
    # With a kept order each feature is added up in one go, on any number of threads.
    used = (
        rows.sort("feature", "window")
        .group_by("feature", maintain_order=True)
        .agg(
            pl.col("gain_share", "permutation_log_loss", "missing_frac").mean(),
            most_missing_frac=pl.col("missing_frac").max(),
            n_windows=pl.len(),
        )
    )
    return used.sort("gain_share", "feature", descending=[True, False], nulls_last=True).select(
        pl.col(name).cast(dtype) for name, dtype in FEATURE_USE_SCHEMA.items()
    )
