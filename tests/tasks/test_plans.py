"""Facts about plans: what a flow maps over comes from the run, in a fixed order."""

import pytest

from sensequant.errors import ConfigError
from sensequant.runs import RunFolder, Stage
from sensequant.storage import read_json, write_json
from sensequant.windows import POOLED
from tasks.plans import (
    failure_limit,
    planned_scenarios,
    planned_stages,
    planned_students,
    planned_teachers,
)


def test_a_plan_tells_what_to_map_over(ingested: RunFolder) -> None:
    """Stages, windows, skipped ones included, students in the order of time, crises, the limit."""
    run_id = ingested.run_id

    assert planned_stages(run_id) == (Stage.DATA_INGESTION,)
    teachers, students = planned_teachers(run_id), planned_students(run_id)
    names = ["2022-01-01..2022-06-29", "2022-06-30..2022-12-26", "2022-12-27..2022-12-31"]
    assert teachers.symbols == ["SIM01"] * 3
    assert teachers.names == names
    assert students.symbols == [POOLED, "SIM01"] * 3
    assert students.names == [name for name in names for _ in range(2)]
    assert planned_scenarios(run_id) == ["covid_crash_2020"]
    assert failure_limit(run_id) == 0.25


def test_one_teacher_of_all_symbols_is_planned_per_window(ingested: RunFolder) -> None:
    """The settings say whose rows a teacher learns from; the students stay the same."""
    stored = read_json(ingested.config)
    stored["config"]["teacher"]["scope"] = POOLED
    write_json(ingested.config, stored)

    teachers = planned_teachers(ingested.run_id)

    assert teachers.symbols == [POOLED] * 3
    assert len(planned_students(ingested.run_id).names) == 6


def test_a_run_that_is_not_there_has_no_plan(folder: RunFolder) -> None:
    """An unknown run is an error, not an empty plan."""
    with pytest.raises(ConfigError, match="run is unknown"):
        planned_teachers(folder.run_id)
