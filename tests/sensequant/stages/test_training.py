"""Facts about stage 2: which rows reach a teacher, and what the counts say."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sensequant.evaluation.costs import round_trip_cost_frac
from sensequant.features.registry import FeatureConfig, model_columns
from sensequant.labels import LABEL_COLUMNS, UNLABELLED_REASONS
from sensequant.market.sessions import nse_calendar
from sensequant.records import Outcome, SkipReason
from sensequant.runs import Stage
from sensequant.settings import RunRequest
from sensequant.stages import distillation, training
from sensequant.stages.context import Run, RunSettings, load_run
from sensequant.stages.distillation import NoTeacherError
from sensequant.stages.training import WindowSkippedError
from sensequant.storage import read_json, read_table, sha256_of, write_json

FIRST_STAGES = {"stages": (Stage.DATA_INGESTION, Stage.TEACHER_TRAINING)}


def teachers_of(run: Run) -> list[dict[str, Any]]:
    """Return the records of all trained windows."""
    units = read_table(run.folder.units("teacher"))
    kept = (pl.col("kind") == "teacher") & (pl.col("outcome") == Outcome.SUCCESS)
    return units.filter(kept).to_dicts()


def label_of(run: Run, unit: dict[str, Any]) -> str:
    return run.window(unit["symbol"], unit["window"]).window.label


def test_findings_are_counted_on_disk(whole: Run) -> None:
    """One teacher per folder with metadata; features are the columns beside the labels."""
    findings = training.describe(whole).values
    rows = read_table(whole.folder.rows("SIM01"))

    assert findings == read_json(whole.folder.stage_record(Stage.TEACHER_TRAINING))["findings"]
    assert findings["n_teachers"] == len(teachers_of(whole))
    assert findings["n_teachers"] == len(list(whole.folder.root.glob("teachers/*/metadata.json")))
    assert findings["n_features"] == rows.width - len(LABEL_COLUMNS)


def test_the_funnel_of_every_teacher_adds_up(whole: Run) -> None:
    """Bars are feature rows or not, those are labelled or not, and labelled rows split in three."""
    units = teachers_of(whole)

    assert units
    for unit in units:
        unlabelled = [unit[name] for name in unit if name.startswith("n_unlabelled_")]
        assert len(unlabelled) == len(UNLABELLED_REASONS)
        assert unit["n_feature_rows"] == unit["n_labelled"] + sum(unlabelled)
        assert unit["n_labelled"] == unit["n_train"] + unit["n_validation"] + unit["n_purged"]
        assert unit["n_rows"] == unit["n_labelled"] + unit["n_without_label"]
        n_without_probability = unit["n_fold_one_class"] + unit["n_fold_too_small"]
        assert unit["n_labelled"] == unit["n_with_probability"] + n_without_probability


def test_the_counts_of_every_teacher_are_those_of_its_tables(whole: Run) -> None:
    """Counted again from the symbol's rows in the window and from the teacher's own rows."""
    for unit in teachers_of(whole):
        window = whole.window(unit["symbol"], unit["window"]).window
        rows = read_table(whole.folder.rows(window.symbol)).filter(
            pl.col("session").is_between(window.start, window.end)
        )
        taught = read_table(whole.folder.teacher(window.label) / "labels.parquet")

        assert unit["n_bars"] == rows.height
        assert unit["n_labelled"] == rows["label"].count() == taught.height
        assert unit["n_positive"] == rows["label"].sum() == taught["label"].sum()
        assert unit["n_validation"] == taught["is_validation"].sum()
        assert unit["n_with_probability"] == taught["teacher_probability"].count()
        assert taught["session"].to_list() == rows.drop_nulls("label")["session"].to_list()


def test_what_validates_a_teacher_begins_after_all_that_trained_it(whole: Run) -> None:
    """No row that trains knows its label only when the first validated session has come."""
    for unit in teachers_of(whole):
        taught = read_table(whole.folder.teacher(label_of(whole, unit)) / "labels.parquet")
        validated = taught.filter("is_validation")["session"].to_list()
        before = taught.filter(pl.col("session") < validated[0])
        trained = before.filter(pl.col("label_end") < validated[0])

        assert trained.height == unit["n_train"]
        assert before.height - trained.height == unit["n_purged"]


def test_a_label_is_what_the_bars_say(whole: Run) -> None:
    """Open of t+1 to close of t+h in calendar sessions, by brute force over one symbol."""
    config, calendar = whole.config.labels, nse_calendar()
    cost = round_trip_cost_frac(whole.config.costs, whole.request.start)
    bars = {row["session"]: row for row in read_table(whole.folder.bars("SIM01")).to_dicts()}
    rows = read_table(whole.folder.rows("SIM01")).filter(
        pl.col("session").is_between(whole.request.start, whole.request.end)
    )
    assert rows["label"].null_count() > 0
    for row in rows.iter_rows(named=True):
        entry = bars.get(calendar.offset(row["session"], 1))
        leave = bars.get(calendar.offset(row["session"], config.horizon_sessions))
        if entry is None or leave is None:
            assert (row["label"], row["unlabelled_reason"]) == (None, "missing_bar")
            continue
        gross = leave["close"] / entry["open"] - 1
        assert row["forward_return"] == pytest.approx(gross, rel=1e-12)
        assert row["label"] == int(gross - cost > config.threshold_frac)


@pytest.mark.parametrize(
    ("symbol", "place", "reason"),
    [
        ("SIM03", 0, SkipReason.PRE_LISTING),
        ("SIM01", -1, SkipReason.INSUFFICIENT_SAMPLES),
        ("SIM01", 4, SkipReason.INSUFFICIENT_SAMPLES),
    ],
    ids=["before the listing", "a stub of six days", "a hole of forty sessions"],
)
def test_a_window_that_cannot_be_trained_says_why(
    whole: Run, symbol: str, place: int, reason: SkipReason
) -> None:
    """It has no folder, and its record names it and the reason."""
    window = whole.windows_of(symbol)[place]

    with pytest.raises(WindowSkippedError, match="window cannot be trained") as caught:
        training.train_window(whole, symbol, window.short)

    assert caught.value.reason == reason
    assert caught.value.where == window.label
    assert not whole.folder.teacher(window.label).exists()
    units = read_table(whole.folder.units("teacher"))
    record = units.row(
        by_predicate=pl.col("name") == f"teacher {symbol} {window.short}", named=True
    )
    assert (record["outcome"], record["reason"]) == (Outcome.SKIPPED, reason)
    assert (record["symbol"], record["window"]) == (symbol, window.short)


def test_a_symbol_without_rows_has_no_teacher_and_no_student(copied: Run) -> None:
    """The cause counts once, at the unit that should have made the rows; windows are skipped."""
    unit = teachers_of(copied)[0]
    copied.folder.rows(unit["symbol"]).unlink()

    with pytest.raises(WindowSkippedError, match="no features and labels") as caught:
        training.train_window(copied, unit["symbol"], unit["window"])
    assert caught.value.reason == SkipReason.NO_FEATURES
    with pytest.raises(NoTeacherError):
        distillation.train_student_of(copied, unit["symbol"], unit["window"])


def test_a_window_that_is_skipped_keeps_no_earlier_teacher(copied: Run) -> None:
    """Nor does the sum of the teachers count it."""
    window = copied.windows_of("SIM02")[0]
    plan = read_json(copied.folder.plan)
    planned = next(row for row in plan if row["window"]["symbol"] == "SIM02")
    planned["skip"] = "suspended"
    write_json(copied.folder.plan, plan)
    before = training.describe(copied).values["n_teachers"]
    run = load_run(copied.folder)

    with pytest.raises(WindowSkippedError) as caught:
        training.train_window(run, "SIM02", window.short)

    assert caught.value.reason == SkipReason.SUSPENDED
    assert not run.folder.teacher(window.label).exists()
    assert isinstance(before, int)
    assert training.describe(run).values["n_teachers"] == before - 1


def test_a_teacher_that_is_no_longer_planned_does_not_count(copied: Run) -> None:
    """A folder of a former plan may lie there; the stage speaks of its own windows."""
    write_json(copied.folder.plan, read_json(copied.folder.plan)[:2])

    assert training.describe(load_run(copied.folder)).values["n_teachers"] == 2


def test_the_same_rows_give_the_same_teacher(copied: Run) -> None:
    """Features, model, labels and importances are written again with the very same bytes."""
    window = copied.windows_of("SIM02")[0]
    folder = copied.folder.teacher(window.label)
    files = [*sorted(folder.iterdir()), copied.folder.rows("SIM02")]
    before = {path: sha256_of(path) for path in files}
    assert len(files) == 5

    training.prepare_rows(copied, "SIM02")
    unit = training.train_window(copied, "SIM02", window.short)

    assert {path: sha256_of(path) for path in files} == before
    assert unit.sha256 == before[folder / "metadata.json"]


def test_a_row_without_any_feature_teaches_nothing(
    execute: Callable[..., Run], settings: RunSettings, tmp_path: Path
) -> None:
    """SIM03's first bars have no moving average yet: they are in no teacher and in no count."""
    only_trend = FeatureConfig(momentum=False, volatility=False, volume=False)
    columns = model_columns(only_trend)
    asked = RunSettings(
        request=RunRequest(
            symbols=("SIM03",),
            start=date(2022, 9, 28),
            end=date(2022, 12, 26),
            source=settings.request.source,
        ),
        config=settings.config.model_copy(update={"features": only_trend}),
    )

    run = execute(tmp_path, asked, **FIRST_STAGES)

    rows = read_table(run.folder.rows("SIM03")).head(5)
    assert rows["label"].null_count() == 0
    assert all(rows[name].null_count() == 5 for name in columns)
    (unit,) = teachers_of(run)
    taught = read_table(run.folder.teacher(label_of(run, unit)) / "labels.parquet")
    assert taught["session"].to_list()[0] > rows["session"].to_list()[-1]
    assert unit["n_labelled"] == taught.height < unit["n_bars"]
    unlabelled = sum(unit[name] for name in unit if name.startswith("n_unlabelled_"))
    assert unit["n_feature_rows"] == unit["n_labelled"] + unlabelled
