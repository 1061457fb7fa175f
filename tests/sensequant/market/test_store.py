"""Facts about stored bars: merged, never half written, never mixed, never silently replaced."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from threading import Barrier
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.errors import (
    ConfigError,
    InvalidBarsError,
    MissingBarsError,
    RecordError,
    SchemaVersionError,
    StorageError,
)
from sensequant.market.actions import ACTION_SCHEMA
from sensequant.market.bars import BAR_SCHEMA, DAILY, INTRADAY_SCHEMA, Interval, bars_digest
from sensequant.market.crosscheck import DISPUTE_SCHEMA
from sensequant.market.finality import Finality
from sensequant.market.intervals import grid
from sensequant.market.quality import QUARANTINE_SCHEMA
from sensequant.market.sessions import nse_calendar
from sensequant.market.store import (
    QUARANTINED_SCHEMA,
    SESSIONS_SCHEMA,
    STORED_SCHEMA,
    BarStore,
    stored_schema,
)
from sensequant.storage import write_table

FIRST = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = datetime(2026, 1, 2, 12, tzinfo=UTC)
FIVE: Interval = "5minute"


def settled_through(settled: date | None, confirmable: date | None = None) -> Finality:
    return Finality(settled, confirmable or settled, timedelta(hours=6))


OPEN = settled_through(None)
"""Nothing is final yet."""


def bars(
    *sessions: date, symbol: str = "M&M", close: float = 101.0, is_simulated: bool = False
) -> pl.DataFrame:
    rows: list[dict[str, Any]] = [
        {
            "symbol": symbol,
            "session": session,
            "open": 100.0,
            "high": 110.0,
            "low": 90.0,
            "close": close,
            "volume": 1000,
            "source_symbol": symbol,
            "source": "test",
            "is_simulated": is_simulated,
        }
        for session in sessions
    ]
    blank: dict[str, Any] = dict.fromkeys(BAR_SCHEMA)
    return pl.DataFrame([blank | row for row in rows], schema=BAR_SCHEMA)


def days(year: int, n: int) -> list[date]:
    return [date(year, 1, 1) + timedelta(days=number) for number in range(n)]


def intraday(
    *sessions: date,
    symbol: str = "M&M",
    close: float = 101.0,
    interval: Interval = FIVE,
    is_simulated: bool = False,
) -> pl.DataFrame:
    """Whole sessions of equal bars."""
    starts = grid(nse_calendar(), interval).filter(pl.col("session").is_in(sessions))
    one = bars(sessions[0], symbol=symbol, close=close, is_simulated=is_simulated)
    return starts.join(one.drop("session"), how="cross").select(INTRADAY_SCHEMA.names())


def files(root: Path) -> dict[str, tuple[bytes, int]]:
    return {
        path.relative_to(root).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.endswith(".lock")
    }


def test_bars_come_back_with_their_provenance(tmp_path: Path) -> None:
    """What was written is read, by symbol and range, with the time of fetching in UTC."""
    store = BarStore(tmp_path)
    written = pl.concat([bars(*days(2023, 2), *days(2024, 3)), bars(*days(2024, 1), symbol="TCS")])
    ist = timezone(timedelta(hours=5, minutes=30))

    report = store.write(
        written, interval=DAILY, fetched_at=FIRST.astimezone(ist), finality=settled_through(None)
    )

    read = store.read("M&M", interval=DAILY)
    assert read.schema == STORED_SCHEMA
    assert read.select(BAR_SCHEMA.names()).equals(written.filter(pl.col("symbol") == "M&M"))
    assert read["fetched_at"].unique().to_list() == [FIRST]
    assert not read["is_final"].any()
    assert store.symbols(DAILY) == ("M&M", "TCS")
    assert [(part.symbol, part.part, part.n_added) for part in report.partitions] == [
        ("M&M", "year=2023", 2),
        ("M&M", "year=2024", 3),
        ("TCS", "year=2024", 1),
    ]
    assert (report.n_final, report.n_provisional) == (0, 6)
    assert list(files(tmp_path)) == [
        "bars/interval=1day/symbol=M&M/year=2023.parquet",
        "bars/interval=1day/symbol=M&M/year=2024.parquet",
        "bars/interval=1day/symbol=TCS/year=2024.parquet",
    ]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, None, 5),
        (date(2023, 1, 2), None, 4),
        (None, date(2023, 12, 31), 2),
        (date(2023, 1, 2), date(2024, 1, 1), 2),
        (date(2025, 1, 1), None, 0),
    ],
)
def test_a_range_is_inclusive(
    tmp_path: Path, start: date | None, end: date | None, expected: int
) -> None:
    """Both ends belong to the range, and an empty range is an empty frame."""
    store = BarStore(tmp_path)
    store.write(bars(*days(2023, 2), *days(2024, 3)), interval=DAILY, fetched_at=FIRST)

    read = store.read("M&M", interval=DAILY, start=start, end=end)

    assert read.schema == STORED_SCHEMA
    assert read.height == expected


def test_the_same_bars_again_change_no_byte(tmp_path: Path) -> None:
    """Writing the same bars a day later rewrites no file: neither bytes nor time change."""
    store = BarStore(tmp_path)
    written = bars(*days(2023, 20), *days(2024, 20))
    store.write(written, interval=DAILY, fetched_at=FIRST)
    before = files(tmp_path)

    report = store.write(written, interval=DAILY, fetched_at=SECOND)

    assert (report.n_added, report.n_changed, report.n_unchanged) == (0, 0, 40)
    assert files(tmp_path) == before


def test_changed_bars_replace_and_leave_a_trace(tmp_path: Path) -> None:
    """A changed bar takes the new value and time; the old value goes to the revisions."""
    store = BarStore(tmp_path)
    store.write(bars(*days(2024, 3)), interval=DAILY, fetched_at=FIRST)
    correction = pl.concat([bars(days(2024, 3)[1], close=105.0), bars(date(2024, 2, 1))])

    report = store.write(correction, interval=DAILY, fetched_at=SECOND)

    assert (report.n_added, report.n_changed, report.n_unchanged) == (1, 1, 0)
    read = store.read("M&M", interval=DAILY)
    assert read["close"].to_list() == [101.0, 105.0, 101.0, 101.0]
    assert read["fetched_at"].to_list() == [FIRST, SECOND, FIRST, SECOND]
    former = store.revisions("M&M", DAILY)
    assert former.select("session", "close", "fetched_at", "replaced_at").rows() == [
        (date(2024, 1, 2), 101.0, FIRST, SECOND)
    ]


def test_a_publishers_history_confirms_what_was_provisional(tmp_path: Path) -> None:
    """An equal final delivery makes a bar final; value and first fetch stay, nothing is lost."""
    store = BarStore(tmp_path)
    store.write(bars(*days(2024, 1)), interval=DAILY, fetched_at=FIRST, finality=OPEN)

    report = store.write(bars(*days(2024, 1)), interval=DAILY, fetched_at=SECOND)

    assert (report.n_changed, report.n_unchanged, report.n_confirmed) == (0, 1, 1)
    read = store.read("M&M", interval=DAILY)
    assert read.select("fetched_at", "is_final").rows() == [(FIRST, True)]
    assert store.revisions("M&M", DAILY).is_empty()


def test_digest_is_that_of_the_bars(tmp_path: Path) -> None:
    """The digest depends on the bars alone, not on when or in how many writes they came."""
    whole = bars(*days(2023, 4), *days(2024, 4))
    one, many = BarStore(tmp_path / "one"), BarStore(tmp_path / "many")
    one.write(whole, interval=DAILY, fetched_at=FIRST)
    many.write(whole[5:], interval=DAILY, fetched_at=SECOND)
    many.write(whole[:6], interval=DAILY, fetched_at=FIRST)

    assert one.digest("M&M", DAILY) == many.digest("M&M", DAILY) == bars_digest(whole)


@given(order=st.permutations(range(4)))
def test_the_order_of_writes_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, order: list[int]
) -> None:
    """Overlapping parts in any order give the same store."""
    whole = bars(*days(2024, 8))
    root = tmp_path_factory.mktemp("store")

    for number in order:
        BarStore(root).write(whole.slice(number * 2, 3), interval=DAILY, fetched_at=FIRST)

    assert BarStore(root).digest("M&M", DAILY) == bars_digest(whole)


@pytest.mark.parametrize(("first", "then"), [(True, False), (False, True)])
def test_simulated_and_real_bars_never_meet(tmp_path: Path, *, first: bool, then: bool) -> None:
    """Not even in different years of one symbol."""
    store = BarStore(tmp_path)
    store.write(bars(*days(2023, 1), is_simulated=first), interval=DAILY, fetched_at=FIRST)
    before = files(tmp_path)

    with pytest.raises(StorageError, match="simulated and real"):
        store.write(bars(*days(2024, 1), is_simulated=then), interval=DAILY, fetched_at=FIRST)

    assert files(tmp_path) == before


def test_one_write_cannot_mix_them_either(tmp_path: Path) -> None:
    """The check holds for an empty store too."""
    mixed = pl.concat([bars(date(2024, 1, 1)), bars(date(2024, 1, 2), is_simulated=True)])

    with pytest.raises(StorageError, match="simulated and real"):
        BarStore(tmp_path).write(mixed, interval=DAILY, fetched_at=FIRST)

    assert BarStore(tmp_path).symbols(DAILY) == ()


def test_invalid_bars_and_naive_times_are_refused(tmp_path: Path) -> None:
    """Nothing that is wrong reaches the disk."""
    store = BarStore(tmp_path)

    with pytest.raises(InvalidBarsError):
        store.write(bars(*days(2024, 1), close=-1.0), interval=DAILY, fetched_at=FIRST)
    with pytest.raises(ConfigError, match="time zone"):
        store.write(
            bars(*days(2024, 1)),
            interval=DAILY,
            fetched_at=datetime(2026, 1, 1),  # noqa: DTZ001
        )

    assert files(tmp_path) == {}


def test_an_unknown_symbol_has_no_bars(tmp_path: Path) -> None:
    """No bars at all is an error that names the folder; a symbol is checked before it is a path."""
    with pytest.raises(MissingBarsError, match="symbol=TCS"):
        BarStore(tmp_path).read("TCS", interval=DAILY)
    with pytest.raises(ConfigError):
        BarStore(tmp_path).read("../x", interval=DAILY)


def test_files_that_are_not_ours_are_refused(tmp_path: Path) -> None:
    """Another symbol, another schema, another version and garbage are told apart."""
    store = BarStore(tmp_path)
    store.write(bars(*days(2024, 1)), interval=DAILY, fetched_at=FIRST)
    folder = tmp_path / "bars" / "interval=1day"
    path = folder / "symbol=M&M" / "year=2024.parquet"
    good = store.read("M&M", interval=DAILY)

    (folder / "symbol=TCS").mkdir()
    (folder / "symbol=TCS" / "year=2024.parquet").write_bytes(path.read_bytes())
    with pytest.raises(RecordError, match="another symbol"):
        store.read("TCS", interval=DAILY)
    write_table(path, good.drop("is_final"))
    with pytest.raises(RecordError, match="other columns"):
        store.read("M&M", interval=DAILY)
    write_table(path, good, schema_version=99)
    with pytest.raises(SchemaVersionError):
        store.read("M&M", interval=DAILY)
    path.write_bytes(b"PAR1 garbage PAR1")
    with pytest.raises(RecordError, match="cannot be read"):
        store.read("M&M", interval=DAILY)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """A write that fails at any step leaves every byte as it was, and no temporary file."""
    store = BarStore(tmp_path)
    store.write(bars(*days(2024, 3)), interval=DAILY, fetched_at=FIRST)
    before = files(tmp_path)

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fsync") if call == "fsync" else (Path, "replace")), fail)
        with pytest.raises(StorageError, match="No space left"):
            store.write(bars(*days(2024, 3), close=99.0), interval=DAILY, fetched_at=SECOND)

    assert files(tmp_path) == before


def test_a_writer_that_died_between_its_files_records_a_loss_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The revision is written first; the next try does not write it again."""
    store = BarStore(tmp_path)
    store.write(bars(*days(2024, 1)), interval=DAILY, fetched_at=FIRST)
    changed = bars(*days(2024, 1), close=99.0)
    replace = Path.replace

    def fail_on_bars(self: Path, target: Path) -> Path:
        if "year=" in target.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail_on_bars)
        with pytest.raises(StorageError):
            store.write(changed, interval=DAILY, fetched_at=SECOND)
    assert store.read("M&M", interval=DAILY)["close"].to_list() == [101.0]

    store.write(changed, interval=DAILY, fetched_at=SECOND + timedelta(days=1))

    assert store.read("M&M", interval=DAILY)["close"].to_list() == [99.0]
    assert store.revisions("M&M", DAILY).height == 1


