"""The end of stage 3: scores, rewards and comparisons of all students, and those to deploy.

Belongs here: which students' scores are the evidence, and which files sum them up. Does not belong
here: training (`stages.distillation`), what the scores are worth as a whole (`stages.evidence`).

The candidate are the last students of the scope whose scores are the evidence: one file for all
symbols, or one for each.
"""

import shutil
from pathlib import Path

import polars as pl

from sensequant.evaluation.comparison import ComparisonRecord, ScorePair, compare_scores
from sensequant.records import derive_seed
from sensequant.reward import paired_rewards, reward_decisions
from sensequant.stages.context import Findings, Run
from sensequant.stages.distillation import (
    UNWEIGHTED,
    WEIGHTED,
    WITHOUT_TEACHER,
    is_evidence,
    planned_students,
)
from sensequant.storage import read_json, read_table, write_atomically, write_json, write_table
from sensequant.student_file import PREDICTIONS_SCHEMA
from sensequant.windows import POOLED, Window

__all__ = [
    "candidate_files",
    "evidence_scores",
    "gather",
    "read_comparisons",
    "scores_by_variant",
]


_OTHER_SCOPE = "score_of_other_scope"


def gather(run: Run) -> Findings:
    """Put the scores of all students into one table, and say what their variants are worth.

    A symbol and session is scored once, because windows do not overlap.
    """
    predictions = evidence_scores(run)
    write_table(run.folder.predictions, predictions)
    _write_rewards(run, predictions)
    comparisons = _comparisons(run, predictions)
    write_json(
        run.folder.comparisons,
        {name: found.model_dump(mode="json") for name, found in comparisons.items()},
    )
    candidates = _write_candidate(run)
    return Findings(
        values={
            "n_students": len(_students(run, evidence=True)),
            "n_students_beside": len(_students(run, evidence=False)),
            "scope": run.config.student.scope,
            "n_candidates": len(candidates),
            "n_scored": predictions["score"].count(),
            "n_scored_with_label": predictions.filter(pl.col("score").is_not_null())[
                "label"
            ].count(),
            "n_scored_windows": predictions["scored_window"].n_unique(),
            "first_scored": _text(predictions["session"].min()),
            "last_scored": _text(predictions["session"].max()),
        },
    )


def evidence_scores(run: Run) -> pl.DataFrame:
    """Return the out-of-sample scores of the students whose scores are the evidence."""
    return _predictions(run, evidence=True)


def read_comparisons(run: Run) -> dict[str, ComparisonRecord]:
    """Return the comparisons of students' variants by name."""
    stored = read_json(run.folder.comparisons)
    return {name: ComparisonRecord.model_validate(found) for name, found in stored.items()}


def scores_by_variant(run: Run) -> dict[str, pl.DataFrame]:
    """Return the scores (symbol, session, score) of every variant, and of the other scope."""
    keys = ["symbol", "session"]
    predictions = read_table(run.folder.predictions)
    scores = {
        name.removeprefix("score_"): predictions.select(*keys, score=name)
        for name in predictions.columns
        if name.startswith("score_")
    }
    beside = _predictions(run, evidence=False)
    return scores | {"other_scope": beside.select(*keys, "score")}


def candidate_files(run: Run) -> dict[str, Path]:
    """Return the files of the students to deploy, by symbol or under `universe` for all."""
    return {path.stem: path for path in sorted(run.folder.candidate.glob("*.json"))}


def _students(run: Run, *, evidence: bool) -> list[Window]:
    return [
        window
        for window in planned_students(run)
        if is_evidence(run, window.symbol) is evidence
        if (run.folder.student(window.label) / "metadata.json").exists()
    ]


def _predictions(run: Run, *, evidence: bool) -> pl.DataFrame:
    folders = (run.folder.student(window.label) for window in _students(run, evidence=evidence))
    tables = [read_table(folder / "predictions.parquet") for folder in folders]
    # A run without rewards has no weighted variant, and its last student scores nothing.
    whole = pl.concat(tables or [PREDICTIONS_SCHEMA.to_frame()], how="diagonal")
    return whole.sort("symbol", "session")


def _write_rewards(run: Run, predictions: pl.DataFrame) -> None:
    returns = read_table(run.folder.reward_returns)
    write_table(run.folder.rewards, reward_decisions(predictions, returns, run.config.reward))


def _comparisons(run: Run, predictions: pl.DataFrame) -> dict[str, ComparisonRecord]:
    beside = _predictions(run, evidence=False).select(
        "symbol", "session", pl.col("score").alias(_OTHER_SCOPE)
    )
    rows = predictions.join(beside, on=["symbol", "session"], how="left", maintain_order="left")
    rows = _with_rewards(run, rows)
    return {
        pair.name: compare_scores(
            rows,
            pair,
            horizon_sessions=run.config.labels.horizon_sessions,
            seed=derive_seed(run.config.seed, "comparison", pair.name),
            config=run.config.validation,
        )
        for pair in _pairs(run)
        if {pair.candidate, pair.reference} <= set(rows.columns)
    }


def _with_rewards(run: Run, rows: pl.DataFrame) -> pl.DataFrame:
    scores = [name for name in rows.columns if name.startswith("score_")]
    rewarded = paired_rewards(
        rows, read_table(run.folder.reward_returns), columns=scores, config=run.config.reward
    )
    # A signal is read off a score; the probability of the same student earns the same reward.
    return rewarded.with_columns(
        pl.col(f"reward_{name}").alias(f"reward_{name.replace('score', 'probability', 1)}")
        for name in scores
    )


def _pairs(run: Run) -> list[ScorePair]:
    kind = "score" if run.config.student.calibration == "none" else "probability"
    mine, other = f"score_{UNWEIGHTED}", _OTHER_SCOPE
    is_pooled = run.config.student.scope == POOLED
    return [
        ScorePair("distillation", f"{kind}_{UNWEIGHTED}", f"{kind}_{WITHOUT_TEACHER}"),
        ScorePair("weighting", f"{kind}_{WEIGHTED}", f"{kind}_{UNWEIGHTED}"),
        ScorePair("pooling", *((mine, other) if is_pooled else (other, mine))),
    ]


def _write_candidate(run: Run) -> list[Path]:
    shutil.rmtree(run.folder.candidate, ignore_errors=True)
    # In the order of time, so that the last one of each symbol stays.
    last = {window.symbol: window for window in _students(run, evidence=True)}
    written: list[Path] = []
    for symbol, window in sorted(last.items()):
        text = (run.folder.student(window.label) / "student.json").read_bytes()
        path = run.folder.candidate / f"{symbol}.json"
        write_atomically(path, text)
        written.append(path)
    return written


def _text(value: object) -> str | None:
    return None if value is None else str(value)
