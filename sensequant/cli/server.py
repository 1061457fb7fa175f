"""The Prefect server on loopback: find it, start it once, stop exactly what was started.

Belongs here: the life of the server's process. Does not belong here: its settings
(`blocks.environment`, `deployments/server.env`) and what runs on it (`flows`).

A server that somebody else started is used, and never stopped.
"""

import re
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import httpx
import psutil
from pydantic import Field

from blocks.environment import Environment, child_environment, prefect_environment
from sensequant.errors import ConfigError, RecordError, SenseQuantError
from sensequant.records import Record
from sensequant.storage import locked, read_json, write_json

__all__ = [
    "Answer",
    "Answering",
    "Server",
    "ServerState",
    "ensure_server",
    "own_server",
    "probe",
    "stop_server",
]

START_SECONDS = 90.0
"""Longest wait for a first start, which makes the database; 12 to 24 s were measured."""

STOP_SECONDS = 10.0
"""Longest wait after each signal; the server stays up after the first one at times."""

_VERSION = re.compile(r"\d+\.\d+\.\d+\S*")
_POLL_SECONDS = 0.25
_CREATED_WITHIN_SECONDS = 2.0

# A Popen that is collected while its process lives warns; these live as long as this process.
_started: list[subprocess.Popen[bytes]] = []


class Answering(StrEnum):
    """Who answers on a port."""

    NOBODY = "nobody"
    PREFECT = "prefect"
    OTHER = "other"


@dataclass(frozen=True)
class Answer:
    """What was found on a port.

    Parameters
    ----------
    by
        Who answers.
    version
        Prefect's version where a Prefect server answers.
    found
        What was heard, in words, where something else answers.
    """

    by: Answering
    version: str | None = None
    found: str = ""


@dataclass(frozen=True)
class Server:
    """A server that answers.

    Parameters
    ----------
    environment
        The environment that leads to it.
    version
        Its Prefect version.
    is_ours
        Whether `stop_server` would stop it.
    is_new
        Whether this call started it.
    """

    environment: Environment
    version: str | None
    is_ours: bool
    is_new: bool


class ServerState(Record):
    """Which process was started as the server, so that no other is ever stopped for it."""

    pid: int = Field(gt=0)
    process_created_at: float = Field(ge=0)
    port: int
    started_at: datetime

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


def probe(url: str, *, timeout_seconds: float = 5.0) -> Answer:
    """Ask who answers at the address of an API, past any proxy of the environment."""
    try:
        response = httpx.get(f"{url}/admin/version", timeout=timeout_seconds, trust_env=False)
    except httpx.ConnectError:
        return Answer(Answering.NOBODY)
    except httpx.HTTPError as error:
        return Answer(Answering.OTHER, found=f"no HTTP answer ({type(error).__name__})")
    if response.is_success and _VERSION.fullmatch(version := response.text.strip().strip('"')):
        return Answer(Answering.PREFECT, version=version)
    server = response.headers.get("server", "a server without a name")
    return Answer(Answering.OTHER, found=f"{server}, which answered {response.status_code}")


def ensure_server(env: Environment, *, wait_seconds: float = START_SECONDS) -> Server:
    """Return the server that answers; start one on loopback if none does.

    Two callers at once start one server: the second waits for the first.

    Raises
    ------
    ConfigError
        Something else holds the port, our server runs on another port than the one that was
        asked for, or the server that PREFECT_API_URL names does not answer.
    SenseQuantError
        The server did not start.
    """
    if env.local_port is None:
        return _elsewhere(env)
    with locked(env.prefect_home / "server"):
        state = own_server(env)
        if state is not None:
            return _ours(_same_port(env, state), state, wait_seconds=wait_seconds)
        answer = probe(env.server_url)
        if answer.by is Answering.PREFECT:
            return Server(env, answer.version, is_ours=False, is_new=False)
        if answer.by is Answering.OTHER:
            raise ConfigError(
                "port is in use by something that is no Prefect server",
                where=f"127.0.0.1:{env.local_port}",
                expected="a free port, or a Prefect server",
                found=answer.found,
                remedy="choose a free port with --port or SENSEQUANT_PORT",
            )
        return _start(env, wait_seconds=wait_seconds)


def own_server(env: Environment) -> ServerState | None:
    """Return the state of the server that was started for this home, if it still runs."""
    try:
        state = ServerState.model_validate(read_json(_state_file(env)))
    except (RecordError, ValueError):
        return None
    return state if state.process is not None else None


def stop_server(env: Environment, *, wait_seconds: float = STOP_SECONDS) -> ServerState | None:
    """Stop the server that was started for this home; does nothing if there is none.

    Returns
    -------
    ServerState or None
        What was stopped.

    Raises
    ------
    SenseQuantError
        The process is still there after it was killed.
    """
    with locked(env.prefect_home / "server"):
        state = own_server(env)
        if state is not None and state.process is not None:
            _stop(state.process, wait_seconds=wait_seconds)
        _state_file(env).unlink(missing_ok=True)
    return state


def _state_file(env: Environment) -> Path:
    return env.prefect_home / "server.json"


