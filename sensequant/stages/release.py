"""Stages 6 and 7, and the end of a run: gates, report, manifest, briefing, registry.

Belongs here: which records of the run the audit and the briefing read, and what they write. Does
not belong here: gates, manifest, briefing and registry themselves (`release`), the page
(`stages.run_page`).
"""

from collections.abc import Iterable
from contextlib import closing
from datetime import datetime, timedelta
from getpass import getuser
from typing import Any

from pydantic import SecretStr

from sensequant.records import digest_of
from sensequant.release.briefing import BriefingInputs, build_briefing, write_briefing
from sensequant.release.evidence import (
    Reports,
    gather_evidence,
    reference,
    worst_failure_rate,
)
from sensequant.release.gates import Figure, Verdict, evaluate_gates, judge
from sensequant.release.manifest import (
    Manifest,
    ManifestFacts,
    build_manifest,
    read_manifest,
    write_manifest,
)
from sensequant.release.registry_records import RunResult
from sensequant.release.signature import sign_manifest
from sensequant.runs import Stage, StageOutcome, StageRecord
from sensequant.stages.ablation_summary import read_ablation
from sensequant.stages.certificate import read_twins
from sensequant.stages.champion import CHAMPION, compare_with_champion, read_champion
from sensequant.stages.context import Findings, Run, RunRecord
from sensequant.stages.crises import read_stress
from sensequant.stages.evidence import read_summary
from sensequant.stages.registry_place import registry_of
from sensequant.stages.statistical_tests import read_report
from sensequant.storage import (
    read_json,
    read_table,
    sha256_of,
    write_atomically,
    write_json,
)
from sensequant.units import UnitRecord

__all__ = ["audit", "brief", "close", "judge_run"]

_SUMMARY = "validation/validation_summary.json"
_TESTS = "significance/stat_tests.json"
_STRESS = "stress/stress_summary.json"
_GATES = "audit/gates.json"


def audit(run: Run, *, created_at: datetime, signing_key: SecretStr | None = None) -> Findings:
    """Judge the evidence by the gates, write the report, and bind everything into the manifest.

    Parameters
    ----------
    run
        The run, with the evidence of its stages.
    created_at
        Aware instant of the manifest.
    signing_key
        Signs the manifest; None leaves it unsigned, and the findings say so.
    """
    reports, stages = _reports(run), _stages_before(run, Stage.RELEASE_AUDIT)
    verdict = judge_run(run)
    write_json(run.folder.audit / "gates.json", verdict)
    champion = compare_with_champion(run)
    # Loads what draws charts, which no other stage needs.
    from sensequant.stages.run_page import write_page  # noqa: PLC0415

    write_page(run, reports, stages, verdict, is_simulated=_is_simulated(run))
    manifest = build_manifest(
        run.folder, verdict=verdict, facts=_facts(run, stages), created_at=created_at
    )
    write_manifest(run.folder, manifest)
    # A signature of an earlier audit is one of another manifest.
    run.folder.signature.unlink(missing_ok=True)
    signed = None if signing_key is None else sign_manifest(run.folder, signing_key)
    return Findings(
        values={
            "verdict": verdict.decision,
            "gates_passed": verdict.n_passed,
            "gates_failed": verdict.n_failed,
            "gates_undetermined": verdict.n_undetermined,
            "n_artifacts": len(manifest.artifacts),
            "evidence_digest": manifest.evidence_digest,
            "signed_by": "nobody" if signed is None else signed.public_key,
            # What the evidence depends on beside data, configuration and code.
            "champion": "none" if champion is None else champion.model_sha256,
        },
    )


def judge_run(run: Run) -> Verdict:
    """Hold the evidence of a run against its gates; writes nothing."""
    evidence = gather_evidence(
        _reports(run),
        coverage=_coverage(run),
        failure_rate=worst_failure_rate(_stages_before(run, Stage.RELEASE_AUDIT)),
    )
    return judge(
        evaluate_gates(evidence, run.config.gates),
        detectable_sharpe=evidence.detectable_sharpe.observed,
        is_simulated=_is_simulated(run),
    )


