"""Stage 1: bars from a source into the store, and from the store into this run.

Belongs here: which symbols a request means, what one chunk brings, which bars the run stands on,
its windows and its benchmark. Does not belong here: how a source delivers (`market.sources`), how
bars are checked, stored and adjusted (`market`).
"""

from collections.abc import Sequence
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path

import polars as pl
from pydantic import Field

from sensequant.errors import MissingBarsError
from sensequant.market.adjustments import adjust_bars
from sensequant.market.bars import DAILY, bars_digest
from sensequant.market.quality import QUARANTINE_SCHEMA
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.base import BarSource, Chunk
from sensequant.market.sources.build import SourceConfig, build_source
from sensequant.market.symbols import NIFTY50, NIFTY50_TRI, is_index
from sensequant.market.universes import ALL, load_universe
from sensequant.records import Outcome, Record, digest_of
from sensequant.runs import UnitRecord
from sensequant.stages.context import Findings, Run, WindowPlan
from sensequant.storage import read_json, read_table, sha256_of, write_json, write_table
from sensequant.windows import plan_windows

__all__ = [
    "NOT_DONE_YET",
    "SymbolData",
    "fetch_chunk",
    "freeze_bars",
    "plan_chunks",
    "requested_symbols",
    "settle",
]

NOT_DONE_YET = [
    "Bars come from files or the simulated market; the Breeze source is not there yet.",
    "Daily bars only; 30, 5 and 1 minute bars are not ingested.",
    "Demergers have no price ratio: labels that span one are left out instead.",
]


class SymbolData(Record):
    """The bars of one symbol on which a run stands."""

    symbol: str
    source: str
    is_simulated: bool
    n_bars: int = Field(ge=1)
    first_session: date
    last_session: date
    n_expected: int = Field(ge=0)
    n_present: int = Field(ge=0)
    n_unexplained_gaps: int = Field(ge=0)
    bars_digest: str


def source_of(config: SourceConfig) -> BarSource:
    """Return the source that a configuration names; built once, because it lists its files."""
    folder = config.folder
    listed_at = folder.stat().st_mtime_ns if folder is not None and folder.is_dir() else 0
    return _source_of(config.model_dump_json(), listed_at)


def plan_chunks(run: Run, *, universes: Path) -> list[Chunk]:
    """Return what must be fetched for the request, indices included.

    With `skip_fetch` nothing is asked of the source: the stored indices stand for its own, and a
    symbol of which no bar is stored is found out by `fetch_chunk`.

    Parameters
    ----------
    run
        The run.
    universes
        Folder of the dated lists of symbols.

    Raises
    ------
    ConfigError
        A named symbol is not in the source, or the universe is unknown.
    """
    symbols = requested_symbols(run, universes=universes)
    if run.record.options.skip_fetch:
        indices = [symbol for symbol in run.store.symbols(DAILY) if is_index(symbol)]
        return [Chunk(symbol) for symbol in (*dict.fromkeys(symbols), *indices)]
    source = source_of(run.request.source)
    known = set(source.symbols())
    if run.request.universe is None:
        return source.plan(symbols, run.request.start, run.request.end)
    # A member that the source does not have is a finding about the data, not a wrong request.
    absent = [Chunk(symbol) for symbol in symbols if symbol not in known]
    present = [symbol for symbol in symbols if symbol in known]
    return [*source.plan(present, run.request.start, run.request.end), *absent]


def requested_symbols(run: Run, *, universes: Path) -> tuple[str, ...]:
    """Return the symbols that the request means, membership as of its start."""
    request = run.request
    if request.universe is not None and request.universe != ALL:
        return load_universe(request.universe, folder=universes, as_of=request.start)
    if request.named_symbols is not None:
        return request.named_symbols
    if run.record.options.skip_fetch:
        return tuple(symbol for symbol in run.store.symbols(DAILY) if not is_index(symbol))
    return source_of(request.source).symbols()


