"""Facts about the registry: states, history, concurrency, schema; on SQLite and on PostgreSQL."""

import itertools
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from multiprocessing.synchronize import Barrier
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError

from sensequant.errors import ConfigError, RegistryError
from sensequant.release.gates import Decision
from sensequant.release.manifest import CandidateStatus
from sensequant.release.registry import Registry
from sensequant.release.registry_records import CandidateEvent, EventKind, RunResult
from sensequant.release.registry_tables import LAYOUT

Send = Callable[[str, str], list[tuple[object, ...]]]

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def run_id(number: int) -> str:
    return f"live_candidate_20260102_030405_{number:08x}"


def judged(
    number: int = 1, *, decision: Decision = Decision.APPROVE, digest: str = "a", reason: str = "ok"
) -> RunResult:
    return RunResult(
        run_id=run_id(number),
        decision=decision,
        reason=reason,
        manifest_sha256=digest * 64,
        evidence_digest="e" * 64,
        is_simulated=True,
        summary={"auc": 0.5, "n": 3, "note": None},
    )


def failed(number: int = 1) -> RunResult:
    return RunResult(
        run_id=run_id(number),
        failed_stage="teacher_training",
        reason="3 of 4 units failed",
        is_simulated=False,
    )


@pytest.fixture
def registry(url: str) -> Iterator[Registry]:
    """Return an empty registry."""
    opened = Registry(url)
    yield opened
    opened.close()


def test_empty_registry_has_no_candidates(registry: Registry) -> None:
    """Nothing recorded is nothing found, not an error."""
    assert registry.get_latest_candidate_run() is None
    assert registry.get_candidate_runs() == []


@pytest.mark.parametrize(
    ("result", "status"),
    [
        (judged(), CandidateStatus.READY_FOR_REVIEW),
        (judged(decision=Decision.REJECT), CandidateStatus.REJECTED),
        (judged(decision=Decision.NOT_ENOUGH_EVIDENCE), CandidateStatus.REJECTED),
        (failed(), CandidateStatus.FAILED),
    ],
    ids=["approve", "reject", "not_enough_evidence", "failed"],
)
def test_result_decides_the_state(
    registry: Registry, result: RunResult, status: CandidateStatus
) -> None:
    """Only an approval is ready for review; what was recorded is what is read."""
    recorded = registry.record_candidate_run(result, actor="flow", at=AT)

    assert recorded == registry.get_candidate_run(result.run_id)
    assert recorded.status is status
    assert recorded.decision is result.decision
    assert recorded.summary == result.summary
    assert recorded.is_simulated is result.is_simulated
    assert (recorded.recorded_at, recorded.updated_at) == (AT, AT)


def test_first_record_is_an_event(registry: Registry) -> None:
    """History tells who, when, why, and the manifest."""
    registry.record_candidate_run(judged(), actor="flow historical_training", at=AT)
    (event,) = registry.history(run_id(1))

    assert (event.kind, event.actor, event.at) == (
        EventKind.RECORDED,
        "flow historical_training",
        AT,
    )
    assert (event.from_status, event.to_status) == (None, CandidateStatus.READY_FOR_REVIEW)
    assert (event.reason, event.manifest_sha256) == ("ok", "a" * 64)


def test_same_result_again_changes_nothing(registry: Registry) -> None:
    """A retried task does not write history twice, nor move the instant."""
    first = registry.record_candidate_run(judged(), actor="flow", at=AT)
    again = registry.record_candidate_run(judged(), actor="flow", at=AT + timedelta(hours=1))

    assert first == again
    assert len(registry.history(run_id(1))) == 1


def test_another_manifest_supersedes_with_an_event(registry: Registry) -> None:
    """The present row follows the new manifest; history keeps both digests and states."""
    later = AT + timedelta(hours=1)
    registry.record_candidate_run(judged(), actor="flow", at=AT)
    changed = judged(decision=Decision.REJECT, digest="b", reason="auc fails")
    present = registry.record_candidate_run(changed, actor="ann", at=later)
    event = registry.history(run_id(1))[-1]

    assert present.status is CandidateStatus.REJECTED
    assert (present.recorded_at, present.updated_at) == (AT, later)
    assert (event.kind, event.actor) == (EventKind.SUPERSEDED, "ann")
    assert (event.previous_manifest_sha256, event.manifest_sha256) == ("a" * 64, "b" * 64)
    assert (event.from_status, event.to_status) == (
        CandidateStatus.READY_FOR_REVIEW,
        CandidateStatus.REJECTED,
    )


