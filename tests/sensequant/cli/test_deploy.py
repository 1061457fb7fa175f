"""Facts about deploying: to which server, in which order, and what a second time keeps."""

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from blocks.environment import PREFECT_FILES, read_environment
from sensequant.cli import deploy as module
from sensequant.cli.app import main
from sensequant.cli.deploy import find_server
from sensequant.errors import ConfigError, SenseQuantError

Serve = Callable[[dict[str, str]], int]


def test_server_must_answer(
    tmp_path: Path, free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody on the port is a wrong request, with the command that starts a server."""
    code = main(["deploy", "--home", str(tmp_path), "--port", str(free_port)])

    said = capsys.readouterr().err
    assert code == 2
    assert f"127.0.0.1:{free_port}" in said
    assert "`sensequant up`" in said


def test_server_of_another_version_is_refused(serve: Serve, tmp_path: Path) -> None:
    """What one version registers another may misread."""
    port = serve({"/api/admin/version": '"2.0.0"'})

    with pytest.raises(ConfigError) as caught:
        find_server(read_environment(home=tmp_path, port=port))

    assert (caught.value.expected, caught.value.found) == (version("prefect"), "2.0.0")


def test_server_of_this_version_is_taken(serve: Serve, tmp_path: Path) -> None:
    """Where it is was said."""
    port = serve({"/api/admin/version": f'"{version("prefect")}"'})

    assert find_server(read_environment(home=tmp_path, port=port)).local_port == port


class Server:
    """Has deployments with schedules, some of which somebody switched on."""

    def __init__(self, **switches: dict[str, bool]) -> None:
        self.deployments = [
            SimpleNamespace(
                name=name.replace("_", "-"),
                schedules=[
                    SimpleNamespace(slug=slug, active=active) for slug, active in slugs.items()
                ],
            )
            for name, slugs in switches.items()
        ]

    def read_deployments(self, *, limit: int, offset: int) -> list[Any]:
        """Return one page."""
        return self.deployments[offset : offset + limit]


def test_schedule_stays_as_somebody_switched_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is on stays on, what is new or off is off; all else is that of prefect.yaml."""
    handed_on: list[dict[str, Any]] = []

    def take(wanted: dict[str, Any], _env: object) -> None:
        handed_on.append(wanted)

    monkeypatch.setattr(module, "_run_prefect_deploy", take)
    server: Any = Server(
        retrain_pilot={"weekly": True, "monthly": False}, retrain_nifty100={"quarterly": True}
    )

    said = dict(module._deploy_flows(server, read_environment(home=tmp_path)))

    assert said["deployment retrain-pilot"] == (
        "set, schedule weekly on, schedule monthly off, schedule quarterly off"
    )
    assert said["deployment ingest-daily"] == "made, schedule after-the-close off"
    (wanted,) = handed_on
    switches = {
        (deployment["name"], schedule["slug"])
        for deployment in wanted["deployments"]
        for schedule in deployment.get("schedules", ())
        if schedule.pop("active")
    }
    assert switches == {("retrain-pilot", "weekly"), ("retrain-nifty100", "quarterly")}
    written = yaml.safe_load(PREFECT_FILES[0].read_text(encoding="utf-8"))
    # This machine has no GPU: nothing is deployed for one.
    written["deployments"] = [d for d in written["deployments"] if "{device}" not in d["name"]]
    for deployment in written["deployments"]:
        for schedule in deployment.get("schedules", ()):
            del schedule["active"]
    assert wanted == written


def test_refusal_of_prefect_is_handed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its last words, and an exit code that is not zero."""
    python = tmp_path / "python"
    python.write_text(
        '#!/bin/sh\ntest "$PREFECT_SERVER_ALLOW_EPHEMERAL_MODE" = false || exit 0\n'
        'cat "$7" | head -n 1\necho no such pool >&2\nexit 1\n',
        encoding="utf-8",
    )
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))

    with pytest.raises(SenseQuantError, match="no such pool") as caught:
        module._run_prefect_deploy({"deployments": []}, read_environment(home=tmp_path))

    assert "deployments: []" in caught.value.found


def test_deployments_that_are_missing_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The file is part of the package."""
    monkeypatch.setattr(module, "PREFECT_FILES", (tmp_path / "prefect.yaml",))

    with pytest.raises(ConfigError, match=r"prefect\.yaml"):
        module._read_deployments()


def test_prefect_is_not_loaded_before_its_variables_are_set() -> None:
    """It reads them when it is imported."""
    code = (
        "import sys, sensequant.cli.up, sensequant.cli.deploy; sys.exit('prefect' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
