"""Facts about the simulator's clock."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from sensequant.breeze_simulator.clock import SettableClock, next_midnight, wall_time
from sensequant.errors import ConfigError

NOON = datetime(2024, 1, 16, 12, tzinfo=UTC)


def test_it_stands_still_until_it_is_set() -> None:
    """It returns the same instant, then the one that it was set or advanced to."""
    clock = SettableClock(NOON)

    assert clock() == clock() == NOON
    clock.advance(timedelta(hours=2))
    assert clock() == NOON + timedelta(hours=2)
    clock.set(NOON - timedelta(days=1))
    assert clock() == NOON - timedelta(days=1)


def test_it_can_run() -> None:
    """It moves with the seconds that it is given, from where it was set."""
    seconds = [100.0]
    clock = SettableClock(NOON, elapsed=lambda: seconds[0])

    seconds[0] = 130.5
    assert clock() == NOON + timedelta(seconds=30.5)
    clock.set(NOON)
    seconds[0] = 131.5
    assert clock() == NOON + timedelta(seconds=1)


def test_a_time_without_a_zone_is_no_instant() -> None:
    """It is refused at the start and later."""
    naive = NOON.replace(tzinfo=None)

    with pytest.raises(ConfigError, match="instant has no time zone"):
        SettableClock(naive)
    with pytest.raises(ConfigError, match="aware"):
        SettableClock(NOON).set(naive)


def test_india_is_five_and_a_half_hours_ahead() -> None:
    """Wall clock and midnight are those of India, whatever the zone of the instant."""
    late = datetime(2024, 1, 16, 18, 45, tzinfo=UTC)
    tokyo = late.astimezone(timezone(timedelta(hours=9)))

    assert wall_time(late) == wall_time(tokyo) == datetime(2024, 1, 17, 0, 15)  # noqa: DTZ001
    assert next_midnight(NOON) == datetime(2024, 1, 16, 18, 30, tzinfo=UTC)
    assert next_midnight(late) == datetime(2024, 1, 17, 18, 30, tzinfo=UTC)