def test_two_writers_of_one_file_lose_nothing(tmp_path: Path) -> None:
    """Two writers that start together on one symbol and year both keep all their bars."""
    sessions = days(2024, 40)
    barrier = Barrier(2)

    def write(parity: int) -> None:
        barrier.wait()
        for session in sessions[parity::2]:
            BarStore(tmp_path).write(bars(session), interval=DAILY, fetched_at=FIRST)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, (0, 1)))

    assert BarStore(tmp_path).read("M&M", interval=DAILY)["session"].to_list() == sessions


def action(symbol: str, source: str, ratio: float | None = 0.5) -> pl.DataFrame:
    row: dict[str, Any] = dict.fromkeys(ACTION_SCHEMA)
    row |= {"symbol": symbol, "ex_date": date(2024, 1, 1), "kind": "split", "price_ratio": ratio}
    return pl.DataFrame([row | {"subject": "words", "source": source}], schema=ACTION_SCHEMA)


def test_actions_are_replaced_source_by_source(tmp_path: Path) -> None:
    """A new list of a source replaces its former one and leaves the other sources alone."""
    store = BarStore(tmp_path)
    assert store.actions().is_empty()

    store.write_actions(pl.concat([action("A", "x"), action("B", "y")]))
    store.write_actions(pl.concat([action("C", "x"), action("C", "x")]))

    assert store.actions().select("symbol", "source").rows() == [("B", "y"), ("C", "x")]


