"""Facts about rows: features and labels of the same bars, side by side."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from sensequant.errors import ConfigError
from sensequant.evaluation.costs import round_trip_cost_frac
from sensequant.features.build import build_features
from sensequant.features.context import NO_CONTEXT
from sensequant.features.registry import model_columns
from sensequant.labels import LABEL_COLUMNS, build_labels
from sensequant.market.sessions import nse_calendar
from sensequant.rows import build_rows
from sensequant.settings import TrainingConfig

CALENDAR = nse_calendar()
SESSIONS = CALENDAR.sessions(date(2022, 1, 1), date(2022, 12, 31))
START = date(2022, 1, 1)
CONFIG = TrainingConfig()


def bars_of(symbol: str, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(0.015 * rng.normal(size=len(SESSIONS))))
    open_ = close * np.exp(0.005 * rng.normal(size=len(SESSIONS)))
    frame = pl.DataFrame(
        {
            "symbol": [symbol] * len(SESSIONS),
            "session": SESSIONS,
            "open": open_,
            "high": np.maximum(open_, close) * 1.01,
            "low": np.minimum(open_, close) * 0.99,
            "close": close,
            "volume": rng.uniform(1e5, 2e5, len(SESSIONS)),
            "is_unexplained_gap": [False] * len(SESSIONS),
        }
    )
    return frame.join(CALENDAR.numbers(), on="session", how="left")


BARS = pl.concat([bars_of("AAA", 1), bars_of("BBB", 2)])


def test_a_row_holds_the_label_and_the_features_of_its_bar() -> None:
    """Labels first, then the columns of the matrix, one row per bar in their order."""
    rows = build_rows(BARS, CONFIG, NO_CONTEXT, calendar=CALENDAR, start=START)
    cost = round_trip_cost_frac(CONFIG.costs, START)
    labels = build_labels(BARS, CALENDAR.numbers(), CONFIG.labels, round_trip_cost_frac=cost)
    features = build_features(BARS, CONFIG.features, NO_CONTEXT)

    assert rows.columns == [*LABEL_COLUMNS, *model_columns(CONFIG.features)]
    assert rows.select("symbol", "session").equals(BARS.select("symbol", "session"))
    assert rows.select(LABEL_COLUMNS).equals(labels)
    names = ["symbol", "session", *model_columns(CONFIG.features)]
    assert rows.select(names).equals(features.select(names))


def test_the_rates_of_the_start_decide_what_a_success_costs() -> None:
    """Dearer rates turn labels from 1 to 0 and none the other way; returns stay."""
    costs = CONFIG.costs.model_copy(update={"brokerage_bps": 25.0})
    dear = CONFIG.model_copy(update={"costs": costs})
    cheap, costly = (
        build_rows(BARS, config, NO_CONTEXT, calendar=CALENDAR, start=START)
        for config in (CONFIG, dear)
    )

    assert cheap["forward_return"].equals(costly["forward_return"])
    change = costly["label"] - cheap["label"]
    assert set(change.drop_nulls()) == {0, -1}


def test_a_family_whose_data_are_absent_is_refused() -> None:
    """Not passed over in silence."""
    features = CONFIG.features.model_copy(update={"market_context": True})
    config = CONFIG.model_copy(update={"features": features})

    with pytest.raises(ConfigError, match="market_context"):
        build_rows(BARS, config, NO_CONTEXT, calendar=CALENDAR, start=START)


def test_symbols_do_not_change_each_other_without_ranks() -> None:
    """Rows of one symbol are the same alone and among others."""
    among = build_rows(BARS, CONFIG, NO_CONTEXT, calendar=CALENDAR, start=START)
    alone = build_rows(
        BARS.filter(symbol="BBB"), CONFIG, NO_CONTEXT, calendar=CALENDAR, start=START
    )

    assert among.filter(symbol="BBB").equals(alone)
