"""Facts about the end of stage 3: which scores are the evidence, and who is deployed."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sensequant.evaluation.measures import log_loss, roc_auc
from sensequant.records import Outcome
from sensequant.runs import Stage
from sensequant.settings import TrainingConfig
from sensequant.stages import distillation, students_evidence
from sensequant.stages.context import Run, load_run
from sensequant.stages.distillation import NoTeacherError, is_evidence
from sensequant.stages.students_evidence import candidate_files, gather, read_comparisons
from sensequant.storage import read_json, read_table, write_json
from sensequant.student_file import PREDICTIONS_SCHEMA
from sensequant.windows import POOLED


def students_of(run: Run, *, evidence: bool) -> list[dict[str, Any]]:
    units = read_table(run.folder.units("student"))
    made = units.filter(pl.col("outcome") == Outcome.SUCCESS).to_dicts()
    return [unit for unit in made if is_evidence(run, unit["symbol"]) is evidence]


def test_findings_are_counted_in_the_predictions(scoped: Run) -> None:
    """Every number of the stage can be counted again."""
    predictions = read_table(scoped.folder.predictions)
    scored = predictions.drop_nulls("score")
    findings = read_json(scoped.folder.stage_record(Stage.STUDENT_TRAINING))["findings"]

    assert findings == {
        "n_students": len(students_of(scoped, evidence=True)),
        "n_students_beside": len(students_of(scoped, evidence=False)),
        "scope": scoped.config.student.scope,
        "n_candidates": 1 if scoped.config.student.scope == POOLED else 3,
        "n_scored": scored.height,
        "n_scored_with_label": scored.drop_nulls("label").height,
        "n_scored_windows": len(set(predictions["scored_window"])),
        "first_scored": min(predictions["session"].to_list()).isoformat(),
        "last_scored": max(predictions["session"].to_list()).isoformat(),
    }


def _students_by_owner(run: Run, names: Iterable[str]) -> list[list[Path]]:
    students = run.folder.root / "students"
    return [list(students.glob(f"{name}_*/student.json")) for name in names]


def test_the_candidate_is_the_last_student_of_the_evidence(scoped: Run) -> None:
    """One file for all symbols or one of each symbol: the very bytes of its last student."""
    is_pooled = scoped.config.student.scope == POOLED
    files = candidate_files(scoped)

    assert sorted(files) == ([POOLED] if is_pooled else scoped.symbols)
    for name, path in files.items():
        made = sorted((scoped.folder.root / "students").glob(f"{name}_*/student.json"))
        assert path.read_bytes() == made[-1].read_bytes()
        assert all(each.read_bytes() != path.read_bytes() for each in made[:-1])
    assert any(len(made) > 1 for made in _students_by_owner(scoped, files))


def test_a_student_that_is_gone_is_deployed_no_more(copied: Run) -> None:
    """The folder is made anew, with what is there now."""
    (last,) = candidate_files(copied).values()
    before = last.read_bytes()
    made = sorted((copied.folder.root / "students").glob(f"{POOLED}_*/metadata.json"))
    made[-1].unlink()

    gather(copied)

    assert last.read_bytes() != before
    assert last.read_bytes() == made[-2].with_name("student.json").read_bytes()


def test_rewards_are_those_of_the_evidence(scoped: Run) -> None:
    """One per decision, in its order; sign of the opinion times the return, by brute force."""
    predictions = read_table(scoped.folder.predictions)
    rewards = read_table(scoped.folder.rewards)
    config = scoped.config.reward
    returns = {
        (row["symbol"], row["session"]): row["reward_return"]
        for row in read_table(scoped.folder.reward_returns).iter_rows(named=True)
    }

    keys = ["symbol", "session", "score", "trained_window"]
    assert rewards.select(keys).equals(predictions.select(keys))
    n = 0
    for row in rewards.iter_rows(named=True):
        earned = returns[row["symbol"], row["session"]]
        if row["score"] is None or earned is None:
            assert row["reward"] is None
            continue
        opinion = row["score"] - config.neutral_score
        sign = 0 if abs(opinion) <= config.signal_band else 1 if opinion > 0 else -1
        if abs(earned) < config.dead_band_frac:
            earned = 0.0
        assert row["reward"] == pytest.approx(
            min(max(sign * earned, config.clip_min), config.clip_max), abs=1e-15
        )
        n += 1
    assert n > 300


def test_comparisons_are_made_on_the_rows_that_both_scored(scoped: Run) -> None:
    """Teacher or none, weights or none, pooled or not: candidate less reference, counted again."""
    found = read_comparisons(scoped)
    predictions = read_table(scoped.folder.predictions)
    beside = pl.concat(
        [
            read_table(scoped.folder.student(window.label) / "predictions.parquet").select(
                "symbol", "session", other="score"
            )
            for unit in students_of(scoped, evidence=False)
            for window in [scoped.window(unit["symbol"], unit["window"]).window]
        ]
    )
    rows = predictions.join(beside, on=["symbol", "session"], how="left")
    pooled, single = ("score_unweighted", "other")
    if scoped.config.student.scope == "symbol":
        pooled, single = single, pooled
    expected = {
        "distillation": ("probability_unweighted", "probability_without_teacher"),
        "weighting": ("probability_weighted", "probability_unweighted"),
        "pooling": (pooled, single),
    }

    assert found.keys() == expected.keys()
    for name, (one, other) in expected.items():
        both = rows.drop_nulls(["label", one, other])
        label, first, second = (both[column].to_numpy() for column in ("label", one, other))
        assert found[name].n_rows == both.height > 100
        for figure, measure in (("auc", roc_auc), ("log_loss", log_loss)):
            values = [measure(label, scores) for scores in (first, second)]
            difference = found[name].of(figure)
            inputs = [difference.inputs[name] for name in ("candidate", "reference")]
            assert values == pytest.approx(inputs, rel=1e-12)


def test_comparisons_know_the_rewards(whole: Run) -> None:
    """The mean reward of either variant, from the returns: a signal is read off the score."""
    found = read_comparisons(whole)["weighting"].of("mean_reward")
    rewards = read_table(whole.folder.rewards)
    mean = rewards.drop_nulls(["reward", "score"]).filter(pl.col("symbol").is_in(whole.symbols))

    assert found.estimate is not None
    labelled = read_table(whole.folder.predictions).drop_nulls("label").select("symbol", "session")
    mean = mean.join(labelled, on=["symbol", "session"])
    assert found.inputs["reference"] == pytest.approx(mean["reward"].mean(), rel=1e-12)


def test_comparisons_without_calibration_and_rewards(copied: Run) -> None:
    """Scores stand where probabilities would; a variant that was not trained is not compared."""
    values = copied.config.model_dump()
    values["student"] |= {"calibration": "none"}
    values["reward"] = {"mode": "none"}
    run = Run(copied.folder, copied.request, TrainingConfig.model_validate(values))
    for window in run.pooled_windows:
        if (run.folder.student(window.label) / "metadata.json").exists():
            distillation.train_student_of(run, POOLED, window.short)

    gather(run)

    found = read_comparisons(run)
    assert sorted(found) == ["distillation", "pooling"]
    assert found["distillation"].candidate == "score_unweighted"
    assert found["distillation"].reference == "score_without_teacher"


def test_a_window_that_lost_its_teacher_keeps_no_student(copied: Run) -> None:
    """Its scores leave the predictions with it."""
    window = copied.pooled_windows[0]
    for symbol in copied.symbols:
        label = copied.windows_of(symbol)[0].label
        (copied.folder.teacher(label) / "labels.parquet").unlink(missing_ok=True)
    before = read_table(copied.folder.predictions)

    with pytest.raises(NoTeacherError):
        distillation.train_student_of(copied, POOLED, window.short)
    gather(copied)

    assert not copied.folder.student(window.label).exists()
    kept = before.filter(pl.col("trained_window") != window.label)
    assert kept.height < before.height
    assert read_table(copied.folder.predictions).equals(kept)


def test_scores_of_a_former_plan_are_not_gathered(by_symbol: Run, copied: Run) -> None:
    """A window that is planned no more would give a session a second score."""
    run = Run(copied.folder, copied.request, by_symbol.config)
    gather(run)
    known = set(read_table(run.folder.predictions)["symbol"])
    assert {"SIM01", "SIM02"} <= known
    plan = read_json(copied.folder.plan)
    write_json(copied.folder.plan, [row for row in plan if row["window"]["symbol"] != "SIM02"])

    gather(Run(copied.folder, copied.request, by_symbol.config))

    assert set(read_table(run.folder.predictions)["symbol"]) == known - {"SIM02"}
    assert set(candidate_files(run)) >= known - {"SIM02"}
    assert "SIM02" not in candidate_files(run)


def test_without_students_there_is_an_empty_table(copied: Run) -> None:
    """Nothing scored is a count of zero and no first session, not an error."""
    for path in (copied.folder.root / "students").glob("*/metadata.json"):
        path.unlink()

    findings = students_evidence.gather(load_run(copied.folder)).values

    assert read_table(copied.folder.predictions).equals(PREDICTIONS_SCHEMA.to_frame())
    assert findings == {
        "n_students": 0,
        "n_students_beside": 0,
        "scope": POOLED,
        "n_candidates": 0,
        "n_scored": 0,
        "n_scored_with_label": 0,
        "n_scored_windows": 0,
        "first_scored": None,
        "last_scored": None,
    }
    assert candidate_files(copied) == {}
    assert read_table(copied.folder.rewards).is_empty()
