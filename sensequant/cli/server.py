"""The Prefect server of this machine: find it, start it once, stop exactly what was started.

Belongs here: the life of the server's process. Does not belong here: its settings
(`blocks.environment`, `deployments/server.env`) and what runs on it (`flows`).

A server that somebody else started is used, and never stopped.
"""

import re
import time
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path

import httpx
import psutil

from blocks.environment import Environment, server_environment
from sensequant.cli.processes import (
    STOP_SECONDS,
    ProcessState,
    last_lines,
    start_detached,
    stop_process,
)
from sensequant.errors import ConfigError, SenseQuantError
from sensequant.storage import locked, write_json

__all__ = [
    "Answer",
    "Answering",
    "Server",
    "ServerState",
    "ensure_server",
    "own_server",
    "probe",
    "require_same_version",
    "stop_server",
]

START_SECONDS = 240.0
"""Longest wait for a first start, which makes the database: 12 to 24 s, and over 90 s were measured
on two cores with sixteen processes waiting. One that ends is noticed at once."""

_VERSION = re.compile(r"\d+\.\d+\.\d+\S*")
_POLL_SECONDS = 0.25
_NAME = "Prefect server"


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


class ServerState(ProcessState):
    """Which process was started as the server, and on which port."""

    port: int


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
    """Return the server that answers; start one on this machine if none does.

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
                where=f"{env.host}:{env.local_port}",
                expected="a free port, or a Prefect server",
                found=answer.found,
                remedy="choose a free port with --port or SENSEQUANT_PORT",
            )
        return _start(env, wait_seconds=wait_seconds)


def require_same_version(url: str, found: str | None) -> None:
    """Check that a server is of the version of this process: each may misread what another wrote.

    Raises
    ------
    ConfigError
        It is not.
    """
    if found != version("prefect"):
        raise ConfigError(
            "Prefect server is of another version",
            where=url,
            expected=version("prefect"),
            found=str(found),
            remedy="bring server and sensequant to the same version: `sensequant down`, then "
            "`sensequant up`",
        )


def own_server(env: Environment) -> ServerState | None:
    """Return the state of the server that was started for this home, if it still runs."""
    return ServerState.read(_state_file(env))


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
            stop_process(state.process, name=_NAME, wait_seconds=wait_seconds)
            # A state without a process here may be that of another machine of the same home.
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
        state = ServerState.of(process, port=env.local_port)
        write_json(_state_file(env), state)
        version = _wait_for_answer(env, state, wait_seconds=wait_seconds)
    except BaseException:
        # Whoever gave up waiting, by Ctrl-C too, must not leave a half-started server behind.
        stop_process(process, name=_NAME)
        _state_file(env).unlink(missing_ok=True)
        raise
    return Server(env, version, is_ours=True, is_new=True)


def _spawn(env: Environment) -> psutil.Process:
    return start_detached(
        ["server", "start", "--host", str(env.host), "--port", str(env.local_port)],
        log=_log_file(env),
        folder=env.prefect_home,
        variables=server_environment(env),
    )


def _wait_for_answer(env: Environment, state: ServerState, *, wait_seconds: float) -> str:
    deadline = time.monotonic() + wait_seconds
    # One client for all questions: making one reads all certificates of this machine.
    with httpx.Client(timeout=5.0, trust_env=False) as client:
        while time.monotonic() < deadline:
            # A server that is busy with its start may answer one question and not the next.
            if _is_healthy(client, env.server_url):
                found = probe(env.server_url).version
                if found is not None:
                    return found
            if state.process is None:
                raise _no_start(env, "its process ended")
            time.sleep(_POLL_SECONDS)
    raise _no_start(env, f"no answer within {wait_seconds:g} seconds")


def _is_healthy(client: httpx.Client, url: str) -> bool:
    try:
        response = client.get(f"{url}/health")
    except httpx.HTTPError:
        return False
    return response.is_success and response.text.strip() == "true"


def _no_start(env: Environment, found: str) -> SenseQuantError:
    return SenseQuantError(
        "Prefect server did not start",
        where=env.server_url,
        expected="an answer to /api/health",
        found="; ".join([found, *last_lines(_log_file(env))]),
        remedy=f"read {_log_file(env)}, then run `sensequant doctor`",
    )
