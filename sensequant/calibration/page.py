"""A calibration as a page of Markdown for a person.

Belongs here: wording and rounding. Does not belong here: any figure (`calibration.summary`).
"""

from collections.abc import Iterable, Sequence

from sensequant.calibration.request import CalibrationRequest
from sensequant.calibration.summary import CalibrationSummary, Earned, Judged, Rate
from sensequant.evaluation.figures import Figure

__all__ = ["CHART_NAME", "render_calibration"]

CHART_NAME = "power.svg"

_ABOUT_GATES = (
    "What each gate said of these worlds; `alone` counts those in which no other gate stood in "
    "the way of an approval."
)
_ABOUT_EARNINGS = (
    "The same worlds by the yearly net Sharpe ratio that the oracle earned in the world itself, "
    "luck included:"
)
_ANSWERS = {True: "holds", False: "**does not hold**", None: "not decided"}


def render_calibration(summary: CalibrationSummary) -> str:
    """Return the page: what was asked, what is demanded, false approvals, power, gates."""
    parts = [
        "# Calibration of the verdict",
        "**SIMULATED: every figure on this page is about invented markets whose truth is known.**",
        _scope(summary),
        "## What is demanded",
        _table(
            ("demand", "answer", "found"),
            ((one.demand, _ANSWERS[one.holds], one.found) for one in summary.answers),
        ),
        "## Nothing to find",
        _verdicts([summary.walks]),
        _ABOUT_GATES,
        _gates(summary.walks),
    ]
    if summary.levels:
        parts += [
            "## Something to find",
            f"![Power by the oracle's Sharpe ratio]({CHART_NAME})",
            _verdicts(summary.levels),
            "Which gates stood in the way:",
            _obstacles(summary.levels),
            _ABOUT_EARNINGS,
            _table(
                ("oracle earned", "worlds", "approve", "interval"),
                (
                    (
                        _range(one),
                        str(one.approved.n),
                        f"{one.approved.count} ({_share(one.approved)})",
                        _interval(one.approved),
                    )
                    for one in summary.earned
                ),
            ),
        ]
    return "\n\n".join(parts) + "\n"


def _scope(summary: CalibrationSummary) -> str:
    request = summary.request
    missing = summary.n_asked - summary.n_judged
    done = f"{summary.n_judged} of {summary.n_asked} worlds are judged"
    rest = f"; {missing} are missing: run the same command again" if missing else ""
    codes = ", ".join(code[:12] for code in summary.code_versions) or "none"
    return (
        f"{done}{rest}. Each holds {request.n_symbols} stocks; the run's range is {request.start} "
        f"to {request.end}. {_law(request)} Intervals of rates: Clopper and Pearson, "
        f"{summary.confidence:.0%}, two-sided. Seed {request.seed}, code {codes}."
    )


def _law(request: CalibrationRequest) -> str:
    walk = request.walk
    freedom = walk.tail_degrees_of_freedom
    tails = "normal" if freedom is None else f"Student's t with {freedom:g} degrees of freedom"
    return (
        f"Returns: {tails}, GARCH({walk.garch_reaction_frac:g}, {walk.garch_memory_frac:g}), "
        f"{walk.market_correlation:.0%} of the variance in common, volatility "
        f"{walk.annual_volatility_frac:.0%} a year (spread {walk.volatility_dispersion:g}), drift "
        f"{walk.annual_drift_frac:.0%} a year."
    )


def _verdicts(rows: Sequence[Judged]) -> str:
    return _table(
        (
            "oracle's Sharpe ratio",
            "edge, bps a session",
            "worlds",
            "approve",
            "interval",
            "reject",
            "not enough evidence",
            "oracle in these worlds",
            "students' Sharpe ratio",
            "AUC",
        ),
        (
            (
                "none" if row.oracle_sharpe_asked is None else f"{row.oracle_sharpe_asked:g}",
                "-" if row.edge_bps is None else f"{row.edge_bps:g}",
                str(row.approved.n),
                f"{row.approved.count} ({_share(row.approved)})",
                _interval(row.approved),
                f"{row.rejected.count} ({_share(row.rejected)})",
                f"{row.not_enough_evidence.count} ({_share(row.not_enough_evidence)})",
                _estimate(row.oracle_sharpe, 2),
                _estimate(row.net_sharpe, 2),
                _estimate(row.auc, 3),
            )
            for row in rows
        ),
    )


def _gates(row: Judged) -> str:
    return _table(
        ("gate", "pass", "interval", "fail", "undetermined", "alone"),
        (
            (
                f"`{gate.name}`",
                f"{gate.passes.count} ({_share(gate.passes)})",
                _interval(gate.passes),
                f"{gate.fails.count} ({_share(gate.fails)})",
                f"{gate.undetermined.count} ({_share(gate.undetermined)})",
                str(gate.alone.count),
            )
            for gate in row.gates
        ),
    )


def _obstacles(rows: Sequence[Judged]) -> str:
    names = [gate.name for gate in next((row.gates for row in rows if row.gates), ())]
    found = [
        {gate.name: gate.fails.count + gate.undetermined.count for gate in row.gates}
        for row in rows
    ]
    return _table(
        ("oracle's Sharpe ratio", *(f"`{name}`" for name in names)),
        (
            (f"{row.oracle_sharpe_asked:g}", *(str(counts.get(name, 0)) for name in names))
            for row, counts in zip(rows, found, strict=True)
        ),
    )


def _range(one: Earned) -> str:
    if one.at_least is None:
        return f"less than {one.below:g}"
    return (
        f"{one.at_least:g} and more" if one.below is None else f"{one.at_least:g} to {one.below:g}"
    )


def _share(found: Rate) -> str:
    return "-" if found.value is None else f"{found.value:.1%}"


def _interval(found: Rate) -> str:
    if found.lower is None or found.upper is None:
        return "-"
    return f"{found.lower:.1%} to {found.upper:.1%}"


def _estimate(figure: Figure, digits: int) -> str:
    if figure.value is None:
        return "-"
    text = f"{figure.value:.{digits}f}"
    if figure.lower is None or figure.upper is None:
        return text
    return f"{text} [{figure.lower:.{digits}f}, {figure.upper:.{digits}f}]"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [" | ".join(header), "|".join("---" for _ in header)]
    lines += [" | ".join(row) for row in rows]
    return "\n".join(f"|{line}|" if set(line) <= {"-", "|"} else f"| {line} |" for line in lines)
