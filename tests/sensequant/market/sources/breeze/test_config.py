"""Tests of the settings."""

import pytest
from pydantic import ValidationError

from sensequant.market.intervals import INTERVALS, Interval, bars_in_range
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.breeze.config import BreezeConfig, RetryConfig
from sensequant.market.sources.breeze.source import MAX_BARS_PER_REPLY

LARGEST = {"1day": 999, "30minute": 76, "5minute": 12, "1minute": 2}


def test_chunks_are_those_of_the_candle_budget() -> None:
    """By default 900, 70, 12 and 2 sessions."""
    config = BreezeConfig()

    assert [config.sessions_per_chunk(interval) for interval in INTERVALS] == [900, 70, 12, 2]


@pytest.mark.parametrize("interval", INTERVALS)
def test_no_chunk_can_fill_a_reply(interval: Interval) -> None:
    """Even the largest chunk that the bounds admit holds fewer bars than a reply can."""
    calendar = nse_calendar()
    counts = bars_in_range(calendar, calendar.first, calendar.last, interval)["n_expected"]
    most = counts.fill_null(0).rolling_sum(LARGEST[interval]).max()
    assert isinstance(most, int)

    assert 750 <= most < MAX_BARS_PER_REPLY


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("daily_chunk_sessions", 1000),
        ("thirty_minute_chunk_sessions", 77),
        ("five_minute_chunk_sessions", 13),
        ("one_minute_chunk_sessions", 3),
        ("burst", 90),
    ],
)
def test_settings_beyond_the_service_are_refused(field: str, value: int) -> None:
    """A chunk may not exceed a reply, nor a burst its minute."""
    with pytest.raises(ValidationError):
        BreezeConfig.model_validate({field: value})


def test_each_size_is_that_of_its_interval() -> None:
    """Every setting of a size acts on its own interval."""
    config = BreezeConfig(
        daily_chunk_sessions=4,
        thirty_minute_chunk_sessions=3,
        five_minute_chunk_sessions=2,
        one_minute_chunk_sessions=1,
    )

    assert [config.sessions_per_chunk(interval) for interval in INTERVALS] == [4, 3, 2, 1]


def test_only_daily_bars_may_come_from_v1() -> None:
    """The two services disagree within a session, so those bars never mix."""
    config = BreezeConfig(daily_version="v1")

    assert [config.version_of(interval) for interval in INTERVALS] == ["v1", "v2", "v2", "v2"]


def test_waits_must_be_in_order() -> None:
    """The first wait is at most the longest."""
    with pytest.raises(ValidationError):
        RetryConfig(first_wait_seconds=31.0)