def test_a_failed_run_that_is_resumed_becomes_what_it_earned(registry: Registry) -> None:
    """Failed is no end: the same run may finish later, and no trace of the failure stays behind."""
    registry.record_candidate_run(failed(), actor="flow", at=AT)
    present = registry.record_candidate_run(judged(), actor="flow", at=AT + timedelta(hours=1))

    assert present.status is CandidateStatus.READY_FOR_REVIEW
    assert present.failed_stage is None
    assert [event.to_status for event in registry.history(run_id(1))] == [
        CandidateStatus.FAILED,
        CandidateStatus.READY_FOR_REVIEW,
    ]


def test_candidates_by_state_the_latest_first(registry: Registry) -> None:
    """The latest is the run first recorded last, even when an earlier one changes after it."""
    for number, decision in enumerate([Decision.REJECT, Decision.APPROVE, Decision.REJECT]):
        registry.record_candidate_run(judged(number, decision=decision), actor="flow", at=AT)
    registry.record_candidate_run(judged(0, digest="c"), actor="flow", at=AT)
    latest = registry.get_latest_candidate_run()

    assert latest is not None
    assert latest.run_id == run_id(2)
    assert [each.run_id for each in registry.get_candidate_runs()] == [
        run_id(2),
        run_id(1),
        run_id(0),
    ]
    assert [
        each.run_id for each in registry.get_candidate_runs(CandidateStatus.READY_FOR_REVIEW)
    ] == [run_id(1), run_id(0)]


def approve(registry: Registry, **given: Any) -> CandidateEvent:
    asked: dict[str, Any] = {
        "manifest_sha256": "a" * 64,
        "actor": "ann",
        "reason": "read it all",
        "at": AT + timedelta(hours=1),
    }
    return registry.approve_candidate_run(given.pop("run_id", run_id(1)), **(asked | given))


def test_decision_is_a_state_and_an_event(registry: Registry) -> None:
    """Who, when, why, and on which manifest; what was recorded stays beside it."""
    registry.record_candidate_run(judged(), actor="flow", at=AT)
    decided = approve(registry)
    present = registry.get_candidate_run(run_id(1))

    assert (present.status, present.reason) == (CandidateStatus.APPROVED, "ok")
    assert registry.history(run_id(1))[-1] == registry.decision_on(run_id(1)) == decided
    assert (decided.kind, decided.actor, decided.reason) == (
        EventKind.APPROVED,
        "ann",
        "read it all",
    )
    assert (decided.at, decided.manifest_sha256) == (AT + timedelta(hours=1), "a" * 64)
    assert is_chain(registry.history(run_id(1)))


def test_person_may_reject_what_the_gates_pass(registry: Registry) -> None:
    """A verdict recommends; a person decides."""
    registry.record_candidate_run(judged(), actor="flow", at=AT)
    decided = registry.reject_candidate_run(
        run_id(1), manifest_sha256="a" * 64, actor="bo", reason="too few symbols", at=AT
    )

    assert decided.in_words == "rejected by bo: too few symbols"
    assert registry.get_candidate_run(run_id(1)).status is CandidateStatus.REJECTED


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({"manifest_sha256": "b" * 64}, RegistryError, "another manifest.*expected: aaa"),
        ({"run_id": run_id(9)}, RegistryError, "not in the registry"),
        ({"actor": " "}, ConfigError, "actor was empty"),
        ({"reason": ""}, ConfigError, "reason was empty"),
        ({"at": AT.replace(tzinfo=None)}, ConfigError, "no time zone"),
        ({"at": AT - timedelta(minutes=2)}, RegistryError, "clock goes backwards"),
    ],
    ids=["other manifest", "unknown run", "no actor", "no reason", "no zone", "clock"],
)
def test_decision_that_says_too_little_or_is_about_something_else_is_refused(
    registry: Registry, given: dict[str, Any], error: type[Exception], match: str
) -> None:
    """Nothing changes then."""
    registry.record_candidate_run(judged(), actor="flow", at=AT)

    with pytest.raises(error, match=match):
        approve(registry, **given)
    assert registry.decision_on(run_id(1)) is None
    assert registry.get_candidate_run(run_id(1)).status is CandidateStatus.READY_FOR_REVIEW


