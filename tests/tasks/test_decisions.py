"""Facts about asking a person: what is asked, whose answer counts, what a resumed run does."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from prefect._internal.pydantic.v2_schema import create_v2_schema
from prefect.client.schemas.objects import State

from sensequant.release.gates import Decision
from sensequant.release.registry_records import EventKind, RunResult
from sensequant.runs import RunFolder
from sensequant.settings import DecisionMode, RunOptions
from sensequant.stages import decision as deciding
from sensequant.stages.context import RunRecord
from sensequant.stages.decision import Answer, Choice, decide, review_of
from sensequant.stages.registry_place import registry_of
from sensequant.storage import write_json
from tasks import decisions
from tasks.decisions import closed_before, settle_candidate
from tasks.events import Happening

RUN_ID = "live_candidate_20250101_000000_0000abcd"
FLOW_RUN = "0000abcd-0000-4000-8000-000000000000"
AT = datetime(2025, 1, 1, tzinfo=UTC)
MANIFEST = "a" * 64
YES = {"decision": "approve", "name": "ann", "reason": "read it", "manifest_sha256": MANIFEST}


class Server:
    """Stands where Prefect would: what was answered, told, shown, and asked."""

    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = []
        self.told: list[Happening] = []
        self.asked: list[tuple[int, str | None]] = []
        self.deployment_id: str | None = "deployment"

    def own_run(self) -> Any:
        """Return the flow run that executes."""
        return SimpleNamespace(id=FLOW_RUN)

    def answers_of(self, _own: Any) -> list[dict[str, Any]]:
        """Return what was answered so far."""
        return self.answers

    def announce(self, what: Happening, **_words: str) -> None:
        """Keep what others wait for."""
        self.told.append(what)

    def suspend(self, _own: Any, _review: Any, *, n_answers: int, refusal: str | None) -> None:
        """Take a question, and end as a suspended process does."""
        self.asked.append((n_answers, refusal))
        raise SystemExit


def nothing(*_given: object, **_named: object) -> None: ...


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    """Return the double of the server; files need not be digested here."""
    double = Server()
    monkeypatch.setattr(decisions, "_own_run", double.own_run)
    monkeypatch.setattr(decisions, "_answers", double.answers_of)
    monkeypatch.setattr(decisions, "_suspend", double.suspend)
    monkeypatch.setattr(decisions, "announce", double.announce)
    monkeypatch.setattr(decisions, "show_markdown", nothing)
    monkeypatch.setattr(
        decisions, "flow_run", SimpleNamespace(get_root_flow_run_id=lambda: FLOW_RUN)
    )
    monkeypatch.setattr(deciding, "_require_judged_bytes", nothing)
    return double


@pytest.fixture
def close(folder: RunFolder) -> Callable[..., RunRecord]:
    """Return what records a run that was closed, with a candidate, in this home."""

    def close(
        mode: DecisionMode,
        *,
        verdict: Decision = Decision.APPROVE,
        decide_by: datetime | None = None,
        **changes: Any,
    ) -> RunRecord:
        registry = registry_of(folder.home)
        result = RunResult(
            run_id=RUN_ID,
            decision=verdict,
            reason="All gates pass.",
            manifest_sha256=MANIFEST,
            evidence_digest=MANIFEST,
            is_simulated=True,
        )
        registry.record_candidate_run(result, actor="flow", at=AT, decide_by=decide_by)
        registry.close()
        record = RunRecord(
            run_id=RUN_ID,
            started_at=AT,
            ended_at=AT,
            options=RunOptions(decision=mode),
            workers=1,
            host="test",
            code_version="0" * 64,
            versions={},
            is_simulated=True,
            outcome="completed",
            verdict=verdict,
            manifest_sha256=MANIFEST,
            prefect_flow_run_id=FLOW_RUN,
        ).model_copy(update=changes)
        write_json(folder.run, record)
        return record

    return close


Close = Callable[..., RunRecord]


def named(state: State[Any] | None) -> str | None:
    return None if state is None else f"{state.type.value} {state.name}"


def test_run_that_does_not_wait_tells_that_its_candidate_does(server: Server, close: Close) -> None:
    """It ends as it would; a command decides later."""
    assert settle_candidate(close(DecisionMode.LATER)) is None
    assert server.told == [Happening.CANDIDATE_READY]
    assert server.asked == []


def test_rule_of_the_gates_asks_nobody(server: Server, close: Close) -> None:
    """Approved at once, and it says by whom."""
    state = settle_candidate(close(DecisionMode.AUTO_APPROVE))

    assert named(state) == "COMPLETED Approved"
    assert state is not None
    assert "approved by the rule of the gates" in str(state.message)
    assert (server.told, server.asked) == ([], [])


@pytest.mark.parametrize("mode", DecisionMode)
@pytest.mark.parametrize("verdict", [Decision.REJECT, Decision.NOT_ENOUGH_EVIDENCE])
def test_nothing_waits_where_gates_do_not_pass(
    server: Server, close: Close, mode: DecisionMode, verdict: Decision
) -> None:
    """Nor is anything approved, whatever the options say; and Retry executes such a run again."""
    assert settle_candidate(close(mode, verdict=verdict)) is None
    assert (server.told, server.asked) == ([], [])
    assert closed_before(RUN_ID) is None


def test_answer_is_taken_in_by_whatever_process_comes_next(server: Server, close: Close) -> None:
    """It lies in the inputs of the run until then, a killed process in between or not."""
    closed = close(DecisionMode.AWAIT)
    with pytest.raises(SystemExit):
        settle_candidate(closed)
    assert (server.told, server.asked) == ([Happening.CANDIDATE_READY], [(0, None)])

    server.answers.append(YES)
    first = settle_candidate(closed)
    again = settle_candidate(closed)

    assert named(first) == named(again) == "COMPLETED Approved"
    assert server.told == [Happening.CANDIDATE_READY]


def test_refused_answer_is_asked_again_with_the_reason(server: Server, close: Close) -> None:
    """Only the last answer counts."""
    server.answers.append(YES | {"manifest_sha256": "b" * 64})

    with pytest.raises(SystemExit):
        settle_candidate(close(DecisionMode.AWAIT))

    ((n_answers, refusal),) = server.asked
    assert n_answers == 1
    assert "about another manifest" in str(refusal)
    server.answers.append(YES | {"decision": "reject"})
    assert named(settle_candidate(close(DecisionMode.AWAIT))) == "COMPLETED Rejected"


def test_answer_that_comes_second_finds_the_first(
    server: Server, close: Close, folder: RunFolder
) -> None:
    """The run then ends with the decision that stands, and asks no more."""
    closed = close(DecisionMode.AWAIT)
    no = Answer(choice=Choice.REJECT, name="bo", reason="no", manifest_sha256=MANIFEST)
    decide(folder, no, at=AT)
    server.answers.append(YES)

    assert named(settle_candidate(closed)) == "COMPLETED Rejected"


def test_run_whose_time_is_over_ends_expired(
    server: Server, close: Close, folder: RunFolder
) -> None:
    """Even if an approval lies there that nobody had taken in."""
    server.answers.append(YES)

    state = settle_candidate(close(DecisionMode.AWAIT, decide_by=AT + timedelta(days=7)))

    assert named(state) == "COMPLETED Expired"
    review = review_of(folder)
    assert review is not None
    assert review.decision is not None
    assert review.decision.kind is EventKind.EXPIRED


@pytest.mark.parametrize(
    ("changes", "is_found"),
    [
        ({}, True),
        ({"ended_at": None}, False),
        ({"prefect_flow_run_id": "another"}, False),
        ({"manifest_sha256": "b" * 64}, False),
        ({"options": RunOptions()}, False),
    ],
    ids=["closed", "killed before its end", "other flow run", "judged anew", "does not wait"],
)
@pytest.mark.usefixtures("server")
def test_resumed_run_executes_no_stage_again(
    close: Close, changes: dict[str, Any], is_found: bool
) -> None:
    """Only where nothing is left of it but the decision."""
    record = close(DecisionMode.AWAIT, **changes)

    assert closed_before(RUN_ID) == (record if is_found else None)


@pytest.mark.usefixtures("server")
def test_new_run_was_not_closed_before(folder: RunFolder) -> None:
    """There is nothing of it yet."""
    assert folder.root.exists()
    assert closed_before(RUN_ID) is None


@pytest.mark.usefixtures("server")
def test_form_is_filled_in_but_for_the_decision(close: Close, folder: RunFolder) -> None:
    """Every field is required and described; the page says what is decided on, and until when."""
    close(DecisionMode.AWAIT, decide_by=AT + timedelta(days=7))
    review = review_of(folder)
    assert review is not None
    form = decisions._form(review, "decision is about another manifest")
    schema = create_v2_schema(form.__name__, model_base=form)

    assert schema["properties"]["decision"]["enum"] == ["approve", "reject"]
    assert schema["properties"]["manifest_sha256"]["default"] == MANIFEST
    assert set(schema["required"]) == set(schema["properties"])
    assert all(field["description"] for field in schema["properties"].values())
    for words in ("SIMULATED", "All gates pass.", "2025-01-08 00:00 UTC", "another manifest"):
        assert words in str(form._description)
