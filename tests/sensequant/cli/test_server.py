"""Facts about the server's life: one is started, exactly that one is stopped."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from blocks.environment import Environment, read_environment
from sensequant.cli import processes
from sensequant.cli import server as module
from sensequant.cli.app import main
from sensequant.cli.server import (
    Answering,
    ServerState,
    ensure_server,
    own_server,
    probe,
    stop_server,
)
from sensequant.errors import ConfigError, SenseQuantError
from sensequant.storage import write_json

PREFECT = {"/api/admin/version": '"3.8.8"', "/api/health": "true"}
Serve = Callable[[dict[str, str]], int]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Generator[Environment]:
    """Return the environment of a real server that two callers asked for at once."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PREFECT_API_URL", raising=False)
        env = read_environment(home=tmp_path_factory.mktemp("home"), port=port)
        try:
            with ThreadPoolExecutor(2) as pool:
                servers = list(pool.map(ensure_server, [env, env]))
            assert sorted(server.is_new for server in servers) == [False, True]
            assert all(server.is_ours for server in servers)
            yield env
        finally:
            stop_server(env)


@pytest.fixture
def shared(started: Environment) -> Environment:
    """Return the same, started again if a test has stopped it."""
    ensure_server(started)
    return started


@pytest.fixture
def sleeper() -> Generator[psutil.Process]:
    """Return a process of ours that ignores SIGTERM and has a child."""
    code = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        process = psutil.Process(child.pid)
        family = [process, *process.children()]
        yield process
        for one in family:
            if one.is_running():
                one.kill()


def state_of(process: psutil.Process, *, port: int, shift: float = 0.0) -> ServerState:
    return ServerState(
        pid=process.pid,
        process_created_at=process.create_time() + shift,
        port=port,
        started_at=datetime.now(UTC),
    )


def write_state(env: Environment, state: ServerState) -> None:
    write_json(env.prefect_home / "server.json", state)


@pytest.mark.slow
def test_server_answers_with_the_version_of_the_client(shared: Environment) -> None:
    """It is Prefect of this environment, on loopback."""
    from importlib.metadata import version  # noqa: PLC0415

    answer = probe(shared.server_url)

    assert answer.by is Answering.PREFECT
    assert answer.version == version("prefect")


@pytest.mark.slow
def test_running_server_is_found_on_the_port_where_it_is(shared: Environment) -> None:
    """Who chose no port gets the one of this home's server; who chose another is refused."""
    found = ensure_server(read_environment(home=shared.home))

    assert found.environment.local_port == shared.port
    assert (found.is_ours, found.is_new) == (True, False)
    with pytest.raises(ConfigError, match="already runs on another port"):
        ensure_server(read_environment(home=shared.home, port=shared.port - 1))


@pytest.mark.slow
def test_server_of_another_home_is_used_and_never_stopped(
    shared: Environment, tmp_path: Path
) -> None:
    """It is not ours to stop."""
    other = read_environment(home=tmp_path, port=shared.port)
    assert probe(other.server_url).by is Answering.PREFECT

    found = ensure_server(other)

    assert (found.is_ours, found.is_new) == (False, False)
    assert stop_server(other) is None
    assert probe(shared.server_url).by is Answering.PREFECT


@pytest.mark.slow
def test_page_of_a_run_is_served(shared: Environment) -> None:
    """The address that the summary prints leads to the UI, and is not sent elsewhere."""
    import httpx  # noqa: PLC0415

    address = f"{shared.ui_url}/v2/runs/flow-run/0f0f0f0f-0000-4000-8000-000000000001"
    response = httpx.get(address, headers={"accept": "text/html"}, trust_env=False)

    assert response.status_code == 200
    assert "<html" in response.text


