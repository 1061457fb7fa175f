"""Store and ledger as evidence."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sensequant.coverage.audit import CoverageAudit, audit_coverage
from sensequant.coverage.collect import asked_of, collect_evidence
from sensequant.coverage.evidence import AsOf
from sensequant.coverage.expected import Scope
from sensequant.ingestion.ledger_records import ChunkEntry, ChunkOutcome
from sensequant.market.crosscheck import DISPUTE_SCHEMA
from sensequant.market.quality import QUARANTINE_SCHEMA
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.base import Chunk
from sensequant.market.sources.simulated import SimulatedConfig, SimulatedSource
from sensequant.market.store import BarStore

AT = datetime(2024, 6, 1, tzinfo=UTC)
START, END = date(2024, 4, 1), date(2024, 4, 5)
SETTLED = date(2024, 5, 24)


def entry_of(**fields: Any) -> ChunkEntry:
    given: dict[str, Any] = {
        "store_key": ".",
        "source": "breeze",
        "symbol": "SIM01",
        "interval": "1day",
        "start": START,
        "end": END,
        "outcome": ChunkOutcome.STORED,
        "settled_through": END,
        "fetched_at": AT,
        "seconds": 1.0,
        **fields,
    }
    return ChunkEntry.model_validate(given)


def audited(store: BarStore, entries: list[ChunkEntry], *symbols: str) -> CoverageAudit:
    scope = Scope(symbols, ("1day",), START, END)
    evidence = collect_evidence(store, entries, scope, settled_at=lambda _: SETTLED)
    return audit_coverage(
        scope, evidence, as_of=AsOf(date(2024, 5, 31), SETTLED), calendar=nse_calendar()
    )


@pytest.fixture
def store(tmp_path: Path) -> BarStore:
    """Return a store in which SIM01 lacks the last two of five sessions."""
    store = BarStore(tmp_path)
    source = SimulatedSource(SimulatedConfig(n_symbols=3, has_events=False))
    bars = source.fetch(Chunk("SIM01", "1day", date(2024, 3, 26), date(2024, 4, 3))).bars
    store.write(bars, interval="1day", fetched_at=AT)
    return store


def test_what_the_ledger_says_decides(store: BarStore) -> None:
    """A listed absence is the source's, the other one was lost, a foreign entry is ignored."""
    entries = [
        entry_of(missing_sessions=(date(2024, 4, 4),), n_missing_sessions=1),
        entry_of(symbol="OTHER"),
    ]
    rows = audited(store, entries, "SIM01").sessions

    assert rows["state"].to_list() == ["ok"] * 3 + ["missing_at_source", "missing_local"]
    assert rows["reason"].to_list()[3:] == ["not_delivered", "lost"]
    assert rows["evidence"][3] == "asked breeze on 2024-06-01, settled through 2024-04-05"


def test_a_symbol_that_is_not_stored_was_never_asked_for(store: BarStore) -> None:
    """No file and no entry: nothing is known."""
    rows = audited(store, [], "SIM02").sessions

    assert set(rows["reason"]) == {"never_asked"}


@pytest.mark.parametrize(
    ("fields", "state", "reason", "evidence"),
    [
        (
            {"outcome": "failed", "error_type": "TransientSourceError", "error_message": "T2\n154",
             "reason": "transient_source", "settled_through": None},
            "missing_local",
            "ask_failed",
            "asked breeze on 2024-06-01: transient_source, TransientSourceError, T2 154",
        ),
        (
            {"outcome": "empty", "error_type": "UnknownSymbolError", "reason": "unknown_symbol",
             "settled_through": None},
            "missing_at_source",
            "unknown_symbol",
            "asked breeze on 2024-06-01: unknown_symbol, UnknownSymbolError",
        ),
        (
            {"outcome": "stopped", "settled_through": None},
            "missing_local",
            "ask_failed",
            "asked breeze on 2024-06-01: stopped",
        ),
        (
            {"outcome": "empty", "start": None, "end": None, "settled_through": None},
            "missing_at_source",
            "not_delivered",
            "asked breeze on 2024-06-01, settled through 2024-05-24",
        ),
        (
            {"outcome": "empty", "settled_through": None},
            "missing_local",
            "asked_too_early",
            "asked breeze on 2024-06-01, nothing settled",
        ),
    ],
    ids=["failed", "unknown symbol", "stopped", "nothing at all", "nothing settled"],
)  # fmt: skip
def test_what_an_entry_proves(
    store: BarStore, fields: dict[str, Any], state: str, reason: str, evidence: str
) -> None:
    """Failures prove nothing; a refused symbol and an empty history are absences at the source."""
    rows = audited(store, [entry_of(symbol="SIM02", **fields)], "SIM02").sessions

    assert set(rows["state"]) == {state}
    assert set(rows["reason"]) == {reason}
    assert set(rows["evidence"]) == {evidence}


def test_refused_rows_and_disputes_are_read(store: BarStore) -> None:
    """Both come from the store, with their reasons as evidence."""
    thursday, monday = date(2024, 4, 4), START
    blank = dict.fromkeys(QUARANTINE_SCHEMA)
    rows = [
        {**blank, "symbol": "SIM01", "session": day, "row_number": n, "reason": reason,
         "raw_values": f"{n}"}
        for n, (day, reason) in enumerate([(thursday, "high_below_low"), (None, "bad_date")])
    ]  # fmt: skip
    store.write_quarantine(
        "SIM01",
        pl.DataFrame(rows, schema=QUARANTINE_SCHEMA),
        interval="1day",
        fetched_at=AT,
        source="breeze",
    )
    dispute = ("SIM01", monday, "differs", "close", 10.0, 12.0, "NSE")
    store.write_disputes(
        "SIM01", pl.DataFrame([dispute], schema=DISPUTE_SCHEMA, orient="row"), interval="1day"
    )
    found = audited(store, [], "SIM01").sessions

    assert found["state"].to_list() == ["disputed", "ok", "ok", "quarantined", "missing_local"]
    assert found["evidence"][0] == "differs: close 10.0 against 12.0 of NSE"
    assert found["evidence"][3] == "high_below_low"


def test_instants_of_other_zones_are_turned_to_utc() -> None:
    """The ledger may hand out instants in the zone of its database."""
    india = datetime.fromisoformat("2024-06-01T03:00:00+05:30")
    asked = asked_of([entry_of(fetched_at=india)], settled_at=lambda _: None)

    assert asked["asked_at"][0] == datetime(2024, 5, 31, 21, 30, tzinfo=UTC)
    assert asked["evidence"][0].startswith("asked breeze on 2024-05-31")
