"""What families of features are worth, in the briefing: a table and a chart of an ablation.

Belongs here: the part of the briefing and its chart in text. Does not belong here: any figure
(`evaluation.ablation`), any gate: an ablation is asked later than the run and is no evidence.
"""

from collections.abc import Sequence

from sensequant.evaluation.ablation import FIGURES, AblationSummary, FamilyWorth
from sensequant.evaluation.ablation_text import headline_of_families
from sensequant.evaluation.hypotheses import TestResult
from sensequant.release.briefing_model import Ablation, FamilyLine

__all__ = ["ablation_of", "interval_chart"]

_WIDTH = 41
_CHARTED = "auc"


def ablation_of(summary: AblationSummary | None, *, stale: str | None = None) -> Ablation | None:
    """Return the part of the briefing; None where no ablation was asked for.

    Parameters
    ----------
    summary
        What was found.
    stale
        Why it does not hold any more; then no figure of it is shown.
    """
    if summary is None:
        return None
    if stale is not None:
        summary = summary.model_copy(update={"families": ()})
    lines = tuple(
        _line(family, family.of(figure), is_simulated=summary.is_simulated)
        for family in summary.families
        for figure in FIGURES
    )
    return Ablation(
        is_simulated=summary.is_simulated,
        headline=headline_of_families(summary) if stale is None else f"stale: {stale}",
        is_stale=stale is not None,
        n_tests=summary.n_tests,
        confidence=summary.settings.confidence,
        lines=lines,
        chart=interval_chart([line for line in lines if line.figure == _CHARTED]),
    )


def interval_chart(lines: Sequence[FamilyLine]) -> tuple[str, ...]:
    """Draw differences with their intervals as text, one line each, zero in the middle.

    `o` is the difference, `-` its interval, `:` zero; the ends of the scale stand in the last line.
    Lines without an interval are left out; no line where none has one.
    """
    shown = [line for line in lines if None not in (line.difference, line.lower, line.upper)]
    reach = max(
        (abs(end) for line in shown for end in (line.lower, line.upper) if end is not None),
        default=0.0,
    )
    if not shown or reach == 0:
        return ()
    width = max(len(line.family) for line in shown)
    drawn = [f"{line.family:<{width}} {_drawn(line, reach)}" for line in shown]
    scale = f"{-reach:+.4f}".ljust(_WIDTH // 2) + "0" + f"{reach:+.4f}".rjust(_WIDTH // 2)
    return (*drawn, f"{'':<{width}} {scale}")


def _drawn(line: FamilyLine, reach: float) -> str:
    def place(value: float | None) -> int:
        return round((((value or 0.0) / reach) + 1) / 2 * (_WIDTH - 1))

    cells = [" "] * _WIDTH
    cells[_WIDTH // 2] = ":"
    for cell in range(place(line.lower), place(line.upper) + 1):
        cells[cell] = "-"
    cells[place(line.difference)] = "o"
    return "".join(cells)


def _line(family: FamilyWorth, test: TestResult, *, is_simulated: bool) -> FamilyLine:
    return FamilyLine(
        is_simulated=is_simulated,
        family=family.family.value,
        was_fed=family.was_fed,
        figure=test.name,
        difference=test.estimate,
        lower=test.lower,
        upper=test.upper,
        n=test.n,
        p_holm=test.inputs.get("p_holm"),
        q_value=test.inputs.get("q_value"),
        told=_told(family, test),
        reason=test.reason or test.no_interval,
    )


def _told(family: FamilyWorth, test: TestResult) -> str:
    if test.name in family.helps:
        return "better"
    return "worse" if test.name in family.harms else "no"