@pytest.mark.parametrize("decision", [Decision.REJECT, Decision.NOT_ENOUGH_EVIDENCE])
def test_nobody_approves_against_the_gates(registry: Registry, decision: Decision) -> None:
    """What its verdict rejected, or what failed, is not up for decision."""
    registry.record_candidate_run(judged(decision=decision), actor="flow", at=AT)
    registry.record_candidate_run(failed(2), actor="flow", at=AT)

    with pytest.raises(RegistryError, match="not up for decision"):
        approve(registry)
    with pytest.raises(RegistryError, match=r"another manifest.*has no manifest"):
        approve(registry, run_id=run_id(2))


def test_first_decision_stands(registry: Registry) -> None:
    """Another one is refused with the first; the same one again, after a crash, is no other."""
    registry.record_candidate_run(judged(), actor="flow", at=AT)
    decided = approve(registry)

    assert approve(registry, at=AT + timedelta(hours=2)) == decided
    with pytest.raises(RegistryError, match=r"decided already.*approved by ann: read it all"):
        approve(registry, actor="bo")
    with pytest.raises(RegistryError, match="decided already"):
        registry.reject_candidate_run(
            run_id(1), manifest_sha256="a" * 64, actor="ann", reason="oh", at=AT
        )
    assert len(registry.history(run_id(1))) == 2


def test_result_that_is_recorded_again_does_not_undo_a_decision(registry: Registry) -> None:
    """A retried briefing of the same manifest leaves the approval; another manifest ends it."""
    registry.record_candidate_run(judged(), actor="flow", at=AT)
    approve(registry)
    registry.record_candidate_run(judged(), actor="flow", at=AT)
    assert registry.get_candidate_run(run_id(1)).status is CandidateStatus.APPROVED

    registry.record_candidate_run(judged(digest="b"), actor="flow", at=AT)

    assert registry.get_candidate_run(run_id(1)).status is CandidateStatus.READY_FOR_REVIEW
    assert registry.decision_on(run_id(1)) is None
    assert [event.to_status for event in registry.history(run_id(1))] == [
        CandidateStatus.READY_FOR_REVIEW,
        CandidateStatus.APPROVED,
        CandidateStatus.READY_FOR_REVIEW,
    ]


def test_candidate_expires_and_cannot_be_approved_any_more(registry: Registry) -> None:
    """To the instant; one without a limit, or decided in time, does not."""
    limit = AT + timedelta(hours=2)
    for number, decide_by in enumerate([limit, None, limit]):
        registry.record_candidate_run(judged(number), actor="flow", at=AT, decide_by=decide_by)
    approve(registry, run_id=run_id(2))

    assert registry.expire_candidate_runs(actor="clock", at=limit - timedelta(seconds=1)) == []
    (expired,) = registry.expire_candidate_runs(actor="clock", at=limit)

    assert (expired.run_id, expired.kind) == (run_id(0), EventKind.EXPIRED)
    assert expired.in_words.startswith("rejected: expired: nobody decided by 2026-01-02 05:04:05")
    assert registry.expire_candidate_runs(actor="clock", at=limit) == []
    with pytest.raises(RegistryError, match=r"decided already.*rejected: expired"):
        approve(registry, run_id=run_id(0), at=limit)


def test_late_approval_finds_the_candidate_expired(registry: Registry) -> None:
    """Whether or not anything woke at the limit; the refusal leaves the expiry written down."""
    registry.record_candidate_run(judged(), actor="flow", at=AT, decide_by=AT)

    with pytest.raises(RegistryError, match="rejected: expired"):
        approve(registry)
    assert registry.get_candidate_run(run_id(1)).status is CandidateStatus.REJECTED


NEW_ON_CANDIDATES = ("candidates_begin", "candidates_move", "candidates_keep_manifest")


@pytest.mark.parametrize("version", [1, 2])
def test_registry_of_a_layout_before_is_brought_up_to_date(
    registry: Registry, url: str, send: Send, version: int
) -> None:
    """Its candidates are kept; those of the first have no limit, and the new guards hold."""
    registry.record_candidate_run(judged(), actor="flow", at=AT)
    registry.close()
    for table in ("deployment_outcomes", "deployments"):
        send(url, f"DROP TABLE {table}")
    for guard in NEW_ON_CANDIDATES:
        is_sqlite = url.startswith("sqlite")
        send(url, f"DROP TRIGGER {guard}" if is_sqlite else f"DROP FUNCTION {guard} CASCADE")
    if version == 1:
        send(url, "ALTER TABLE candidates DROP COLUMN decide_by")
    send(url, f"UPDATE registry_schema SET version = {version}")  # noqa: S608

    upgraded = Registry(url)

    assert upgraded.get_candidate_run(run_id(1)).decide_by is None
    assert upgraded.deployments.history() == []
    assert approve(upgraded).to_status is CandidateStatus.APPROVED
    with pytest.raises(DBAPIError, match="does not go from that state"):
        send(url, "UPDATE candidates SET status = 'production'")
    upgraded.close()


