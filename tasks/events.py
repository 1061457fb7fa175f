"""Events that a person, or another flow, waits for.

Belongs here: names of events, what is said in them, and how one is told to the server. Does not
belong here: who is told then (`deployments/automations.yaml`).
"""

from enum import StrEnum

from prefect.events import emit_event

from sensequant.market.sources.breeze.config import BreezeConfig
from sensequant.market.sources.breeze.session_time import why_too_short
from sensequant.market.sources.build import SourceConfig
from tasks.telling import say, utc_now

__all__ = ["Happening", "announce", "tell_session_ended", "tell_short_session"]


class Happening(StrEnum):
    """What may happen that somebody waits for; automations name these."""

    THRESHOLD_EXCEEDED = "sensequant.threshold-exceeded"
    CANDIDATE_READY = "sensequant.candidate-ready"
    SESSION_EXPIRING = "sensequant.session-expiring"
    MODEL_DEGRADED = "sensequant.model-degraded"
    ROLLED_BACK = "sensequant.rolled-back"


def announce(happening: Happening, *, subject: str, message: str) -> None:
    """Tell the server that something happened; does nothing where none listens.

    Parameters
    ----------
    happening
        What.
    subject
        What it happened to: the id of a run, the name of a block.
    message
        What a person should read; never a secret.
    """
    emit_event(
        event=happening.value,
        resource={
            "prefect.resource.id": f"sensequant.{subject}",
            "prefect.resource.name": subject,
        },
        payload={"message": message},
    )


def tell_short_session(source: SourceConfig, *, n_calls: int) -> None:
    """Tell that the session of the vendor ends soon, where calls are left that it may not live for.

    Parameters
    ----------
    source
        Where bars come from; only the vendor itself has sessions that a person begins.
    n_calls
        Calls that are left to do, at least.
    """
    if source.kind != "breeze":
        return
    pace = (source.breeze or BreezeConfig()).calls_per_minute
    reason = why_too_short(utc_now(), n_calls=n_calls, calls_per_minute=pace)
    if reason is not None:
        say("session ends soon", is_warning=True, reason=reason)
        announce(Happening.SESSION_EXPIRING, subject=_login_of(source), message=reason)


def tell_session_ended(source: SourceConfig, *, n_left: int) -> None:
    """Tell that the vendor's session has ended while work is left."""
    announce(
        Happening.SESSION_EXPIRING,
        subject=_login_of(source),
        message=f"The session of the Breeze API has ended; {n_left} chunks are left. Log in again, "
        "save the new session token, then press Retry.",
    )


def _login_of(source: SourceConfig) -> str:
    return f"breeze-credentials/{source.credentials_block or 'breeze'}"
