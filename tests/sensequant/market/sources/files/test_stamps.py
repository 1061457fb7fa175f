"""Facts about the time stamps of intraday files."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.market.sessions import IST
from sensequant.market.sources.files.stamps import (
    IST_FORMAT,
    ist_text,
    read_stamps,
    smallest_interval,
)


@pytest.mark.parametrize(
    ("text", "local", "written", "instant"),
    [
        ("2023-04-03 09:15:00+05:30", "03:45", "03:45", "03:45"),
        ("2023-04-03T09:15:00+0530", "03:45", "03:45", "03:45"),
        ("2023-04-03 03:45:00Z", "-22:15", "03:45", "03:45"),
        (" 2023-04-03 09:15:00 ", "03:45", None, "03:45"),
        ("2023-04-03 09:15", "03:45", None, "03:45"),
        ("2023-04-03 09:15:00-01:30", "03:45", "10:45", "10:45"),
        ("2023-02-30 09:15:00", None, None, None),
        ("2023-04-03 25:15:00", None, None, None),
        ("2023-04-03", None, None, None),
        ("03-04-2023 09:15", None, None, None),
        ("2023-04-03 09:15:00.5", None, None, None),
        ("never", None, None, None),
        (None, None, None, None),
    ],
)
def test_one_stamp(
    text: str | None, local: str | None, written: str | None, instant: str | None
) -> None:
    """An offset in the text holds; without one the clock is that of India; else it is no stamp."""
    stamps = read_stamps("at")

    row = pl.DataFrame({"at": [text]}, schema={"at": pl.String}).select(
        local=stamps.local, written=stamps.written, instant=stamps.instant
    )

    assert row.row(0) == tuple(
        None if clock is None else at(clock) for clock in (local, written, instant)
    )


def at(clock: str) -> datetime:
    day = datetime(2023, 4, 2 if clock.startswith("-") else 3, tzinfo=UTC)
    hours, minutes = clock.removeprefix("-").split(":")
    return day + timedelta(hours=int(hours), minutes=int(minutes))


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2050, 1, 1)).map(  # noqa: DTZ001 (made aware below)
        lambda naive: naive.replace(microsecond=0, tzinfo=IST)
    )
)
def test_an_instant_survives_being_written(instant: datetime) -> None:
    """With an offset of whatever zone, and as India's clock, a stamp reads back as it was."""
    texts = [
        instant.strftime("%Y-%m-%d %H:%M:%S"),
        instant.isoformat(),
        instant.astimezone(UTC).isoformat(),
        instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    ]
    frame = pl.DataFrame({"at": texts}).select(instant=read_stamps("at").instant)

    assert frame["instant"].to_list() == [instant.astimezone(UTC)] * 4
    assert frame.select(ist_text(pl.col("instant"))).to_series().unique().to_list() == [
        instant.strftime(IST_FORMAT)
    ]


@pytest.mark.parametrize(
    ("minutes", "interval"),
    [
        ([0, 1, 2, 375], "1minute"),
        ([10, 0, 0, 5], "5minute"),
        ([0, 30, 90], "30minute"),
        ([0, 15, 30], None),
        ([0, 1440], None),
        ([0, 0], None),
        ([0], None),
        ([], None),
    ],
)
def test_the_interval_is_the_smallest_step(minutes: list[int], interval: str | None) -> None:
    """Whatever the order, repetitions and holes; a step that is no interval of ours is none."""
    start = datetime(2023, 4, 3, 3, 45, tzinfo=UTC)
    instants = [start + timedelta(minutes=n) for n in minutes]

    assert interval == smallest_interval(
        pl.Series([*instants, None], dtype=pl.Datetime("us", "UTC"))
    )
