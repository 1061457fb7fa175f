"""What families of features are worth, as Markdown for a person.

Belongs here: wording and rounding. Does not belong here: any figure (`evaluation.ablation`).
"""

from sensequant.evaluation.ablation import FIGURES, AblationSummary, FamilyWorth
from sensequant.evaluation.hypotheses import TestResult
from sensequant.evaluation.validation_text import markdown_table, number_text

__all__ = ["FAMILY_COLUMNS", "family_cells", "headline_of_families", "render_families"]

_NAMES = {
    "auc": "AUC",
    "log_loss": "log loss, nats",
    "net_annual_return": "net return per year",
    "net_sharpe": "Sharpe ratio",
}
_SIMULATED = (
    "**SIMULATED**: the prices come from a market simulator. Nothing here says anything about a "
    "real share."
)

FAMILY_COLUMNS = ("family", "columns", "rows", "sessions", *_NAMES.values(), "told from zero")
"""Headings of the table of families."""


def render_families(summary: AblationSummary) -> str:
    """Return what every family is worth as Markdown."""
    confidence = f"{summary.settings.confidence:.0%}"
    how = (
        "Each cell: the figure with the family minus the figure without it, on the same rows of "
        f"{summary.n_symbols} symbols, or the same sessions of the backtest; in brackets the "
        f"{confidence} interval, uncorrected; then the p-value corrected for all {summary.n_tests} "
        f"tests (Holm). Lower log loss is better. Scores compared: {summary.score}. A difference "
        "of returns alone may be one of costs: more trades without more knowledge."
    )
    parts = [
        "# What each family of features is worth",
        *([_SIMULATED] if summary.is_simulated else []),
        headline_of_families(summary),
        how,
        markdown_table(FAMILY_COLUMNS, (family_cells(each) for each in summary.families)),
        "## With and without",
        markdown_table(
            ("family", "figure", "with", "without", "n", "p", "corrected", "q", "note"),
            (_row(each, test) for each in summary.families for test in each.worth),
        ),
    ]
    return "\n\n".join(parts) + "\n"


def headline_of_families(summary: AblationSummary) -> str:
    """Return in one sentence which families make a difference."""
    parts = [
        f"{word} {', '.join(names)}"
        for word, names in (
            ("better with", [each.family.value for each in summary.families if each.helps]),
            ("worse with", [each.family.value for each in summary.families if each.harms]),
        )
        if names
    ]
    n = len(summary.families)
    if not parts:
        return f"Of {n} families none makes a difference that is told from zero."
    return f"Of {n} families, told from zero: {'; '.join(parts)}."


def family_cells(each: FamilyWorth) -> tuple[str, ...]:
    """Return the row of one family."""
    told = [
        f"{word}: {', '.join(_NAMES[name] for name in names)}"
        for word, names in (("better", each.helps), ("worse", each.harms))
        if names
    ]
    return (
        each.family.value + ("" if each.was_fed else " (added)"),
        str(each.n_columns),
        str(each.n_rows),
        str(each.n_sessions),
        *(_cell(each.of(name)) for name in FIGURES),
        "; ".join(told) or "no",
    )


def _cell(test: TestResult) -> str:
    if test.estimate is None:
        return f"- ({test.reason})"
    if test.lower is None or test.upper is None:
        return f"{number_text(test.estimate)} ({test.no_interval})"
    interval = f"[{number_text(test.lower)}, {number_text(test.upper)}]"
    return f"{number_text(test.estimate)} {interval}, p {number_text(test.inputs['p_holm'])}"


def _row(each: FamilyWorth, test: TestResult) -> tuple[str, ...]:
    names = ("with", "without")
    return (
        each.family.value,
        _NAMES[test.name],
        *(number_text(test.inputs.get(name)) for name in names),
        str(test.n),
        number_text(test.p_value),
        number_text(test.inputs.get("p_holm")),
        number_text(test.inputs.get("q_value")),
        test.reason or test.no_interval or "",
    )
