"""Approving and rejecting a candidate from the terminal, and letting its suspended run go on.

Belongs here: which manifest is meant when none is named, and what is said. Does not belong here:
what a decision requires (`stages.decision`), and how a run is resumed (`blocks.suspended`).

The decision is recorded first and counts whether or not a server answers.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from pydantic import SecretStr

from blocks.environment import Environment
from sensequant.cli.output import Fact
from sensequant.cli.place import Place
from sensequant.cli.stored import find_run, read_run
from sensequant.errors import ConfigError, SenseQuantError
from sensequant.release.registry_records import CandidateEvent
from sensequant.runs import RunFolder
from sensequant.settings import DecisionMode
from sensequant.stages.decision import Answer, Choice, candidates_below, decide, review_of

__all__ = ["candidate_rows", "record_decision"]


def record_decision(
    run: str, choice: str, *, by: str, reason: str, manifest: str | None, place: Place
) -> Iterator[Fact]:
    """Record a decision, then resume the run if it is suspended; yield what was done.

    Parameters
    ----------
    run
        Its id, the beginning or end of it, or latest.
    choice
        approve or reject.
    by, reason
        Who decides, and why.
    manifest
        Digest that was read before deciding; that of the candidate when None.
    place
        Where data and server are.

    Raises
    ------
    ConfigError
        The run is unknown, has no candidate, or nobody or no reason was named.
    RegistryError, DigestMismatchError
        The decision is refused; nothing has changed.
    """
    env = place.environment()
    folder = find_run(env.home, run)
    answer = Answer(
        choice=Choice(choice),
        name=by,
        reason=reason,
        manifest_sha256=manifest or _manifest_of(folder, env.registry_url),
    )
    decided = decide(folder, answer, at=datetime.now(UTC), registry=env.registry_url)
    yield ("run", folder.run_id)
    yield ("decision", decided.in_words)
    yield ("at", decided.at.isoformat())
    yield ("manifest", str(decided.manifest_sha256))
    stored = read_run(folder)
    if stored.is_simulated:
        yield ("bars", "simulated: no figure of this run tells anything about a real market")
    if stored.record.get("options", {}).get("decision") == DecisionMode.AWAIT:
        yield ("suspended run", _resume(stored.record["prefect_flow_run_id"], decided, place))


def candidate_rows(env: Environment, *, at: datetime) -> list[list[str]]:
    """Return one row for each candidate below a home, the latest first."""
    return [
        [
            review.candidate.run_id,
            review.candidate.status.value,
            ""
            if review.candidate.decide_by is None or not review.is_open
            else f"{review.candidate.decide_by:%Y-%m-%d %H:%M} UTC",
            "simulated" if review.candidate.is_simulated else "real",
            review.candidate.reason if review.decision is None else review.decision.in_words,
        ]
        for review in candidates_below(env.home, at=at, registry=env.registry_url)
    ]


def _manifest_of(folder: RunFolder, registry: SecretStr | None) -> str:
    review = review_of(folder, registry=registry)
    if review is None or review.candidate.manifest_sha256 is None:
        raise ConfigError(
            "run has no candidate to decide on",
            where=folder.run_id,
            expected="a run with a verdict and a briefing",
            found="no such candidate in the registry"
            if review is None
            else review.candidate.reason,
            remedy="`sensequant candidates` lists what can be decided on",
        )
    return review.candidate.manifest_sha256


def _resume(flow_run_id: str, decided: CandidateEvent, place: Place) -> str:
    from sensequant.cli.deploy import connect, find_server  # noqa: PLC0415 - loads Prefect's client

    try:
        env = find_server(place.environment())
    except SenseQuantError as error:
        return f"not resumed, because the server is away ({error.found}); repeat this when it is up"
    with connect(env) as client:
        from blocks.suspended import resume_run  # noqa: PLC0415 - Prefect reads its variables first

        refused = resume_run(client, flow_run_id, decided)
    return "goes on" if refused is None else f"not resumed: {refused}"
