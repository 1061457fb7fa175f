"""Scores of new sessions: from adjusted bars to what a stored student says, and how usual they are.

Belongs here: the way from bars through the student's own feature settings to scores, and the drift
of the new rows. Does not belong here: adjusting of bars (`market.adjustments`), rows of a run that
have labels (`student_file.score_out_of_sample`), what is done with a score.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date

import polars as pl

from sensequant.boosting import feature_matrix
from sensequant.errors import LeakageError, RecordError
from sensequant.features.build import build_features
from sensequant.features.context import NO_CONTEXT, MarketContext
from sensequant.student_drift import measure_drift
from sensequant.student_file import Student
from sensequant.student_record import StudentFile

__all__ = ["PREDICTED_SCHEMA", "Prediction", "predict_bars", "predict_features"]

PREDICTED_SCHEMA = pl.Schema(
    {
        "symbol": pl.String,
        "session": pl.Date,
        "score": pl.Float64,
        "probability": pl.Float64,
        "novelty": pl.Float64,
        "reason": pl.String,
    }
)
"""One row per symbol and session; score and probability are null where there is a reason."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a student says of new sessions.

    Attributes
    ----------
    rows
        `PREDICTED_SCHEMA`, in the order of the bars.
    drift
        `student_drift.DRIFT_SCHEMA` of all these rows against the training rows.
    n_scored, n_novel, n_expired
        Rows with a score, and rows without one by their reason.
    """

    rows: pl.DataFrame
    drift: pl.DataFrame
    n_scored: int
    n_novel: int
    n_expired: int


def predict_bars(
    student: Student,
    bars: pl.DataFrame,
    *,
    context: MarketContext = NO_CONTEXT,
    sessions: Collection[date] | None = None,
    symbols: Collection[str] | None = None,
    n_threads: int = 1,
) -> Prediction:
    """Score sessions that came after everything the student has seen.

    Parameters
    ----------
    student
        The student; its file says how features are built.
    bars
        Adjusted bars of any symbols as `build_features` takes them, with enough earlier sessions
        for the features to warm up.
    context
        The market around the symbols, as far as the student's features need it.
    sessions
        Sessions to score; None for all after the last one that the student learnt from. A session
        without bars has no rows.
    symbols
        Whose rows to score; None for all. The others count in what compares symbols.
    n_threads
        Threads to use.

    Returns
    -------
    Prediction
        Scores known after the close of their session, and the drift of the rows.

    Raises
    ------
    LeakageError
        A session to score is one that the student learnt from.
    RecordError
        These features are not those that the student was trained on; the message names the
        differences.
    InvalidBarsError
        The bars are not as `build_features` takes them.
    """
    _require_unseen(sessions, student.file)
    features = build_features(bars, student.file.features, context)
    return predict_features(
        student, features, sessions=sessions, symbols=symbols, n_threads=n_threads
    )


def predict_features(
    student: Student,
    features: pl.DataFrame,
    *,
    sessions: Collection[date] | None = None,
    symbols: Collection[str] | None = None,
    n_threads: int = 1,
) -> Prediction:
    """Score rows of features that are built already; the rest is as in `predict_bars`.

    Parameters
    ----------
    student, sessions, symbols, n_threads
        As in `predict_bars`.
    features
        symbol, session, and the columns that the student's own settings build.
    """
    file = student.file
    _require_unseen(sessions, file)
    _require_same_columns(features, file)
    asked = pl.col("session") > file.trained_through
    if sessions is not None:
        asked = pl.col("session").is_in(sorted(set(sessions)))
    if symbols is not None:
        asked = asked & pl.col("symbol").is_in(sorted(set(symbols)))
    rows = features.filter(asked)
    judged = student.judge(rows, n_threads=n_threads)
    counts = Counter(judged["reason"].to_list())
    return Prediction(
        rows=pl.concat([rows.select("symbol", "session"), judged], how="horizontal"),
        drift=measure_drift(file.drift, file.columns, feature_matrix(rows, file.columns)),
        n_scored=counts[None],
        n_novel=counts["novel"],
        n_expired=counts["expired"],
    )


def _require_unseen(sessions: Collection[date] | None, file: StudentFile) -> None:
    seen = [session for session in sessions or () if session <= file.trained_through]
    if seen:
        raise LeakageError(
            "a session to score is one that the student learnt from",
            where=", ".join(map(str, sorted(seen)[:3])),
            expected=f"sessions after {file.trained_through}",
            found=f"{len(seen)} at or before it",
            remedy="ask for later sessions, or train a student that ends earlier",
        )


def _require_same_columns(features: pl.DataFrame, file: StudentFile) -> None:
    built = tuple(name for name in features.columns if name not in {"symbol", "session"})
    if built == file.columns:
        return
    missing = [name for name in file.columns if name not in built]
    extra = [name for name in built if name not in file.columns]
    raise RecordError(
        "features are not those that the student was trained on",
        where=f"missing: {', '.join(missing) or 'none'}; new: {', '.join(extra) or 'none'}",
        expected=f"{len(file.columns)} columns in the order of the student",
        found=f"{len(built)} columns" if missing or extra else "another order",
        remedy="use the version of sensequant that it was trained with, or train it again",
    )
