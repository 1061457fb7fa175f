"""The strongest reasons for and against a candidate, taken from its gates.

Belongs here: how far a gate's figure lies from its limit, in a measure that gates have in common,
and which of them speak loudest. Does not belong here: the gates and the verdict (`release.gates`),
which these reasons only put in order.

A gate's strength is 1 where its figure just passes and -1 where it just fails:

- an estimate or guard: its distance from the limit in half widths of its interval;
- a probability: the normal quantile that it stands for, over that of the limit;
- an exact figure: 1 and more by its distance from the limit as a share of the limit, with the sign
  of its outcome.

How much evidence there is (`amount`) says nothing about the model: too little of it speaks against,
enough of it speaks for nothing.
"""

from collections.abc import Iterable
from statistics import NormalDist

from sensequant.records import Finite, Record
from sensequant.release.gates import Direction, Gate, GateOutcome, Nature

__all__ = ["N_REASONS", "Reason", "reasons_of", "strength_of"]

N_REASONS = 3
"""How many reasons of either kind a person reads first."""

_WEAKEST = 0.0
_NORMAL = NormalDist()


class Reason(Record):
    """One gate that speaks for or against, in words, with its strength."""

    gate: str
    words: str
    strength: Finite | None
    """None where the figure is missing."""


def reasons_of(gates: Iterable[Gate]) -> tuple[tuple[Reason, ...], tuple[Reason, ...]]:
    """Return at most `N_REASONS` reasons for, and as many against, the strongest first.

    Parameters
    ----------
    gates
        Of a verdict.

    Returns
    -------
    for_, against
        For: gates that pass, amounts of evidence aside. Against: gates that do not pass; those that
        fail before those that are undetermined, and figures that are missing last.
    """
    rows = list(gates)
    passed = [
        gate
        for gate in rows
        if gate.outcome is GateOutcome.PASS and gate.nature is not Nature.AMOUNT
    ]
    others = [gate for gate in rows if gate.outcome is not GateOutcome.PASS]
    passed.sort(key=lambda gate: -(strength_of(gate) or _WEAKEST))
    others.sort(key=_order_against)
    return _first(passed), _first(others)


def strength_of(gate: Gate) -> float | None:
    """Return how far a gate's figure lies from its limit; None where that cannot be said."""
    if gate.observed is None:
        return None
    sign = -1.0 if gate.direction is Direction.AT_MOST else 1.0
    if gate.nature in (Nature.ESTIMATE, Nature.GUARD):
        if gate.lower is None or gate.upper is None or gate.upper <= gate.lower:
            return None
        return sign * (gate.observed - gate.limit) / ((gate.upper - gate.lower) / 2)
    if gate.nature is Nature.PROBABILITY:
        return _quantiles_of_limit(gate.observed, gate.limit)
    distance = abs(gate.observed - gate.limit) / abs(gate.limit) if gate.limit else 0.0
    return (1 + distance) * (1.0 if gate.outcome is GateOutcome.PASS else -1.0)


def _quantiles_of_limit(observed: float, limit: float) -> float | None:
    # A p-value and a probability of success differ in which tail the limit stands in, no more.
    at_limit = _NORMAL.inv_cdf(limit)
    inside = min(max(observed, 1e-16), 1 - 1e-16)
    return None if at_limit == 0 else _NORMAL.inv_cdf(inside) / at_limit


def _order_against(gate: Gate) -> tuple[bool, bool, float]:
    strength = strength_of(gate)
    return gate.outcome is not GateOutcome.FAIL, strength is None, strength or _WEAKEST


def _first(gates: list[Gate]) -> tuple[Reason, ...]:
    return tuple(
        Reason(
            gate=gate.name,
            words=f"{gate.question} {gate.reason}",
            strength=strength_of(gate),
        )
        for gate in gates[:N_REASONS]
    )
