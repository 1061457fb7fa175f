"""Facts about the briefing: complete, partial, simulated."""

import dataclasses
import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from sensequant.evaluation.figures import Figure as MeasuredFigure
from sensequant.evaluation.side_by_side import DELTAS, Delta, ModelComparison
from sensequant.records import Outcome
from sensequant.release.briefing import (
    BriefingInputs,
    build_briefing,
    render_markdown,
    write_briefing,
)
from sensequant.release.briefing_model import Briefing
from sensequant.release.certificate import TwinRecord
from sensequant.release.champion import ChampionComparison
from sensequant.release.evidence import Reports, gather_evidence
from sensequant.release.gates import (
    Decision,
    EvidenceRef,
    Figure,
    GateConfig,
    Verdict,
    evaluate_gates,
    judge,
)
from sensequant.reports.briefing_page import build_briefing_page
from sensequant.runs import RunFolder, Stage, StageOutcome, StageRecord
from sensequant.units import UnitRecord

RUN_ID = "live_candidate_20260102_030405_0000abcd"
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def stage(name: Stage, outcome: StageOutcome = StageOutcome.SUCCESS, **fields: Any) -> StageRecord:
    return StageRecord(
        run_id=RUN_ID, stage=name, outcome=outcome, started_at=AT, seconds=1.5, **fields
    )


def unit(name: str, outcome: Outcome, reason: str | None, **fields: Any) -> UnitRecord:
    return UnitRecord(
        kind="teacher", name=name, outcome=outcome, reason=reason, seconds=0.1, **fields
    )


def verdict_of(reports: Reports, **changed: Figure) -> Verdict:
    figures = gather_evidence(
        reports, coverage=Figure(observed=0.99, n=9), failure_rate=Figure(observed=0.0, n=9)
    ).model_copy(update=changed)
    gates = evaluate_gates(figures, GateConfig())
    return judge(gates, detectable_sharpe=1.75, is_simulated=False)


@pytest.fixture
def inputs(reports: Reports) -> BriefingInputs:
    """Return the records of a run that went through all stages."""
    return BriefingInputs(
        run_id=RUN_ID,
        created_at=AT,
        is_simulated=False,
        symbols=("INFY", "M&M"),
        first_session=date(2022, 1, 3),
        last_session=date(2024, 12, 31),
        stages=[
            stage(
                each,
                n_success=4,
                findings={"n_rows": 12, "note": None},
                not_done_yet=["Signed manifest."] if each is Stage.RELEASE_AUDIT else [],
            )
            for each in Stage
            if each is not Stage.PROMOTION_BRIEFING
        ],
        stages_asked=tuple(Stage),
        units=[
            unit("A", Outcome.SUCCESS, None),
            *(unit(f"W{n}", Outcome.SKIPPED, "pre_listing") for n in range(5)),
            unit("B", Outcome.FAILED, None, error_type="ValueError", error_message="bad"),
            unit("C", Outcome.FAILED, None),
        ],
        reports=reports,
        twins=[],
        n_twins_asked=0,
        verdict=verdict_of(reports),
        manifest_sha256="c" * 64,
        evidence_digest="d" * 64,
    )


def walk(value: Any) -> Iterator[dict[str, Any]]:
    children: list[Any] = []
    if isinstance(value, dict):
        part = cast("dict[str, Any]", value)
        yield part
        children = list(part.values())
    elif isinstance(value, list):
        children = cast("list[Any]", value)
    for child in children:
        yield from walk(child)


def test_complete_run_has_every_part(inputs: BriefingInputs) -> None:
    """Training, scores, trading, statistics, crises, risks, what was left out and is to come."""
    briefing = build_briefing(inputs)
    page = render_markdown(briefing)

    assert briefing.is_complete
    assert briefing.failed_stage is None
    assert {figure.name for figure in briefing.statistics} >= {"alpha", "deflated_sharpe"}
    assert briefing.crises is not None
    assert (briefing.crises.n_evaluated, briefing.crises.n_skipped) == (1, 1)
    assert "Not reached" not in page
    assert "PARTIAL" not in page
    assert "SIMULATED" not in page
    assert "36" in page
    assert "c" * 64 in page