def test_unknown_run_is_an_error(registry: Registry) -> None:
    """Asking for a run that was never recorded is refused, with the remedy."""
    with pytest.raises(RegistryError, match="not in the registry"):
        registry.get_candidate_run(run_id(9))
    with pytest.raises(RegistryError, match="not in the registry"):
        registry.history(run_id(9))


def test_instants_are_stored_in_utc_and_need_a_zone(registry: Registry) -> None:
    """An Indian instant comes back as the same instant; a naive one is refused."""
    indian = datetime(2026, 1, 2, 9, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    recorded = registry.record_candidate_run(judged(), actor="flow", at=indian)

    assert recorded.recorded_at == indian
    assert recorded.recorded_at.utcoffset() == timedelta(0)
    with pytest.raises(ConfigError, match="no time zone"):
        registry.record_candidate_run(judged(2), actor="flow", at=AT.replace(tzinfo=None))


def test_actor_is_required(registry: Registry) -> None:
    """Nothing is recorded by nobody."""
    with pytest.raises(ConfigError, match="actor was empty"):
        registry.record_candidate_run(judged(), actor=" ", at=AT)


@pytest.mark.parametrize(
    "fields",
    [
        {"decision": None, "failed_stage": None},
        {"failed_stage": "teacher_training"},
        {"manifest_sha256": None},
        {"evidence_digest": None},
        {"run_id": "../x"},
        {"run_id": run_id(1) + "\n"},
    ],
)
def test_contradictory_results_are_refused(fields: dict[str, object]) -> None:
    """A result is judged with a manifest or failed in a stage, never both, never neither."""
    with pytest.raises(ValidationError):
        RunResult.model_validate(judged().model_dump() | fields)


def test_summary_comes_back_as_it_was_given(registry: Registry) -> None:
    """Neither database rounds a figure or bends a text on its way."""
    summary = {
        "third": 1 / 3,
        "smallest": 5e-324,
        "largest": -1.7976931348623157e308,
        "count": 2**63,
        "text": "₹ 'a' \"b\" \\ :c %(d)s\n",
        "none": None,
        "yes": True,
    }
    recorded = registry.record_candidate_run(
        judged().model_copy(update={"summary": summary}), actor="flow", at=AT
    )

    assert registry.get_candidate_run(run_id(1)).summary == recorded.summary == summary


@pytest.mark.parametrize(
    "statement", ["UPDATE candidate_events SET actor = 'x'", "DELETE FROM candidate_events"]
)
def test_history_cannot_be_rewritten(
    registry: Registry, url: str, send: Send, statement: str
) -> None:
    """The database itself refuses to alter or remove an event, whoever asks."""
    registry.record_candidate_run(judged(), actor="flow", at=AT)
    before = registry.history(run_id(1))

    with pytest.raises(DBAPIError, match="only ever added"):
        send(url, statement)
    assert registry.history(run_id(1)) == before


@pytest.mark.parametrize("statement", ["TRUNCATE candidate_events", "TRUNCATE candidates CASCADE"])
def test_postgresql_refuses_to_empty_the_history(
    postgresql_url: str, send: Send, statement: str
) -> None:
    """Truncation passes by the rows, yet not by the guard, nor when it comes from candidates."""
    registry = Registry(postgresql_url)
    registry.record_candidate_run(judged(), actor="flow", at=AT)

    with pytest.raises(DBAPIError, match="only ever added"):
        send(postgresql_url, statement)
    assert len(registry.history(run_id(1))) == 1
    registry.close()


def test_state_and_event_are_one_transaction(registry: Registry, url: str, send: Send) -> None:
    """When the event cannot be written, the state does not change either."""
    send(url, "ALTER TABLE candidate_events RENAME COLUMN actor TO no_actor")

    with pytest.raises(RegistryError, match="refused"):
        registry.record_candidate_run(judged(), actor="flow", at=AT)
    assert registry.get_latest_candidate_run() is None


def test_registry_is_kept_between_openings(registry: Registry, url: str) -> None:
    """Another opening of the same database finds what was recorded."""
    registry.record_candidate_run(judged(), actor="flow", at=AT)
    other = Registry(url)

    assert other.get_candidate_runs() == registry.get_candidate_runs()
    assert other.history(run_id(1)) == registry.history(run_id(1))
    other.close()


def test_a_path_is_no_address() -> None:
    """No file is made by mistake where the address of a server was meant."""
    with pytest.raises(ConfigError, match="address cannot be used"):
        Registry("registry.db")


def is_chain(events: list[CandidateEvent]) -> bool:
    """Tell whether each event follows the one before it, as if they were written in turn."""
    return all(
        (later.previous_manifest_sha256, later.from_status)
        == (former.manifest_sha256, former.to_status)
        for former, later in itertools.pairwise(events)
    )


def test_threads_lose_no_event(registry: Registry) -> None:
    """Forty results of four runs, written at once, leave forty events in a chain."""

    def write(number: int) -> None:
        result = judged(number % 4, digest=f"{number:064x}"[-1], reason=f"result {number}")
        registry.record_candidate_run(result, actor=f"thread {number}", at=AT)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(40)))
    histories = [registry.history(run_id(number)) for number in range(4)]

    assert sum(len(events) for events in histories) == 40
    assert all(is_chain(events) for events in histories)


