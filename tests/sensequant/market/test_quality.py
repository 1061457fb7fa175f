"""Facts about rows that are wrong: none is corrected, none is lost."""

import json
from datetime import date
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.market.bars import validate_bars
from sensequant.market.quality import (
    QUARANTINE_SCHEMA,
    RAW_COLUMNS,
    QuarantineReason,
    RowFormat,
    Split,
    merge_reports,
    split_quarantine,
)

SESSIONS = pl.Series([date(2024, 1, day) for day in (1, 2, 3, 4, 5, 8)])


def row(session: str = "2024-01-01", **changes: str | None) -> dict[str, str | None]:
    return {
        "session": session,
        "open": "100",
        "high": "110",
        "low": "90",
        "close": "105",
        "volume": "1000",
    } | changes


def split(*rows: dict[str, str | None], unit: float = 1.0) -> Split:
    schema = {name: pl.String for name in RAW_COLUMNS if name != "row_number"}
    as_read = pl.DataFrame([dict.fromkeys(schema) | one for one in rows], schema=schema)
    raw = as_read.with_row_index("row_number", offset=1).with_columns(
        pl.col("row_number").cast(pl.Int64)
    )
    return split_quarantine(
        raw.select(RAW_COLUMNS),
        as_read=as_read,
        symbol="TCS",
        row_format=RowFormat("test", "%Y-%m-%d", turnover_unit_inr=unit),
        sessions=SESSIONS,
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"open": "n/a"}, "non_numeric_price"),
        ({"close": "nan"}, "non_numeric_price"),
        ({"high": "inf"}, "non_numeric_price"),
        ({"open": ""}, "missing_price"),
        ({"low": "-"}, "missing_price"),
        ({"close": None}, "missing_price"),
        ({"low": "0"}, "zero_or_negative_price"),
        ({"open": "-5"}, "zero_or_negative_price"),
        ({"high": "80", "low": "90"}, "high_below_low"),
        ({"close": "111"}, "price_outside_range"),
        ({"open": "89.95"}, "price_outside_range"),
        ({"volume": "-1"}, "negative_volume"),
        ({"delivered_volume": "-1"}, "negative_volume"),
        ({"volume": None}, "invalid_number"),
        ({"volume": "many"}, "invalid_number"),
        ({"volume": "10.5"}, "invalid_number"),
        ({"volume": "1e19"}, "invalid_number"),
        ({"n_trades": "x"}, "invalid_number"),
        ({"previous_close": "-3"}, "invalid_number"),
        ({"session": "2024-13-01"}, "bad_date"),
        ({"session": None}, "bad_date"),
        ({"session": "2024-01-02 09:15"}, "bad_date"),
        ({"session": "2024-01-06"}, "not_a_session"),
        ({"session": "2031-01-06"}, "outside_calendar"),
        ({"reader_reason": "fabricated"}, "fabricated"),
    ],
    ids=str,
)
def test_each_defect_has_its_reason(changes: dict[str, str | None], reason: str) -> None:
    """A hard error moves the row, as it was read, into quarantine; the others stay bars."""
    wrong = row(**({"session": "2024-01-02"} | changes))  # pyright: ignore[reportArgumentType]
    good, quarantine, report = split(row(), wrong)

    assert good["session"].to_list() == [date(2024, 1, 1)]
    assert quarantine.schema == QUARANTINE_SCHEMA
    assert quarantine.select("symbol", "row_number", "reason").row(0) == ("TCS", 2, reason)
    kept = json.loads(quarantine["raw_values"][0])
    assert {name: kept[name] for name in wrong} == wrong
    assert report.n_by_reason == {reason: 1}
    assert (report.n_rows_read, report.n_rows_good, report.n_rows_quarantined) == (2, 1, 1)


