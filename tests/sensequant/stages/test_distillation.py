"""Facts about stage 3: what a student has learnt from, and what it is asked to score."""

import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from sensequant.market.sessions import nse_calendar
from sensequant.records import Outcome, SkipReason
from sensequant.runs import RunFolder
from sensequant.settings import TrainingConfig
from sensequant.stages import distillation, training
from sensequant.stages.context import Run, load_run
from sensequant.stages.distillation import NoTeacherError, is_evidence, student_key
from sensequant.storage import read_json, read_table, sha256_of, write_json, write_table
from sensequant.student_file import PREDICTIONS_SCHEMA, load_student
from sensequant.windows import POOLED, Window

VARIANTS = ("unweighted", "weighted", "without_teacher")


def students_of(run: Run) -> list[dict[str, Any]]:
    """Return the records of all trained students."""
    units = read_table(run.folder.units("student"))
    return units.filter(pl.col("outcome") == Outcome.SUCCESS).to_dicts()


def window_of(run: Run, unit: dict[str, Any]) -> Window:
    return run.window(unit["symbol"], unit["window"]).window


def follower_of(run: Run, window: Window) -> Window | None:
    windows = run.windows_of(window.symbol)
    return next((each for each in windows if each.start > window.end), None)


def scores_of(run: Run, window: Window) -> pl.DataFrame:
    return read_table(run.folder.student(window.label) / "predictions.parquet")


def taught_until(run: Run, window: Window) -> pl.DataFrame:
    """Return the rows of every teacher up to a window that a student of that window may hear.

    Found by the names of the folders: those of its symbol and of all symbols, or, for a student of
    all symbols, every one.
    """
    tables: list[pl.DataFrame] = []
    for folder in sorted((run.folder.root / "teachers").iterdir()):
        symbol, _, days = folder.name.partition("_")
        if date.fromisoformat(days.partition("_to_")[2]) <= window.end and (
            POOLED in {window.symbol, symbol} or symbol == window.symbol
        ):
            tables.append(read_table(folder / "labels.parquet"))
    return pl.concat(tables)


def lessons_of(run: Run, window: Window) -> pl.DataFrame:
    """Return those of these rows that the student itself learns from."""
    taught = taught_until(run, window)
    is_own = (pl.col("symbol") == window.symbol) | (window.symbol == POOLED)
    return taught.filter(is_own)


def rows_between(run: Run, symbol: str, first: date, last: date) -> pl.DataFrame:
    """Return the features and labels of some sessions of one symbol, or of all."""
    symbols = run.symbols if symbol == POOLED else [symbol]
    return pl.concat([read_table(run.folder.rows(each)) for each in symbols]).filter(
        pl.col("session").is_between(first, last)
    )


def test_every_window_has_a_student_of_its_symbol_and_one_of_all(scoped: Run) -> None:
    """Whatever the scopes; those of the other scope than the settings' stand beside."""
    units = students_of(scoped)
    planned = distillation.planned_students(scoped)
    folders = {path.name for path in (scoped.folder.root / "students").iterdir()}

    assert {window.label for window in planned} >= folders
    assert len(planned) == len(scoped.windows) + len(scoped.pooled_windows)
    assert folders == {window_of(scoped, unit).label for unit in units}
    assert {unit["symbol"] for unit in units} == {*scoped.symbols, POOLED}


def test_no_student_scores_what_it_has_seen(scoped: Run) -> None:
    """Every score lies after every label end among its own lessons, by brute force."""
    n_scored = 0
    for unit in students_of(scoped):
        window = window_of(scoped, unit)
        sessions = scores_of(scoped, window)["session"].to_list()
        n_scored += len(sessions)
        seen = max(lessons_of(scoped, window)["label_end"].to_list())

        assert all(session > seen for session in sessions)
    assert n_scored > 1000


def test_no_student_scores_what_its_teachers_have_seen(scoped: Run) -> None:
    """A teacher of all symbols knows labels of other symbols, which end on other days."""
    for unit in students_of(scoped):
        window = window_of(scoped, unit)
        seen = max(taught_until(scoped, window)["label_end"].to_list())

        assert all(session > seen for session in scores_of(scoped, window)["session"].to_list())


