"""The ledger of trials: nobody can under-count, and whoever tries is found out."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sensequant.trials import (
    ANCHOR_NAME,
    Scope,
    Trial,
    TrialKind,
    count_trials,
    read_ledger,
    record_trials,
    returns_of,
    store_returns,
)

SCOPE = Scope(
    market="nse", symbols=("RELIANCE", "TCS"), start=date(2022, 1, 1), end=date(2023, 12, 31)
)
RUN = "live_candidate_20240101_000000_0000000a"


def fit(settings: str, scope: Scope = SCOPE) -> Trial:
    return Trial(kind=TrialKind.FIT, scope=scope, settings_digest=settings * 64)


def contender(settings: str, returns: str, sharpe: float | None = 0.1, **fields: Any) -> Trial:
    return Trial(
        kind=TrialKind.CONTENDER,
        scope=fields.get("scope", SCOPE),
        settings_digest=settings * 64,
        name=fields.get("name", "deployed"),
        n_sessions=10,
        sharpe_session=sharpe,
        returns_digest=returns * 64,
    )


def search(settings: str, window: str, n_settings: int) -> Trial:
    return Trial(
        kind=TrialKind.SEARCH,
        scope=SCOPE,
        settings_digest=settings * 64,
        name=window,
        n_settings=n_settings,
    )


def ledger_of(home: Path) -> Path:
    return home / "trials" / "ledger.jsonl"


def lines_of(home: Path) -> list[bytes]:
    return ledger_of(home).read_bytes().splitlines(keepends=True)


def anchored(home: Path, run_id: str = RUN) -> None:
    """Let a run remember the ledger as it is."""
    path = home / "runs" / run_id / ANCHOR_NAME
    path.parent.mkdir(parents=True)
    path.write_text(read_ledger(home).anchor.model_dump_json())


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a home with four trials, remembered by a run."""
    for settings in "1234":
        record_trials(tmp_path, [fit(settings)], run_id=RUN)
    anchored(tmp_path)
    return tmp_path


def test_an_empty_home_has_an_empty_ledger(tmp_path: Path) -> None:
    """Nothing was tried, and nothing is wrong with that."""
    found = read_ledger(tmp_path)

    assert (found.trials, found.anchor.n_entries, found.problems) == ((), 0, ())
    assert count_trials(found.trials, SCOPE)[0].n_trials == 1


def test_the_same_trial_twice_is_one(home: Path) -> None:
    """Whoever resumes or repeats adds nothing, in whichever run; the bytes stay the same."""
    before = ledger_of(home).read_bytes()

    record_trials(home, [fit("2"), fit("1")], run_id="live_candidate_20250101_000000_0000000b")

    assert ledger_of(home).read_bytes() == before
    assert [trial.settings_digest[0] for trial in read_ledger(home).trials] == list("1234")


def test_several_trials_are_one_write(tmp_path: Path) -> None:
    """All of them stand there, chained, each once."""
    record_trials(tmp_path, [fit("1"), fit("2"), fit("1")], run_id=RUN)

    found = read_ledger(tmp_path)

    assert found.trials == (fit("1"), fit("2"))
    assert found.problems == ()


def altered(home: Path) -> None:
    lines = lines_of(home)
    entry = json.loads(lines[1])
    entry["trial"]["settings_digest"] = "9" * 64
    lines[1] = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
    ledger_of(home).write_bytes(b"".join(lines))


def removed(home: Path) -> None:
    lines = lines_of(home)
    ledger_of(home).write_bytes(b"".join(lines[:1] + lines[2:]))


def swapped(home: Path) -> None:
    lines = lines_of(home)
    ledger_of(home).write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))


def repeated(home: Path) -> None:
    lines = lines_of(home)
    ledger_of(home).write_bytes(b"".join([*lines, lines[-1]]))


def garbled(home: Path) -> None:
    lines = lines_of(home)
    lines[2] = b"\x00\xff not JSON\n"
    ledger_of(home).write_bytes(b"".join(lines))


def cut(home: Path) -> None:
    ledger_of(home).write_bytes(b"".join(lines_of(home)[:-1]))


