"""Facts about the catalogue of crises and its selection."""

from datetime import date
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError

from sensequant.market.sessions import nse_calendar
from sensequant.stress.scenarios import (
    Scenario,
    Severity,
    StressConfig,
    load_scenarios,
    select_scenarios,
)

NAMES = [
    "global_financial_crisis",
    "flash_crash_2010",
    "european_debt_crisis",
    "taper_tantrum_2013",
    "yuan_devaluation_2015",
    "demonetisation_2016",
    "covid_crash_2020",
    "russia_ukraine_2022",
    "rate_hike_selloff_2022",
    "svb_banking_crisis_2023",
    "tariff_shock_2025",
]


def test_catalogue_holds_the_known_crises_in_order_of_time() -> None:
    """The ten names that users know are there, and the one since, each with a dated source."""
    scenarios = load_scenarios()

    assert [scenario.name for scenario in scenarios] == NAMES
    assert all(str(scenario.start.year) in scenario.source for scenario in scenarios)


def test_no_crisis_overlaps_another() -> None:
    """A session belongs to at most one crisis, so that no bad day counts twice."""
    scenarios = load_scenarios()

    assert all(earlier.end < later.start for earlier, later in pairwise(scenarios))


def test_every_crisis_is_long_enough_to_count_by_default() -> None:
    """The shortest crisis has more sessions than the default minimum."""
    calendar = nse_calendar()
    lengths = [len(calendar.sessions(each.start, each.end)) for each in load_scenarios()]

    assert min(lengths) >= StressConfig().min_sessions


def test_default_selection_is_extreme_and_high() -> None:
    """Without names, crises are taken by severity: eight of them by default."""
    selected = select_scenarios(load_scenarios(), StressConfig())

    assert {scenario.severity for scenario in selected} == {Severity.EXTREME, Severity.HIGH}
    assert len(selected) == 8


def test_named_periods_are_taken_whatever_their_severity() -> None:
    """A named medium crisis is taken although only extreme ones are asked for."""
    config = StressConfig(severities=(Severity.EXTREME,), periods=("taper_tantrum_2013",))
    selected = select_scenarios(load_scenarios(), config)

    assert [scenario.name for scenario in selected] == ["taper_tantrum_2013"]


def test_unknown_period_is_refused_with_the_known_names() -> None:
    """A misspelt period is an error that lists what there is."""
    with pytest.raises(ValidationError, match=r"stress period is unknown.*covid_crash_2020"):
        StressConfig(periods=("corona",))


def test_scenario_that_ends_before_it_starts_is_refused() -> None:
    """A range upside down never enters the catalogue."""
    with pytest.raises(ValidationError, match="upside down"):
        Scenario(
            name="x",
            title="X",
            start=date(2020, 1, 2),
            end=date(2020, 1, 1),
            severity=Severity.HIGH,
            source="2020",
        )


@pytest.mark.real_data
def test_nifty_50_fell_in_every_crisis(real_data: Path) -> None:
    """In each period NIFTY 50 stood at least 4 % below an earlier close, in extreme ones 30 %."""
    folder = real_data / "index"
    old = pl.read_csv(folder / "nifty50_nse_2000_2021.csv", try_parse_dates=True)
    new = pl.read_csv(folder / "nifty50_yahoo_2007_2026.csv", try_parse_dates=True)
    closes = pl.concat(
        [
            old.select("date", "close"),
            new.select(date="Date", close="Close").filter(pl.col("date") > old["date"].max()),
        ]
    ).sort("date")

    for scenario in load_scenarios():
        before = closes.filter(pl.col("date") < scenario.start).tail(1)
        inside = closes.filter(pl.col("date").is_between(scenario.start, scenario.end))
        close = pl.concat([before, inside])["close"]
        deepest = (close / close.cum_max() - 1).min()
        assert isinstance(deepest, float)
        assert deepest < (-0.30 if scenario.severity is Severity.EXTREME else -0.04), scenario.name
