"""The assessment holds all tests, uses paired rows, and never turns a gap into a pass."""

from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from sensequant.errors import ConfigError, DataError
from sensequant.evaluation.figures import Figure
from sensequant.evaluation.hypotheses import (
    RankedRows,
    SignificanceConfig,
    SignificanceReport,
    TrialCount,
)
from sensequant.evaluation.significance import Assessment, OutOfSample, assess
from sensequant.evaluation.significance_text import render_tests

CONFIG = SignificanceConfig(n_draws=200)
NAMES = [
    "sharpe_ratio",
    "mean_excess_bootstrap",
    "mean_excess_newey_west",
    "probabilistic_sharpe",
    "deflated_sharpe",
    "deflated_sharpe_nifty50",
    "alpha",
    "beta",
    "information_ratio",
    "tracking_error",
    "sharpe_difference_nifty50",
    "mean_excess_universe",
    "sharpe_difference_universe",
    "superior_predictive_ability",
    "step_m",
    "overfitting_probability",
    "false_discovery_runs",
    "false_discovery_symbols",
    "detectable_sharpe",
    "detectable_auc",
]
COUNT = TrialCount(n_trials=3, n_contenders=3, n_with_sharpe=3, sharpe_variance=0.001)


MANY = {"superior_predictive_ability", "step_m", "false_discovery_runs"}
"""Tests that other contenders can still answer."""


def returns(n: int = 300, seed: int = 0, edge: float = 0.0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    benchmark = rng.normal(0.0004, 0.01, n)
    return pl.DataFrame(
        {
            "session": [date(2020, 1, 1) + timedelta(days=place) for place in range(n)],
            "net_return": edge + 0.5 * benchmark + rng.normal(0, 0.005, n),
            "benchmark_return": benchmark,
        }
    )


def asked(frame: pl.DataFrame, **changes: Any) -> Assessment:
    """Return the assessment of returns that stand beside two other contenders and two symbols."""
    rng = np.random.default_rng(8)
    n = frame.height
    others = frame.select(
        "session",
        mine="net_return",
        other=pl.Series(rng.normal(0, 0.01, n)),
        third=pl.Series(rng.normal(0, 0.01, n)),
    )
    scores = pl.DataFrame(
        {
            "symbol": ["A"] * n + ["B"] * n,
            "session_number": [*range(n), *range(n)],
            "score": rng.random(2 * n),
            "forward_return": rng.normal(0, 0.02, 2 * n),
        }
    )
    config = changes.pop("config", CONFIG)
    seed = changes.pop("seed", 1)
    auc = Figure(value=0.52, lower=0.48, upper=0.56, n=2 * n, unit="probability")
    request: dict[str, Any] = {
        "horizon_sessions": 5,
        "trials": COUNT,
        "baselines": frame.select("session", universe=pl.Series(rng.normal(0, 0.01, n))),
        "contenders": others,
        "own": "mine",
        "scores": scores,
        "ranked": RankedRows(auc=auc, confidence=0.95, n_positive=n, n_negative=n),
    }
    return assess(OutOfSample(returns=frame, **(request | changes)), seed=seed, config=config)


def ask(frame: pl.DataFrame, **changes: Any) -> SignificanceReport:
    return asked(frame, **changes).report


def test_every_test_is_there_and_explains_itself() -> None:
    """All tests are named, sourced and either answered or reasoned; the record survives JSON."""
    report = ask(returns())

    assert [test.name for test in report.tests] == NAMES
    for test in report.tests:
        assert test.source
        assert test.assumptions
        assert (test.estimate is None) == (test.reason is not None)
        assert test.n > 0
        assert (test.n_effective is None) == (test.estimate is None)
        if test.name != "step_m":
            assert (test.null is None) == (test.p_value is None)
        assert (test.lower is None) == (test.no_interval is not None)
        assert (test.null is None) == (test.rejects_null is None)
    assert SignificanceReport.model_validate_json(report.model_dump_json()) == report
    assert report.not_done_yet == ()


def test_the_same_seed_gives_the_same_report() -> None:
    """Two runs agree; another seed moves the bootstraps only."""
    one, two, other = ask(returns()), ask(returns()), ask(returns(), seed=2)

    assert one == two
    assert other.of("alpha") == one.of("alpha")
    assert other.of("mean_excess_bootstrap").lower != one.of("mean_excess_bootstrap").lower


def test_an_edge_is_found_and_its_absence_is_not() -> None:
    """A planted edge of 0.3 % a session rejects every null, none rejects none of the mean's."""
    with_edge, without = ask(returns(edge=0.003)), ask(returns(edge=-0.0004))

    for name in ("mean_excess_bootstrap", "mean_excess_newey_west", "alpha", "deflated_sharpe"):
        assert with_edge.of(name).rejects_null is True
        assert without.of(name).rejects_null is False


def test_missing_benchmark_leaves_reasons() -> None:
    """Without a benchmark its tests are absent, the others stand."""
    report = ask(returns().with_columns(benchmark_return=pl.lit(None, dtype=pl.Float64)))

    assert report.n_benchmark_sessions == 0
    for name in (
        "mean_excess_bootstrap",
        "mean_excess_newey_west",
        "deflated_sharpe_nifty50",
        "alpha",
        "beta",
    ):
        assert report.of(name).reason == "no benchmark"
        assert report.of(name).rejects_null is None
    assert report.of("deflated_sharpe").estimate is not None


def test_holes_of_the_benchmark_are_left_out() -> None:
    """Sessions without a benchmark count for the Sharpe tests only."""
    frame = returns().with_columns(
        benchmark_return=pl.when(pl.int_range(pl.len()) % 3 > 0).then("benchmark_return")
    )

    report = ask(frame)

    assert (report.n_sessions, report.n_benchmark_sessions) == (300, 200)
    assert report.of("alpha").n == 200
    assert report.of("sharpe_ratio").n == 300


def test_no_returns_leave_a_report_of_reasons() -> None:
    """Nothing to test on is a report without figures, not an error and not a pass."""
    report = ask(returns().clear())

    assert report.first_session is None
    told = {test.name for test in report.tests if test.reason is None}
    assert told <= {"detectable_auc"}
    assert all(test.rejects_null is None for test in report.tests)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (returns(20), "20 sessions are too few"),
        (returns().with_columns(net_return=0.0, benchmark_return=0.0), "do not vary"),
    ],
)
def test_poor_returns_tell_the_edge_that_they_could_have_shown(
    frame: pl.DataFrame, reason: str
) -> None:
    """Too few or constant returns pass no test, and say what they would have seen."""
    report = ask(frame)

    assert reason in (report.of("sharpe_ratio").reason or "")
    assert all(
        test.rejects_null is None
        for test in report.tests
        if test.null and test.name not in {"false_discovery_symbols", *MANY}
    )
    assert not report.of("step_m").rejects_null
    smallest = report.of("detectable_sharpe").estimate
    assert smallest is not None
    assert smallest > 2.4865 * (248 / frame.height) ** 0.5
    assert "count as independent" in report.of("detectable_sharpe").assumptions


