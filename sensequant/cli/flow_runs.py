"""Executing a flow beside a person at a terminal: server, environment, progress, its end.

Belongs here: what every command that starts a flow shares. Does not belong here: which flow, with
what, and what is printed of it.

Prefect reads its variables when it is imported, so a flow is imported only after they are set.
"""

import importlib
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from blocks.environment import Environment, apply_variables, prefect_environment
from sensequant.cli.output import console_for
from sensequant.cli.progress import show_progress
from sensequant.cli.server import Server, ensure_server, require_same_version
from sensequant.errors import SenseQuantError

Returned = TypeVar("Returned")

__all__ = ["FlowRun", "execute_flow", "flow_variables", "page_of_flow_run", "serve"]


class FlowRun:
    """How a flow run ended.

    Parameters
    ----------
    state
        Its final state.
    environment
        Where its page is.
    """

    def __init__(self, state: Any, environment: Environment) -> None:
        self._state = state
        self._environment = environment

    @property
    def is_failed(self) -> bool:
        """Whether it did not complete."""
        state = self._state
        return bool(state.is_failed() or state.is_crashed() or state.is_cancelled())

    @property
    def outcome(self) -> str:
        """Name of the final state, in lower case."""
        return str(self._state.name).lower()

    @property
    def value(self) -> Any:
        """What the flow returned; the exception where it raised one."""
        return self._state.result(raise_on_failure=False)

    @property
    def page(self) -> str | None:
        """Address of the run's page."""
        details = self._state.state_details
        return page_of_flow_run(details.flow_run_id, self._environment)

    def returned(self, kind: type[Returned], *, where: str, nothing: str) -> Returned:
        """Return what the flow returned.

        Parameters
        ----------
        kind
            What it returns where it came to an end.
        where
            What it worked on, for the message.
        nothing
            What to say where it ended well and returned something else.

        Raises
        ------
        SenseQuantError
            It failed, or returned nothing of this kind.
        """
        value = self.value
        if isinstance(value, kind):
            return value
        raise self.failure(where=where) or SenseQuantError(nothing)

    def failure(self, *, where: str) -> SenseQuantError | None:
        """Return why it failed, or None where it did not."""
        if not self.is_failed:
            return None
        value = self.value
        if isinstance(value, SenseQuantError):
            return value
        return SenseQuantError(
            "run failed",
            where=where,
            found=" ".join(str(self._state.message or value).split()),
            remedy="run again with --verbose, or read the logs on the run's page",
        )


def serve(env: Environment, *, is_verbose: bool) -> Environment:
    """Start the server if none answers, and let Prefect of this process report to it.

    Raises
    ------
    ConfigError
        The server is of another version, or none can be had where it was asked for.
    SenseQuantError
        The server did not start.
    """
    server = ensure_server(env)
    require_same_version(server.environment.server_url, server.version)
    console_for(sys.stderr).print(_server_in_words(server))
    apply_variables(flow_variables(server.environment, is_verbose=is_verbose))
    return server.environment


def execute_flow(
    entrypoint: str,
    env: Environment,
    *,
    telemetry: Path | None,
    is_verbose: bool,
    **parameters: Any,
) -> FlowRun:
    """Execute a flow in this process and return how it ended.

    Parameters
    ----------
    entrypoint
        `flows.module:function`.
    env
        The environment that `serve` returned.
    telemetry
        File of events to draw progress from; None draws none.
    is_verbose
        Show Prefect's log instead of progress.
    parameters
        Those of the flow.
    """
    module, _, name = entrypoint.partition(":")
    flow = getattr(importlib.import_module(module), name)
    with _progress(None if is_verbose else telemetry):
        state = flow(**parameters, return_state=True)
    return FlowRun(state, env)


def flow_variables(env: Environment, *, is_verbose: bool) -> dict[str, str]:
    """Return the variables of a process that executes a flow beside a person at a terminal."""
    variables = prefect_environment(env)
    if not is_verbose:
        # The run's page has every line; the terminal shows progress and the end.
        variables["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"
    return variables


def page_of_flow_run(flow_run_id: Any, env: Environment) -> str | None:
    """Return the address of a run's page in Prefect's UI, if the run reached the server."""
    return None if flow_run_id is None else f"{env.ui_url}/v2/runs/flow-run/{flow_run_id}"


def _progress(telemetry: Path | None) -> AbstractContextManager[None]:
    if telemetry is None:
        return nullcontext()
    return show_progress(telemetry, console_for(sys.stderr))


def _server_in_words(server: Server) -> str:
    env = server.environment
    origin = "started" if server.is_new else "found"
    owner = "" if server.is_ours else ", not ours"
    return f"Prefect {server.version} {origin} at {env.ui_url}{owner}"
