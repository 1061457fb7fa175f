"""Long-lived processes of this project: start one detached, know it again, stop exactly that one.

Belongs here: process ids, signals, state files, logs. Does not belong here: which processes there
are (`cli.server`, `cli.workers`).
"""

import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import psutil
from pydantic import Field

from blocks.environment import child_environment
from sensequant.errors import RecordError, SenseQuantError
from sensequant.records import Record
from sensequant.storage import read_json

__all__ = [
    "STOP_SECONDS",
    "ProcessState",
    "is_alive",
    "last_lines",
    "start_detached",
    "stop_process",
]

STOP_SECONDS = 10.0
"""Longest wait after each signal; Prefect's processes stay up after the first one at times."""

_CREATED_WITHIN_SECONDS = 2.0

# A Popen that is collected while its process lives warns; these live as long as this process.
_started: list[subprocess.Popen[bytes]] = []


class ProcessState(Record):
    """Which process was started, so that no other is ever stopped for it."""

    pid: int = Field(gt=0)
    process_created_at: float = Field(ge=0)
    started_at: datetime

    @classmethod
    def of(cls, process: psutil.Process, **fields: object) -> Self:
        """Return the state of a process that was started just now."""
        return cls.model_validate(
            {
                "pid": process.pid,
                "process_created_at": process.create_time(),
                "started_at": datetime.now(UTC),
            }
            | fields
        )

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Return the state in a file if its process still runs."""
        try:
            state = cls.model_validate(read_json(path))
        except (RecordError, ValueError):
            return None
        return state if state.process is not None else None

    @property
    def process(self) -> psutil.Process | None:
        """The process if it still runs: the same id and the same time of creation."""
        try:
            process = psutil.Process(self.pid)
            # The kernel's boot time, which both are counted from, is corrected by clock slews.
            if abs(process.create_time() - self.process_created_at) > _CREATED_WITHIN_SECONDS:
                return None
            return None if process.status() == psutil.STATUS_ZOMBIE else process
        except psutil.NoSuchProcess:
            return None


def start_detached(
    arguments: Sequence[str], *, log: Path, folder: Path, variables: Mapping[str, str]
) -> psutil.Process:
    """Start a Prefect command that outlives this process and its terminal.

    Parameters
    ----------
    arguments
        What follows `prefect`.
    log
        File to which everything that it says is added.
    folder
        Its working folder; one that stays, because the caller's may be deleted meanwhile.
    variables
        Its environment, on top of this process's.
    """
    with log.open("ab") as output:
        child = subprocess.Popen(  # noqa: S603 - this interpreter and constant arguments
            [sys.executable, "-m", "prefect", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=child_environment(variables),
            start_new_session=True,
        )
    _started.append(child)
    return psutil.Process(child.pid)


def stop_process(process: psutil.Process, *, name: str, wait_seconds: float = STOP_SECONDS) -> None:
    """End a process and its children: SIGTERM twice, then SIGKILL by id, then look.

    Parameters
    ----------
    process
        The process.
    name
        What it is called in the error.
    wait_seconds
        Longest wait after each signal.

    Raises
    ------
    SenseQuantError
        One of them is still there after it was killed.
    """
    family = [process, *_children(process)]
    # Prefect's server and workers stay up after a first SIGTERM at times, and end at the second.
    for _ in range(2):
        if _ends(process, wait_seconds=wait_seconds):
            break
    left = [one for one in family if is_alive(one)]
    for one in left:
        _signal(one, "kill")
    psutil.wait_procs(left, timeout=wait_seconds)
    # A dead one that its parent has not fetched yet counts as gone; not every init fetches.
    alive = [one for one in left if is_alive(one)]
    if alive:
        raise SenseQuantError(
            f"{name} was not stopped",
            where=", ".join(f"process {one.pid}" for one in alive),
            expected="no such process",
            found="still there after it was killed",
            remedy="wait until its disk answers again, then run `sensequant down` once more",
        )


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process runs; one that ended and was not fetched does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def last_lines(log: Path, *, n: int = 5) -> list[str]:
    """Return the last lines of a log that say anything; none if there is no log."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [line.strip() for line in lines[-n:] if line.strip()]


def _children(process: psutil.Process) -> Iterable[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return ()


def _ends(process: psutil.Process, *, wait_seconds: float) -> bool:
    _signal(process, "terminate")
    try:
        process.wait(timeout=wait_seconds)
    except psutil.TimeoutExpired:
        return not is_alive(process)
    return True


def _signal(process: psutil.Process, name: str) -> None:
    try:
        # psutil compares the time of creation first, so that a reused id is not hit.
        (process.kill if name == "kill" else process.terminate)()
    except psutil.NoSuchProcess:
        return