def test_good_rows_become_valid_bars() -> None:
    """Blanks, commas and dashes are spelling; nothing else about a value is changed."""
    good, quarantine, report = split(
        row("2024-01-08", open=" 1,990.05 ", high="2,000", low="1,900.5", close="1950"),
        row(
            " 2024-01-01",
            series=" BE",
            source_symbol=" TATACONSULT ",
            volume="1,000.0",
            delivered_volume=" - ",
            n_trades="12",
            average_price="101.5",
            previous_close="99",
            turnover_inr="122562.63",
        ),
        unit=1e5,
    )

    assert validate_bars(good) is good
    assert quarantine.is_empty()
    assert report.n_by_reason == {}
    assert good.row(0, named=True) == {
        "symbol": "TCS",
        "session": date(2024, 1, 1),
        "open": 100.0,
        "high": 110.0,
        "low": 90.0,
        "close": 105.0,
        "volume": 1000,
        "previous_close": 99.0,
        "average_price": 101.5,
        "turnover_inr": 12_256_263_000.0,
        "n_trades": 12,
        "delivered_volume": None,
        "series": "BE",
        "source_symbol": "TATACONSULT",
        "source": "test",
        "is_simulated": False,
    }
    assert good["open"][1] == 1990.05
    assert good["source_symbol"][1] == "TCS"


def test_identical_copies_are_dropped_and_counted() -> None:
    """Copies that differ in spelling only are one bar."""
    good, quarantine, report = split(row(), row(open="100.0"), row(), row("2024-01-02"))

    assert good.height == 2
    assert quarantine.is_empty()
    assert report.n_duplicates_dropped == 2


def test_copies_that_differ_all_go() -> None:
    """Nobody knows which of two different rows of one session is right."""
    good, quarantine, report = split(
        row(), row(close="104"), row("2024-01-02"), row("2024-01-03"), row("2024-01-03", open="")
    )

    assert good["session"].to_list() == [date(2024, 1, 2)]
    assert quarantine["row_number"].to_list() == [1, 2, 4, 5]
    assert report.n_by_reason == {"conflicting_duplicate": 3, "missing_price": 1}


def test_other_series_are_dropped_with_a_count() -> None:
    """EQ and trade-to-trade BE are kept, block deals and others are counted by name."""
    good, _, report = split(
        row(series="EQ"), row("2024-01-02", series="BE"), row(series="BL"), row(series=" IL")
    )

    assert good["series"].to_list() == ["EQ", "BE"]
    assert report.n_by_dropped_series == {"BL": 1, "IL": 1}


def test_reports_add_up() -> None:
    """The report of several files is the sum of theirs."""
    reports = [
        split(row(), row(), row("x"), row(series="BL")).report,
        split(row("2024-01-02"), row("x"), row("2024-01-03", open="")).report,
    ]

    total = merge_reports(reports, symbol="TCS")

    assert total.model_dump() == {
        "schema_version": 1,
        "symbol": "TCS",
        "n_rows_read": 7,
        "n_rows_good": 2,
        "n_rows_quarantined": 3,
        "n_duplicates_dropped": 1,
        "n_by_reason": {"bad_date": 2, "missing_price": 1},
        "n_by_dropped_series": {"BL": 1},
    }


cells = st.one_of(
    st.none(),
    st.sampled_from(["", "-", "nan", "1e400", "1e30", "abc", "-1", "0", "95", "100", "1,05"]),
)
rows = st.fixed_dictionaries(
    {
        "session": st.sampled_from(["2024-01-01", "2024-01-02", "2024-01-06", "no", "1999-01-01"]),
        **dict.fromkeys(("open", "high", "low", "close", "volume", "turnover_inr"), cells),
        "series": st.sampled_from([None, "EQ", "BL"]),
    }
)


@given(st.lists(rows, min_size=1, max_size=12))
def test_no_row_is_lost_and_every_bar_is_valid(delivered: list[dict[str, Any]]) -> None:
    """Whatever is delivered, each row is a bar, in quarantine, or in a count."""
    good, quarantine, report = split(*delivered)

    validate_bars(good)
    assert set(quarantine["reason"]) <= {reason.value for reason in QuarantineReason}
    assert sum(report.n_by_reason.values()) == quarantine.height
    dropped = report.n_duplicates_dropped + sum(report.n_by_dropped_series.values())
    assert good.height + quarantine.height + dropped == len(delivered)
