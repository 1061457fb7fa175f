"""Tests of how rows of a reply become bars or quarantine."""

import json
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.market.bars import validate_bars
from sensequant.market.quality import QUARANTINE_SCHEMA, Split
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.breeze.rows import RowRequest, RowsRead, read_rows, stamp_of

SESSIONS = nse_calendar().table["session"]


def _request(**changes: Any) -> RowRequest:
    fields: dict[str, Any] = {
        "symbol": "RELIANCE",
        "stock_code": "RELIND",
        "interval": "1day",
        "start": date(2024, 3, 1),
        "end": date(2024, 3, 31),
        "version": "v2",
        "is_simulated": False,
    }
    return RowRequest(**(fields | changes))


def _row(stamp: str = "2024-03-04 00:00:00", **changes: Any) -> dict[str, Any]:
    row = {
        "close": 101.5,
        "datetime": stamp,
        "exchange_code": "NSE",
        "high": 102.0,
        "low": 99.0,
        "open": 100.0,
        "stock_code": "RELIND",
        "volume": 12345,
    }
    return row | changes


def _v1_row(stamp: str = "2024-03-04 12:00:00", **changes: Any) -> dict[str, Any]:
    texts = {"close": "101.5", "high": "102", "low": "99.0", "open": "100", "volume": "12345"}
    extra = {
        "product_type": None,
        "expiry_date": None,
        "right": None,
        "strike_price": None,
        "open_interest": None,
        "count": 0,
    }
    return _row(stamp) | texts | extra | changes


def _read(rows: list[Any], **changes: Any) -> RowsRead:
    return read_rows(rows, _request(**changes), sessions=SESSIONS)


def _reasons(read: RowsRead) -> list[str]:
    return read.split.quarantine["reason"].to_list()


def test_numbers_of_v2_become_a_bar() -> None:
    """Every value by hand."""
    read = _read([_row()])

    assert read.split.good.row(0, named=True) == {
        "symbol": "RELIANCE",
        "session": date(2024, 3, 4),
        "open": 100.0,
        "high": 102.0,
        "low": 99.0,
        "close": 101.5,
        "volume": 12345,
        "previous_close": None,
        "average_price": None,
        "turnover_inr": None,
        "n_trades": None,
        "delivered_volume": None,
        "series": None,
        "source_symbol": "RELIND",
        "source": "breeze",
        "is_simulated": False,
    }
    assert read.findings == ()
    assert validate_bars(read.split.good) is read.split.good


def test_texts_of_v1_become_the_same_bar() -> None:
    """Texts, noon and the additional fields are how v1 is."""
    old, new = _read([_v1_row()], version="v1"), _read([_row()])

    assert old.split.good.equals(new.split.good)
    assert old.findings == ()


def test_bars_of_a_simulator_say_so() -> None:
    """In the source and in the mark."""
    good = _read([_row()], is_simulated=True).split.good

    assert (good["source"][0], good["is_simulated"][0]) == ("breeze_simulator", True)


def test_stamps_within_a_session_are_instants() -> None:
    """09:15 in India is 03:45 UTC."""
    rows = [_row("2024-03-04 09:15:00"), _row("2024-03-04 15:25:00")]
    good = _read(rows, interval="5minute").split.good

    assert [
        datetime(2024, 3, 4, 3, 45, tzinfo=UTC),
        datetime(2024, 3, 4, 9, 55, tzinfo=UTC),
    ] == good["starts_at"].to_list()
    assert validate_bars(good, "5minute") is good


