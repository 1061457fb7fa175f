"""Facts about plans: what a flow maps over comes from the run, in a fixed order."""

import pytest

from sensequant.errors import ConfigError
from sensequant.runs import RunFolder, Stage
from tasks.plans import (
    failure_limit,
    planned_scenarios,
    planned_stages,
    planned_symbols,
    planned_windows,
)


def test_a_plan_tells_what_to_map_over(ingested: RunFolder) -> None:
    """Stages, symbols, windows by symbol and time, skipped ones included, crises and the limit."""
    run_id = ingested.run_id

    assert planned_stages(run_id) == (Stage.DATA_INGESTION,)
    assert planned_symbols(run_id) == ["SIM01"]
    windows = planned_windows(run_id)
    assert windows.symbols == ["SIM01"] * 3
    assert windows.names == [
        "2022-01-01..2022-06-29",
        "2022-06-30..2022-12-26",
        "2022-12-27..2022-12-31",
    ]
    assert planned_scenarios(run_id) == ["covid_crash_2020"]
    assert failure_limit(run_id) == 0.25


def test_a_run_that_is_not_there_has_no_plan(folder: RunFolder) -> None:
    """An unknown run is an error, not an empty plan."""
    with pytest.raises(ConfigError, match="run is unknown"):
        planned_symbols(folder.run_id)
