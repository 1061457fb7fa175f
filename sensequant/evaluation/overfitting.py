"""The probability of backtest overfitting, by combinatorially symmetric cross-validation (CSCV).

Belongs here: the splits, the ranks and the figures that follow from them. Does not belong here:
which series compete (`stages.contenders`), other tests of many contenders (`multiple_testing`).

The sessions are cut into an even number of blocks. Every half of the blocks is in sample once, its
complement out of sample. The contender with the best Sharpe ratio in sample is looked up out of
sample: its relative rank there, w = rank / (N + 1), gives the logit ln(w / (1 - w)). The
probability of backtest overfitting is the share of splits whose logit is not above zero: the best
in sample does no better than the median out of sample. Near one half means that choosing the best
was worth nothing; near zero, that the best stays good.

Source: D. H. Bailey, J. M. Borwein, M. López de Prado and Q. J. Zhu (2017), "The Probability of
Backtest Overfitting", Journal of Computational Finance 20(4) (first circulated 2013, 2015).
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from sensequant.errors import ConfigError

__all__ = ["CscvResult", "cross_validate_choice"]

_Floats = NDArray[np.float64]
_RELATIVE_NOISE = 1e-12


@dataclass(frozen=True, slots=True)
class CscvResult:
    """What choosing the best in sample was worth out of sample.

    Attributes
    ----------
    overfit_frac
        Probability of backtest overfitting.
    loss_frac
        Share of splits in which the chosen contender lost money out of sample.
    degradation
        Slope of the chosen one's Sharpe ratio out of sample on that in sample; None where the
        latter does not vary.
    logits
        One per split, shape (n_splits,).
    """

    overfit_frac: float
    loss_frac: float
    degradation: float | None
    logits: _Floats

    @property
    def n_splits(self) -> int:
        """Number of splits that were played."""
        return self.logits.size


def cross_validate_choice(returns: _Floats, *, n_blocks: int) -> CscvResult:
    """Play every half of the blocks against the other.

    Parameters
    ----------
    returns
        Net returns per session, shape (n_sessions, n_contenders); every column varies in every
        half.
    n_blocks
        Blocks of equal length (the first ones hold a session more where it does not divide).

    Raises
    ------
    ConfigError
        An odd number of blocks, fewer than two sessions per block, or fewer than two contenders.
    """
    n_sessions, n_contenders = returns.shape
    if n_blocks % 2 or n_blocks < 2 or n_sessions < 2 * n_blocks or n_contenders < 2:  # noqa: PLR2004
        raise ConfigError(
            "choice cannot be cross-validated",
            expected="an even number of blocks of two sessions at least, and two contenders",
            found=f"{n_sessions} sessions, {n_blocks} blocks, {n_contenders} contenders",
        )
    inside = _halves(n_blocks)
    known, later = (_sharpes(returns, n_blocks, half) for half in (inside, 1 - inside))
    chosen = known.argmax(axis=1)
    rows = np.arange(len(chosen), dtype=np.intp)
    best, its_later = known[rows, chosen], later[rows, chosen]
    below = (later < its_later[:, None]).sum(axis=1)
    equal = (later == its_later[:, None]).sum(axis=1)
    place = (below + (equal + 1) / 2) / (n_contenders + 1)
    logits = np.log(place / (1 - place))
    return CscvResult(
        overfit_frac=float((logits <= 0).mean()),
        loss_frac=float((its_later < 0).mean()),
        degradation=_slope(best, its_later),
        logits=logits,
    )


def _halves(n_blocks: int) -> _Floats:
    halves = list(combinations(range(n_blocks), n_blocks // 2))
    inside = np.zeros((len(halves), n_blocks))
    inside[np.arange(len(halves))[:, None], halves] = 1
    return inside


def _sharpes(returns: _Floats, n_blocks: int, inside: _Floats) -> _Floats:
    # Centred, so that the sums of squares lose no digits.
    centre = returns.mean(axis=0)
    blocks = np.array_split(returns - centre, n_blocks)
    counts = inside @ np.array([len(block) for block in blocks], dtype=np.float64)
    # einsum and not @: BLAS may add in another order with another number of threads.
    totals, squares = (
        np.einsum("hb,bc->hc", inside, np.stack([(block**power).sum(axis=0) for block in blocks]))
        for power in (1, 2)
    )
    means = totals / counts[:, None]
    variances = (squares - means**2 * counts[:, None]) / (counts[:, None] - 1)
    return (means + centre) / np.sqrt(variances)


def _slope(best: _Floats, later: _Floats) -> float | None:
    spread = best - best.mean()
    total = float(spread @ spread)
    if total <= _RELATIVE_NOISE * float(best @ best):
        return None
    return float(spread @ (later - later.mean())) / total
