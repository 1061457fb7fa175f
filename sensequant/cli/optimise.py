"""A search for trading settings on a terminal: what was asked, and what it was worth.

Belongs here: from words to settings, and the words of the answer. Does not belong here: the search
(`flows.optimise_trading`, `sensequant.evaluation`).
"""

import json
import sys
from collections.abc import Iterator, Sequence

from rich.console import Console

from blocks.environment import Environment
from sensequant.cli.asking import build_model, nested_settings
from sensequant.cli.flow_runs import execute_flow, serve
from sensequant.cli.output import Fact, console_for, print_facts, print_table
from sensequant.cli.stored import find_run
from sensequant.evaluation.optimisation import OptimisationConfig
from sensequant.evaluation.optimised import OptimisationSummary
from sensequant.evaluation.optimised_text import headline_of, settings_text
from sensequant.evaluation.validation_text import figure_cell, number_text
from sensequant.stages.context import load_run
from sensequant.stages.optimisation import search_folder

__all__ = ["search_settings", "show_search", "start_search"]


def search_settings(strategy: str, trials: int | None, texts: Sequence[str]) -> OptimisationConfig:
    """Return what is asked of a search.

    Raises
    ------
    ConfigError
        A setting is wrong, or the strategy does not read it.
    """
    values: dict[str, object] = {"strategy": strategy}
    if trials is not None:
        values["n_trials"] = trials
    return build_model(OptimisationConfig, nested_settings(texts, values), where="settings")


def start_search(
    run: str, search: OptimisationConfig, env: Environment, *, is_json: bool, is_verbose: bool
) -> int:
    """Search on a run; print what it was worth and return the exit code.

    Raises
    ------
    ConfigError
        No run has such a name, or no server can be had where it was asked for.
    DataError
        The run has too few sessions.
    """
    folder = find_run(env.home, run)
    served = serve(env, is_verbose=is_verbose)
    done = execute_flow(
        "flows.optimise_trading:optimise_trading",
        served,
        telemetry=None,
        is_verbose=is_verbose,
        run_id=folder.run_id,
        search=search,
    )
    summary = done.returned(
        OptimisationSummary, where=folder.run_id, nothing="search found nothing"
    )
    console = console_for(sys.stdout)
    if is_json:
        console.out(json.dumps(summary.model_dump(mode="json"), indent=2, allow_nan=False))
        return 0
    show_search(console, summary)
    written = search_folder(load_run(folder), search) / "optimization_report.html"
    print_facts(console, [("report", str(written)), ("page", done.page or "none")])
    return 0


def show_search(console: Console, summary: OptimisationSummary) -> None:
    """Print what a search was worth, and every step."""
    print_facts(console, _facts(summary))
    header = ["step", "sessions", "in sample", "out of sample", "default", "taken"]
    rows = [
        [
            str(step.step.index),
            f"{step.first_session} to {step.last_session}",
            number_text(step.in_sample),
            number_text(step.out_of_sample),
            number_text(step.out_of_sample_default),
            settings_text(step.settings) if step.chosen_trial else "as given",
        ]
        for step in summary.steps
    ]
    print_table(console, header, rows)


def _facts(summary: OptimisationSummary) -> Iterator[Fact]:
    yield "strategy", summary.strategy
    if summary.is_simulated:
        yield "bars", "simulated: no figure tells anything about a real market"
    yield "sessions", f"{summary.n_sessions}, {summary.first_session} to {summary.last_session}"
    yield "trials", f"{summary.n_trials} in {summary.n_steps} steps"
    for name in ("net_annual_return", "net_sharpe"):
        yield name, figure_cell(getattr(summary.optimised, name))
        yield f"{name}, default", figure_cell(getattr(summary.default, name))
        yield f"{name}, difference", figure_cell(summary.differences[name])
    yield "in sample", figure_cell(summary.in_sample)
    yield "outcome", headline_of(summary)
