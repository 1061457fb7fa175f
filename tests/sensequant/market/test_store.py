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
from sensequant.market.adjustments import ACTION_SCHEMA
from sensequant.market.bars import BAR_SCHEMA, DAILY, bars_digest
from sensequant.market.store import STORED_SCHEMA, BarStore
from sensequant.storage import write_table

FIRST = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = datetime(2026, 1, 2, 12, tzinfo=UTC)


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

    report = store.write(written, interval=DAILY, fetched_at=FIRST.astimezone(ist), is_final=False)

    read = store.read("M&M", interval=DAILY)
    assert read.schema == STORED_SCHEMA
    assert read.select(BAR_SCHEMA.names()).equals(written.filter(pl.col("symbol") == "M&M"))
    assert read["fetched_at"].unique().to_list() == [FIRST]
    assert not read["is_final"].any()
    assert store.symbols(DAILY) == ("M&M", "TCS")
    assert [(part.symbol, part.year, part.n_added) for part in report.partitions] == [
        ("M&M", 2023, 2),
        ("M&M", 2024, 3),
        ("TCS", 2024, 1),
    ]
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


def test_becoming_final_is_a_change(tmp_path: Path) -> None:
    """A provisional bar that is confirmed is stored as final."""
    store = BarStore(tmp_path)
    store.write(bars(*days(2024, 1)), interval=DAILY, fetched_at=FIRST, is_final=False)

    report = store.write(bars(*days(2024, 1)), interval=DAILY, fetched_at=SECOND)

    assert report.n_changed == 1
    assert store.read("M&M", interval=DAILY)["is_final"].to_list() == [True]
    assert store.revisions("M&M", DAILY)["is_final"].to_list() == [False]


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
    row = (symbol, date(2024, 1, 1), "split", ratio, "words", source)
    return pl.DataFrame([row], schema=ACTION_SCHEMA, orient="row")


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