def test_the_strongest_reasons_stand_on_the_page(inputs: BriefingInputs) -> None:
    """Those of the gates, in the words of the gates; a run without a verdict has none."""
    briefing = build_briefing(inputs)
    page = render_markdown(briefing)
    assert briefing.verdict is not None
    words = {f"{gate.question} {gate.reason}" for gate in briefing.verdict.gates}

    assert 0 < len(briefing.reasons_for) <= 3
    assert {each.words for each in briefing.reasons_for} <= words
    assert f"1. {briefing.reasons_for[0].words}" in page
    assert ("None: no gate says so." in page) is (not briefing.reasons_against)
    assert build_briefing(dataclasses.replace(inputs, verdict=None)).reasons_for == ()


def test_figures_are_copied_with_interval_count_and_reason(
    inputs: BriefingInputs, reports: Reports
) -> None:
    """Every score figure of the briefing is the one of the validation, absent ones with reason."""
    briefing = build_briefing(inputs)
    assert reports.validation is not None
    found = {figure.name: figure for figure in briefing.out_of_sample}

    for name, figure in reports.validation.classification:
        if name == "schema_version":
            continue
        copied = found[name]
        assert (figure.value, figure.lower, figure.upper, figure.n, figure.reason) == (
            copied.value,
            copied.lower,
            copied.upper,
            copied.n,
            copied.reason,
        )
    assert "| window_auc_mean | none | none | 321 | fraction | none | one class" in render_markdown(
        briefing
    )


def test_baselines_stand_beside_the_strategy(inputs: BriefingInputs) -> None:
    """The strategy has all figures of trading, the portfolios beside it those that compare."""
    names = [figure.name for figure in build_briefing(inputs).trading]

    assert "strategy: annual_turnover" in names
    assert "nifty50: net_sharpe" in names
    assert "universe: net_sharpe" in names
    assert "nifty50: annual_turnover" not in names


def test_what_was_left_out_is_counted_by_reason(inputs: BriefingInputs) -> None:
    """Skips and failures are grouped, with at most three examples each; successes are not there."""
    groups = {group.reason: group for group in build_briefing(inputs).left_out}

    assert {reason: group.count for reason, group in groups.items()} == {
        "pre_listing": 5,
        "ValueError": 1,
        "unknown": 1,
    }
    assert groups["pre_listing"].examples == ("W0", "W1", "W2")


def test_what_is_not_done_yet_comes_from_stages_and_reports(inputs: BriefingInputs) -> None:
    """Sentences stand under their stage, each once, in the order of the stages."""
    found = build_briefing(inputs).not_done_yet

    assert list(found) == [
        "model_validation",
        "statistical_tests",
        "release_audit",
    ]
    assert found["release_audit"] == ("Signed manifest.",)
    assert found["model_validation"] == ("Figures by market regime.",)


def test_simulated_run_says_so_on_every_level(inputs: BriefingInputs) -> None:
    """The banner is bold, every heading is marked, every part of the JSON carries the flag."""
    briefing = build_briefing(dataclasses.replace(inputs, is_simulated=True))
    page = render_markdown(briefing)
    headings = [line for line in page.splitlines() if line.startswith("#")]
    content = briefing.model_dump(mode="json")
    parts = [content, content["risks"], content["crises"], *content["crises"]["lines"]]
    for name in ("stages", "out_of_sample", "trading", "statistics", "left_out"):
        parts += content[name]

    assert "**SIMULATED: every figure on this page rests on invented bars." in page
    assert all(heading.endswith("(SIMULATED)") for heading in headings)
    assert all(part["is_simulated"] is True for part in parts)


def test_run_that_failed_in_a_stage_has_a_partial_briefing(inputs: BriefingInputs) -> None:
    """Stage and error are named, later parts say that they were not reached."""
    failed = dataclasses.replace(
        inputs,
        stages=[
            stage(Stage.DATA_INGESTION, StageOutcome.DEGRADED, n_failed=1, n_success=9),
            stage(Stage.TEACHER_TRAINING, StageOutcome.FAILED, error="OSError: disk | <full>\nnow"),
        ],
        reports=Reports(),
        verdict=None,
        manifest_sha256=None,
        evidence_digest=None,
    )
    briefing = build_briefing(failed)
    page = render_markdown(briefing)

    assert not briefing.is_complete
    assert briefing.failed_stage is Stage.TEACHER_TRAINING
    assert briefing.recommendation == "Do not promote: stage teacher_training failed."
    assert Stage.STUDENT_TRAINING in briefing.stages_missing
    assert "**PARTIAL: stage teacher_training failed (OSError: disk \\| &lt;full> now).**" in page
    assert page.count("Not reached.") == 5
    assert "Stage data_ingestion is degraded: 1 units failed." in briefing.risks.warnings
    assert "Manifest not written, evidence not digested." in page
    assert "Retry the run" in page


