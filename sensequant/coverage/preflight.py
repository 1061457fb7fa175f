"""Before a run: which symbols and windows it will skip, and why.

Belongs here: the forecast of stages 1 and 2 from the stored bars. Does not belong here: the rules
by which windows are skipped; they are those of the stages (`windows`, `labels`, `features`,
`splits`), called in the same order on the same bars, so that forecast and run agree.

A forecast speaks of the bars that are stored and final now. What an ingestion would still fetch can
change it; such symbols and windows say so. Students need a later window of their symbol, which the
forecast leaves to stage 3.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

import numpy as np
import polars as pl
from pydantic import Field

from sensequant.coverage.audit import CoverageAudit
from sensequant.coverage.states import State
from sensequant.coverage.summary import ingest_commands
from sensequant.errors import MissingBarsError
from sensequant.features.context import MarketContext
from sensequant.features.registry import model_columns
from sensequant.histories import History, context_from_store, listings_of, read_histories
from sensequant.market.intervals import DAILY
from sensequant.market.sessions import SessionCalendar
from sensequant.market.store import BarStore
from sensequant.market.symbols import NIFTY50, NIFTY50_TRI, is_index
from sensequant.records import Config, Finite, Record, SkipReason
from sensequant.rows import build_rows
from sensequant.settings import TrainingConfig
from sensequant.splits import split_validation
from sensequant.windows import (
    POOLED,
    PlannedWindow,
    count_funnel,
    feature_rows,
    funnel_skip,
    plan_windows,
    slice_window,
)

__all__ = [
    "Forecast",
    "Preflight",
    "PreflightConfig",
    "Question",
    "SymbolForecast",
    "Warn",
    "WindowForecast",
    "preflight",
]


class PreflightConfig(Config):
    """When a symbol that can be trained is worth a warning."""

    min_coverage_frac: float = Field(
        default=0.95,
        ge=0.0,
        le=1.0,
        description="Share of expected sessions that are ok, as a fraction, below which a symbol "
        "is warned of.",
    )
    max_stale_sessions: int = Field(
        default=10,
        ge=0,
        le=1000,
        description="Sessions that may lie between a symbol's last final bar and the end of the "
        "audited range before it is warned of.",
    )


class Forecast(StrEnum):
    """What becomes of a symbol."""

    READY = "ready"
    """Every window is trained."""

    PARTLY = "partly"
    """Some windows are trained."""

    SKIPPED = "skipped"
    """No window is trained."""


class Warn(StrEnum):
    """What a person should know of a symbol or run although nothing is skipped for it."""

    LOW_COVERAGE = "low_coverage"
    STALE = "stale"
    DISPUTED = "disputed"
    PROVISIONAL = "provisional"
    TO_FETCH = "to_fetch"
    NO_BENCHMARK = "no_benchmark"
    NO_BARS_IN_RANGE = "no_bars_in_range"


@dataclass(frozen=True, slots=True)
class Question:
    """What a run would be asked: symbols (indices are found in the store), range, method."""

    symbols: tuple[str, ...]
    start: date
    end: date
    config: TrainingConfig


class WindowForecast(Record):
    """One planned window. `reason` is null where it will be trained.

    `n_missing_local` counts its sessions that an ingestion would still ask for.
    """

    symbol: str
    start: date
    end: date
    reason: SkipReason | None
    n_bars: int = Field(ge=0)
    n_labelled: int = Field(ge=0)
    n_missing_local: int = Field(ge=0)


class SymbolForecast(Record):
    """One symbol. `reason` says why it has no usable bars at all, null where it has."""

    symbol: str
    forecast: Forecast
    reason: SkipReason | None
    first_bar: date | None
    last_bar: date | None
    n_windows: int
    n_trained: int
    skips: dict[str, int]
    coverage_frac: Finite | None
    n_missing_local: int
    warnings: tuple[Warn, ...]


class Preflight(Record):
    """The forecast of a run.

    `benchmark` is the index that the run will compare with, null without any; `commands` fetch what
    is missing here.
    """

    start: date
    end: date
    symbols: tuple[SymbolForecast, ...]
    windows: tuple[WindowForecast, ...]
    skips: dict[str, int]
    benchmark: str | None
    warnings: tuple[Warn, ...]
    commands: tuple[str, ...]

    @property
    def n_trained(self) -> int:
        """Windows that will be trained."""
        return sum(window.reason is None for window in self.windows)

    @property
    def is_possible(self) -> bool:
        """Whether any window will be trained."""
        return self.n_trained > 0


def preflight(
    question: Question,
    store: BarStore,
    audit: CoverageAudit,
    *,
    calendar: SessionCalendar,
    limits: PreflightConfig | None = None,
    source_options: str = "",
    context: MarketContext | None = None,
) -> Preflight:
    """Forecast what stages 1 and 2 of a run will do with the stored bars.

    Parameters
    ----------
    question
        Symbols, range and method.
    store
        The bars; only final ones that nobody disputes are read.
    audit
        Coverage of daily bars of the same symbols over the same range.
    calendar
        The NSE calendar.
    limits
        When to warn; None: the defaults.
    source_options
        How the source is named on a command line, for what is left to fetch.
    context
        The market around the symbols; None: what the store of bars knows of it.

    Raises
    ------
    RecordError
        A stored file is damaged.
    """
    stocks = tuple(dict.fromkeys(symbol for symbol in question.symbols if not is_index(symbol)))
    histories = read_histories(store, stocks, calendar)
    ends = [history.ends for history in histories.values() if history.ends is not None]
    missing = _missing_sessions(audit)
    around = context or _context_of(histories, store, calendar)
    rows = _rows_of(histories, question, around, calendar)
    windows = [
        _window_forecast(each, rows, history, question.config, missing.get(symbol, []))
        for symbol, history in histories.items()
        for each in _planned(symbol, history, question, _market_of(ends))
    ]
    symbols = tuple(
        _symbol_forecast(
            symbol,
            histories[symbol],
            [window for window in windows if window.symbol == symbol],
            audit,
            limits=limits or PreflightConfig(),
        )
        for symbol in stocks
    )
    benchmark = _benchmark_of(store, ends, question, calendar)
    is_within = any(first <= question.end and last >= question.start for first, last in ends)
    warnings = [] if is_within else [Warn.NO_BARS_IN_RANGE]
    warnings += [Warn.NO_BENCHMARK] if benchmark is None else []
    return Preflight(
        start=question.start,
        end=question.end,
        symbols=symbols,
        windows=tuple(windows),
        skips=_counted(window.reason for window in windows),
        benchmark=benchmark,
        warnings=tuple(warnings),
        commands=ingest_commands(audit.gaps, source_options=source_options),
    )


def _market_of(ends: Sequence[tuple[date, date]]) -> tuple[date, date] | None:
    if not ends:
        return None
    return min(first for first, _ in ends), max(last for _, last in ends)


def _planned(
    symbol: str, history: History, question: Question, market: tuple[date, date] | None
) -> list[PlannedWindow]:
    first, last = history.ends or (None, None)
    return plan_windows(
        symbol,
        start=question.start,
        end=question.end,
        first_session=first,
        last_session=last,
        config=question.config.windows,
        market=market,
    )


def _context_of(
    histories: Mapping[str, History], store: BarStore, calendar: SessionCalendar
) -> MarketContext:
    firsts = {symbol: each.ends[0] for symbol, each in histories.items() if each.ends is not None}
    return context_from_store(store, calendar, listings=listings_of(firsts))


def _rows_of(
    histories: Mapping[str, History],
    question: Question,
    context: MarketContext,
    calendar: SessionCalendar,
) -> dict[str, pl.DataFrame]:
    """Return features and labels by symbol; all at once, because ranks compare symbols."""
    tables = [history.bars for _, history in sorted(histories.items()) if history.bars is not None]
    if not tables:
        return {}
    config, bars = question.config, pl.concat(tables)
    rows = build_rows(bars, config, context, calendar=calendar, start=question.start)
    return {str(part["symbol"][0]): part for part in rows.partition_by("symbol")}


def _window_forecast(
    planned: PlannedWindow,
    rows: Mapping[str, pl.DataFrame],
    history: History,
    config: TrainingConfig,
    missing: Sequence[date],
) -> WindowForecast:
    window = planned.window
    reason, n_bars, n_labelled = history.reason or planned.skip, 0, 0
    if window.symbol in rows:
        columns = model_columns(config.features)
        own = slice_window(rows[window.symbol], window)
        with_features = feature_rows(own, columns)
        funnel = count_funnel(own, with_features)
        n_bars, n_labelled = funnel.n_bars, funnel.n_labelled
        labelled = with_features.drop_nulls("label")
        reason = reason or funnel_skip(funnel, config.windows)
        if config.teacher.scope == POOLED:
            # A teacher of all symbols takes whatever rows a symbol has.
            reason = None if labelled.height else reason
        else:
            reason = reason or _why_untrainable(labelled, config)
    return WindowForecast(
        symbol=window.symbol,
        start=window.start,
        end=window.end,
        reason=reason,
        n_bars=n_bars,
        n_labelled=n_labelled,
        n_missing_local=sum(window.start <= session <= window.end for session in missing),
    )


def _why_untrainable(labelled: pl.DataFrame, config: TrainingConfig) -> SkipReason | None:
    """Return why a teacher refuses these rows (`teacher.train_teacher`), or None."""
    labels = labelled["label"].to_numpy()
    if np.unique(labels).size == 1:
        return SkipReason.ONE_CLASS
    sessions, ends = (
        labelled[name].cast(pl.Int64).to_numpy() for name in ("session_number", "label_end_number")
    )
    train = split_validation(sessions, ends, config.teacher.split).train
    if train.size < config.teacher.booster.smallest_training_part:
        return SkipReason.INSUFFICIENT_SAMPLES
    return SkipReason.ONE_CLASS if np.unique(labels[train]).size == 1 else None


def _symbol_forecast(
    symbol: str,
    history: History,
    windows: Sequence[WindowForecast],
    audit: CoverageAudit,
    *,
    limits: PreflightConfig,
) -> SymbolForecast:
    own = audit.symbols.filter(pl.col("symbol") == symbol, pl.col("interval") == DAILY)
    counts = own.row(0, named=True) if own.height else {}
    n_trained = sum(window.reason is None for window in windows)
    forecast = Forecast.READY if n_trained == len(windows) else Forecast.PARTLY
    first, last = history.ends or (None, None)
    return SymbolForecast(
        symbol=symbol,
        forecast=forecast if n_trained else Forecast.SKIPPED,
        reason=history.reason,
        first_bar=first,
        last_bar=last,
        n_windows=len(windows),
        n_trained=n_trained,
        skips=_counted(window.reason for window in windows),
        coverage_frac=counts.get("coverage_frac"),
        n_missing_local=counts.get("n_missing_local", 0),
        warnings=_warnings(counts, last, audit, limits=limits),
    )


def _warnings(
    counts: Mapping[str, float | None],
    last: date | None,
    audit: CoverageAudit,
    *,
    limits: PreflightConfig,
) -> tuple[Warn, ...]:
    coverage = counts.get("coverage_frac")
    sessions = audit.sessions["session"].unique()
    n_stale = 0 if last is None else int((sessions > last).sum())
    found = {
        Warn.LOW_COVERAGE: coverage is not None and coverage < limits.min_coverage_frac,
        Warn.STALE: n_stale > limits.max_stale_sessions,
        Warn.DISPUTED: bool(counts.get("n_disputed")),
        Warn.PROVISIONAL: bool(counts.get("n_pending")),
        Warn.TO_FETCH: bool(counts.get("n_missing_local")),
    }
    return tuple(warn for warn, is_found in found.items() if is_found)


def _missing_sessions(audit: CoverageAudit) -> dict[str, list[date]]:
    rows = audit.sessions.filter(
        pl.col("state") == State.MISSING_LOCAL.value, pl.col("interval") == DAILY
    )
    return dict(rows.group_by("symbol").agg("session").iter_rows())


def _benchmark_of(
    store: BarStore,
    ends: Sequence[tuple[date, date]],
    question: Question,
    calendar: SessionCalendar,
) -> str | None:
    """Return the total return index where it covers the range, else the price index."""
    market = _market_of(ends)
    for symbol in (NIFTY50_TRI, NIFTY50):
        try:
            bars = store.read(symbol, interval=DAILY, final_only=True)
        except MissingBarsError:
            continue
        if bars.is_empty():
            continue
        if symbol == NIFTY50 or market is None:
            return symbol
        start = calendar.next_on_or_after(max(question.start, market[0]))
        end = calendar.previous_on_or_before(min(question.end, market[1]))
        if bars["session"][0] <= start and bars["session"][-1] >= end:
            return symbol
    return None


def _counted(reasons: Iterable[SkipReason | None]) -> dict[str, int]:
    counts = Counter(reason.value for reason in reasons if reason is not None)
    return dict(sorted(counts.items()))
