"""Facts about resilience, failure modes and the summary of crises."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.records import SkipReason
from sensequant.stress.resilience import (
    FailureMode,
    Hits,
    Performance,
    ScenarioResult,
    SkippedScenario,
    failure_modes,
    parse_outcome,
    render_markdown,
    resilience_points,
    summarise_stress,
)
from sensequant.stress.scenarios import Scenario, Severity, StressConfig

CONFIG = StressConfig()


def scenario(name: str, year: int) -> Scenario:
    return Scenario(
        name=name,
        title=name.title(),
        start=date(year, 1, 1),
        end=date(year, 3, 1),
        severity=Severity.HIGH,
        source=f"{year}",
    )


def result(name: str, year: int, *, resilience: float | None, kind: str) -> ScenarioResult:
    figures = Performance(
        name="strategy", n_sessions=40, total_return=-0.1, max_drawdown=-0.2, sharpe=1.0, sortino=1
    )
    hits = Hits(
        n_labelled=10, n_decisions=4, n_positive=5, precision=0.5, recall=0.4, base_rate=0.5
    )
    return ScenarioResult(
        scenario=scenario(name, year),
        kind=kind,
        rows_by_kind={kind: 12},
        first_session=date(year, 1, 2),
        last_session=date(year, 2, 27),
        n_sessions=40,
        n_rows=12,
        n_symbols=2,
        skipped_symbols={"no_data": 1},
        strategy=figures,
        baselines=(figures.model_copy(update={"name": "cash", "sharpe": None}),),
        hits=hits,
        hits_outside=hits,
        market_shock_sigma=-1.0,
        resilience=resilience,
        resilience_reason=None if resilience is not None else "not defined: precision",
        passes=None if resilience is None else resilience >= 50,
        failure_modes=(FailureMode.OVERFIT,) if resilience == 30 else (),
    )


def test_resilience_by_hand() -> None:
    """Drawdown 20 %, precision 0.5, Sharpe 1: 100 * (0.32 + 0.15 + 0.15) = 62."""
    points, reason = resilience_points(max_drawdown=-0.2, precision=0.5, sharpe=1.0)

    assert points == pytest.approx(62.0)
    assert reason is None


def test_sharpe_is_clipped_at_both_ends() -> None:
    """A Sharpe ratio of 9 earns no more than one of 2, one of -9 costs no more than one of 0."""
    high = resilience_points(max_drawdown=0.0, precision=0.0, sharpe=9.0)[0]
    low = resilience_points(max_drawdown=0.0, precision=0.0, sharpe=-9.0)[0]

    assert high == pytest.approx(70.0)
    assert low == pytest.approx(40.0)


@pytest.mark.parametrize("missing", ["max_drawdown", "precision", "sharpe"])
def test_resilience_is_absent_where_an_ingredient_is(missing: str) -> None:
    """No ingredient is replaced by a default; the reason names what is missing."""
    figures: dict[str, float | None] = {"max_drawdown": -0.1, "precision": 0.5, "sharpe": 1.0}
    points, reason = resilience_points(**(figures | {missing: None}))

    assert points is None
    assert reason is not None
    assert missing.replace("_", " ").casefold() in reason.casefold()


@given(
    drawdown=st.floats(-2, 0),
    precision=st.floats(0, 1),
    sharpe=st.floats(-10, 10),
)
def test_resilience_lies_between_0_and_100(
    drawdown: float, precision: float, sharpe: float
) -> None:
    """The scale has two ends, whatever the figures."""
    points, _ = resilience_points(max_drawdown=drawdown, precision=precision, sharpe=sharpe)

    assert points is not None
    assert 0 <= points <= 100 + 1e-9


@pytest.mark.parametrize(
    ("inside", "outside", "shock", "expected"),
    [
        (-0.1, -0.1, -1.0, (FailureMode.OVERFIT,)),
        (-0.1, 0.0, None, (FailureMode.OVERFIT,)),
        (-0.1, 0.1, -1.0, (FailureMode.REGIME_CHANGE,)),
        (0.1, 0.1, -6.0, (FailureMode.BLACK_SWAN,)),
        (0.0, 0.1, -5.0, (FailureMode.REGIME_CHANGE, FailureMode.BLACK_SWAN)),
        (0.1, 0.1, -4.9, ()),
        (None, -0.1, None, ()),
        (-0.1, None, None, ()),
    ],
)
def test_failure_modes_by_rule(
    inside: float | None,
    outside: float | None,
    shock: float | None,
    expected: tuple[FailureMode, ...],
) -> None:
    """Each mode has its rule; a missing figure names none."""
    found = failure_modes(
        lift_inside=inside, lift_outside=outside, market_shock_sigma=shock, config=CONFIG
    )

    assert expected == found


def test_lift_is_precision_over_chance() -> None:
    """Lift is precision minus the share of positive labels; without decisions there is none."""
    hits = Hits(
        n_labelled=10, n_decisions=4, n_positive=3, precision=0.5, recall=0.6, base_rate=0.3
    )

    assert hits.lift == pytest.approx(0.2)
    assert hits.model_copy(update={"precision": None}).lift is None


def test_skipped_crises_enter_no_figure() -> None:
    """Mean and worst are over crises with resilience; skipped ones are only counted."""
    skipped = SkippedScenario(
        scenario=scenario("later", 2022),
        skip_reason=SkipReason.SEEN_IN_TRAINING,
        skipped_symbols={"seen_in_training": 3},
    )
    outcomes = [
        skipped,
        result("second", 2020, resilience=30, kind="walk_forward"),
        result("first", 2010, resilience=70, kind="trained_later"),
        result("third", 2021, resilience=None, kind="mixed"),
    ]
    summary = summarise_stress(outcomes, CONFIG)

    assert [each.scenario.name for each in summary.results] == ["first", "second", "third"]
    assert (summary.n_evaluated, summary.n_with_resilience, summary.n_passed) == (3, 2, 1)
    assert (summary.mean_resilience, summary.worst_resilience) == (50, 30)
    assert summary.worst_scenario == "second"
    assert summary.skip_reasons == {"seen_in_training": 1}
    assert summary.not_done_yet == ()


def test_the_interval_of_the_mean_by_hand() -> None:
    """Errors of 3 and 4 points make one of 2.5 for the mean; a crisis without one takes it away."""
    one, two = (
        result(name, year, resilience=60, kind="mixed")
        for name, year in (("one", 2018), ("two", 2020))
    )
    told = [
        each.model_copy(update={"resilience_error": error})
        for each, error in ((one, 3.0), (two, 4.0))
    ]

    summary = summarise_stress(told, CONFIG)

    assert summary.mean_lower == pytest.approx(60 - 1.959964 * 2.5, abs=1e-5)
    assert summary.mean_upper == pytest.approx(60 + 1.959964 * 2.5, abs=1e-5)
    assert summarise_stress([told[0], two], CONFIG).mean_lower is None


def test_without_a_crisis_there_is_no_resilience() -> None:
    """Nothing replayed means no figure, and the page says so."""
    summary = summarise_stress([], CONFIG)
    page = render_markdown(summary)

    assert summary.mean_resilience is None
    assert summary.worst_scenario is None
    assert "No crisis could be replayed" in page


def test_page_says_what_is_no_forecast_and_what_was_skipped() -> None:
    """Rows scored by a student trained later are explained; skipped crises have their reason."""
    outcomes = [
        result("first", 2010, resilience=70, kind="trained_later"),
        result("second", 2020, resilience=30, kind="walk_forward"),
        result("third", 2021, resilience=None, kind="walk_forward"),
        SkippedScenario(
            scenario=scenario("later", 2022),
            skip_reason=SkipReason.NO_DATA,
            skipped_symbols={},
        ),
    ]
    page = render_markdown(summarise_stress(outcomes, CONFIG))

    assert page.count("not a forecast") == 1
    assert "| Later | no_data | none |" in page
    assert "(not passed); suspected failure modes: overfit" in page
    assert "not defined: precision" in page


def test_outcomes_survive_json() -> None:
    """Both kinds of outcome come back from plain values as what they were."""
    outcomes = [
        result("first", 2010, resilience=70, kind="trained_later"),
        SkippedScenario(
            scenario=scenario("later", 2022), skip_reason=SkipReason.NO_DATA, skipped_symbols={}
        ),
    ]

    assert outcomes == [parse_outcome(each.model_dump(mode="json")) for each in outcomes]
