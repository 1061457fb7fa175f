"""What a capture says when it has ended.

Belongs here: the record. Does not belong here: the capture (`session`).
"""

from datetime import date, datetime

from sensequant.records import Record

__all__ = ["DepthCaptureReport"]


class DepthCaptureReport(Record):
    """What was heard, stored, refused and missed.

    Attributes
    ----------
    session, begun_at, ended_at
        Which session, and between which instants the capture listened.
    symbols, silent_symbols, unknown_symbols
        Whose books; those of them of which nothing came; and those that the vendor does not know.
    source, is_simulated
        Who sent them, and whether they are invented.
    n_ticks, n_lost
        Ticks that came, and those of them for which neither memory nor disk had room.
    n_most_waiting
        Most ticks that waited for the disk at once.
    n_stored, n_corrected, n_known
        Books that are new in the store, correct one, or were there.
    n_refused
        Refused ticks by reason.
    n_gaps, gap_seconds
        Gaps and their length by reason; a gap of all symbols counts once.
    n_connections
        Connections that were made.
    stopped_by
        Why it ended before its time; None where it did not.
    """

    session: date
    begun_at: datetime
    ended_at: datetime
    symbols: tuple[str, ...]
    unknown_symbols: tuple[str, ...]
    silent_symbols: tuple[str, ...]
    source: str
    is_simulated: bool
    n_ticks: int
    n_lost: int
    n_most_waiting: int
    n_stored: int
    n_corrected: int
    n_known: int
    n_refused: dict[str, int]
    n_gaps: dict[str, int]
    gap_seconds: dict[str, float]
    n_connections: int
    stopped_by: str | None = None
