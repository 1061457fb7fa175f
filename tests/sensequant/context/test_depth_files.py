"""Files of order books: every reason to refuse a snapshot, by a row that gives it."""

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from sensequant.context.depth import DEPTH
from sensequant.context.depth_files import import_depth, read_depth_file
from sensequant.context.files import Delivered
from sensequant.context.store import ContextStore, WriteCounts
from sensequant.errors import ConfigError, InvalidContextError
from sensequant.market.sessions import nse_calendar

AT = datetime(2024, 2, 1, tzinfo=UTC)
HEADER = "timestamp,bbq1,bbq2,bbp1,bbp2,bsq1,bsq2,bsp1,bsp2"
GOOD = "10,20,99,98,30,0,101,0"


def read(folder: Path, *lines: str, header: str = HEADER) -> Delivered:
    path = folder / "AAA_20240101.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return read_depth_file(path, symbol="AAA", calendar=nse_calendar(), imported_at=AT)


def test_a_snapshot_keeps_the_levels_that_have_orders(tmp_path: Path) -> None:
    """The clock of India becomes UTC; a level of quantity and price 0 is none."""
    rows = read(tmp_path, f"2024-01-01 09:15:02,{GOOD}").rows

    assert rows.to_dicts() == [
        {
            "symbol": "AAA",
            "at": datetime(2024, 1, 1, 3, 45, 2, tzinfo=UTC),
            "known_at": datetime(2024, 1, 1, 3, 45, 2, tzinfo=UTC),
            "source": "depth_file",
            "is_simulated": False,
            "bid_price": [99.0, 98.0],
            "bid_quantity": [10.0, 20.0],
            "ask_price": [101.0],
            "ask_quantity": [30.0],
        }
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"noon,{GOOD}", "unreadable_time"),
        (f"2024-01-01 09:14:59,{GOOD}", "outside_hours"),
        (f"2024-01-01 15:30:00,{GOOD}", "outside_hours"),
        (f"2023-12-31 10:00:00,{GOOD}", "outside_hours"),
        (f"1999-01-01 10:00:00,{GOOD}", "outside_hours"),
        ("2024-01-01 10:00:00,ten,20,99,98,30,0,101,0", "unreadable_number"),
        ("2024-01-01 10:00:00,,20,99,98,30,0,101,0", "unreadable_number"),
        ("2024-01-01 10:00:00,-1,20,99,98,30,0,101,0", "impossible_number"),
        ("2024-01-01 10:00:00,10,20,inf,98,30,0,101,0", "impossible_number"),
        ("2024-01-01 10:00:00,10,20,99,98,30,0,nan,0", "impossible_number"),
        ("2024-01-01 10:00:00,0,0,0,0,0,0,0,0", "empty_book"),
        ("2024-01-01 10:00:00,10,20,99,98,0,0,0,0", "one_sided_book"),
        ("2024-01-01 10:00:00,0,20,99,98,30,0,101,0", "zero_quantity"),
        ("2024-01-01 10:00:00,10,20,99,98,30,5,101,0", "zero_quantity"),
        ("2024-01-01 10:00:00,0,20,0,98,30,0,101,0", "zero_quantity"),
        ("2024-01-01 10:00:00,10,20,98,99,30,0,101,0", "unordered_levels"),
        ("2024-01-01 10:00:00,10,20,99,98,30,5,101,101", "unordered_levels"),
        ("2024-01-01 10:00:00,10,20,101,98,30,0,101,0", "crossed_book"),
        ("2024-01-01 10:00:00,10,20,102,98,30,0,101,0", "crossed_book"),
    ],
)
def test_a_snapshot_that_cannot_be_used_keeps_its_reason(
    tmp_path: Path, line: str, reason: str
) -> None:
    """It is refused as it stands, and the good one beside it is kept."""
    delivered = read(tmp_path, f"2024-01-01 09:20:00,{GOOD}", line)

    assert delivered.refused["reason"].to_list() == [reason]
    assert delivered.refused["stamp"][0] == line.partition(",")[0]
    assert delivered.rows.height == 1


def test_twins_and_contradictions(tmp_path: Path) -> None:
    """The same book twice at one moment is there once; two books at one moment are both refused."""
    other = GOOD.replace("99", "99.5")
    delivered = read(
        tmp_path,
        f"2024-01-01 09:20:00,{GOOD}",
        f"2024-01-01 09:20:00,{GOOD}",
        f"2024-01-01 09:21:00,{GOOD}",
        f"2024-01-01 09:21:00,{other}",
    )

    assert delivered.rows["at"].to_list() == [datetime(2024, 1, 1, 3, 50, tzinfo=UTC)]
    assert delivered.refused["reason"].to_list() == ["duplicate", "contradiction", "contradiction"]


