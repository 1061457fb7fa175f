"""The features that exist, and those that settings feed to a model.

Belongs here: the printing of their description. Does not belong here: the features
(`features.registry`).
"""

import json
import sys

import polars as pl
from rich.console import Console

from sensequant.cli.output import print_facts, print_table
from sensequant.features.registry import FeatureConfig, describe_features

__all__ = ["print_features"]

_HEADER = ("fed", "family", "column", "warm-up (bars)", "unit", "formula", "source")


def print_features(console: Console, config: FeatureConfig, *, is_json: bool) -> None:
    """Print every feature, with whether a model is fed it.

    Parameters
    ----------
    console
        Where to.
    config
        Which features are fed.
    is_json
        Print a list of JSON objects instead, one for each feature, to standard output.
    """
    described = describe_features(config)
    if is_json:
        sys.stdout.write(json.dumps(described.to_dicts(), indent=2, ensure_ascii=False) + "\n")
        return
    fed = pl.when("is_fed").then(pl.lit("yes")).otherwise(pl.lit("no"))
    rows = described.select(
        fed, "family", "column", pl.col("warmup_bars").cast(pl.String), "unit", "formula", "source"
    ).rows()
    print_table(console, _HEADER, rows)
    print_facts(console, [("fed", f"{described['is_fed'].sum()} of {described.height}")])