def test_nothing_delivered_is_nothing() -> None:
    """No rows: empty frames of the right columns, no finding."""
    read = _read([])

    assert (read.split.good.height, read.split.quarantine.height, read.findings) == (0, 0, ())
    assert read.split.quarantine.schema == QUARANTINE_SCHEMA


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"stock_code": "RELPOW"}, "other_symbol"),
        ({"exchange_code": "BSE"}, "other_symbol"),
        ({"expiry_date": "28-Mar-2024"}, "other_symbol"),
        ({"datetime": "2024-02-29 00:00:00"}, "outside_request"),
        ({"datetime": "2024-04-01 00:00:00"}, "outside_request"),
        ({"datetime": "2024-03-09 00:00:00"}, "not_a_session"),
        ({"datetime": "04-Mar-2024"}, "bad_date"),
        ({"datetime": "2024-13-04 00:00:00"}, "bad_date"),
        ({"datetime": "2024-03-04T00:00:00"}, "bad_date"),
        ({"datetime": "2024-03-04 09:15:00"}, "bad_date"),
        ({"datetime": None}, "malformed_row"),
        ({"stock_code": 7}, "malformed_row"),
        ({"close": True}, "malformed_row"),
        ({"close": [101.5]}, "malformed_row"),
        ({"close": None}, "missing_price"),
        ({"close": ""}, "missing_price"),
        ({"close": float("nan")}, "non_numeric_price"),
        ({"close": "NaN"}, "non_numeric_price"),
        ({"close": float("inf")}, "non_numeric_price"),
        ({"open": 0.0}, "zero_or_negative_price"),
        ({"low": "0"}, "zero_or_negative_price"),
        ({"high": 98.0}, "high_below_low"),
        ({"close": 103.0}, "price_outside_range"),
        ({"volume": -1}, "negative_volume"),
        ({"volume": None}, "invalid_number"),
        ({"volume": 10.5}, "invalid_number"),
        ({"volume": "many"}, "invalid_number"),
    ],
)
def test_wrong_row_is_kept_with_its_reason(changes: dict[str, Any], reason: str) -> None:
    """It is no bar, nothing of it is changed, and the good row beside it is not touched."""
    wrong = _row() | changes
    read = _read([_row("2024-03-05 00:00:00"), wrong])

    assert [date(2024, 3, 5)] == read.split.good["session"].to_list()
    assert [reason] == _reasons(read)
    kept = json.loads(read.split.quarantine["raw_values"][0])
    assert {name: str(value) for name, value in wrong.items()} == {
        name: str(value) for name, value in kept.items()
    }


@pytest.mark.parametrize("row", [None, "row", 7, [1], {}])
def test_what_is_no_row_is_malformed(row: object) -> None:
    """And kept as it came."""
    read = _read([row])

    assert _reasons(read) == ["malformed_row"]
    assert row == json.loads(read.split.quarantine["raw_values"][0])


@pytest.mark.parametrize("name", ["close", "volume", "datetime", "stock_code", "exchange_code"])
def test_row_without_a_field_is_malformed(name: str) -> None:
    """Without the code nobody knows whose prices they are."""
    row = _row()
    del row[name]

    assert _reasons(_read([row])) == ["malformed_row"]


def test_nan_within_is_kept_as_text() -> None:
    """JSON has no NaN; the quarantine is JSON."""
    read = _read([_row(close=float("nan"), extra={"deep": [float("inf"), 1]})])

    kept = json.loads(read.split.quarantine["raw_values"][0])
    assert (kept["close"], kept["extra"]) == ("nan", {"deep": ["inf", 1]})


def test_another_companys_row_does_not_contest_ours() -> None:
    """Prices of another company under the same stamp say nothing about ours."""
    read = _read([_row(), _row(stock_code="TCS", close=99.5)])

    assert read.split.good.height == 1
    assert _reasons(read) == ["other_symbol"]


def test_copies_are_dropped_and_rivals_are_not_bars() -> None:
    """Equal rows count once; of different ones nobody knows which is right."""
    twice = _read([_row(), _row()])
    rivals = _read([_row(), _row(close=100.5)])

    assert (twice.split.good.height, twice.split.report.n_duplicates_dropped) == (1, 1)
    assert twice.findings == ("duplicates_dropped",)
    assert rivals.split.good.height == 0
    assert _reasons(rivals) == ["conflicting_duplicate"] * 2


def test_index_and_quiet_share_have_no_volume() -> None:
    """Zero is a legal volume."""
    index = _read([_row(stock_code="NIFTY", volume=0)], stock_code="NIFTY", symbol="NIFTY50")

    assert index.split.good["volume"].to_list() == [0]
    assert _read([_row(volume="0")]).split.good["volume"].to_list() == [0]


def test_numbers_as_text_are_read_and_told() -> None:
    """Exactly what the text says, thousands commas too."""
    read = _read([_row(close="101.5", volume="12,345")])

    assert read.split.good.equals(_read([_row()]).split.good)
    assert read.findings == ("numbers_as_text",)
    assert _read([_row(close="n/a")]).findings == ()


def test_extra_fields_and_order_are_told() -> None:
    """Both are mended without loss: bars are sorted, the field is of no use."""
    read = _read([_row("2024-03-05 00:00:00", vwap=1.0), _row()])

    assert read.findings == ("extra_fields", "out_of_order")
    assert read.split.good["session"].is_sorted()


