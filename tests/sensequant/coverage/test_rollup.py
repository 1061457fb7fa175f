"""Sums of an audit, against SQL; runs of what is missing, against a loop."""

from collections.abc import Callable
from datetime import date, timedelta
from itertools import groupby
from typing import Any, cast

import duckdb
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.coverage.audit import SESSION_SCHEMA, AsOf, audit_coverage
from sensequant.coverage.evidence import ASKED_SCHEMA, Evidence
from sensequant.coverage.expected import Scope
from sensequant.coverage.rollup import COUNTS, gaps_of, months_of, symbols_of, total_of
from sensequant.coverage.states import SEVERITY, State
from sensequant.market.sessions import nse_calendar

FIRST = date(2024, 1, 1)
SCOPE = Scope(("AAA", "BBB"), ("1day", "5minute"), FIRST, date(2024, 3, 31))
STATES = [state.value for state in State]


@st.composite
def judged(draw: st.DrawFn) -> pl.DataFrame:
    """Draw judged sessions of two symbols and intervals, in order."""
    rows: list[tuple[Any, ...]] = []
    for symbol in SCOPE.symbols:
        for interval in SCOPE.intervals:
            days = draw(st.lists(st.integers(0, 80), unique=True, max_size=14).map(sorted))
            for day in days:
                n_bars = draw(st.integers(0, 5))
                rows.append(
                    (
                        symbol,
                        interval,
                        FIRST + timedelta(days=day),
                        draw(st.sampled_from(STATES)),
                        draw(st.sampled_from(("never_asked", "lost", None))),
                        draw(st.none() | st.integers(1, 4)),
                        n_bars,
                        n_bars,
                        draw(st.integers(0, 2)),
                        draw(st.integers(0, 2)),
                        draw(st.sampled_from(("x", "y", None))),
                    )
                )
    return pl.DataFrame(rows, schema=SESSION_SCHEMA, orient="row")


def sums_by_sql(sessions: pl.DataFrame, by: str) -> list[tuple[Any, ...]]:
    """Count in another engine."""
    ranks = " ".join(f"when '{state.value}' then {n}" for n, state in enumerate(SEVERITY))
    held = "state <> 'not_expected'"
    states = ", ".join(
        f"count(*) filter (state = '{name.removeprefix('n_')}')"
        for name in COUNTS[1:]
        if name.removeprefix("n_") in STATES
    )
    query = f"""
        select {by}, count(*) filter ({held}), {states},
            coalesce(sum(n_expected) filter ({held}), 0),
            coalesce(sum(least(n_bars, n_expected)) filter ({held} and n_expected is not null), 0),
            sum(n_unexpected), sum(n_quarantined),
            count(*) filter (state = 'ok') / nullif(count(*) filter ({held}), 0),
            min(case state {ranks} end)
        from sessions group by {by} order by {by}
    """  # noqa: S608 - made of names of this project
    with duckdb.connect() as connection:
        connection.register("sessions", cast("object", sessions.to_arrow()))
        return connection.execute(query).fetchall()


@given(judged())
def test_months_are_those_of_sql(sessions: pl.DataFrame) -> None:
    """Every count, the fraction and the worst state of a month agree with DuckDB."""
    months = months_of(sessions)
    by = "symbol, interval, date_trunc('month', session)::date"
    order = {state.value: place for place, state in enumerate(SEVERITY)}
    ours = [
        (*row[:-1], order[row[-1]])
        for row in months.select(
            "symbol", "interval", "month", *COUNTS, "coverage_frac", "worst"
        ).iter_rows()
    ]

    assert ours == [tuple(row) for row in sums_by_sql(sessions, by)]


@given(judged())
def test_symbols_and_total_are_those_of_sql(sessions: pl.DataFrame) -> None:
    """Symbols without any session have a row of zeros; the total is the sum of all."""
    symbols = symbols_of(sessions, scope=SCOPE, asked=ASKED_SCHEMA.to_frame())
    found = {row[:2]: row[2:-2] for row in sums_by_sql(sessions, "symbol, interval")}

    for row in symbols.select("symbol", "interval", *COUNTS).iter_rows():
        assert row[2:] == found.get(row[:2], (0,) * len(COUNTS))
    assert [total_of(symbols)[name].item() for name in COUNTS] == [
        symbols[name].sum() for name in COUNTS
    ]


@given(judged())
def test_runs_are_those_of_a_loop(sessions: pl.DataFrame) -> None:
    """A run ends where symbol, interval, state or reason changes; silent absences do not cut it."""
    told = [
        row
        for row in sessions.iter_rows(named=True)
        if row["state"] != "not_expected" or row["n_unexpected"]
    ]
    runs = groupby(told, key=lambda r: (r["symbol"], r["interval"], r["state"], r["reason"]))
    expected = [
        (*key, rows[0]["session"], rows[-1]["session"], len(rows))
        for key, run in runs
        if key[2] != "ok"
        for rows in [list(run)]
    ]

    assert gaps_of(sessions).select(pl.exclude("n_bars_missing", "evidence")).rows() == expected


@pytest.mark.parametrize(
    ("states", "status", "coverage"),
    [
        (["ok", "ok"], "ok", 1.0),
        (["ok", "not_expected"], "ok", 1.0),
        (["not_expected", "not_expected"], None, None),
        (["ok", "pending"], "pending", 0.5),
        (["pending", "pending"], "pending", 0.0),
        (["ok", "missing_local"], "partial", 0.5),
        (["ok", "missing_at_source"], "partial", 0.5),
        (["partial", "missing_local"], "partial", 0.0),
        (["disputed", "missing_local"], "partial", 0.0),
        (["missing_local", "missing_at_source"], "missing_local", 0.0),
        (["missing_local", "pending"], "missing_local", 0.0),
        (["missing_at_source", "pending"], "missing_at_source", 0.0),
        (["missing_at_source", "quarantined"], "missing_at_source", 0.0),
    ],
)
def test_the_status_of_a_symbol(
    states: list[str], status: str | None, coverage: float | None
) -> None:
    """The rule of docs/coverage.md, case by case."""
    rows = [
        ("AAA", "1day", FIRST + timedelta(days=n), state, None, 1, 0, 0, 0, 0, None)
        for n, state in enumerate(states)
    ]
    sessions = pl.DataFrame(rows, schema=SESSION_SCHEMA, orient="row")
    scope = Scope(("AAA",), ("1day",), FIRST, FIRST)
    symbols = symbols_of(sessions, scope=scope, asked=ASKED_SCHEMA.to_frame())

    assert symbols.select("status", "coverage_frac").row(0) == (status, coverage)


def test_duplicates_are_summed_where_they_are_known(
    evidence_of: Callable[..., Evidence],
) -> None:
    """A request that does not say leaves the sum alone; none at all leaves it unknown."""
    asked = [{"n_duplicates_dropped": 3}, {"n_duplicates_dropped": None}]
    as_of = AsOf(date(2024, 3, 31), date(2024, 3, 31))
    audit = audit_coverage(SCOPE, evidence_of(asked=asked), as_of=as_of, calendar=nse_calendar())

    assert audit.symbols["n_duplicates_dropped"].to_list() == [3, None, None, None]
