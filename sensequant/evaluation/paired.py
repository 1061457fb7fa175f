"""One portfolio against another on the same sessions.

Belongs here: the tests of a difference of mean returns and of Sharpe ratios. Does not belong here:
the baselines (`evaluation.backtest`), tests of one series (`evaluation.inference`), of many at once
(`evaluation.multiple_testing`).

Sources
-------
- O. Ledoit and M. Wolf (2008), "Robust performance hypothesis testing with the Sharpe ratio":
  studentised circular block bootstrap. The error on the data is that of Newey and West, where the
  paper prefers a prewhitened quadratic-spectral kernel; the errors on resampled data are those of
  block sums (Goetze and Kuensch 1996), as in the paper. The paper's test is two-sided.
- C. Memmel (2003): the error for independent normal returns, to which this one tends.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sensequant.evaluation.bootstrap import block_length
from sensequant.evaluation.hac import hac_fit, hac_lags
from sensequant.evaluation.hypotheses import (
    ReturnSeries,
    TestResult,
    answered,
    unanswered,
    unfit,
)
from sensequant.evaluation.inference import mean_test
from sensequant.records import derive_seed

__all__ = ["mean_difference", "sharpe_difference"]

_Floats = NDArray[np.float64]
_CELLS_AT_ONCE = 1 << 18
_FEWEST_BLOCKS = 5
_MOST_UNDEFINED_FRAC = 0.01
# Below this share of the whole variance there is nothing but rounding.
_STANDS_STILL = 1e-9
"""Fewer block sums have no variance to speak of."""


@dataclass(frozen=True, slots=True)
class _Draws:
    statistics: _Floats
    block: int
    seed: int


def mean_difference(data: ReturnSeries, name: str) -> TestResult:
    """Test the mean net return over a baseline's by a paired t-test with HAC errors.

    Parameters
    ----------
    data
        Net returns, with the baseline in the place of the benchmark.
    name
        The baseline.
    """
    blank = TestResult(
        name=f"mean_excess_{name}",
        null=f"mean net return over {name} <= 0",
        alternative=f"mean net return over {name} > 0",
        source="Newey and West (1987), on paired differences",
        assumptions="Stationary, weakly dependent differences; large sample.",
    )
    return mean_test(blank, data)


def sharpe_difference(data: ReturnSeries, name: str) -> TestResult:
    """Test the Sharpe ratio against a baseline's on the same sessions.

    Parameters
    ----------
    data
        Net returns, with the baseline in the place of the benchmark.
    name
        The baseline.
    """
    blank = TestResult(
        name=f"sharpe_difference_{name}",
        null=f"Sharpe ratio <= that of {name}",
        alternative=f"Sharpe ratio > that of {name}",
        source="Ledoit and Wolf (2008)",
        assumptions="Stationary, weakly dependent pairs of returns with fourth moments.",
    )
    reason = _unfit(data)
    if reason:
        return unanswered(blank, data.paired_net.size, reason)
    pair = np.column_stack([data.paired_net, data.benchmark]) - data.risk_free
    n, lags = len(pair), hac_lags(len(pair), data.horizon)
    estimate, values = _difference(pair)
    error = float(hac_fit(values, np.ones((n, 1)), lags).errors[0])
    if error <= 0:
        return unanswered(blank, n, "both portfolios earn the same")
    draws = _studentised(pair, estimate, values, data, blank.name)
    if draws is None:
        return unanswered(blank, n, f"fewer than {_FEWEST_BLOCKS} blocks to draw from")
    is_undefined = np.isnan(draws.statistics)
    if is_undefined.mean() > _MOST_UNDEFINED_FRAC:
        return unanswered(blank, n, "a portfolio stands still in too many of the draws")
    statistic = estimate / error
    # What a draw cannot say counts against the portfolio.
    drawn = np.where(is_undefined, np.inf, draws.statistics)
    n_as_large = int((drawn >= statistic).sum())
    reach = float(np.quantile(np.abs(drawn), data.config.confidence)) * error
    scale = data.yearly**0.5
    return answered(
        blank,
        data.config,
        statistic=statistic,
        p_value=(1 + n_as_large) / (1 + draws.statistics.size),
        estimate=estimate * scale,
        unit="annual ratio",
        lower=(estimate - reach) * scale,
        upper=(estimate + reach) * scale,
        n=n,
        n_effective=float(values.var(ddof=1) / error**2),
        block_sessions=draws.block,
        lags=lags,
        seed=draws.seed,
        inputs=_ratios(pair, scale),
    )


def _unfit(data: ReturnSeries) -> str | None:
    if data.benchmark.size == 0:
        return "no such baseline on these sessions"
    return unfit(data.paired_net, data) or unfit(data.benchmark, data)


def _ratios(pair: _Floats, scale: float) -> dict[str, float]:
    candidate, baseline = pair.mean(axis=0) / pair.std(axis=0) * scale
    return {"candidate": float(candidate), "baseline": float(baseline)}


def _difference(pair: _Floats) -> tuple[float, _Floats]:
    """Return the difference of both Sharpe ratios and its influence per session.

    The mean of the influence is zero and its variance over the number of sessions that of the
    difference, by the delta method.
    """
    deviations = pair.std(axis=0)
    ratios = pair.mean(axis=0) / deviations
    scaled = (pair - pair.mean(axis=0)) / deviations
    influence = scaled - ratios / 2 * (scaled**2 - 1)
    return float(ratios[0] - ratios[1]), influence[:, 0] - influence[:, 1]


def _studentised(
    pair: _Floats, estimate: float, influence: _Floats, data: ReturnSeries, name: str
) -> _Draws | None:
    block = max(block_length(influence, min_block=data.horizon), 2)
    n_blocks = len(pair) // block
    if n_blocks < _FEWEST_BLOCKS:
        return None
    seed = derive_seed(data.seed, name)
    rng = np.random.default_rng(seed)
    sums = _circular_sums(pair, block)
    parts: list[_Floats] = []
    n_draws = data.config.n_draws
    step = max(1, _CELLS_AT_ONCE // n_blocks)
    for start in range(0, n_draws, step):
        n_now = min(step, n_draws - start)
        drawn = sums[rng.integers(len(pair), size=(n_now, n_blocks))]
        parts.append(_studentised_of(drawn, pair, block, estimate))
    return _Draws(np.concatenate(parts), block, seed)


def _circular_sums(pair: _Floats, block: int) -> _Floats:
    """Return the sums of centred returns and of their squares over the block from each session.

    Shape (n_sessions, 2, 2): session, power, portfolio.
    """
    centred = pair - pair.mean(axis=0)
    powers = np.stack([centred, centred**2], axis=1)
    windows = np.concatenate([powers, powers[: block - 1]])
    return np.lib.stride_tricks.sliding_window_view(windows, block, axis=0).sum(axis=-1)


def _studentised_of(drawn: _Floats, pair: _Floats, block: int, estimate: float) -> _Floats:
    """Return the studentised differences of resampled pairs, from the sums of their blocks.

    `drawn` has shape (n_draws, n_blocks, 2, 2), the last axes as in `_circular_sums`. NaN where a
    portfolio stands still in all blocks of a draw: it has no Sharpe ratio there.
    """
    centre = pair.mean(axis=0)
    n = drawn.shape[1] * block
    first, second = drawn[:, :, 0], drawn[:, :, 1]
    shift = first.sum(axis=1, keepdims=True) / n
    variance = second.sum(axis=1, keepdims=True) / n - shift**2
    variance = np.where(variance > _STANDS_STILL * pair.var(axis=0), variance, np.nan)
    deviation = np.sqrt(variance)
    ratio = (centre + shift) / deviation
    squares = second - 2 * shift * first + block * shift**2
    effects = (first - block * shift) / deviation - ratio / 2 * (squares / variance - block)
    sums = effects[:, :, 0] - effects[:, :, 1]
    errors = np.sqrt((sums**2).mean(axis=1) / block / n)
    return np.asarray((ratio[:, 0, 0] - ratio[:, 0, 1] - estimate) / errors, dtype=np.float64)
