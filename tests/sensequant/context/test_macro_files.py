"""Files of macro series: when each value counts as known, and every reason to refuse one."""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensequant.context.files import Delivered
from sensequant.context.hours import decisions_of
from sensequant.context.macro import MACRO, known_series, series_of_stem
from sensequant.context.macro_files import import_macro, read_macro_file
from sensequant.context.macro_sessions import macro_by_session
from sensequant.context.store import ContextStore, WriteCounts
from sensequant.errors import InvalidContextError
from sensequant.market.sessions import nse_calendar

CALENDAR = nse_calendar()
AT = datetime(2024, 2, 1, tzinfo=UTC)


def read(folder: Path, name: str, *lines: str) -> Delivered:
    path = folder / name
    path.write_text("\n".join(lines), encoding="utf-8")
    return read_macro_file(path, calendar=CALENDAR, imported_at=AT)


def bring(
    store: ContextStore, folder: Path, *lines: str, at: datetime = AT, name: str = "usdinr.csv"
) -> tuple[WriteCounts, list[tuple[str, str]]]:
    path = folder / name
    path.write_text("\n".join(lines), encoding="utf-8")
    report = import_macro(store, path, calendar=CALENDAR, imported_at=at)
    return report.counts, list(report.refused.select("stamp", "reason").iter_rows())


def value_at(store: ContextStore, series: str, session: date) -> float | None:
    found = macro_by_session(store.read(MACRO, series), decisions_of(CALENDAR))
    rows = found.filter(pl.col("session") == session)["value"].to_list()
    return rows[0] if rows else None


@pytest.mark.parametrize("encoding", ["latin1", "utf-16"])
def test_a_file_in_an_unknown_encoding_is_refused_whole(tmp_path: Path, encoding: str) -> None:
    """Nothing of it is guessed; the error says what was found."""
    path = tmp_path / "usdinr.csv"
    path.write_bytes("date,value,note\n2024-01-02,83,\u00e9".encode(encoding))

    with pytest.raises(InvalidContextError, match="'utf-8' codec"):
        read_macro_file(path, calendar=CALENDAR, imported_at=AT)


@pytest.fixture
def store(tmp_path: Path) -> ContextStore:
    """Return an empty store of real context."""
    return ContextStore(tmp_path / "home", is_simulated=False)


@pytest.mark.parametrize(
    ("name", "lines", "expected"),
    [
        (
            "indiavix_nse.csv",
            ("Date ,Open ,High ,Low ,Close ", "02-JAN-2024,14,15,13,14.5"),
            ("INDIAVIX", "2024-01-02 10:00", "2024-01-02 10:00", 14.5),
        ),
        (
            "ind_close_all.csv",
            ("Index Name,Index Date,Open Index Value,Closing Index Value",
             'Nifty Bank,02-01-2024,48200,"47,761.65"'),
            ("BANKNIFTY", "2024-01-02 10:00", "2024-01-02 10:00", 47761.65),
        ),
        (
            "fbil.csv",
            ("Date,Time,Currency Pairs,Rate", "02/01/2024,13:30,INR / 1 USD,83.2803"),
            ("USDINR", "2024-01-02 07:00", "2024-01-02 09:30", 83.2803),
        ),
        (
            "rbi.csv",
            ("Date,USD,GBP,EURO", "2 Jan 2024,83.2803,106,91"),
            ("USDINR", "2024-01-02 07:00", "2024-01-02 09:30", 83.2803),
        ),
        (
            "in10y_ccil.csv",
            ("date,yield", "2024-01-02,7.19%"),
            ("IN10Y", "2024-01-02 11:30", "2024-01-02 15:30", 7.19),
        ),
        (
            "gold.csv",
            ("date,value,released_at", "2024-01-02,63000,2024-01-03 09:00:00"),
            ("GOLD", "2024-01-02 11:30", "2024-01-03 03:30", 63000.0),
        ),
    ],
    ids=["NSE history", "NSE day file", "FBIL", "RBI", "yield", "with a time of release"],
)  # fmt: skip
def test_a_value_is_known_by_the_rule_of_its_series(
    tmp_path: Path, name: str, lines: tuple[str, ...], expected: tuple[str, str, str, float]
) -> None:
    """Each layout is read; instants are those of the table of series, in UTC."""
    delivered = read(tmp_path, name, *lines)
    rows = delivered.rows.select(
        "symbol",
        pl.col("at").dt.strftime("%Y-%m-%d %H:%M"),
        pl.col("known_at").dt.strftime("%Y-%m-%d %H:%M"),
        "value",
    )

    assert rows.rows() == [expected]


