"""Events that a person, or another flow, waits for.

Belongs here: names of events and how one is told to the server. Does not belong here: who is told
then (`deployments/automations.yaml`).
"""

from enum import StrEnum

from prefect.events import emit_event

__all__ = ["Happening", "announce"]


class Happening(StrEnum):
    """What may happen that somebody waits for; automations name these."""

    THRESHOLD_EXCEEDED = "sensequant.threshold-exceeded"
    CANDIDATE_READY = "sensequant.candidate-ready"
    SESSION_EXPIRING = "sensequant.session-expiring"


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