def test_the_same_actions_again_change_no_byte(tmp_path: Path) -> None:
    """Neither do actions in another order, nor an empty list."""
    store = BarStore(tmp_path)
    listed = pl.concat([action("A", "x"), action("B", "x", None)])
    store.write_actions(listed)
    before = files(tmp_path)

    store.write_actions(listed.reverse())
    store.write_actions(ACTION_SCHEMA.to_frame())

    assert files(tmp_path) == before


def test_no_actions_are_stored_as_none(tmp_path: Path) -> None:
    """An empty list makes the table, so that "asked and found none" differs from "not asked"."""
    BarStore(tmp_path).write_actions(ACTION_SCHEMA.to_frame())

    assert (tmp_path / "adjustments" / "actions.parquet").is_file()
    assert BarStore(tmp_path).actions().is_empty()


MONDAY, TUESDAY, WEDNESDAY = date(2024, 1, 29), date(2024, 1, 30), date(2024, 1, 31)
THURSDAY = date(2024, 2, 1)


def test_intraday_bars_lie_by_month(tmp_path: Path) -> None:
    """A chunk over the turn of a month makes two files, and is read back as it was."""
    store = BarStore(tmp_path)
    written = intraday(WEDNESDAY, THURSDAY)

    report = store.write(written, interval=FIVE, fetched_at=FIRST)

    assert [(part.part, part.n_added) for part in report.partitions] == [
        ("month=2024-01", 75),
        ("month=2024-02", 75),
    ]
    assert list(files(tmp_path)) == [
        "bars/interval=5minute/symbol=M&M/month=2024-01.parquet",
        "bars/interval=5minute/symbol=M&M/month=2024-02.parquet",
    ]
    read = store.read("M&M", interval=FIVE)
    assert read.schema == stored_schema(FIVE)
    assert read.select(INTRADAY_SCHEMA.names()).equals(written)
    assert store.digest("M&M", FIVE) == bars_digest(written, FIVE)
    one_day = store.read("M&M", interval=FIVE, start=THURSDAY, end=THURSDAY)
    assert one_day["session"].unique().to_list() == [THURSDAY]
    assert (store.symbols(FIVE), store.symbols(DAILY)) == (("M&M",), ())


