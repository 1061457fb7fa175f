"""Facts about which gates speak loudest for and against."""

from typing import Any

import pytest
from scipy.stats import norm

from sensequant.release.gates import Direction, Gate, GateOutcome, Nature
from sensequant.release.reasons import reasons_of, strength_of

PASS, FAIL, OPEN = GateOutcome.PASS, GateOutcome.FAIL, GateOutcome.UNDETERMINED


def gate(name: str, outcome: GateOutcome = PASS, **changes: Any) -> Gate:
    fields: dict[str, Any] = {
        "name": name,
        "question": f"Is {name} good?",
        "nature": Nature.ESTIMATE,
        "direction": Direction.ABOVE,
        "limit": 0.5,
        "observed": 0.6,
        "lower": 0.55,
        "upper": 0.65,
        "n": 100,
        "n_unit": "rows",
        "evidence": None,
        "outcome": outcome,
        "reason": f"{outcome}.",
    }
    return Gate(**(fields | changes))


def exact(name: str, outcome: GateOutcome, observed: float, limit: float) -> Gate:
    return gate(
        name, outcome, nature=Nature.EXACT, observed=observed, limit=limit, lower=None, upper=None
    )


def test_an_estimate_is_measured_in_half_widths_of_its_interval() -> None:
    """One where the interval just leaves the limit out, minus one where it just misses it."""
    assert strength_of(gate("a")) == pytest.approx(2.0)
    just = gate("a", observed=0.55, lower=0.5, upper=0.6)
    assert strength_of(just) == pytest.approx(1.0)
    assert strength_of(gate("a", observed=0.45, lower=0.4, upper=0.5)) == pytest.approx(-1.0)


@pytest.mark.parametrize(
    ("limit", "observed", "direction"),
    [(0.05, 0.01, Direction.AT_MOST), (0.95, 0.99, Direction.AT_LEAST)],
)
def test_a_probability_is_measured_in_quantiles(
    limit: float, observed: float, direction: Direction
) -> None:
    """A p-value of 0.01 is as telling as a probability of 0.99; the mirror is minus one."""
    asked: dict[str, Any] = {"nature": Nature.PROBABILITY, "direction": direction, "limit": limit}
    found = strength_of(gate("p", observed=observed, **asked))

    assert found == pytest.approx(norm.ppf(0.99) / norm.ppf(0.95))
    assert strength_of(gate("p", observed=limit, **asked)) == pytest.approx(1.0)
    assert strength_of(gate("p", observed=1 - limit, **asked)) == pytest.approx(-1.0)
    assert strength_of(gate("p", observed=0.5, **asked)) == pytest.approx(0.0)


def test_the_strongest_three_are_named() -> None:
    """What fails stands before what cannot be told, and what is missing comes last."""
    gates = [
        exact("barely", PASS, 51, 50),
        exact("clearly", PASS, 90, 50),
        gate("strong", observed=0.9, lower=0.85, upper=0.95),
        gate("weak", observed=0.55, lower=0.5, upper=0.6),
        exact("sessions", PASS, 620, 250).model_copy(update={"nature": Nature.AMOUNT}),
        gate("unknown", OPEN, observed=None, lower=None, upper=None),
        gate("open", OPEN, observed=0.51, lower=0.4, upper=0.6),
        exact("lost", FAIL, 10, 50),
    ]

    for_, against = reasons_of(gates)

    assert [reason.gate for reason in for_] == ["strong", "clearly", "barely"]
    assert [reason.gate for reason in against] == ["lost", "open", "unknown"]
    assert against[0].strength == pytest.approx(-1.8)
    assert against[2].strength is None
    assert for_[0].words == "Is strong good? pass."


def test_too_little_evidence_speaks_against() -> None:
    """Enough of it speaks for nothing."""
    few = exact("sessions", OPEN, 60, 250).model_copy(update={"nature": Nature.AMOUNT})

    assert [reason.gate for reason in reasons_of([few])[1]] == ["sessions"]
    assert reasons_of([]) == ((), ())
