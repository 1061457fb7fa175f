"""The statistical tests as Markdown for a person.

Belongs here: wording and rounding. Does not belong here: any figure (`evaluation.significance`).
"""

from collections.abc import Iterable

from sensequant.evaluation.hypotheses import SignificanceReport, TestResult

__all__ = ["render_tests"]

_ANSWERS = (
    "test",
    "null",
    "estimate",
    "unit",
    "interval",
    "statistic",
    "p",
    "null rejected",
    "n",
    "n effective",
    "note",
)
_METHODS = ("test", "alternative", "source", "assumptions", "block", "lags", "seed", "inputs")


def render_tests(report: SignificanceReport) -> str:
    """Return the tests as Markdown: what was tried, what each test says, what each one assumes.

    An absent figure is shown as a dash with its reason.
    """
    parts = [
        "# Statistical tests",
        _scope(report),
        "## Answers",
        _table(
            _ANSWERS,
            (_answer(test) for test in report.tests),
        ),
        "## Method of each test",
        _table(
            _METHODS,
            (_method(test) for test in report.tests),
        ),
    ]
    if report.not_done_yet:
        parts += ["## Not done yet", "\n".join(f"- {text}" for text in report.not_done_yet)]
    return "\n\n".join(parts) + "\n"


def _scope(report: SignificanceReport) -> str:
    trials = report.trials
    text = (
        f"{report.n_sessions} sessions of net returns ({report.n_benchmark_sessions} with the "
        f"benchmark), {report.first_session or '-'} to {report.last_session or '-'}. Trials of "
        f"these data in the ledger: {trials.n_trials}, of which {trials.n_contenders} were scored "
        f"out of sample, {trials.n_unscored} learnt and were never scored, {trials.n_tuned} are "
        "settings that searches tried."
    )
    warnings = (f"**The ledger of trials was altered: {problem}.**" for problem in trials.problems)
    return "\n\n".join([text, *warnings])


def _answer(test: TestResult) -> tuple[str, ...]:
    answers = {None: "-", True: "yes", False: "no"}
    return (
        test.name,
        test.null or "(an estimate)",
        _number(test.estimate),
        test.unit or "",
        _interval(test),
        _number(test.statistic),
        _number(test.p_value),
        answers[test.rejects_null],
        str(test.n),
        _number(test.n_effective),
        test.reason or ("" if test.lower is not None else test.no_interval) or "",
    )


def _method(test: TestResult) -> tuple[str, ...]:
    inputs = ", ".join(f"{name} {_number(value)}" for name, value in test.inputs.items())
    whole = (test.block_sessions, test.lags, test.seed)
    return (
        test.name,
        test.alternative or "-",
        test.source,
        test.assumptions,
        *("-" if value is None else str(value) for value in whole),
        inputs or "-",
    )


def _interval(test: TestResult) -> str:
    if test.lower is None or test.upper is None:
        return "-"
    return f"[{_number(test.lower)}, {_number(test.upper)}]"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return str(int(value)) if float(value).is_integer() else f"{value:.4g}"


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
