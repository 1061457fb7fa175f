"""Facts about one chunk: what is stored, what is recorded, and what a failure leaves behind."""

import dataclasses
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn, Protocol

import polars as pl
import pytest

from sensequant.errors import (
    AddressDeniedError,
    AuthExpiredError,
    AuthInvalidError,
    DayLimitError,
    InvalidBarsError,
    MalformedReplyError,
    MissingBarsError,
    SenseQuantError,
    StopSourceError,
    StorageError,
    TransientSourceError,
)
from sensequant.ingestion.chunks import ChunkResult, ingest_chunk
from sensequant.ingestion.context import IngestContext, KeyInUse
from sensequant.ingestion.ledger import Ledger
from sensequant.ingestion.ledger_records import CallsUsedUpError, ChunkEntry, ChunkOutcome
from sensequant.market.listings import LISTING_SCHEMA
from sensequant.market.quality import QUARANTINE_SCHEMA
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.base import Chunk, Fetched
from sensequant.market.sources.simulated import SimulatedSource
from sensequant.market.store import BarStore, WriteReport

MARCH = Chunk("SIM02", "1day", date(2024, 3, 1), date(2024, 3, 28))
HOLE = Chunk("SIM01", "1day", date(2023, 2, 1), date(2023, 2, 10))
"""Eight sessions of SIM01 that the market lacks."""


class Vendor(Protocol):
    """What a test does with the vendor of the fixture."""

    asked: list[Chunk]
    bend: Callable[[Chunk, Fetched], Fetched]


class Clock(Protocol):
    """What a test does with the clock of the fixture."""

    now: datetime


Content = Callable[[], dict[str, Any]]


def only_entry(context: IngestContext) -> ChunkEntry:
    (entry,) = context.ledger.entries("vendor")
    return entry


def refusing(error: Exception) -> Callable[[Chunk, Fetched], Fetched]:
    def refuse(_chunk: Chunk, _fetched: Fetched) -> NoReturn:
        raise error

    return refuse


def without_sessions(*sessions: date) -> Callable[[Chunk, Fetched], Fetched]:
    def bend(_chunk: Chunk, fetched: Fetched) -> Fetched:
        return dataclasses.replace(
            fetched, bars=fetched.bars.filter(~pl.col("session").is_in(sessions))
        )

    return bend


def refused_rows(*sessions: date | None) -> pl.DataFrame:
    rows = [
        {"symbol": "SIM02", "session": session, "row_number": 1, "reason": "high_below_low"}
        for session in sessions
    ]
    return pl.DataFrame(rows, schema=QUARANTINE_SCHEMA)


def test_a_chunk_is_stored_and_recorded(context: IngestContext, market: SimulatedSource) -> None:
    """Store and ledger hold what came: every bar, and how many calls it cost."""
    result = ingest_chunk(MARCH, dataclasses.replace(context, backfill_id="b1"))
    stored = context.store.read("SIM02", interval="1day")
    truth = market.fetch(MARCH)

    assert stored.select(truth.bars.columns).equals(truth.bars)
    assert stored["is_final"].all()
    assert (result.outcome, result.reason, result.n_added) == (ChunkOutcome.STORED, None, 19)
    assert result.chunk == MARCH
    assert only_entry(context) == ChunkEntry(
        store_key="vendor",
        source="vendor",
        symbol="SIM02",
        interval="1day",
        start=date(2024, 3, 1),
        end=date(2024, 3, 28),
        outcome=ChunkOutcome.STORED,
        n_rows=truth.report.n_rows_read,
        n_bars=19,
        settled_through=date(2024, 3, 28),
        source_digest=truth.source_digest,
        n_calls=1,
        fetched_at=context.clock(),
        seconds=0.0,
        backfill_id="b1",
    )


def test_a_chunk_that_others_have_stored_is_present(context: IngestContext, vendor: Vendor) -> None:
    """No second call is made, nor recorded."""
    ingest_chunk(MARCH, context)
    again = ingest_chunk(MARCH, context)

    assert (again.outcome, again.chunk, again.is_done) == (ChunkOutcome.PRESENT, MARCH, True)
    assert vendor.asked == [MARCH]
    assert only_entry(context).n_calls == 1


