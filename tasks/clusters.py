"""Units on the workers of a Dask cluster: Prefect's runner for it, and what each worker must be.

Belongs here: everything that knows Dask. Does not belong here: threads (`tasks.runners`), the work
pools of GPUs (`tasks.shards`).

A worker does what a thread of this process would do, so it must have the same code, home and
Prefect server; where it differs, this is told before the first unit begins. Dask sends tasks as
pickled code: whoever reaches a scheduler can do what its workers can, so it belongs on a network
that only its owner reaches.

Dask is an extra of this project: import this module only where somebody asked for a cluster.
"""

import platform
import tempfile
from collections.abc import Generator, Iterable, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar, cast

import distributed
import httpx
import prefect
from prefect import Flow, allow_failure
from prefect.context import FlowRunContext, SettingsContext
from prefect.futures import PrefectFuture
from prefect.settings import Settings, get_current_settings
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect_dask.task_runners import DaskTaskRunner, PrefectDaskFuture

from blocks.environment import environment_now
from sensequant.errors import ConfigError
from sensequant.records import code_version

__all__ = ["cluster_runner", "facts_of_worker", "require_cluster"]

_CONNECT_SECONDS = 10
_SERVER_SECONDS = 5.0

_REMEDIES = {
    "code": "install the same sensequant there",
    "python": "use the same Python there",
    "prefect": "install the same sensequant there",
    "home": "start it with the same SENSEQUANT_HOME",
    "sees the home": "share the folder SENSEQUANT_HOME between the machines, at the same path",
    "reaches the server": "set PREFECT_API_URL to an address that its machine reaches",
}


def cluster_runner(address: str) -> TaskRunner[PrefectFuture[Any]]:
    """Return Prefect's runner for the cluster of a scheduler, given as dask://host:port."""
    return cast("TaskRunner[PrefectFuture[Any]]", _ClusterRunner(address=_tcp(address)))


def require_cluster(address: str) -> None:
    """Check that a cluster can execute units of this home.

    Parameters
    ----------
    address
        dask://host:port of its scheduler.

    Raises
    ------
    ConfigError
        The scheduler does not answer, has no worker, or one of its workers lacks this package or
        differs in code, Python, Prefect, home or server.
    """
    home = environment_now().home
    home.mkdir(parents=True, exist_ok=True)
    api = str(get_current_settings().api.url or "")
    # A path may be the same and the folder another one: only a file that was just made tells.
    with tempfile.NamedTemporaryFile(dir=home, prefix=".shared-") as mark:
        here = facts_of_worker(Path(mark.name), api)
        found = _ask_workers(address, Path(mark.name), api)
    if not found:
        raise ConfigError(
            "Dask cluster has no worker",
            where=address,
            expected="at least one worker",
            found="none",
            remedy="start one on each machine: see docs/operations.md",
        )
    for worker, facts in sorted(found.items()):
        for name in here:
            if facts.get(name) != here[name]:
                raise ConfigError(
                    "worker of the Dask cluster differs from this process",
                    where=f"{address}, worker {worker}",
                    expected=f"{name}: {here[name]}",
                    found=str(facts.get(name)),
                    remedy=_REMEDIES[name],
                )


def facts_of_worker(mark: Path, api: str) -> dict[str, str]:
    """Return what must be the same in all processes that do units of one run.

    Parameters
    ----------
    mark
        A file in the home of the process that asks.
    api
        Address of its Prefect server.
    """
    return {
        "code": code_version(),
        "python": platform.python_version(),
        "prefect": prefect.__version__,
        "home": str(environment_now().home),
        "sees the home": "yes" if mark.exists() else "no",
        "reaches the server": "yes" if _answers(api) else "no",
    }


class _ClusterRunner(DaskTaskRunner):
    def submit(
        self,
        task: Any,
        parameters: dict[str, Any],
        wait_for: Iterable[Any] | None = None,
        dependencies: dict[str, set[Any]] | None = None,
    ) -> Any:
        ended = [self._ended(each) for each in wait_for or ()]
        with _light_context():
            return super().submit(task, parameters, ended or None, dependencies)

    def _ended(self, awaited: Any) -> Any:
        # Dask takes `allow_failure` for a tuple and hands on what is in it, so that a unit would
        # not begin when one before it failed. It waits for this instead, whatever became of that.
        future = cast("Any", awaited).unwrap() if isinstance(awaited, allow_failure) else None
        if not isinstance(future, PrefectDaskFuture):
            return cast("Any", awaited)
        client: Any = self.client
        return client.submit(_nothing_of, cast("Any", future).wrapped_future)


def _nothing_of(_state: object) -> None:
    return None


@contextmanager
def _light_context() -> Generator[None]:
    """Let what is sent along with each unit be small, and readable by another process.

    A flow is sent whole, and what it says it returns may be a type that pydantic made and no other
    process finds. Of the settings Prefect makes a new copy for each unit, in 100 ms.
    """
    run, settings = FlowRunContext.get(), SettingsContext.get()
    with ExitStack() as stack:
        if run is not None and run.flow is not None:
            stack.enter_context(run.model_copy(update={"flow": _stand_in_for(run.flow.name)}))
        if settings is not None:
            stack.enter_context(
                _SettingsToSend(profile=settings.profile, settings=settings.settings)
            )
        yield


class _SettingsToSend(SettingsContext):
    """Settings that are copied once for all units."""

    _last: ClassVar[tuple[Settings, dict[str, Any]] | None] = None

    def serialize(self, include_secrets: bool = True) -> dict[str, Any]:
        last = _SettingsToSend._last
        if last is None or last[0] is not self.settings:
            last = _SettingsToSend._last = (self.settings, super().serialize(include_secrets))
        return last[1]


def _stand_in_for(name: str) -> Flow[[], None]:
    threads = cast("Any", ThreadPoolTaskRunner)()
    return Flow(_no_body, name=name, task_runner=threads)


def _no_body() -> None:
    """Take the place of a flow's body, which is not executed where its units are."""


def _ask_workers(address: str, mark: Path, api: str) -> Mapping[str, dict[str, str]]:
    try:
        client: Any = distributed.Client(
            _tcp(address), timeout=_CONNECT_SECONDS, set_as_default=False
        )
    except (OSError, TimeoutError) as error:
        raise ConfigError(
            "Dask scheduler does not answer",
            where=address,
            expected="a scheduler of Dask",
            found=" ".join(str(error).split()),
            remedy="start it, correct --runner, or leave it out to use threads",
        ) from error
    with closing(client):
        try:
            return client.run(facts_of_worker, mark, api)
        except Exception as error:
            # A worker that cannot load the question answers with no type of its own.
            raise ConfigError(
                "worker of the Dask cluster does not answer",
                where=address,
                expected="sensequant with its extra dask, as installed here",
                found=" ".join(str(error).split()),
                remedy="install it in the environment that starts the worker",
            ) from error


def _tcp(address: str) -> str:
    return address.replace("dask://", "tcp://", 1)


def _answers(api: str) -> bool:
    try:
        url = f"{api}/health"
        return httpx.get(url, timeout=_SERVER_SECONDS, trust_env=False).is_success
    except (httpx.HTTPError, httpx.InvalidURL):
        return False
