"""The briefing as one self-contained HTML file: what its Markdown says, on the frame of every page.

Belongs here: which part of the briefing stands where, as sections and tables. Does not belong here:
picking and wording (`release.briefing`), the model (`release.briefing_model`), charts: the page of
the run has them.

Numbers read as in the Markdown, so that each stands in the JSON as well.
"""

from collections.abc import Iterable

from sensequant.release.briefing_model import (
    BesideChampion,
    Briefing,
    BriefingFigure,
    Certificate,
    Crises,
    StageLine,
)
from sensequant.release.gates import Decision
from sensequant.reports.page import Headline, Page, render_page
from sensequant.reports.sections import Section, gates_section, listed, without
from sensequant.reports.tables import missing, words

__all__ = ["build_briefing_page"]

_KINDS = {
    Decision.APPROVE: ("approve", "Approve"),
    Decision.REJECT: ("reject", "Reject"),
    Decision.NOT_ENOUGH_EVIDENCE: ("open", "Not enough evidence"),
}
_NOT_REACHED = "not reached"


def build_briefing_page(briefing: Briefing) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    briefing
        What a person decides from.
    """
    span = f"{briefing.first_session or 'no session'} to {briefing.last_session or 'no session'}"
    return render_page(
        Page(
            title=f"Promotion briefing, {briefing.run_id}",
            subtitle=f"{len(briefing.symbols)} symbols, {span}. Manifest "
            f"{briefing.manifest_sha256 or 'not written'}, evidence "
            f"{briefing.evidence_digest or 'not digested'}.",
            is_simulated=briefing.is_simulated,
            verdict=_headline(briefing),
            tiles=(),
            sections=(
                gates_section(briefing.verdict),
                _work(briefing),
                _figures("scores", "Out of sample: scores", briefing.out_of_sample),
                _figures("trading", "Out of sample: trading", briefing.trading),
                _champion(briefing.champion),
                _figures("statistics", "Statistics", briefing.statistics),
                _crises(briefing.crises),
                *([] if briefing.certificate is None else [_twins(briefing.certificate)]),
                *_points(briefing),
            ),
        )
    )


def _headline(briefing: Briefing) -> Headline:
    kind, word = "open", "Partial" if not briefing.is_complete else "No verdict"
    if briefing.verdict is not None:
        kind, word = _KINDS[briefing.verdict.decision]
    reasons = tuple(f"For: {each.words}" for each in briefing.reasons_for)
    reasons += tuple(f"Against: {each.words}" for each in briefing.reasons_against)
    if briefing.failed_stage is not None:
        reasons = (f"Stage {briefing.failed_stage} failed: {briefing.error}", *reasons)
    return Headline("Recommendation", kind, word, briefing.recommendation, reasons)


def _work(briefing: Briefing) -> Section:
    columns = {"Stage": False, "Outcome": False, "Success": True, "Skipped": True, "Failed": True}
    columns |= {"Failure rate": True, "Seconds": True, "Findings": False}
    table = listed("Stages", columns, [_stage(each) for each in briefing.stages])
    left_out = listed(
        "Left out, and why",
        {"Unit": False, "Outcome": False, "Reason": False, "Count": True, "For example": False},
        [
            (each.kind, each.outcome, words(each.reason), str(each.count), ", ".join(each.examples))
            for each in briefing.left_out
        ],
    )
    lead = ", ".join(briefing.symbols)
    if briefing.stages_missing:
        lead += f". Not reached: {', '.join(briefing.stages_missing)}"
    tables = tuple(each for each in (table, left_out) if each.rows)
    return Section("work", "What was done", lead=lead, tables=tables)


def _stage(line: StageLine) -> tuple[str, ...]:
    found = "; ".join(f"{words(name)} {_number(value)}" for name, value in line.findings.items())
    return (
        words(line.stage),
        line.outcome,
        str(line.n_success),
        str(line.n_skipped),
        str(line.n_failed),
        _number(line.failure_rate),
        _number(line.seconds),
        found if line.error is None else f"{found} {line.error}",
    )


def _figures(key: str, heading: str, rows: tuple[BriefingFigure, ...]) -> Section:
    blank = Section(key, heading)
    if not rows:
        return without(blank, _NOT_REACHED)
    columns = {"Figure": False, "Value": True, "Interval": True, "n": True, "Unit": False}
    columns |= {"p": True, "Remark": False}
    table = listed(
        heading,
        columns,
        [
            (
                words(row.name),
                _number(row.value),
                _interval(row),
                str(row.n),
                words(row.unit),
                _number(row.p_value),
                row.reason or "",
            )
            for row in rows
        ],
    )
    return Section(key, heading, tables=(table,))


def _champion(found: BesideChampion | None) -> Section:
    blank = Section("champion", "Beside the champion")
    if found is None or not found.deltas:
        return without(blank, _NOT_REACHED if found is None else str(found.reason))
    columns = {"Figure": False, "Candidate": True, "Champion": True, "Difference": True}
    columns |= {"Interval": True, "n": True, "Unit": False, "Remark": False}
    table = listed(
        "Candidate minus champion",
        columns,
        [
            (
                row.name,
                _number(row.candidate),
                _number(row.champion),
                _number(row.difference.value),
                _interval(row.difference),
                str(row.difference.n),
                words(row.difference.unit),
                row.difference.reason or "",
            )
            for row in found.deltas
        ],
    )
    lead = (
        f"Model {found.model_sha256} of {found.run_id}, in production when this run was judged; "
        f"{found.first_session} to {found.last_session}, which neither has learnt from. No gate "
        "reads a difference."
    )
    return Section(blank.key, blank.heading, lead=lead, tables=(table,), points=found.remarks)


def _crises(found: Crises | None) -> Section:
    blank = Section("crises", "Crises")
    if found is None:
        return without(blank, _NOT_REACHED)
    columns = {"Crisis": False, "Sessions": False, "n": True, "Return": True}
    columns |= {"Max drawdown": True, "NIFTY 50": True, "Resilience": True}
    columns |= {"Passed": False, "Suspected": False}
    table = listed(
        "Crises that were replayed",
        columns,
        [
            (
                line.title,
                f"{line.first_session} to {line.last_session}",
                str(line.n_sessions),
                _number(line.total_return),
                _number(line.max_drawdown),
                _number(line.market_return),
                _number(line.resilience),
                _number(line.passes),
                ", ".join(map(words, line.failure_modes)) or "none",
            )
            for line in found.lines
        ],
    )
    lead = (
        f"{found.n_evaluated} replayed, {found.n_passed} passed, {found.n_skipped} skipped. "
        "Mean resilience "
    )
    return Section(
        blank.key, blank.heading, lead=f"{lead}{_number(found.mean_resilience)}.", tables=(table,)
    )


def _twins(found: Certificate) -> Section:
    columns = {"Market": False, "Verdict": False, "AUC": True, "Interval": True}
    columns |= {"Sharpe ratio, net": True, "Interval ": True, "Remark": False}
    table = listed(
        "Candidate and random-walk twins (SIMULATED)",
        columns,
        [
            (
                line.name,
                words(line.decision),
                _number(line.auc.value),
                _interval(line.auc),
                _number(line.net_sharpe.value),
                _interval(line.net_sharpe),
                line.reason or "",
            )
            for line in (found.candidate, *found.twins)
        ],
    )
    lead = f"{len(found.twins)} of {found.n_asked} twins. They are no evidence."
    return Section("twins", "Random-walk twins (SIMULATED)", lead=lead, tables=(table,))


def _points(briefing: Briefing) -> list[Section]:
    not_done = [
        f"{words(stage)}: {sentence}"
        for stage, sentences in briefing.not_done_yet.items()
        for sentence in sentences
    ]
    risks = briefing.risks
    return [
        _listed("issues", "Issues", risks.issues),
        _listed("warnings", "Warnings", risks.warnings),
        _listed("review", "For a person to answer", risks.manual_review),
        _listed("open", "Not done yet", not_done),
        _listed("next", "Next steps", briefing.next_steps),
    ]


def _listed(key: str, heading: str, sentences: Iterable[str]) -> Section:
    return Section(key, heading, points=tuple(sentences) or ("none",))


def _interval(figure: BriefingFigure) -> str:
    if figure.lower is None or figure.upper is None:
        return missing()
    return f"{_number(figure.lower)} to {_number(figure.upper)}"


def _number(value: object) -> str:
    if value is None:
        return missing()
    return f"{value:.4g}" if isinstance(value, float) else str(value)