def test_only_what_others_have_left_is_asked_for(context: IngestContext, vendor: Vendor) -> None:
    """A part that was fetched since the plan was made is not fetched again."""
    ingest_chunk(dataclasses.replace(MARCH, end=date(2024, 3, 18)), context)
    result = ingest_chunk(MARCH, context)

    assert vendor.asked[1] == dataclasses.replace(MARCH, start=date(2024, 3, 19))
    assert context.ledger.entries("vendor")[1].start == date(2024, 3, 19)
    assert result.chunk == MARCH


def test_force_asks_again_and_changes_no_byte(
    context: IngestContext, vendor: Vendor, content: Content
) -> None:
    """The same values keep the time of their first fetch."""
    ingest_chunk(MARCH, context)
    before = content()
    result = ingest_chunk(MARCH, context, is_forced=True)

    assert (result.n_added, result.n_unchanged) == (0, 19)
    assert vendor.asked == [MARCH, MARCH]
    assert content() == before


def test_missing_sessions_are_named(context: IngestContext, vendor: Vendor) -> None:
    """Bars came, and the settled sessions without one are facts of the source."""
    lost = (date(2024, 3, 5), date(2024, 3, 26))
    vendor.bend = without_sessions(*lost)
    result = ingest_chunk(MARCH, context)
    entry = only_entry(context)

    assert (result.outcome, result.reason) == (ChunkOutcome.STORED, "missing_at_source")
    assert (entry.missing_sessions, entry.n_missing_sessions) == (lost, 2)
    assert entry.reason == "missing_at_source"


def test_bars_that_a_settled_session_lacks_are_counted(
    context: IngestContext, vendor: Vendor
) -> None:
    """Two of 75 did not come and one was refused; a recent session may still get its own."""
    settled = Chunk("SIM02", "5minute", date(2024, 3, 5), date(2024, 3, 6))
    recent = Chunk("SIM02", "5minute", date(2024, 6, 27), date(2024, 6, 27))

    def bend(chunk: Chunk, fetched: Fetched) -> Fetched:
        first = chunk.start == settled.start
        refused = refused_rows(settled.start) if first else QUARANTINE_SCHEMA.to_frame()
        return dataclasses.replace(fetched, bars=fetched.bars.slice(3), quarantine=refused)

    vendor.bend = bend
    results = [ingest_chunk(chunk, context) for chunk in (settled, recent)]
    entries = context.ledger.entries("vendor")

    assert [entry.n_missing_bars for entry in entries] == [2, 0]
    assert [result.n_missing_bars for result in results] == [2, 0]
    assert [result.reason for result in results] == [None, None]


def test_bars_of_daily_and_of_absent_sessions_are_not_counted(
    context: IngestContext, vendor: Vendor
) -> None:
    """These are told as sessions."""
    vendor.bend = without_sessions(date(2024, 3, 5))
    daily = ingest_chunk(MARCH, context)
    minutes = Chunk("SIM02", "5minute", date(2024, 3, 5), date(2024, 3, 6))
    absent = ingest_chunk(minutes, context)

    assert (daily.n_missing_sessions, daily.n_missing_bars) == (1, 0)
    assert (absent.n_missing_sessions, absent.n_missing_bars) == (1, 0)


def test_what_was_refused_is_not_missing(context: IngestContext, vendor: Vendor) -> None:
    """The row came; it lies in the quarantine with its reason."""
    day = date(2024, 3, 5)

    def bend(chunk: Chunk, fetched: Fetched) -> Fetched:
        rest = without_sessions(day)(chunk, fetched)
        return dataclasses.replace(rest, quarantine=refused_rows(day, None))

    vendor.bend = bend
    result = ingest_chunk(MARCH, context)

    assert (result.reason, result.n_quarantined, result.n_missing_sessions) == (None, 2, 0)
    assert context.store.quarantine("SIM02", "1day")["session"].to_list() == [None, day]


def test_recent_sessions_without_a_bar_are_pending(context: IngestContext, vendor: Vendor) -> None:
    """The last five sessions may still come; the ones before that should have."""
    june = Chunk("SIM02", "1day", date(2024, 6, 18), date(2024, 6, 28))
    vendor.bend = without_sessions(date(2024, 6, 20), date(2024, 6, 27), date(2024, 6, 28))
    result = ingest_chunk(june, context)
    entry = only_entry(context)

    assert (result.n_missing_sessions, result.n_pending_sessions) == (1, 2)
    assert entry.missing_sessions == (date(2024, 6, 20),)
    assert entry.settled_through == date(2024, 6, 21)