def test_stage_that_failed_by_its_units_says_how_many(inputs: BriefingInputs) -> None:
    """Without an error message the counts of units are the error."""
    stages = [stage(Stage.TEACHER_TRAINING, StageOutcome.FAILED, n_success=1, n_failed=3)]
    briefing = build_briefing(dataclasses.replace(inputs, stages=stages))

    assert briefing.error == "3 of 4 units failed"


def test_run_that_was_never_judged_is_not_promoted(
    reports: Reports, inputs: BriefingInputs
) -> None:
    """Without verdict and without failure the missing stages are named."""
    stages = [stage(Stage.DATA_INGESTION)]
    briefing = build_briefing(
        dataclasses.replace(
            inputs, stages=stages, verdict=None, reports=Reports(), symbols=(), units=()
        )
    )
    page = render_markdown(briefing)

    assert briefing.recommendation == "Do not promote: the run was not judged."
    assert "**PARTIAL: stages were not reached: teacher_training" in page
    assert "Run the stages that are missing." in page
    assert "## Left out, and why\n\nNothing." in page
    assert reports.validation is not None


def test_stages_that_were_not_asked_for_are_not_missing(inputs: BriefingInputs) -> None:
    """A run of one stage is complete with it."""
    briefing = build_briefing(
        dataclasses.replace(
            inputs,
            stages=[stage(Stage.DATA_INGESTION)],
            stages_asked=(Stage.DATA_INGESTION, Stage.PROMOTION_BRIEFING),
        )
    )

    assert briefing.is_complete


GOOD: dict[str, Figure] = {
    "scored_sessions": Figure(observed=321, n=321),
    "auc": Figure(observed=0.6, lower=0.55, upper=0.65, n=9),
    "auc_placebo": Figure(observed=0.5, lower=0.49, upper=0.5, n=20),
    "mean_excess_return": Figure(observed=0.1, lower=0.05, upper=0.15, n=9),
    "deflated_sharpe": Figure(observed=0.99, n=9),
    "alpha_p_value": Figure(observed=0.01, n=9),
    "resilience": Figure(observed=60, lower=50, upper=70, n=1),
}


@pytest.mark.parametrize(
    ("changed", "decision", "recommendation", "step"),
    [
        (
            GOOD,
            Decision.APPROVE,
            "A person may approve",
            "Decide on the manifest " + "c" * 9,
        ),
        ({}, Decision.REJECT, "the evidence speaks against it", "Look at the gates that fail"),
        (
            GOOD | {"auc": Figure(observed=0.5, lower=0.4, upper=0.6)},
            Decision.NOT_ENOUGH_EVIDENCE,
            "there is not enough evidence",
            "Extend the range",
        ),
    ],
    ids=["approve", "reject", "not_enough_evidence"],
)
def test_recommendation_and_next_steps_follow_the_verdict(
    inputs: BriefingInputs,
    reports: Reports,
    *,
    changed: dict[str, Figure],
    decision: Decision,
    recommendation: str,
    step: str,
) -> None:
    """The page says what the gates say, and what to do next."""
    verdict = verdict_of(reports, **changed)
    briefing = build_briefing(dataclasses.replace(inputs, verdict=verdict))
    page = render_markdown(briefing)

    assert verdict.decision is decision
    assert recommendation in briefing.recommendation
    assert step in page
    assert verdict.headline in page


