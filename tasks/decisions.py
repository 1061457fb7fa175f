"""Asking a person, on the page of a run, whether its candidate is approved.

Belongs here: the form, suspending a run until it is answered, and resuming runs that were decided
on elsewhere. Does not belong here: what a decision is and who may make it (`stages.decision`).

A suspended run has no process. Resuming starts a new one, which executes the flow from the top; the
flow asks `closed_before` first, so that no stage is done again. The answer lies in the registry or,
until it is taken in, in the inputs of the flow run: a process that is killed between the two takes
it up again.
"""

from datetime import datetime, timedelta
from math import ceil
from typing import Any, Literal, cast

from prefect import suspend_flow_run, task
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound
from prefect.input import RunInput
from prefect.runtime import flow_run
from prefect.states import Completed, Scheduled
from pydantic import BaseModel, ConfigDict, Field, SecretStr, create_model

from blocks.environment import environment_now
from blocks.pages import REPORT, publish_pages
from blocks.suspended import resume_run
from sensequant.errors import ConfigError, DigestMismatchError, RegistryError
from sensequant.release.registry_records import CandidateEvent
from sensequant.runs import RunFolder
from sensequant.settings import DecisionMode
from sensequant.stages.context import RunRecord
from sensequant.stages.decision import (
    Answer,
    Choice,
    Review,
    auto_approve,
    candidates_below,
    decide,
    expire_overdue,
    review_of,
)
from sensequant.storage import read_json
from tasks.artifacts import show_markdown
from tasks.events import Happening, announce
from tasks.telling import say, utc_now
from tasks.units import run_folder

__all__ = [
    "EXPIRY",
    "Settled",
    "closed_before",
    "resume_decided",
    "settle_candidate",
    "settle_decisions",
]

EXPIRY = "expire-candidates/expire-candidates"
"""Deployment whose run is scheduled for the end of the time to decide."""

_KEY = "decision"
_ANSWERS = f"suspended-{_KEY}-"
_N_INPUTS = 200
_PAGE = 200
# The run at the end of the time resumes what it rejects. Where no worker does that, Prefect itself
# ends the suspended run a day later.
_GRACE = timedelta(days=1)


def _require_manifest(schema: dict[str, Any]) -> None:
    # It is filled in, which would make it optional.
    schema["required"].append("manifest_sha256")


