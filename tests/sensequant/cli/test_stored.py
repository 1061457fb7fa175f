"""Facts about stored runs: how they are found, and that incomplete ones can be read."""

import hashlib
from pathlib import Path

import pytest

from sensequant.cli.stored import find_run, read_run, stored_runs
from sensequant.errors import ConfigError
from sensequant.runs import RunFolder

FIRST, SECOND = (
    "live_candidate_20250101_090000_aaaa1111",
    "live_candidate_20250102_090000_bbbb2222",
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("latest", SECOND),
        (FIRST, FIRST),
        ("live_candidate_20250101", FIRST),
        ("bbbb2222", SECOND),
        ("1111", FIRST),
    ],
)
def test_run_is_found_by_a_part_that_only_it_has(home: Path, text: str, found: str) -> None:
    """Beginnings and ends name a run, and `latest` the newest."""
    assert find_run(home, text).run_id == found


@pytest.mark.parametrize(
    ("text", "what"), [("live", "ambiguous"), ("cccc", "unknown"), ("../x", "unknown")]
)
def test_run_that_is_not_one_is_refused(home: Path, text: str, what: str) -> None:
    """The error tells none from many."""
    with pytest.raises(ConfigError, match=what):
        find_run(home, text)


def test_latest_of_none_is_unknown(tmp_path: Path) -> None:
    """An empty home has no runs."""
    with pytest.raises(ConfigError, match="unknown"):
        find_run(tmp_path, "latest")


def test_runs_come_newest_first_without_foreign_folders(home: Path) -> None:
    """A folder whose name is no run id is left out."""
    (home / "runs" / "notes").mkdir()

    assert [run.folder.run_id for run in stored_runs(home)] == [SECOND, FIRST]


def test_run_tells_what_stands_in_its_records(home: Path) -> None:
    """Outcome, verdict, range, symbols and what was left out."""
    run = read_run(find_run(home, FIRST))

    assert (run.outcome, run.verdict, run.is_simulated) == ("completed", "reject", True)
    assert (run.dates, run.symbols) == ("2022-01-01..2024-12-31", "TCS,SBIN")
    assert [unit["reason"] for unit in run.units_left_out()] == ["one_class"]
    assert run.judgement()["decision"] == "reject"


def test_artifacts_have_the_digest_and_size_of_their_bytes(home: Path) -> None:
    """Records are no artifacts."""
    artifacts = {one.path: one for one in read_run(find_run(home, FIRST)).artifacts()}

    model = artifacts["teachers/A_w1/model.txt"]
    assert model.sha256 == hashlib.sha256(b"tree").hexdigest()
    assert model.n_bytes == 4
    assert "run.json" not in artifacts


def test_killed_run_is_read_as_far_as_it_came(tmp_path: Path) -> None:
    """A folder without a single record, or with a broken one, is a run that did not end."""
    folder = RunFolder(tmp_path, FIRST)
    folder.root.mkdir(parents=True)
    folder.run.write_text("[1]", encoding="utf-8")

    run = read_run(folder)

    assert (run.outcome, run.verdict, run.symbols) == ("not ended", None, "all symbols")
    assert run.dates == "?..?"
    assert not run.is_simulated
    assert run.stages() == []
    assert run.units_left_out() == []
    assert run.judgement() == {}


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"symbols": ["A", "B", "C", "D"]}, "4 symbols"),
        ({"symbols": None, "universe": "nifty100"}, "nifty100"),
        ({"symbols_file": "/data/mine.txt"}, "/data/mine.txt"),
        ({}, "all symbols"),
    ],
)
def test_symbols_are_named_as_they_were_asked_for(
    home: Path, request_: dict[str, object], words: str
) -> None:
    """Few are listed, many counted, a universe or file is called by its name."""
    run = read_run(find_run(home, FIRST))

    assert type(run)(run.folder, run.record, request_).symbols == words
