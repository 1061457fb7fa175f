"""Reports of a small invented run, made field by field."""

from datetime import date

import pytest

from sensequant.evaluation.figures import Figure, PerformanceFigures
from sensequant.evaluation.hypotheses import SignificanceReport, TestResult, TrialCount
from sensequant.evaluation.scoring import ClassificationFigures
from sensequant.evaluation.validation import ValidationSummary
from sensequant.records import SkipReason
from sensequant.release.evidence import Reports
from sensequant.release.gates import EvidenceRef
from sensequant.stress.resilience import (
    Hits,
    Performance,
    ScenarioResult,
    SkippedScenario,
    StressSummary,
    summarise_stress,
)
from sensequant.stress.scenarios import StressConfig, load_scenarios


def _figure(value: float | None, reason: str | None = None) -> Figure:
    known = value is not None
    return Figure(
        value=value,
        lower=value - 0.05 if known else None,
        upper=value + 0.05 if known else None,
        n=321,
        unit="fraction",
        reason=reason,
    )


def _performance(name: str) -> PerformanceFigures:
    figures = {
        field: _figure(0.1)
        for field in PerformanceFigures.model_fields
        if field not in {"name", "schema_version"}
    }
    figures["max_drawdown"] = _figure(-0.2)
    figures["n_trades"] = Figure(value=77, n=321, unit="count")
    return PerformanceFigures.model_validate({"name": name, **figures})


@pytest.fixture
def validation() -> ValidationSummary:
    """Return what stage 4 would have found."""
    scores = {
        field: _figure(0.55)
        for field in ClassificationFigures.model_fields
        if field != "schema_version"
    }
    scores["auc_placebo"] = _figure(0.45)
    scores["window_auc_mean"] = _figure(None, "one class in every window")
    return ValidationSummary(
        first_session=date(2022, 7, 1),
        last_session=date(2023, 12, 1),
        n_predictions=1000,
        n_scored=990,
        n_labelled=980,
        n_symbols=2,
        n_windows=6,
        horizon_sessions=7,
        threshold=0.5,
        n_true_positive=1,
        n_false_positive=2,
        n_true_negative=3,
        n_false_negative=4,
        classification=ClassificationFigures.model_validate(scores),
        strategy=_performance("strategy"),
        universe=_performance("universe"),
        nifty50=_performance("nifty50"),
        n_gaps_held=3,
        block_sessions=21,
        n_draws=1000,
        n_placebo=20,
        confidence=0.95,
        seed=1,
        not_done_yet=("Figures by market regime.",),
    )


def _test(name: str, **fields: object) -> TestResult:
    blank = {"name": name, "null": None, "alternative": None, "source": "s", "assumptions": "a"}
    return TestResult.model_validate({**blank, "n": 321, **fields})


@pytest.fixture
def significance() -> SignificanceReport:
    """Return what stage 5 would have found."""
    return SignificanceReport(
        first_session=date(2022, 7, 1),
        last_session=date(2023, 12, 1),
        n_sessions=321,
        n_benchmark_sessions=320,
        horizon_sessions=7,
        trials=TrialCount(n_trials=4, n_contenders=4, n_with_sharpe=4, sharpe_variance=0.01),
        tests=(
            _test("mean_excess_bootstrap", estimate=0.04, lower=-0.02, upper=0.1, p_value=0.11),
            _test("deflated_sharpe", estimate=0.43, unit="probability"),
            _test("deflated_sharpe_nifty50", estimate=0.61, unit="probability"),
            _test("alpha", estimate=0.03, lower=-0.02, upper=0.08, p_value=0.12),
            _test("detectable_sharpe", estimate=1.75),
            _test("information_ratio", reason="the returns do not vary"),
        ),
        not_done_yet=("Superior predictive ability over all students (Hansen 2005).",),
    )


@pytest.fixture
def stress() -> StressSummary:
    """Return one crisis that was not passed and one that was skipped."""
    passed, skipped = load_scenarios()[0], load_scenarios()[1]
    figures = Performance(
        name="strategy", n_sessions=116, total_return=-0.3, max_drawdown=-0.4, sharpe=-1, sortino=-1
    )
    hits = Hits(n_labelled=9, n_decisions=5, n_positive=3, precision=0.4, recall=0.5, base_rate=0.3)
    result = ScenarioResult(
        scenario=passed,
        kind="trained_later",
        rows_by_kind={"trained_later": 9},
        first_session=passed.start,
        last_session=passed.end,
        n_sessions=116,
        n_rows=9,
        n_symbols=1,
        skipped_symbols={},
        strategy=figures,
        baselines=(figures.model_copy(update={"name": "nifty_50_buy_and_hold"}),),
        hits=hits,
        hits_outside=hits,
        market_shock_sigma=None,
        resilience=36.0,
        resilience_error=4.0,
        resilience_reason=None,
        passes=False,
        failure_modes=(),
    )
    left_out = SkippedScenario(
        scenario=skipped, skip_reason=SkipReason.NO_DATA, skipped_symbols={"no_data": 2}
    )
    return summarise_stress([result, left_out], StressConfig())


@pytest.fixture
def reports(
    validation: ValidationSummary, significance: SignificanceReport, stress: StressSummary
) -> Reports:
    """Return all three reports with the files they stand in."""

    def file(path: str) -> EvidenceRef:
        return EvidenceRef(path=path, sha256="a" * 64)

    return Reports(
        validation=validation,
        validation_file=file("validation/validation_summary.json"),
        significance=significance,
        significance_file=file("significance/stat_tests.json"),
        stress=stress,
        stress_file=file("stress/stress_summary.json"),
    )
