"""Facts about the error of a crisis' resilience."""

import math

import numpy as np
import pytest

from sensequant.stress.luck import CrisisSessions, resilience_error
from sensequant.stress.scenarios import StressConfig

CONFIG = StressConfig(cash_rate_frac=0)


def crisis(
    n: int, *, seed: int = 0, mean: float = 0.0, n_decisions: int = 3, n_right: int = 2
) -> CrisisSessions:
    returns = np.random.default_rng(seed).normal(mean, 0.01, n)
    return CrisisSessions(returns, np.full(n, n_decisions), np.full(n, n_right))


def error(sessions: CrisisSessions, *, block: int = 1, seed: int = 1) -> float | None:
    return resilience_error(sessions, block_sessions=block, seed=seed, config=CONFIG)


def test_points_by_hand() -> None:
    """A fall of 10 %, then a rise; three of four right; a Sharpe ratio below 0 counts as 0."""
    sessions = CrisisSessions(np.array([-0.1, 0.05]), np.array([3, 1]), np.array([3, 0]))

    assert sessions.points(CONFIG) == pytest.approx(100 * (0.4 * 0.9 + 0.3 * 0.75))


def test_the_error_is_the_spread_over_crises_of_the_same_law() -> None:
    """Within a third of the deviation of resilience over 400 crises that could have been."""
    told = [error(crisis(60, seed=seed)) for seed in range(12)]
    known = [each for each in told if each is not None]
    points = [crisis(60, seed=1000 + seed).points(CONFIG) for seed in range(400)]

    actual = float(np.std([each for each in points if each is not None], ddof=1))

    assert len(known) == len(told)
    assert math.isclose(float(np.mean(known)), actual, rel_tol=1 / 3)


def test_sessions_that_do_not_differ_leave_no_doubt() -> None:
    """Alternating returns in blocks of two: drawdown and precision stay, and so does resilience."""
    certain = CrisisSessions(np.tile([0.02, 0.01], 20), np.full(40, 2), np.full(40, 1))

    assert error(certain, block=2) == pytest.approx(0, abs=1e-9)


def test_precision_adds_its_own_doubt() -> None:
    """Where one session holds all decisions, some draws have none and say nothing."""
    sure = CrisisSessions(np.tile([0.02, 0.01], 20), np.full(40, 1), np.tile([0, 1], 20))
    silent = CrisisSessions(np.tile([0.02, 0.01], 20), np.zeros(40, int), np.zeros(40, int))

    assert (error(sure) or 0) > 1
    assert error(silent) is None


def test_the_seed_decides_the_draws() -> None:
    """Equal seeds agree, others differ by little."""
    sessions = crisis(40)
    one, again, other = error(sessions), error(sessions), error(sessions, seed=2)

    assert one == again
    assert one != other
    assert one == pytest.approx(other, rel=0.25)
