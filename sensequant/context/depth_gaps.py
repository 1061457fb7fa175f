"""Times in which a capture of order books heard nothing, and why.

Belongs here: the rows of gaps. Does not belong here: finding them (`sensequant.capture`), what they
do to a session (`depth_sessions`).

A gap begins when the last thing was known and ends when the next one could be; it is known once it
has ended.
"""

from enum import StrEnum

import polars as pl

from sensequant.context.rows import INSTANT, ContextKind

__all__ = ["DEPTH_GAPS", "UNKNOWN_BOOK", "GapReason"]


class GapReason(StrEnum):
    """Why nothing was heard."""

    NOT_RUNNING = "not_running"
    """The session was open and no capture ran, or it was killed."""

    NOT_CONNECTED = "not_connected"
    """The connection was lost, until the subscriptions stood again."""

    NO_TICKS = "no_ticks"
    """The connection stood and was mute for every symbol."""

    BUFFER_FULL = "buffer_full"
    """Ticks came and the disk did not take them."""

    SILENT = "silent"
    """The connection spoke of others, and not of this symbol."""


UNKNOWN_BOOK = frozenset(GapReason) - {GapReason.SILENT}
"""Gaps in which the book may have changed unseen. Silence of one symbol may say that nothing
changed."""

DEPTH_GAPS = ContextKind(
    "depth_gaps",
    values={"until": INSTANT, "reason": pl.String()},
    own_key=("reason",),
)
"""Gaps of captured depth: `at` is when one began."""