def _log_file(env: Environment) -> Path:
    return env.prefect_home / "server.log"


def _elsewhere(env: Environment) -> Server:
    answer = probe(env.server_url)
    if answer.by is not Answering.PREFECT:
        raise ConfigError(
            "Prefect server does not answer",
            where=f"PREFECT_API_URL={env.server_url}",
            expected="a Prefect server",
            found=answer.found or "nobody",
            remedy="start it, correct PREFECT_API_URL, or unset it to have one started here",
        )
    return Server(env, answer.version, is_ours=False, is_new=False)


def _same_port(env: Environment, state: ServerState) -> Environment:
    if state.port == env.local_port:
        return env
    if env.is_port_given or env.api_url is not None:
        # A second server on the same database would contend with the first one for it.
        raise ConfigError(
            "the server of this home already runs on another port",
            where=str(env.home),
            expected=f"port {env.local_port}",
            found=f"port {state.port}, process {state.pid}",
            remedy="leave the port out, or stop that server first with `sensequant down`",
        )
    return env.on_port(state.port)


def _ours(env: Environment, state: ServerState, *, wait_seconds: float) -> Server:
    version = _wait_for_answer(env, state, wait_seconds=wait_seconds)
    return Server(env, version, is_ours=True, is_new=False)


def _start(env: Environment, *, wait_seconds: float) -> Server:
    process = _spawn(env)
    try:
        state = ServerState(
            pid=process.pid,
            process_created_at=process.create_time(),
            port=int(env.local_port or 0),
            started_at=datetime.now(UTC),
        )
        write_json(_state_file(env), state)
        version = _wait_for_answer(env, state, wait_seconds=wait_seconds)
    except BaseException:
        # Whoever gave up waiting, by Ctrl-C too, must not leave a half-started server behind.
        _stop(process, wait_seconds=STOP_SECONDS)
        _state_file(env).unlink(missing_ok=True)
        raise
    return Server(env, version, is_ours=True, is_new=True)


def _spawn(env: Environment) -> psutil.Process:
    command = ["server", "start", "--host", "127.0.0.1", "--port", str(env.local_port)]
    with _log_file(env).open("ab") as log:
        child = subprocess.Popen(  # noqa: S603 - this interpreter and constant arguments
            [sys.executable, "-m", "prefect", *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # A working folder that stays; the caller's may be deleted while the server runs.
            cwd=env.prefect_home,
            env=child_environment(prefect_environment(env)),
            start_new_session=True,
        )
    _started.append(child)
    return psutil.Process(child.pid)


def _wait_for_answer(env: Environment, state: ServerState, *, wait_seconds: float) -> str | None:
    deadline = time.monotonic() + wait_seconds
    while time.monotonic() < deadline:
        if _is_healthy(env.server_url):
            return probe(env.server_url).version
        if state.process is None:
            raise _no_start(env, "its process ended")
        time.sleep(_POLL_SECONDS)
    raise _no_start(env, f"no answer within {wait_seconds:g} seconds")


def _is_healthy(url: str) -> bool:
    try:
        response = httpx.get(f"{url}/health", timeout=5.0, trust_env=False)
    except httpx.HTTPError:
        return False
    return response.is_success and response.text.strip() == "true"


def _no_start(env: Environment, found: str) -> SenseQuantError:
    n_lines = 5
    try:
        tail = _log_file(env).read_text(encoding="utf-8", errors="replace").splitlines()[-n_lines:]
    except OSError:
        tail = []
    return SenseQuantError(
        "Prefect server did not start",
        where=env.server_url,
        expected="an answer to /api/health",
        found="; ".join([found, *(line.strip() for line in tail if line.strip())]),
        remedy=f"read {_log_file(env)}, then run `sensequant doctor`",
    )


def _stop(process: psutil.Process, *, wait_seconds: float) -> None:
    family = [process, *_children(process)]
    # The server stays up after a first SIGTERM at times, and ends at the second.
    for _ in range(2):
        if _ends(process, "terminate", wait_seconds=wait_seconds):
            break
    left = [one for one in family if _is_alive(one)]
    for one in left:
        _signal(one, "kill")
    psutil.wait_procs(left, timeout=wait_seconds)
    # A dead one that its parent has not fetched yet counts as gone; not every init fetches.
    alive = [one for one in left if _is_alive(one)]
    if alive:
        raise SenseQuantError(
            "Prefect server was not stopped",
            where=", ".join(f"process {one.pid}" for one in alive),
            expected="no such process",
            found="still there after it was killed",
            remedy="wait until its disk answers again, then run `sensequant down` once more",
        )


def _children(process: psutil.Process) -> Iterable[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return ()


def _ends(process: psutil.Process, signal_name: str, *, wait_seconds: float) -> bool:
    _signal(process, signal_name)
    try:
        process.wait(timeout=wait_seconds)
    except psutil.TimeoutExpired:
        return not _is_alive(process)
    return True


def _signal(process: psutil.Process, name: str) -> None:
    try:
        # psutil compares the time of creation first, so that a reused id is not hit.
        (process.kill if name == "kill" else process.terminate)()
    except psutil.NoSuchProcess:
        return


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
