"""Facts about gates and the verdict."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sensequant.release.gates import (
    Decision,
    Evidence,
    Figure,
    Gate,
    GateConfig,
    GateOutcome,
    Nature,
    evaluate_gates,
    judge,
)

GOOD: dict[str, Figure] = {
    "scored_sessions": Figure(observed=500, n=500, n_unit="sessions"),
    "trades": Figure(observed=100, n=500),
    "auc": Figure(observed=0.55, lower=0.52, upper=0.58, n=9000, n_unit="rows"),
    "auc_placebo": Figure(observed=0.5, lower=0.49, upper=0.5, n=20),
    "mean_excess_return": Figure(observed=0.08, lower=0.01, upper=0.15, n=500),
    "deflated_sharpe": Figure(observed=0.97, n=500),
    "alpha_p_value": Figure(observed=0.02, n=500),
    "max_drawdown": Figure(observed=-0.2, lower=-0.5, upper=-0.1, n=500),
    "resilience": Figure(observed=60.0, lower=55.0, upper=65.0, n=4, n_unit="crises"),
    "coverage": Figure(observed=0.99, n=1000),
    "failure_rate": Figure(observed=0.01, n=200),
    "detectable_sharpe": Figure(observed=1.1, n=500),
}
NAMES = [name for name in GOOD if name not in {"auc_placebo", "detectable_sharpe"}]


def evidence(**changed: Figure) -> Evidence:
    return Evidence.model_validate(GOOD | changed)


def gate(name: str, figure: Figure) -> Gate:
    gates = evaluate_gates(evidence(**{name: figure}), GateConfig())
    return next(each for each in gates if each.name == name)


def decide(found: Evidence) -> Decision:
    gates = evaluate_gates(found, GateConfig())
    return judge(gates, detectable_sharpe=None, is_simulated=False).decision


def test_good_evidence_is_approved() -> None:
    """When every gate passes, the verdict is approve, and the headline leaves it to a person."""
    gates = evaluate_gates(evidence(), GateConfig())
    verdict = judge(gates, detectable_sharpe=1.1, is_simulated=True)

    assert [each.name for each in gates] == NAMES
    assert verdict.decision is Decision.APPROVE
    assert verdict.reasons == ()
    assert (verdict.n_passed, verdict.n_failed, verdict.n_undetermined) == (10, 0, 0)
    assert verdict.headline == "All 10 gates pass; a person may approve."
    assert verdict.is_simulated


def test_without_a_placebo_an_auc_is_undetermined() -> None:
    """There is nothing to beat, so the gate says why it cannot tell."""
    missing = Figure(reason="the stage was not run")
    gates = evaluate_gates(evidence(auc_placebo=missing), GateConfig())

    found = next(each for each in gates if each.name == "auc")
    assert found.outcome is GateOutcome.UNDETERMINED
    assert "no placebo to beat: the stage was not run" in found.reason


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_figure_never_passes(name: str) -> None:
    """Absence is undetermined with its reason, and the run is not approved."""
    missing = Figure(reason="the stage was not run")
    found = gate(name, missing)

    assert found.outcome is GateOutcome.UNDETERMINED
    assert "the stage was not run" in found.reason
    assert decide(evidence(**{name: missing})) is Decision.NOT_ENOUGH_EVIDENCE


@pytest.mark.parametrize(
    ("lower", "upper", "expected"),
    [
        (0.501, 0.6, GateOutcome.PASS),
        (0.5, 0.6, GateOutcome.UNDETERMINED),
        (0.45, 0.55, GateOutcome.UNDETERMINED),
        (0.45, 0.501, GateOutcome.UNDETERMINED),
        (0.4, 0.5, GateOutcome.FAIL),
    ],
)
def test_an_estimate_is_judged_by_its_whole_interval(
    lower: float, upper: float, expected: GateOutcome
) -> None:
    """Pass needs the lower bound above the limit, fail the upper bound at or below it."""
    assert gate("auc", Figure(observed=0.5, lower=lower, upper=upper, n=10)).outcome is expected


def test_an_estimate_without_interval_is_undetermined() -> None:
    """A high point estimate alone decides nothing, and says why it has no interval."""
    found = gate("auc", Figure(observed=0.9, n=10, reason="not defined in 12 of 100 draws"))

    assert found.outcome is GateOutcome.UNDETERMINED
    assert "not defined in 12 of 100 draws" in found.reason
    assert gate("auc", Figure(observed=0.9, lower=0.8)).outcome is GateOutcome.UNDETERMINED


@pytest.mark.parametrize(
    ("lower", "upper", "expected", "answer"),
    [
        (55, 65, GateOutcome.PASS, "Yes"),
        (20, 60, GateOutcome.PASS, "Nothing shows otherwise"),
        (20, 50, GateOutcome.PASS, "Nothing shows otherwise"),
        (20, 49.9, GateOutcome.FAIL, "No"),
    ],
)
def test_a_guard_objects_by_its_whole_interval(
    lower: float, upper: float, expected: GateOutcome, answer: str
) -> None:
    """What may be good passes; only an interval that misses the limit as a whole fails."""
    middle = (lower + upper) / 2

    found = gate("resilience", Figure(observed=middle, lower=lower, upper=upper, n=2))

    assert found.outcome is expected
    assert found.reason.startswith(answer)


def test_a_guard_without_interval_is_undetermined() -> None:
    """However high it is: nobody knows whether it objects."""
    found = gate("resilience", Figure(observed=90, n=2, reason="a crisis without an error"))

    assert found.outcome is GateOutcome.UNDETERMINED


@pytest.mark.parametrize(
    ("name", "observed", "expected"),
    [
        ("deflated_sharpe", 0.95, GateOutcome.PASS),
        ("deflated_sharpe", 0.94, GateOutcome.UNDETERMINED),
        ("deflated_sharpe", 0.06, GateOutcome.UNDETERMINED),
        ("deflated_sharpe", 0.05, GateOutcome.FAIL),
        ("alpha_p_value", 0.05, GateOutcome.PASS),
        ("alpha_p_value", 0.06, GateOutcome.UNDETERMINED),
        ("alpha_p_value", 0.94, GateOutcome.UNDETERMINED),
        ("alpha_p_value", 0.95, GateOutcome.FAIL),
        ("scored_sessions", 250, GateOutcome.PASS),
        ("scored_sessions", 249, GateOutcome.UNDETERMINED),
        ("trades", 0, GateOutcome.UNDETERMINED),
        ("max_drawdown", -0.35, GateOutcome.PASS),
        ("max_drawdown", -0.36, GateOutcome.FAIL),
        ("coverage", 0.95, GateOutcome.PASS),
        ("coverage", 0.94, GateOutcome.FAIL),
        ("failure_rate", 0.15, GateOutcome.PASS),
        ("failure_rate", 0.16, GateOutcome.FAIL),
    ],
)
def test_figures_without_interval_by_their_nature(
    name: str, observed: float, expected: GateOutcome
) -> None:
    """Probabilities fail at the mirror of the limit, amounts never fail, exact figures decide."""
    assert gate(name, Figure(observed=observed, n=10)).outcome is expected


def test_one_failure_rejects_whatever_else_is_open() -> None:
    """A failed gate outweighs undetermined ones, and only failures are the reasons."""
    found = evidence(coverage=Figure(observed=0.5, n=10), auc=Figure(reason="not run"))
    verdict = judge(evaluate_gates(found, GateConfig()), detectable_sharpe=None, is_simulated=False)

    assert verdict.decision is Decision.REJECT
    assert verdict.headline == "1 of 10 gates fail: coverage."
    assert verdict.reasons == (
        "Are the bars complete? No: 0.5 over 10 observations, asked at least 0.95.",
    )


def test_too_little_evidence_tells_what_could_have_been_shown() -> None:
    """The smallest detectable Sharpe ratio stands in the headline, or that it is not known."""
    gates = evaluate_gates(evidence(trades=Figure(observed=3, n=3)), GateConfig())
    known = judge(gates, detectable_sharpe=1.234, is_simulated=False)
    unknown = judge(gates, detectable_sharpe=None, is_simulated=False)

    assert known.decision is Decision.NOT_ENOUGH_EVIDENCE
    assert "trades" in known.headline
    assert "below 1.23 could not" in known.headline
    assert known.detectable_sharpe == 1.234
    assert "is not known" in unknown.headline


def test_no_gates_approve_nothing() -> None:
    """All of nothing pass, yet nothing was shown."""
    verdict = judge([], detectable_sharpe=None, is_simulated=False)

    assert verdict.decision is Decision.NOT_ENOUGH_EVIDENCE
    assert "anything" in verdict.headline


@given(st.lists(st.sampled_from(GateOutcome), min_size=1, max_size=10))
def test_verdict_is_a_function_of_outcomes(outcomes: list[GateOutcome]) -> None:
    """Approve iff all pass, reject iff any fails; the order of gates does not matter."""
    template = evaluate_gates(evidence(), GateConfig())[0]
    gates = [template.model_copy(update={"outcome": outcome}) for outcome in outcomes]
    found = judge(gates, detectable_sharpe=None, is_simulated=False).decision
    backward = judge(reversed(gates), detectable_sharpe=None, is_simulated=False).decision

    assert found is backward
    assert (found is Decision.APPROVE) == (set(outcomes) == {GateOutcome.PASS})
    assert (found is Decision.REJECT) == (GateOutcome.FAIL in outcomes)


@given(
    center=st.floats(0, 1),
    narrow=st.floats(0, 0.2),
    wider=st.floats(0, 0.2),
)
def test_a_wider_interval_never_decides_more(center: float, narrow: float, wider: float) -> None:
    """What a narrow interval leaves open, a wider one around the same value leaves open too."""

    def outcome(half: float) -> GateOutcome:
        figure = Figure(observed=center, lower=center - half, upper=center + half, n=5)
        return gate("auc", figure).outcome

    if outcome(narrow) is GateOutcome.UNDETERMINED:
        assert outcome(narrow + wider) is GateOutcome.UNDETERMINED
    if outcome(narrow + wider) is not GateOutcome.UNDETERMINED:
        assert outcome(narrow) is outcome(narrow + wider)


@pytest.mark.parametrize(
    ("setting", "strict", "name"),
    [
        ("min_scored_sessions", 501, "scored_sessions"),
        ("min_trades", 101, "trades"),
        ("min_auc", 0.53, "auc"),
        ("min_mean_excess_return", 0.02, "mean_excess_return"),
        ("min_deflated_sharpe", 0.98, "deflated_sharpe"),
        ("max_alpha_p_value", 0.01, "alpha_p_value"),
        ("max_drawdown_frac", 0.1, "max_drawdown"),
        ("min_resilience", 66, "resilience"),
        ("min_coverage_frac", 0.995, "coverage"),
        ("max_failure_rate", 0.001, "failure_rate"),
    ],
)
def test_every_limit_moves_its_own_gate_and_no_other(
    setting: str, strict: float, name: str
) -> None:
    """A stricter limit turns exactly its gate from pass to something else."""
    config = GateConfig.model_validate({setting: strict})
    changed = [
        each.name
        for each in evaluate_gates(evidence(), config)
        if each.outcome is not GateOutcome.PASS
    ]

    assert changed == [name]


def test_every_nature_has_a_gate() -> None:
    """No rule stands unused."""
    assert {each.nature for each in evaluate_gates(evidence(), GateConfig())} == set(Nature)


@pytest.mark.parametrize(
    ("name", "observed"),
    [("max_drawdown", 0.2), ("auc", 1.1), ("coverage", 95.0), ("resilience", -1.0)],
)
def test_impossible_evidence_is_refused(name: str, observed: float) -> None:
    """A drawdown above zero or a percentage in place of a fraction is an error, not a pass."""
    with pytest.raises(ValidationError, match=rf"Evidence\.{name}"):
        evidence(**{name: Figure(observed=observed)})


def test_interval_upside_down_is_refused() -> None:
    """Bounds in the wrong order would turn the rule around."""
    with pytest.raises(ValidationError, match="interval is upside down"):
        Figure(observed=0.5, lower=0.6, upper=0.4)


def test_reasons_name_figure_interval_count_and_limit() -> None:
    """A reader finds everything that the gate compared in one sentence."""
    reason = gate("auc", GOOD["auc"]).reason

    assert reason == "Yes: 0.55 [0.52, 0.58] over 9000 rows, asked above 0.5."
    assert len({each.question for each in evaluate_gates(evidence(), GateConfig())}) == len(NAMES)
    assert all(
        first.limit is not None
        for first, _ in itertools.pairwise(evaluate_gates(evidence(), GateConfig()))
    )


@pytest.mark.parametrize(
    ("placebo", "expected"), [(0.519, GateOutcome.PASS), (0.53, GateOutcome.UNDETERMINED)]
)
def test_an_auc_must_beat_what_shuffled_labels_reach(placebo: float, expected: GateOutcome) -> None:
    """Telling volatile symbols from quiet ones is no skill: the placebo reaches that as well."""
    shuffled = Figure(observed=0.51, lower=0.5, upper=placebo, n=20)
    gates = evaluate_gates(evidence(auc_placebo=shuffled), GateConfig())

    found = next(each for each in gates if each.name == "auc")
    assert found.outcome is expected
    assert found.limit == max(0.5, placebo)
