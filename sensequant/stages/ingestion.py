"""Stage 1: bars from a source into the store, and from the store into this run.

Belongs here: which symbols a request means, what one chunk brings, which bars the run stands on,
its windows and its benchmark. Does not belong here: how a source delivers (`market.sources`), how
bars are checked, stored and adjusted (`market`).
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import Field

from sensequant.context.sessions import OF_CONTEXT, context_of_sessions
from sensequant.errors import MissingBarsError
from sensequant.features.registry import fed_families
from sensequant.ingestion.chunks import ingest_chunk
from sensequant.ingestion.context import IngestContext
from sensequant.ingestion.imports import stored_sectors
from sensequant.ingestion.ledger_records import ChunkOutcome
from sensequant.ingestion.planning import Asked, Known
from sensequant.ingestion.planning import plan_chunks as plan_fetches
from sensequant.ingestion.ranges import last_opened_session
from sensequant.market.adjustments import adjust_bars
from sensequant.market.bars import DAILY, bars_digest
from sensequant.market.intervals import Interval
from sensequant.market.quality import QUARANTINE_SCHEMA
from sensequant.market.selection import selected_symbols
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.base import Chunk, require_known
from sensequant.market.sources.breeze.config import BreezeConfig
from sensequant.market.symbols import NIFTY50, NIFTY50_TRI, is_index
from sensequant.records import Outcome, Record, code_version, digest_of
from sensequant.reuse import bring, remember
from sensequant.stages.context import Findings, Run, WindowPlan
from sensequant.storage import read_json, read_table, sha256_of, write_json, write_table
from sensequant.units import UnitRecord, units_of
from sensequant.windows import plan_windows

__all__ = [
    "NOT_DONE_YET",
    "SymbolData",
    "chunk_name",
    "fetch_chunk",
    "freeze_bars",
    "known_units",
    "plan_chunks",
    "remember_units",
    "requested_symbols",
    "settle",
    "write_windows",
]

NOT_DONE_YET = [
    "Models learn from daily bars; intraday bars are ingested and kept, and not used yet.",
    "The ratio of a demerger is taken from its open; labels that span one are left out.",
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


def plan_chunks(run: Run, intake: IngestContext | None, *, universes: Path) -> list[Chunk]:
    """Return what must be fetched for the request, indices included.

    Parameters
    ----------
    run
        The run.
    intake
        Source, store and ledger. None where nothing may be asked of the source (`skip_fetch`): then
        the stored indices stand for its own, and a symbol of which no bar is stored is found out by
        `fetch_chunk`.
    universes
        Folder of the dated lists of symbols.

    Raises
    ------
    ConfigError
        A named symbol is not in the source, or the universe is unknown.
    """
    symbols = requested_symbols(run, intake, universes=universes)
    if intake is None:
        indices = [symbol for symbol in run.store.symbols(DAILY) if is_index(symbol)]
        return [Chunk(symbol) for symbol in (*dict.fromkeys(symbols), *indices)]
    source = intake.source
    if run.request.named_symbols is not None:
        place = str(run.request.source.folder or source.name)
        for symbol in symbols:
            require_known(symbol, source.symbols(), source=place)
    wanted = tuple(dict.fromkeys((*symbols, *source.indices())))
    if source.sessions_per_chunk(DAILY) is None:
        return [Chunk(symbol) for symbol in wanted]
    now = intake.clock()
    first, last = first_date_of(run), last_opened_session(intake.calendar, now)
    plan = plan_fetches(
        source,
        Asked(wanted, (DAILY,), first, last),
        calendar=intake.calendar,
        now=now,
        known=Known(intake.covered, _nothing_final),
    )
    # What the ledger has covered needs no call; it is a chunk all the same, so that its bars count.
    planned = {chunk.symbol for chunk in plan.chunks}
    covered = [Chunk(symbol, DAILY, first, last) for symbol in wanted if symbol not in planned]
    return [*plan.chunks, *covered]


def first_date_of(run: Run) -> date:
    """Return the first date to ask a vendor for: that of its settings, or the run's if earlier."""
    breeze = run.request.source.breeze or BreezeConfig()
    return max(min(breeze.history_start, run.request.start), nse_calendar().first)


def requested_symbols(
    run: Run, intake: IngestContext | None, *, universes: Path
) -> tuple[str, ...]:
    """Return the symbols that the request means, membership as of its start."""

    def available() -> tuple[str, ...]:
        if intake is not None:
            return intake.source.symbols()
        return tuple(symbol for symbol in run.store.symbols(DAILY) if not is_index(symbol))

    return selected_symbols(
        run.request, universes=universes, as_of=run.request.start, available=available
    )


def fetch_chunk(run: Run, chunk: Chunk, intake: IngestContext | None) -> UnitRecord:
    """Fetch one chunk into the store; without an intake, only make sure that bars are stored.

    Raises
    ------
    DataError
        There is no usable bar.
    SourceError
        The source does not deliver.
    """
    if intake is None:
        stored = run.store.read(chunk.symbol, interval=DAILY)
        return _chunk_record(chunk, outcome=Outcome.SUCCESS, counts={"n_bars": stored.height})
    result = ingest_chunk(chunk, intake)
    is_empty = result.outcome is ChunkOutcome.EMPTY
    return _chunk_record(
        chunk,
        outcome=Outcome.SKIPPED if is_empty else Outcome.SUCCESS,
        reason=result.reason if is_empty else None,
        error_message=result.error_message,
        counts={name: getattr(result, name) for name in _COUNTED},
    )


