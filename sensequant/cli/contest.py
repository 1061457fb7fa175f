"""Champion and challengers side by side, on a terminal.

Belongs here: the words of the answer. Does not belong here: the comparison (`stages.contest`).
"""

from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from sensequant.cli.asking import build_model, nested_settings
from sensequant.cli.output import print_facts, print_table
from sensequant.cli.stored import find_run
from sensequant.evaluation.side_by_side import Delta
from sensequant.release.contest import Contender, ContestConfig, ContestReport
from sensequant.release.deployment_records import EnvironmentName
from sensequant.stages.contest import hold_contest

__all__ = ["show_contest"]

_HEADER = ["model", "figure", "champion", "model's", "difference", "interval", "n", "remark"]


def show_contest(
    console: Console,
    home: Path,
    models: tuple[str, ...],
    *,
    environment: str,
    settings: tuple[str, ...],
    is_json: bool,
) -> int:
    """Hold the champion against challengers and print every difference; return the exit code.

    Returns
    -------
    int
        0; 1 where a challenger could not be compared.

    Raises
    ------
    ConfigError
        There is no champion, nobody to hold it against, or a setting is wrong.
    """
    config = build_model(ContestConfig, nested_settings(settings), where="settings")
    report = hold_contest(
        home,
        [find_run(home, model) for model in models],
        config,
        at=datetime.now(UTC),
        environment=EnvironmentName(environment),
    )
    if is_json:
        console.out(report.model_dump_json(indent=2))
    else:
        _print(console, report)
    return 1 if any(each.reason is not None for each in report.challengers) else 0


def _print(console: Console, report: ContestReport) -> None:
    rows = [
        _row(each, delta)
        for each in report.challengers
        if each.comparison is not None
        for delta in each.comparison.deltas
    ]
    print_table(console, _HEADER, rows)
    span = f"{report.first_session or 'none'} to {report.last_session or 'none'}"
    facts = [
        ("champion", f"{report.champion.run_id}, {report.champion.place}"),
        ("new to all", f"{span}, {report.n_sessions} sessions"),
    ]
    for each in report.challengers:
        said = each.reason or "; ".join(each.remarks) or "compared"
        facts.append((f"{each.run_id}, {each.place}", said))
    if report.is_simulated:
        facts.append(("bars", "simulated: no figure tells anything about a real market"))
    print_facts(console, facts)


def _row(contender: Contender, delta: Delta) -> list[str]:
    figure = delta.difference
    interval = "-"
    if figure.lower is not None and figure.upper is not None:
        interval = f"{figure.lower:.4g} to {figure.upper:.4g}"
    return [
        contender.run_id,
        delta.name,
        _number(delta.reference),
        _number(delta.candidate),
        _number(figure.value),
        interval,
        str(figure.n),
        figure.reason or "",
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