def cut_in_a_line(home: Path) -> None:
    ledger_of(home).write_bytes(ledger_of(home).read_bytes()[:-1])


def cut_with_a_new_head(home: Path) -> None:
    cut(home)
    anchor = read_ledger(home).anchor
    (home / "trials" / "head.json").write_text(anchor.model_dump_json())


def deleted(home: Path) -> None:
    ledger_of(home).unlink()


def deleted_with_the_head(home: Path) -> None:
    ledger_of(home).unlink()
    (home / "trials" / "head.json").unlink()


def headless(home: Path) -> None:
    (home / "trials" / "head.json").unlink()


def garbled_head(home: Path) -> None:
    (home / "trials" / "head.json").write_text("{")


def last_one_altered(home: Path) -> None:
    lines = lines_of(home)
    ledger_of(home).write_bytes(
        b"".join([*lines[:-1], lines[-1].replace(b"0000000a", b"0000000c")])
    )


TAMPERINGS = [
    altered,
    removed,
    swapped,
    repeated,
    garbled,
    cut,
    cut_in_a_line,
    cut_with_a_new_head,
    deleted,
    deleted_with_the_head,
    headless,
    garbled_head,
    last_one_altered,
]


@pytest.mark.parametrize("tamper", TAMPERINGS, ids=lambda tamper: tamper.__name__)
def test_tampering_is_told_now_and_after_the_next_trial(home: Path, tamper: Any) -> None:
    """No later entry covers up that an earlier one was altered or taken away."""
    assert read_ledger(home).problems == ()
    tamper(home)

    first = read_ledger(home).problems
    record_trials(home, [fit("5")], run_id=RUN)
    record_trials(home, [fit("6")], run_id=RUN)

    assert first
    assert read_ledger(home).problems
    count, _ = count_trials(read_ledger(home).trials, SCOPE, problems=first)
    assert "the ledger of trials was altered" in (count.reason or "")


def test_a_line_that_a_killed_writer_left_is_not_an_entry(home: Path) -> None:
    """It is cleared away by the next writer, and nothing is wrong."""
    with ledger_of(home).open("ab") as file:
        file.write(b'{"previous":"12')

    assert read_ledger(home).problems == ()
    record_trials(home, [fit("5")], run_id=RUN)

    found = read_ledger(home)
    assert found.problems == ()
    assert [trial.settings_digest[0] for trial in found.trials] == list("12345")


def test_a_head_that_a_killed_writer_left_behind_is_brought_up(home: Path) -> None:
    """An entry that the head does not know yet is no fault; doing it again mends the head."""
    head = home / "trials" / "head.json"
    before = head.read_bytes()
    record_trials(home, [fit("5")], run_id=RUN)
    head.write_bytes(before)

    assert read_ledger(home).problems == ()
    record_trials(home, [fit("5")], run_id=RUN)

    assert json.loads(head.read_text())["n_entries"] == 5
    cut(home)
    assert read_ledger(home).problems


WRITER = """
import sys
from pathlib import Path
from datetime import date
from sensequant.trials import Scope, Trial, TrialKind, record_trials
scope = Scope(market="nse", symbols=("A",), start=date(2022, 1, 1), end=date(2022, 2, 1))
print("ready", flush=True)
for number in range(100_000):
    trial = Trial(kind=TrialKind.FIT, scope=scope, settings_digest=f"{number:064x}")
    record_trials(Path(sys.argv[1]), [trial], run_id="r")
    print(number, flush=True)
"""


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_leaves_a_sound_ledger(tmp_path: Path) -> None:
    """What it said it had written is there; a new writer goes on, and nothing stands twice."""
    for attempt in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.05 + 0.031 * attempt)
            process.send_signal(signal.SIGKILL)
            said = [int(line) for line in process.stdout.read().split()]

        found = read_ledger(tmp_path)

        assert found.problems == ()
        written = [int(trial.settings_digest, 16) for trial in found.trials]
        assert written == list(range(len(written)))
        assert not said or len(written) > max(said)