def test_changed_intraday_bars_leave_a_trace_by_month(tmp_path: Path) -> None:
    """Only the bars that changed are replaced, and the revisions of all months are read."""
    store = BarStore(tmp_path)
    whole = intraday(WEDNESDAY, THURSDAY)
    store.write(whole, interval=FIVE, fetched_at=FIRST)
    later = whole.with_columns(
        close=pl.when(pl.col("starts_at").dt.minute() == 50).then(102.0).otherwise("close")
    )

    report = store.write(later, interval=FIVE, fetched_at=SECOND)

    # 10:50 to 15:20 in India is ten minutes to the hour in UTC six times a session.
    n_changed = later.filter(pl.col("close") == 102.0).height
    assert (report.n_changed, report.n_final_changed) == (n_changed, n_changed)
    assert report.n_unchanged == 150 - n_changed
    former = store.revisions("M&M", FIVE)
    assert former["session"].unique().sort().to_list() == [WEDNESDAY, THURSDAY]
    assert former["close"].unique().to_list() == [101.0]
    assert former["replaced_at"].unique().to_list() == [SECOND]
    assert store.digest("M&M", FIVE) == bars_digest(later, FIVE)


@given(order=st.permutations(range(4)))
def test_the_order_of_intraday_chunks_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, order: list[int]
) -> None:
    """Overlapping chunks in any order end in the same bytes."""
    whole = intraday(WEDNESDAY, THURSDAY)
    straight, mixed = (tmp_path_factory.mktemp(name) for name in ("straight", "mixed"))
    BarStore(straight).write(whole, interval=FIVE, fetched_at=FIRST)

    for number in order:
        BarStore(mixed).write(whole.slice(number * 37, 50), interval=FIVE, fetched_at=FIRST)

    contents = [
        {name: data for name, (data, _) in files(root).items()} for root in (straight, mixed)
    ]
    assert contents[0] == contents[1]