def test_a_row_is_scored_once_and_by_the_student_of_the_window_before(scoped: Run) -> None:
    """Windows do not overlap, so that no symbol and session has two scores."""
    predictions = read_table(scoped.folder.predictions)
    owner = "symbol" if scoped.config.student.scope == "symbol" else POOLED
    former = {
        later.label: window.label
        for window in distillation.planned_students(scoped)
        if (later := follower_of(scoped, window)) is not None
    }

    assert predictions.height > 300
    assert not predictions.select("symbol", "session").is_duplicated().any()
    assert predictions.equals(predictions.sort("symbol", "session"))
    assert set(PREDICTIONS_SCHEMA.items()) <= set(predictions.schema.items())
    for row in predictions.iter_rows(named=True):
        whose, _, days = row["scored_window"].partition("_")
        first, last = (date.fromisoformat(day) for day in days.split("_to_"))
        assert whose == row.get(owner, owner)
        assert row["trained_window"] == former[row["scored_window"]]
        assert first <= row["session"] <= last


def test_every_row_of_the_next_window_is_scored_or_purged(scoped: Run) -> None:
    """Purged are exactly those at or before the last label end that the student has seen."""
    for unit in students_of(scoped):
        window = window_of(scoped, unit)
        lessons, later = lessons_of(scoped, window), follower_of(scoped, window)
        known = max(lessons["label_end"].to_list())
        rows = (
            lessons.clear()
            if later is None
            else rows_between(scoped, window.symbol, later.start, later.end)
        )
        expected = rows.filter(pl.col("session") > known).sort("session", "symbol")
        found = scores_of(scoped, window)
        silent = unit["n_novel"] + unit["n_expired"]

        assert unit["n_rows"] == lessons.height
        assert unit["n_trained"] == lessons["teacher_probability"].count()
        assert unit["n_later_rows"] == rows.height
        assert unit["n_later_rows"] == unit["n_purged"] + unit["n_scored"] + silent
        assert silent == found["score"].null_count() == found["reason"].count()
        assert (
            found.select("symbol", "session").rows() == expected.select("symbol", "session").rows()
        )


def test_the_evidence_is_the_scores_of_the_scope_that_was_asked_for(scoped: Run) -> None:
    """All of them, as they stand in the folders of its students, and no others."""
    is_own = [
        unit
        for unit in students_of(scoped)
        if (unit["symbol"] == POOLED) == (scoped.config.student.scope == "universe")
    ]
    tables = [scores_of(scoped, window_of(scoped, unit)) for unit in is_own]
    expected = pl.concat(tables, how="diagonal").sort("symbol", "session")

    assert read_table(scoped.folder.predictions).equals(expected)


def test_a_score_is_what_the_stored_student_says(scoped: Run) -> None:
    """The file of a student alone, read back, says score, probability and reason of every row."""
    for unit in students_of(scoped):
        window = window_of(scoped, unit)
        text = (scoped.folder.student(window.label) / "student.json").read_text()
        expected = scores_of(scoped, window)
        if expected.is_empty():
            continue
        rows = rows_between(scoped, window.symbol, window.end, date(2030, 1, 1))
        keys = ["symbol", "session"]
        rows = expected.select(keys).join(rows, on=keys, maintain_order="left")

        said = load_student(text).judge(rows)

        assert said.equals(expected.select(said.columns))


def test_variants_are_told_apart_and_the_one_deployed_is_the_score(scoped: Run) -> None:
    """Without weights is the default; all variants judge the same rows as novel."""
    predictions = read_table(scoped.folder.predictions)

    for name in ("score", "probability"):
        variants = predictions.select(f"{name}_{variant}" for variant in VARIANTS)
        assert predictions[name].equals(predictions[f"{name}_unweighted"], check_names=False)
        for column in variants.iter_columns():
            assert column.is_null().equals(predictions["score"].is_null(), check_names=False)
        pairs = [(0, 1), (0, 2), (1, 2)]
        columns = variants.drop_nulls().to_numpy().T
        assert all((columns[one] != columns[other]).any() for one, other in pairs)


