"""The page of the scores: how often they came true, for whom and when, beside shuffled labels.

Belongs here: what the page is made from and the order of its sections. Does not belong here: the
figures (`evaluation.scoring`, `evaluation.regimes`), what trading on the scores was worth
(`reports.run_report`).
"""

from dataclasses import dataclass, replace
from datetime import date

from sensequant.evaluation.figures import Figure
from sensequant.evaluation.validation import Validation, ValidationSummary
from sensequant.reports.model_evidence import Calibrated
from sensequant.reports.page import Headline, Page, Tile, render_page
from sensequant.reports.performance import (
    calibration_section,
    score_rows,
    states_section,
    symbols_section,
    windows_section,
)
from sensequant.reports.sections import SCORE_COLUMNS, Section, listed, without
from sensequant.reports.tables import Column, count, decimals, figure_cells, percent, table_of

__all__ = ["AccuracyInput", "build_accuracy_report"]

_FEW_ROWS = 30


@dataclass(frozen=True, slots=True)
class AccuracyInput:
    """Everything that the page shows.

    Attributes
    ----------
    universe, start, end
        Selection of symbols and range of the run.
    horizon_sessions
        Sessions from decision to label end.
    is_simulated
        Whether the bars were invented.
    validation
        Figures and tables of stage 4.
    calibrated
        Bins of the calibrated probabilities, where students have any.
    """

    universe: str
    start: date
    end: date
    horizon_sessions: int
    is_simulated: bool
    validation: Validation
    calibrated: Calibrated | None = None


def build_accuracy_report(given: AccuracyInput) -> str:
    """Return the page as HTML."""
    summary = given.validation.summary
    return render_page(
        Page(
            title=f"Accuracy of the scores: {given.universe}, {given.start} to {given.end}",
            subtitle=f"{count(summary.n_labelled)} labelled rows out of sample, horizon "
            f"{given.horizon_sessions} sessions. Shuffled labels are shuffled in blocks of time, "
            "within each symbol, so that they keep its share of ones and its runs.",
            is_simulated=given.is_simulated,
            verdict=_headline(summary.classification.auc, summary.classification.auc_placebo),
            tiles=tuple(_tiles(summary)),
            sections=(
                _figures(summary),
                windows_section(given.validation),
                symbols_section(given.validation, None),
                states_section(given.validation),
                _months(given.validation),
                calibration_section(given.validation, given.calibrated),
                _sectors(given.validation),
            ),
        )
    )


def _headline(auc: Figure, placebo: Figure) -> Headline:
    heading = "Do the scores rank better than shuffled labels?"
    if auc.value is None or auc.lower is None or placebo.upper is None:
        why = auc.reason or placebo.reason or "nothing was scored and labelled"
        return Headline(heading, "open", "Not known", f"{why[:1].upper()}{why[1:]}.")
    write = decimals(3)
    told = (
        f"Pooled AUC {write(auc.value)}, interval from {write(auc.lower)} to {write(auc.upper)}; "
        f"the best of the shuffles reached {write(placebo.upper)}. An AUC tells ranking, not "
        "profit."
    )
    if auc.lower > max(0.5, placebo.upper):
        return Headline(heading, "approve", "Yes, by the whole interval", told)
    if auc.value > max(0.5, placebo.upper):
        return Headline(heading, "open", "By the estimate alone", told)
    return Headline(heading, "reject", "No", told)


def _tiles(summary: ValidationSummary) -> list[Tile]:
    figures = summary.classification
    shown = {
        "AUC, pooled": figures.auc,
        "AUC on shuffled labels": figures.auc_placebo,
        "Precision": figures.precision,
        "Share of labels that are 1": figures.positive_frac,
        "Hit rate": figures.hit_rate,
    }
    return [
        Tile(name, value, interval, n)
        for name, figure in shown.items()
        for value, interval, n in (figure_cells(figure),)
    ]


def _figures(summary: ValidationSummary) -> Section:
    figures = summary.classification
    columns = {"Figure": False, "Value": True, "Interval or range": True, "n": True}
    table = listed(
        f"Scores against labels; a decision is a score of at least {summary.threshold:g}",
        columns,
        score_rows(figures),
    )
    counts = listed(
        "Decisions against labels, rows",
        {"Decision": False, "Label 1": True, "Label 0": True},
        [
            ("Bought", count(summary.n_true_positive), count(summary.n_false_positive)),
            ("Not bought", count(summary.n_false_negative), count(summary.n_true_negative)),
        ],
    )
    lead = (
        f"{summary.confidence:.0%} intervals of {count(summary.n_draws)} draws, symbols and blocks "
        f"of {summary.block_sessions} sessions at once; ranges of {count(summary.n_placebo)} "
        "shuffles. Precision says something only beside the share of labels that are 1, which a "
        "decision by chance reaches."
    )
    return Section("scores", "All rows together", lead=lead, tables=(table, counts))


def _sectors(validation: Validation) -> Section:
    blank = Section("sectors", "Sectors")
    sectors = validation.by_sector
    if sectors is None or sectors.is_empty():
        return without(blank, "no list of sectors was imported before the bars of this run came")
    columns = (
        Column("sector", "Sector", str, is_number=False),
        Column("n_symbols", "Symbols", count),
        *SCORE_COLUMNS,
    )
    lead = (
        "By the list that was there when the bars came, whatever sector a company was in before. "
        "The bootstrap draws symbols and blocks of sessions; of one symbol it tells sessions alone."
    )
    return replace(blank, lead=lead, tables=(table_of(sectors, columns, caption="By sector"),))


def _months(validation: Validation) -> Section:
    blank = Section("by-month", "Months")
    months = validation.by_month
    if months is None or months.is_empty():
        return without(blank, "nothing was scored and labelled")
    columns = (
        Column("month", "Month", str, is_number=False),
        Column("n", "Rows", count),
        Column("n_positive", "Label 1", count),
        Column("auc", "AUC", decimals(3)),
        Column("auc_placebo", "Shuffled", decimals(3)),
        Column("precision", "Precision", percent),
        Column("hit_rate", "Hit rate", percent),
        Column("n_decided", "Decisions", count),
    )
    lead = (
        "By month of the decision. A month is no longer than a block of the bootstrap, so that its "
        "figures have no interval; read them beside the shuffled labels of the same month."
    )
    is_folded = months.height > _FEW_ROWS
    table = table_of(months, columns, caption="Figures by month", is_folded=is_folded)
    return replace(blank, lead=lead, tables=(table,))