def fetch_chunk(run: Run, chunk: Chunk, *, fetched_at: datetime) -> UnitRecord:
    """Fetch one chunk into the store; with `skip_fetch`, only make sure that bars are stored.

    Raises
    ------
    DataError
        There is no usable bar.
    """
    if run.record.options.skip_fetch:
        stored = run.store.read(chunk.symbol, interval=DAILY)
        return _chunk_record(chunk, counts={"n_bars": stored.height})
    source = source_of(run.request.source)
    if chunk.symbol not in source.symbols() and not is_index(chunk.symbol):
        raise MissingBarsError(
            "symbol is not in the source",
            where=source.name,
            expected=f"a member of universe {run.request.universe}",
            found=chunk.symbol,
            remedy="the run goes on without it",
        )
    fetched = source.fetch(chunk)
    written = run.store.write(fetched.bars, interval=DAILY, fetched_at=fetched_at)
    # What was refused when the run was ingested before may be right by now.
    _quarantine_of(run, chunk.symbol).unlink(missing_ok=True)
    if not fetched.quarantine.is_empty():
        write_table(_quarantine_of(run, chunk.symbol), fetched.quarantine)
    counts = {
        "n_bars": fetched.bars.height,
        "n_added": written.n_added,
        "n_changed": written.n_changed,
        "n_unchanged": written.n_unchanged,
        "n_quarantined": fetched.report.n_rows_quarantined,
        "n_duplicates_dropped": fetched.report.n_duplicates_dropped,
    }
    return _chunk_record(chunk, counts=counts)


def store_actions(run: Run) -> None:
    """Bring the source's corporate actions into the store."""
    if not run.record.options.skip_fetch:
        actions = source_of(run.request.source).actions()
        if not actions.is_empty():
            run.store.write_actions(actions)


def freeze_bars(run: Run, symbol: str) -> UnitRecord:
    """Adjust one symbol's stored bars and keep them in the run, whatever the store gets later."""
    stored = run.store.read(symbol, interval=DAILY)
    calendar = nse_calendar()
    adjusted = adjust_bars(stored, run.store.actions(), calendar)
    first, last = stored["session"][0], stored["session"][-1]
    start, end = max(run.request.start, first), min(run.request.end, last)
    data = SymbolData(
        symbol=symbol,
        source=", ".join(sorted(stored["source"].unique())),
        is_simulated=bool(stored["is_simulated"].any()),
        n_bars=stored.height,
        first_session=first,
        last_session=last,
        n_expected=len(calendar.sessions(start, end)) if start <= end else 0,
        n_present=stored.filter(pl.col("session").is_between(start, end)).height,
        n_unexplained_gaps=int(adjusted["is_unexplained_gap"].sum()),
        bars_digest=bars_digest(stored),
    )
    write_table(run.folder.bars(symbol), adjusted)
    write_json(_facts_of(run, symbol), data)
    return UnitRecord(
        kind="bars",
        name=f"bars {symbol}",
        symbol=symbol,
        outcome=Outcome.SUCCESS,
        counts={"n_bars": data.n_bars, "n_unexplained_gaps": data.n_unexplained_gaps},
        path=run.folder.bars(symbol).relative_to(run.folder.root).as_posix(),
        sha256=sha256_of(run.folder.bars(symbol)),
        seconds=0.0,
    )


