"""Facts about lines on the terminal: plain, whole, and what the shipped settings choose."""

import os
import subprocess
import sys

from blocks.environment import server_settings

NAME = "PREFECT_LOGGING_HANDLERS_CONSOLE_CLASS"
PROGRAM = """
from prefect.logging import get_logger
from prefect.logging.configuration import setup_logging
setup_logging()
get_logger("sensequant").warning("[bold]300 s[/bold] of %s", "x" * 200)
"""


def test_a_line_is_written_as_it_is() -> None:
    """No markup is read, no line is cut, no colour is added."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, NAME: server_settings()[NAME]},
        capture_output=True,
        text=True,
        check=True,
    )

    (line,) = done.stderr.splitlines()
    assert line.endswith(f"| WARNING | prefect.sensequant - [bold]300 s[/bold] of {'x' * 200}")
