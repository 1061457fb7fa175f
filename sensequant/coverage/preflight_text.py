"""The forecast of a run as Markdown, for the run's page.

Belongs here: what is said first and how tables read. Does not belong here: the forecast.
"""

from itertools import groupby

from sensequant.coverage.preflight import (
    Forecast,
    Preflight,
    SymbolForecast,
    Warn,
    WindowForecast,
)
from sensequant.reports.tables import percent, words

__all__ = ["preflight_markdown"]

_MAX_ROWS = 200
_WARNINGS = {
    Warn.LOW_COVERAGE: "low coverage",
    Warn.STALE: "last bar is old",
    Warn.DISPUTED: "disputed sessions are left out",
    Warn.PROVISIONAL: "recent sessions are not final",
    Warn.TO_FETCH: "not all of it was asked for",
    Warn.NO_BENCHMARK: "No index of NIFTY 50 is stored: the run has no benchmark.",
    Warn.NO_BARS_IN_RANGE: "No symbol has a final bar in the range: the run would fail in stage 1.",
}


def preflight_markdown(forecast: Preflight) -> str:
    """Return the forecast as Markdown: what is trained, what is skipped and why, what to fetch."""
    parts = [
        f"## Before the run: {forecast.start} to {forecast.end}",
        _lead(forecast),
        *(_WARNINGS[warn] for warn in forecast.warnings),
        _by_reason(forecast),
        _symbols(forecast),
        _windows(forecast),
        _commands(forecast),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _lead(forecast: Preflight) -> str:
    kinds = {kind: sum(one.forecast is kind for one in forecast.symbols) for kind in Forecast}
    benchmark = forecast.benchmark or "none"
    return (
        f"**{forecast.n_trained} of {len(forecast.windows)} windows will be trained.** "
        f"Of {len(forecast.symbols)} symbols {kinds[Forecast.READY]} are ready, "
        f"{kinds[Forecast.PARTLY]} are trained in part, {kinds[Forecast.SKIPPED]} are skipped. "
        f"Benchmark: {benchmark}."
    )


def _by_reason(forecast: Preflight) -> str:
    rows = [(words(reason), str(n)) for reason, n in forecast.skips.items()]
    return _table("### Windows that will be skipped", ("Reason", "Windows"), rows)


def _symbols(forecast: Preflight) -> str:
    rows = [_symbol_row(one) for one in forecast.symbols if _is_remarkable(one)]
    columns = ("Symbol", "Forecast", "Windows trained", "Coverage", "First bar", "Last bar", "Why")
    return _table("### Symbols to know about", columns, rows)


def _is_remarkable(one: SymbolForecast) -> bool:
    return one.forecast is not Forecast.READY or bool(one.warnings)


def _symbol_row(one: SymbolForecast) -> tuple[str, ...]:
    skips = [f"{words(reason)} {n}" for reason, n in one.skips.items()]
    why = [*skips, *(_WARNINGS[warn] for warn in one.warnings)]
    return (
        one.symbol,
        one.forecast.value,
        f"{one.n_trained} of {one.n_windows}",
        "n/a" if one.coverage_frac is None else percent(one.coverage_frac),
        str(one.first_bar or "none"),
        str(one.last_bar or "none"),
        ", ".join(why),
    )


def _windows(forecast: Preflight) -> str:
    skipped = [window for window in forecast.windows if window.reason is not None]
    runs = groupby(skipped, key=lambda window: (window.symbol, window.reason))
    rows = [_window_row(list(run)) for _, run in runs]
    columns = ("Symbol", "From", "To", "Windows", "Reason", "Bars", "Sessions to fetch")
    return _table("### Skipped windows", columns, rows)


def _window_row(run: list[WindowForecast]) -> tuple[str, ...]:
    return (
        run[0].symbol,
        str(run[0].start),
        str(run[-1].end),
        str(len(run)),
        words(run[0].reason),
        str(sum(window.n_bars for window in run)),
        str(sum(window.n_missing_local for window in run)),
    )


def _commands(forecast: Preflight) -> str:
    if not forecast.commands:
        return ""
    lines = "\n".join(forecast.commands)
    return f"### To fetch what is missing here\n\n```\n{lines}\n```"


def _table(heading: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    if not rows:
        return ""
    lines = [columns, tuple("---" for _ in columns), *rows[:_MAX_ROWS]]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    more = len(rows) - _MAX_ROWS
    return f"{heading}\n\n{table}" + (f"\n\nand {more} further rows" if more > 0 else "")
