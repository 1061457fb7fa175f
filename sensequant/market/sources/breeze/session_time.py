"""How long a session of the Breeze API still lasts, and whether that is enough.

Belongs here: the end of a session, and what to say when it comes too early. Does not belong here:
logging in (`client`), and who is told (`tasks.events`).

A session ends at midnight in India, whenever it began; only a person can begin the next one.
"""

from datetime import datetime, time, timedelta

from sensequant.market.sessions import IST, session_date_of

__all__ = ["session_end", "why_too_short"]

_EARLY = timedelta(hours=2)
"""Somebody who can log in needs this long to hear of it."""


def session_end(now: datetime) -> datetime:
    """Return the instant at which a session that lasts now will end."""
    return datetime.combine(session_date_of(now) + timedelta(days=1), time(), tzinfo=IST)


def why_too_short(now: datetime, *, n_calls: int, calls_per_minute: int) -> str | None:
    """Return what a person should know of a session that ends soon, or None.

    Parameters
    ----------
    now
        Aware instant.
    n_calls
        Calls that are left to do; none needs no session.
    calls_per_minute
        Limit of the app key.
    """
    if not n_calls:
        return None
    left = session_end(now) - now
    needed = timedelta(minutes=n_calls / calls_per_minute)
    if left > max(needed, _EARLY):
        return None
    end = session_end(now)
    words = f"{n_calls} calls are left, which take at least {needed.total_seconds() / 60:.0f} min"
    return (
        f"The session of the Breeze API ends at {end:%Y-%m-%d %H:%M} IST, in "
        f"{left.total_seconds() / 3600:.1f} h; {words}. Log in again after it and save the new "
        "session token; what is left then goes on by Retry."
    )
