"""Facts about stage 3: what a student has learnt from, and what it is asked to score."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from sensequant.market.sessions import nse_calendar
from sensequant.records import Outcome, SkipReason
from sensequant.runs import Stage
from sensequant.stages import distillation
from sensequant.stages.context import Run, load_run
from sensequant.stages.distillation import NoTeacherError
from sensequant.storage import read_json, read_table, sha256_of, write_json
from sensequant.student_file import PREDICTIONS_SCHEMA, load_student


def students_of(run: Run) -> list[dict[str, Any]]:
    """Return the records of all trained students."""
    units = read_table(run.folder.units("student"))
    return units.filter(pl.col("outcome") == Outcome.SUCCESS).to_dicts()


def lessons_of(run: Run, label: str) -> pl.DataFrame:
    """Return all rows of all teachers up to the window of that label, of its symbol."""
    (last,) = (planned.window for planned in run.windows if planned.window.label == label)
    windows = [each for each in run.windows_of(last.symbol) if each.start <= last.start]
    tables = [run.folder.teacher(window.label) / "labels.parquet" for window in windows]
    return pl.concat([read_table(table) for table in tables if table.exists()])


def test_findings_are_counted_in_the_predictions(whole: Run) -> None:
    """Every number of the stage can be counted again."""
    predictions = read_table(whole.folder.predictions)
    findings = read_json(whole.folder.stage_record(Stage.STUDENT_TRAINING))["findings"]

    assert findings == {
        "n_students": len(students_of(whole)),
        "n_scored": predictions["score"].count(),
        "n_scored_with_label": predictions.drop_nulls("label").height,
        "n_scored_windows": len(set(predictions["scored_window"])),
        "first_scored": min(predictions["session"].to_list()).isoformat(),
        "last_scored": max(predictions["session"].to_list()).isoformat(),
    }


def test_no_student_scores_what_it_has_seen(whole: Run) -> None:
    """Every prediction lies after every label end among its student's lessons, by brute force."""
    predictions = read_table(whole.folder.predictions)
    seen = {
        label: max(lessons_of(whole, label)["label_end"].to_list())
        for label in set(predictions["trained_window"])
    }

    assert predictions.height > 0
    for session, label in predictions.select("session", "trained_window").iter_rows():
        assert session > seen[label]


def test_a_row_is_scored_once_and_by_the_student_of_the_window_before(whole: Run) -> None:
    """Windows do not overlap, so that no symbol and session has two scores."""
    predictions = read_table(whole.folder.predictions)
    follower = {
        former.label: later
        for symbol in whole.symbols
        for former, later in zip(
            whole.windows_of(symbol), whole.windows_of(symbol)[1:], strict=False
        )
    }

    assert not predictions.select("symbol", "session").is_duplicated().any()
    assert predictions.equals(predictions.sort("symbol", "session"))
    assert predictions.schema == PREDICTIONS_SCHEMA
    for row in predictions.iter_rows(named=True):
        window = follower[row["trained_window"]]
        assert row["scored_window"] == window.label
        assert row["symbol"] == window.symbol
        assert window.start <= row["session"] <= window.end


def test_every_row_of_the_next_window_is_scored_or_purged(whole: Run) -> None:
    """Purged are exactly those at or before the last label end that the student has seen."""
    predictions = read_table(whole.folder.predictions)
    for unit in students_of(whole):
        windows = whole.windows_of(unit["symbol"])
        place = next(i for i, window in enumerate(windows) if window.short == unit["window"])
        lessons = lessons_of(whole, windows[place].label)
        rows = read_table(whole.folder.rows(unit["symbol"]))["session"].to_list()
        sessions = [
            session
            for later in windows[place + 1 : place + 2]
            for session in rows
            if later.start <= session <= later.end
        ]
        last_known = max(lessons["label_end"].to_list())
        scored = predictions.filter(pl.col("trained_window") == windows[place].label)

        assert unit["n_rows"] == lessons.height
        assert unit["n_trained"] == lessons["teacher_probability"].count()
        assert unit["n_later_rows"] == len(sessions) == unit["n_purged"] + unit["n_scored"]
        assert scored["session"].to_list() == [day for day in sessions if day > last_known]