def test_pending_sessions_are_asked_for_again(
    context: IngestContext, vendor: Vendor, clock: Clock
) -> None:
    """After the time of confirmation the unsettled end is fetched once more, and only that."""
    june = Chunk("SIM02", "1day", date(2024, 6, 18), date(2024, 6, 28))
    ingest_chunk(june, context)
    clock.now += timedelta(hours=5)
    within = ingest_chunk(june, context)
    clock.now += timedelta(hours=15)
    after = ingest_chunk(june, context)

    assert within.outcome is ChunkOutcome.PRESENT
    assert vendor.asked == [june, dataclasses.replace(june, start=date(2024, 6, 24))]
    assert after.n_unchanged == 5
    assert context.store.read("SIM02", interval="1day")["is_final"].all()


def test_nothing_settled_of_recent_days_is_pending(context: IngestContext, vendor: Vendor) -> None:
    """A missing recent day is no evidence of anything."""
    last = Chunk("SIM02", "1day", date(2024, 6, 27), date(2024, 6, 28))
    vendor.bend = without_sessions(date(2024, 6, 27), date(2024, 6, 28))
    result = ingest_chunk(last, context)

    assert (result.outcome, result.reason) == (ChunkOutcome.EMPTY, "pending")
    assert (result.n_missing_sessions, result.n_pending_sessions) == (0, 2)


def test_a_session_that_has_not_closed_is_neither_missing_nor_pending(
    context: IngestContext, vendor: Vendor, clock: Clock
) -> None:
    """Nobody can expect its bar."""
    clock.now = datetime(2024, 6, 28, 6, 0, tzinfo=UTC)
    vendor.bend = without_sessions(date(2024, 6, 28))
    result = ingest_chunk(Chunk("SIM02", "1day", date(2024, 6, 28), date(2024, 6, 28)), context)

    assert (result.reason, result.n_pending_sessions) == ("pending", 0)


def test_a_publishers_history_is_settled_at_once(context: IngestContext) -> None:
    """Without a settle rule, whatever has closed will not change."""
    publisher = dataclasses.replace(context, finality=None)
    june = Chunk("SIM02", "1day", date(2024, 6, 18), date(2024, 6, 28))
    ingest_chunk(june, publisher)

    assert only_entry(context).settled_through == date(2024, 6, 28)
    assert context.store.read("SIM02", interval="1day")["is_final"].all()
    assert ingest_chunk(june, publisher).outcome is ChunkOutcome.PRESENT


def test_an_empty_answer_that_nothing_explains(context: IngestContext) -> None:
    """It covers the range, and says that the source has no data, which proves little."""
    result = ingest_chunk(HOLE, context)

    assert (result.outcome, result.reason) == (ChunkOutcome.EMPTY, "no_data_at_source")
    assert only_entry(context).n_missing_sessions == 8
    assert ingest_chunk(HOLE, context).outcome is ChunkOutcome.PRESENT


@pytest.mark.parametrize(
    ("spells", "reason", "n_missing"),
    [
        ([("listed", date(2023, 3, 1), None)], "pre_listing", 0),
        ([("listed", date(2019, 1, 1), date(2022, 12, 31))], "delisted", 0),
        ([("delisted", date(2023, 2, 1), None)], "delisted", 0),
        ([("suspended", date(2023, 1, 1), date(2023, 2, 28))], "suspended", 0),
        (
            [("listed", date(2023, 2, 3), None), ("suspended", date(2023, 2, 3), None)],
            "suspended",
            0,
        ),
        ([("suspended", date(2023, 2, 2), date(2023, 2, 28))], "no_data_at_source", 1),
        ([("trade_to_trade", date(2023, 1, 1), None)], "no_data_at_source", 8),
        ([("listed", date(2019, 1, 1), None)], "no_data_at_source", 8),
    ],
)
def test_listings_explain_an_empty_answer(
    context: IngestContext,
    spells: list[tuple[str, date, date | None]],
    reason: str,
    n_missing: int,
) -> None:
    """Before listing, after delisting and while suspended, nothing is missing at the source."""
    rows = [("SIM01", kind, start, end, "a test") for kind, start, end in spells]
    listings = pl.DataFrame(rows, schema=LISTING_SCHEMA, orient="row")
    result = ingest_chunk(HOLE, dataclasses.replace(context, listings=listings))

    assert (result.outcome, result.reason) == (ChunkOutcome.EMPTY, reason)
    assert only_entry(context).n_missing_sessions == n_missing


