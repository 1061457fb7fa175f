"""The page of a run: one self-contained HTML file that needs neither network nor script.

Belongs here: what the page is made from and the order of its sections. Does not belong here: the
figures, which come finished from the stages, and the sections one by one (`reports.sections`,
`reports.performance`, `reports.inference`, `reports.models`, `reports.students`).

The page is an artifact: no run id, clock, path or duration enters it, so equal inputs give equal
bytes. Text from data or files is escaped by the template.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

import polars as pl
from markupsafe import Markup

from sensequant.evaluation.figures import Figure, absent_figure
from sensequant.evaluation.hypotheses import SignificanceReport
from sensequant.evaluation.validation import Validation
from sensequant.release.champion import ChampionComparison
from sensequant.release.gates import Decision, Verdict
from sensequant.reports.champion import champion_section
from sensequant.reports.inference import chance_section, power_section
from sensequant.reports.model_evidence import ModelEvidence
from sensequant.reports.models import (
    features_section,
    labels_section,
    teachers_section,
    window_funnel_section,
)
from sensequant.reports.page import Headline, Page, Tile, render_page
from sensequant.reports.performance import (
    Portfolio,
    calibration_section,
    costs_section,
    drawdown_section,
    equity_section,
    headline_section,
    months_section,
    rolling_section,
    states_section,
    symbols_section,
    windows_section,
)
from sensequant.reports.sections import (
    Section,
    data_section,
    funnel_section,
    gates_section,
    not_done_section,
    statistics_section,
    stress_section,
)
from sensequant.reports.students import distillation_section, novelty_section, rewards_section
from sensequant.reports.tables import figure_cells
from sensequant.runs import StageRecord
from sensequant.stress.resilience import StressSummary
from sensequant.stress.shocks import ShockReport

__all__ = ["ReportInput", "build_report"]

_DECISIONS = {
    Decision.APPROVE: ("approve", "Approve"),
    Decision.REJECT: ("reject", "Reject"),
    Decision.NOT_ENOUGH_EVIDENCE: ("open", "Not enough evidence"),
}


@dataclass(frozen=True, slots=True)
class ReportInput:
    """Everything that the page shows; a part is None when its stage has no result.

    Attributes
    ----------
    universe
        What a person calls the selection of symbols.
    start, end
        Range that was asked for.
    horizon_sessions
        Sessions from decision to label end.
    is_simulated
        Whether the bars were invented.
    data
        One row per symbol, as `reports.sections.data_section` takes it.
    n_quarantined
        Delivered rows that were refused, by symbol.
    stages
        Records of the stages that ended; of these only outcome, counts, reasons and
        `not_done_yet` are shown.
    validation, portfolio, significance, stress, shocks, verdict
        Results of stages 4 to 6.
    models
        What stages 2 and 3 say of teachers and students.
    champion
        The candidate beside the model in production; None where there was none.
    """

    universe: str
    start: date
    end: date
    horizon_sessions: int
    is_simulated: bool
    data: pl.DataFrame
    n_quarantined: Mapping[str, int] = field(default_factory=dict[str, int])
    stages: tuple[StageRecord, ...] = ()
    validation: Validation | None = None
    portfolio: Portfolio | None = None
    significance: SignificanceReport | None = None
    stress: StressSummary | None = None
    shocks: ShockReport | None = None
    verdict: Verdict | None = None
    models: ModelEvidence | None = None
    champion: ChampionComparison | None = None


def build_report(report: ReportInput) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    report
        What the stages found.
    """
    span = Markup('<span class="whole">{}</span>')
    heading = Markup("{}, {} to {}, horizon {}").format(
        report.universe,
        span.format(report.start),
        span.format(report.end),
        span.format(f"{report.horizon_sessions} sessions"),
    )
    return render_page(
        Page(
            title=f"{report.universe}, {report.start} to {report.end}",
            heading=heading,
            subtitle="Out-of-sample evidence of one training run. Figures without an interval say "
            "why.",
            is_simulated=report.is_simulated,
            verdict=_verdict_view(report.verdict),
            tiles=tuple(_tiles(report)),
            sections=tuple(_sections(report)),
        )
    )


def _sections(report: ReportInput) -> list[Section]:
    validation, portfolio, models = report.validation, report.portfolio, report.models
    calibrated = None if models is None else models.calibrated
    return [
        gates_section(report.verdict),
        headline_section(validation, benchmark_name=_benchmark_name(report)),
        *([] if report.champion is None else [champion_section(report.champion)]),
        equity_section(portfolio),
        drawdown_section(portfolio),
        rolling_section(portfolio),
        months_section(portfolio),
        calibration_section(validation, calibrated),
        windows_section(validation),
        states_section(validation),
        symbols_section(validation, portfolio),
        costs_section(validation, portfolio),
        statistics_section(report.significance),
        chance_section(report.significance),
        power_section(report.significance),
        stress_section(report.stress, report.shocks),
        distillation_section(models),
        rewards_section(models),
        teachers_section(models),
        features_section(models),
        labels_section(models),
        window_funnel_section(models),
        novelty_section(models),
        funnel_section(report.stages),
        not_done_section(_open_points(report)),
        data_section(report.data, n_quarantined=report.n_quarantined),
    ]


def _verdict_view(verdict: Verdict | None) -> Headline:
    if verdict is None:
        return Headline("Verdict", "open", "No verdict", "The release audit has no result.")
    kind, word = _DECISIONS[verdict.decision]
    return Headline("Verdict", kind, word, verdict.headline, verdict.reasons)


def _tiles(report: ReportInput) -> list[Tile]:
    if report.validation is None:
        return []
    summary = report.validation.summary
    name = _benchmark_name(report)
    return [
        _tile("Annual return, net", summary.strategy.net_annual_return, "sessions"),
        _tile(f"Over {name}, per year", _tested(report, "mean_excess_bootstrap"), "sessions"),
        _tile("Sharpe ratio over risk-free", _tested(report, "sharpe_ratio"), "sessions"),
        _tile("Maximum drawdown", summary.strategy.max_drawdown, "sessions"),
        _tile("AUC, pooled", summary.classification.auc, "rows"),
    ]


def _tile(name: str, figure: Figure, n_unit: str) -> Tile:
    value, interval, n = figure_cells(figure)
    return Tile(name, value, interval, f"{n} {n_unit}")


def _tested(report: ReportInput, name: str) -> Figure:
    if report.significance is None:
        return absent_figure("", "the statistical tests have no result")
    test = report.significance.of(name)
    return Figure(
        value=test.estimate,
        lower=test.lower,
        upper=test.upper,
        n=test.n,
        unit=test.unit or "",
        reason=test.reason,
    )


def _benchmark_name(report: ReportInput) -> str:
    return "NIFTY 50" if report.portfolio is None else report.portfolio.benchmark_name


def _open_points(report: ReportInput) -> tuple[str, ...]:
    parts: list[Iterable[str]] = [stage.not_done_yet for stage in report.stages]
    if report.validation is not None:
        parts.append(report.validation.summary.not_done_yet)
    parts += [
        part.not_done_yet for part in (report.significance, report.stress) if part is not None
    ]
    # Stages repeat what their results say: each sentence once, in the order of the stages.
    return tuple(dict.fromkeys(sentence for part in parts for sentence in part))
