"""Facts about the command line: exit codes, one message per error, and what is loaded when."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sensequant import __version__
from sensequant.cli import app as module
from sensequant.cli import show, stored
from sensequant.cli.app import main
from sensequant.cli.stored import StoredRun
from sensequant.errors import StorageError
from sensequant.release import manifest
from sensequant.release.manifest import ManifestProblem, ProblemKind
from sensequant.runs import RunFolder

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], []])
def test_help_is_an_answer(words: list[str], capsys: Capture) -> None:
    """It goes to standard output, with exit code 0."""
    assert main(words) == 0
    assert "sensequant" in capsys.readouterr().out


def test_version_is_that_of_the_library(capsys: Capture) -> None:
    """One line, nothing else."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


@pytest.mark.parametrize(
    "words",
    [
        ["fly"],
        ["show"],
        ["run", "--bogus"],
        ["run", "--workers", "many"],
        ["runs", "--port", "1"],
        ["run", "--run", "latest", "--seed", "1"],
        ["run", "--start", "2024-01-01", "--end", "2023-01-01"],
        ["show", "latest"],
        ["verify", "latest"],
    ],
)
def test_wrong_request_exits_with_two_and_one_message(words: list[str], capsys: Capture) -> None:
    """No traceback, nothing on standard output."""
    assert main(words) == 2

    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: ")
    assert output.err.count("\n") == 1


def test_traceback_is_shown_only_when_asked(capsys: Capture) -> None:
    """The message stands after it all the same."""
    assert main(["show", "latest", "--debug"]) == 2

    output = capsys.readouterr().err
    assert output.startswith("Traceback")
    assert "\nerror: run is unknown" in output


def test_runs_and_show_read_the_home(home: Path, capsys: Capture) -> None:
    """A table, a page, and JSON of the same run."""
    place = ["--home", str(home)]

    assert main(["runs", *place]) == 0
    assert "bbbb2222" in capsys.readouterr().out
    assert main(["show", "1111", *place, "--files"]) == 0
    assert "model.txt" in capsys.readouterr().out
    assert main(["show", "1111", *place, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "completed"


def test_run_that_was_never_audited_cannot_be_verified(home: Path, capsys: Capture) -> None:
    """A missing manifest is an error, not an agreement."""
    assert main(["verify", "2222", "--home", str(home)]) == 1
    assert "manifest" in capsys.readouterr().err


def test_verify_names_every_file_that_differs(
    monkeypatch: pytest.MonkeyPatch, home: Path, capsys: Capture
) -> None:
    """Exit code 1 with problems, 0 without."""
    problem = ManifestProblem(
        path="predictions.parquet", kind=ProblemKind.ALTERED, expected="a", found="b"
    )
    problems = [problem]

    def verify(_folder: RunFolder) -> list[ManifestProblem]:
        return problems

    monkeypatch.setattr(manifest, "verify_manifest", verify)
    assert main(["verify", "1111", "--home", str(home)]) == 1
    assert "altered: predictions.parquet\nmanifest: fail\n" in capsys.readouterr().out

    problems.clear()
    assert main(["verify", "1111", "--home", str(home)]) == 0
    assert "manifest: ok" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (StorageError("disk is full"), 1, "error: disk is full\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (ZeroDivisionError("oh"), 1, "error: unexpected error; found: ZeroDivisionError: oh"),
    ],
)
def test_errors_become_exit_codes(
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
    error: BaseException,
    code: int,
    words: str,
) -> None:
    """One of ours, Ctrl-C, and what nobody foresaw."""

    def fail(*_: object) -> None:
        raise error

    def no_runs(_home: Path) -> list[StoredRun]:
        return []

    monkeypatch.setattr(show, "show_runs", fail)
    monkeypatch.setattr(stored, "stored_runs", no_runs)

    assert main(["runs"]) == code
    assert capsys.readouterr().err.startswith(words)


def test_port_of_something_else_ends_the_run_before_it_begins(
    tmp_path: Path, capsys: Capture
) -> None:
    """No run folder is made when there is no server to run on."""
    import socket  # noqa: PLC0415

    with socket.create_server(("127.0.0.1", 0)) as listener:
        # A listener that never answers: the probe gives up by itself.
        port: int = listener.getsockname()[1]
        code = main(["run", "--home", str(tmp_path), "--port", str(port)])

    assert code == 2
    assert str(port) in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_help_loads_neither_prefect_nor_the_library() -> None:
    """Prefect reads its variables when it is imported, so that nothing may load it early."""
    code = (
        "import sys, sensequant.cli.app\n"
        "import sensequant.cli.asking, sensequant.cli.run, sensequant.cli.doctor\n"
        "sys.exit('prefect' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_program_is_a_module_too() -> None:
    """`python -m sensequant.cli.app` is the same program, without control characters in a pipe."""
    done = subprocess.run(
        [sys.executable, "-m", module.__name__, "show", "latest"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "\x1b" not in done.stderr
