"""One model beside another on the same bars: what its scores and its trades were worth more.

Belongs here: the differences of two models with paired intervals, and their record. Does not
belong here: who scored and traded what (`stages.side_by_side`), differences of two columns of one
run alone (`evaluation.comparison`), tests of one series (`evaluation.inference`).

A difference is the candidate's figure minus the reference's, with the interval of draws in which
both are resampled together: rows by the two-way block bootstrap of `evaluation.comparison`,
sessions of returns by the stationary bootstrap (Politis and Romano 1994) of `evaluation.bootstrap`.
Scores count on the rows that both scored; returns on the sessions that both traded, each by its own
decisions. Below `FEWEST_BLOCKS` blocks there is no interval: so few draws of so few blocks are
nearly the same, and the interval would be too narrow.

Conventions: returns and drawdowns are fractions, drawdowns <= 0, so that more is better in all
figures but the log loss.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sensequant.evaluation import measures
from sensequant.evaluation.bootstrap import block_length, interval_of_draws, stationary_draws
from sensequant.evaluation.comparison import PairedDraws, ScorePair, draw_scores
from sensequant.evaluation.differences import UNDEFINED, is_told_from_zero
from sensequant.evaluation.figures import Figure, absent_figure
from sensequant.evaluation.measures import SESSIONS_PER_YEAR
from sensequant.evaluation.validation import ValidationConfig
from sensequant.records import Finite, Record, derive_seed, finite_or_none

__all__ = [
    "DELTAS",
    "FEWEST_BLOCKS",
    "Delta",
    "ModelComparison",
    "Side",
    "Terms",
    "compare_models",
]

_Floats = NDArray[np.float64]

FEWEST_BLOCKS = 5
"""With fewer blocks of sessions there is no interval."""

DELTAS = {
    "auc": "probability",
    "log_loss": "nats",
    "mean_excess_return": "fraction per year",
    "net_sharpe": "annual ratio",
    "max_drawdown": "fraction",
}
"""Name and unit of each difference."""

_LOWER_IS_BETTER = "log_loss"
_OF_RETURNS = tuple(DELTAS)[2:]
_CANDIDATE, _REFERENCE = "candidate", "reference"


class Delta(Record):
    """One figure of both models and what the candidate has more of it than the reference."""

    name: str
    candidate: Finite | None
    reference: Finite | None
    difference: Figure

    @property
    def is_worse(self) -> bool | None:
        """Whether the candidate is worse beyond chance; None where there is no interval."""
        is_told = is_told_from_zero(self.difference)
        if is_told is None or self.difference.value is None:
            return None
        is_less = self.difference.value < 0
        return is_told and (is_less is not (self.name == _LOWER_IS_BETTER))


class ModelComparison(Record):
    """Two models on the same bars.

    Attributes
    ----------
    first_session, last_session
        Of the decisions; None where there was none.
    n_rows, n_left_out
        Labelled rows that both scored, and those that only one of them scored.
    n_sessions, n_traded_sessions
        Sessions of these rows, and sessions that both traded.
    block_sessions
        Length of the blocks of the scores, and the least one of the returns.
    deltas
        One for each of `DELTAS`.
    """

    first_session: date | None
    last_session: date | None
    n_symbols: int
    n_rows: int
    n_left_out: int
    n_sessions: int
    n_traded_sessions: int
    block_sessions: int
    n_draws: int
    confidence: Finite
    seed: int
    deltas: tuple[Delta, ...]

    def of(self, name: str) -> Delta:
        """Return the difference of one figure of `DELTAS`."""
        return next(delta for delta in self.deltas if delta.name == name)


@dataclass(frozen=True, slots=True)
class Side:
    """What one model said and earned.

    Attributes
    ----------
    scores
        symbol, session, score and probability, in [0, 1] or null; one row per symbol and session.
    returns
        session, net_return: simple returns after costs, consecutive sessions.
    """

    scores: pl.DataFrame
    returns: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Terms:
    """How two models are compared.

    Attributes
    ----------
    config
        Draws, confidence and least block.
    horizon_sessions
        Overlap of neighbouring labels.
    risk_free_daily
        Simple return per session over which Sharpe ratios are taken.
    seed
        Seed of the draws.
    why_no_scores
        Why labels say nothing about both of them, where that is so: then AUC and log loss are
        absent for this reason.
    """

    config: ValidationConfig
    horizon_sessions: int
    risk_free_daily: float
    seed: int
    why_no_scores: str | None = None

    @property
    def block_sessions(self) -> int:
        """Length of a block of rows."""
        return max(self.config.min_block_sessions, self.horizon_sessions)


def compare_models(
    outcomes: pl.DataFrame,
    candidate: Side,
    reference: Side,
    *,
    benchmark: pl.DataFrame,
    terms: Terms,
) -> ModelComparison:
    """Compare two models on rows that neither of them has learnt from.

    Parameters
    ----------
    outcomes
        symbol, session, session_number, label (0, 1 or null): the rows that count.
    candidate, reference
        The two; scores of rows that are not among the outcomes are left out.
    benchmark
        session, benchmark_return, null where there is none.
    terms
        How.

    Returns
    -------
    ModelComparison
        A figure that the data do not define has a reason and no value; one that rests on too few
        sessions has a value, no interval, and the reason.

    Raises
    ------
    DataError
        A score lies outside [0, 1], or a symbol has two rows in one session.
    """
    rows = _rows_of(outcomes, candidate, reference)
    labelled = rows.drop_nulls("label")
    both = labelled.drop_nulls([_CANDIDATE, _REFERENCE])
    either = pl.any_horizontal(pl.col(_CANDIDATE, _REFERENCE).is_not_null())
    said = rows.filter(either)
    returns = _returns_of(candidate, reference, benchmark)
    return ModelComparison(
        first_session=said["session"].min(),  # pyright: ignore[reportArgumentType]
        last_session=said["session"].max(),  # pyright: ignore[reportArgumentType]
        n_symbols=both["symbol"].n_unique(),
        n_rows=both.height,
        n_left_out=labelled.filter(either).height - both.height,
        n_sessions=both["session"].n_unique(),
        n_traded_sessions=returns.height,
        block_sessions=terms.block_sessions,
        n_draws=terms.config.n_bootstrap_draws,
        confidence=terms.config.confidence,
        seed=terms.seed,
        deltas=(*_of_scores(rows, terms), *_of_returns(returns, terms)),
    )


def _rows_of(outcomes: pl.DataFrame, candidate: Side, reference: Side) -> pl.DataFrame:
    key = ["symbol", "session"]
    rows = outcomes.select(*key, "session_number", "label")
    for name, side in ((_CANDIDATE, candidate), (_REFERENCE, reference)):
        said = side.scores.select(
            *key, pl.col("score").alias(name), pl.col("probability").alias(f"{name}_probability")
        )
        rows = rows.join(said, on=key, how="left", maintain_order="left")
    return rows


def _returns_of(candidate: Side, reference: Side, benchmark: pl.DataFrame) -> pl.DataFrame:
    returns = candidate.returns.select("session", candidate="net_return").join(
        reference.returns.select("session", reference="net_return"), on="session"
    )
    return returns.join(
        benchmark.select("session", "benchmark_return"), on="session", how="left"
    ).sort("session")


def _of_scores(rows: pl.DataFrame, terms: Terms) -> list[Delta]:
    columns = {
        "auc": (_CANDIDATE, _REFERENCE),
        "log_loss": (f"{_CANDIDATE}_probability", f"{_REFERENCE}_probability"),
    }
    return [_score_delta(rows, name, *pair, terms=terms) for name, pair in columns.items()]


def _score_delta(
    rows: pl.DataFrame, name: str, candidate: str, reference: str, *, terms: Terms
) -> Delta:
    if terms.why_no_scores is not None:
        return _absent(name, terms.why_no_scores, n=0)
    known = rows.drop_nulls(["label", candidate, reference])
    if known.is_empty():
        return _absent(name, "no labelled row was scored by both", n=0)
    drawn, n = draw_scores(
        known,
        ScorePair(name, candidate, reference),
        horizon_sessions=terms.horizon_sessions,
        seed=derive_seed(terms.seed, name),
        config=terms.config,
    )[name]
    if isinstance(drawn, str):
        return _absent(name, drawn, n=n)
    return _delta(name, drawn, n, known["session"].n_unique(), terms.block_sessions, terms)


def _of_returns(returns: pl.DataFrame, terms: Terms) -> list[Delta]:
    table = returns.select(_CANDIDATE, _REFERENCE, "benchmark_return").cast(pl.Float64)
    matrix = table.fill_null(float("nan")).to_numpy()
    first, second = (_worth(place, terms)(matrix) for place in (0, 1))
    gain = matrix[:, 0] - matrix[:, 1]
    block = block_length(gain, min_block=terms.block_sessions)
    draws = np.empty((0, len(_OF_RETURNS)))
    if len(matrix) >= FEWEST_BLOCKS * block:
        worth, other = _worth(0, terms), _worth(1, terms)
        draws = stationary_draws(
            matrix,
            lambda rows: worth(rows) - other(rows),
            n_draws=terms.config.n_bootstrap_draws,
            seed=derive_seed(terms.seed, "returns"),
            block_sessions=block,
        )
    n = {name: len(matrix) for name in _OF_RETURNS}
    n["mean_excess_return"] = int(np.isfinite(matrix[:, 2]).sum())
    undefined = {
        "mean_excess_return": "no benchmark on these sessions",
        "net_sharpe": UNDEFINED,
        "max_drawdown": UNDEFINED,
    }
    deltas: list[Delta] = []
    for place, name in enumerate(_OF_RETURNS):
        own = float(first[place]), float(second[place])
        if not np.isfinite(own).all():
            reason = undefined[name] if len(matrix) else "no session was traded by both"
            deltas.append(_absent(name, reason, n=n[name]))
            continue
        paired = PairedDraws(*own, draws[:, place])
        deltas.append(_delta(name, paired, n[name], len(matrix), block, terms))
    return deltas


def _worth(place: int, terms: Terms) -> Callable[[_Floats], _Floats]:
    """Return what measures the returns of one column: the figures of `_OF_RETURNS`."""

    def measured(rows: _Floats) -> _Floats:
        returns = rows[:, place]
        excess = (returns - rows[:, 2])[np.isfinite(rows[:, 2])]
        found = (
            float(excess.mean()) * SESSIONS_PER_YEAR if excess.size else None,
            measures.sharpe_ratio(returns, risk_free_daily=terms.risk_free_daily),
            measures.max_drawdown(measures.equity_curve(returns)) if returns.size else None,
        )
        return np.array([np.nan if value is None else value for value in found])

    return measured


def _delta(
    name: str, paired: PairedDraws, n: int, n_sessions: int, block: int, terms: Terms
) -> Delta:
    lower, upper, reason = None, None, None
    if n_sessions < FEWEST_BLOCKS * block:
        reason = f"no interval: {n_sessions} sessions are fewer than {FEWEST_BLOCKS} blocks of "
        reason += f"{block}"
    else:
        lower, upper, reason = interval_of_draws(paired.draws, confidence=terms.config.confidence)
    return Delta(
        name=name,
        candidate=finite_or_none(paired.candidate),
        reference=finite_or_none(paired.reference),
        difference=Figure(
            value=finite_or_none(paired.candidate - paired.reference),
            lower=lower,
            upper=upper,
            n=n,
            unit=DELTAS[name],
            reason=reason,
        ),
    )


def _absent(name: str, reason: str, *, n: int) -> Delta:
    figure = absent_figure(DELTAS[name], reason, n=n)
    return Delta(name=name, candidate=None, reference=None, difference=figure)
