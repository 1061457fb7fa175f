"""The validation summary as Markdown for a person.

Belongs here: wording and rounding. Does not belong here: any figure (`evaluation.validation`).
"""

from collections.abc import Iterable, Sequence

import polars as pl
from pydantic import BaseModel

from sensequant.evaluation.figures import Figure, PerformanceFigures
from sensequant.evaluation.validation import ValidationSummary

__all__ = [
    "figure_cell",
    "markdown_table",
    "number_text",
    "performance_table",
    "render_markdown",
]


def render_markdown(summary: ValidationSummary, by_regime: pl.DataFrame | None = None) -> str:
    """Return the summary as Markdown: scope, scores, portfolios side by side, gaps.

    An absent figure is shown as a dash with its reason, an interval in brackets.
    """
    parts = [
        "# Validation out of sample",
        _scope(summary),
        "## Scores against labels",
        markdown_table(
            ("figure", "value", "interval", "n", "unit", "note"),
            (_figure_row(name, figure) for name, figure in _figures(summary.classification)),
        ),
        _confusion(summary),
        "## Portfolios",
        performance_table(_columns(summary)),
        *([] if by_regime is None else ["## States of the market", _states(by_regime)]),
        "## Not done yet",
        "\n".join(f"- {sentence}" for sentence in summary.not_done_yet),
    ]
    return "\n\n".join(parts) + "\n"


def _scope(summary: ValidationSummary) -> str:
    return (
        f"{summary.n_scored} scored rows ({summary.n_labelled} with a label) of "
        f"{summary.n_symbols} symbols in {summary.n_windows} windows, sessions "
        f"{summary.first_session or '-'} to {summary.last_session or '-'}. "
        f"Bought from a score of {summary.threshold:g}, held {summary.horizon_sessions} sessions. "
        f"Intervals: {summary.confidence:.0%}, {summary.n_draws} block-bootstrap draws, blocks of "
        f"at least {summary.block_sessions} sessions. Unexplained price gaps held: "
        f"{summary.n_gaps_held}."
    )


def _confusion(summary: ValidationSummary) -> str:
    return markdown_table(
        ("", "label 1", "label 0"),
        (
            ("bought", str(summary.n_true_positive), str(summary.n_false_positive)),
            ("not bought", str(summary.n_false_negative), str(summary.n_true_negative)),
        ),
    )


def _states(by_regime: pl.DataFrame) -> str:
    header = ("rule", "state", "rows", "AUC", "interval", "shuffled", "hit rate", "sessions")
    return markdown_table(
        (*header, "net return per year", "interval", "note"),
        (
            (
                row["rule"],
                row["state"],
                str(row["n"]),
                number_text(row["auc"]),
                _between(row["auc_lower"], row["auc_upper"]),
                number_text(row["auc_placebo"]),
                number_text(row["hit_rate"]),
                str(row["n_sessions"]),
                number_text(row["net_annual_mean"]),
                _between(row["net_annual_lower"], row["net_annual_upper"]),
                row["reason"] or "",
            )
            for row in by_regime.iter_rows(named=True)
        ),
    )


def _columns(summary: ValidationSummary) -> list[PerformanceFigures]:
    swing = [] if summary.swing is None else [summary.swing]
    return [summary.strategy, summary.universe, *swing, summary.nifty50]


def performance_table(columns: Sequence[PerformanceFigures]) -> str:
    """Return the figures of portfolios side by side as a table of Markdown."""
    rows = (
        (name, figure.unit, *(figure_cell(dict(_figures(column))[name]) for column in columns))
        for name, figure in _figures(columns[0])
    )
    return markdown_table(("figure", "unit", *(column.name for column in columns)), rows)


def _figures(record: BaseModel) -> list[tuple[str, Figure]]:
    return [(name, value) for name, value in record if isinstance(value, Figure)]


def _figure_row(name: str, figure: Figure) -> tuple[str, ...]:
    value, interval = number_text(figure.value), _interval(figure)
    return name, value, interval, str(figure.n), figure.unit, figure.reason or ""


def figure_cell(figure: Figure) -> str:
    """Return a figure with its interval, or a dash with the reason why it is absent."""
    if figure.value is None:
        return f"- ({figure.reason})"
    return f"{number_text(figure.value)} {_interval(figure)}".strip()


def _interval(figure: Figure) -> str:
    return _between(figure.lower, figure.upper)


def _between(lower: float | None, upper: float | None) -> str:
    if lower is None or upper is None:
        return ""
    return f"[{number_text(lower)}, {number_text(upper)}]"


def number_text(value: float | None) -> str:
    """Return a number as text, a dash where there is none."""
    if value is None:
        return "-"
    return str(int(value)) if value.is_integer() else f"{value:.4g}"


def markdown_table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return rows of cells as a table of Markdown."""
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
