"""Gates on context: what each blocks, at its limit by hand, and what is not known."""

from datetime import date
from typing import Any

import polars as pl
import pytest

from sensequant.evaluation.gates import FACTS, SIZING, GateConfig, GateCount, gated_scores

DAYS = [date(2024, 1, day) for day in range(1, 6)]
FACT_VALUES: dict[str, list[Any]] = {
    "spread_frac": [0.001, 0.002, 0.0021, None, 0.5],
    "vix": ["calm", "usual", "nervous", None, "nervous"],
    "correlation": [-0.9, 0.3, 0.31, None, 0.9],
    "atm_volatility": [0.2, 0.3, 0.4, None, 0.5],
}
LIMITS: dict[str, Any] = {
    "max_spread_frac": 0.002,
    "max_volatility_regime": "usual",
    "max_correlation": 0.3,
}


@pytest.fixture
def predictions() -> pl.DataFrame:
    """Return five decisions; the last is none to buy."""
    return pl.DataFrame(
        {"symbol": ["AAA"] * 5, "session": DAYS, "score": [0.6, 0.6, 0.6, 0.6, 0.2]}
    )


@pytest.fixture
def facts() -> pl.DataFrame:
    """Return facts at, below and above each limit, and one that is not known."""
    return pl.DataFrame({"symbol": ["AAA"] * 5, "session": DAYS, **FACT_VALUES})


def test_every_gate_is_looked_at_here() -> None:
    """A new one has a limit above, or sizes."""
    assert set(FACTS) == {*LIMITS, SIZING}


@pytest.mark.parametrize("gate", sorted(LIMITS))
def test_a_gate_blocks_what_lies_beyond_its_limit(
    predictions: pl.DataFrame, facts: pl.DataFrame, gate: str
) -> None:
    """At the limit is within; what is not known is traded and counted; no decision stays one."""
    gates = GateConfig.model_validate({gate: LIMITS[gate]})

    gated, counts = gated_scores(predictions, facts, gates, threshold=0.5)

    assert gated["score"].to_list() == [0.6, 0.6, -1.0, 0.6, 0.2]
    assert gated.columns == predictions.columns
    assert counts == (GateCount(gate=gate, n_decisions=4, n_blocked=1, n_unknown=1),)


def test_open_gates_change_nothing(predictions: pl.DataFrame, facts: pl.DataFrame) -> None:
    """Without limits the scores are what they were."""
    gated, counts = gated_scores(predictions, facts, GateConfig(), threshold=0.5)

    assert gated.equals(predictions)
    assert counts == ()


def test_gates_together_block_what_any_of_them_blocks(
    predictions: pl.DataFrame, facts: pl.DataFrame
) -> None:
    """Each counts by itself."""
    gates = GateConfig(max_spread_frac=0.001, max_volatility_regime="usual")

    gated, counts = gated_scores(predictions, facts, gates, threshold=0.5)

    assert gated["score"].to_list() == [0.6, -1.0, -1.0, 0.6, 0.2]
    assert [count.n_blocked for count in counts] == [2, 1]


def test_sizing_hands_on_what_is_known_and_blocks_nothing(
    predictions: pl.DataFrame, facts: pl.DataFrame
) -> None:
    """What is not known stays null and is counted; a decision that another gate blocks is none."""
    alone, (count,) = gated_scores(
        predictions, facts, GateConfig(implied_volatility_sizing=True), threshold=0.5
    )
    both = GateConfig(implied_volatility_sizing=True, max_correlation=0.3)
    together, counts = gated_scores(predictions, facts, both, threshold=0.5)

    assert alone["score"].to_list() == predictions["score"].to_list()
    assert alone["implied_volatility"].to_list() == FACT_VALUES["atm_volatility"]
    assert count == GateCount(gate=SIZING, n_decisions=4, n_blocked=0, n_unknown=1, n_sized=3)
    assert together["score"].to_list() == [0.6, 0.6, -1.0, 0.6, 0.2]
    assert together["implied_volatility"].to_list() == FACT_VALUES["atm_volatility"]
    assert [each.n_sized for each in counts] == [0, 3]
