"""Facts about the random process, each against its formula."""

import math

import numpy as np
import pytest
from scipy import stats

from sensequant.market.sources.simulated.config import SimulatedConfig
from sensequant.market.sources.simulated.paths import (
    OVERNIGHT_VARIANCE_FRAC,
    SESSIONS_PER_YEAR,
    SIGNAL_SESSIONS,
    bridge_extremes,
    simulate_paths,
)

PURE = SimulatedConfig(
    n_symbols=40,
    has_regimes=False,
    has_events=False,
    market_correlation=0.0,
    volatility_dispersion=0.0,
    annual_drift_frac=0.0,
)
NAMES = tuple(f"S{number}" for number in range(40))
N_SESSIONS = 3000


def changed(**values: object) -> SimulatedConfig:
    return SimulatedConfig.model_validate(PURE.model_dump() | values)


def ratios(config: SimulatedConfig) -> np.ndarray:
    closes = simulate_paths(config, symbols=NAMES, n_sessions=N_SESSIONS).closes
    return closes / np.vstack([np.ones(len(NAMES)), closes[:-1]])


def test_a_pure_walk_is_a_martingale() -> None:
    """Expected simple return is 0, log return -sigma^2/2, volatility as asked, no memory."""
    growth = ratios(PURE)
    sigma = 0.28 / math.sqrt(SESSIONS_PER_YEAR)
    standard_error = sigma / math.sqrt(growth.size)
    logs = np.log(growth)
    centred = logs - logs.mean()

    assert abs(growth.mean() - 1.0) < 4 * standard_error
    assert abs(logs.mean() + sigma**2 / 2) < 4 * standard_error
    assert logs.std() == pytest.approx(sigma, rel=0.01)
    for lag in (1, 2, 5, SIGNAL_SESSIONS):
        autocorrelation = (centred[lag:] * centred[:-lag]).mean() / centred.var()
        assert abs(autocorrelation) < 4 / math.sqrt(growth.size)


def test_the_walk_has_no_memory_of_the_signal_of_the_edge() -> None:
    """Without an edge the sign of the past ten sessions earns nothing."""
    assert (
        abs(earned_bps(PURE)) < 4 * 0.28 / math.sqrt(SESSIONS_PER_YEAR) / math.sqrt(40 * 2990) * 1e4
    )


def earned_bps(config: SimulatedConfig) -> float:
    paths = simulate_paths(config, symbols=NAMES, n_sessions=N_SESSIONS)
    known = paths.closes[SIGNAL_SESSIONS:-1] / paths.closes[: -SIGNAL_SESSIONS - 1] - 1.0
    intraday = paths.closes / paths.opens - 1.0
    return float((np.sign(known) * intraday[SIGNAL_SESSIONS + 1 :]).mean() * 1e4)


@pytest.mark.parametrize("edge_bps", [25.0, 100.0])
def test_a_planted_edge_can_be_earned_from_the_open(edge_bps: float) -> None:
    """Who buys at the open in the direction of the known signal earns the edge on average."""
    assert earned_bps(changed(planted_edge_bps=edge_bps)) == pytest.approx(edge_bps, abs=2.0)


def test_variance_is_split_between_night_and_day() -> None:
    """The overnight part carries its share of the variance."""
    paths = simulate_paths(PURE, symbols=NAMES, n_sessions=N_SESSIONS)
    nights = np.log(paths.opens[1:] / paths.closes[:-1])
    days = np.log(paths.closes / paths.opens)

    share = nights.var() / (nights.var() + days.var())
    assert share == pytest.approx(OVERNIGHT_VARIANCE_FRAC, abs=0.005)


def test_stocks_are_correlated_as_asked() -> None:
    """The mean correlation of pairs is the setting."""
    logs = np.log(ratios(changed(market_correlation=0.4)))

    pairs = np.corrcoef(logs.T)[np.triu_indices(len(NAMES), 1)]
    assert pairs.mean() == pytest.approx(0.4, abs=0.03)


def test_dispersion_spreads_volatility_and_drift_moves_prices() -> None:
    """Each of these settings does what its description says."""
    spread = np.log(np.log(ratios(changed(volatility_dispersion=0.5))).std(axis=0)).std()
    drifted = np.log(ratios(changed(annual_drift_frac=0.3))).mean() * SESSIONS_PER_YEAR

    assert spread == pytest.approx(0.5, abs=0.15)
    assert drifted == pytest.approx(0.3 - 0.28**2 / 2, abs=4 * 0.28 / math.sqrt(40 * 3000 / 248))


def test_regimes_make_volatility_cluster() -> None:
    """Absolute returns remember with regimes and do not without; the market has two levels."""

    def memory(config: SimulatedConfig) -> float:
        size = np.abs(np.log(ratios(config)))
        centred = size - size.mean()
        return float((centred[5:] * centred[:-5]).mean() / centred.var())

    paths = simulate_paths(changed(has_regimes=True), symbols=NAMES, n_sessions=N_SESSIONS)
    levels = np.unique(paths.volatilities.round(9))

    assert memory(changed(has_regimes=True)) > 0.1
    assert abs(memory(PURE)) < 0.02
    assert levels[1] / levels[0] == pytest.approx(1.8 / 0.8)


TAILS = {"tail_degrees_of_freedom": 6.0}
CLUSTERS = {"garch_reaction_frac": 0.1, "garch_memory_frac": 0.8}


