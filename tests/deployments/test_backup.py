"""The commands of docs/operations.md for backup and restore, executed as they stand there."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

QUESTION = (
    "--symbols SIM01,SIM02 --start 2022-01-01 --end 2023-06-30 "
    "--set teacher.booster.n_estimators=10 --set student.n_estimators=10 "
    "--set validation.n_bootstrap_draws=100 --set validation.n_placebo=2 "
    "--set significance.n_draws=100"
)
ROOT = Path(__file__).parents[2]


def commands(name: str) -> str:
    """Return the block of commands that the page calls by a name."""
    page = (ROOT / "docs" / "operations.md").read_text()
    (found,) = re.findall(rf"```{name}\n(.*?)```", page, re.DOTALL)
    return found


@pytest.fixture
def shell(tmp_path: Path) -> Callable[[str], str]:
    """Return what executes commands as a person would: in a shell, for a home of their own."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SENSEQUANT_", "PREFECT_", "COV_"))
    }
    variables = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SENSEQUANT_HOME": str(tmp_path / "home"),
        "SENSEQUANT_PORT": str(port),
        "SENSEQUANT_GPUS": "0",
    }

    def execute(text: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=tmp_path,
            env=inherited | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    return execute


@pytest.mark.slow
@pytest.mark.machines
def test_what_was_backed_up_is_there_again_in_an_empty_home(
    shell: Callable[[str], str], tmp_path: Path
) -> None:
    """The page of the run, its files and their digests."""
    said = shell(f"sensequant run {QUESTION}")
    (page,) = re.findall(r"http://\S+/v2/runs/flow-run/\S+", said)
    try:
        shell(commands("backup"))
        shell("sensequant down; rm -r home")

        restored = shell(commands("restore"))

        assert "ok, every file is as it says" in restored
        api, _, flow_run_id = page.partition("/v2/runs/flow-run/")
        reply = httpx.get(f"{api}/api/flow_runs/{flow_run_id}", trust_env=False, timeout=60)
        assert reply.json()["state"]["type"] == "COMPLETED"
        shown = httpx.get(page, headers={"accept": "text/html"}, trust_env=False, timeout=60)
        assert shown.is_success
    finally:
        shell("sensequant down")
    assert (tmp_path / "home" / "runs").is_dir()