def test_failing_gates_are_issues_and_open_ones_warnings(inputs: BriefingInputs) -> None:
    """The resilience gate fails, the excess return stays open; crises not passed are warned of."""
    risks = build_briefing(inputs).risks

    assert len(risks.issues) == 1
    assert risks.issues[0].startswith("Did the students stand the crises")
    assert any("earn more than NIFTY 50" in warning for warning in risks.warnings)
    assert any("no known failure mode" in warning for warning in risks.warnings)
    assert any("3 unexplained price gaps" in task for task in risks.manual_review)
    assert any("5 skipped and 2 failed" in task for task in risks.manual_review)


def test_no_task_for_a_person_is_ticked_beforehand(inputs: BriefingInputs) -> None:
    """A check-list that ticks itself reviews nothing."""
    page = render_markdown(build_briefing(inputs))

    assert "- [x]" not in page.casefold()
    assert "- [ ]" in page


def test_written_briefing_reads_back(inputs: BriefingInputs, tmp_path: Path) -> None:
    """JSON and back is identity; the Markdown on disk is the page returned."""
    folder = RunFolder(tmp_path, RUN_ID)
    briefing = build_briefing(inputs)
    page = write_briefing(folder, briefing)
    stored = json.loads((folder.root / "promotion_briefing.json").read_text())

    assert briefing == Briefing.model_validate(stored)
    assert page == (folder.root / "promotion_briefing.md").read_text()


def test_every_number_on_the_page_is_in_the_records(inputs: BriefingInputs) -> None:
    """No figure is made up while rendering: numbers in table cells stand in the JSON."""
    briefing = build_briefing(inputs)
    known = {
        f"{value:.4g}"
        for part in walk(briefing.model_dump(mode="json"))
        for value in part.values()
        if isinstance(value, int | float)
    }
    cells = [
        cell.strip()
        for line in render_markdown(briefing).splitlines()
        if line.startswith("|")
        for cell in line.split("|")
    ]
    numbers = {cell for cell in cells if cell.replace(".", "").replace("-", "").isdigit()}

    assert numbers <= known
    assert len(numbers) > 10


def comparison(figure: MeasuredFigure) -> ModelComparison:
    return ModelComparison(
        first_session=date(2024, 1, 1),
        last_session=date(2024, 12, 31),
        n_symbols=2,
        n_rows=480,
        n_left_out=7,
        n_sessions=240,
        n_traded_sessions=247,
        block_sessions=21,
        n_draws=1000,
        confidence=0.95,
        seed=1,
        deltas=tuple(
            Delta(name=name, candidate=0.4, reference=0.6, difference=figure) for name in DELTAS
        ),
    )


def champion(**fields: Any) -> ChampionComparison:
    return ChampionComparison(
        run_id="live_candidate_20250102_030405_0000dcba",
        model_sha256="e" * 64,
        manifest_sha256="f" * 64,
        is_simulated=False,
        **fields,
    )


def test_champion_stands_beside_the_candidate(inputs: BriefingInputs) -> None:
    """Values of both, difference, interval, n; what is worse beyond chance is warned of."""
    figure = MeasuredFigure(value=-0.2, lower=-0.3, upper=-0.1, n=247, unit="fraction")
    file = EvidenceRef(path="audit/champion.json", sha256="a" * 64)
    given = dataclasses.replace(
        inputs, champion=champion(comparison=comparison(figure)), champion_file=file
    )
    briefing = build_briefing(given)
    page = render_markdown(briefing)

    assert "| AUC | 0.4 | 0.6 | -0.2 | -0.3 to -0.1 | 247 | fraction |" in page
    assert "`audit/champion.json` aaaaaaaaaaaa" in page
    warned = [each for each in briefing.risks.warnings if each.startswith("The champion is better")]
    # Less log loss is better, so that by this one the candidate is.
    assert len(warned) == len(DELTAS) - 1
    assert not any("log loss" in each for each in warned)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "Not compared: no champion: nothing stood in production"),
        (champion(reason="its bars are others"), "Not compared: its bars are others."),
    ],
    ids=["nobody", "unfit"],
)
def test_why_there_is_no_comparison(
    inputs: BriefingInputs, found: ChampionComparison | None, words: str
) -> None:
    """No champion, or one that does not fit, is said; nothing is warned of."""
    briefing = build_briefing(dataclasses.replace(inputs, champion=found))

    assert words in render_markdown(briefing)
    assert briefing.champion is not None
    assert briefing.champion.deltas == ()
    assert not any("champion is better" in each for each in briefing.risks.warnings)