def test_listings_explain_a_part_of_an_answer(context: IngestContext) -> None:
    """SIM03 is listed on 2022-10-04 or so: what lies before the listing is not missing."""
    bounds = Chunk("SIM03", "1day", date(2022, 9, 1), date(2022, 12, 30))
    first = ingest_chunk(bounds, context)
    listed = context.store.read("SIM03", interval="1day")["session"][0]
    rows = [("SIM03", "listed", listed, None, "a test")]
    listings = pl.DataFrame(rows, schema=LISTING_SCHEMA, orient="row")
    again = ingest_chunk(bounds, dataclasses.replace(context, listings=listings), is_forced=True)
    n_before = len(nse_calendar().sessions(date(2022, 9, 1), listed)) - 1

    assert (first.reason, first.n_missing_sessions) == ("missing_at_source", n_before)
    assert (again.reason, again.n_missing_sessions) == (None, 0)


def test_rows_that_are_all_refused_leave_an_empty_answer(
    context: IngestContext, vendor: Vendor
) -> None:
    """The reason says where the rows are."""
    day = Chunk("SIM02", "1day", date(2024, 3, 5), date(2024, 3, 5))

    def bend(chunk: Chunk, fetched: Fetched) -> Fetched:
        rest = without_sessions(date(2024, 3, 5))(chunk, fetched)
        return dataclasses.replace(rest, quarantine=refused_rows(date(2024, 3, 5)))

    vendor.bend = bend
    result = ingest_chunk(day, context)

    assert (result.outcome, result.reason) == (ChunkOutcome.EMPTY, "quarantined")
    assert (result.n_bars, result.n_missing_sessions) == (0, 0)


@pytest.mark.parametrize("is_refused", [False, True], ids=["nothing", "refused"])
def test_a_whole_history_without_a_bar(
    context: IngestContext, vendor: Vendor, is_refused: bool
) -> None:
    """Without bounds nobody knows what to expect, so nothing is counted as missing."""

    def bend(_chunk: Chunk, fetched: Fetched) -> Fetched:
        refused = refused_rows(date(2024, 3, 5)) if is_refused else fetched.quarantine
        return dataclasses.replace(fetched, bars=fetched.bars.clear(), quarantine=refused)

    vendor.bend = bend
    result = ingest_chunk(Chunk("SIM02"), context)

    assert result.reason == ("quarantined" if is_refused else "no_data_at_source")
    assert only_entry(context).settled_through is None


def test_a_whole_history_is_fetched_each_time(context: IngestContext, vendor: Vendor) -> None:
    """Between its first and last bar, what is absent is missing."""
    context = dataclasses.replace(context, finality=None)
    result = ingest_chunk(Chunk("SIM01"), context)
    ingest_chunk(Chunk("SIM01"), context)

    assert result.reason == "missing_at_source"
    assert result.n_missing_sessions == 40
    assert len(vendor.asked) == 2


def test_an_unknown_symbol_costs_no_call(context: IngestContext, vendor: Vendor) -> None:
    """It is recorded with the nearest name, and may be known the next time."""
    chunk = dataclasses.replace(MARCH, symbol="SIM2")
    result = ingest_chunk(chunk, context)
    entry = only_entry(context)

    assert (result.outcome, result.reason) == (ChunkOutcome.EMPTY, "unknown_symbol")
    assert "SIM02" in (entry.error_message or "")
    assert vendor.asked == []
    assert context.covered("SIM2", "1day") == []


def test_no_bars_said_as_an_error_are_no_bars(context: IngestContext, vendor: Vendor) -> None:
    """Sources of files say so; it is an answer like no rows."""
    vendor.bend = refusing(MissingBarsError("no valid bars", where="SIM02"))
    result = ingest_chunk(MARCH, context)

    assert (result.outcome, result.reason) == (ChunkOutcome.EMPTY, "no_data_at_source")
    assert only_entry(context).error_message == "no valid bars; where: SIM02"
    assert ingest_chunk(MARCH, context).outcome is ChunkOutcome.PRESENT