def settle(run: Run, symbols: Sequence[str]) -> Findings:
    """Write down the run's data, windows, quarantine and benchmark.

    Parameters
    ----------
    run
        The run.
    symbols
        Those whose bars are frozen, indices included.

    Raises
    ------
    MissingBarsError
        No symbol has a bar in the requested range.
    """
    facts = [
        SymbolData.model_validate(read_json(_facts_of(run, symbol))) for symbol in sorted(symbols)
    ]
    stocks = [fact for fact in facts if not is_index(fact.symbol)]
    if not any(fact.n_present for fact in stocks):
        raise MissingBarsError(
            "no bars in the requested range",
            where=run.request.title,
            expected=f"sessions from {run.request.start} to {run.request.end}",
            found=_range_of(stocks),
            remedy="choose a range inside the data, or another source",
        )
    write_table(run.folder.data, pl.DataFrame([fact.model_dump() for fact in stocks]))
    _write_quarantine(run)
    n_windows = _write_windows(run, stocks)
    benchmark = _write_benchmark(run, facts)
    n_expected, n_present = (sum(getattr(f, name) for f in stocks) for name in _COVERAGE)
    return Findings(
        values={
            "n_symbols": len(stocks),
            "n_bars": sum(fact.n_bars for fact in stocks),
            "n_windows_planned": n_windows,
            "coverage_frac": n_present / n_expected if n_expected else None,
            "n_quarantined": read_table(run.folder.quarantine).height,
            "n_unexplained_gaps": sum(fact.n_unexplained_gaps for fact in stocks),
            "benchmark": benchmark,
            "is_simulated": any(fact.is_simulated for fact in stocks),
            "data_digest": digest_of([fact.bars_digest for fact in facts]),
        },
        not_done_yet=NOT_DONE_YET,
    )


_COVERAGE = ("n_expected", "n_present")


@lru_cache(maxsize=4)
def _source_of(config: str, _listed_at: int) -> BarSource:
    return build_source(SourceConfig.model_validate_json(config))


def _chunk_record(chunk: Chunk, *, counts: dict[str, int]) -> UnitRecord:
    return UnitRecord(
        kind="chunk",
        name=f"chunk {chunk.symbol}",
        symbol=chunk.symbol,
        outcome=Outcome.SUCCESS,
        counts=counts,
        seconds=0.0,
    )


def _facts_of(run: Run, symbol: str) -> Path:
    return run.folder.bars(symbol).with_suffix(".json")


def _quarantine_of(run: Run, symbol: str) -> Path:
    return run.folder.quarantine.with_name("quarantine") / f"{symbol}.parquet"


def _range_of(facts: list[SymbolData]) -> str:
    if not facts:
        return "no symbol with bars"
    first = min(fact.first_session for fact in facts)
    return f"bars from {first} to {max(fact.last_session for fact in facts)}"


def _write_quarantine(run: Run) -> None:
    parts = sorted(run.folder.quarantine.with_name("quarantine").glob("*.parquet"))
    frames = [read_table(part) for part in parts] or [QUARANTINE_SCHEMA.to_frame()]
    write_table(run.folder.quarantine, pl.concat(frames))


def _write_windows(run: Run, facts: list[SymbolData]) -> int:
    market = (
        min(fact.first_session for fact in facts),
        max(fact.last_session for fact in facts),
    )
    planned = [
        window
        for fact in facts
        for window in plan_windows(
            fact.symbol,
            start=run.request.start,
            end=run.request.end,
            first_session=fact.first_session,
            last_session=fact.last_session,
            config=run.config.windows,
            market=market,
        )
    ]
    plan = [WindowPlan(window=each.window, skip=each.skip) for each in planned]
    write_json(run.folder.plan, [window.model_dump(mode="json") for window in plan])
    return len(planned)


def _write_benchmark(run: Run, facts: list[SymbolData]) -> str | None:
    """Keep the total return index where it covers the range, else the price index."""
    known = {fact.symbol: fact for fact in facts if is_index(fact.symbol)}
    stocks = [fact for fact in facts if not is_index(fact.symbol)]
    for symbol in (NIFTY50_TRI, NIFTY50):
        fact = known.get(symbol)
        if fact is not None and (symbol == NIFTY50 or _covers(run, fact, stocks)):
            write_table(run.folder.benchmark, read_table(run.folder.bars(symbol)))
            return symbol
    run.folder.benchmark.unlink(missing_ok=True)
    return None


def _covers(run: Run, index: SymbolData, stocks: list[SymbolData]) -> bool:
    # Where no stock has a bar, nothing is compared; a range may even reach beyond the calendar.
    start = max(run.request.start, min(fact.first_session for fact in stocks))
    end = min(run.request.end, max(fact.last_session for fact in stocks))
    calendar = nse_calendar()
    return index.first_session <= calendar.next_on_or_after(
        start
    ) and index.last_session >= calendar.previous_on_or_before(end)