def test_what_stands_beside_is_unweighted_and_uncalibrated(scoped: Run) -> None:
    """It is only ranked against the evidence; nothing of it could be deployed by mistake."""
    n = 0
    for unit in students_of(scoped):
        if is_evidence(scoped, unit["symbol"]):
            continue
        window, n = window_of(scoped, unit), n + 1
        found = scores_of(scoped, window)
        assert found["probability"].count() == 0
        assert [name for name in found.columns if name.startswith("score_")] == ["score_unweighted"]
        stored = read_json(scoped.folder.student(window.label) / "variants.json")
        assert list(stored) == ["unweighted"]
        assert stored["unweighted"]["calibration"]["reason"] == "off"
    assert n > 3


def test_a_twin_without_a_teacher_has_learnt_the_labels_alone(whole: Run) -> None:
    """Other probabilities of the teachers change every variant but this one."""
    run = Run(whole.folder, whole.request, whole.config)
    window = run.pooled_windows[1]
    task = distillation._task(run, POOLED, window.short)
    lessons = distillation._lessons(task)
    turned = lessons.with_columns(teacher_probability=1 - pl.col("teacher_probability"))

    first, second = (distillation._train_variants(task, each) for each in (lessons, turned))

    same = {
        name: first[name].metadata.model_sha256 == second[name].metadata.model_sha256
        for name in first
    }
    assert same == {"unweighted": False, "weighted": False, "without_teacher": True}


def test_without_rewards_there_is_no_weighted_variant(copied: Run) -> None:
    """Mode none leaves two variants, and an unweighted student with the very same bytes."""
    window = copied.pooled_windows[1]
    folder = copied.folder.student(window.label)
    before = read_json(folder / "student.json")
    values = copied.config.model_dump() | {"reward": {"mode": "none"}}
    run = Run(copied.folder, copied.request, TrainingConfig.model_validate(values))

    distillation.train_student_of(run, POOLED, window.short)

    assert list(read_json(folder / "variants.json")) == ["unweighted", "without_teacher"]
    assert "score_weighted" not in read_table(folder / "predictions.parquet").columns
    assert read_json(folder / "student.json") == before


def weighted(run: Run) -> Run:
    values = run.config.model_dump() | {"reward": {"is_deployed": True}}
    return Run(run.folder, run.request, TrainingConfig.model_validate(values))


def test_a_weighted_student_is_deployed_where_that_was_asked(copied: Run) -> None:
    """Its scores are the column `weighted` of before; what stands beside stays unweighted."""
    run = weighted(copied)
    pooled, own = run.pooled_windows[3], run.windows_of("SIM02")[3]
    before = {window.label: scores_of(run, window) for window in (pooled, own)}

    for window in (pooled, own):
        distillation.train_student_of(run, window.symbol, window.short)

    after = scores_of(run, pooled)
    assert after["score"].equals(before[pooled.label]["score_weighted"], check_names=False)
    assert not after["score"].equals(after["score_unweighted"], check_names=False)
    assert scores_of(run, own).equals(before[own.label])


def test_rewards_count_only_once_they_are_known(whole: Run) -> None:
    """By brute force: a decision of an earlier student, judged at a close that is past.

    The student of the window before has decided too; what it earned is known too late.
    """
    run = whole
    for place, window in enumerate(run.pooled_windows):
        if not (run.folder.student(window.label) / "metadata.json").exists():
            continue
        task = distillation._task(run, POOLED, window.short)
        trained_at = max(lessons_of(run, window)["label_end"].to_list())
        decisions = distillation._earlier_decisions(task)
        known = decisions.filter(pl.col("reward_known_at") <= trained_at)
        expected = {
            (row["symbol"], row["session"])
            for earlier in run.pooled_windows[: max(place - 1, 0)]
            if (run.folder.student(earlier.label) / "predictions.parquet").exists()
            for row in scores_of(run, earlier).iter_rows(named=True)
        }

        assert set(decisions.select("symbol", "session").iter_rows()) == expected
        assert all(session <= window.end for _, session in expected)
        assert known.height > 0 or place < 2


