"""The validation summary as Markdown for a person.

Belongs here: wording and rounding. Does not belong here: any figure (`evaluation.validation`).
"""

from collections.abc import Iterable

from pydantic import BaseModel

from sensequant.evaluation.figures import Figure
from sensequant.evaluation.validation import ValidationSummary

__all__ = ["render_markdown"]


def render_markdown(summary: ValidationSummary) -> str:
    """Return the summary as Markdown: scope, scores, three portfolios side by side, gaps.

    An absent figure is shown as a dash with its reason, an interval in brackets.
    """
    parts = [
        "# Validation out of sample",
        _scope(summary),
        "## Scores against labels",
        _table(
            ("figure", "value", "interval", "n", "unit", "note"),
            (_figure_row(name, figure) for name, figure in _figures(summary.classification)),
        ),
        _confusion(summary),
        "## Portfolios",
        _portfolios(summary),
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
    return _table(
        ("", "label 1", "label 0"),
        (
            ("bought", str(summary.n_true_positive), str(summary.n_false_positive)),
            ("not bought", str(summary.n_false_negative), str(summary.n_true_negative)),
        ),
    )


def _portfolios(summary: ValidationSummary) -> str:
    columns = [summary.strategy, summary.universe, summary.nifty50]
    rows = (
        (name, figure.unit, *(_cell(dict(_figures(column))[name]) for column in columns))
        for name, figure in _figures(summary.strategy)
    )
    return _table(("figure", "unit", *(column.name for column in columns)), rows)


def _figures(record: BaseModel) -> list[tuple[str, Figure]]:
    return [(name, value) for name, value in record if isinstance(value, Figure)]


def _figure_row(name: str, figure: Figure) -> tuple[str, ...]:
    value, interval = _number(figure.value), _interval(figure)
    return name, value, interval, str(figure.n), figure.unit, figure.reason or ""


def _cell(figure: Figure) -> str:
    if figure.value is None:
        return f"- ({figure.reason})"
    return f"{_number(figure.value)} {_interval(figure)}".strip()


def _interval(figure: Figure) -> str:
    if figure.lower is None or figure.upper is None:
        return ""
    return f"[{_number(figure.lower)}, {_number(figure.upper)}]"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return str(int(value)) if value.is_integer() else f"{value:.4g}"


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