def test_final_at_first_sight_up_to_the_settled_session(tmp_path: Path) -> None:
    """Later bars are provisional, and only final ones are read where that is asked for."""
    store = BarStore(tmp_path)

    report = store.write(
        bars(MONDAY, TUESDAY, WEDNESDAY),
        interval=DAILY,
        fetched_at=FIRST,
        finality=settled_through(MONDAY, TUESDAY),
    )

    assert (report.n_added, report.n_final, report.n_provisional) == (3, 1, 2)
    final = store.read("M&M", interval=DAILY, final_only=True)
    assert final["session"].to_list() == [MONDAY]
    assert store.read("M&M", interval=DAILY).height == 3


@pytest.mark.parametrize(
    ("hours", "confirmable", "is_final"),
    [(6, TUESDAY, True), (5.9, TUESDAY, False), (48, MONDAY, False)],
    ids=["confirmed", "too soon", "session still open"],
)
def test_a_second_equal_delivery_confirms(
    tmp_path: Path, hours: float, confirmable: date, *, is_final: bool
) -> None:
    """It must come late enough and for a closed session; no revision is made of it."""
    store = BarStore(tmp_path)
    rule = settled_through(date(2024, 1, 22), confirmable)
    store.write(bars(TUESDAY), interval=DAILY, fetched_at=FIRST, finality=rule)
    before = files(tmp_path)

    again = FIRST + timedelta(hours=hours)
    report = store.write(bars(TUESDAY), interval=DAILY, fetched_at=again, finality=rule)

    assert (report.n_unchanged, report.n_confirmed) == (1, int(is_final))
    assert store.read("M&M", interval=DAILY).select("fetched_at", "is_final").rows() == [
        (FIRST, is_final)
    ]
    assert store.revisions("M&M", DAILY).is_empty()
    assert (files(tmp_path) == before) != is_final


def test_a_final_bar_stays_final_when_delivered_again(tmp_path: Path) -> None:
    """Even by a delivery that would be provisional by itself; no byte changes."""
    store = BarStore(tmp_path)
    store.write(bars(TUESDAY), interval=DAILY, fetched_at=FIRST)
    before = files(tmp_path)

    report = store.write(bars(TUESDAY), interval=DAILY, fetched_at=SECOND, finality=OPEN)

    assert (report.n_final, report.n_confirmed) == (1, 0)
    assert files(tmp_path) == before


def test_a_changed_final_bar_is_counted_and_open_again(tmp_path: Path) -> None:
    """Two looks no longer agree; the former final value is among the revisions."""
    store = BarStore(tmp_path)
    rule = settled_through(MONDAY, WEDNESDAY)
    store.write(bars(MONDAY, TUESDAY), interval=DAILY, fetched_at=FIRST)
    store.write(bars(WEDNESDAY), interval=DAILY, fetched_at=FIRST, finality=rule)

    report = store.write(
        bars(MONDAY, TUESDAY, WEDNESDAY, close=99.0),
        interval=DAILY,
        fetched_at=SECOND,
        finality=rule,
    )

    assert (report.n_changed, report.n_final_changed) == (3, 2)
    assert store.read("M&M", interval=DAILY)["is_final"].to_list() == [True, False, False]
    assert store.revisions("M&M", DAILY)["is_final"].to_list() == [True, True, False]