def store_actions(intake: IngestContext) -> None:
    """Bring the source's corporate actions into the store."""
    actions = intake.source.actions()
    if not actions.is_empty():
        intake.store.write_actions(actions)


def freeze_bars(run: Run, symbol: str) -> UnitRecord:
    """Adjust one symbol's stored bars and keep them in the run, whatever the store gets later."""
    stored = _final_bars(run, symbol)
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


def known_units(run: Run) -> list[UnitRecord]:
    """Return the units of an earlier attempt that brought all bars of this run; none without one.

    What the source holds is asked of it once for each run, so an attempt without a failure need
    not be repeated while its files are whole and configuration and code are the same.
    """
    made = bring(run.folder, _key_of_all(run))
    return [] if made is None else units_of(read_table(run.folder.units("chunk")))


def remember_units(run: Run) -> None:
    """Note what an attempt without a failure has brought."""
    units = units_of(read_table(run.folder.units("chunk")))
    if any(unit.outcome is Outcome.FAILED for unit in units):
        return
    symbols = [unit.symbol for unit in units if unit.kind == "bars" and unit.symbol is not None]
    files = [run.folder.units("chunk")]
    files += [
        path for symbol in symbols for path in (run.folder.bars(symbol), _facts_of(run, symbol))
    ]
    record = UnitRecord(kind="ingestion", name="bars", outcome=Outcome.SUCCESS, seconds=0.0)
    digests = {path.relative_to(run.folder.root).as_posix(): sha256_of(path) for path in files}
    remember(run.folder, _key_of_all(run), record, digests)


def _key_of_all(run: Run) -> str:
    return digest_of(
        {
            "unit": "all bars",
            "run": run.folder.root,
            "config": sha256_of(run.folder.config),
            "skip_fetch": run.record.options.skip_fetch,
            "code": code_version(),
        }
    )


def settle(run: Run, symbols: Sequence[str]) -> Findings:
    """Write down the run's data, windows, quarantine, benchmark, context and sectors.

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
    _write_quarantine(run, [fact.symbol for fact in facts])
    n_windows = write_windows(run, stocks)
    benchmark = _write_benchmark(run, facts)
    n_of_context = _write_context(run, [fact.symbol for fact in stocks])
    _write_sectors(run)
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
            **n_of_context,
        },
        not_done_yet=NOT_DONE_YET,
    )


_COVERAGE = ("n_expected", "n_present")


_COUNTED = (
    "n_bars",
    "n_added",
    "n_changed",
    "n_unchanged",
    "n_quarantined",
    "n_duplicates_dropped",
    "n_missing_sessions",
    "n_pending_sessions",
)


def _nothing_final(_symbol: str, _interval: Interval) -> None:
    # Asked for in incremental mode only; a run fills every hole.
    return None


def _final_bars(run: Run, symbol: str) -> pl.DataFrame:
    stored = run.store.read(symbol, interval=DAILY, final_only=True)
    if stored.is_empty():
        raise MissingBarsError(
            "store has no final bar of the symbol",
            where=symbol,
            expected="bars that the source will not change any more",
            found="provisional or disputed bars only",
            remedy="ingest again when they have settled, see docs/coverage.md",
        )
    return stored


def _chunk_record(chunk: Chunk, *, outcome: Outcome, **fields: Any) -> UnitRecord:
    return UnitRecord(
        kind="chunk",
        name=chunk_name(chunk),
        symbol=chunk.symbol,
        outcome=outcome,
        seconds=0.0,
        **fields,
    )


def chunk_name(chunk: Chunk) -> str:
    """Return what a person recognises a chunk by."""
    span = "" if chunk.start is None else f" {chunk.start}..{chunk.end}"
    return f"chunk {chunk.symbol}{span}"


def _facts_of(run: Run, symbol: str) -> Path:
    return run.folder.bars(symbol).with_suffix(".json")


def _range_of(facts: list[SymbolData]) -> str:
    if not facts:
        return "no symbol with bars"
    first = min(fact.first_session for fact in facts)
    return f"bars from {first} to {max(fact.last_session for fact in facts)}"


def _write_quarantine(run: Run, symbols: Sequence[str]) -> None:
    # What was refused once and delivered well since is refused no longer.
    frames = [
        run.store.quarantine(symbol, DAILY)
        .select(QUARANTINE_SCHEMA.names())
        .join(run.store.read(symbol, interval=DAILY).select("session"), on="session", how="anti")
        for symbol in symbols
    ]
    whole = pl.concat([QUARANTINE_SCHEMA.to_frame(), *frames])
    write_table(run.folder.quarantine, whole.sort(QUARANTINE_SCHEMA.names()))


def write_windows(run: Run, facts: Sequence[SymbolData]) -> int:
    """Plan the windows of symbols, write them down, and return how many there are."""
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


def _write_context(run: Run, symbols: Sequence[str]) -> dict[str, int]:
    """Keep what is known beside the bars, whatever the store gets later; count the sessions."""
    families = fed_families(run.config.features)
    frames = context_of_sessions(
        run.context_store, families, symbols=symbols, calendar=nse_calendar()
    )
    for family in OF_CONTEXT - frames.keys():
        run.folder.context(family).unlink(missing_ok=True)
    for family, frame in frames.items():
        write_table(run.folder.context(family), frame)
    return {f"n_sessions_with_{family}": frame.height for family, frame in frames.items()}


def _write_sectors(run: Run) -> None:
    sectors = stored_sectors(run.folder.home)
    if sectors is None:
        run.folder.sectors.unlink(missing_ok=True)
    else:
        write_table(run.folder.sectors, sectors)


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
