"""Facts about environments from the terminal: a drill of the rollback, refusals, what is shown."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import SecretStr

from sensequant.cli import promoting
from sensequant.cli.app import main
from sensequant.release.deployment_records import EnvironmentName
from sensequant.release.environments import read_pointer
from sensequant.release.models import models_folder
from sensequant.release.signature import public_key_of, sign_manifest
from sensequant.stages import moving
from sensequant.stages.moving import history_of

World = Any
"""The home that the fixture `world` makes (`tests/conftest.py`)."""

Say = Callable[..., tuple[int, str, str]]
START = datetime(2023, 6, 30, 12, tzinfo=UTC)
WHO = ["--by", "bo", "--reason", "because"]


class Clock:
    """The time that commands read."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        """Return the instant at which it stands."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return a clock that stands at the first delivery until a test moves it."""
    clock = Clock()
    monkeypatch.setattr(promoting, "_now", clock)
    return clock


@pytest.fixture
def say(world: World, capsys: pytest.CaptureFixture[str], clock: Clock) -> Say:
    """Return what types a command for the home and reads exit code, answer and error."""
    assert clock

    def say(*words: str) -> tuple[int, str, str]:
        code = main([*words, "--home", str(world.home)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return say


def run_of(world: World, number: int) -> str:
    return world.folder(number).run_id


def test_drill_of_the_rollback(world: World, say: Say, clock: Clock, tmp_path: Path) -> None:
    """Two models go to production one after the other; the first one comes back and scores."""

    def scores(name: str, environment: str = "production") -> pl.DataFrame:
        path = tmp_path / f"{name}.csv"
        asked = ["--env", environment, "--start", "2023-07-14", "--end", "2023-07-14"]
        code, out, _ = say("predict", *asked, "--output", str(path))
        assert code == 0
        assert f"environment: {environment}" in out
        return pl.read_csv(path)

    assert say("environments")[1].count("nothing") == 2
    assert say("stage", run_of(world, 1), *WHO)[0] == 0
    code, out, err = say("promote", run_of(world, 1), *WHO)
    assert (code, read_pointer(world.home, EnvironmentName.PRODUCTION)) == (1, None)
    assert "staging_hours" in out
    assert "not ready to promote" in err

    clock.now = START + timedelta(days=14)
    world.deliver(date(2023, 7, 14))
    code, out, _ = say("promote", run_of(world, 1), *WHO)
    assert code == 0
    assert "a rollback would restore: nothing" in out
    assert "simulated" in out
    first = scores("first")
    assert say("stage", run_of(world, 2), *WHO)[0] == 0
    clock.now = START + timedelta(days=27)
    world.deliver(date(2023, 7, 27))
    code, out, _ = say("promote", run_of(world, 2), *WHO)
    assert code == 0
    assert "a rollback would restore: deployment 2" in out
    assert not scores("second").equals(first)

    code, out, _ = say("rollback", "--by", "ann", "--reason", "it drifts")

    assert code == 0
    assert "5, rollback by ann: it drifts" in out
    assert scores("third").equals(first)
    assert say("rollback", *WHO)[0] == 1
    code, out, _ = say("environments")
    assert code == 0
    (stand,) = [line for line in out.splitlines() if line.startswith("production")]
    assert run_of(world, 1) in stand
    assert stand.endswith("2023-07-27 12:00 UTC  ann  it drifts")
    assert [line.split()[0] for line in out.splitlines()[-5:]] == ["5", "4", "3", "2", "1"]
    code, out, _ = say("environments", "--json")
    told = json.loads(out)
    assert told["environments"]["production"]["pointer"]["number"] == 5
    assert [each["kind"] for each in told["history"]] == [
        "stage",
        "promote",
        "stage",
        "promote",
        "rollback",
    ]
    assert "retired" not in say("candidates")[1].splitlines()[1]


def test_check_moves_nothing(world: World, say: Say) -> None:
    """Every check with what was expected and found; the exit code says whether it is ready."""
    code, out, _ = say("stage", run_of(world, 1), "--check", *WHO)
    assert code == 0
    assert "ready to stage: pass" in out

    code, out, _ = say(
        "stage", run_of(world, 1), "--check", "--set", "require_signature=true", *WHO
    )
    assert code == 1
    assert "fail, 1 of 13 checks" in out
    assert history_of(world.home) == []


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["stage", "other", *WHO], 2, "run is unknown"),
        (["stage", "00000001", "--by", "bo"], 2, "reason"),
        (["stage", "00000001", "--by", " ", "--reason", "x"], 2, "actor was empty"),
        (["stage", "00000001", *WHO, "--set", "staging_hours=-1"], 2, "greater than or equal"),
        (["stage", "00000001", *WHO, "--set", "patience=1"], 2, "patience"),
        (["promote", "00000001", *WHO], 1, "nothing is in staging"),
        (["rollback", *WHO], 1, "nothing to roll back to"),
        (["rollback", "--env", "elsewhere", *WHO], 2, "elsewhere"),
        (["predict", "--env", "production"], 2, "nothing is deployed"),
        (["predict", "--env", "staging", "--run", "latest"], 2, "said twice"),
    ],
)
def test_refusal_says_why(world: World, say: Say, words: list[str], code: int, said: str) -> None:
    """Nothing has moved then."""
    found = say(*words)

    assert found[0] == code
    assert said in found[2]
    assert history_of(world.home) == []