def test_a_session_with_missing_bars_is_not_confirmed(tmp_path: Path) -> None:
    """Within the recheck window every bar must be there first; then the ones seen twice settle."""
    store = BarStore(tmp_path)
    rule = settled_through(MONDAY, WEDNESDAY)
    first, rest = (
        part
        for _, part in intraday(TUESDAY).group_by(
            pl.col("starts_at") > pl.lit(datetime(2024, 1, 30, 3, 45, tzinfo=UTC)),
            maintain_order=True,
        )
    )
    store.write(rest, interval=FIVE, fetched_at=FIRST, finality=rule)

    short = store.write(rest, interval=FIVE, fetched_at=SECOND, finality=rule)
    whole = store.write(pl.concat([first, rest]), interval=FIVE, fetched_at=SECOND, finality=rule)
    later = store.write(first, interval=FIVE, fetched_at=SECOND + timedelta(hours=6), finality=rule)

    assert (short.n_unchanged, short.n_confirmed) == (74, 0)
    assert (whole.n_added, whole.n_confirmed, whole.n_provisional) == (1, 74, 1)
    assert later.n_confirmed == 1
    assert store.read("M&M", interval=FIVE, final_only=True).height == 75


def test_an_intraday_chunk_again_too_soon_changes_no_byte(tmp_path: Path) -> None:
    """A retry within the hour is no second look."""
    store = BarStore(tmp_path)
    rule = settled_through(MONDAY, TUESDAY)
    store.write(intraday(MONDAY, TUESDAY), interval=FIVE, fetched_at=FIRST, finality=rule)
    before = files(tmp_path)

    again = FIRST + timedelta(hours=1)
    report = store.write(intraday(MONDAY, TUESDAY), interval=FIVE, fetched_at=again, finality=rule)

    assert (report.n_unchanged, report.n_final, report.n_provisional) == (150, 75, 75)
    assert files(tmp_path) == before


def test_an_old_session_with_missing_bars_is_final_all_the_same(tmp_path: Path) -> None:
    """What the source lacks for longer than the recheck window, it lacks for good."""
    store = BarStore(tmp_path)

    report = store.write(
        intraday(TUESDAY)[1:], interval=FIVE, fetched_at=FIRST, finality=settled_through(TUESDAY)
    )

    assert (report.n_final, report.n_provisional) == (74, 0)


def test_a_session_of_unknown_hours_can_be_confirmed(tmp_path: Path) -> None:
    """Of the drill on 2024-03-02 nobody knows how many bars it has, so none can be missed."""
    drill = date(2024, 3, 2)
    one = intraday(TUESDAY)[:1].with_columns(
        session=pl.lit(drill), starts_at=pl.lit(datetime(2024, 3, 2, 4, tzinfo=UTC))
    )
    one = one.cast(INTRADAY_SCHEMA)
    store = BarStore(tmp_path)
    rule = settled_through(TUESDAY, drill)

    store.write(one, interval=FIVE, fetched_at=FIRST, finality=rule)
    report = store.write(one, interval=FIVE, fetched_at=SECOND, finality=rule)

    assert report.n_confirmed == 1


deliveries = st.lists(
    st.tuples(
        st.sets(st.sampled_from([MONDAY, TUESDAY, WEDNESDAY]), min_size=1),
        st.sampled_from([99.0, 101.0]),
        st.integers(1, 20),
        st.sampled_from([None, MONDAY, TUESDAY, WEDNESDAY]),
    ),
    min_size=1,
    max_size=6,
)