def brief(run: Run, *, at: datetime, registry: SecretStr | None = None) -> tuple[str, Findings]:
    """Write the briefing and record the candidate; return the page and findings.

    A run that failed in a stage gets a briefing of what there is, and is recorded as failed.

    Parameters
    ----------
    run
        The run, with whatever its stages left.
    at
        Aware instant.
    registry
        Address of the registry; None for the file below the home.
    """
    verdict, manifest = _verdict(run), _manifest(run)
    stages = _stages_before(run, Stage.PROMOTION_BRIEFING)
    failed = _failed(stages)
    has_champion = (run.folder.root / CHAMPION).exists()
    ablation = read_ablation(run)
    inputs = BriefingInputs(
        run_id=run.folder.run_id,
        created_at=at,
        is_simulated=_is_simulated(run),
        symbols=run.symbols if run.folder.data.exists() else [],
        first_session=run.request.start,
        last_session=run.request.end,
        stages=stages,
        stages_asked=run.stages,
        units=_units(run),
        reports=_reports(run),
        twins=read_twins(run) if verdict is not None else [],
        n_twins_asked=run.config.twins.n_twins,
        verdict=None if failed is not None else verdict,
        manifest_sha256=None if manifest is None else sha256_of(run.folder.manifest),
        evidence_digest=None if manifest is None else manifest.evidence_digest,
        ablation=None if ablation is None else ablation.summary,
        ablation_stale=None if ablation is None else ablation.stale,
        champion=read_champion(run),
        champion_file=reference(run.folder, CHAMPION) if has_champion else None,
    )
    briefing = build_briefing(inputs)
    page = write_briefing(run.folder, briefing)
    # Loads the frame of pages, which no other stage needs.
    from sensequant.reports.briefing_page import build_briefing_page  # noqa: PLC0415

    html = build_briefing_page(briefing).encode()
    write_atomically(run.folder.briefing.with_suffix(".html"), html)
    status = _record_candidate(run, inputs, registry, failed=failed, at=at)
    return page, Findings(values={"candidate_status": status, "is_complete": briefing.is_complete})


def close(run: Run, *, at: datetime) -> RunRecord:
    """Write down how the run ended and return its record."""
    stages = run.folder.stages()
    failed = _failed(stages)
    degraded = any(stage.outcome is StageOutcome.DEGRADED for stage in stages)
    verdict = _verdict(run)
    closed = run.record.model_copy(
        update={
            "ended_at": at,
            "outcome": "failed" if failed else "degraded" if degraded else "completed",
            "failed_stage": None if failed is None else failed.stage,
            "verdict": None if verdict is None or failed is not None else verdict.decision,
            "manifest_sha256": (None if _manifest(run) is None else sha256_of(run.folder.manifest)),
        }
    )
    write_json(run.folder.run, closed)
    return closed


def _record_candidate(
    run: Run,
    inputs: BriefingInputs,
    registry: SecretStr | None,
    *,
    failed: StageRecord | None,
    at: datetime,
) -> str:
    judged = inputs.verdict
    if judged is None and failed is None:
        # Stages were left out on request: there is nothing to decide on yet.
        return "not recorded"
    result = RunResult(
        run_id=run.folder.run_id,
        decision=None if judged is None else judged.decision,
        failed_stage=None if failed is None else failed.stage,
        reason=judged.headline if judged is not None else _why(failed),
        manifest_sha256=inputs.manifest_sha256,
        evidence_digest=inputs.evidence_digest,
        is_simulated=inputs.is_simulated,
        summary=_summary(inputs.stages),
    )
    limit = at + timedelta(hours=run.record.options.decision_hours)
    with closing(registry_of(run.folder.home, registry)) as opened:
        return opened.record_candidate_run(result, actor=getuser(), at=at, decide_by=limit).status


def _why(failed: StageRecord | None) -> str:
    if failed is None:
        return "no stage failed"
    if failed.error is not None:
        return failed.error
    return f"{failed.n_failed} of {failed.n_failed + failed.n_success} units failed"


