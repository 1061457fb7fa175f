"""Facts about stage 2: which rows reach a teacher, and what the counts say."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from sensequant.errors import MissingBarsError
from sensequant.evaluation.costs import round_trip_cost_frac
from sensequant.features.registry import FeatureConfig, model_columns
from sensequant.labels import LABEL_COLUMNS, UNLABELLED_REASONS
from sensequant.market.sessions import nse_calendar
from sensequant.records import Outcome, SkipReason
from sensequant.runs import RunFolder, Stage
from sensequant.settings import RunRequest, TrainingConfig
from sensequant.stages import distillation, training
from sensequant.stages.context import Run, RunSettings, load_run
from sensequant.stages.distillation import NoTeacherError
from sensequant.stages.training import WindowSkippedError
from sensequant.storage import read_json, read_table, sha256_of, write_json, write_table
from sensequant.windows import POOLED, PlannedWindow

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
    ("symbol", "place", "reason", "words"),
    [
        ("SIM03", 0, SkipReason.PRE_LISTING, "not listed yet"),
        ("SIM01", -1, SkipReason.INSUFFICIENT_SAMPLES, "Too few labelled rows"),
        ("SIM01", 4, SkipReason.INSUFFICIENT_SAMPLES, "Too few labelled rows"),
    ],
    ids=["before the listing", "a stub of six days", "a hole of forty sessions"],
)
def test_a_window_that_cannot_be_trained_says_why(
    whole: Run, symbol: str, place: int, reason: SkipReason, words: str
) -> None:
    """It has no folder, and its record names it and the reason."""
    window = whole.windows_of(symbol)[place]

    with pytest.raises(WindowSkippedError, match=words) as caught:
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

    training.prepare_rows(copied)
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


def test_features_of_all_symbols_are_made_at_once_and_each_has_its_record(copied: Run) -> None:
    """One record and one table per symbol, and the returns that rewards are taken from."""
    shutil.rmtree(copied.folder.all_rows)
    copied.folder.reward_returns.unlink()

    units = training.prepare_rows(copied)

    assert [unit.name for unit in units] == [f"features {symbol}" for symbol in copied.symbols]
    for unit in units:
        rows = read_table(copied.folder.rows(str(unit.symbol)))
        assert unit.sha256 == sha256_of(copied.folder.rows(str(unit.symbol)))
        assert unit.counts == {"n_bars": rows.height, "n_labelled": rows["label"].count()}
        assert rows["session"].equals(read_table(copied.folder.bars(str(unit.symbol)))["session"])
    returns = read_table(copied.folder.reward_returns)
    assert returns.height == sum(unit.counts["n_bars"] for unit in units)


def spoil(run: Run, symbol: str) -> None:
    """Write a price that no bar can have."""
    bars = read_table(run.folder.bars(symbol))
    is_last = pl.int_range(pl.len()) == bars.height - 1
    close = pl.when(is_last).then(-1.0).otherwise("close").alias("close")
    write_table(run.folder.bars(symbol), bars.with_columns(close))


def test_a_symbol_whose_bars_cannot_be_used_is_left_out_alone(copied: Run) -> None:
    """Its record says why; the rows of the others are the same as before."""
    before = {symbol: read_table(copied.folder.rows(symbol)) for symbol in copied.symbols}
    spoil(copied, "SIM02")
    copied.folder.rows("SIM02").unlink()

    units = {unit.symbol: unit for unit in training.prepare_rows(copied)}

    assert units["SIM02"].outcome is Outcome.SKIPPED
    assert units["SIM02"].reason == SkipReason.INVALID_BARS
    assert units["SIM02"].name == "features SIM02"
    assert not copied.folder.rows("SIM02").exists()
    for symbol in ("SIM01", "SIM03"):
        assert units[symbol].outcome is Outcome.SUCCESS
        assert read_table(copied.folder.rows(symbol)).equals(before[symbol])


def test_without_any_usable_bars_there_is_nothing_to_learn(copied: Run) -> None:
    """It is an error of the unit that makes the rows of all."""
    for symbol in copied.symbols:
        spoil(copied, symbol)

    with pytest.raises(MissingBarsError, match="no symbol has usable bars"):
        training.prepare_rows(copied)


def test_one_teacher_of_all_symbols_learns_from_the_rows_of_all(one_teacher: Run) -> None:
    """By brute force: every labelled row of every symbol in the window, once, under one name."""
    units = teachers_of(one_teacher)
    n_symbols: list[int] = []
    for unit in units:
        window = one_teacher.window(POOLED, unit["window"]).window
        rows = pl.concat(
            [read_table(one_teacher.folder.rows(symbol)) for symbol in one_teacher.symbols]
        ).filter(pl.col("session").is_between(window.start, window.end))
        folder = one_teacher.folder.teacher(window.label)
        taught = read_table(folder / "labels.parquet")
        keys = ["symbol", "session"]

        assert folder.name == f"universe_{window.start}_to_{window.end}"
        assert (
            taught.select(keys).sort(keys).equals(rows.drop_nulls("label").select(keys).sort(keys))
        )
        assert unit["n_bars"] == rows.height
        assert tuple(sorted(set(taught["symbol"]))) == tuple(
            read_json(folder / "metadata.json")["symbols"]
        )
        n_symbols.append(taught["symbol"].n_unique())
    assert {unit["symbol"] for unit in units} == {POOLED}
    assert n_symbols == [2, 2, 2, 3, 3, 3]


def test_out_of_fold_means_the_fold_of_all_symbols(one_teacher: Run) -> None:
    """All rows of one session are held out together: symbols share the market of a day."""
    for unit in teachers_of(one_teacher):
        folder = one_teacher.folder.teacher(label_of(one_teacher, unit))
        folds = (
            read_table(folder / "labels.parquet").group_by("session").agg("fold", "is_validation")
        )
        for name in ("fold", "is_validation"):
            assert folds[name].list.n_unique().to_list() == [1] * folds.height


def key_of(run: Run, symbol: str, place: int) -> str:
    window = run.windows_of(symbol)[place]
    return training.teacher_key(run, {"symbol": symbol, "window": window.short})


def keys_of(run: Run) -> dict[tuple[str, str], str]:
    windows = [planned.window for planned in run.windows] + run.pooled_windows
    return {
        (each.symbol, each.short): training.teacher_key(
            run, {"symbol": each.symbol, "window": each.short}
        )
        for each in windows
    }


@pytest.mark.parametrize("place", [0.0, 0.5, 1.0], ids=["before", "inside", "after"])
def test_a_key_changes_with_exactly_the_windows_whose_rows_changed(
    copied: Run, place: float
) -> None:
    """One bar is altered: windows before its labels and of other symbols keep their keys.

    A bar reaches as far back as the longest label, and as far ahead as the longest feature.
    """
    bars = read_table(copied.folder.bars("SIM02"))
    window = copied.windows_of("SIM02")[3]
    inside = bars.filter(pl.col("session").is_between(window.start, window.end))["session"]
    session = {0.0: bars["session"][100], 0.5: inside[30], 1.0: bars["session"][-1]}[place]
    before_rows = {symbol: read_table(copied.folder.rows(symbol)) for symbol in copied.symbols}
    before = keys_of(copied)
    is_it = pl.col("session") == session
    higher = [
        pl.when(is_it).then(pl.col(name) * 1.01).otherwise(name).alias(name)
        for name in ("open", "high", "low", "close")
    ]
    write_table(copied.folder.bars("SIM02"), bars.with_columns(higher))

    training.prepare_rows(copied)

    after = keys_of(copied)
    changed = {
        row["session"]
        for old, new in zip(
            before_rows["SIM02"].iter_rows(named=True),
            read_table(copied.folder.rows("SIM02")).iter_rows(named=True),
            strict=True,
        )
        if (row := new) != old
    }
    assert session in changed
    expected = {
        (each.symbol, each.short)
        for each in [*copied.windows_of("SIM02"), *copied.pooled_windows]
        if any(each.start <= day <= each.end for day in changed)
    }
    assert {name for name in before if after[name] != before[name]} == expected
    assert len(expected) < len(before) / 2
    assert ("SIM02", copied.windows_of("SIM02")[2].short) not in expected or place == 0.0
    assert len(set(before.values())) == len(before)


def test_a_range_that_begins_a_window_later_knows_the_windows_that_it_shares(whole: Run) -> None:
    """The place of a window in its range is no part of what a teacher follows from."""
    first, *shared = whole.pooled_windows
    later = whole.request.model_copy(update={"start": shared[0].start})
    other = Run(whole.folder, later, whole.config)

    assert [each.index for each in other.pooled_windows] == [each.index - 1 for each in shared]
    for place, window in enumerate(other.pooled_windows):
        assert key_of(other, POOLED, place) == key_of(whole, POOLED, place + 1), window
    assert key_of(whole, POOLED, 0) not in keys_of(other).values(), first


@pytest.mark.parametrize(
    ("group", "changes", "moves"),
    [
        ("teacher", {"reference_positive_frac": 0.4}, True),
        ("teacher", {"booster": {"n_estimators": 21}}, True),
        ("windows", {"min_samples": 30}, True),
        ("labels", {"sample_weights": "equal"}, True),
        ("features", {"momentum": False}, True),
        ("student", {"alpha": 0.4}, False),
        ("reward", {"scale": 2.0}, False),
        ("validation", {"n_placebo": 3}, False),
        ("backtest", {"position_frac": 0.05}, False),
    ],
)
def test_a_key_follows_the_settings_that_act_on_a_teacher(
    whole: Run, group: str, changes: dict[str, Any], moves: bool
) -> None:
    """What comes after the teacher takes none away."""
    values = whole.config.model_dump()
    values[group] |= changes
    other = Run(whole.folder, whole.request, TrainingConfig.model_validate(values))

    assert (key_of(other, "SIM01", 1) != key_of(whole, "SIM01", 1)) is moves


def test_a_key_follows_seed_code_and_plan(whole: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the three changes it."""
    keys = [key_of(whole, "SIM01", 1)]
    seeded = whole.config.model_copy(update={"seed": 1})
    keys.append(key_of(Run(whole.folder, whole.request, seeded), "SIM01", 1))
    planned = whole.window("SIM01", whole.windows_of("SIM01")[1].short)
    with monkeypatch.context() as patch:
        skipped = replace(planned, skip=SkipReason.SUSPENDED)

        def planned_to_skip(*_: object) -> PlannedWindow:
            return skipped

        patch.setattr(Run, "window", planned_to_skip)
        keys.append(key_of(whole, "SIM01", 1))
    monkeypatch.setattr(training, "code_version", lambda: "other")
    keys.append(key_of(whole, "SIM01", 1))

    assert len(set(keys)) == 4


