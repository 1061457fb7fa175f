"""Two machines, shown by two sets of Linux namespaces: network, name and processes of their own.

They share a home, as by a network file system, and one link. On the first are PostgreSQL and the
Prefect server; on the second, workers alone.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

from sensequant.runs import RunFolder, Stage
from sensequant.settings import RunOptions
from sensequant.stages.context import RunSettings
from sensequant.storage import read_json, read_table, sha256_of

ROOT = Path(__file__).parents[2]
FIRST, SECOND = "10.213.7.1", "10.213.7.2"
PORT = 4200
API = f"http://{FIRST}:{PORT}/api"
UP_TO_STUDENTS = tuple(Stage)[:3]
_PROGRAM = """
import sys
from pathlib import Path
from blocks.environment import apply_variables, prefect_environment, read_environment
apply_variables(prefect_environment(read_environment()))
from flows.run_history import historical_training
from sensequant.settings import RunOptions
from sensequant.stages.context import RunSettings
settings = RunSettings.model_validate_json(sys.argv[1])
options = RunOptions.model_validate_json(sys.argv[2])
state = historical_training(
    settings.request, settings.config, options, run_id=sys.argv[3], return_state=True
)
print(state.name)
"""


@dataclass(frozen=True)
class Host:
    """A machine: the process that holds its namespaces, and what it is told."""

    pid: int
    name: str
    variables: Mapping[str, str]

    def run(self, *command: str, check: bool = True) -> str:
        """Execute a command there and return all that it said."""
        done = subprocess.run(
            ["nsenter", f"--target={self.pid}", "--all", *command],
            env=dict(self.variables),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout
        return done.stdout

    def sensequant(self, *words: str) -> str:
        """Execute a command of the terminal there."""
        return self.run(sys.executable, "-m", "sensequant.cli.app", *words)

    def ask(self, path: str, **body: Any) -> Any:
        """Ask the Prefect server from there."""
        program = (
            "import httpx, sys\n"
            f"print(httpx.post('{API}/{path}', json={body!r}, trust_env=False, timeout=60).text)"
        )
        return json.loads(self.run(sys.executable, "-c", program))


@contextmanager
def _namespaces(name: str) -> Generator[int]:
    """Hold a machine without anything in it; return the process that holds it."""
    hold = f"hostname {name} && ip link set lo up && exec sleep infinity"
    command = ["unshare", "--net", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
    with subprocess.Popen([*command, "sh", "-c", hold]) as holder:
        try:
            yield _first_process(holder.pid)
        finally:
            holder.kill()


def _first_process(holder: int) -> int:
    process = psutil.Process(holder)
    for _ in range(100):
        children = process.children()
        if children and children[0].name() == "sleep":
            return children[0].pid
        psutil.wait_procs([process], timeout=0.1)
    pytest.skip("this user may not make namespaces")


def _link(first: int, second: int) -> None:
    for command in (
        f"link add sq0 netns {first} type veth peer name sq0 netns {second}",
        f"-n {first} addr add {FIRST}/24 dev sq0",
        f"-n {second} addr add {SECOND}/24 dev sq0",
        f"-n {first} link set sq0 up",
        f"-n {second} link set sq0 up",
    ):
        # `ip -n` takes names; a namespace that has none is entered by the process in it.
        words = command.split()
        prefix: list[str] = []
        if words[0] == "-n":
            prefix, words = ["nsenter", f"--target={words[1]}", "--net"], words[2:]
        done = subprocess.run([*prefix, "ip", *words], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"this user may not link networks: {done.stderr.strip()}")


@pytest.fixture(scope="module")
def hosts(
    tmp_path_factory: pytest.TempPathFactory,
    own_postgresql: Callable[..., AbstractContextManager[Any]],
) -> Generator[tuple[Host, Host]]:
    """Return two machines that are up: the second has two GPU pools, and no server."""
    missing = [name for name in ("unshare", "nsenter", "ip") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    home = tmp_path_factory.mktemp("shared") / "home"
    with ExitStack() as stack:
        first, second = (stack.enter_context(_namespaces(name)) for name in ("first", "second"))
        _link(first, second)
        within = ["nsenter", f"--target={first}", "--net"]
        server = stack.enter_context(own_postgresql(FIRST, within=within))
        for name in ("prefect", "ledger", "registry"):
            _create_database(server.address, name)
        common = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(home.parent),
            "PYTHONPATH": str(ROOT),
            "SENSEQUANT_HOME": str(home),
            "SENSEQUANT_WORKERS": "1",
            "SENSEQUANT_LEDGER_URL": f"postgresql+psycopg://sensequant@{FIRST}/ledger",
            "SENSEQUANT_REGISTRY_URL": f"postgresql+psycopg://sensequant@{FIRST}/registry",
        }
        database = f"postgresql://sensequant@{FIRST}/prefect"
        one = Host(
            first,
            "first",
            common
            | {
                "SENSEQUANT_HOST": FIRST,
                "SENSEQUANT_GPUS": "0",
                "SENSEQUANT_DATABASE": database,
            },
        )
        two = Host(second, "second", common | {"PREFECT_API_URL": API, "SENSEQUANT_GPUS": "2"})
        for host in (one, two):
            stack.callback(host.sensequant, "down")
            host.sensequant("up")
        yield one, two


def _create_database(address: str, name: str) -> None:
    engine = sa.create_engine(address, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()


@pytest.mark.slow
@pytest.mark.machines
def test_two_hosts_do_one_run_together(
    hosts: tuple[Host, Host], market: RunSettings, inline: RunFolder
) -> None:
    """One host holds the run, the other trains its windows: to the same bytes as one process."""
    first, second = hosts
    home = Path(first.variables["SENSEQUANT_HOME"])
    folder = RunFolder(home, inline.run_id)
    options = RunOptions(gpu_pools=("gpu-0", "gpu-1"), stages=UP_TO_STUDENTS)

    said = first.run(
        sys.executable,
        "-c",
        _PROGRAM,
        market.model_dump_json(),
        options.model_dump_json(),
        folder.run_id,
    )

    assert said.splitlines()[-1] == "Completed", said
    assert read_json(folder.run)["host"] == "first"
    for kind in ("teacher", "student"):
        units = read_table(folder.units(kind))
        assert set(units.filter(units["kind"] == kind)["pool"]) == {"gpu-0", "gpu-1"}
        made = {path.relative_to(folder.root): sha256_of(path) for path in _made(folder, kind)}
        assert made == {
            path.relative_to(inline.root): sha256_of(path) for path in _made(inline, kind)
        }
    workers = second.ask("work_pools/gpu-0/workers/filter")
    assert [worker["name"] for worker in workers] == ["second-gpu-0"]
    assert list(home.rglob("*.db")) == []


def _made(folder: RunFolder, kind: str) -> list[Path]:
    return sorted(path for path in (folder.root / f"{kind}s").rglob("*") if path.is_file())


@pytest.mark.slow
@pytest.mark.machines
def test_the_server_listens_where_it_was_asked_to_and_nowhere_else(
    hosts: tuple[Host, Host],
) -> None:
    """Not on loopback, which is what it does unless asked."""
    first, _ = hosts
    program = (
        "import socket\n"
        f"for host in ('{FIRST}', '127.0.0.1'):\n"
        "    with socket.socket() as one:\n"
        f"        print(one.connect_ex((host, {PORT})) == 0)\n"
    )

    assert first.run(sys.executable, "-c", program).split() == ["True", "False"]


@pytest.mark.slow
@pytest.mark.machines
def test_stopping_one_host_leaves_the_other(hosts: tuple[Host, Host]) -> None:
    """The second stops its own three workers; server and worker of the first stay."""
    first, second = hosts

    said = second.sensequant("down")

    assert said.count("stopped, process") == 3
    assert "server: none of ours was running" in said
    said = first.sensequant("up")
    assert "server: found" in said
    assert "worker of default: found" in said
