"""Facts about where the registry of a home lies, and about its server going away."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy import event

from sensequant.databases import Database
from sensequant.errors import ConfigError, RegistryError, SchemaVersionError
from sensequant.release.deployment_records import DeploymentOutcome, EnvironmentName
from sensequant.release.environments import read_pointer
from sensequant.release.models import open_model
from sensequant.release.registry_records import RunResult
from sensequant.release.registry_tables import LAYOUT
from sensequant.runs import RunFolder, Stage
from sensequant.stages.decision import candidates_below, review_of
from sensequant.stages.moving import Order, environments_of, history_of, reconcile
from sensequant.stages.promotion import stage_candidate
from sensequant.stages.registry_place import address_kept_at, registry_of
from sensequant.student_file import read_student

AT = datetime(2023, 6, 30, 12, tzinfo=UTC)
STAGING = EnvironmentName.STAGING
RESULT = RunResult(
    run_id="live_candidate_20230630_000000_00000009",
    decision=None,
    failed_stage=Stage.MODEL_VALIDATION,
    reason="disk full",
    manifest_sha256=None,
    evidence_digest=None,
    is_simulated=True,
)
World = Any
"""The homes that the fixtures of `tests/conftest.py` make."""


def record(home: Path, url: SecretStr | None) -> None:
    with closing(registry_of(home, url)) as registry:
        registry.record_candidate_run(RESULT, actor="flow", at=AT)


def test_a_home_that_was_told_nothing_has_a_file(tmp_path: Path) -> None:
    """And nothing that says otherwise."""
    record(tmp_path / "home", None)

    assert [path.name for path in (tmp_path / "home").glob("registry*")][:1] == ["registry.db"]
    assert address_kept_at(tmp_path / "home") is None


def test_registry_elsewhere_is_not_forgotten(tmp_path: Path, postgresql_url: str) -> None:
    """Who was not told the address is refused, makes no file, and reads no password."""
    address = SecretStr(f"{postgresql_url}&password=hush")
    record(tmp_path, address)

    with pytest.raises(ConfigError, match=r"lies elsewhere.*SENSEQUANT_REGISTRY_URL") as caught:
        registry_of(tmp_path)

    (mark,) = tmp_path.iterdir()
    assert "hush" not in mark.read_text() + str(caught.value)
    assert [each.candidate.run_id for each in candidates_below(tmp_path, at=AT, registry=address)]


def test_history_is_not_begun_twice(tmp_path: Path, postgresql_url: str) -> None:
    """A file with candidates stays the registry; an empty one gives way."""
    registry_of(tmp_path).close()
    registry_of(tmp_path, SecretStr(postgresql_url)).close()
    (tmp_path / "registry.json").unlink()
    record(tmp_path, None)

    with pytest.raises(ConfigError, match="is a file already"):
        registry_of(tmp_path, SecretStr(postgresql_url))
    assert address_kept_at(tmp_path) is None


def test_address_that_cannot_be_reached_leaves_no_mark(tmp_path: Path) -> None:
    """A word that was mistyped binds nothing."""
    with pytest.raises(RegistryError, match="database refused") as caught:
        registry_of(tmp_path, SecretStr(f"postgresql+psycopg://ann:hush@/x?host={tmp_path}"))

    assert "hush" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_newer_layout_elsewhere_is_refused(tmp_path: Path, postgresql_url: str) -> None:
    """As one in a file is: nothing is written, and the versions are named."""
    newer = dataclasses.replace(LAYOUT, version_number=LAYOUT.version_number + 1)
    Database(postgresql_url, newer).close()

    with pytest.raises(SchemaVersionError, match="another schema version"):
        registry_of(tmp_path, SecretStr(postgresql_url))


@pytest.fixture(scope="module")
def server(own_postgresql: Callable[..., AbstractContextManager[Any]]) -> Generator[Any]:
    """Return a server that these tests may stop."""
    with own_postgresql() as own:
        yield own


class Going:
    """Takes the server away before the change of a number that a process makes."""

    def __init__(self, server: Any, number: int) -> None:
        self.server, self.left = server, number
        self.is_gone = self.has_changed = False

    def change(self) -> None:
        """Come to the next change."""
        self.left -= 1
        if self.left == 0:
            self.server.stop()
            self.is_gone = True

    def statement(self, _c: Any, _u: Any, statement: str, *_: Any) -> None:
        """See what is about to be said; a question changes nothing."""
        if statement.startswith(("INSERT", "UPDATE")):
            self.has_changed = True
            self.change()

    def commit(self, _connection: Any) -> None:
        """See that a transaction is about to end; one that only asked is none."""
        if self.has_changed:
            self.has_changed = False
            self.change()


@contextmanager
def going(server: Any, number: int) -> Generator[Going]:
    """Let the server go within; it is there again after."""
    gone = Going(server, number)
    event.listen(sa.Engine, "before_cursor_execute", gone.statement)
    event.listen(sa.Engine, "commit", gone.commit)
    try:
        yield gone
    finally:
        event.remove(sa.Engine, "before_cursor_execute", gone.statement)
        event.remove(sa.Engine, "commit", gone.commit)
        if gone.is_gone:
            server.start()


def refusal_of(folder: RunFolder, order: Order) -> str | None:
    try:
        stage_candidate(folder, order)
    except RegistryError as error:
        return str(error)
    return None


def test_server_that_goes_at_any_change_loses_nothing(
    world: World, server: Any, elsewhere: Callable[[World, str], World]
) -> None:
    """The move is refused, its environment is at the old or the new model, and the next look tells.

    One server goes at every change in turn, and each move begins where the last one has ended.
    """
    moved = elsewhere(world, server.address)
    order = Order(
        actor="bo",
        reason="because",
        clock=lambda: AT,
        load=lambda path, sha256: read_student(path, sha256=sha256),
        registry=moved.registry,
    )
    outcomes = Counter[str]()
    number, is_over = 0, False
    while not is_over:
        number += 1
        old = read_pointer(moved.home, STAGING)
        other = moved.folder(2 if old is not None and old.run_id == moved.folder(1).run_id else 1)
        with going(server, number) as gone:
            said = refusal_of(other, order)
        is_over = not gone.is_gone
        assert (said is None) == is_over
        assert said is None or "registry's database refused" in said
        found = read_pointer(moved.home, STAGING)
        settled = reconcile(moved.home, actor="cleaner", clock=lambda: AT, registry=moved.registry)
        history = history_of(moved.home, registry=moved.registry)
        assert len(settled) <= 1
        completed = [each for each in history if each.outcome is DeploymentOutcome.COMPLETED]
        assert all(each.outcome is not None for each in history)
        assert (None if found is None else found.number) == (
            completed[-1].number if completed else None
        )
        if found is not None:
            open_model(moved.home, found.model_sha256)
        states = environments_of(moved.home, registry=moved.registry)
        assert all(state.problem is None for state in states)
        is_new = found != old
        outcomes[f"{'new' if is_new else 'old'}, {'settled' if settled else 'told'}"] += 1
    assert number > 8
    # Between the intention and the pointer nothing is asked of the server.
    assert set(outcomes) == {"old, told", "new, settled", "new, told"}


@pytest.mark.parametrize("what", ["judge", "approve"])
def test_server_that_goes_while_a_candidate_is_decided_on_loses_nothing(
    world: World, server: Any, elsewhere: Callable[[World, str], World], what: str
) -> None:
    """Before every change in turn: it is refused, nothing of it is there; asking again works."""
    moved = elsewhere(world, server.address)
    folder = moved.train(3 if what == "judge" else 4)
    if what == "approve":
        moved.judge(folder)
    before = review_of(folder, registry=moved.registry)
    number, is_over = 0, False
    while not is_over:
        number += 1
        said: str | None = None
        with going(server, number) as gone:
            try:
                getattr(moved, what)(folder)
            except RegistryError as error:
                said = str(error)
        is_over = not gone.is_gone
        assert (said is None) == is_over
        assert said is None or "registry's database refused" in said
        assert is_over or review_of(folder, registry=moved.registry) == before
    # A row of the candidate, an event, and the end of the transaction.
    assert number == 3 + 1
    found = review_of(folder, registry=moved.registry)
    assert found is not None
    assert found.is_open is (what == "judge")
    with closing(registry_of(moved.home, moved.registry)) as registry:
        assert len(registry.history(folder.run_id)) == (1 if what == "judge" else 2)
