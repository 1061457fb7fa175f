"""Commands about candidates: which there are, and deciding on one.

Belongs here: what can be typed, and which function answers. Does not belong here: the answers.
"""

import sys
from datetime import UTC, datetime

from cyclopts import App

from sensequant.cli.output import console_for, print_facts, print_table
from sensequant.cli.place import Place

__all__ = ["register_decision_commands"]

_GROUP = "Candidates"
_HEADER = ["run", "status", "decide by", "bars", "why"]


def register_decision_commands(app: App) -> None:
    """Add the commands about candidates to the command line."""
    for command in (candidates, approve, reject):
        app.command(command, group=_GROUP)


def candidates(*, place: Place | None = None) -> None:
    """List every candidate, the latest first: its state, and until when it can be decided on.

    Parameters
    ----------
    place
        Where data and server are.
    """
    from sensequant.cli.deciding import candidate_rows  # noqa: PLC0415

    rows = candidate_rows((place or Place()).environment(), at=datetime.now(UTC))
    console = console_for(sys.stdout)
    if rows:
        print_table(console, _HEADER, rows)
    else:
        print_facts(console, [("candidates", "none yet; a run that is judged makes one")])


def approve(
    run: str, /, *, by: str, reason: str, manifest: str | None = None, place: Place | None = None
) -> None:
    """Approve the candidate of a run, for the manifest that it has; its suspended run goes on.

    Parameters
    ----------
    run
        Its id, the beginning or end of it, or latest.
    by
        Your name; it stands in the history.
    reason
        Why, in your own words.
    manifest
        Digest of the manifest that you read; that of the candidate when left out.
    place
        Where data and server are.
    """
    _decide("approve", run, by=by, reason=reason, manifest=manifest, place=place)


def reject(
    run: str, /, *, by: str, reason: str, manifest: str | None = None, place: Place | None = None
) -> None:
    """Reject the candidate of a run; its suspended run goes on.

    Parameters
    ----------
    run
        Its id, the beginning or end of it, or latest.
    by
        Your name; it stands in the history.
    reason
        Why, in your own words.
    manifest
        Digest of the manifest that you read; that of the candidate when left out.
    place
        Where data and server are.
    """
    _decide("reject", run, by=by, reason=reason, manifest=manifest, place=place)


def _decide(
    choice: str, run: str, *, by: str, reason: str, manifest: str | None, place: Place | None
) -> None:
    from sensequant.cli.deciding import record_decision  # noqa: PLC0415

    facts = record_decision(
        run, choice, by=by, reason=reason, manifest=manifest, place=place or Place()
    )
    for fact in facts:
        # The decision counts before its run goes on, so it is said before.
        print_facts(console_for(sys.stdout), [fact])
