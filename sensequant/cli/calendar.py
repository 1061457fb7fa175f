"""The calendar of NSE held against the sessions on which trade was observed.

Belongs here: collecting observed sessions from stored bars or from a folder of files. Does not
belong here: the comparison (`market.sessions`).
"""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

from rich.console import Console

from sensequant.cli.output import Fact, print_facts
from sensequant.errors import MissingBarsError
from sensequant.market.bars import DAILY
from sensequant.market.quality import QuarantineReason
from sensequant.market.sessions import CalendarCheck, nse_calendar
from sensequant.market.sources.base import Chunk
from sensequant.market.sources.files.source import FilesSource
from sensequant.market.store import BarStore

__all__ = ["check_calendar", "observed_sessions"]


def check_calendar(console: Console, folder: Path) -> bool:
    """Compare the calendar with the bars in a folder, print the result, return whether they agree.

    Parameters
    ----------
    console
        Where to.
    folder
        A home with stored bars, or a folder of files.

    Raises
    ------
    ConfigError
        The folder holds no bars.
    """
    check = nse_calendar().check_against(set(observed_sessions(folder)))
    print_facts(console, _facts(check))
    return check.is_agreed


def observed_sessions(folder: Path) -> Iterator[date]:
    """Yield every date on which some symbol of a folder has a row, in any order, repeatedly.

    Rows that were refused only because their date is no session of the calendar are included:
    leaving them out would make the comparison circular.
    """
    store = BarStore(folder)
    stored = store.symbols(DAILY)
    for symbol in stored:
        yield from store.read(symbol, interval=DAILY)["session"]
    if stored:
        return
    source = FilesSource(folder)
    for chunk in map(Chunk, (*source.symbols(), *source.indices())):
        try:
            fetched = source.fetch(chunk)
        except MissingBarsError:
            continue
        if fetched.bars.is_empty():
            # A symbol without a valid bar is a witness of no session.
            continue
        yield from fetched.bars["session"]
        refused = fetched.quarantine
        off_calendar = refused["reason"] == QuarantineReason.NOT_A_SESSION
        yield from refused.filter(off_calendar)["session"].drop_nulls()


def _facts(check: CalendarCheck) -> Iterator[Fact]:
    yield "observed", f"{check.n_compared} sessions, {check.first} to {check.last}"
    yield from (("not in the calendar", f"{day} ({day:%A})") for day in check.missing)
    yield from (("without trade", f"{day} ({day:%A})") for day in check.extra)
    yield "agreement", "ok" if check.is_agreed else "fail"