@pytest.mark.slow
def test_up_finds_and_down_stops_once(
    shared: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    """`up` is idempotent, so is `down`; afterwards nobody answers and nothing is left."""
    place = ["--home", str(shared.home), "--port", str(shared.port)]
    state = own_server(shared)
    assert state is not None

    assert main(["up", "--server-only", *place]) == 0
    assert "server: found, Prefect " in capsys.readouterr().out
    assert main(["down", *place]) == 0
    assert f"server: stopped, process {state.pid}" in capsys.readouterr().out
    assert state.process is None
    assert probe(shared.server_url).by is Answering.NOBODY
    assert not (shared.prefect_home / "server.json").exists()
    assert main(["down", *place]) == 0
    assert capsys.readouterr().out == "server: none of ours was running\n"


def test_nobody_on_a_free_port(free_port: int) -> None:
    """A refused connection is an answer."""
    assert probe(f"http://127.0.0.1:{free_port}/api").by is Answering.NOBODY


def test_port_of_something_else_is_a_wrong_request(serve: Serve, tmp_path: Path) -> None:
    """The error names port, what was found, and how to choose another."""
    port = serve({"/": "hello"})

    with pytest.raises(ConfigError) as caught:
        ensure_server(read_environment(home=tmp_path, port=port))

    assert caught.value.where == f"127.0.0.1:{port}"
    assert "404" in caught.value.found
    assert "--port" in caught.value.remedy
    assert "SENSEQUANT_PORT" in caught.value.remedy


def test_page_that_is_no_version_is_not_prefect(serve: Serve) -> None:
    """A web application may answer every path with its start page."""
    port = serve({"/api/admin/version": "<html>"})

    assert probe(f"http://127.0.0.1:{port}/api").by is Answering.OTHER


def test_port_that_speaks_no_http_is_something_else(tmp_path: Path) -> None:
    """A listener that closes every connection is found out, too."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]

        def hang_up() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1024)

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(ConfigError, match="no HTTP answer"):
            ensure_server(read_environment(home=tmp_path, port=port))
        thread.join()


def test_prefect_server_of_somebody_else_is_used(serve: Serve, tmp_path: Path) -> None:
    """No process is started beside it."""
    env = read_environment(home=tmp_path, port=serve(PREFECT))

    server = ensure_server(env)

    assert (server.version, server.is_ours, server.is_new) == ("3.8.8", False, False)
    assert own_server(env) is None


def test_server_elsewhere_must_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """None is started in place of the one that PREFECT_API_URL names."""
    monkeypatch.setenv("PREFECT_API_URL", "https://127.0.0.1:9/api")

    with pytest.raises(ConfigError, match="PREFECT_API_URL"):
        ensure_server(read_environment(home=tmp_path))


def test_server_elsewhere_is_used(
    monkeypatch: pytest.MonkeyPatch, serve: Serve, tmp_path: Path
) -> None:
    """A server that is not on loopback is taken as it is."""
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{serve(PREFECT)}/api")
    monkeypatch.setattr(Environment, "local_port", None)

    assert ensure_server(read_environment(home=tmp_path)).version == "3.8.8"


def test_server_that_is_still_starting_is_waited_for(
    serve: Serve, sleeper: psutil.Process, tmp_path: Path
) -> None:
    """The state names a process, so the answer will come."""
    env = read_environment(home=tmp_path, port=serve(PREFECT))
    write_state(env, state_of(sleeper, port=env.port))

    server = ensure_server(env)

    assert (server.is_ours, server.is_new) == (True, False)


def test_answer_that_does_not_come_ends_the_wait(
    sleeper: psutil.Process, tmp_path: Path, free_port: int
) -> None:
    """The error says how long it waited and where the log is."""
    env = read_environment(home=tmp_path, port=free_port)
    write_state(env, state_of(sleeper, port=env.port))

    with pytest.raises(SenseQuantError, match=r"no answer within 0\.5 seconds.*server\.log"):
        ensure_server(env, wait_seconds=0.5)


def test_server_that_dies_while_starting_leaves_its_last_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free_port: int
) -> None:
    """Nothing is left behind, and the error quotes the log."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho broken >&2\nexit 3\n", encoding="utf-8")
    python.chmod(0o755)
    monkeypatch.setattr(processes.sys, "executable", str(python))
    env = read_environment(home=tmp_path, port=free_port)

    with pytest.raises(SenseQuantError, match=r"its process ended; broken; .*server\.log"):
        ensure_server(env)

    assert own_server(env) is None
    assert not (env.prefect_home / "server.json").exists()