def test_unusable_data_is_skipped_and_asked_for_again(
    context: IngestContext, vendor: Vendor
) -> None:
    """A damaged file may be whole the next time."""
    vendor.bend = refusing(InvalidBarsError("archive is damaged"))
    result = ingest_chunk(MARCH, context)

    assert (result.outcome, result.reason) == (ChunkOutcome.EMPTY, "invalid_bars")
    assert result.error_type == "InvalidBarsError"
    assert context.covered("SIM02", "1day") == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TransientSourceError("timed out"), "transient_source"),
        (KeyError("Success"), "key"),
        (MalformedReplyError("no body"), "malformed_reply"),
    ],
    ids=["transient", "fault", "malformed without a body"],
)
def test_a_failure_is_recorded_and_raised(
    context: IngestContext, vendor: Vendor, content: Content, error: Exception, reason: str
) -> None:
    """Type and message stay; nothing is stored, and the chunk is left to do."""
    vendor.bend = refusing(error)
    with pytest.raises(type(error)):
        ingest_chunk(MARCH, context)
    entry = only_entry(context)

    assert (entry.outcome, entry.reason) == (ChunkOutcome.FAILED, reason)
    assert (entry.error_type, entry.error_message) == (type(error).__name__, str(error))
    assert entry.n_calls is None
    assert content() == {}
    assert context.covered("SIM02", "1day") == []


def test_a_malformed_reply_is_kept(context: IngestContext, vendor: Vendor) -> None:
    """Its body goes to the quarantine, once, so that a person can look at it."""
    error = MalformedReplyError("reply is no JSON")
    error.raw = "<html>busy</html>"
    vendor.bend = refusing(error)
    for _ in range(2):
        with pytest.raises(MalformedReplyError):
            ingest_chunk(MARCH, context)
    rows = context.store.quarantine("SIM02", "1day")

    assert rows.select("session", "reason", "raw_values", "source").rows() == [
        (None, "malformed_reply", "<html>busy</html>", "vendor")
    ]
    assert context.ledger.entries("vendor")[0].n_quarantined == 1


def test_an_error_of_storage_is_raised_and_not_recorded(
    context: IngestContext, market: SimulatedSource
) -> None:
    """Simulated bars refuse to lie on real ones; the chunk is left to do."""
    real = market.fetch(MARCH).bars.with_columns(is_simulated=pl.lit(value=False))
    context.store.write(real, interval="1day", fetched_at=context.clock())
    with pytest.raises(StorageError, match="simulated and real"):
        ingest_chunk(MARCH, context)

    assert context.ledger.entries("vendor") == []