class DecisionForm(RunInput):
    """What a person says to the candidate of a run."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_require_manifest)

    decision: Literal["approve", "reject"] = Field(
        description="Approve or reject; the first decision on a manifest stands."
    )
    name: str = Field(
        min_length=1, description="Your name; it stands in the history with this decision."
    )
    reason: str = Field(min_length=1, description="Why, in your own words.")
    manifest_sha256: str = Field(
        title="Manifest", description="sha256 of the manifest that you decide on; filled in."
    )


class Settled(BaseModel):
    """What a look at all candidates did."""

    expired: list[str]
    resumed: list[str]


def closed_before(run_id: str) -> RunRecord | None:
    """Return the run as it was closed if there is nothing left of it but its decision.

    None for a run that must be executed: a new one, one that failed, or one whose verdict rejects.
    """
    folder = run_folder(run_id)
    if not folder.run.exists():
        return None
    record = RunRecord.model_validate(read_json(folder.run))
    is_mine = record.prefect_flow_run_id == str(flow_run.get_root_flow_run_id())
    if not is_mine or record.options.decision is DecisionMode.LATER or record.ended_at is None:
        return None
    review = review_of(folder, registry=_registry())
    if review is None or review.candidate.manifest_sha256 != record.manifest_sha256:
        return None
    return record if review.is_open or review.decision is not None else None


def settle_candidate(closed: RunRecord) -> State[Any] | None:
    """Do what the options of a run say of its candidate; it may suspend the run.

    Must be called by the body of the flow, because Prefect suspends no task.

    Returns
    -------
    State or None
        What was decided, as the state of the run; None where nothing is decided in this run.
    """
    folder = run_folder(closed.run_id)
    expire_overdue(folder.home, at=utc_now(), registry=_registry())
    review = review_of(folder, registry=_registry())
    if review is None:
        return None
    if review.is_open:
        decided = _decide_on(review, closed, folder)
    else:
        decided = None if closed.options.decision is DecisionMode.LATER else review.decision
    return None if decided is None else _state_of(closed, decided)


@task(task_run_name="expire and resume")
def settle_decisions() -> Settled:
    """Reject what nobody decided on in time, and resume every run whose candidate is decided."""
    home = environment_now().home
    expired = [event.run_id for event in expire_overdue(home, at=utc_now(), registry=_registry())]
    with get_client(sync_client=True) as client:
        resumed = resume_decided(client)
    say("candidates looked at", expired=",".join(expired) or None, resumed=",".join(resumed))
    return Settled(expired=expired, resumed=resumed)


def resume_decided(client: SyncPrefectClient) -> list[str]:
    """Resume every suspended run whose candidate is decided; return their ids."""
    suspended = {str(run.id) for run in _suspended(client)}
    if not suspended:
        return []
    home = environment_now().home
    resumed: list[str] = []
    for review in candidates_below(home, at=utc_now(), registry=_registry()):
        decided, flow_run_id = review.decision, _flow_run_of(review.candidate.run_id)
        if decided is None or flow_run_id is None or flow_run_id not in suspended:
            continue
        if resume_run(client, flow_run_id, decided) is None:
            resumed.append(decided.run_id)
    return resumed


def _registry() -> SecretStr | None:
    return environment_now().registry_url


def _decide_on(review: Review, closed: RunRecord, folder: RunFolder) -> CandidateEvent | None:
    mode = closed.options.decision
    if mode is DecisionMode.AUTO_APPROVE:
        return auto_approve(folder, at=utc_now(), registry=_registry())
    own = _own_run()
    answers = _answers(own) if mode is DecisionMode.AWAIT else []
    refusal: str | None = None
    if answers:
        decided = _take_in(answers[-1], folder)
        if isinstance(decided, CandidateEvent):
            return decided
        refusal = decided
    else:
        _tell_ready(review)
    if mode is DecisionMode.AWAIT:
        _suspend(own, review, n_answers=len(answers), refusal=refusal)
    return None


def _take_in(given: dict[str, Any], folder: RunFolder) -> CandidateEvent | str:
    answer = Answer(
        choice=Choice(given["decision"]),
        name=given["name"],
        reason=given["reason"],
        manifest_sha256=str(given.get("manifest_sha256", "")).strip(),
    )
    try:
        return decide(folder, answer, at=utc_now(), registry=_registry())
    except (RegistryError, DigestMismatchError, ConfigError) as error:
        say("answer was refused", is_warning=True, by=answer.name, error=str(error))
        # Somebody else, or the clock, may have been faster.
        review = review_of(folder, registry=_registry())
        if review is not None and review.decision is not None:
            return review.decision
        return str(error)


def _tell_ready(review: Review) -> None:
    candidate = review.candidate
    limit = "" if candidate.decide_by is None else f" Decide by {_minute(candidate.decide_by)}."
    announce(
        Happening.CANDIDATE_READY,
        subject=candidate.run_id,
        message=f"{candidate.run_id} waits for a decision: {candidate.reason}{limit}",
    )


def _suspend(own: FlowRun, review: Review, *, n_answers: int, refusal: str | None) -> None:
    candidate = review.candidate
    if own.deployment_id is None:
        say(
            "the candidate waits; a run of no deployment cannot be suspended",
            is_warning=True,
            decide=f"sensequant approve {candidate.run_id} --by NAME --reason TEXT",
        )
        return
    limit = candidate.decide_by
    if limit is not None:
        _schedule_expiry(candidate.run_id, str(candidate.manifest_sha256), limit)
    seconds = None if limit is None else ceil((limit + _GRACE - utc_now()).total_seconds())
    say("waiting for a decision", candidate=candidate.run_id, until=str(limit))
    suspend_flow_run(
        wait_for_input=_form(review, refusal),
        timeout=seconds,
        # Prefect asks a question once only: another attempt or another answer needs another key.
        key=f"{_KEY}-{n_answers}-{own.run_count}",
    )


def _form(review: Review, refusal: str | None) -> type[DecisionForm]:
    candidate = review.candidate
    simulated = "**SIMULATED bars.** " if candidate.is_simulated else ""
    refused = "" if refusal is None else f"**The last answer was refused:** {refusal}\n\n"
    limit = "" if candidate.decide_by is None else f" Decide by {_minute(candidate.decide_by)}."
    report = publish_pages(run_folder(candidate.run_id), environment_now()).get(REPORT)
    read = "" if report is None else f" and its [report]({report})"
    form = create_model(
        DecisionForm.__name__,
        __base__=DecisionForm,
        manifest_sha256=(
            str,
            Field(
                default=candidate.manifest_sha256,
                title="Manifest",
                description=DecisionForm.model_fields["manifest_sha256"].description,
            ),
        ),
    )
    form._description = (  # noqa: SLF001 - Prefect offers no other way to keep the other fields  # pyright: ignore[reportPrivateUsage]
        f"{refused}{simulated}{candidate.reason}{limit} Read the artifact *briefing* of this run"
        f"{read} first."
    )
    return form


def _schedule_expiry(run_id: str, manifest_sha256: str, at: datetime) -> None:
    with get_client(sync_client=True) as client:
        try:
            deployment = client.read_deployment_by_name(EXPIRY)
        except ObjectNotFound:
            say("nothing wakes at the end of the time to decide", is_warning=True, missing=EXPIRY)
            return
        client.create_flow_run_from_deployment(
            deployment.id,
            state=Scheduled(scheduled_time=at, message=f"time to decide on {run_id} is over"),
            idempotency_key=f"{run_id} {manifest_sha256}",
            name=f"end of the time to decide on {run_id}",
        )


def _answers(own: FlowRun) -> list[dict[str, Any]]:
    """Return what people answered to this run, the oldest first."""
    with get_client(sync_client=True) as client:
        found = client.filter_flow_run_input(
            flow_run_id=own.id, key_prefix=_ANSWERS, limit=_N_INPUTS, exclude_keys=set()
        )
    answers = [each for each in found if each.key.endswith("-response")]
    # suspended-decision-NUMBER-ATTEMPT-response
    answers.sort(key=lambda each: int(each.key.removeprefix(_ANSWERS).partition("-")[0]))
    return [cast("dict[str, Any]", each.decoded_value) for each in answers]


def _own_run() -> FlowRun:
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        message = "a candidate is settled by the body of a flow"
        raise RuntimeError(message)
    return context.flow_run


def _suspended(client: SyncPrefectClient) -> list[FlowRun]:
    paused = FlowRunFilter.model_validate({"state": {"type": {"any_": [StateType.PAUSED.value]}}})
    found: list[FlowRun] = []
    while True:
        page = client.read_flow_runs(flow_run_filter=paused, limit=_PAGE, offset=len(found))
        found += page
        if len(page) < _PAGE:
            return found


def _flow_run_of(run_id: str) -> str | None:
    folder = run_folder(run_id)
    if not folder.run.exists():
        return None
    return RunRecord.model_validate(read_json(folder.run)).prefect_flow_run_id


def _state_of(closed: RunRecord, decided: CandidateEvent) -> State[Any]:
    text = f"{closed.run_id}: verdict {closed.verdict}; {decided.in_words}"
    show_markdown(
        "decision",
        f"# {decided.kind.capitalize()}\n\n{decided.in_words}\n\n"
        f"{_minute(decided.at)}, manifest `{decided.manifest_sha256}`\n",
        description=f"decision on {closed.run_id}",
    )
    say("candidate decided", candidate=closed.run_id, decision=decided.in_words)
    return Completed(name=decided.kind.capitalize(), message=text)


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
