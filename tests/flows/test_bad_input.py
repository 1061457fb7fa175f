"""Facts about what goes wrong around a run: a full disk, a worker or pool that cannot execute it.

Each has a clear state and message on the run's page, and nothing is lost. What is wrong with the
question, the bars or the vendor's answers has tests of its own.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, cast

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, temporary_settings
from prefect.types.entrypoint import EntrypointType

from blocks.environment import Environment, child_environment, prefect_environment
from flows.tidy_runs import tidy_runs
from sensequant.release.manifest import SUMS_NAME
from sensequant.runs import RunFolder

Ask = Callable[..., list[dict[str, Any]]]
Eventually = Callable[[Callable[[], Any]], Any]
Train = Callable[..., State[Any]]

POOL = "bad-input"


class Disk:
    """A file system of its own, whose size can be changed while it is used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def resize(self, size: str, *, is_new: bool = False) -> None:
        """Let it have so much space; skips where this user may not."""
        options = f"size={size}" if is_new else f"remount,size={size}"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"this user may not mount a file system: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Generator[Disk]:
    """Return a disk of a size that a run needs many times."""
    if shutil.which("mount") is None:
        pytest.skip("not installed: mount")
    disk = Disk(tmp_path / "disk")
    disk.folder.mkdir()
    disk.resize("400k", is_new=True)
    yield disk
    # Threads of this process may still hold the database of the ledger open.
    subprocess.run(["umount", "--lazy", disk.folder], check=True)


@pytest.fixture
def home(server: Environment, disk: Disk) -> Generator[Path]:
    """Return the home of a test: the disk."""
    assert server
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SENSEQUANT_HOME", str(disk.folder))
        with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: disk.folder / "prefect" / "results"}):
            yield disk.folder


@pytest.mark.slow
def test_a_run_on_a_full_disk_says_so_and_is_taken_up_with_space_again(
    disk: Disk, folder: RunFolder, finished: RunFolder, train: Train
) -> None:
    """A real file system without space: the run fails with its words, and ends as any other."""
    state = train()

    assert state.is_failed()
    words = str(state.message)
    assert "No space left on device" in words or "disk is full" in words
    disk.resize("100m")

    assert train().name == "Completed"

    sums = (folder.root / SUMS_NAME).read_bytes()
    assert sums == (finished.root / SUMS_NAME).read_bytes()
    unfinished = [path for path in folder.root.rglob(".*") if path.suffix != ".lock"]
    assert unfinished == []


@pytest.fixture
def client(server: Environment) -> Generator[SyncPrefectClient]:
    """Return a client of the server on which there is one more pool, and a deployment in it."""
    assert server
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"), overwrite=True)
        deployed = tidy_runs.to_deployment(
            name=POOL, work_pool_name=POOL, entrypoint_type=EntrypointType.MODULE_PATH
        )
        cast("Any", deployed).apply()
        yield client


def start(client: SyncPrefectClient) -> str:
    deployment = client.read_deployment_by_name(f"tidy-runs/{POOL}")
    return str(client.create_flow_run_from_deployment(deployment.id).id)


def execute_waiting(env: Environment, folder: Path, **variables: str) -> None:
    """Let a worker execute what waits in the pool, then end."""
    command = ["worker", "start", "--pool", POOL, "--type", "process", "--run-once"]
    subprocess.run(
        [sys.executable, "-m", "prefect", *command],
        env=child_environment(prefect_environment(env) | variables),
        cwd=folder,
        check=True,
        timeout=300,
        capture_output=True,
    )


@pytest.mark.slow
def test_a_worker_without_the_package_crashes_the_run(
    client: SyncPrefectClient, server: Environment, tmp_path: Path, eventually: Eventually
) -> None:
    """It does not hang, and its page says that its process ended; the worker's log says why."""
    absent = tmp_path / "absent"
    absent.mkdir()
    (absent / "flows.py").write_text("raise ModuleNotFoundError(\"No module named 'flows'\")\n")
    flow_run_id = start(client)

    execute_waiting(server, tmp_path, PYTHONPATH=str(absent))

    ended = eventually(lambda: _final(client, flow_run_id))
    assert ended.type.value == "CRASHED"
    assert "Process exited with status code: 1" in str(ended.message)


@pytest.mark.slow
def test_a_run_whose_pool_is_gone_is_late(
    client: SyncPrefectClient, ask: Ask, eventually: Eventually
) -> None:
    """It waits where everybody sees it; it is neither lost nor shown as running."""
    client.delete_work_pool(POOL)
    flow_run_id = start(client)

    def is_late() -> bool:
        (run,) = ask("flow_runs", flow_runs={"id": {"any_": [flow_run_id]}})
        return run["state_name"] == "Late"

    assert eventually(is_late)


def _final(client: SyncPrefectClient, flow_run_id: str) -> State[Any] | None:
    state = client.read_flow_run(cast("Any", flow_run_id)).state
    return state if state is not None and state.is_final() else None
