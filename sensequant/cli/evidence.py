"""The stages of evidence again, on a stored run, and what they say.

Belongs here: doing a stage of evidence or of judgement anew, and its figures as a person reads
them on a terminal. Does not belong here: the figures themselves (`sensequant.evaluation`).

Whoever does a stage again may get other figures, because the ledger of trials has grown: the
verdict that stands is then about the former ones, which is said.
"""

import json
import sys
from typing import Any, cast

from rich.console import Console

from blocks.environment import Environment
from sensequant.cli.asking import RunArguments
from sensequant.cli.output import Fact, console_for, print_facts, print_table
from sensequant.cli.run import start_run
from sensequant.cli.stored import find_run
from sensequant.release.manifest import verify_manifest
from sensequant.runs import RunFolder, Stage
from sensequant.storage import read_json

__all__ = [
    "assess_again",
    "brief_again",
    "judge_again",
    "show_tests",
    "stress_again",
    "validate_again",
]

_STAGES_OF_JUDGEMENT = (Stage.RELEASE_AUDIT, Stage.PROMOTION_BRIEFING)


def validate_again(run: str, env: Environment, *, is_verbose: bool) -> int:
    """Do stage 4 of a run again; print its summary and return the exit code."""
    folder = find_run(env.home, run)
    code = _redo(folder, Stage.MODEL_VALIDATION, env=env, is_verbose=is_verbose)
    page = folder.validation / "validation_summary.md"
    facts = [("validation", str(page) if page.exists() else "none"), *_standing(folder)]
    print_facts(console_for(sys.stdout), facts)
    return code


def assess_again(run: str, env: Environment, *, is_json: bool, is_verbose: bool) -> int:
    """Do stage 5 of a run again; print every test and return the exit code."""
    folder = find_run(env.home, run)
    code = _redo(folder, Stage.STATISTICAL_TESTS, env=env, is_verbose=is_verbose, is_quiet=is_json)
    path = folder.significance / "stat_tests.json"
    if code or not path.exists():
        return code
    report = cast("dict[str, Any]", read_json(path))
    if is_json:
        sys.stdout.write(json.dumps(report, indent=2, allow_nan=False) + "\n")
        return code
    console = console_for(sys.stdout)
    show_tests(console, report)
    facts = [("statistics", str(path.with_suffix(".md"))), *_standing(folder)]
    print_facts(console, facts)
    return code


def stress_again(run: str, env: Environment, *, is_verbose: bool) -> int:
    """Do the stress tests of a run again; say where their page is and return the exit code."""
    folder = find_run(env.home, run)
    code = _redo(folder, Stage.STRESS_TESTS, env=env, is_verbose=is_verbose)
    page = folder.stress / "stress_report.md"
    facts = [("stress tests", str(page) if page.exists() else "none"), *_standing(folder)]
    print_facts(console_for(sys.stdout), facts)
    return code


def judge_again(run: str, env: Environment, *, is_verbose: bool) -> int:
    """Judge the present figures of a run anew, and brief on that; return the exit code."""
    folder = find_run(env.home, run)
    return _redo(folder, *_STAGES_OF_JUDGEMENT, env=env, is_verbose=is_verbose)


def brief_again(run: str, env: Environment, *, is_verbose: bool) -> int:
    """Write the briefing of a run again, about the verdict that stands; return the exit code."""
    folder = find_run(env.home, run)
    return _redo(folder, Stage.PROMOTION_BRIEFING, env=env, is_verbose=is_verbose)


def show_tests(console: Console, report: dict[str, Any]) -> None:
    """Print what was tried and what every test says."""
    trials = report["trials"]
    names = ("n_trials", "n_contenders", "n_unscored", "n_tuned")
    counts = [f"{name.removeprefix('n_')} {trials[name]}" for name in names]
    facts = [("ledger", ", ".join(counts))]
    facts += [("ledger was altered", str(problem)) for problem in trials["problems"]]
    console.print()
    print_facts(console, facts)
    console.print()
    header = ["test", "estimate", "interval", "p", "null rejected", "n", "effective", "why none"]
    print_table(console, header, [_row(test) for test in report["tests"]])
    console.print()


def _redo(
    folder: RunFolder, *stages: Stage, env: Environment, is_verbose: bool, is_quiet: bool = False
) -> int:
    asked = RunArguments(run=folder.run_id, stages=",".join(stages), workers=env.workers)
    return start_run(asked, env, is_verbose=is_verbose, is_quiet=is_quiet)


def _standing(folder: RunFolder) -> list[Fact]:
    if not folder.manifest.exists():
        return []
    # Records say when and how long: they differ whenever a stage is done again.
    problems = (folder.root / problem.path for problem in verify_manifest(folder))
    n_changed = sum(not folder.is_record(path) for path in problems)
    if not n_changed:
        return [("verdict", "still about these figures")]
    return [
        ("verdict", f"about former figures: {n_changed} files are not those that were judged"),
        ("to judge anew", f"sensequant audit {folder.run_id}"),
    ]


def _row(test: dict[str, Any]) -> list[str]:
    answers = {None: "-", True: "yes", False: "no"}
    interval = "-"
    if test["lower"] is not None and test["upper"] is not None:
        interval = f"{_number(test['lower'])} to {_number(test['upper'])}"
    return [
        str(test["name"]),
        _number(test["estimate"]),
        interval,
        _number(test["p_value"]),
        answers[test["rejects_null"]],
        str(test["n"]),
        _number(test["n_effective"]),
        str(test["reason"] or (test["no_interval"] if interval == "-" else None) or ""),
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