def _write_some(arguments: tuple[str, int]) -> int:
    home, writer = arguments
    for number in range(20):
        digest = f"{number % 10 + 5 * writer:064x}"
        trial = Trial(kind=TrialKind.FIT, scope=SCOPE, settings_digest=digest)
        record_trials(Path(home), [trial], run_id=f"run {writer}")
    return os.getpid()


def test_many_writers_at_once_lose_and_double_nothing(tmp_path: Path) -> None:
    """Two processes write fifteen different trials, five of them both, each twice."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        processes = set(pool.map(_write_some, [(str(tmp_path), writer) for writer in range(2)]))

    found = read_ledger(tmp_path)

    assert processes
    assert found.problems == ()
    assert len(found.trials) == 15
    assert len({trial.settings_digest for trial in found.trials}) == 15


def test_contenders_count_with_the_variance_of_their_ratios() -> None:
    """Equal returns are one contender; a ratio that is not defined counts and has no variance."""
    trials = [
        contender("1", "a", 0.1),
        contender("1", "b", 0.3, name="weighted"),
        contender("2", "a", 0.1),
        contender("3", "c", None),
    ]

    count, found = count_trials(trials, SCOPE)

    assert (count.n_trials, count.n_contenders, count.n_with_sharpe) == (3, 3, 2)
    assert count.sharpe_variance == pytest.approx(0.02)
    assert [trial.returns_digest for trial in found] == ["a" * 64, "b" * 64, "c" * 64]


def test_what_learnt_and_was_given_up_counts() -> None:
    """A configuration that was never scored is a trial; one that was is no second one."""
    count, _ = count_trials([fit("1"), fit("2"), fit("3"), contender("2", "a")], SCOPE)

    assert (count.n_trials, count.n_contenders, count.n_unscored) == (3, 1, 2)


def test_settings_that_a_search_tried_count() -> None:
    """Of each search its most searched window: windows are parts of one strategy."""
    trials = [
        contender("1", "a"),
        search("7", "w1", 20),
        search("7", "w2", 30),
        search("7", "w3", 10),
        search("8", "w1", 5),
    ]

    count, _ = count_trials(trials, SCOPE)

    assert (count.n_trials, count.n_tuned) == (36, 35)


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({"end": date(2022, 1, 1)}, True),
        ({"start": date(2023, 12, 31), "end": date(2024, 6, 1)}, True),
        ({"symbols": ("INFY", "TCS")}, True),
        ({"start": date(2024, 1, 1), "end": date(2024, 6, 1)}, False),
        ({"symbols": ("INFY",)}, False),
        ({"market": "f" * 64}, False),
    ],
)
def test_trials_count_that_share_a_market_a_symbol_and_a_session(
    changes: dict[str, Any], counts: bool
) -> None:
    """A day or a symbol more or less does not open a new ledger; another market does."""
    scope = SCOPE.model_copy(update=changes)

    count, _ = count_trials([fit("1"), contender("2", "a", scope=scope)], SCOPE)

    assert count.n_contenders == int(counts)
    assert count.n_unscored == 1
    assert scope.overlaps(SCOPE) is SCOPE.overlaps(scope) is counts


def test_returns_come_back_as_they_were_or_not_at_all(tmp_path: Path) -> None:
    """They are known by their digest, so that others in their place are noticed."""
    returns = pl.DataFrame({"session": [date(2022, 1, 3)], "net_return": [0.01]})
    digest = store_returns(tmp_path, returns)
    trial = contender("1", "a").model_copy(update={"returns_digest": digest})
    path = tmp_path / "trials" / "returns" / f"{digest}.parquet"

    assert returns_of(tmp_path, trial) is not None
    assert store_returns(tmp_path, returns) == digest
    store_returns(tmp_path, returns.with_columns(net_return=0.02))
    (other,) = set(path.parent.glob("*.parquet")) - {path}
    path.write_bytes(other.read_bytes())
    assert returns_of(tmp_path, trial) is None
    path.unlink()
    assert returns_of(tmp_path, trial) is None
    assert returns_of(tmp_path, fit("1")) is None
