"""Stress tests: each selected crisis replayed on bars that no student saw.

Belongs here: which rows, scores and students of the run a replay gets. Does not belong here: the
catalogue, the replay and its judgement (`stress`).
"""

from datetime import date

import polars as pl

from sensequant.records import Outcome
from sensequant.stages.context import Findings, Run, shared_table
from sensequant.stages.training import planned_teachers
from sensequant.storage import read_json, read_table, sha256_of, write_atomically, write_json
from sensequant.stress.replay import (
    LastStudent,
    ReplaySettings,
    replay,
    scores_in_period,
)
from sensequant.stress.resilience import (
    ScenarioOutcome,
    SkippedScenario,
    StressSummary,
    parse_outcome,
    render_markdown,
    summarise_stress,
)
from sensequant.stress.shocks import ShockReport, render_shocks, shock_portfolio
from sensequant.student import StudentMetadata
from sensequant.student_file import read_student
from sensequant.units import UnitRecord
from sensequant.windows import POOLED

__all__ = [
    "planned_methods",
    "read_method",
    "read_shocks",
    "read_stress",
    "replay_method",
    "replay_scenario",
    "summarise",
]


def replay_scenario(run: Run, name: str) -> UnitRecord:
    """Replay one crisis with the students of every symbol."""
    scenario = next(each for each in run.scenarios if each.name == name)
    predictions = read_table(run.folder.predictions)
    # A symbol without features has no score; why it has none stands beside its own unit.
    symbols = [symbol for symbol in run.symbols if run.folder.rows(symbol).exists()]
    is_pooled = run.config.student.scope == POOLED
    last = {scope: _last_student(run, scope) for scope in ([POOLED] if is_pooled else symbols)}
    scores = [
        scores_in_period(
            scenario,
            symbol=symbol,
            rows=shared_table(run.folder.rows(symbol)),
            predictions=predictions.filter(pl.col("symbol") == symbol),
            student=last[POOLED if is_pooled else symbol],
            horizon_sessions=run.config.labels.horizon_sessions,
        )
        for symbol in symbols
    ]
    outcome = replay(
        scenario,
        scores=scores,
        bars=run.bars,
        benchmark=run.benchmark,
        predictions=predictions,
        settings=_settings(run),
    )
    path = run.folder.stress / "scenarios" / f"{name}.json"
    write_json(path, outcome)
    return _unit(run, name, outcome, kind="scenarios")


def replay_method(run: Run, name: str) -> UnitRecord:
    """Replay the method as of then in one crisis: trained on what was known before it."""
    # It runs the stages in one process, which know this stage, too.
    from sensequant.stages.method_replay import replay_as_of_then  # noqa: PLC0415

    scenario = next(each for each in run.scenarios if each.name == name)
    outcome = replay_as_of_then(run, scenario, _settings(run))
    write_json(run.folder.stress / "method" / f"{name}.json", outcome)
    return _unit(run, name, outcome, kind="method")


def planned_methods(run: Run) -> list[str]:
    """Return the crises in which the settings ask for a replay of the method."""
    return [each.name for each in run.scenarios] if run.config.stress.method_windows else []


def summarise(run: Run) -> tuple[str, Findings]:
    """Sum up all replays, add the synthetic shocks; return a page of Markdown and findings."""
    outcomes = [
        parse_outcome(read_json(path))
        for path in sorted((run.folder.stress / "scenarios").glob("*.json"))
    ]
    summary = summarise_stress(outcomes, run.config.stress)
    shocks = shock_portfolio(
        read_table(run.folder.predictions),
        run.bars,
        _settings(run),
    )
    write_json(run.folder.stress / "shocks.json", shocks)
    page = f"{render_markdown(summary)}\n{_method_page(run)}\n{render_shocks(shocks)}"
    write_atomically(run.folder.stress / "stress_report.md", page.encode())
    write_json(run.folder.stress / "stress_summary.json", summary)
    return page, Findings(
        values={
            "n_evaluated": summary.n_evaluated,
            "n_skipped": summary.n_skipped,
            "n_passed": summary.n_passed,
            "mean_resilience": summary.mean_resilience,
            "worst_resilience": summary.worst_resilience,
            "worst_scenario": summary.worst_scenario,
        },
        not_done_yet=list(summary.not_done_yet),
    )


def read_stress(run: Run) -> StressSummary:
    """Return the summary of the stress tests."""
    return StressSummary.model_validate(read_json(run.folder.stress / "stress_summary.json"))


def read_shocks(run: Run) -> ShockReport | None:
    """Return what the portfolio did under synthetic shocks; None where none were tried."""
    if not (run.folder.stress / "shocks.json").exists():
        return None
    return ShockReport.model_validate(read_json(run.folder.stress / "shocks.json"))


def read_method(run: Run) -> StressSummary | None:
    """Return the summary of the method as of then; None where it was not asked for."""
    path = run.folder.stress / "method_summary.json"
    if not planned_methods(run) or not path.exists():
        return None
    return StressSummary.model_validate(read_json(path))


def _method_page(run: Run) -> str:
    title = "# The method as of then"
    if not planned_methods(run):
        return f"{title}\n\nNot asked for: `stress.method_windows` is 0.\n"
    outcomes = [
        parse_outcome(read_json(run.folder.stress / "method" / f"{name}.json"))
        for name in planned_methods(run)
    ]
    summary = summarise_stress(outcomes, run.config.stress)
    write_json(run.folder.stress / "method_summary.json", summary)
    return render_markdown(summary, title=title)


def _settings(run: Run) -> ReplaySettings:
    return ReplaySettings(
        stress=run.config.stress,
        backtest=run.config.backtest,
        costs=run.config.costs,
        horizon_sessions=run.config.labels.horizon_sessions,
        seed=run.config.seed,
    )


def _last_student(run: Run, scope: str) -> LastStudent | None:
    windows = run.windows_of(scope)
    folders = [run.folder.student(window.label) for window in windows]
    made = [folder for folder in folders if (folder / "student.json").exists()]
    if not made:
        return None
    student = read_student(made[-1] / "student.json")
    metadata = StudentMetadata.model_validate(read_json(made[-1] / "metadata.json"))
    return LastStudent(
        score=student.score,
        first_session=_first_taught(run, scope),
        last_label_end=metadata.trained_through,
    )


def _first_taught(run: Run, scope: str) -> date:
    # Windows are in time order, but pooled students learn from symbols of different beginnings.
    teachers = [
        run.folder.teacher(window.label) / "labels.parquet"
        for window in planned_teachers(run)
        if scope == POOLED or window.symbol in {scope, POOLED}
    ]
    firsts = [shared_table(path)["session"].min() for path in teachers if path.exists()]
    return min(each for each in firsts if isinstance(each, date))


def _unit(run: Run, name: str, outcome: ScenarioOutcome, *, kind: str) -> UnitRecord:
    path = run.folder.stress / kind / f"{name}.json"
    is_skipped = isinstance(outcome, SkippedScenario)
    return UnitRecord(
        kind="stress",
        name=f"{'stress' if kind == 'scenarios' else kind} {name}",
        window=name,
        outcome=Outcome.SKIPPED if is_skipped else Outcome.SUCCESS,
        reason=outcome.skip_reason if is_skipped else None,
        counts={} if is_skipped else {"n_rows": outcome.n_rows, "n_sessions": outcome.n_sessions},
        path=path.relative_to(run.folder.root).as_posix(),
        sha256=sha256_of(path),
        seconds=0.0,
    )
