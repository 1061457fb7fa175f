"""Facts about the simulator of the vendor as a program: where it is, how it is found, its end."""

import io
import threading
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from sensequant.breeze_simulator.limits import UNLIMITED, Limits
from sensequant.breeze_simulator.server import BreezeSimulator
from sensequant.cli import simulator as module
from sensequant.cli.app import main
from sensequant.cli.output import console_for
from sensequant.cli.simulator import serve_simulator
from sensequant.errors import ConfigError
from sensequant.ingestion.places import market_digest
from sensequant.ingestion.simulators import running_simulator, simulator_file
from sensequant.market.sources.build import SourceConfig
from sensequant.market.sources.simulated import SimulatedConfig

SOURCE = SourceConfig(
    kind="breeze-simulator", simulated=SimulatedConfig(n_symbols=2, has_events=False)
)
PATIENCE_SECONDS = 20.0

Serving = Callable[..., AbstractContextManager[io.StringIO]]


@pytest.fixture
def serving(tmp_path: Path) -> Serving:
    """Return a simulator as a program that serves while a body runs; its words are the value."""

    @contextmanager
    def serve(*, home: Path = tmp_path, **settings: Any) -> Generator[io.StringIO]:
        until = threading.Event()
        output = io.StringIO()
        given = {"ports": (0, 0), "faults": (), "is_unlimited": True}
        thread = threading.Thread(
            target=serve_simulator,
            args=(console_for(output), SOURCE, home),
            kwargs={**given, **settings, "until": until},
        )
        thread.start()
        try:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while "stop: " not in output.getvalue():
                assert thread.is_alive()
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield output
        finally:
            until.set()
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive()

    return serve


def facts_of(output: io.StringIO) -> dict[str, str]:
    return dict(line.split(": ", maxsplit=1) for line in output.getvalue().splitlines())


def test_a_running_simulator_tells_where_it_is(serving: Serving, tmp_path: Path) -> None:
    """On the terminal and in a file; runs with the same market find it, and none after its end."""
    digest = market_digest(SOURCE)
    with serving() as output:
        facts = facts_of(output)
        found = running_simulator(tmp_path, digest)
        other = running_simulator(tmp_path, market_digest(SourceConfig(kind="breeze-simulator")))

    assert found is not None
    assert (facts["v1"], facts["v2"]) == (found.endpoints.v1, found.endpoints.v2)
    assert facts["stream"] == found.endpoints.stream
    assert facts["v1"].startswith("http://127.0.0.1:")
    assert (facts["symbols"], facts["stop"]) == ("2", "Ctrl-C")
    assert facts["runs find it by"] == str(simulator_file(tmp_path))
    assert other is None
    assert not simulator_file(tmp_path).exists()
    assert running_simulator(tmp_path, digest) is None
    with pytest.raises(httpx.ConnectError):
        httpx.get(found.endpoints.v1, trust_env=False)


def test_secrets_of_the_simulator_are_not_printed(serving: Serving, tmp_path: Path) -> None:
    """They are worth nothing, and yet a terminal is no place for them."""
    with serving() as output:
        found = running_simulator(tmp_path, market_digest(SOURCE))
        assert found is not None
        told = output.getvalue()
    for secret in (found.login.api_key, found.login.secret_key, found.login.session_token):
        assert secret.get_secret_value() not in told


def test_the_end_of_one_does_not_hide_another(serving: Serving, tmp_path: Path) -> None:
    """Whoever was announced last is found until its own end."""
    with ExitStack() as first, ExitStack() as second:
        first.enter_context(serving())
        told = facts_of(second.enter_context(serving()))
        first.close()
        found = running_simulator(tmp_path, market_digest(SOURCE))
        assert found is not None
        assert found.endpoints.v1 == told["v1"]
    assert not simulator_file(tmp_path).exists()


def test_a_file_that_somebody_took_away_is_no_trouble(serving: Serving, tmp_path: Path) -> None:
    """A home may be emptied while a simulator runs."""
    with serving():
        simulator_file(tmp_path).unlink()
    assert not simulator_file(tmp_path).exists()


def test_a_taken_port_is_a_clear_error(serving: Serving, tmp_path: Path) -> None:
    """It names the port; the simulator that has it stays announced."""
    with serving() as output:
        port = urlsplit(facts_of(output)["v1"]).port
        before = simulator_file(tmp_path).read_bytes()
        with pytest.raises(ConfigError, match=rf"cannot listen.*127\.0\.0\.1:{port}"):
            serve(tmp_path, ports=(port or 0, 0))
        assert simulator_file(tmp_path).read_bytes() == before


def serve(home: Path, **settings: Any) -> None:
    given: dict[str, Any] = {"ports": (0, 0), "faults": (), "is_unlimited": False, **settings}
    serve_simulator(console_for(io.StringIO()), SOURCE, home, **given)


def test_an_unknown_fault_is_named_before_anything_is_served(tmp_path: Path) -> None:
    """With the names that are near."""
    with pytest.raises(ConfigError, match=r"no such fault.*html_503"):
        serve(tmp_path, faults=("html_505",))
    assert not simulator_file(tmp_path).exists()


@pytest.mark.parametrize(("is_unlimited", "limits"), [(True, UNLIMITED), (False, Limits())])
def test_faults_and_limits_reach_the_simulator(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_unlimited: bool, limits: Limits
) -> None:
    """Without the switch the vendor's limits hold."""
    made: list[dict[str, Any]] = []

    class Seen(BreezeSimulator):
        def __init__(self, *args: Any, **settings: Any) -> None:
            made.append(settings)
            super().__init__(*args, **settings)

    monkeypatch.setattr(module, "BreezeSimulator", Seen)
    over = threading.Event()
    over.set()

    serve(tmp_path, faults=("slow:seconds=1",), is_unlimited=is_unlimited, until=over)

    assert made[0]["limits"] == limits
    assert [(fault.name, fault.seconds) for fault in made[0]["faults"]] == [("slow", 1.0)]
    assert made[0]["clock"]().tzinfo is not None


def test_ctrl_c_ends_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is taken away, and the exit code is that of an interrupted program."""

    class Interrupted(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            if threading.current_thread() is threading.main_thread() and timeout is None:
                assert simulator_file(tmp_path).exists()
                raise KeyboardInterrupt
            return super().wait(timeout)

    monkeypatch.setattr(module, "Event", Interrupted)

    words = ["breeze-simulator", "--port", "0", "--stream-port", "0", "--home", str(tmp_path)]
    assert main(words) == 130

    output = capsys.readouterr()
    assert "v2: http://127.0.0.1:" in output.out
    assert output.err == "interrupted\n"
    assert not simulator_file(tmp_path).exists()
