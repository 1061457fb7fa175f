"""Tasks of the stress tests: one per dated crisis, then their summary."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from prefect import task

from sensequant.runs import Stage
from sensequant.stages import crises
from sensequant.stages.context import Findings, Run, load_run
from sensequant.stages.distillation import planned_students
from sensequant.stages.training import planned_teachers
from tasks.artifacts import show_markdown
from tasks.units import UnitRef, do_unit, run_folder, unit_key

__all__ = ["replay_method", "replay_scenario", "summarise_stress"]


def _reads_of_replay(run: Run, _given: Mapping[str, Any]) -> Iterator[Path]:
    yield run.folder.predictions
    yield run.folder.benchmark
    for symbol in run.symbols:
        yield run.folder.bars(symbol)
        yield run.folder.rows(symbol)
    for window in planned_teachers(run):
        yield run.folder.teacher(window.label) / "labels.parquet"
    for window in planned_students(run):
        yield run.folder.student(window.label) / "student.json"


@task(
    task_run_name="stress {scenario}",
    persist_result=True,
    result_serializer="json",
    cache_key_fn=unit_key(_reads_of_replay),
)
def replay_scenario(run_id: str, scenario: str) -> UnitRef:
    """Replay the students on a crisis whose bars they never saw."""
    folder = run_folder(run_id)
    return do_unit(
        folder,
        Stage.STRESS_TESTS,
        lambda: crises.replay_scenario(load_run(folder), scenario),
        makes=[folder.stress / "scenarios" / f"{scenario}.json"],
        kind="stress",
        name=f"stress {scenario}",
        window=scenario,
    )


def _reads_of_method(run: Run, _given: Mapping[str, Any]) -> Iterator[Path]:
    yield run.folder.data
    yield run.folder.benchmark
    yield from sorted((run.folder.root / "bars").glob("*.parquet"))


@task(
    task_run_name="method {scenario}",
    persist_result=True,
    result_serializer="json",
    cache_key_fn=unit_key(_reads_of_method),
)
def replay_method(run_id: str, scenario: str) -> UnitRef:
    """Train the method on what was known before a crisis, and lead it through."""
    folder = run_folder(run_id)
    return do_unit(
        folder,
        Stage.STRESS_TESTS,
        lambda: crises.replay_method(load_run(folder), scenario),
        makes=[folder.stress / "method" / f"{scenario}.json"],
        kind="stress",
        name=f"method {scenario}",
        window=scenario,
    )


@task(task_run_name="summarise stress")
def summarise_stress(run_id: str) -> Findings:
    """Sum up the replays in one table and one page."""
    page, findings = crises.summarise(load_run(run_folder(run_id)))
    show_markdown("stress-report", page, description=f"stress tests of {run_id}")
    return findings