def test_a_score_is_what_the_stored_student_says(whole: Run) -> None:
    """The file of a student alone, read back, gives the score of every row."""
    predictions = read_table(whole.folder.predictions)
    for label in sorted(set(predictions["trained_window"])):
        student = load_student((whole.folder.student(label) / "student.json").read_text())
        expected = predictions.filter(pl.col("trained_window") == label)
        symbol = expected["symbol"].to_list()[0]
        rows = read_table(whole.folder.rows(symbol)).filter(
            pl.col("session").is_in(expected["session"].implode())
        )

        np.testing.assert_array_equal(student.score(rows), expected["score"].to_numpy())


def test_a_forward_return_is_that_of_the_bars(whole: Run) -> None:
    """Entry at the open of the next session, exit at the close of the label's end."""
    calendar = nse_calendar()
    bars = {
        (row["symbol"], row["session"]): row
        for symbol in whole.symbols
        for row in read_table(whole.folder.bars(symbol)).to_dicts()
    }
    labelled = read_table(whole.folder.predictions).drop_nulls("label")
    for row in labelled.iter_rows(named=True):
        entry = bars[row["symbol"], calendar.offset(row["session"], 1)]["open"]
        leave = bars[row["symbol"], row["label_end"]]["close"]
        assert row["forward_return"] == pytest.approx(leave / entry - 1, rel=1e-12)


def test_a_window_without_a_teacher_has_no_student(whole: Run) -> None:
    """Whatever the reason was, it stands beside the teacher; the student says `no_teacher`."""
    window = whole.windows_of("SIM03")[0]

    with pytest.raises(NoTeacherError, match="window has no teacher") as caught:
        distillation.train_student_of(whole, "SIM03", window.short)

    assert caught.value.reason == SkipReason.NO_TEACHER
    assert caught.value.where == window.label
    units = read_table(whole.folder.units("student"))
    name = f"student SIM03 {window.short}"
    assert units.row(by_predicate=pl.col("name") == name, named=True)["reason"] == "no_teacher"


def test_the_student_of_the_last_window_scores_nothing_yet(copied: Run) -> None:
    """There is no later window; the student itself is there."""
    write_json(
        copied.folder.plan,
        [row for row in read_json(copied.folder.plan) if row["window"]["symbol"] == "SIM02"][:2],
    )
    run = load_run(copied.folder)
    last = run.windows_of("SIM02")[-1]

    unit = distillation.train_student_of(run, "SIM02", last.short)

    assert (unit.counts["n_later_rows"], unit.counts["n_scored"]) == (0, 0)
    assert (run.folder.student(last.label) / "student.json").exists()


def test_the_same_lessons_give_the_same_student(copied: Run) -> None:
    """Student, scores and metadata are written again with the very same bytes."""
    window = copied.windows_of("SIM02")[1]
    folder = copied.folder.student(window.label)
    before = {path: sha256_of(path) for path in sorted(folder.iterdir())}
    assert len(before) == 3

    unit = distillation.train_student_of(copied, "SIM02", window.short)

    assert {path: sha256_of(path) for path in sorted(folder.iterdir())} == before
    assert unit.sha256 == before[folder / "metadata.json"]


def test_a_window_that_lost_its_teacher_keeps_no_student(copied: Run) -> None:
    """Its scores leave the predictions with it."""
    window = copied.windows_of("SIM02")[0]
    (copied.folder.teacher(window.label) / "labels.parquet").unlink()
    before = read_table(copied.folder.predictions)

    with pytest.raises(NoTeacherError):
        distillation.train_student_of(copied, "SIM02", window.short)
    distillation.gather(copied)

    assert not copied.folder.student(window.label).exists()
    kept = before.filter(pl.col("trained_window") != window.label)
    assert kept.height < before.height
    assert read_table(copied.folder.predictions).equals(kept)


def test_scores_of_a_former_plan_are_not_gathered(copied: Run) -> None:
    """A window that is planned no more would give a session a second score."""
    plan = read_json(copied.folder.plan)
    write_json(copied.folder.plan, [row for row in plan if row["window"]["symbol"] != "SIM02"])
    run = load_run(copied.folder)

    distillation.gather(run)

    assert set(read_table(run.folder.predictions)["symbol"]) == {"SIM01", "SIM03"}


def test_without_students_there_is_an_empty_table(copied: Run) -> None:
    """Nothing scored is a count of zero and no first session, not an error."""
    write_json(copied.folder.plan, [])

    findings = distillation.gather(load_run(copied.folder)).values

    assert read_table(copied.folder.predictions).equals(PREDICTIONS_SCHEMA.to_frame())
    assert findings == {
        "n_students": 0,
        "n_scored": 0,
        "n_scored_with_label": 0,
        "n_scored_windows": 0,
        "first_scored": None,
        "last_scored": None,
    }