def test_a_key_is_the_same_in_another_run(whole: Run, copied: Run) -> None:
    """Neither the home nor the id of the run enters."""
    other = RunFolder(copied.folder.home, "live_candidate_20310708_091000_ffffffff")
    copied.folder.root.rename(other.root)

    assert keys_of(load_run(other)) == keys_of(whole)


def test_a_window_without_rows_has_a_key_all_the_same(copied: Run) -> None:
    """A skip is an answer like another; with rows it is another one."""
    before = key_of(copied, "SIM02", 0)
    copied.folder.rows("SIM02").unlink()

    assert key_of(copied, "SIM02", 0) != before
    for symbol in copied.symbols:
        copied.folder.rows(symbol).unlink(missing_ok=True)
    with pytest.raises(WindowSkippedError, match="no features and labels"):
        training.window_rows(copied, copied.pooled_windows[0])


@pytest.mark.parametrize(
    ("n_rows", "n_threads"), [(0, 1), (9_999, 1), (10_000, 2), (35_000, 4), (1_000_000, 4)]
)
def test_only_a_large_fit_uses_threads(n_rows: int, n_threads: int) -> None:
    """Another one for each 10,000 rows, up to the number of workers."""
    run: Any = SimpleNamespace(record=SimpleNamespace(workers=4))

    assert training.threads_for(run, n_rows) == n_threads