def test_unknown_columns_of_a_wide_file_are_no_series(tmp_path: Path) -> None:
    """Other currencies are passed over; names in a column that nobody knows are told once each."""
    assert read(tmp_path, "rbi.csv", "Date,USD,GBP", "02-01-2024,83,106").refused.is_empty()
    delivered = read(
        tmp_path, "a.csv", "Index Name,Date,Close", "Nifty X,02-01-2024,1", "Nifty X,03-01-2024,1"
    )

    assert delivered.rows.is_empty()
    assert delivered.refused.select("reason", "detail").rows() == [
        ("unknown_series", "Nifty X: 2 rows")
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("soon,83", "unreadable_time"),
        ("2024-01-02,", "no_value"),
        ("2024-01-02,N/A", "no_value"),
        ("2024-01-02,eighty", "unreadable_number"),
        ("2024-01-02,0", "impossible_number"),
        ("2024-01-02,-83", "impossible_number"),
        ("2024-01-02,inf", "impossible_number"),
        ("2024-03-04,83", "in_the_future"),
    ],
)
def test_a_value_that_cannot_be_used_has_its_reason(tmp_path: Path, line: str, reason: str) -> None:
    """Nothing is invented in its place."""
    delivered = read(tmp_path, "usdinr.csv", "date,value", line)

    assert delivered.rows.is_empty()
    assert delivered.refused["reason"].to_list() == [reason]


def test_an_index_has_no_value_on_a_day_without_a_session(tmp_path: Path) -> None:
    """A Sunday's index is refused; the rupee may be fixed when the exchange is closed."""
    vix = read(tmp_path, "indiavix.csv", "date,close", "2024-01-07,14")
    rupee = read(tmp_path, "usdinr.csv", "date,rate", "2024-01-07,83")

    assert vix.refused["reason"].to_list() == ["no_session"]
    assert rupee.rows.height == 1


def test_what_stands_twice_counts_once_or_not_at_all(tmp_path: Path) -> None:
    """Equal values of a day are one; two values of a day are none."""
    lines = ("date,value", "2024-01-02,83", "2024-01-02,83.0", "2024-01-03,83", "2024-01-03,84")
    delivered = read(tmp_path, "usdinr.csv", *lines)

    assert delivered.rows["value"].to_list() == [83.0]
    assert delivered.refused["reason"].to_list() == ["duplicate", "contradiction", "contradiction"]


def test_a_file_with_versions_tells_when_each_was_known(
    store: ContextStore, tmp_path: Path
) -> None:
    """A revised value counts from its own time on; the same file again changes nothing."""
    lines = (
        "date,value,published_at",
        "2024-01-02,7.1,2024-01-02 18:00:00",
        "2024-01-02,7.4,2024-01-04 12:00:00",
        "2024-01-03,7.2,2024-01-03 12:00:00",
    )
    counts, refused = bring(store, tmp_path, *lines, name="in10y.csv")

    assert refused == [("2024-01-03", "known_before_it_happened")]
    assert counts == WriteCounts(n_added=1, n_corrected=1)
    days = [date(2024, 1, day) for day in (2, 3, 4)]
    assert [value_at(store, "IN10Y", day) for day in days] == [None, 7.1, 7.4]
    assert bring(store, tmp_path, *lines, name="in10y.csv")[0] == WriteCounts(n_known=2)
    assert [value_at(store, "IN10Y", day) for day in days] == [None, 7.1, 7.4]


