"""Context at rest: rows are only added, corrections are known when they arrive, marks never mix."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from sensequant.context.depth import DEPTH
from sensequant.context.rows import require_rows
from sensequant.context.store import REFUSED_SCHEMA, ContextStore, WriteCounts
from sensequant.errors import ConfigError, InvalidContextError, RecordError, StorageError

SnapshotMaker = Callable[..., pl.DataFrame]

AT = datetime(2024, 2, 1, tzinfo=UTC)
BOOK = ([(99.0, 10.0)], [(101.0, 30.0)])
OTHER = ([(98.0, 10.0)], [(101.0, 30.0)])


@pytest.fixture
def store(tmp_path: Path) -> ContextStore:
    """Return an empty store of real rows."""
    return ContextStore(tmp_path, is_simulated=False)


def test_what_is_written_is_read(store: ContextStore, make_snapshots: SnapshotMaker) -> None:
    """Rows of two symbols and three months come back as they were, sorted."""
    rows = pl.concat(
        make_snapshots([0, 86_400 * 31, 86_400 * 62], [BOOK] * 3, symbol=symbol)
        for symbol in ("BBB", "AAA")
    )

    counts = store.write(DEPTH, rows[::-1], written_at=AT)

    assert counts == WriteCounts(n_added=6)
    assert store.symbols(DEPTH) == ("AAA", "BBB")
    assert store.read(DEPTH, "AAA").equals(rows[3:])
    one = store.read(DEPTH, "AAA", start=date(2024, 2, 1), end=date(2024, 2, 1))
    assert one.equals(rows[4:5])
    assert store.read(DEPTH, "CCC").equals(DEPTH.schema.to_frame())


def test_the_same_delivery_again_changes_no_byte(
    store: ContextStore, make_snapshots: SnapshotMaker, tmp_path: Path
) -> None:
    """A row that is stored is known, whenever it is delivered again."""
    rows = make_snapshots([0, 10], [BOOK, OTHER])
    store.write(DEPTH, rows, written_at=AT)
    (path,) = tmp_path.rglob("*.parquet")
    before = path.stat().st_mtime_ns

    assert store.write(DEPTH, rows, written_at=AT + timedelta(days=1)) == WriteCounts(n_known=2)
    assert path.stat().st_mtime_ns == before


def test_a_correction_was_not_known_before_it_came(
    store: ContextStore, make_snapshots: SnapshotMaker
) -> None:
    """Another value for a stored moment is a version of its own, known from its delivery on."""
    store.write(DEPTH, make_snapshots([0], [BOOK]), written_at=AT)

    counts = store.write(DEPTH, make_snapshots([0], [OTHER]), written_at=AT + timedelta(days=1))
    again = store.write(DEPTH, make_snapshots([0], [OTHER]), written_at=AT + timedelta(days=2))

    versions = store.read(DEPTH, "AAA")
    assert (counts, again) == (WriteCounts(n_corrected=1), WriteCounts(n_known=1))
    assert versions["known_at"].to_list() == [versions["at"][0], AT + timedelta(days=1)]
    assert versions["bid_price"].to_list() == [[99.0], [98.0]]


def test_a_value_that_comes_back_is_a_correction_too(
    store: ContextStore, make_snapshots: SnapshotMaker
) -> None:
    """A, B, A: the last delivery stands, because it is what is known last."""
    for n_days, book in enumerate([BOOK, OTHER, BOOK]):
        written_at = AT + timedelta(days=n_days)
        store.write(DEPTH, make_snapshots([0], [book]), written_at=written_at)

    assert store.read(DEPTH, "AAA")["bid_price"].to_list() == [[99.0], [98.0], [99.0]]


def test_simulated_rows_never_meet_real_ones(
    store: ContextStore, make_snapshots: SnapshotMaker
) -> None:
    """A store holds the rows of one kind of market."""
    invented = make_snapshots([0], [BOOK]).with_columns(is_simulated=pl.lit(value=True))

    with pytest.raises(StorageError, match="would meet"):
        store.write(DEPTH, invented, written_at=AT)


@pytest.mark.parametrize(
    "change",
    [
        pl.col("known_at") - pl.duration(seconds=1),
        pl.lit(None, pl.String).alias("symbol"),
        pl.lit(None, pl.Datetime("us", "UTC")).alias("known_at"),
        pl.lit(None, pl.String).alias("source"),
        pl.lit(None, pl.Boolean).alias("is_simulated"),
    ],
    ids=["known before it happened", "nobody's", "never known", "no source", "no mark"],
)
def test_a_row_that_breaks_the_contract_is_refused(
    change: pl.Expr, make_snapshots: SnapshotMaker
) -> None:
    """Every row says whose, when, since when known, from where, and whether it is invented."""
    with pytest.raises(InvalidContextError, match="when they were known"):
        require_rows(make_snapshots([0], [BOOK]).with_columns(change), DEPTH)


def test_other_columns_are_refused(make_snapshots: SnapshotMaker) -> None:
    """The message names what is there."""
    with pytest.raises(InvalidContextError, match="other columns"):
        require_rows(make_snapshots([0], [BOOK]).drop("source"), DEPTH)


def test_one_delivery_says_one_thing_of_a_moment(
    store: ContextStore, make_snapshots: SnapshotMaker
) -> None:
    """Two rows with one key in one delivery contradict each other."""
    with pytest.raises(InvalidContextError, match="several things about one moment"):
        store.write(DEPTH, make_snapshots([0, 0], [BOOK, OTHER]), written_at=AT)


def test_names_and_times_are_checked(store: ContextStore, make_snapshots: SnapshotMaker) -> None:
    """A text that is no symbol never becomes a path; a naive time is no moment."""
    with pytest.raises(ConfigError, match="no symbol"):
        store.write(DEPTH, make_snapshots([0], [BOOK], symbol="../X"), written_at=AT)
    with pytest.raises(ConfigError, match="no time zone"):
        store.write(DEPTH, make_snapshots([0], [BOOK]), written_at=datetime(2024, 1, 1))  # noqa: DTZ001
    with pytest.raises(ConfigError, match="no symbol"):
        store.read(DEPTH, "a/b")


def test_a_damaged_file_is_told(
    store: ContextStore, make_snapshots: SnapshotMaker, tmp_path: Path
) -> None:
    """A file that is no table stops the reader, instead of being taken for empty."""
    store.write(DEPTH, make_snapshots([0], [BOOK]), written_at=AT)
    (path,) = tmp_path.rglob("session=2024-01-01.parquet")
    path.write_bytes(b"no table")

    with pytest.raises(RecordError, match="cannot be read"):
        store.read(DEPTH, "AAA")


def refused(symbol: str | None, reason: str) -> pl.DataFrame:
    return pl.DataFrame(
        [(symbol, "2024-01-01 09:15:00", reason, "detail", "test", "file.csv", AT)],
        schema=REFUSED_SCHEMA,
        orient="row",
    )


def test_coverage_says_what_exists(store: ContextStore, make_snapshots: SnapshotMaker) -> None:
    """Rows, corrections, dates and refusals are counted; a symbol with refusals alone counts."""
    store.write(DEPTH, make_snapshots([0, 10, 86_400], [BOOK] * 3), written_at=AT)
    store.write(DEPTH, make_snapshots([0], [OTHER]), written_at=AT)

    n_kept = [
        store.refuse(DEPTH, refused(symbol, reason))
        for symbol, reason in [("AAA", "x"), ("AAA", "x"), ("AAA", "y"), ("BBB", "x")]
    ]

    assert n_kept == [1, 0, 1, 1]
    whole, empty = store.coverage([DEPTH]).to_dicts()
    assert whole == {
        "kind": "depth",
        "symbol": "AAA",
        "n_rows": 4,
        "n_corrections": 1,
        "n_dates": 2,
        "first": date(2024, 1, 1),
        "last": date(2024, 1, 2),
        "sources": "test",
        "is_simulated": False,
        "n_refused": 2,
    }
    assert (empty["symbol"], empty["n_rows"], empty["n_refused"]) == ("BBB", 0, 1)
    assert empty["first"] is None