def test_a_reward_known_too_late_changes_no_weight(copied: Run) -> None:
    """Returns known after the last label are turned round, and the weighted student stays."""
    run = weighted(copied)
    window = run.pooled_windows[3]
    distillation.train_student_of(run, POOLED, window.short)
    before = sha256_of(run.folder.student(window.label) / "student.json")
    trained_at = max(lessons_of(run, window)["label_end"].to_list())
    returns = read_table(run.folder.reward_returns)
    is_late = pl.col("reward_known_at") > trained_at
    turned = -pl.col("reward_return")
    assert returns.filter(is_late).height > 100

    found: list[bool] = []
    for which in (is_late, ~is_late):
        changed = pl.when(which).then(turned).otherwise("reward_return")
        write_table(run.folder.reward_returns, returns.with_columns(reward_return=changed))
        distillation.train_student_of(run, POOLED, window.short)
        found.append(sha256_of(run.folder.student(window.label) / "student.json") == before)

    assert found == [True, False]


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


@pytest.mark.parametrize(("symbol", "place"), [("SIM03", 0), (POOLED, -1)])
def test_a_window_without_a_teacher_has_no_student(whole: Run, symbol: str, place: int) -> None:
    """Whatever the reason was, it stands beside the teacher; the student says `no_teacher`."""
    window = whole.windows_of(symbol)[place]

    with pytest.raises(NoTeacherError, match="No teacher was trained") as caught:
        distillation.train_student_of(whole, symbol, window.short)

    assert caught.value.reason == SkipReason.NO_TEACHER
    assert caught.value.where == window.label
    units = read_table(whole.folder.units("student"))
    name = f"student {symbol} {window.short}"
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


@pytest.mark.parametrize("symbol", ["SIM02", POOLED])
def test_the_same_lessons_give_the_same_student(copied: Run, symbol: str) -> None:
    """Student, scores, variants and metadata are written again with the very same bytes."""
    window = copied.windows_of(symbol)[1]
    folder = copied.folder.student(window.label)
    before = {path: sha256_of(path) for path in sorted(folder.iterdir())}
    assert len(before) == 4

    unit = distillation.train_student_of(copied, symbol, window.short)

    assert {path: sha256_of(path) for path in sorted(folder.iterdir())} == before
    assert unit.sha256 == before[folder / "metadata.json"]


def key_of(run: Run, symbol: str, place: int) -> str:
    window = run.windows_of(symbol)[place]
    return student_key(run, {"symbol": symbol, "window": window.short})


def shift_row(run: Run, symbol: str, session: date) -> None:
    """Change one feature of one row."""
    rows = read_table(run.folder.rows(symbol))
    is_it = pl.col("session") == session
    name = rows.columns[-1]
    changed = rows.with_columns(pl.when(is_it).then(0.123).otherwise(name).alias(name))
    assert not changed.equals(rows)
    write_table(run.folder.rows(symbol), changed)


def test_a_key_follows_the_rows_up_to_the_window_that_is_scored(copied: Run) -> None:
    """A row that a student learns from or scores changes its key; later and foreign ones do not."""
    inside = copied.windows_of("SIM02")[2]
    sessions = rows_between(copied, "SIM02", inside.start, inside.end)["session"].to_list()
    asked = [(symbol, place) for symbol in ("SIM01", "SIM02", POOLED) for place in range(4)]
    before = {each: key_of(copied, *each) for each in asked}
    assert len(set(before.values())) == len(asked)

    shift_row(copied, "SIM02", sessions[30])

    after = {each: key_of(copied, *each) for each in asked}
    moved = {each for each in asked if after[each] != before[each]}
    assert moved == {(symbol, place) for symbol in ("SIM02", POOLED) for place in (1, 2, 3)}


