"""Facts about what is told of runs: complete, one fact per line, readable by a program."""

import io
import json
from pathlib import Path

from sensequant.cli.output import console_for
from sensequant.cli.show import run_as_json, show_run, show_runs, summary_of
from sensequant.cli.stored import find_run, read_run, stored_runs

PAGE = "http://127.0.0.1:4200/v2/runs/flow-run/x"


def shown(home: Path, name: str, *, all_files: bool = False) -> str:
    stream = io.StringIO()
    show_run(console_for(stream), read_run(find_run(home, name)), all_files=all_files)
    return stream.getvalue()


def test_summary_of_a_completed_run_names_everything_a_person_needs(home: Path) -> None:
    """Outcome, every stage with counts and seconds, verdict and why, files, page."""
    run = read_run(find_run(home, "1111"))
    facts = dict(summary_of(run, page=PAGE))

    assert facts["outcome"] == "completed"
    assert facts["stage student_training"] == ("success, 3 success, 1 skipped, 0 failed, 1.2 s")
    assert facts["verdict"] == "reject"
    assert facts["in short"] == "1 of 2 gates fail: trades."
    assert facts["why"] == "Did it trade? No."
    assert facts["briefing"] == str(run.folder.root / "promotion_briefing.md")
    assert facts["report"] == str(run.folder.root / "report.html")
    assert facts["page"] == PAGE
    assert facts["bars"].startswith("simulated")
    assert len([name for name in facts if name.startswith("stage ")]) == 8


def test_summary_of_a_failed_run_has_its_error_in_one_line(home: Path) -> None:
    """What does not exist is said to be none, never left to be guessed."""
    facts = dict(summary_of(read_run(find_run(home, "2222")), page=None))

    assert facts["stage teacher_training"] == "failed, 2.0 s, StorageError: disk is full"
    assert facts["verdict"] == facts["briefing"] == facts["report"] == "none"
    assert "page" not in facts
    assert "bars" not in facts


def test_table_of_runs_has_one_line_per_run(home: Path) -> None:
    """Simulated runs are marked."""
    stream = io.StringIO()
    show_runs(console_for(stream), stored_runs(home))

    header, newest, oldest = stream.getvalue().splitlines()
    assert header.split() == ["run", "outcome", "verdict", "dates", "bars", "symbols"]
    assert newest.split()[1:] == ["failed", "none", "2022-01-01..2024-12-31", "real", "TCS,SBIN"]
    assert oldest.split()[4] == "simulated"


def test_no_runs_are_said_to_be_none() -> None:
    """An empty answer would look like an error."""
    stream = io.StringIO()
    show_runs(console_for(stream), [])

    assert stream.getvalue() == "runs: none yet; start one with `sensequant run`\n"


def test_run_is_shown_with_gates_units_left_out_and_files(home: Path) -> None:
    """A figure that is unknown is called so; artifacts are counted by folder."""
    text = shown(home, "1111")
    rows = [line.split() for line in text.splitlines()]

    assert ["trades", "fail", "12", "at", "least", "30", "No."] in rows
    assert ["auc", "undetermined", "unknown", "above", "0.5", "Not", "known."] in rows
    assert ["teacher", "A", "w2", "skipped", "one_class", "only", "one", "class"] in rows
    assert ["teachers/", "2", "6"] in rows
    assert "not done yet in data_ingestion: Options are not read." in text
    assert "\x1b" not in text


def test_every_file_is_listed_when_asked(home: Path) -> None:
    """Each line has digest, size and path."""
    rows = [line.split() for line in shown(home, "1111", all_files=True).splitlines()]

    assert [row[1:] for row in rows if "teachers/A_w1/model.txt" in row] == [
        ["4", "teachers/A_w1/model.txt"]
    ]


def test_failed_run_is_shown_without_empty_tables(home: Path) -> None:
    """No gates, no units and no further files: no headers for them."""
    text = shown(home, "2222")

    assert "gate  " not in text
    assert "unit  " not in text


def test_run_without_artifacts_lists_none(home: Path) -> None:
    """A run that was killed at once has nothing to list."""
    folder = find_run(home, "2222")
    folder.config.unlink()

    assert "artifacts  " not in shown(home, "2222")


def test_json_holds_everything(home: Path) -> None:
    """A program reads stages, verdict with gates, units and artifacts."""
    value = json.loads(run_as_json(read_run(find_run(home, "1111"))))

    assert value["outcome"] == "completed"
    assert [gate["name"] for gate in value["verdict"]["gates"]] == ["trades", "auc"]
    assert len(value["stages"]) == 8
    assert value["units_left_out"][0]["reason"] == "one_class"
    assert {"path", "sha256", "n_bytes"} == set(value["artifacts"][0])