def test_a_frozen_feed_is_refused_until_it_moves(tmp_path: Path) -> None:
    """One book repeated for more than five minutes; unsorted rows are judged in their order."""
    moved = GOOD.replace("99", "99.5")
    minutes = [(20, GOOD), (25, GOOD), (27, moved), (26, GOOD), (24, GOOD), (28, GOOD), (33, GOOD)]

    delivered = read(tmp_path, *(f"2024-01-01 09:{each}:00,{book}" for each, book in minutes))

    assert delivered.refused["reason"].to_list() == ["frozen_feed"]
    assert delivered.refused["stamp"].to_list() == ["2024-01-01 09:26:00"]
    assert delivered.rows["at"].dt.minute().to_list() == [50, 55, 57, 54, 58, 3]


@pytest.mark.parametrize(
    "header",
    [
        HEADER.replace("timestamp", "time"),
        HEADER.replace("bsp2", "bsp3"),
        "timestamp,open,high,low,close",
    ],
    ids=["no stamp", "a level lacks", "bars"],
)
def test_another_layout_is_refused(tmp_path: Path, header: str) -> None:
    """A file of something else is told apart, with what is missing."""
    n_values = header.count(",")
    line = "2024-01-01 09:20:00" + ",1" * n_values

    with pytest.raises(InvalidContextError, match="no table of order books"):
        read(tmp_path, line, header=header)


def test_an_import_brings_files_of_every_form(tmp_path: Path) -> None:
    """CSV, gzipped CSV and Parquet of a folder; whose they are stands in their names."""
    folder, lines = tmp_path / "files", [HEADER, f"2024-01-01 09:20:00,{GOOD}"]
    folder.mkdir()
    (folder / "AAA_1.csv").write_text("\n".join([*lines, "noon" + ",0" * 8]))
    (folder / "M&M_1.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    pl.read_csv((folder / "AAA_1.csv").read_bytes(), n_rows=1).write_parquet(
        folder / "CCC_1.parquet"
    )
    store = ContextStore(tmp_path / "home", is_simulated=True)

    first, second = (
        import_depth(
            store, folder, calendar=nse_calendar(), imported_at=AT, delay=timedelta(seconds=2)
        )
        for _ in range(2)
    )

    assert first.counts == WriteCounts(n_added=3)
    assert second.counts == WriteCounts(n_known=3)
    assert first.symbols == store.symbols(DEPTH) == ("AAA", "CCC", "M&M")
    assert store.refused(DEPTH)["reason"].to_list() == ["unreadable_time"]
    row = store.read(DEPTH, "M&M").to_dicts()[0]
    assert row["known_at"] - row["at"] == timedelta(seconds=2)
    assert row["is_simulated"]


@pytest.mark.parametrize("encoding", ["latin1", "utf-16"])
def test_a_file_in_an_unknown_encoding_is_refused_whole(tmp_path: Path, encoding: str) -> None:
    """Nothing of it is guessed."""
    path = tmp_path / "AAA.csv"
    path.write_bytes(f"{HEADER},note\n2024-01-01 09:20:00,{GOOD},\u00e9".encode(encoding))

    with pytest.raises(InvalidContextError, match="no table of order books"):
        read_depth_file(path, symbol="AAA", calendar=nse_calendar(), imported_at=AT)


def test_a_file_must_say_whose_it_is(tmp_path: Path) -> None:
    """By its name, or by the one who imports it; an empty folder is no import."""
    path = tmp_path / "book.csv"
    path.write_text("\n".join([HEADER, f"2024-01-01 09:20:00,{GOOD}"]))
    store = ContextStore(tmp_path / "home", is_simulated=False)
    calendar = nse_calendar()

    with pytest.raises(InvalidContextError, match="whose it is"):
        import_depth(store, path, calendar=calendar, imported_at=AT)
    report = import_depth(store, path, calendar=calendar, imported_at=AT, symbol="AAA")
    with pytest.raises(ConfigError, match="nothing to import"):
        import_depth(store, tmp_path / "none", calendar=calendar, imported_at=AT)

    assert report.symbols == ("AAA",)
