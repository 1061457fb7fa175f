"""Facts about backfills: what is fetched, what is reported, what is left after a stop."""

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest

from sensequant.errors import (
    AuthExpiredError,
    ConfigError,
    StorageError,
    TransientSourceError,
)
from sensequant.ingestion.backfill import (
    BackfillOutcome,
    BackfillReport,
    LeftToDo,
    last_final_session,
    plan_backfill,
    run_backfill,
    summarise,
)
from sensequant.ingestion.chunks import ingest_chunk
from sensequant.ingestion.context import IngestContext, KeyInUse
from sensequant.ingestion.planning import ChunkPlan
from sensequant.ingestion.request import BackfillOptions, BackfillRequest
from sensequant.market.intervals import INTERVALS, Interval
from sensequant.market.sources.base import Chunk, Fetched
from sensequant.market.sources.simulated import SimulatedSource

KEY = KeyInUse("0123456789ab", "s1", 100)


class Vendor(Protocol):
    """What a test does with the vendor of the fixture."""

    asked: list[Chunk]
    sizes: dict[str, int | None]
    bend: Callable[[Chunk, Fetched], Fetched]


class Clock(Protocol):
    """What a test does with the clock of the fixture."""

    now: datetime


def request(*symbols: str, **changes: Any) -> BackfillRequest:
    facts = {"start": date(2024, 3, 1), "end": date(2024, 4, 30), "symbols": symbols or None}
    return BackfillRequest.model_validate(facts | changes)


def backfill(wanted: BackfillRequest, context: IngestContext, **options: Any) -> BackfillReport:
    chosen = BackfillOptions.model_validate({"workers": 2} | options)
    return run_backfill(wanted, chosen, context, universes=Path("universes"))


def failing(
    error: Exception, *, on: Callable[[Chunk], bool]
) -> Callable[[Chunk, Fetched], Fetched]:
    def bend(chunk: Chunk, fetched: Fetched) -> Fetched:
        if on(chunk):
            raise error
        return fetched

    return bend


def test_a_backfill_stores_the_market(context: IngestContext, market: SimulatedSource) -> None:
    """All symbols, the indices and all intervals are stored bar by bar, and counted."""
    wanted = request(intervals=INTERVALS, start=date(2024, 4, 22), end=date(2024, 4, 26))
    report = backfill(wanted, dataclasses.replace(context, backfill_id="b1"))
    n_bars = 0
    for symbol in (*market.symbols(), *market.indices()):
        for interval in INTERVALS if symbol in market.symbols() else INTERVALS[:1]:
            truth = market.fetch(Chunk(symbol, interval, wanted.start, wanted.end)).bars
            stored = context.store.read(symbol, interval=interval)
            n_bars += truth.height
            assert stored.select(truth.columns).equals(truth)
    (entry,) = context.ledger.backfills()

    assert report.outcome is BackfillOutcome.COMPLETED
    assert context.store.actions().equals(market.actions())
    assert (report.n_bars, report.n_added) == (n_bars, n_bars)
    # Five sessions: one chunk of daily bars for each of five, two of the others for each of three.
    assert report.n_planned == report.n_calls == 5 + 3 * 3 * 2
    assert report.n_by_outcome == {"stored": 23}
    assert (report.n_sessions, report.n_sessions_covered, report.hit_rate_frac) == (70, 0, 0)
    assert (report.n_left, report.left) == (0, ())
    assert (report.n_calls_today, report.n_calls_left_today) == (None, None)
    assert entry.outcome == "completed"
    assert entry.counts == report.counts
    assert entry.counts["n_stored"] == 23
    assert entry.request["symbols"] is None


def test_a_second_backfill_makes_no_call(context: IngestContext, vendor: Vendor) -> None:
    """What is settled is never fetched again, and the report says how much that saved."""
    wanted = request("SIM01", "SIM02", intervals=("1day", "5minute"))
    backfill(wanted, context)
    n_asked = len(vendor.asked)
    report = backfill(wanted, context)

    assert len(vendor.asked) == n_asked
    assert report.outcome is BackfillOutcome.NOTHING_TO_DO
    assert (report.n_planned, report.n_calls, report.hit_rate_frac) == (0, 0, 1)


def test_a_longer_range_fetches_only_the_rest(context: IngestContext, vendor: Vendor) -> None:
    """On both sides of what is there."""
    backfill(request("SIM01"), context)
    vendor.asked.clear()
    report = backfill(request("SIM01", start=date(2024, 2, 28), end=date(2024, 5, 2)), context)
    own = [chunk for chunk in vendor.asked if chunk.symbol == "SIM01"]

    assert sorted((chunk.start, chunk.end) for chunk in own) == [
        (date(2024, 2, 28), date(2024, 2, 29)),
        (date(2024, 5, 2), date(2024, 5, 2)),
    ]
    assert report.n_sessions - report.n_sessions_covered == 9


