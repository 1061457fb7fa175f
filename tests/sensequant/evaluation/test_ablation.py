"""Worth of families: figures by definition, p-values by hand, corrected for all that was asked."""

from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest

from sensequant.evaluation.ablation import (
    FIGURES,
    AblationConfig,
    FamilyWorth,
    Worlds,
    family_worths,
)
from sensequant.evaluation.ablation_text import family_cells
from sensequant.evaluation.measures import annual_return, log_loss, roc_auc, sharpe_ratio
from sensequant.features.spec import Family
from sensequant.market.sessions import nse_calendar

FIRST = nse_calendar().number_of(date(2023, 1, 2))
RISK_FREE = 0.0002


def scores_of(
    edge: float, seed: int, n_symbols: int = 5, n_sessions: int = 120
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return scores that know `edge` of the labels besides noise, and daily returns."""
    truth, rng = np.random.default_rng(1), np.random.default_rng(seed)
    label = (truth.random(n_symbols * n_sessions) < 0.5).astype(np.int8)
    score = 1 / (1 + np.exp(-(edge * (label - 0.5) + rng.normal(0, 1, label.size))))
    days = [nse_calendar().session_at(FIRST + place) for place in range(n_sessions)]
    frame = pl.DataFrame(
        {
            "symbol": np.repeat([f"S{place}" for place in range(n_symbols)], n_sessions),
            "session": days * n_symbols,
            "session_number": list(range(n_sessions)) * n_symbols,
            "label": label,
            "score": score,
        }
    )
    returns = rng.normal(0.0005 + 0.002 * edge, 0.01, n_sessions)
    return frame, pl.DataFrame({"session": days, "net_return": returns})


def world_of(family: Family, with_: float, without: float, seed: int, **changes: Any) -> Worlds:
    with_scores, with_returns = scores_of(with_, seed)
    without_scores, without_returns = scores_of(without, seed + 1000)
    given: dict[str, Any] = {
        "with_scores": with_scores,
        "without_scores": without_scores,
        "with_returns": with_returns,
        "without_returns": without_returns,
    }
    return Worlds(family=family, was_fed=True, n_columns=4, **(given | changes))


def worths(*worlds: Worlds, **changes: Any) -> tuple[FamilyWorth, ...]:
    config = AblationConfig.model_validate({"n_bootstrap_draws": 300} | changes)
    return family_worths(
        worlds, config=config, horizon_sessions=5, min_block_sessions=5, risk_free_daily=RISK_FREE
    )


def test_a_difference_is_that_of_the_figures() -> None:
    """With minus without, each by its definition, on the same rows."""
    world = world_of(Family.TREND, 1.0, 0.5, 3)
    (found,) = worths(world)

    label = world.with_scores["label"].to_numpy()
    pair = [each["score"].to_numpy() for each in (world.with_scores, world.without_scores)]
    net = [each["net_return"].to_numpy() for each in (world.with_returns, world.without_returns)]
    expected = {
        "auc": [roc_auc(label, each) for each in pair],
        "log_loss": [log_loss(label, each) for each in pair],
        "net_annual_return": [annual_return(each) for each in net],
        "net_sharpe": [sharpe_ratio(each, risk_free_daily=RISK_FREE) for each in net],
    }
    for name, (with_, without) in expected.items():
        test = found.of(name)
        assert test.inputs["with"] == pytest.approx(with_)
        assert test.inputs["without"] == pytest.approx(without)
        assert test.estimate == pytest.approx((with_ or 0) - (without or 0))
        assert test.unit == FIGURES[name]
    assert (found.n_rows, found.n_sessions, found.n_rows_left_out) == (600, 120, 0)


def test_a_family_that_tells_is_found_and_the_others_are_not() -> None:
    """One of four families knows something of the labels."""
    found = worths(
        world_of(Family.TREND, 0.8, 0.8, 3),
        world_of(Family.VOLUME, 1.5, 0.0, 5),
        world_of(Family.GAPS, 0.8, 0.8, 7),
        world_of(Family.LISTING, 0.0, 0.0, 9),
        n_bootstrap_draws=1000,
    )

    assert [bool(each.helps) for each in found] == [False, True, False, False]
    assert {"auc", "log_loss"} <= set(found[1].helps)
    assert not any(each.harms for each in found)
    assert family_cells(found[1])[-1].startswith("better: AUC, log loss")
    assert family_cells(found[0])[-1] == "no"


def test_chance_is_seldom_told() -> None:
    """Of twelve questions about three families without worth, at most two find something."""
    asked = [
        worths(
            *(
                world_of(family, 0.3, 0.3, seed * 10 + place)
                for place, family in enumerate((Family.TREND, Family.GAPS, Family.VOLUME))
            )
        )
        for seed in range(12)
    ]

    assert sum(any(each.helps or each.harms for each in found) for found in asked) <= 2


def test_a_family_that_harms_is_told_as_such() -> None:
    """Swapped, the same world is worse with it: lower AUC, higher log loss."""
    (found,) = worths(world_of(Family.VOLUME, 0.0, 1.5, 5))

    assert found.helps == ()
    assert {"auc", "log_loss"} <= set(found.harms)
    assert "worse: AUC" in family_cells(found)[-1]


def test_p_values_are_corrected_for_all_tests() -> None:
    """Holm by hand: the smallest of m times m, the next times m - 1, never falling."""
    found = worths(
        world_of(Family.TREND, 0.9, 0.4, 3),
        world_of(Family.VOLUME, 0.5, 0.3, 5),
        world_of(Family.GAPS, 0.3, 0.3, 8),
    )
    tests = [test for each in found for test in each.worth]
    ordered = sorted(tests, key=lambda test: test.p_value or 0)
    largest = 0.0
    for place, test in enumerate(ordered):
        largest = max(largest, min(1.0, (len(tests) - place) * (test.p_value or 0)))
        assert test.inputs["p_holm"] == pytest.approx(largest)
        assert test.rejects_null is (largest < 0.05)
    assert len(tests) == 12
    # Benjamini and Hochberg by hand: m / rank times each, never rising from the largest down.
    least = 1.0
    for place, test in reversed(list(enumerate(ordered, start=1))):
        least = min(least, len(tests) / place * (test.p_value or 0))
        assert test.inputs["q_value"] == pytest.approx(least)


def test_a_p_value_is_twice_the_smaller_share_of_draws() -> None:
    """Equal scores differ by nothing in every draw: p is 1; a plain difference has the least."""
    same = world_of(Family.TREND, 0.5, 0.5, 3)
    same = world_of(
        Family.TREND,
        0.5,
        0.5,
        3,
        without_scores=same.with_scores,
        without_returns=same.with_returns,
    )
    plain = world_of(Family.VOLUME, 6.0, 0.0, 5)
    equal, told = worths(same, plain)

    assert [test.estimate for test in equal.worth] == [0, 0, 0, 0]
    assert [test.p_value for test in equal.worth] == [1, 1, 1, 1]
    assert told.of("auc").p_value == pytest.approx(2 / 301)


def test_rows_of_one_alone_are_counted_and_left_out() -> None:
    """What only one of both scored compares nothing."""
    world = world_of(Family.TREND, 0.5, 0.5, 3)
    fewer = world.without_scores.with_columns(
        score=pl.when(pl.int_range(pl.len()) % 4 == 0).then(None).otherwise(pl.col("score"))
    )
    (found,) = worths(world_of(Family.TREND, 0.5, 0.5, 3, without_scores=fewer))

    assert (found.n_rows, found.n_rows_left_out) == (450, 150)
    assert found.of("auc").n == 450


def test_what_is_not_defined_has_a_reason() -> None:
    """One class has no AUC, cash no Sharpe ratio, and neither counts as a test."""
    world = world_of(Family.TREND, 0.5, 0.5, 3)
    one = world.with_scores.with_columns(label=pl.lit(1, dtype=pl.Int8))
    flat = world.with_returns.with_columns(net_return=pl.lit(0.0001))
    (found,) = worths(world_of(Family.TREND, 0.5, 0.5, 3, with_scores=one, without_returns=flat))

    assert found.of("auc").reason == "one class only"
    assert "do not vary" in (found.of("net_sharpe").reason or "")
    assert found.of("auc").rejects_null is None
    assert "p_holm" not in found.of("auc").inputs
    assert "- (one class only)" in family_cells(found)


@pytest.mark.parametrize(
    ("name", "value"), [("n_bootstrap_draws", 400), ("confidence", 0.6), ("seed", 7)]
)
def test_a_setting_acts(name: str, value: Any) -> None:
    """Another value gives another result; which families are asked is the stage's part."""
    world = world_of(Family.TREND, 0.5, 0.4, 3)

    assert worths(world, **{name: value}) != worths(world)
    assert set(AblationConfig.model_fields) == {
        "families",
        "n_bootstrap_draws",
        "confidence",
        "seed",
    }