def cells_of(html: str) -> set[str]:
    return {
        re.sub(r"<[^>]+>", "", cell).strip()
        for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", html)
    }


def test_html_page_holds_the_figures_of_the_json_alone(inputs: BriefingInputs) -> None:
    """Numbers in its cells outside the gates stand in the JSON; every part has its heading."""
    figure = MeasuredFigure(value=-0.2, lower=-0.3, upper=-0.1, n=247, unit="fraction")
    briefing = build_briefing(
        dataclasses.replace(inputs, champion=champion(comparison=comparison(figure)))
    )
    html = build_briefing_page(briefing)
    known = {
        f"{value:.4g}" if isinstance(value, float) else str(value)
        for part in walk(briefing.model_dump(mode="json"))
        for value in part.values()
        if isinstance(value, int | float)
    }
    after_gates = html[html.index('id="work"') :]
    numbers = {cell for cell in cells_of(after_gates) if re.fullmatch(r"-?[0-9.]+", cell)}

    assert len(numbers) > 10
    assert numbers <= known
    for heading in ("Gates", "Out of sample: scores", "Beside the champion", "Crises", "Warnings"):
        assert f">{heading}</h2>" in html
    assert "not reached" not in html
    assert "-0.3 to -0.1" in html
    assert "SIMULATED" not in html


def test_html_page_of_a_run_that_failed_or_was_invented(inputs: BriefingInputs) -> None:
    """The error is escaped, what was not reached says so, and invented bars are marked."""
    failed = dataclasses.replace(
        inputs,
        is_simulated=True,
        stages=[stage(Stage.TEACHER_TRAINING, StageOutcome.FAILED, error="disk <full>")],
        reports=Reports(),
        verdict=None,
    )
    html = build_briefing_page(build_briefing(failed))

    assert "Stage teacher_training failed: disk &lt;full&gt;" in html
    assert html.count("Not available: not reached.") == 5
    assert "simulated" in html.lower()


def test_html_page_shows_twins_and_why_there_is_no_champion(beside_twins: BriefingInputs) -> None:
    """Both, as the Markdown does."""
    html = build_briefing_page(build_briefing(beside_twins))

    assert "Random-walk twins (SIMULATED)" in html
    assert "2 of 3 twins" in html
    assert "Not available: no champion: nothing stood in production" in html


@pytest.fixture
def beside_twins(inputs: BriefingInputs) -> BriefingInputs:
    """Return the same records with two twins of three that were asked for, one without verdict."""
    auc = MeasuredFigure(value=0.49, lower=0.47, upper=0.51, n=900, unit="AUC")
    none = MeasuredFigure(value=None, n=0, unit="annual Sharpe ratio", reason="no verdict")
    twins = (
        TwinRecord(number=1, decision=Decision.REJECT, auc=auc, net_sharpe=none),
        TwinRecord(number=3, decision=None, auc=none, net_sharpe=none, reason="too few rows"),
    )
    return dataclasses.replace(inputs, twins=twins, n_twins_asked=3)


def test_twins_stand_beside_the_candidate_and_are_marked(beside_twins: BriefingInputs) -> None:
    """Verdict, AUC and Sharpe ratio with intervals; the rest of the page stays unmarked."""
    page = render_markdown(build_briefing(beside_twins))
    before, _, section = page.partition("## Random-walk twins (SIMULATED)")
    section, _, after = section.partition("## Risks")

    assert "SIMULATED" not in before + after
    assert "on 2 of 3 twins" in section
    assert (
        "| twin 1 (SIMULATED) | reject | 0.49 | 0.47 to 0.51 | 900 | none | none | 0 |" in section
    )
    assert "| twin 3 (SIMULATED) | none | none | none | 0 | none | none | 0 | too few" in section
    assert "| candidate | " in section


def test_twins_touch_nothing_else(inputs: BriefingInputs, beside_twins: BriefingInputs) -> None:
    """With and without them the rest of the briefing is the same."""
    without, along = (
        build_briefing(each).model_dump(exclude={"certificate"}) for each in (inputs, beside_twins)
    )

    assert along == without
    assert build_briefing(inputs).certificate is None