@pytest.mark.parametrize(
    ("field", "value", "name", "figure"),
    [
        ("n_draws", 150, "sharpe_ratio", "lower"),
        ("confidence", 0.9, "alpha", "lower"),
        ("annual_risk_free_frac", 0.0, "sharpe_ratio", "estimate"),
        ("power", 0.9, "detectable_sharpe", "estimate"),
        ("min_sessions", 301, "sharpe_ratio", "estimate"),
        ("n_cscv_blocks", 6, "overfitting_probability", "estimate"),
        ("sessions_per_year", 252, "sharpe_ratio", "estimate"),
    ],
)
def test_every_setting_acts(field: str, value: float, name: str, figure: str) -> None:
    """Changing a setting changes the figure that it governs."""
    changed = CONFIG.model_copy(update={field: value})

    before = getattr(ask(returns()).of(name), figure)
    after = getattr(ask(returns(), config=changed).of(name), figure)

    assert before != after


def test_impossible_requests_are_refused() -> None:
    """A positive horizon, at least one trial, no negative variance."""
    with pytest.raises(ConfigError):
        ask(returns(), horizon_sessions=0)
    for wrong in ({"n_trials": 0}, {"n_trials": 1, "sharpe_variance": -1.0}):
        with pytest.raises(ValidationError):
            TrialCount.model_validate(wrong)


def test_an_altered_ledger_answers_nothing_that_counts_trials() -> None:
    """Deflated ratio, SPA, step-M and overfitting are absent, and the page says why."""
    report = ask(returns(), trials=TrialCount(n_trials=1, problems=("entry 7 is gone",)))

    for name in (
        "deflated_sharpe",
        "deflated_sharpe_nifty50",
        "superior_predictive_ability",
        "step_m",
    ):
        assert "entry 7 is gone" in (report.of(name).reason or "")
        assert report.of(name).rejects_null is None
    assert report.of("overfitting_probability").estimate is None
    assert "**The ledger of trials was altered: entry 7 is gone.**" in render_tests(report)


def test_the_page_names_every_test_and_its_method() -> None:
    """Whoever reads the page needs no JSON: null, p-value, source, seed, sample size."""
    report = ask(returns())
    page = render_tests(report)

    for test in report.tests:
        assert page.count(f"| {test.name} |") == 2
        assert test.source in page
        assert test.assumptions in page
    assert f" {report.of('alpha').p_value:.4g} " in page


def test_tables_of_both_families_stand_beside_the_report() -> None:
    """One row per symbol and per contender, the one that is judged marked."""
    found = asked(returns())

    assert found.by_symbol["symbol"].to_list() == ["A", "B"]
    assert found.by_contender.filter("is_own")["contender"].to_list() == ["mine"]
    assert found.by_contender.height == 3


@pytest.mark.parametrize(
    "frame",
    [
        returns().drop("benchmark_return"),
        returns().reverse(),
        pl.concat([returns(), returns()]),
        returns().with_columns(net_return=pl.lit(float("nan"))),
        returns().with_columns(net_return=pl.lit(None, dtype=pl.Float64)),
        returns().with_columns(benchmark_return=pl.lit(float("inf"))),
    ],
)
def test_unusable_returns_are_refused(frame: pl.DataFrame) -> None:
    """Missing columns, unordered sessions and numbers that are none stop the assessment."""
    with pytest.raises(DataError):
        ask(frame)


@pytest.mark.parametrize("name", ["baselines", "contenders", "scores"])
def test_what_stands_beside_the_returns_is_finite(name: str) -> None:
    """A NaN in a baseline, a contender or a score stops the assessment and is named."""
    frame = returns()
    strange = {
        "baselines": frame.select("session", universe=pl.lit(float("nan"))),
        "contenders": frame.select("session", mine="net_return", other=pl.lit(float("inf"))),
        "scores": pl.DataFrame(
            {"symbol": ["A"], "session_number": [1], "score": [float("nan")], "forward_return": 0.0}
        ),
    }

    with pytest.raises(DataError, match=f"{name}, "):
        ask(frame, **{name: strange[name]})


def test_an_unknown_test_is_refused() -> None:
    """Asking for a test that is not there names those that are."""
    with pytest.raises(ConfigError, match="sharpe_ratio"):
        ask(returns()).of("white_reality_check")
