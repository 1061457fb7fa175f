"""Cross-validated choice agrees with brute force, with cases by hand, and with what must be so."""

from itertools import combinations

import numpy as np
import pytest

from sensequant.errors import ConfigError
from sensequant.evaluation.overfitting import cross_validate_choice


def by_brute_force(returns: np.ndarray, n_blocks: int) -> list[float]:
    """Return the logit of every split, the slow way of the paper's algorithm."""
    blocks = np.array_split(returns, n_blocks)
    logits: list[float] = []
    for half in combinations(range(n_blocks), n_blocks // 2):
        inside = np.concatenate([blocks[b] for b in half])
        outside = np.concatenate([blocks[b] for b in range(n_blocks) if b not in half])
        known = inside.mean(axis=0) / inside.std(axis=0, ddof=1)
        later = outside.mean(axis=0) / outside.std(axis=0, ddof=1)
        chosen = int(known.argmax())
        rank = sorted(later).index(later[chosen]) + 1
        place = rank / (returns.shape[1] + 1)
        logits.append(float(np.log(place / (1 - place))))
    return logits


@pytest.mark.parametrize(("n_sessions", "n_contenders", "n_blocks"), [(60, 5, 6), (101, 4, 8)])
def test_every_split_agrees_with_brute_force(
    n_sessions: int, n_contenders: int, n_blocks: int
) -> None:
    """Also where the blocks do not divide the sessions."""
    returns = np.random.default_rng(n_sessions).normal(0.001, 0.01, (n_sessions, n_contenders))
    expected = by_brute_force(returns, n_blocks)

    found = cross_validate_choice(returns, n_blocks=n_blocks)

    assert found.n_splits == len(expected)
    assert found.logits == pytest.approx(expected)
    assert found.overfit_frac == pytest.approx(np.mean([each <= 0 for each in expected]))


def test_two_blocks_by_hand() -> None:
    """Each contender is best in the half that it was made for, and last in the other one."""
    first, second = [0.01, 0.03], [-0.03, -0.01]
    returns = np.array([[*pair] for pair in zip(first + second, second + first, strict=True)])

    found = cross_validate_choice(returns, n_blocks=2)

    assert found.logits == pytest.approx([np.log(0.5)] * 2)
    assert found.overfit_frac == 1.0
    assert found.loss_frac == 1.0
    assert found.degradation is None


def test_a_contender_that_is_always_best_is_not_overfit() -> None:
    """Choosing what is better in every block is worth all of it."""
    rng = np.random.default_rng(0)
    returns = rng.normal(0, 0.01, (240, 6))
    returns[:, 3] += 0.02

    found = cross_validate_choice(returns, n_blocks=8)

    assert found.overfit_frac == 0
    assert found.loss_frac == 0
    assert found.logits == pytest.approx([np.log(6)] * 70)


def test_on_noise_choosing_is_worth_nothing() -> None:
    """Over many universes of noise the probability is one half, within three standard errors."""
    found = [
        cross_validate_choice(
            np.random.default_rng(seed).normal(0, 0.01, (320, 20)), n_blocks=8
        ).overfit_frac
        for seed in range(80)
    ]

    assert np.mean(found) == pytest.approx(0.5, abs=3 * np.std(found) / 80**0.5)
    assert np.std(found) / 80**0.5 < 0.03


def test_equal_contenders_share_their_ranks() -> None:
    """Who is chosen among copies stands in the middle: logit zero, which counts as overfit."""
    values = np.random.default_rng(1).normal(0, 0.01, 80)

    found = cross_validate_choice(np.column_stack([values] * 3), n_blocks=4)

    assert found.logits == pytest.approx([0.0] * 6)
    assert found.overfit_frac == 1.0


@pytest.mark.parametrize(("shape", "n_blocks"), [((100, 1), 4), ((7, 3), 4), ((100, 3), 5)])
def test_what_cannot_be_split_is_refused(shape: tuple[int, int], n_blocks: int) -> None:
    """One contender, blocks of one session, an odd number of blocks."""
    with pytest.raises(ConfigError):
        cross_validate_choice(np.random.default_rng(0).normal(size=shape), n_blocks=n_blocks)