def test_force_fetches_everything_again(context: IngestContext) -> None:
    """As many calls as the first time, and nothing is added."""
    first = backfill(request("SIM01"), context)
    report = backfill(request("SIM01"), context, force=True)

    assert report.n_calls == first.n_calls
    assert (report.n_added, report.n_bars) == (0, first.n_bars)
    assert report.hit_rate_frac == 0


def test_incremental_goes_on_after_the_last_final_session(
    context: IngestContext, vendor: Vendor
) -> None:
    """An old gap stays a gap; what has come since is fetched."""
    backfill(request("SIM02", start=date(2024, 4, 1)), context)
    vendor.asked.clear()
    backfill(request("SIM02", end=date(2024, 5, 10)), context, incremental=True)

    assert {chunk.start for chunk in vendor.asked if chunk.symbol == "SIM02"} == {date(2024, 5, 2)}


def test_the_last_final_session(context: IngestContext) -> None:
    """Provisional bars do not count, nor do symbols without bars; old ones are found, too."""
    june = request("SIM02", start=date(2024, 6, 3), end=None)
    backfill(june, context)
    backfill(request("SIM01"), context)

    def last(symbol: str, interval: Interval = "1day", days: int = 0) -> date | None:
        now = context.clock() + timedelta(days=days)
        return last_final_session(context.store, symbol, interval, now=now)

    assert context.store.read("SIM02", interval="1day")["session"].max() == date(2024, 6, 28)
    assert last("SIM02") == date(2024, 6, 21)
    assert last("SIM01", days=200) == date(2024, 4, 30)
    assert last("SIM03") is None
    assert last("SIM02", "5minute") is None


def test_without_an_end_the_last_closed_session_is_the_end(
    context: IngestContext, vendor: Vendor, clock: Clock
) -> None:
    """During a session it ends with the one before."""
    clock.now = datetime(2024, 6, 28, 6, 0, tzinfo=UTC)
    backfill(request("SIM02", start=date(2024, 6, 26), end=None), context)

    assert {chunk.end for chunk in vendor.asked} == {date(2024, 6, 27)}


@pytest.mark.parametrize(
    "bounds",
    [
        {"start": date(2024, 6, 8), "end": date(2024, 6, 9)},
        {"start": date(2024, 12, 2), "end": None},
        {"start": date(2024, 12, 2), "end": date(2024, 12, 3)},
    ],
    ids=["weekend", "after the last close", "future"],
)
def test_a_range_without_sessions_is_an_outcome(
    context: IngestContext, vendor: Vendor, bounds: dict[str, date | None]
) -> None:
    """There was nothing to do; that is no error, and the ledger keeps it."""
    report = backfill(request("SIM02", **bounds), dataclasses.replace(context, backfill_id="b1"))

    assert report.outcome is BackfillOutcome.NOTHING_TO_DO
    assert report.hit_rate_frac is None
    assert vendor.asked == []
    assert context.ledger.backfills()[0].outcome == "nothing_to_do"


def test_whole_histories_need_no_range(context: IngestContext, vendor: Vendor) -> None:
    """A source without chunks is asked once for each symbol and index."""
    vendor.sizes["1day"] = None
    report = backfill(request(), dataclasses.replace(context, finality=None))

    assert {chunk.start for chunk in vendor.asked} == {None}
    assert (report.n_planned, report.n_sessions, report.hit_rate_frac) == (5, 0, None)


def test_failures_are_left_to_do(context: IngestContext, vendor: Vendor) -> None:
    """The others go on; the report says what is left, and the next backfill does only that."""
    wanted = request("SIM01", "SIM02", start=date(2024, 2, 1))
    late = date(2024, 2, 2)

    def is_hit(chunk: Chunk) -> bool:
        return chunk.symbol == "SIM02" and chunk.start is not None and chunk.start >= late

    vendor.bend = failing(TransientSourceError("timed out"), on=is_hit)
    report = backfill(wanted, context)
    asked = list(vendor.asked)
    vendor.bend = failing(TransientSourceError("timed out"), on=lambda _chunk: False)
    again = backfill(wanted, context)
    redone = vendor.asked[len(asked) :]

    assert report.outcome is BackfillOutcome.DEGRADED
    assert report.n_by_reason == {"transient_source": 2}
    assert report.left == (
        LeftToDo(
            symbol="SIM02",
            interval="1day",
            n_chunks=2,
            start=min(chunk.start or date.max for chunk in redone),
            end=date(2024, 4, 30),
        ),
    )
    assert len(redone) == report.n_left == 2
    assert again.outcome is BackfillOutcome.COMPLETED


def test_nothing_but_failures_is_a_failure(context: IngestContext, vendor: Vendor) -> None:
    """No chunk came through."""
    vendor.bend = failing(TransientSourceError("timed out"), on=lambda _chunk: True)
    report = backfill(request("SIM01"), context)

    assert report.outcome is BackfillOutcome.FAILED
    assert report.n_left == report.n_planned


