"""Facts about the counts: exact intervals, who stood in the way, what is decided."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sensequant.calibration.oracle import EdgeWorth
from sensequant.calibration.page import render_calibration
from sensequant.calibration.request import CalibrationRequest
from sensequant.calibration.summary import rate, summarise, world_table
from sensequant.calibration.worlds import GateSaid, Truth, World, WorldRecord
from sensequant.release.gates import Decision, GateOutcome
from sensequant.reports.power_chart import power_chart

PASS, FAIL, OPEN = GateOutcome.PASS, GateOutcome.FAIL, GateOutcome.UNDETERMINED
WORTH = EdgeWorth(edge_bps=30.0, sharpe=3.0, standard_error=0.1, n_markets=48)


def record(
    number: int, outcomes: Sequence[GateOutcome], *, sharpe: float | None = None
) -> WorldRecord:
    """Return the record of a world whose two gates said this."""
    if FAIL in outcomes:
        decision = Decision.REJECT
    else:
        decision = Decision.NOT_ENOUGH_EVIDENCE if OPEN in outcomes else Decision.APPROVE
    kind = "walk" if sharpe is None else f"oracle_{sharpe:g}"
    return WorldRecord(
        world=World(
            name=f"{kind}_{number:04d}",
            truth=Truth.NOTHING if sharpe is None else Truth.EDGE,
            seed=number,
            oracle_sharpe_asked=sharpe,
        ),
        edge_bps=0.0 if sharpe is None else 30.0,
        decision=decision,
        gates=tuple(
            GateSaid(name=name, outcome=outcome, observed=0.5, lower=None, upper=None, limit=0.5)
            for name, outcome in zip(("auc", "alpha"), outcomes, strict=True)
        ),
        auc=0.5 + number / 100,
        net_sharpe=1.0,
        oracle_sharpe=None if sharpe is None else 2.0 + number,
        detectable_sharpe=1.6,
        n_scored_sessions=600,
        n_windows=5,
        code_version="c" * 64,
    )


def walks(*outcomes: Sequence[GateOutcome]) -> list[WorldRecord]:
    return [record(number, said) for number, said in enumerate(outcomes)]


@pytest.mark.parametrize("n", [1, 20, 200])
def test_the_interval_of_nothing_has_a_closed_form(n: int) -> None:
    """Clopper and Pearson (1934): with no success the upper bound is 1 - (alpha / 2) ** (1 / n)."""
    none, every = rate(0, n), rate(n, n)

    assert (none.value, none.lower) == (0.0, 0.0)
    assert none.upper == pytest.approx(1 - 0.025 ** (1 / n))
    assert every.lower == pytest.approx(0.025 ** (1 / n))
    assert every.upper == 1.0


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_bound_is_where_the_tail_is_a_fortieth(case: tuple[int, int]) -> None:
    """By its definition, on the binomial law itself."""
    count, n = case
    found = rate(count, n)

    assert found.lower is not None
    assert found.upper is not None
    if count > 0:
        assert stats.binom.sf(count - 1, n, found.lower) == pytest.approx(0.025, rel=1e-6)
    if count < n:
        assert stats.binom.cdf(count, n, found.upper) == pytest.approx(0.025, rel=1e-6)


def test_without_worlds_there_is_no_rate() -> None:
    """Absent, not 0."""
    assert rate(0, 0).model_dump(exclude={"schema_version"}) == {
        "count": 0,
        "n": 0,
        "value": None,
        "lower": None,
        "upper": None,
    }


def test_verdicts_and_gates_are_counted() -> None:
    """By hand on five worlds; a gate stands alone where every other one passes."""
    records = walks((PASS, PASS), (OPEN, PASS), (OPEN, OPEN), (PASS, FAIL), (FAIL, FAIL))

    found = summarise(CalibrationRequest(n_worlds=9, n_edge_worlds=0), records, []).walks

    counts = (found.approved.count, found.rejected.count, found.not_enough_evidence.count)
    assert counts == (1, 2, 2)
    auc, alpha = found.gates
    assert (auc.passes.count, auc.fails.count, auc.undetermined.count) == (2, 1, 2)
    assert (auc.alone.count, alpha.alone.count) == (1, 1)
    assert found.auc.value == pytest.approx(0.52)
    assert found.oracle_sharpe.value is None
    assert found.oracle_sharpe.reason == "no world has this figure"


def test_a_mean_has_students_interval() -> None:
    """By hand: 2, 3, 4 has mean 3, error 1 / sqrt(3), and t of 2 degrees of freedom."""
    records = [record(number, (PASS, PASS), sharpe=3.0) for number in range(3)]

    (level,) = summarise(CalibrationRequest(oracle_sharpes=(3.0,)), records, [WORTH]).levels

    assert level.oracle_sharpe.value == pytest.approx(3.0)
    assert level.oracle_sharpe.upper == pytest.approx(3 + 4.302653 / 3**0.5, abs=1e-4)
    assert level.edge_bps == 30.0


@pytest.mark.parametrize(
    ("n_approved", "n", "holds"),
    [
        (0, 200, True),
        (10, 200, True),
        (11, 200, False),
        (0, 100, None),
        (10, 100, None),
        (40, 100, False),
        (0, 0, None),
    ],
    ids=["none", "a twentieth", "more", "few", "few, some", "few, many", "no world"],
)
def test_false_approvals_are_judged_when_there_are_enough(
    n_approved: int, n: int, *, holds: bool | None
) -> None:
    """At most 5 % with an upper bound of at most 10 %; fewer than 200 decide only against it."""
    records = walks(*[(PASS, PASS)] * n_approved, *[(OPEN, PASS)] * (n - n_approved))

    found = summarise(CalibrationRequest(n_edge_worlds=0), records, [])

    assert found.answers[0].holds is holds


@pytest.mark.parametrize(
    ("n_approved", "n", "n_symbols", "holds"),
    [
        (32, 40, 50, True),
        (31, 40, 50, False),
        (4, 5, 50, None),
        (1, 5, 50, False),
        (5, 5, 12, None),
    ],
    ids=["enough", "too few", "few worlds", "few worlds, rarely", "another size"],
)
def test_power_is_judged_at_three_years_and_fifty_symbols(
    n_approved: int, n: int, n_symbols: int, *, holds: bool | None
) -> None:
    """Four of five of forty worlds; fewer decide only where their interval lies below."""
    request = CalibrationRequest(n_symbols=n_symbols, oracle_sharpes=(3.0,))
    outcomes = [(PASS, PASS)] * n_approved + [(OPEN, PASS)] * (n - n_approved)
    records = [record(number, said, sharpe=3.0) for number, said in enumerate(outcomes)]

    assert summarise(request, records, [WORTH]).answers[1].holds is holds


def test_worlds_are_counted_by_what_the_oracle_earned_in_them() -> None:
    """By hand: 2, 3, 4 and 5 fall into bins from their own value on; walks are left out."""
    records = [record(number, (PASS, PASS), sharpe=3.0) for number in range(3)]
    records += [record(3, (OPEN, PASS), sharpe=3.0), *walks((PASS, PASS))]

    earned = summarise(CalibrationRequest(oracle_sharpes=(3.0,)), records, [WORTH]).earned

    assert [(one.at_least, one.below, one.approved.count, one.approved.n) for one in earned] == [
        (2.0, 3.0, 1, 1),
        (3.0, 4.0, 1, 1),
        (4.0, 5.0, 1, 1),
        (5.0, None, 0, 1),
    ]


def test_the_page_says_what_is_missing_and_that_all_is_invented() -> None:
    """Counts with intervals, gates, the demand and its answer."""
    request = CalibrationRequest(n_worlds=3, n_edge_worlds=1, oracle_sharpes=(3.0,))
    records = [*walks((PASS, PASS), (OPEN, PASS)), record(0, (PASS, OPEN), sharpe=3.0)]

    page = render_calibration(summarise(request, records, [WORTH]))

    assert "**SIMULATED" in page
    assert "3 of 4 worlds are judged; 1 are missing" in page
    assert "| none | 0 | 2 | 1 (50.0%) | 1.3% to 98.7% | 0 (0.0%) | 1 (50.0%) |" in page
    assert "| `auc` | 1 (50.0%) | 1.3% to 98.7% | 0 (0.0%) | 1 (50.0%) | 1 |" in page
    assert "| 3 | 0 | 1 |" in page
    assert "| 2 to 3 | 1 | 0 (0.0%) | 0.0% to 97.5% |" in page
    assert "not decided" in page


def test_a_row_of_the_table_is_a_world() -> None:
    """Marked as invented, gate by gate; also where there is none."""
    table = world_table([*walks((PASS, OPEN)), record(1, (PASS, PASS), sharpe=3.0)])

    assert table["decision"].to_list() == ["not_enough_evidence", "approve"]
    assert table["gate_alpha"].to_list() == ["undetermined", "pass"]
    assert table["oracle_sharpe_asked"].to_list() == [None, 3.0]
    assert table["is_simulated"].all()
    assert world_table([]).is_empty()


def test_the_chart_draws_every_level_that_is_there() -> None:
    """Equal summaries give equal bytes; a level without worlds is not drawn."""
    request = CalibrationRequest(n_edge_worlds=2, oracle_sharpes=(1.0, 3.0))
    records = [*walks((OPEN, PASS)), record(0, (PASS, PASS), sharpe=3.0)]
    summary = summarise(request, records, [WORTH])

    chart = power_chart(summary.walks, summary.levels)

    assert chart == power_chart(summary.walks, summary.levels)
    assert "no edge" in chart
    assert "nothing to find" in chart
    assert power_chart(summary.walks, ()) != chart
