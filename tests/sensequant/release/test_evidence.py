"""Facts about which figure reaches which gate."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from sensequant.release.evidence import Reports, gather_evidence, reference, worst_failure_rate
from sensequant.release.gates import Figure, GateConfig, GateOutcome, evaluate_gates
from sensequant.runs import RunFolder, Stage, StageOutcome, StageRecord

COVERAGE = Figure(observed=0.99, n=1000)


def stage_record(stage: Stage, *, n_failed: int, failure_rate: float | None) -> StageRecord:
    return StageRecord(
        run_id="r",
        stage=stage,
        outcome=StageOutcome.SUCCESS,
        n_success=10,
        n_failed=n_failed,
        failure_rate=failure_rate,
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        seconds=1.0,
    )


def test_every_gate_gets_its_figure_from_its_report(reports: Reports) -> None:
    """Values, bounds, counts and files are those of the reports."""
    found = gather_evidence(reports, coverage=COVERAGE, failure_rate=Figure(observed=0.0))

    assert (found.auc.observed, found.auc.n) == (0.55, 321)
    assert (found.auc.lower, found.auc.upper) == (0.55 - 0.05, 0.55 + 0.05)
    assert found.trades.observed == 77
    assert found.max_drawdown.observed == -0.2
    assert found.scored_sessions.observed == 321
    assert (found.mean_excess_return.lower, found.mean_excess_return.upper) == (-0.02, 0.1)
    assert found.deflated_sharpe.observed == 0.61
    assert found.alpha_p_value.observed == 0.12
    assert found.detectable_sharpe.observed == 1.75
    assert (found.resilience.observed, found.resilience.n) == (36.0, 1)
    assert found.resilience.lower == pytest.approx(36.0 - 1.96 * 4, abs=0.01)
    assert found.resilience.upper == pytest.approx(36.0 + 1.96 * 4, abs=0.01)
    assert found.coverage == COVERAGE
    assert found.auc.evidence is not None
    assert found.auc.evidence.path == "validation/validation_summary.json"


def test_without_reports_no_gate_passes_on_them() -> None:
    """A stage that left no report gives reasons, and only what is known is judged."""
    found = gather_evidence(Reports(), coverage=COVERAGE, failure_rate=Figure(observed=0.0))
    gates = evaluate_gates(found, GateConfig())
    passed = [gate.name for gate in gates if gate.outcome is GateOutcome.PASS]

    assert passed == ["coverage", "failure_rate"]
    assert found.auc.reason == "stage model_validation left no report"
    assert found.resilience.reason == "stage stress_tests left no report"


def test_crises_without_resilience_say_why(reports: Reports) -> None:
    """Replayed, but without all figures: there is no mean, and the reason counts them."""
    assert reports.stress is not None
    stress = reports.stress.model_copy(update={"mean_resilience": None, "n_with_resilience": 0})
    changed = reports.model_copy(update={"stress": stress})
    found = gather_evidence(changed, coverage=COVERAGE, failure_rate=Figure(observed=0.0))

    assert found.resilience.observed is None
    assert found.resilience.reason == "1 crises replayed, none with all figures of resilience"


def test_a_mean_of_crises_without_its_interval_says_why(reports: Reports) -> None:
    """One crisis without an error leaves the mean without an interval."""
    assert reports.stress is not None
    stress = reports.stress.model_copy(update={"mean_lower": None, "mean_upper": None})

    found = gather_evidence(
        reports.model_copy(update={"stress": stress}),
        coverage=COVERAGE,
        failure_rate=Figure(observed=0.0),
    )

    assert found.resilience.observed == 36.0
    assert found.resilience.reason == "chance within a crisis cannot be told"


def test_worst_failure_rate_is_that_of_the_worst_stage() -> None:
    """Stages without units have no rate; the worst one brings its number of units."""
    stages = [
        stage_record(Stage.DATA_INGESTION, n_failed=0, failure_rate=0.0),
        stage_record(Stage.TEACHER_TRAINING, n_failed=2, failure_rate=2 / 12),
        stage_record(Stage.MODEL_VALIDATION, n_failed=0, failure_rate=None),
    ]
    found = worst_failure_rate(stages)

    assert (found.observed, found.n, found.n_unit) == (2 / 12, 12, "units of teacher_training")
    assert worst_failure_rate([]).reason == "no stage tried a unit of work"


def test_reference_digests_the_file(tmp_path: Path) -> None:
    """A reference holds the path below the run and the digest of the bytes (here of nothing)."""
    folder = RunFolder(tmp_path, "live_candidate_20260102_030405_00000000")
    folder.root.mkdir(parents=True)
    (folder.root / "empty.json").touch()
    found = reference(folder, "empty.json")

    assert found.path == "empty.json"
    assert found.sha256 == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