@pytest.mark.parametrize("law", [TAILS, CLUSTERS, TAILS | CLUSTERS], ids=["t", "garch", "both"])
def test_tails_and_clusters_keep_a_martingale_of_the_same_volatility(law: dict[str, float]) -> None:
    """Expected simple return 0, volatility as asked, no memory of direction, same correlation."""
    growth = ratios(changed(**law, market_correlation=0.4))
    logs = np.log(growth)
    centred = logs - logs.mean()
    sigma = 0.28 / math.sqrt(SESSIONS_PER_YEAR)
    # Stocks with a common factor are as good as 1 / (0.4 + 0.6 / 40) = 2.4 independent ones.
    standard_error = sigma / math.sqrt(N_SESSIONS * 2.4)

    assert abs(growth.mean() - 1.0) < 4 * standard_error
    assert logs.std() == pytest.approx(sigma, rel=0.05)
    assert abs((centred[1:] * centred[:-1]).mean() / centred.var()) < 4 / math.sqrt(
        2.4 * N_SESSIONS
    )
    pairs = np.corrcoef(logs.T)[np.triu_indices(len(NAMES), 1)]
    assert pairs.mean() == pytest.approx(0.4, abs=0.06)


def test_tails_are_those_of_students_law() -> None:
    """Sessions' returns have the quantiles of t with unit variance, not those of the normal law."""
    logs = np.log(ratios(changed(**TAILS))) / (0.28 / math.sqrt(SESSIONS_PER_YEAR))
    known = stats.t(6.0, scale=math.sqrt(4.0 / 6.0))

    for level in (0.001, 0.01, 0.1, 0.9, 0.99, 0.999):
        assert np.quantile(logs, level) == pytest.approx(known.ppf(level), rel=0.06)


def test_volatility_clusters_as_a_garch_process_does() -> None:
    """Squares remember at the rate alpha + beta, from the level that theory gives to lag one."""
    squares = np.log(ratios(changed(**CLUSTERS))) ** 2
    centred = squares - squares.mean()

    def memory(lag: int) -> float:
        return float((centred[lag:] * centred[:-lag]).mean() / centred.var())

    # Bollerslev (1986): the first autocorrelation of squares, then a decay of alpha + beta = 0.9.
    first = 0.1 * (1 - 0.1 * 0.8 - 0.8**2) / (1 - 2 * 0.1 * 0.8 - 0.8**2)
    assert memory(1) == pytest.approx(first, abs=0.03)
    assert memory(6) == pytest.approx(first * 0.9**5, abs=0.03)
    assert memory(60) < 0.02


def test_high_and_low_contain_open_and_close() -> None:
    """Every session's range holds its ends."""
    paths = simulate_paths(PURE, symbols=NAMES, n_sessions=500)

    assert (paths.highs >= np.maximum(paths.opens, paths.closes)).all()
    assert (paths.lows <= np.minimum(paths.opens, paths.closes)).all()


def test_extremes_follow_the_law_of_the_bridge() -> None:
    """A bridge from 0 to 0 with variance v has an expected maximum of sqrt(pi v / 8)."""
    rng = np.random.default_rng(1)
    n = 200_000
    top, bottom = bridge_extremes(np.zeros(n), np.full(n, 0.04), 1.0 - rng.random((2, n)))

    expected = math.sqrt(math.pi * 0.04 / 8)
    assert top.mean() == pytest.approx(expected, rel=0.01)
    assert bottom.mean() == pytest.approx(-expected, rel=0.01)


def test_extremes_agree_with_a_walk_of_many_steps() -> None:
    """Brute force: the maximum of 2,000-step bridges from 0 to 0.3, within discretisation."""
    rng = np.random.default_rng(2)
    n, steps, end = 2000, 2000, 0.3
    walk = np.cumsum(rng.standard_normal((n, steps)) * math.sqrt(0.04 / steps), axis=1)
    times = np.arange(1, steps + 1) / steps
    bridges = walk - times * (walk[:, -1:] - end)
    top, _ = bridge_extremes(np.full(n, end), np.full(n, 0.04), 1.0 - rng.random((2, n)))

    assert top.mean() == pytest.approx(np.maximum(bridges.max(axis=1), 0.0).mean(), abs=0.01)


@pytest.mark.parametrize("edge_bps", [0.0, 50.0])
def test_more_sessions_or_stocks_change_no_earlier_value(edge_bps: float) -> None:
    """A longer calendar appends, and a further stock leaves the others alone."""
    config = changed(
        planted_edge_bps=edge_bps, has_regimes=True, market_correlation=0.5, **TAILS, **CLUSTERS
    )
    small = simulate_paths(config, symbols=NAMES[:2], n_sessions=100)
    longer = simulate_paths(config, symbols=NAMES[:2], n_sessions=150)
    wider = simulate_paths(config, symbols=NAMES[:5], n_sessions=100)

    for side in ("opens", "highs", "lows", "closes"):
        assert (getattr(longer, side)[:100] == getattr(small, side)).all()
        assert (getattr(wider, side)[:, :2] == getattr(small, side)).all()


def test_another_seed_is_another_market() -> None:
    """The seed reaches the paths."""
    one, other = (
        simulate_paths(changed(seed=seed), symbols=NAMES[:2], n_sessions=50).closes
        for seed in (1, 2)
    )

    assert not np.isclose(one, other).any()