def test_a_key_follows_what_teachers_say_and_what_earlier_students_decided(copied: Run) -> None:
    """A teacher's words count from its window on; a decision from two students later on."""
    before = [key_of(copied, POOLED, place) for place in range(5)]
    label = copied.windows_of("SIM02")[2].label
    path = copied.folder.teacher(label) / "labels.parquet"
    said = read_table(path)
    write_table(path, said.with_columns(teacher_probability=1 - pl.col("teacher_probability")))
    after = [key_of(copied, POOLED, place) for place in range(5)]
    write_table(path, said)
    scores = copied.folder.student(copied.pooled_windows[1].label) / "predictions.parquet"
    write_table(scores, read_table(scores).with_columns(score=1 - pl.col("score")))
    decided = [key_of(copied, POOLED, place) for place in range(5)]

    assert [one == other for one, other in zip(before, after, strict=True)] == [True] * 2 + [
        False
    ] * 3
    assert [one == other for one, other in zip(before, decided, strict=True)] == [True] * 3 + [
        False
    ] * 2


@pytest.mark.parametrize(
    ("group", "changes", "moves"),
    [
        ("student", {"alpha": 0.4}, True),
        ("student", {"scope": "symbol"}, True),
        ("reward", {"scale": 2.0}, True),
        ("labels", {"horizon_sessions": 6}, True),
        ("windows", {"min_samples": 30}, True),
        # What a teacher is made by reaches a student through its words alone.
        ("teacher", {"reference_positive_frac": 0.4}, False),
        ("validation", {"n_placebo": 3}, False),
        ("gates", {"min_auc": 0.9}, False),
    ],
)
def test_a_key_follows_the_settings_that_act_on_a_student(
    whole: Run, group: str, changes: dict[str, Any], moves: bool
) -> None:
    """What is judged afterwards, and how, takes no student away."""
    values = whole.config.model_dump()
    values[group] |= changes
    other = Run(whole.folder, whole.request, TrainingConfig.model_validate(values))

    assert (key_of(other, POOLED, 1) != key_of(whole, POOLED, 1)) is moves


def test_a_key_is_the_same_in_another_run(whole: Run, copied: Run) -> None:
    """Neither the home nor the id of the run enters."""
    other = RunFolder(copied.folder.home, "live_candidate_20310708_091000_ffffffff")
    copied.folder.root.rename(other.root)

    assert key_of(load_run(other), POOLED, 2) == key_of(whole, POOLED, 2)


def test_scores_have_no_more_to_say_than_what_was_learnt(whole: Run) -> None:
    """Scores of the pooled student differ between symbols' rows by their features alone."""
    window = whole.pooled_windows[1]
    student = load_student((whole.folder.student(window.label) / "student.json").read_text())
    rows = rows_between(whole, "SIM01", window.start, window.end)
    renamed = rows.with_columns(symbol=pl.lit("SIM02"))

    np.testing.assert_array_equal(student.score(rows), student.score(renamed))


def test_a_student_waits_for_labels_of_other_symbols_that_its_teachers_knew(
    one_teacher_by_symbol: Run, tmp_path: Path
) -> None:
    """Without labels of its own at the end of a window, a symbol is still not scored too early.

    The teacher of all symbols knew how the others went on into the next window.
    """
    home = tmp_path / "home"
    shutil.copytree(one_teacher_by_symbol.folder.home, home)
    run = load_run(RunFolder(home, one_teacher_by_symbol.folder.run_id))
    window, pooled = run.windows_of("SIM02")[1], run.pooled_windows[1]
    rows = read_table(run.folder.rows("SIM02"))
    is_late = pl.col("session").is_between(window.end - timedelta(days=30), window.end)
    nothing = pl.when(~is_late)
    names = ("label", "label_end", "label_end_number", "forward_return")
    unlabelled = rows.with_columns(nothing.then(name).alias(name) for name in names)
    write_table(run.folder.rows("SIM02"), unlabelled)
    training.train_window(run, POOLED, pooled.short)
    known = max(taught_until(run, window)["label_end"].to_list())
    assert known > window.end

    distillation.train_student_of(run, "SIM02", window.short)

    sessions = scores_of(run, window)["session"].to_list()
    assert len(sessions) > 30
    assert min(sessions) > known
