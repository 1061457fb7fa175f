"""What one portfolio earned over another on the same sessions, with paired intervals.

Belongs here: differences of annual return and Sharpe ratio. Does not belong here: tests of them
(`evaluation.paired`), figures of one portfolio (`evaluation.figures`), differences of scores
(`evaluation.comparison`).

Sessions of both are drawn together by the stationary bootstrap (Politis and Romano 1994), with the
mean block length that the differences of returns ask for (Politis and White 2004), at least the
horizon; so what both portfolios share cancels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sensequant.evaluation import measures
from sensequant.evaluation.bootstrap import block_length, stationary_draws
from sensequant.evaluation.figures import Figure, figure_of_draws
from sensequant.records import finite_or_none

__all__ = [
    "DIFFERENCES",
    "UNDEFINED",
    "DrawnDifferences",
    "draw_differences",
    "is_told_from_zero",
    "return_differences",
]

_Floats = NDArray[np.float64]

DIFFERENCES = {"net_annual_return": "fraction per year", "net_sharpe": "annual ratio"}
"""Name and unit of each difference."""


UNDEFINED = "returns of one of both do not vary"
"""Why a difference has no value where there are sessions."""


@dataclass(frozen=True, slots=True)
class DrawnDifferences:
    """Figures of both portfolios and the difference in every draw, in the order of `DIFFERENCES`.

    What is not defined is NaN. Shapes: (m,), (m,) and (n_draws, m).
    """

    candidate: _Floats
    reference: _Floats
    draws: _Floats
    block_sessions: int


def return_differences(
    candidate: _Floats,
    reference: _Floats,
    *,
    min_block: int,
    n_draws: int,
    confidence: float,
    seed: int,
    risk_free_daily: float,
) -> dict[str, Figure]:
    """Return the candidate's figures minus the reference's.

    Parameters
    ----------
    candidate, reference
        Net simple returns of the same sessions, shape (n,).
    min_block
        Least mean block length of the bootstrap, in sessions.
    n_draws
        Number of bootstrap draws.
    confidence
        Two-sided coverage in (0, 1).
    seed
        Seed of the draws.
    risk_free_daily
        Risk-free simple return per session, over which Sharpe ratios are taken.

    Returns
    -------
    dict
        One figure for each of `DIFFERENCES`; absent with its reason where a figure of one of both
        is not defined.
    """
    drawn = draw_differences(
        candidate,
        reference,
        min_block=min_block,
        n_draws=n_draws,
        seed=seed,
        risk_free_daily=risk_free_daily,
    )
    n = len(candidate)
    return {
        name: figure_of_draws(
            finite_or_none(drawn.candidate[place] - drawn.reference[place]),
            drawn.draws[:, place],
            n=n,
            unit=unit,
            confidence=confidence,
            undefined=UNDEFINED if n else "no sessions",
        )
        for place, (name, unit) in enumerate(DIFFERENCES.items())
    }


def draw_differences(
    candidate: _Floats,
    reference: _Floats,
    *,
    min_block: int,
    n_draws: int,
    seed: int,
    risk_free_daily: float,
) -> DrawnDifferences:
    """Return what `return_differences` makes its figures from; parameters are its own."""
    pair = np.column_stack([candidate, reference])

    def differences(rows: _Floats) -> _Floats:
        first, second = (_figures(rows[:, place], risk_free_daily) for place in (0, 1))
        return first - second

    block = block_length(pair[:, 0] - pair[:, 1], min_block=min_block)
    draws = np.full((1, len(DIFFERENCES)), np.nan)
    if len(pair) > 1:
        draws = stationary_draws(
            pair, differences, n_draws=n_draws, seed=seed, block_sessions=block
        )
    first, second = (_figures(pair[:, place], risk_free_daily) for place in (0, 1))
    return DrawnDifferences(first, second, draws, block)


def is_told_from_zero(figure: Figure) -> bool | None:
    """Return whether a figure's interval leaves zero out; None where it has none."""
    if figure.lower is None or figure.upper is None:
        return None
    return figure.lower > 0 or figure.upper < 0


def _figures(returns: _Floats, risk_free_daily: float) -> _Floats:
    found = (
        measures.annual_return(returns),
        measures.sharpe_ratio(returns, risk_free_daily=risk_free_daily),
    )
    return np.array([np.nan if value is None else value for value in found])