def test_damaged_model_is_shown_and_exits_with_1(world: World, say: Say) -> None:
    """Whoever looks at the environments verifies every byte of them."""
    assert say("stage", run_of(world, 1), *WHO)[0] == 0
    (path,) = models_folder(world.home).glob("*/candidate/universe.json")
    path.chmod(0o600)
    path.write_text(path.read_text() + " ")

    code, out, _ = say("environments")

    assert code == 1
    assert "universe.json is altered" in out
    assert say("predict", "--env", "staging")[0] == 1


def test_what_a_killed_command_left_is_settled_and_told(
    world: World, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the next look at the environments."""

    class KilledError(BaseException):
        pass

    def die(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(moving, "write_pointer", die)
        # A process that is killed settles nothing.
        patch.setattr(moving, "_settle", lambda *_, **__: [])  # pyright: ignore[reportUnknownLambdaType,reportUnknownArgumentType]
        with pytest.raises(KilledError):
            main(["stage", run_of(world, 1), *WHO, "--home", str(world.home)])
    assert history_of(world.home)[0].outcome is None

    code, out, _ = say("environments")

    assert code == 0
    assert "settled deployment 1: interrupted before the pointer moved" in out
    assert history_of(world.home)[0].outcome == "abandoned"


def test_verify_says_who_signed(world: World, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody, somebody, somebody whom this machine does not trust, or a broken signature."""
    run = run_of(world, 1)
    key = SecretStr("11" * 32)
    code, out, _ = say("verify", run)
    assert code == 0
    assert out.splitlines() == [
        f"run: {run}",
        "manifest: ok, every file is as it says",
        "signature: unsigned: nobody vouches for it",
    ]

    sign_manifest(world.folder(1), key)
    code, out, _ = say("verify", run)
    assert code == 0
    assert f"signature: signed by {public_key_of(key)}" in out
    monkeypatch.setenv("SENSEQUANT_TRUSTED_KEYS", f"{'0' * 64}, {public_key_of(key)}")
    assert say("verify", run)[0] == 0
    monkeypatch.setenv("SENSEQUANT_TRUSTED_KEYS", "0" * 64)
    code, out, _ = say("verify", run)
    assert code == 1
    assert "not among the trusted ones" in out
    assert say("stage", run, *WHO)[0] == 1
    monkeypatch.setenv("SENSEQUANT_TRUSTED_KEYS", "a key")
    assert say("verify", run)[0] == 2