def test_claims_that_cannot_be_made_are_an_error_of_storage(
    context: IngestContext, vendor: Vendor, tmp_path: Path
) -> None:
    """Without the locks nobody may fetch."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be claimed"):
        ingest_chunk(MARCH, dataclasses.replace(context, claims=tmp_path / "file" / "claims"))

    assert vendor.asked == []


STOPS = [AuthExpiredError, AuthInvalidError, AddressDeniedError, DayLimitError]


@pytest.mark.parametrize("kind", STOPS)
def test_a_stop_holds_for_all_who_share_the_key(
    context: IngestContext,
    vendor: Vendor,
    kind: type[StopSourceError],
    log_in: Callable[[str], KeyInUse],
) -> None:
    """Who meets it tells the others, who then make no call; a new login may."""
    log_in("s1")
    vendor.bend = refusing(kind("refused", found="what the vendor said"))
    with pytest.raises(kind, match="refused"):
        ingest_chunk(MARCH, context)
    with pytest.raises(kind, match="what the vendor said"):
        ingest_chunk(HOLE, context)
    outcomes = [entry.outcome for entry in context.ledger.entries("vendor")]
    vendor.bend = without_sessions()
    log_in("s2")

    assert outcomes == [ChunkOutcome.STOPPED] * 2
    assert vendor.asked == [MARCH]
    if kind is DayLimitError:
        with pytest.raises(DayLimitError):
            ingest_chunk(MARCH, context)
    else:
        assert ingest_chunk(MARCH, context).outcome is ChunkOutcome.STORED


@pytest.mark.parametrize(
    "error", [CallsUsedUpError("used up"), StopSourceError("maintenance until noon")]
)
def test_other_stops_do_not_outlast_the_error(
    context: IngestContext,
    vendor: Vendor,
    error: StopSourceError,
    log_in: Callable[[str], KeyInUse],
) -> None:
    """Our own limit may be raised at once; what nobody knows of cannot be lifted."""
    log_in("s1")
    vendor.bend = refusing(error)
    with pytest.raises(type(error)):
        ingest_chunk(MARCH, context)
    vendor.bend = without_sessions()

    assert only_entry(context).outcome is ChunkOutcome.STOPPED
    assert ingest_chunk(MARCH, context).outcome is ChunkOutcome.STORED


def test_a_stop_without_a_key_is_recorded_too(context: IngestContext, vendor: Vendor) -> None:
    """There is nobody to tell."""
    vendor.bend = refusing(DayLimitError("used up"))
    with pytest.raises(DayLimitError):
        ingest_chunk(MARCH, context)

    assert only_entry(context).outcome is ChunkOutcome.STOPPED


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (DayLimitError("used up"), ChunkOutcome.STOPPED, "day_limit"),
        (TransientSourceError("timed out"), ChunkOutcome.FAILED, "transient_source"),
        (InvalidBarsError("damaged"), ChunkOutcome.FAILED, "invalid_bars"),
    ],
)
def test_an_error_becomes_a_result(
    error: SenseQuantError, outcome: ChunkOutcome, reason: str
) -> None:
    """Whoever catches what `ingest_chunk` raised can add it up with the others."""
    result = ChunkResult.from_error(MARCH, error)

    assert (result.chunk, result.outcome, result.reason) == (MARCH, outcome, reason)
    assert not result.is_done


def test_two_at_once_make_one_call(context: IngestContext, vendor: Vendor) -> None:
    """The second waits for the first and then finds the chunk present."""
    has_begun, may_end = threading.Event(), threading.Event()

    def slowly(_chunk: Chunk, fetched: Fetched) -> Fetched:
        has_begun.set()
        may_end.wait(10)
        return fetched

    vendor.bend = slowly
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(ingest_chunk, MARCH, context)
        has_begun.wait(10)
        # It overlaps, and is not the same.
        other = pool.submit(
            ingest_chunk, dataclasses.replace(MARCH, end=date(2024, 3, 15)), context
        )
        may_end.set()
        outcomes = [one.result(10).outcome, other.result(10).outcome]

    assert outcomes == [ChunkOutcome.STORED, ChunkOutcome.PRESENT]
    assert vendor.asked == [MARCH]


class KilledError(BaseException):
    """The process dies here: nobody catches it."""


class DyingStore(BarStore):
    """A store whose process dies before or after a step."""

    step = ""

    def write(self, *args: Any, **names: Any) -> WriteReport:
        """Write bars."""
        self.die_at("before bars")
        report = super().write(*args, **names)
        self.die_at("after bars")
        return report

    def write_quarantine(self, *args: Any, **names: Any) -> int:
        """Write refused rows."""
        n_added = super().write_quarantine(*args, **names)
        self.die_at("after quarantine")
        return n_added

    def die_at(self, step: str) -> None:
        """Die if it is time."""
        if self.step == step:
            raise KilledError


class DyingLedger(Ledger):
    """A ledger whose process dies after an entry is written."""

    is_dying = True

    def record(self, entry: ChunkEntry) -> None:
        """Record an entry."""
        super().record(entry)
        if self.is_dying:
            raise KilledError


@pytest.mark.parametrize(
    "step", ["after fetch", "before bars", "after bars", "after quarantine", "after record"]
)
def test_a_kill_at_any_step_changes_no_byte_after_a_restart(
    context: IngestContext, vendor: Vendor, content: Content, tmp_path: Path, step: str
) -> None:
    """The restart leaves the bytes of an ingestion that nobody killed, and one stored entry."""

    def bend(chunk: Chunk, fetched: Fetched) -> Fetched:
        if step == "after fetch" and len(vendor.asked) == 1:
            raise KilledError
        rest = without_sessions(date(2024, 3, 5))(chunk, fetched)
        return dataclasses.replace(rest, quarantine=refused_rows(date(2024, 3, 5)))

    vendor.bend = bend
    store = DyingStore(tmp_path / "home" / "vendor")
    store.step = step
    ledger = DyingLedger.open(tmp_path / "home" / "fetches" / "ledger.db")
    ledger.is_dying = step == "after record"
    with pytest.raises(KilledError):
        ingest_chunk(MARCH, dataclasses.replace(context, store=store, ledger=ledger))
    restarted = ingest_chunk(MARCH, context)
    resumed = content()
    unharmed = dataclasses.replace(
        context, store=BarStore(tmp_path / "home" / "other"), store_key="other"
    )
    ingest_chunk(MARCH, unharmed)
    whole = {
        name.removeprefix("other/"): value
        for name, value in content().items()
        if name.startswith("other/")
    }

    assert {name.removeprefix("vendor/"): value for name, value in resumed.items()} == whole
    assert len(whole) == 2
    assert only_entry(context).outcome is ChunkOutcome.STORED
    is_recorded = step == "after record"
    assert restarted.outcome is (ChunkOutcome.PRESENT if is_recorded else ChunkOutcome.STORED)