def write_many(url: str, process: int, together: Barrier) -> None:
    # The driver is imported before they start, or they would come one after the other.
    sa.create_engine(url).dispose()
    together.wait(60)
    registry = Registry(url)
    for number in range(10):
        result = judged(7).model_copy(update={"manifest_sha256": f"{10 * process + number:064x}"})
        registry.record_candidate_run(result, actor=f"process {process}", at=AT)
    registry.close()


def test_processes_that_open_and_write_at_once_lose_no_event(url: str) -> None:
    """Four processes make the same new registry and write to one run: every event is there."""
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(4)
    processes = [
        context.Process(target=write_many, args=(url, number, together)) for number in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    registry = Registry(url)
    events = registry.history(run_id(7))
    registry.close()
    actors = [event.actor for event in events]

    assert [process.exitcode for process in processes] == [0] * 4
    assert sorted(actors) == sorted(f"process {number}" for number in range(4) for _ in range(10))
    assert is_chain(events)


def decide_at_once(url: str, process: int, together: Barrier, answers: Any) -> None:
    registry = Registry(url)
    decide = (registry.approve_candidate_run, registry.reject_candidate_run)[process % 2]
    together.wait(60)
    try:
        decided = decide(
            run_id(7), manifest_sha256="a" * 64, actor=f"person {process}", reason="so", at=AT
        )
        answers.put(decided.in_words)
    except RegistryError as error:
        answers.put(str(error))
    registry.close()


def test_of_decisions_at_once_one_stands_and_the_others_are_told_it(url: str) -> None:
    """Four people in four processes, on both sides."""
    registry = Registry(url)
    registry.record_candidate_run(judged(7), actor="flow", at=AT)
    context = multiprocessing.get_context("spawn")
    together, answers = context.Barrier(4), context.Queue()
    processes = [
        context.Process(target=decide_at_once, args=(url, number, together, answers))
        for number in range(4)
    ]
    for process in processes:
        process.start()
    told = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    (decided,) = [event for event in registry.history(run_id(7)) if event.is_decision]
    registry.close()

    assert told.count(decided.in_words) == 1
    refused = [answer for answer in told if answer != decided.in_words]
    assert all("decided already" in each and decided.in_words in each for each in refused)


def test_postgresql_gets_its_own_guards() -> None:
    """The tables compile for PostgreSQL, with a trigger that refuses update, delete, truncate."""
    statements: list[str] = []

    def collect(statement: sa.schema.ExecutableDDLElement, *_: object, **__: object) -> None:
        statements.append(str(statement.compile(dialect=postgresql.dialect())))

    engine = sa.create_mock_engine("postgresql+asyncpg://", collect)  # pyright: ignore[reportArgumentType]
    LAYOUT.metadata.create_all(engine, checkfirst=False)
    text = "\n".join(statements)

    assert "BEFORE UPDATE OR DELETE OR TRUNCATE ON candidate_events" in text
    assert "RAISE(ABORT" not in text