def test_a_later_file_that_says_otherwise_was_not_known_before(
    store: ContextStore, tmp_path: Path
) -> None:
    """Whatever time a second delivery states, it changes no session before it arrived."""
    bring(store, tmp_path, "date,value", "2024-01-02,83")
    later = datetime(2024, 1, 4, tzinfo=UTC)
    lines = ("date,value,published_at", "2024-01-02,85,2024-01-02 12:31:00")
    counts, _ = bring(store, tmp_path, *lines, at=later)

    assert counts == WriteCounts(n_corrected=1)
    days = [date(2024, 1, day) for day in (2, 3, 4)]
    assert [value_at(store, "USDINR", day) for day in days] == [83, 83, 85]


def test_of_two_imports_at_once_one_is_the_later(
    store: ContextStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither takes the day for one of which nothing is stored, after the other has looked."""
    both_have_looked = Barrier(2)
    look = ContextStore.read

    def looked(*given: Any, **named: Any) -> pl.DataFrame:
        found = look(*given, **named)
        with suppress(BrokenBarrierError):
            both_have_looked.wait(timeout=0.5)
        return found

    monkeypatch.setattr(ContextStore, "read", looked)
    header = "date,value,published_at"
    with ThreadPoolExecutor(2) as pool:
        begun = [
            pool.submit(bring, store, folder, header, f"2024-01-02,{value},2024-01-02 12:31:00")
            for value, folder in ((83, tmp_path / "one"), (85, tmp_path / "other"))
            if folder.mkdir() is None
        ]
        added = [each.result()[0] for each in begun]

    assert sorted((each.n_added, each.n_corrected) for each in added) == [(0, 1), (1, 0)]
    assert store.read(MACRO, "USDINR")["known_at"][-1] == AT


def test_a_value_that_is_taken_back_counts_again(store: ContextStore, tmp_path: Path) -> None:
    """The first value, delivered again after a correction, is the latest word."""
    for day, value in ((3, 83), (4, 85), (5, 83)):
        at = datetime(2024, 1, day, tzinfo=UTC)
        bring(store, tmp_path, "date,value", f"2024-01-02,{value}", at=at)

    days = [date(2024, 1, day) for day in (2, 3, 4, 5)]
    assert [value_at(store, "USDINR", day) for day in days] == [83, 83, 85, 83]


def test_a_value_may_be_here_before_its_rule_lets_it_count(
    store: ContextStore, tmp_path: Path
) -> None:
    """It is kept, and counts when the rule says; a release that is still to come is refused."""
    noon = datetime(2024, 1, 2, 8, 30, tzinfo=UTC)
    lines = ("date,value", "2024-01-02,83")
    counts, _ = bring(store, tmp_path, *lines, at=noon)
    later = ("date,value,released_at", "2024-01-02,7.1,2024-01-02 21:00:00")
    _, refused = bring(store, tmp_path, *later, at=noon, name="in10y.csv")

    assert counts == WriteCounts(n_added=1)
    assert store.read(MACRO, "USDINR")["known_at"][0] == datetime(2024, 1, 2, 9, 30, tzinfo=UTC)
    assert refused == [("2024-01-02", "in_the_future")]


def test_holes_are_told_and_stay_holes(store: ContextStore, tmp_path: Path) -> None:
    """Sessions without a value are recorded; one counts while it is fresh, then nothing does."""
    _, refused = bring(store, tmp_path, "date,value", "2024-01-02,83", "2024-01-12,84")

    sessions = CALENDAR.sessions(date(2024, 1, 3), date(2024, 1, 11))
    assert refused == [(day.isoformat(), "hole") for day in sessions]
    known = [value_at(store, "USDINR", day) for day in sessions]
    # Five days after 2 January.
    assert known == [83.0 if day <= date(2024, 1, 5) else None for day in sessions]


def test_a_hole_that_another_file_fills_is_none(store: ContextStore, tmp_path: Path) -> None:
    """What is stored already counts."""
    bring(store, tmp_path, "date,value", "2024-01-03,83")
    _, refused = bring(store, tmp_path, "date,value", "2024-01-02,83", "2024-01-04,84")

    assert refused == []


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("usdinr.csv", ("when,value", "2024-01-02,1")),
        ("usdinr.csv", ("date,what", "2024-01-02,1")),
        ("mystery.csv", ("date,value", "2024-01-02,1")),
        ("usdinr.parquet", ("date,value", "2024-01-02,1")),
    ],
    ids=["no dates", "no values", "no series", "no Parquet"],
)
def test_a_file_that_is_no_table_of_series_is_refused(
    tmp_path: Path, name: str, lines: tuple[str, ...]
) -> None:
    """The message says what is expected."""
    with pytest.raises(InvalidContextError, match="expected"):
        read(tmp_path, name, *lines)


def test_the_longest_name_of_a_series_wins() -> None:
    """The total return index is not the price index."""
    assert series_of_stem("nifty50_tri_2015_2025") == "NIFTY50TRI"
    assert series_of_stem("nifty50_nse_2000_2021") == "NIFTY50"
    assert series_of_stem("indiavix") == "INDIAVIX"
    assert series_of_stem("goldbees") is None


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 2000), st.integers(1, 99)), max_size=12),
    st.integers(0, 20),
)
def test_nothing_known_later_changes_a_session(rows: list[tuple[int, int, int]], last: int) -> None:
    """Sessions up to one are the same without what became known after its close."""
    first = datetime(2024, 1, 1, 7, tzinfo=UTC)
    at = [first + timedelta(days=day) for day, _, _ in rows]
    table = pl.DataFrame(
        {
            "symbol": ["USDINR"] * len(rows),
            "at": at,
            "known_at": [at[n] + timedelta(minutes=row[1]) for n, row in enumerate(rows)],
            "source": ["test"] * len(rows),
            "is_simulated": [False] * len(rows),
            "value": [float(value) for _, _, value in rows],
        },
        schema=MACRO.schema,
    )
    decisions = decisions_of(CALENDAR).filter(
        pl.col("session").is_between(date(2024, 1, 1), date(2024, 1, 31))
    )
    close = decisions["decided_at"][last]

    whole = macro_by_session(table, decisions).filter(pl.col("known_at") <= close)
    cut = macro_by_session(table.filter(pl.col("known_at") <= close), decisions)

    assert whole.equals(cut.filter(pl.col("known_at") <= close))


def test_the_table_of_series_is_consistent() -> None:
    """No name means two series, and nothing is known before it happened."""
    names = [name for each in known_series().values() for name in each.names]

    assert len(names) == len(set(names))
    for each in known_series().values():
        assert (each.happens is None) or (each.known is not None and each.known >= each.happens)
        assert all((each.unit, each.what, each.rule))


@pytest.mark.skipif("SENSEQUANT_REAL_DATA" not in os.environ, reason="no real data here")
def test_real_files_of_the_exchange(store: ContextStore) -> None:
    """Every line of NSE's files is a value, a duplicate or told otherwise; nothing corrects."""
    folder = Path(os.environ["SENSEQUANT_REAL_DATA"]) / "index"
    for name in ("nifty50_nse_2000_2021.csv", "indiavix_nse_2012_2026.csv"):
        import_macro(store, folder / name, calendar=CALENDAR, imported_at=datetime.now(UTC))

    table = store.coverage([MACRO])
    assert dict(table.select("symbol", "n_corrections").iter_rows()) == {
        "INDIAVIX": 0,
        "NIFTY50": 0,
    }
    lines = pl.read_csv(folder / "indiavix_nse_2012_2026.csv", infer_schema=False).height
    refused = store.refused(MACRO).filter(
        pl.col("symbol") == "INDIAVIX", pl.col("reason") != "hole"
    )
    assert store.read(MACRO, "INDIAVIX").height + refused.height == lines
