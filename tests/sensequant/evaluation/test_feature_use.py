"""Means over windows, by hand."""

import polars as pl
import pytest

from sensequant.errors import RecordError
from sensequant.evaluation.feature_use import FEATURE_USE_SCHEMA, feature_use


def importances() -> pl.DataFrame:
    rows = [
        ("w1", "rsi", 30.0, 0.02),
        ("w1", "adx", 10.0, None),
        ("w2", "rsi", 1.0, -0.01),
        ("w2", "adx", 3.0, 0.04),
        ("w3", "rsi", 0.0, 0.0),
        ("w3", "adx", 0.0, 0.0),
    ]
    return pl.DataFrame(
        rows, schema=["window", "feature", "gain", "permutation_log_loss"], orient="row"
    )


def missing() -> pl.DataFrame:
    shares = {"w1": 0.0, "w2": 0.3, "w3": 0.6}
    rows = [(window, "rsi", share) for window, share in shares.items()]
    rows += [(window, "adx", 0.0) for window in shares]
    return pl.DataFrame(rows, schema=["window", "feature", "missing_frac"], orient="row")


def test_means_over_windows_by_hand() -> None:
    """Shares of gain are 3/4, 1/4 and none at all; a window without split has no share."""
    found = feature_use(importances(), missing())

    assert found.schema == FEATURE_USE_SCHEMA
    assert found["feature"].to_list() == ["adx", "rsi"]
    assert found["gain_share"].to_list() == [0.5, 0.5]
    assert found["permutation_log_loss"].to_list() == pytest.approx([0.02, 0.01 / 3])
    assert found["missing_frac"].to_list() == pytest.approx([0.0, 0.3])
    assert found["most_missing_frac"].to_list() == [0.0, 0.6]
    assert found["n_windows"].to_list() == [3, 3]


def test_most_gain_stands_first() -> None:
    """Features are sorted by their share."""
    found = feature_use(importances().filter(pl.col("window") == "w1"), missing())

    assert found["feature"].to_list() == ["rsi", "adx"]
    assert found["gain_share"].to_list() == [0.75, 0.25]


def test_unmeasured_permutation_is_missing() -> None:
    """Importances of an older layout have gain only; nothing is made up."""
    found = feature_use(importances().drop("permutation_log_loss"), missing())

    assert found["permutation_log_loss"].null_count() == 2


def test_order_of_windows_does_not_matter() -> None:
    """The same rows in another order give the same table."""
    assert feature_use(importances().reverse(), missing().reverse()).equals(
        feature_use(importances(), missing())
    )


def test_missing_columns_are_named() -> None:
    """The message names what is not there."""
    with pytest.raises(RecordError, match="gain"):
        feature_use(importances().drop("gain"), missing())
    with pytest.raises(RecordError, match="missing_frac"):
        feature_use(importances(), missing().drop("missing_frac"))
