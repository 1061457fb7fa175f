"""Facts about the time that a session of the vendor lasts."""

from datetime import datetime, timedelta

import pytest

from sensequant.market.sessions import IST
from sensequant.market.sources.breeze.session_time import session_end, why_too_short

EVENING = datetime(2026, 1, 23, 20, tzinfo=IST)
MIDNIGHT = datetime(2026, 1, 24, tzinfo=IST)


def test_session_ends_at_midnight_in_india() -> None:
    """Also where it is another day elsewhere; at midnight itself the next one has begun."""
    assert session_end(EVENING) == MIDNIGHT
    assert session_end(MIDNIGHT - timedelta(seconds=1)) == MIDNIGHT
    assert session_end(MIDNIGHT) == MIDNIGHT + timedelta(days=1)


@pytest.mark.parametrize(
    ("hours_left", "n_calls", "words"),
    [
        (4, 0, None),
        (1, 0, None),
        (4, 1, None),
        # At 90 calls in a minute, four hours are 21,600 calls.
        (4, 21_599, None),
        (4, 21_601, "take at least 240 min"),
        (1.5, 1, "in 1.5 h"),
    ],
)
def test_session_is_too_short_for_what_is_left(
    hours_left: float, n_calls: int, words: str | None
) -> None:
    """For the calls at the pace of the key, or for a person who must hear of it."""
    now = MIDNIGHT - timedelta(hours=hours_left)

    said = why_too_short(now, n_calls=n_calls, calls_per_minute=90)

    assert (said is None) == (words is None)
    assert words is None or (said is not None and words in said and "2026-01-24 00:00 IST" in said)
