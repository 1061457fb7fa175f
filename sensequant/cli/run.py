"""One run from the terminal: server, environment, flow, progress, and what a person reads last.

Belongs here: the order of these steps, and the exit code. Does not belong here: the steps.

Prefect reads its variables when it is imported, so the flow is imported only after they are set.
"""

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from rich.console import Console

from blocks.environment import Environment, apply_variables, prefect_environment
from sensequant.cli.asking import Question, RunArguments, ask
from sensequant.cli.output import console_for, print_facts
from sensequant.cli.progress import show_progress
from sensequant.cli.server import Server, ensure_server
from sensequant.cli.show import summary_of
from sensequant.cli.stored import StoredRun, read_run
from sensequant.errors import SenseQuantError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["EXIT_DONE", "EXIT_FAILED", "exit_code_of", "page_of", "run_variables", "start_run"]

EXIT_DONE = 0
EXIT_FAILED = 1


def start_run(arguments: RunArguments, env: Environment, *, is_verbose: bool) -> int:
    """Execute a run and print what came of it.

    Parameters
    ----------
    arguments
        Which data, which method; the number of workers is the environment's.
    env
        Where data and server are, and how many workers.
    is_verbose
        Show Prefect's log instead of progress.

    Returns
    -------
    int
        0 when the run ended, whatever its verdict; 1 when it failed.

    Raises
    ------
    ConfigError
        The question is wrong, or no server can be had where it was asked for.
    SenseQuantError
        The run could not be opened.
    """
    question = ask(replace(arguments, workers=env.workers), home=env.home)
    notes = console_for(sys.stderr)
    notes.print(f"run {question.folder.run_id}: looking for the Prefect server")
    server = ensure_server(env)
    notes.print(_server_in_words(server))
    apply_variables(run_variables(server.environment, is_verbose=is_verbose))
    progress = Console(quiet=True) if is_verbose else notes
    try:
        with show_progress(question.folder.telemetry, progress):
            failure = _execute(question)
    except KeyboardInterrupt:
        if question.folder.config.exists():
            notes.print(f"to go on: sensequant run --run {question.folder.run_id}")
        raise
    run = read_run(question.folder)
    if failure is not None and not run.stages():
        # Nothing was done that could be summed up: the reason is all there is to say.
        raise failure
    print_facts(console_for(sys.stdout), summary_of(run, page=page_of(run, server.environment)))
    return exit_code_of(run)


def run_variables(env: Environment, *, is_verbose: bool) -> dict[str, str]:
    """Return the variables of a process that executes a flow beside a person at a terminal."""
    variables = prefect_environment(env)
    if not is_verbose:
        # The run's page has every line; the terminal shows progress and the end.
        variables["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"
    return variables


def page_of(run: StoredRun, env: Environment) -> str | None:
    """Return the address of the run's page in Prefect's UI, if the run reached the server."""
    flow_run_id = run.record.get("prefect_flow_run_id")
    return None if flow_run_id is None else f"{env.ui_url}/v2/runs/flow-run/{flow_run_id}"


def exit_code_of(run: StoredRun) -> int:
    """Return 0 for a run that ended, well or degraded, and 1 for one that failed or did not end."""
    return EXIT_DONE if run.outcome in {"completed", "degraded"} else EXIT_FAILED


def _execute(question: Question) -> SenseQuantError | None:
    """Run the flow; its failure comes back as a value, because a summary may follow it."""
    from flows.run_history import historical_training  # noqa: PLC0415 - only now may Prefect load

    # The decorator types `return_state` away where the flow itself returns a state.
    execute = cast("Callable[..., Any]", historical_training)
    state = execute(
        request=question.request,
        config=question.config,
        options=question.options,
        run_id=question.folder.run_id,
        return_state=True,
    )
    if not (state.is_failed() or state.is_crashed() or state.is_cancelled()):
        return None
    result = state.result(raise_on_failure=False)
    if isinstance(result, SenseQuantError):
        return result
    return SenseQuantError(
        "run failed",
        where=question.folder.run_id,
        found=" ".join(str(state.message or result).split()),
        remedy="run again with --verbose, or read the logs on the run's page",
    )


def _server_in_words(server: Server) -> str:
    env = server.environment
    origin = "started" if server.is_new else "found"
    owner = "" if server.is_ours else ", not ours"
    return f"Prefect {server.version} {origin} at {env.ui_url}{owner}"
