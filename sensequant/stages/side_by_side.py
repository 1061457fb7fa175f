"""Models beside each other: what a model says of given bars, and what trading on it earns.

Belongs here: how the students of a model score bars that several models are held against, and how
each trades. Does not belong here: which models and bars (`stages.champion`, `stages.contest`),
what their difference is worth (`evaluation.side_by_side`).

Every model is asked through its own settings of features, and trades by its own threshold, sizes
and horizon: that is what would be deployed. Costs are those of whoever compares.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from sensequant.evaluation.backtest import run_backtest
from sensequant.evaluation.costs import CostConfig
from sensequant.evaluation.side_by_side import Side
from sensequant.features.registry import FeatureConfig
from sensequant.market.sessions import nse_calendar
from sensequant.prediction import PREDICTED_SCHEMA, predict_features
from sensequant.release.models import Model
from sensequant.settings import TrainingConfig
from sensequant.student_file import Student, read_student
from sensequant.windows import POOLED

__all__ = ["FeaturesOf", "Ground", "learnt_through", "said_of", "students_of", "traded_side"]

FeaturesOf = Callable[[FeatureConfig], pl.DataFrame]
"""From settings to symbol, session and the columns of features of the bars that are scored."""


@dataclass(frozen=True, slots=True)
class Ground:
    """The bars on which models are compared.

    Attributes
    ----------
    bars
        Adjusted bars, as `evaluation.backtest.run_backtest` takes them.
    symbols
        That count.
    first, last
        First session of a decision, and last session that is traded.
    costs
        What a trade costs.
    """

    bars: pl.DataFrame
    symbols: Sequence[str]
    first: date
    last: date
    costs: CostConfig


def students_of(model: Model) -> dict[str, Student]:
    """Return the students of a deployed model, verified, by symbol or under `universe`.

    Raises
    ------
    RecordError, DigestMismatchError
        A student is not the one that was written.
    """
    return {
        owner: read_student(path, sha256=sha256) for owner, (path, sha256) in model.students.items()
    }


def learnt_through(students: Collection[Student]) -> date:
    """Return the last session that one of these students has learnt from."""
    return max(student.file.trained_through for student in students)


def said_of(
    students: dict[str, Student],
    features_of: FeaturesOf,
    *,
    sessions: Collection[date],
    symbols: Collection[str],
) -> pl.DataFrame:
    """Return what the students of a model say of some sessions (`prediction.PREDICTED_SCHEMA`).

    Parameters
    ----------
    students
        By their symbol, or under `universe` the one of all symbols.
    features_of
        The features of the bars.
    sessions
        To score; none that a student has learnt from.
    symbols
        Whose rows to score; those without a student are left out.

    Raises
    ------
    LeakageError
        A session is one that a student has learnt from.
    RecordError
        These features are not those that a student was trained on.
    ConfigError
        A family of features is asked for whose data are absent.
    """
    asked = {
        owner: set(symbols) if owner == POOLED else {owner} & set(symbols) for owner in students
    }
    parts = [
        predict_features(
            students[owner],
            features_of(students[owner].file.features),
            sessions=sessions,
            symbols=mine,
        ).rows
        for owner, mine in asked.items()
        if mine
    ]
    return pl.concat(parts or [PREDICTED_SCHEMA.to_frame()]).sort("session", "symbol")


def traded_side(scores: pl.DataFrame, ground: Ground, *, config: TrainingConfig) -> Side:
    """Trade the scores of a model by its own settings; return both.

    Parameters
    ----------
    scores
        symbol, session, score, probability of sessions from the first of the ground on.
    ground
        Bars, symbols, sessions and costs.
    config
        Of the model.

    Raises
    ------
    DataError, ConfigError
        As `evaluation.backtest.run_backtest`.
    """
    calendar = nse_calendar()
    account = run_backtest(
        scores,
        ground.bars.filter(
            pl.col("symbol").is_in(ground.symbols), pl.col("session") <= ground.last
        ),
        horizon_sessions=config.labels.horizon_sessions,
        costs=ground.costs,
        config=config.backtest,
        within=(calendar.number_of(ground.first) + 1, calendar.number_of(ground.last)),
    )
    return Side(
        scores.select("symbol", "session", "score", "probability"),
        account.equity.select("session", "net_return"),
    )