def test_a_stop_ends_the_backfill(
    context: IngestContext, vendor: Vendor, log_in: Callable[[str], KeyInUse]
) -> None:
    """Whoever has not begun makes no call, now or later; a new login does the rest."""
    log_in("s1")

    def is_late(_chunk: Chunk) -> bool:
        return len(vendor.asked) > 3

    vendor.bend = failing(AuthExpiredError("session has ended"), on=is_late)
    report = backfill(request(), context, workers=1)
    n_asked = len(vendor.asked)
    again = backfill(request(), context)
    log_in("s2")
    vendor.bend = failing(AuthExpiredError("session has ended"), on=lambda _chunk: False)
    n_in_vain = len(vendor.asked) - n_asked
    done = backfill(request(), context)

    assert report.outcome is again.outcome is BackfillOutcome.STOPPED
    assert (n_asked, n_in_vain) == (4, 0)
    assert report.n_by_outcome["stored"] == 3
    assert report.n_left == report.n_planned - 3
    assert again.n_left == again.n_planned == report.n_left
    assert (done.outcome, done.n_planned) == (BackfillOutcome.COMPLETED, report.n_left)


def test_an_error_of_storage_ends_the_backfill(
    context: IngestContext, vendor: Vendor, tmp_path: Path
) -> None:
    """Nothing more can be kept, so nothing more is fetched."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be claimed"):
        backfill(request(), dataclasses.replace(context, claims=tmp_path / "file" / "claims"))

    assert vendor.asked == []


def test_a_request_that_cannot_be_served_is_refused(context: IngestContext) -> None:
    """Before anything is fetched."""
    with pytest.raises(ConfigError, match="universe is unknown"):
        backfill(request(universe="nowhere"), context)


def test_calls_of_the_day_are_told(context: IngestContext) -> None:
    """Used and left, of whoever shares the key; never fewer than none."""
    context = dataclasses.replace(context, key=KEY)
    for _ in range(30):
        context.ledger.reserve_call(KEY.key_digest, at=context.clock(), limit=100)
    report = backfill(request("SIM01"), context)
    few = dataclasses.replace(context, key=dataclasses.replace(KEY, calls_per_day=10))

    assert (report.n_calls_today, report.n_calls_left_today) == (30, 70)
    assert backfill(request("SIM01"), few).n_calls_left_today == 0


def test_a_universe_names_the_symbols_of_its_date(context: IngestContext, tmp_path: Path) -> None:
    """Its members as of the start; one that the source lacks is recorded, and no call is made."""
    (tmp_path / "pair.yaml").write_text(
        "name: pair\ndescription: two\nsource: a test\nmembers: [SIM02, SIM77]\n"
    )
    report = run_backfill(request(universe="pair"), BackfillOptions(), context, universes=tmp_path)

    assert report.n_by_reason["unknown_symbol"] == 2
    assert report.outcome is BackfillOutcome.COMPLETED
    assert "SIM02" in context.store.symbols("1day")


def test_a_chunk_without_a_result_is_left(context: IngestContext) -> None:
    """What others are still doing, or never began, is not done."""
    wanted = request("SIM01")
    plan = plan_backfill(wanted, BackfillOptions(), context, universes=Path("universes"))
    result = ingest_chunk(plan.chunks[0], context)
    report = summarise(plan, [result], context=context, started_at=context.clock())

    assert report.n_left == len(plan.chunks) - 1
    assert report.outcome is BackfillOutcome.DEGRADED


def test_findings_are_counted(context: IngestContext, vendor: Vendor) -> None:
    """What was mended without loss is told."""

    def bend(_chunk: Chunk, fetched: Fetched) -> Fetched:
        return dataclasses.replace(fetched, findings=("numbers_as_text",))

    vendor.bend = bend
    report = backfill(request("SIM01"), context)

    assert report.n_by_finding == {"numbers_as_text": report.n_planned}


def test_seconds_are_those_of_the_clock(context: IngestContext) -> None:
    """A clock that is set back does not make them negative."""
    plan = ChunkPlan((), 0, 0)
    now = context.clock()

    def seconds(started_at: datetime) -> float:
        return summarise(plan, [], context=context, started_at=started_at).seconds

    assert seconds(now - timedelta(seconds=90)) == 90
    assert seconds(now + timedelta(seconds=90)) == 0


def test_two_backfills_at_once_share_the_work(context: IngestContext, vendor: Vendor) -> None:
    """Each chunk is fetched once, by one of them, and both report that all is done."""
    wanted = request(intervals=("1day", "5minute"))

    def start(_number: int) -> BackfillReport:
        return backfill(wanted, context)

    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(start, range(2)))
    asked = [(chunk.symbol, chunk.interval, chunk.start) for chunk in vendor.asked]

    assert {report.n_left for report in reports} == {0}
    assert len(asked) == len(set(asked)) == sum(report.n_calls for report in reports)
