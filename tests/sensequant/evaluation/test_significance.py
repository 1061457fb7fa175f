"""The assessment holds all tests, uses paired rows, and never turns a gap into a pass."""

from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from sensequant.errors import ConfigError, DataError
from sensequant.evaluation.significance import SignificanceConfig, SignificanceReport, assess

CONFIG = SignificanceConfig(n_draws=200)
NAMES = [
    "sharpe_ratio",
    "mean_excess_bootstrap",
    "mean_excess_newey_west",
    "probabilistic_sharpe",
    "deflated_sharpe",
    "alpha",
    "beta",
    "information_ratio",
    "tracking_error",
    "detectable_sharpe",
]


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


def ask(frame: pl.DataFrame, **changes: Any) -> SignificanceReport:
    request: dict[str, Any] = {
        "n_trials": 3,
        "trial_sharpe_variance": 0.001,
        "horizon_sessions": 5,
        "seed": 1,
        "config": CONFIG,
    }
    return assess(frame, **(request | changes))


def test_every_test_is_there_and_explains_itself() -> None:
    """All tests are named, sourced and either answered or reasoned; the record survives JSON."""
    report = ask(returns())

    assert [test.name for test in report.tests] == NAMES
    for test in report.tests:
        assert test.source
        assert test.assumptions
        assert (test.estimate is None) == (test.reason is not None)
        assert (test.null is None) == (test.p_value is None)
    assert SignificanceReport.model_validate_json(report.model_dump_json()) == report
    assert len(report.not_done_yet) == 5


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
    for name in ("mean_excess_bootstrap", "mean_excess_newey_west", "alpha", "beta"):
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
    assert all(test.reason and test.rejects_null is None for test in report.tests)


@pytest.mark.parametrize(
    ("field", "value", "name", "figure"),
    [
        ("n_draws", 150, "sharpe_ratio", "lower"),
        ("confidence", 0.9, "alpha", "lower"),
        ("annual_risk_free_frac", 0.0, "sharpe_ratio", "estimate"),
        ("power", 0.9, "detectable_sharpe", "estimate"),
        ("min_sessions", 301, "sharpe_ratio", "estimate"),
        ("sessions_per_year", 252, "sharpe_ratio", "estimate"),
    ],
)
def test_every_setting_acts(field: str, value: float, name: str, figure: str) -> None:
    """Changing a setting changes the figure that it governs."""
    changed = CONFIG.model_copy(update={field: value})

    before = getattr(ask(returns()).of(name), figure)
    after = getattr(ask(returns(), config=changed).of(name), figure)

    assert before != after


@pytest.mark.parametrize(
    "changes", [{"n_trials": 0}, {"trial_sharpe_variance": -1.0}, {"horizon_sessions": 0}]
)
def test_impossible_requests_are_refused(changes: dict[str, Any]) -> None:
    """At least one trial, no negative variance, a positive horizon."""
    with pytest.raises(ConfigError):
        ask(returns(), **changes)


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


def test_an_unknown_test_is_refused() -> None:
    """Asking for a test that is not there names those that are."""
    with pytest.raises(ConfigError, match="sharpe_ratio"):
        ask(returns()).of("white_reality_check")