@given(deliveries)
def test_nothing_that_was_ever_delivered_is_lost(
    tmp_path_factory: pytest.TempPathFactory,
    script: list[tuple[set[date], float, int, date | None]],
) -> None:
    """A slow model of one bar at a time agrees on values, finality, first fetch and revisions."""
    store = BarStore(tmp_path_factory.mktemp("store"))
    now, model, past = FIRST, dict[date, tuple[float, datetime, bool]](), list[tuple[date, float]]()

    for sessions, close, hours, last in script:
        now += timedelta(hours=hours)
        rule = settled_through(MONDAY if last else None, last)
        store.write(
            bars(*sorted(sessions), close=close), interval=DAILY, fetched_at=now, finality=rule
        )
        for session in sessions:
            old = model.get(session)
            is_final = bool(last) and session <= MONDAY
            if old is not None and old[0] == close:
                is_late = now - old[1] >= timedelta(hours=6)
                is_confirmed = last is not None and session <= last and is_late
                model[session] = (close, old[1], old[2] or is_final or is_confirmed)
                continue
            if old is not None:
                past.append((session, old[0]))
            model[session] = (close, now, is_final)

    read = store.read("M&M", interval=DAILY)
    kept = dict(
        zip(read["session"], read.select("close", "fetched_at", "is_final").rows(), strict=True)
    )
    assert kept == model
    former = store.revisions("M&M", DAILY).select("session", "close").rows()
    assert sorted(former) == sorted(past)


def test_sessions_are_counted_without_reading_prices(tmp_path: Path) -> None:
    """Bars and final bars per session, within the range, oldest first."""
    store = BarStore(tmp_path)
    store.write(
        intraday(TUESDAY, WEDNESDAY, THURSDAY)[1:],
        interval=FIVE,
        fetched_at=FIRST,
        finality=settled_through(WEDNESDAY),
    )

    counted = store.sessions_stored("M&M", FIVE, start=WEDNESDAY)

    assert counted.schema == SESSIONS_SCHEMA
    assert counted.rows() == [(WEDNESDAY, 75, 75), (THURSDAY, 75, 0)]
    assert store.sessions_stored("M&M", FIVE, end=TUESDAY).rows() == [(TUESDAY, 74, 74)]
    assert store.sessions_stored("M&M", DAILY).equals(SESSIONS_SCHEMA.to_frame())
    assert store.sessions_stored("M&M", FIVE, start=date(2025, 1, 1)).is_empty()


def test_damaged_bars_are_not_counted(tmp_path: Path) -> None:
    """A file that cannot be read is an error, not a gap."""
    store = BarStore(tmp_path)
    store.write(bars(MONDAY), interval=DAILY, fetched_at=FIRST)
    next(tmp_path.rglob("year=2024.parquet")).write_bytes(b"PAR1 garbage PAR1")

    with pytest.raises(RecordError, match="cannot be counted"):
        store.sessions_stored("M&M", DAILY)


def test_no_bars_write_nothing(tmp_path: Path) -> None:
    """An empty delivery is a delivery of nothing."""
    report = BarStore(tmp_path).write(INTRADAY_SCHEMA.to_frame(), interval=FIVE, fetched_at=FIRST)

    assert report.partitions == ()
    assert files(tmp_path) == {}


def test_intraday_kinds_never_meet_in_different_months(tmp_path: Path) -> None:
    """A month that is not touched speaks for the symbol."""
    store = BarStore(tmp_path)
    store.write(intraday(WEDNESDAY), interval=FIVE, fetched_at=FIRST)

    with pytest.raises(StorageError, match="simulated and real"):
        store.write(intraday(THURSDAY, is_simulated=True), interval=FIVE, fetched_at=FIRST)


def refused(*values: str, symbol: str = "M&M", session: date | None = MONDAY) -> pl.DataFrame:
    rows = [
        (symbol, session, None, number, "negative_volume", value)
        for number, value in enumerate(values, start=1)
    ]
    return pl.DataFrame(rows, schema=QUARANTINE_SCHEMA, orient="row")


def test_refused_rows_are_kept_once(tmp_path: Path) -> None:
    """The same bad row again changes no byte, wherever it stands in the delivery."""
    store = BarStore(tmp_path)
    assert store.quarantine("M&M", DAILY).equals(QUARANTINED_SCHEMA.to_frame())

    first = store.write_quarantine(
        "M&M", refused("a", "b"), interval=DAILY, fetched_at=FIRST, source="x"
    )
    before = files(tmp_path)
    again = store.write_quarantine(
        "M&M", refused("b"), interval=DAILY, fetched_at=SECOND, source="x"
    )

    assert (first, again) == (2, 0)
    assert files(tmp_path) == before
    assert list(before) == ["quarantine/interval=1day/symbol=M&M.parquet"]


