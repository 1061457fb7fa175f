"""Facts about one run from the terminal, but for the flow itself."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from blocks.environment import child_environment, read_environment
from sensequant.cli.run import exit_code_of, page_of, run_variables
from sensequant.cli.stored import StoredRun, find_run, read_run


def test_console_is_quiet_unless_asked_and_the_api_is_not(tmp_path: Path) -> None:
    """Prefect's console handler is closed; what goes to the run's page keeps its level."""
    env = read_environment(home=tmp_path)
    quiet, verbose = (run_variables(env, is_verbose=flag) for flag in (False, True))

    assert "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL" not in verbose
    code = (
        "import logging, prefect\n"
        "from prefect.logging.configuration import setup_logging\n"
        "setup_logging()\n"
        "logger = logging.getLogger('prefect.flow_runs')\n"
        "while not logger.handlers: logger = logger.parent\n"
        "levels = {type(one).__name__: one.level for one in logger.handlers}\n"
        "parent = logging.getLogger('prefect').handlers\n"
        "levels |= {type(one).__name__: one.level for one in parent}\n"
        "print(levels)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=child_environment(quiet),
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"'PrefectConsoleHandler': {logging.CRITICAL}" in done.stdout
    assert "'APILogHandler': 0" in done.stdout


@pytest.mark.parametrize(
    ("outcome", "code"), [("completed", 0), ("degraded", 0), ("failed", 1), (None, 1)]
)
def test_exit_code_tells_whether_the_run_ended_well(
    home: Path, outcome: str | None, code: int
) -> None:
    """A verdict is an answer; a failure or a run without an end is not."""
    run = read_run(find_run(home, "1111"))
    record = {**run.record, "outcome": outcome, "verdict": "reject"}

    assert exit_code_of(StoredRun(run.folder, record, run.request)) == code


def test_page_is_that_of_the_flow_run(home: Path) -> None:
    """A run that never reached the server has none."""
    env = read_environment(port=4777)
    run = read_run(find_run(home, "1111"))

    assert page_of(run, env) == (
        "http://127.0.0.1:4777/v2/runs/flow-run/0f0f0f0f-0000-4000-8000-000000000001"
    )
    assert page_of(StoredRun(run.folder, {}, {}), env) is None
