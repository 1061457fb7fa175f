"""Price paths of the simulated market.

Belongs here: the random process. Does not belong here: its settings (`config`), events such as
splits, ticks and frames (`source`).

The process
-----------
Every session has an overnight part (from close to open) and an intraday part (from open to close),
which carry `OVERNIGHT_VARIANCE_FRAC` of the variance and the rest. In each part a stock's log
return is ``sigma * (sqrt(rho) * z_market + sqrt(1 - rho) * z_own) - sigma**2 / 2 + drift``, so
without drift, regimes and edge every price is a martingale: its expected simple return is zero.

High and low are drawn from the exact law of the maximum and the minimum of a Brownian bridge from
open to close (Karatzas and Shreve, Brownian Motion and Stochastic Calculus, 2nd ed., 1991, ch. 2,
eq. 8.20), each by inversion of ``P(M > m) = exp(-2 m (m - x) / v)``.

Fat tails and clusters of volatility multiply the variance of the market's and of each stock's part
of a session. Fat tails: by ``(nu - 2) / chi2(nu)``, drawn anew for every session, which makes a
normal return one of Student's t law with unit variance. Clusters: by a GARCH(1,1) of mean one,
``h' = (1 - a - b) + h * (a * e**2 + b)`` with the return ``e`` of unit variance (T. Bollerslev,
Generalized Autoregressive Conditional Heteroskedasticity, 1986). Given the variances, returns are
normal and their mean is corrected as above, so that prices stay martingales.

Regimes are a two-state Markov chain of the whole market, turbulent sessions having more variance
and a lower drift. The planted edge adds ``planted_edge_bps`` to the intraday part, in the direction
of the sign of the return over the `SIGNAL_SESSIONS` sessions that ended at the previous close: who
buys at the open of the session can earn it.

Random numbers are drawn session by session from one stream per stock and use. A longer calendar or
further stocks therefore never change a value that was there before.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from sensequant.market.sources.simulated.config import SimulatedConfig
from sensequant.records import derive_seed

__all__ = [
    "OVERNIGHT_VARIANCE_FRAC",
    "SESSIONS_PER_YEAR",
    "SIGNAL_SESSIONS",
    "Paths",
    "bridge_extremes",
    "simulate_paths",
    "stream",
]

Floats = NDArray[np.float64]

SESSIONS_PER_YEAR = 248
"""Typical number of NSE sessions in a year."""

OVERNIGHT_VARIANCE_FRAC = 0.2
"""Share of the variance of a session that falls between the close before and the open."""

_VARIANCE_FRACS = {
    "overnight": OVERNIGHT_VARIANCE_FRAC,
    "intraday": 1.0 - OVERNIGHT_VARIANCE_FRAC,
}

SIGNAL_SESSIONS = 10
"""Sessions whose return gives the direction of the planted edge."""

# Calm and turbulent: mean stay of about 200 and 50 sessions, so a fifth of the time is turbulent.
_P_LEAVE = (0.005, 0.02)
_VOLATILITY_FACTOR = (0.8, 1.8)
_DRIFT_SHIFT_PER_YEAR = (0.05, -0.20)


@dataclasses.dataclass(frozen=True, slots=True)
class Paths:
    """Prices relative to the close before the first session, per session (row) and stock (column).

    Parameters
    ----------
    opens, highs, lows, closes
        Shape (n_sessions, n_symbols).
    volatilities
        Standard deviation of the log return of each session and stock, same shape.
    common_frac
        Share of the variance that the market's part has; the same shape, or shape () where it is
        the same everywhere.
    """

    opens: Floats
    highs: Floats
    lows: Floats
    closes: Floats
    volatilities: Floats
    common_frac: Floats


@dataclasses.dataclass(frozen=True, slots=True)
class _Variance:
    """Variance of the market's part and of the stock's own, over the stock's level; and the root.

    Of shape (n_sessions, 1) and (n_sessions, n_symbols), or () where nothing moves them.
    """

    common: Floats
    own: Floats
    root: Floats

    @property
    def common_frac(self) -> Floats:
        if self.common.ndim == 0:
            return self.common
        shares: Floats = self.common / (self.common + self.own)
        return shares


def stream(config: SimulatedConfig, *names: str) -> np.random.Generator:
    """Return the generator for one named use."""
    return np.random.default_rng(derive_seed(config.seed, "simulated", *names))


def simulate_paths(config: SimulatedConfig, *, symbols: tuple[str, ...], n_sessions: int) -> Paths:
    """Return the price paths of all stocks.

    Parameters
    ----------
    config
        Settings.
    symbols
        Names of the stocks; each has its own random numbers.
    n_sessions
        Length of the history.
    """
    is_turbulent = _regimes(config, n_sessions)
    levels = _volatilities(config, symbols, is_turbulent)
    drifts = _drifts(config, is_turbulent)
    draws = {part: _draws(config, symbols, n_sessions, part) for part in _VARIANCE_FRACS}
    variance = _relative_variance(config, symbols, draws)
    volatilities = levels * variance.root
    parts: dict[str, Floats] = {}
    for part, share in _VARIANCE_FRACS.items():
        shocks = np.sqrt(variance.common) * draws[part][:, :1]
        shocks = shocks + np.sqrt(variance.own) * draws[part][:, 1:]
        scaled = volatilities * np.sqrt(share)
        parts[part] = levels * np.sqrt(share) * shocks - scaled**2 / 2.0
        parts[part] += share * drifts[:, np.newaxis]
    intraday = _with_edge(config, parts["overnight"], parts["intraday"])
    log_closes = np.cumsum(parts["overnight"] + intraday, axis=0)
    log_opens = log_closes - intraday
    variances = volatilities**2 * (1.0 - OVERNIGHT_VARIANCE_FRAC)
    uniforms = np.stack([_uniforms(config, symbol, n_sessions) for symbol in symbols], axis=2)
    top, bottom = bridge_extremes(intraday, variances, uniforms)
    return Paths(
        opens=np.exp(log_opens),
        highs=np.exp(log_opens + top),
        lows=np.exp(log_opens + bottom),
        closes=np.exp(log_closes),
        volatilities=volatilities,
        common_frac=variance.common_frac,
    )


def bridge_extremes(moves: Floats, variances: Floats, uniforms: Floats) -> tuple[Floats, Floats]:
    """Return maximum and minimum of Brownian bridges from 0 to `moves`.

    Parameters
    ----------
    moves
        End points.
    variances
        Variance of the free motion over the bridge, same shape.
    uniforms
        Two uniform numbers in (0, 1] per bridge, on the first axis.
    """
    spread = -2.0 * variances * np.log(uniforms)
    top = (moves + np.sqrt(moves**2 + spread[0])) / 2.0
    bottom = (moves - np.sqrt(moves**2 + spread[1])) / 2.0
    return top, bottom


def _regimes(config: SimulatedConfig, n_sessions: int) -> NDArray[np.bool_]:
    is_turbulent = np.zeros(n_sessions, dtype=np.bool_)
    if not config.has_regimes:
        return is_turbulent
    draws = stream(config, "regimes").random(n_sessions)
    state = False
    for number, draw in enumerate(draws):
        state = state != (draw < _P_LEAVE[int(state)])
        is_turbulent[number] = state
    return is_turbulent


def _volatilities(
    config: SimulatedConfig, symbols: tuple[str, ...], is_turbulent: NDArray[np.bool_]
) -> Floats:
    spread = config.volatility_dispersion
    levels = np.array(
        [stream(config, "volatility", symbol).standard_normal() for symbol in symbols]
    )
    annual = config.annual_volatility_frac * np.exp(spread * levels - spread**2 / 2.0)
    factor = np.ones(is_turbulent.size)
    if config.has_regimes:
        factor = np.where(is_turbulent, _VOLATILITY_FACTOR[1], _VOLATILITY_FACTOR[0])
    return factor[:, np.newaxis] * annual / np.sqrt(SESSIONS_PER_YEAR)


def _drifts(config: SimulatedConfig, is_turbulent: NDArray[np.bool_]) -> Floats:
    annual = np.full(is_turbulent.size, config.annual_drift_frac)
    if config.has_regimes:
        annual += np.where(is_turbulent, _DRIFT_SHIFT_PER_YEAR[1], _DRIFT_SHIFT_PER_YEAR[0])
    return annual / SESSIONS_PER_YEAR


def _draws(config: SimulatedConfig, symbols: tuple[str, ...], n_sessions: int, part: str) -> Floats:
    """Return standard normal numbers: of the market in the first column, then of each stock."""
    names = ("market", *symbols)
    return np.column_stack(
        [stream(config, part, name).standard_normal(n_sessions) for name in names]
    )


def _relative_variance(
    config: SimulatedConfig, symbols: tuple[str, ...], draws: dict[str, Floats]
) -> _Variance:
    weight = config.market_correlation
    if config.tail_degrees_of_freedom is None and config.garch_reaction_frac == 0.0:
        return _Variance(np.asarray(weight), np.asarray(1.0 - weight), np.ones(()))
    shocks = np.sqrt(OVERNIGHT_VARIANCE_FRAC) * draws["overnight"]
    squares = (shocks + np.sqrt(1.0 - OVERNIGHT_VARIANCE_FRAC) * draws["intraday"]) ** 2
    tails = _tails(config, symbols, squares.shape)
    variances = tails * _clusters(config, squares * tails)
    common, own = weight * variances[:, :1], (1.0 - weight) * variances[:, 1:]
    return _Variance(common, own, np.sqrt(common + own))


def _tails(config: SimulatedConfig, symbols: tuple[str, ...], shape: tuple[int, ...]) -> Floats:
    freedom = config.tail_degrees_of_freedom
    if freedom is None:
        return np.ones(shape)
    drawn = [
        stream(config, "tails", name).chisquare(freedom, shape[0]) for name in ("market", *symbols)
    ]
    return (freedom - 2.0) / np.column_stack(drawn)


def _clusters(config: SimulatedConfig, squares: Floats) -> Floats:
    """Return the variances of a GARCH(1,1) with mean one whose shocks have these squares."""
    reaction, memory = config.garch_reaction_frac, config.garch_memory_frac
    variances = np.ones(squares.shape)
    for number in range(1, len(squares)):
        kept = reaction * squares[number - 1] + memory
        variances[number] = 1.0 - reaction - memory + variances[number - 1] * kept
    return variances


def _uniforms(config: SimulatedConfig, symbol: str, n_sessions: int) -> Floats:
    # 1 - U lies in (0, 1], where the logarithm is finite.
    return 1.0 - stream(config, "extremes", symbol).random((n_sessions, 2)).T


def _with_edge(config: SimulatedConfig, overnight: Floats, intraday: Floats) -> Floats:
    if config.planted_edge_bps == 0.0:
        return intraday
    step = config.planted_edge_bps / 1e4
    moved = intraday.copy()
    closes = np.zeros((intraday.shape[0] + 1, intraday.shape[1]))
    for number in range(intraday.shape[0]):
        if number >= SIGNAL_SESSIONS:
            direction = np.sign(closes[number] - closes[number - SIGNAL_SESSIONS])
            moved[number] += np.log1p(step * direction)
        closes[number + 1] = closes[number] + overnight[number] + moved[number]
    return moved