def test_the_quarantine_grows_in_any_order(tmp_path: Path) -> None:
    """Undated rows count too, another source has rows of its own, and no order is left behind."""
    parts = [
        (refused("b"), "x"),
        (refused("?", session=None), "x"),
        (refused("b"), "y"),
    ]
    contents: list[dict[str, bytes]] = []
    for name, order in (("one", parts), ("two", parts[::-1])):
        store = BarStore(tmp_path / name)
        for frame, source in order:
            store.write_quarantine("M&M", frame, interval=FIVE, fetched_at=FIRST, source=source)
        contents.append({path: data for path, (data, _) in files(tmp_path / name).items()})

    kept = BarStore(tmp_path / "one").quarantine("M&M", FIVE)
    assert kept.select("session", "raw_values", "source", "fetched_at").rows() == [
        (None, "?", "x", FIRST),
        (MONDAY, "b", "x", FIRST),
        (MONDAY, "b", "y", FIRST),
    ]
    assert contents[0] == contents[1]


def test_a_quarantine_is_of_one_symbol(tmp_path: Path) -> None:
    """Rows of another symbol, other columns and naive times are refused; no rows make no file."""
    store = BarStore(tmp_path)

    with pytest.raises(InvalidBarsError, match="TCS"):
        store.write_quarantine(
            "M&M", refused("a", symbol="TCS"), interval=DAILY, fetched_at=FIRST, source="x"
        )
    with pytest.raises(InvalidBarsError, match="not one of this kind"):
        store.write_quarantine(
            "M&M", pl.DataFrame({"a": [1]}), interval=DAILY, fetched_at=FIRST, source="x"
        )
    with pytest.raises(ConfigError, match="time zone"):
        store.write_quarantine(
            "M&M",
            refused("a"),
            interval=DAILY,
            fetched_at=datetime(2026, 1, 1),  # noqa: DTZ001
            source="x",
        )
    store.write_quarantine(
        "M&M", QUARANTINE_SCHEMA.to_frame(), interval=DAILY, fetched_at=FIRST, source="x"
    )

    assert files(tmp_path) == {}


def dispute(*sessions: date, symbol: str = "M&M") -> pl.DataFrame:
    rows = [(symbol, session, "differs", "close", 1.0, 2.0, "5minute") for session in sessions]
    return pl.DataFrame(rows, schema=DISPUTE_SCHEMA, orient="row")


def test_disputed_sessions_are_not_read_as_final(tmp_path: Path) -> None:
    """They stay stored, and come back once the latest comparison holds nothing against them."""
    store = BarStore(tmp_path)
    store.write(bars(MONDAY, TUESDAY), interval=DAILY, fetched_at=FIRST)

    store.write_disputes("M&M", dispute(TUESDAY, MONDAY), interval=DAILY)
    store.write_disputes("M&M", dispute(TUESDAY), interval=DAILY)

    assert store.disputes("M&M", DAILY).equals(dispute(TUESDAY))
    assert store.read("M&M", interval=DAILY, final_only=True)["session"].to_list() == [MONDAY]
    assert store.read("M&M", interval=DAILY).height == 2
    store.write_disputes("M&M", DISPUTE_SCHEMA.to_frame(), interval=DAILY)
    assert store.read("M&M", interval=DAILY, final_only=True).height == 2


def test_the_same_disputes_change_no_byte(tmp_path: Path) -> None:
    """Neither do they in another order; an empty table tells compared from not compared."""
    store = BarStore(tmp_path)
    store.write_disputes("TCS", DISPUTE_SCHEMA.to_frame(), interval=FIVE)
    store.write_disputes("M&M", dispute(MONDAY, TUESDAY), interval=FIVE)
    before = files(tmp_path)

    store.write_disputes("TCS", DISPUTE_SCHEMA.to_frame(), interval=FIVE)
    store.write_disputes("M&M", dispute(TUESDAY, MONDAY, MONDAY), interval=FIVE)

    assert files(tmp_path) == before
    assert list(before) == [
        "disputes/interval=5minute/symbol=M&M.parquet",
        "disputes/interval=5minute/symbol=TCS.parquet",
    ]
    with pytest.raises(InvalidBarsError, match="not one of this kind"):
        store.write_disputes("M&M", dispute(MONDAY, symbol="TCS"), interval=FIVE)