def test_row_numbers_count_the_delivery() -> None:
    """The second of three is number 2; the report counts all."""
    rows = [_row(), _row("2024-03-05 00:00:00", open=0), _row("2024-03-06 00:00:00")]
    read = _read(rows)

    assert read.split.quarantine["row_number"].to_list() == [2]
    report = read.split.report
    assert (report.n_rows_read, report.n_rows_good, report.n_rows_quarantined) == (3, 2, 1)


FOUR = [_row(f"2024-03-{day:02d} 00:00:00", open=100 + day / 9) for day in (4, 5, 6, 7)]


@given(st.permutations([*FOUR, FOUR[0]]), st.permutations([*FOUR, FOUR[0] | {"close": 100.0}]))
def test_order_changes_neither_bars_nor_digest(
    copied: list[dict[str, Any]], contested: list[dict[str, Any]]
) -> None:
    """A digest is of what was delivered, whatever the order, with copies and rivals too."""
    for rows in (copied, contested, [row for row in copied if row is not FOUR[0]]):
        ordered = sorted(rows, key=lambda row: (str(row["datetime"]), float(row["close"])))

        assert _read(ordered).digest == _read(rows).digest
        assert _read(ordered).split.good.equals(_read(rows).split.good)


def test_digest_depends_on_every_value() -> None:
    """A bar that changed is seen."""
    assert _read([_row()]).digest != _read([_row(volume=12346)]).digest


@given(
    st.lists(
        st.one_of(
            st.none(),
            st.text(max_size=5),
            st.dictionaries(
                st.sampled_from(sorted(_row())),
                st.one_of(
                    st.none(),
                    st.booleans(),
                    st.integers(),
                    st.floats(),
                    st.text(max_size=20),
                    st.just("2024-03-04 00:00:00"),
                    st.just("RELIND"),
                    st.just("NSE"),
                ),
            ),
        ),
        max_size=8,
    )
)
def test_no_row_is_lost_and_none_invented(rows: list[Any]) -> None:
    """Whatever is delivered is a bar, a copy of one, or in the quarantine."""
    split = _read(rows).split
    report = split.report

    assert len(rows) == report.n_rows_read
    assert report.n_rows_read == (
        split.good.height + split.quarantine.height + report.n_duplicates_dropped
    )
    validate_bars(split.good)


_STAMPS = (
    "2024-03-04 09:15:00",
    "2024-03-04 09:20:00",
    "2024-03-04 09:21:00",
    "2024-03-04 09:10:00",
    "2024-03-04 15:25:00",
    "2024-03-04 15:30:00",
    "2024-03-05 09:15:00",
    "2024-03-05T09:20:00",
    "2024-03-05 09:20:30",
    "2024-03-10 09:15:00",
    "2024-03-02 11:30:00",
)
_PRICE = st.sampled_from([0.0, -1.0, 98.0, 99.0, 103.0, float("nan"), float("inf")])
_CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "open": _PRICE,
        "high": _PRICE,
        "low": _PRICE,
        "close": _PRICE,
        "volume": st.sampled_from([-1, 0, 0.5, 2.0**53, 10.0**18]),
    },
)


@given(st.dictionaries(st.sampled_from(_STAMPS), _CHANGES, min_size=1))
def test_whole_columns_tell_what_single_rows_tell(changed: dict[str, dict[str, float]]) -> None:
    """With a field too many, every row is looked into; the bars and the refused are the same."""
    rows = [_row(stamp, **changes) for stamp, changes in changed.items()]
    by_columns = _read(rows, interval="5minute").split
    by_rows = _read([row | {"count": 0} for row in rows], interval="5minute").split

    assert by_columns.good.equals(by_rows.good)
    assert _reasons_of(by_columns) == _reasons_of(by_rows)


def _reasons_of(split: Split) -> list[tuple[int, str]]:
    return split.quarantine.select("row_number", "reason").rows()


def test_stamp_is_that_of_own_rows_only() -> None:
    """Rows of others, outside the request or without a time have none."""
    request = _request()
    rows: list[object] = [_row(), _row(stock_code="TCS"), _row("2024-02-29 00:00:00"), _row("?"), 7]

    assert [datetime(2024, 3, 4), None, None, None, None] == [  # noqa: DTZ001 - naive on the wire
        stamp_of(row, request) for row in rows
    ]


def test_frames_are_polars() -> None:
    """The quarantine keeps the columns of every source."""
    read = _read([_row(), _row("2024-03-05 00:00:00", open=-1)])

    assert isinstance(read.split.quarantine, pl.DataFrame)
    assert read.split.quarantine.schema == QUARANTINE_SCHEMA
    assert [date(2024, 3, 5)] == read.split.quarantine["session"].to_list()
