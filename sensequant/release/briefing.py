"""The briefing: what a person must know, picked out of the records of a run, and its page.

Belongs here: picking and wording (`briefing.md.j2`). Does not belong here: the model
(`release.briefing_model`), any figure that is not a field of a record.

It is made of whatever records exist, so that a run that failed half-way has a briefing too: it
names the stage and the error, and says of the other parts that they were not reached.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from importlib.resources import files

import jinja2
from pydantic import BaseModel

from sensequant.evaluation.ablation import AblationSummary
from sensequant.evaluation.figures import Figure as MeasuredFigure
from sensequant.evaluation.hypotheses import SignificanceReport, TestResult
from sensequant.evaluation.validation import ValidationSummary
from sensequant.records import Outcome
from sensequant.release.briefing_model import (
    BesideChampion,
    Briefing,
    BriefingFigure,
    Crises,
    CrisisLine,
    LeftOut,
    Risks,
    StageLine,
)
from sensequant.release.certificate import TwinRecord, certificate_of, shown_figure
from sensequant.release.champion import ChampionComparison, beside_champion, champion_warnings
from sensequant.release.evidence import Reports
from sensequant.release.families import ablation_of
from sensequant.release.gates import Decision, EvidenceRef, GateOutcome, Verdict
from sensequant.release.reasons import reasons_of
from sensequant.runs import RunFolder, Stage, StageOutcome, StageRecord
from sensequant.storage import write_atomically, write_json
from sensequant.stress.resilience import StressSummary
from sensequant.units import UnitRecord

__all__ = [
    "BriefingInputs",
    "build_briefing",
    "render_markdown",
    "write_briefing",
]

_N_EXAMPLES = 3

_COMPARED = frozenset(
    {"net_total_return", "net_annual_return", "net_annual_volatility", "net_sharpe", "max_drawdown"}
)
"""Figures of the portfolios that the strategy stands beside."""


@dataclass(frozen=True, slots=True)
class BriefingInputs:
    """The records that a briefing is made of; None or empty where a stage was not reached.

    Parameters
    ----------
    run_id, created_at, is_simulated
        Which run, when the briefing is made, whether the bars were invented.
    symbols, first_session, last_session
        What the run is about.
    stages
        Records of the stages that ended, in order.
    stages_asked
        Stages that the run was to execute.
    units
        Records of all units.
    reports
        Of validation, statistics and stress.
    twins, n_twins_asked
        What the pipeline made of random-walk twins, and of how many it was to.
    verdict, manifest_sha256, evidence_digest
        Of the audit.
    ablation
        What families of features are worth, where somebody has asked since.
    ablation_stale
        Why that does not hold any more; None where it does.
    champion, champion_file
        The candidate beside the model in production, and the file that says so; None where there
        was no model.
    """

    run_id: str
    created_at: datetime
    is_simulated: bool
    symbols: Sequence[str]
    first_session: date | None
    last_session: date | None
    stages: Sequence[StageRecord]
    stages_asked: Sequence[Stage]
    units: Sequence[UnitRecord]
    reports: Reports
    twins: Sequence[TwinRecord]
    n_twins_asked: int
    verdict: Verdict | None
    manifest_sha256: str | None
    evidence_digest: str | None
    ablation: AblationSummary | None = None
    ablation_stale: str | None = None
    champion: ChampionComparison | None = None
    champion_file: EvidenceRef | None = None


def build_briefing(inputs: BriefingInputs) -> Briefing:
    """Return the briefing of a run, as far as the run went."""
    failed = next((stage for stage in inputs.stages if stage.outcome is StageOutcome.FAILED), None)
    missing = _missing_stages(inputs)
    reports, simulated = inputs.reports, inputs.is_simulated
    for_, against = reasons_of(() if inputs.verdict is None else inputs.verdict.gates)
    return Briefing(
        is_simulated=simulated,
        run_id=inputs.run_id,
        created_at=inputs.created_at,
        is_complete=failed is None and not missing,
        failed_stage=None if failed is None else failed.stage,
        error=None if failed is None else _error_of(failed),
        recommendation=_recommendation(inputs.verdict, failed),
        reasons_for=for_,
        reasons_against=against,
        verdict=inputs.verdict,
        manifest_sha256=inputs.manifest_sha256,
        evidence_digest=inputs.evidence_digest,
        symbols=tuple(inputs.symbols),
        first_session=inputs.first_session,
        last_session=inputs.last_session,
        stages=tuple(_stage_line(stage, simulated) for stage in inputs.stages),
        stages_missing=missing,
        out_of_sample=_scores(reports.validation, simulated),
        trading=_trading(reports.validation, simulated),
        statistics=_statistics(reports.significance, simulated),
        crises=_crises(reports.stress, simulated),
        champion=_champion(inputs),
        certificate=certificate_of(
            inputs.twins,
            n_asked=inputs.n_twins_asked,
            validation=reports.validation,
            verdict=inputs.verdict,
            is_simulated=simulated,
        ),
        ablation=ablation_of(inputs.ablation, stale=inputs.ablation_stale),
        risks=_risks(inputs, failed),
        left_out=_left_out(inputs.units, simulated),
        not_done_yet=_not_done_yet(inputs),
        next_steps=_next_steps(inputs, failed),
    )


def render_markdown(briefing: Briefing) -> str:
    """Return the briefing as a page of Markdown."""
    return _template().render(briefing=briefing)


def write_briefing(folder: RunFolder, briefing: Briefing) -> str:
    """Write the briefing as Markdown and JSON; return the Markdown."""
    page = render_markdown(briefing)
    write_atomically(folder.briefing.with_suffix(".md"), page.encode())
    write_json(folder.briefing.with_suffix(".json"), briefing)
    return page


def _missing_stages(inputs: BriefingInputs) -> tuple[Stage, ...]:
    # The briefing is itself a stage, which ends only after this page is written.
    ended = {stage.stage for stage in inputs.stages} | {Stage.PROMOTION_BRIEFING}
    return tuple(stage for stage in inputs.stages_asked if stage not in ended)


def _error_of(stage: StageRecord) -> str:
    if stage.error is not None:
        return stage.error
    return f"{stage.n_failed} of {stage.n_success + stage.n_failed} units failed"


def _recommendation(verdict: Verdict | None, failed: StageRecord | None) -> str:
    if failed is not None:
        return f"Do not promote: stage {failed.stage} failed."
    if verdict is None:
        return "Do not promote: the run was not judged."
    return {
        Decision.APPROVE: "A person may approve: every gate passes.",
        Decision.REJECT: "Do not promote: the evidence speaks against it.",
        Decision.NOT_ENOUGH_EVIDENCE: "Do not promote: there is not enough evidence.",
    }[verdict.decision]


def _stage_line(stage: StageRecord, simulated: bool) -> StageLine:
    fields = stage.model_dump(include=set(StageLine.model_fields) - {"schema_version"})
    return StageLine.model_validate({**fields, "is_simulated": simulated})


def _champion(inputs: BriefingInputs) -> BesideChampion | None:
    if inputs.verdict is None:
        return None
    return beside_champion(inputs.champion, inputs.champion_file, is_simulated=inputs.is_simulated)


def _scores(summary: ValidationSummary | None, simulated: bool) -> tuple[BriefingFigure, ...]:
    return () if summary is None else _figures_of(summary.classification, simulated)


def _trading(summary: ValidationSummary | None, simulated: bool) -> tuple[BriefingFigure, ...]:
    if summary is None:
        return ()
    portfolios = (summary.strategy, summary.universe, summary.nifty50)
    return tuple(
        figure.model_copy(update={"name": f"{portfolio.name}: {figure.name}"})
        for portfolio in portfolios
        for figure in _figures_of(portfolio, simulated)
        if portfolio is summary.strategy or figure.name in _COMPARED
    )


def _figures_of(record: BaseModel, simulated: bool) -> tuple[BriefingFigure, ...]:
    return tuple(
        shown_figure(name, value, is_simulated=simulated)
        for name, value in record
        if isinstance(value, MeasuredFigure)
    )


def _statistics(report: SignificanceReport | None, simulated: bool) -> tuple[BriefingFigure, ...]:
    return () if report is None else tuple(_of_test(test, simulated) for test in report.tests)


def _of_test(test: TestResult, simulated: bool) -> BriefingFigure:
    return BriefingFigure(
        is_simulated=simulated,
        name=test.name,
        value=test.estimate,
        **test.model_dump(include={"lower", "upper", "n", "unit", "p_value", "reason"}),
    )


def _crises(summary: StressSummary | None, simulated: bool) -> Crises | None:
    if summary is None:
        return None
    lines = tuple(
        CrisisLine(
            is_simulated=simulated,
            title=result.scenario.title,
            total_return=result.strategy.total_return,
            max_drawdown=result.strategy.max_drawdown,
            market_return=result.baselines[0].total_return,
            failure_modes=tuple(result.failure_modes),
            **result.model_dump(
                include={
                    "first_session",
                    "last_session",
                    "kind",
                    "n_sessions",
                    "n_rows",
                    "resilience",
                    "passes",
                }
            ),
        )
        for result in summary.results
    )
    names = set(Crises.model_fields) - {"schema_version", "is_simulated", "lines"}
    return Crises(is_simulated=simulated, lines=lines, **summary.model_dump(include=names))


def _left_out(units: Iterable[UnitRecord], simulated: bool) -> tuple[LeftOut, ...]:
    groups: dict[tuple[str, Outcome, str], list[str]] = {}
    for unit in units:
        if unit.outcome is not Outcome.SUCCESS:
            key = (unit.kind, unit.outcome, unit.reason or unit.error_type or "unknown")
            groups.setdefault(key, []).append(unit.name)
    return tuple(
        LeftOut(
            is_simulated=simulated,
            kind=kind,
            outcome=outcome,
            reason=reason,
            count=len(names),
            examples=tuple(sorted(names)[:_N_EXAMPLES]),
        )
        for (kind, outcome, reason), names in sorted(groups.items())
    )


def _risks(inputs: BriefingInputs, failed: StageRecord | None) -> Risks:
    gates = inputs.verdict.gates if inputs.verdict is not None else ()
    issues = [f"Stage {failed.stage} failed: {_error_of(failed)}"] if failed is not None else []
    issues += [
        f"{gate.question} {gate.reason}" for gate in gates if gate.outcome is GateOutcome.FAIL
    ]
    warnings = [
        f"{gate.question} {gate.reason}"
        for gate in gates
        if gate.outcome is GateOutcome.UNDETERMINED
    ]
    warnings += [
        f"Stage {stage.stage} is degraded: {stage.n_failed} units failed."
        for stage in inputs.stages
        if stage.outcome is StageOutcome.DEGRADED
    ]
    return Risks(
        is_simulated=inputs.is_simulated,
        issues=tuple(issues),
        warnings=(
            *warnings,
            *_stress_warnings(inputs.reports.stress),
            *champion_warnings(inputs.champion),
        ),
        manual_review=_manual_review(inputs),
    )


def _stress_warnings(summary: StressSummary | None) -> list[str]:
    if summary is None:
        return []
    return [
        f"{result.scenario.title} was not passed; suspected: "
        f"{', '.join(result.failure_modes) or 'no known failure mode'}."
        for result in summary.results
        if result.passes is False
    ]


def _manual_review(inputs: BriefingInputs) -> tuple[str, ...]:
    counts = Counter(unit.outcome for unit in inputs.units)
    tasks = ["Are the symbols those that could have been chosen at the start (survivorship)?"]
    if counts[Outcome.SKIPPED] or counts[Outcome.FAILED]:
        tasks.append(
            f"Are the {counts[Outcome.SKIPPED]} skipped and {counts[Outcome.FAILED]} failed units "
            "explained by their reasons?"
        )
    validation = inputs.reports.validation
    if validation is not None and validation.n_gaps_held:
        tasks.append(
            f"Are the {validation.n_gaps_held} unexplained price gaps of symbols held corporate "
            "actions that are missing from the list?"
        )
    if inputs.verdict is not None:
        tasks.append("Are the limits of the gates those that you want to be bound by?")
    tasks.append("Does what is not done yet matter for this decision?")
    return tuple(tasks)


def _not_done_yet(inputs: BriefingInputs) -> dict[str, tuple[str, ...]]:
    reports = inputs.reports
    by_stage: dict[Stage, list[str]] = {
        stage.stage: list(stage.not_done_yet) for stage in inputs.stages
    }
    for stage, report in (
        (Stage.MODEL_VALIDATION, reports.validation),
        (Stage.STATISTICAL_TESTS, reports.significance),
        (Stage.STRESS_TESTS, reports.stress),
    ):
        if report is not None:
            by_stage.setdefault(stage, []).extend(report.not_done_yet)
    return {
        stage.value: tuple(dict.fromkeys(by_stage[stage])) for stage in Stage if by_stage.get(stage)
    }


def _next_steps(inputs: BriefingInputs, failed: StageRecord | None) -> tuple[str, ...]:
    if failed is not None:
        return (
            f"Remove the cause of the failure of {failed.stage}.",
            "Retry the run: what succeeded is kept.",
        )
    verdict = inputs.verdict
    if verdict is None:
        return ("Run the stages that are missing.",)
    if verdict.decision is Decision.APPROVE:
        return (
            "Check the folder: `sha256sum -c SHA256SUMS` in the run folder.",
            "Answer the questions for manual review.",
            _how_to_decide(inputs),
        )
    if verdict.decision is Decision.REJECT:
        return ("Keep what is in production.", "Look at the gates that fail, one by one.")
    return (
        "Keep what is in production.",
        "Extend the range or the list of symbols, so that a smaller edge could be shown.",
    )


def _how_to_decide(inputs: BriefingInputs) -> str:
    return (
        f"Decide on the manifest {inputs.manifest_sha256 or 'of this run'}: by the form of the "
        f"suspended run, or by `sensequant approve {inputs.run_id} --by NAME --reason TEXT`, or "
        "`reject`."
    )


def _inline(text: object) -> str:
    # Names and messages from outside must break neither a table nor the page.
    one_line = " ".join(str(text).split())
    for sign, harmless in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|")):
        one_line = one_line.replace(sign, harmless)
    return one_line


def _number(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.4g}"
    return _inline(value)


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - the page is Markdown; `inline` guards foreign text
    )
    environment.filters["inline"] = _inline
    environment.filters["number"] = _number
    source = (files("sensequant.release") / "briefing.md.j2").read_text("utf-8")
    return environment.from_string(source)