def _summary(stages: Iterable[StageRecord]) -> dict[str, Any]:
    told = {Stage.MODEL_VALIDATION, Stage.STATISTICAL_TESTS, Stage.STRESS_TESTS}
    return {
        name: value
        for stage in stages
        if stage.stage in told
        for name, value in stage.findings.items()
    }


def _reports(run: Run) -> Reports:
    # A file of an earlier attempt counts only where this attempt has reached its stage.
    has_scores = _is_reached(run, Stage.MODEL_VALIDATION, _SUMMARY)
    has_tests = _is_reached(run, Stage.STATISTICAL_TESTS, _TESTS)
    has_crises = _is_reached(run, Stage.STRESS_TESTS, _STRESS)
    return Reports(
        validation=read_summary(run) if has_scores else None,
        validation_file=reference(run.folder, _SUMMARY) if has_scores else None,
        significance=read_report(run) if has_tests else None,
        significance_file=reference(run.folder, _TESTS) if has_tests else None,
        stress=read_stress(run) if has_crises else None,
        stress_file=reference(run.folder, _STRESS) if has_crises else None,
    )


def _is_reached(run: Run, stage: Stage, path: str) -> bool:
    return run.folder.stage_record(stage).exists() and (run.folder.root / path).exists()


def _stages_before(run: Run, stage: Stage) -> list[StageRecord]:
    # A stage that is done again must not read what it said the last time.
    order = list(Stage)
    return [
        record for record in run.folder.stages() if order.index(record.stage) < order.index(stage)
    ]


def _failed(stages: Iterable[StageRecord]) -> StageRecord | None:
    return next((stage for stage in stages if stage.outcome is StageOutcome.FAILED), None)


def _coverage(run: Run) -> Figure:
    data = read_table(run.folder.data)
    n_expected, n_present = int(data["n_expected"].sum()), int(data["n_present"].sum())
    if not n_expected:
        return Figure(reason="no session was expected")
    return Figure(
        observed=n_present / n_expected,
        n=n_expected,
        n_unit="expected sessions of all symbols",
        evidence=reference(run.folder, "data.parquet"),
    )


def _is_simulated(run: Run) -> bool:
    if not run.folder.data.exists():
        return run.record.is_simulated
    return bool(read_table(run.folder.data)["is_simulated"].any())


def _facts(run: Run, stages: Iterable[StageRecord]) -> ManifestFacts:
    found = {stage.stage: stage.findings for stage in stages}
    record = run.record
    return ManifestFacts(
        is_simulated=_is_simulated(run),
        first_session=run.request.start,
        last_session=run.request.end,
        symbols=tuple(run.symbols),
        seed=run.config.seed,
        data_digest=digest_of(
            dict(read_table(run.folder.data).select("symbol", "bars_digest").iter_rows())
        ),
        config_digest=run.config_digest,
        code_version=record.code_version,
        library_versions=record.versions,
        training=found.get(Stage.TEACHER_TRAINING, {}) | found.get(Stage.STUDENT_TRAINING, {}),
        validation=found.get(Stage.MODEL_VALIDATION, {}),
        statistical_tests=found.get(Stage.STATISTICAL_TESTS, {}),
    )


def _verdict(run: Run) -> Verdict | None:
    if not _is_reached(run, Stage.RELEASE_AUDIT, _GATES):
        return None
    return Verdict.model_validate(read_json(run.folder.root / _GATES))


def _manifest(run: Run) -> Manifest | None:
    if not _is_reached(run, Stage.RELEASE_AUDIT, run.folder.manifest.name):
        return None
    return read_manifest(run.folder)


def _units(run: Run) -> list[UnitRecord]:
    known = set(UnitRecord.model_fields)
    return [
        UnitRecord(**{name: value for name, value in row.items() if name in known})
        for kind in ("chunk", "teacher", "student", "stress", "twin")
        if run.folder.units(kind).exists()
        for row in read_table(run.folder.units(kind)).iter_rows(named=True)
    ]
