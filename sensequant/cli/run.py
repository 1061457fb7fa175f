"""One run from the terminal: server, environment, flow, progress, and what a person reads last.

Belongs here: the order of these steps, and the exit code. Does not belong here: the steps.
"""

import sys
from dataclasses import replace

from blocks.environment import Environment
from sensequant.cli.asking import Question, RunArguments, ask
from sensequant.cli.flow_runs import execute_flow, page_of_flow_run, serve
from sensequant.cli.output import console_for, print_facts
from sensequant.cli.show import summary_of
from sensequant.cli.stored import StoredRun, read_run
from sensequant.errors import SenseQuantError

__all__ = ["EXIT_DONE", "EXIT_FAILED", "exit_code_of", "page_of", "start_run"]

EXIT_DONE = 0
EXIT_FAILED = 1


def start_run(
    arguments: RunArguments, env: Environment, *, is_verbose: bool, is_quiet: bool = False
) -> int:
    """Execute a run and print what came of it.

    Parameters
    ----------
    arguments
        Which data, which method; the number of workers is the environment's.
    env
        Where data and server are, and how many workers.
    is_verbose
        Show Prefect's log instead of progress.
    is_quiet
        Print nothing about the end: the caller does.

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
    served = serve(env, is_verbose=is_verbose)
    try:
        failure = _execute(question, served, is_verbose=is_verbose)
    except KeyboardInterrupt:
        if question.folder.config.exists():
            notes.print(f"to go on: sensequant run --resume {question.folder.run_id}")
        raise
    run = read_run(question.folder)
    if failure is not None and not run.stages():
        # Nothing was done that could be summed up: the reason is all there is to say.
        raise failure
    if not is_quiet:
        print_facts(console_for(sys.stdout), summary_of(run, page=page_of(run, served)))
    return exit_code_of(run)


def page_of(run: StoredRun, env: Environment) -> str | None:
    """Return the address of the run's page in Prefect's UI, if the run reached the server."""
    return page_of_flow_run(run.record.get("prefect_flow_run_id"), env)


def exit_code_of(run: StoredRun) -> int:
    """Return 0 for a run that ended, well or degraded, and 1 for one that failed or did not end."""
    return EXIT_DONE if run.outcome in {"completed", "degraded"} else EXIT_FAILED


def _execute(question: Question, env: Environment, *, is_verbose: bool) -> SenseQuantError | None:
    """Run the flow; its failure comes back as a value, because a summary may follow it."""
    run = execute_flow(
        "flows.run_history:historical_training",
        env,
        telemetry=question.folder.telemetry,
        is_verbose=is_verbose,
        request=question.request,
        config=question.config,
        options=question.options,
        run_id=question.folder.run_id,
    )
    return run.failure(where=question.folder.run_id)
