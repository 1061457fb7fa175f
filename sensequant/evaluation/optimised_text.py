"""A nested search as Markdown for a person.

Belongs here: wording and rounding. Does not belong here: any figure (`evaluation.optimised`).
"""

from sensequant.evaluation.figures import Figure
from sensequant.evaluation.optimised import OptimisationSummary
from sensequant.evaluation.search_space import Value
from sensequant.evaluation.validation_text import (
    figure_cell,
    markdown_table,
    number_text,
    performance_table,
)

__all__ = ["headline_of", "render_search", "settings_text"]

_SIMULATED = (
    "**SIMULATED**: the prices come from a market simulator. Nothing here says anything about a "
    "real share."
)


def render_search(summary: OptimisationSummary) -> str:
    """Return a search as Markdown: what it was worth, every step, what was tried."""
    parts = [
        "# Nested search of trading settings",
        *([_SIMULATED] if summary.is_simulated else []),
        headline_of(summary),
        _scope(summary),
        "## Out of sample, all steps in a chain",
        performance_table([summary.optimised, summary.default]),
        "## Optimised minus default, same sessions",
        markdown_table(
            ("figure", "unit", "difference", "n"),
            (
                (name, figure.unit, figure_cell(figure), str(figure.n))
                for name, figure in summary.differences.items()
            ),
        ),
        "## What the search promised",
        markdown_table(("figure", "value", "steps", "note"), _promises(summary)),
        "## Steps",
        _steps(summary),
    ]
    return "\n\n".join(parts) + "\n"


def headline_of(summary: OptimisationSummary) -> str:
    """Return in one sentence whether the search was worth anything out of sample."""
    figure = summary.differences["net_sharpe"]
    if summary.beats_default is None:
        return f"Nothing can be said about the search: {figure.reason}."
    if not summary.beats_default:
        return (
            "Out of sample the search is not better than the settings as given: the Sharpe ratio "
            f"differs by {figure_cell(figure)}."
        )
    better = f"Out of sample the search earned a Sharpe ratio higher by {figure_cell(figure)}"
    own = figure_cell(summary.optimised.net_sharpe)
    if summary.has_edge:
        return f"{better}; its own is above zero, {own}."
    return f"{better}, and shows no edge of its own: its ratio is {own}."


def settings_text(settings: dict[str, Value]) -> str:
    """Return settings by name as one text."""
    return ", ".join(
        f"{name} {value if isinstance(value, str) else number_text(float(value))}"
        for name, value in settings.items()
    )


def _scope(summary: OptimisationSummary) -> str:
    tried, given = summary.n_trials_of_step, settings_text(summary.defaults)
    return (
        f"Strategy `{summary.strategy}` on {summary.n_symbols} symbols, {summary.n_steps} steps, "
        f"{summary.n_sessions} sessions out of sample, {summary.first_session} to "
        f"{summary.last_session}. {tried} settings tried before each step beside the given ones "
        f"({given}), {summary.n_trials} in all; the ledger of trials counts {tried}. "
        f"Made large: {summary.settings.objective}. Intervals: {summary.settings.confidence:.0%}."
    )


def _promises(summary: OptimisationSummary) -> list[tuple[str, ...]]:
    found = summary.overfitting
    rows = {
        "in sample, mean of steps": summary.in_sample,
        "the same of the default": summary.in_sample_default,
        "in sample minus out of sample": summary.optimism,
    }
    return [
        *(
            (name, _value(figure), str(figure.n), figure.reason or "")
            for name, figure in rows.items()
        ),
        (
            "probability of overfitting, last step",
            number_text(found.estimate),
            "1",
            found.reason or found.no_interval or "",
        ),
    ]


def _value(figure: Figure) -> str:
    return number_text(figure.value)


def _steps(summary: OptimisationSummary) -> str:
    header = ("step", "sessions", "n", "known", "taken", "in sample", "out of sample")
    return markdown_table(
        (*header, "default in sample", "default out of sample"),
        (
            (
                str(step.step.index),
                f"{step.first_session} to {step.last_session}",
                str(step.n_sessions),
                str(step.n_known_sessions),
                settings_text(step.settings) if step.chosen_trial else "as given",
                number_text(step.in_sample),
                number_text(step.out_of_sample),
                number_text(step.in_sample_default),
                number_text(step.out_of_sample_default),
            )
            for step in summary.steps
        ),
    )