def test_who_gives_up_waiting_leaves_no_server_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free_port: int
) -> None:
    """Ctrl-C while the server starts stops it."""
    pids: list[int] = []

    def interrupted(_env: Environment, state: ServerState, *, wait_seconds: float) -> str:
        pids.append(state.pid)
        assert wait_seconds > 0
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_wait_for_answer", interrupted)
    env = read_environment(home=tmp_path, port=free_port)

    with pytest.raises(KeyboardInterrupt):
        ensure_server(env)

    assert not psutil.pid_exists(pids[0])
    assert not (env.prefect_home / "server.json").exists()


def test_process_that_ignores_sigterm_is_killed_with_its_children(
    sleeper: psutil.Process, tmp_path: Path
) -> None:
    """By their ids, after two signals; then they are gone."""
    env = read_environment(home=tmp_path)
    children = sleeper.children()
    write_state(env, state_of(sleeper, port=env.port))
    started = time.monotonic()

    stopped = stop_server(env, wait_seconds=0.3)

    assert stopped is not None
    assert stopped.pid == sleeper.pid
    assert not any(processes.is_alive(one) for one in [sleeper, *children])
    assert time.monotonic() - started > 0.6


def test_other_process_under_the_same_id_is_left_alone(
    sleeper: psutil.Process, tmp_path: Path
) -> None:
    """An id that was given to a new process belongs to it."""
    env = read_environment(home=tmp_path)
    write_state(env, state_of(sleeper, port=env.port, shift=-60))

    assert stop_server(env) is None
    assert sleeper.is_running()


def test_dead_or_unreadable_state_is_no_server(tmp_path: Path) -> None:
    """A state that outlived its process, or was cut, is passed over."""
    env = read_environment(home=tmp_path)
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        created_at = psutil.Process(child.pid).create_time()
        child.wait()
    dead = ServerState(
        pid=child.pid, process_created_at=created_at, port=1, started_at=datetime.now(UTC)
    )
    write_state(env, dead)

    assert own_server(env) is None
    assert stop_server(env) is None
    env.prefect_home.joinpath("server.json").write_text("{", encoding="utf-8")
    assert own_server(env) is None
    assert stop_server(env) is None


def test_state_of_another_machine_stays(tmp_path: Path) -> None:
    """Who shares a home with the machine of the server, and stops, does not hide that server."""
    env = read_environment(home=tmp_path)
    elsewhere = ServerState(
        pid=2**22 - 1, process_created_at=0.0, port=1, started_at=datetime.now(UTC)
    )
    write_state(env, elsewhere)

    assert stop_server(env) is None

    assert (env.prefect_home / "server.json").exists()


def test_process_that_survives_everything_is_an_error(
    monkeypatch: pytest.MonkeyPatch, sleeper: psutil.Process, tmp_path: Path
) -> None:
    """A process in uninterruptible sleep stays after SIGKILL; that is said."""
    env = read_environment(home=tmp_path)
    write_state(env, state_of(sleeper, port=env.port))

    def no_effect(_process: psutil.Process, _name: str) -> None:
        pass

    monkeypatch.setattr(processes, "_signal", no_effect)

    with pytest.raises(SenseQuantError, match="not stopped"):
        stop_server(env, wait_seconds=0.05)


def test_process_that_is_gone_already_is_no_error() -> None:
    """Between looking and acting a process may end by itself."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        process = psutil.Process(child.pid)
        child.communicate()

    processes.stop_process(process, name="it", wait_seconds=0.1)

    assert not processes.is_alive(process)
