"""Rows of features and labels: what a model learns from.

Belongs here: putting both together for any number of symbols. Does not belong here: either of them
(`features`, `labels`), and the slicing into windows.
"""

from datetime import date

import polars as pl

from sensequant.evaluation.costs import round_trip_cost_frac
from sensequant.features.build import build_features
from sensequant.features.context import MarketContext
from sensequant.labels import build_labels
from sensequant.market.sessions import SessionCalendar
from sensequant.settings import TrainingConfig

__all__ = ["build_rows"]


def build_rows(
    bars: pl.DataFrame,
    config: TrainingConfig,
    context: MarketContext,
    *,
    calendar: SessionCalendar,
    start: date,
) -> pl.DataFrame:
    """Return features and labels of every bar; all symbols at once, because ranks compare them.

    Parameters
    ----------
    bars
        Adjusted bars of any number of symbols, sorted by symbol and session.
    config
        Features, labels and costs.
    context
        The market around the symbols.
    calendar
        The NSE calendar.
    start
        Date whose rates of costs count.

    Returns
    -------
    polars.DataFrame
        `labels.LABEL_COLUMNS`, then the columns of features, one row per bar in their order.

    Raises
    ------
    ConfigError
        A family of features or a kind of label is switched on whose data are absent.
    """
    labels = build_labels(
        bars,
        calendar.numbers(),
        config.labels,
        round_trip_cost_frac=round_trip_cost_frac(config.costs, start),
        benchmark=context.benchmark,
    )
    features = build_features(bars, config.features, context)
    return labels.join(features, on=["symbol", "session"], how="inner", maintain_order="left")
