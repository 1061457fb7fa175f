"""Facts about opening, locking and refusing databases; on SQLite, PostgreSQL, for all layouts."""

import contextlib
import dataclasses
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
import sqlalchemy as sa

from sensequant.databases import Database, Layout, version_table
from sensequant.errors import (
    ConfigError,
    RecordError,
    RegistryError,
    SchemaVersionError,
    SenseQuantError,
    StorageError,
)
from sensequant.ingestion import ledger_tables
from sensequant.ingestion.ledger import Ledger
from sensequant.release import registry_tables
from sensequant.release.registry import Registry

Send = Callable[[str, str], list[tuple[object, ...]]]


class RefusedError(SenseQuantError):
    """The notebook's database refused."""


class DamagedError(SenseQuantError):
    """The notebook's file cannot be read."""


METADATA = sa.MetaData()
NOTEBOOK = Layout(
    name="notebook",
    metadata=METADATA,
    version=version_table("notebook_schema", METADATA),
    version_number=3,
    writers_lock=7_302_999,
    synchronous="NORMAL",
    refusal=RefusedError,
    damage=DamagedError,
    when_damaged="begin another one",
)
NOTES = sa.Table("notes", METADATA, sa.Column("text", sa.Text, nullable=False))


@dataclasses.dataclass(frozen=True)
class Kind:
    """One of the databases of this project: how it is opened, and its errors."""

    name: str
    open: Callable[[str], Ledger | Registry]
    refusal: type[SenseQuantError]
    damage: type[SenseQuantError]


LEDGER = Kind("ledger", Ledger.open, StorageError, RecordError)
REGISTRY = Kind("registry", Registry, RegistryError, RegistryError)
LAYOUTS = (NOTEBOOK, ledger_tables.LAYOUT, registry_tables.LAYOUT)


@pytest.fixture(params=[LEDGER, REGISTRY], ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Return each database of this project in turn."""
    return request.param


@pytest.fixture
def notebook(url: str) -> Iterator[Database]:
    """Return an empty notebook."""
    with contextlib.closing(Database(url, NOTEBOOK)) as opened:
        yield opened


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Database]:
    """Return a notebook of one note in the file `notes.db`."""
    with contextlib.closing(Database(tmp_path / "notes.db", NOTEBOOK)) as opened:
        write(opened, "kept")
        yield opened


def write(database: Database, text: str) -> None:
    with database.writing() as connection:
        connection.execute(sa.insert(NOTES).values(text=text))


def notes(database: Database) -> list[str]:
    with database.reading() as connection:
        return list(connection.execute(sa.select(NOTES.c.text)).scalars())


def test_what_is_written_is_kept_between_openings(notebook: Database, url: str) -> None:
    """Another opening of the same database finds it, and makes no tables anew."""
    write(notebook, "first")
    with contextlib.closing(Database(url, NOTEBOOK)) as other:
        write(other, "second")

    assert notes(notebook) == ["first", "second"]


def test_what_fails_half_way_is_not_written(notebook: Database) -> None:
    """The caller's own error comes through as it is, and takes the transaction with it."""

    def fail_half_way() -> None:
        with notebook.writing() as connection:
            connection.execute(sa.insert(NOTES).values(text="half"))
            raise KeyError

    with pytest.raises(KeyError):
        fail_half_way()
    assert notes(notebook) == []


def test_reader_does_not_wait_for_a_writer(notebook: Database, url: str) -> None:
    """It sees what was there before the transaction that is still open."""
    write(notebook, "before")
    with (
        contextlib.closing(Database(url, NOTEBOOK)) as other,
        notebook.writing() as connection,
    ):
        connection.execute(sa.insert(NOTES).values(text="within"))

        assert notes(other) == ["before"]
    assert notes(notebook) == ["before", "within"]


def test_writer_waits_for_another(notebook: Database, url: str) -> None:
    """A transaction that takes its time delays the next one and does not make it fail."""
    has_begun = threading.Event()
    order: list[str] = []

    def hold() -> None:
        with notebook.writing():
            has_begun.set()
            time.sleep(0.3)
            order.append("one")

    with contextlib.closing(Database(url, NOTEBOOK)) as other:
        thread = threading.Thread(target=hold)
        thread.start()
        assert has_begun.wait(10)
        with other.writing():
            order.append("other")
        thread.join(10)

    assert order == ["one", "other"]


def test_writers_of_different_layouts_have_different_locks() -> None:
    """Two of them in one PostgreSQL database do not wait for each other."""
    assert len({layout.writers_lock for layout in LAYOUTS}) == len(LAYOUTS)


def test_layouts_can_share_a_database(url: str) -> None:
    """No table of one is taken for a table of the other."""
    with (
        contextlib.closing(Ledger.open(url)) as ledger,
        contextlib.closing(Registry(url)) as registry,
    ):
        assert ledger.entries("breeze") == []
        assert registry.get_candidate_runs() == []


def test_file_is_in_write_ahead_mode(kind: Kind, sqlite_url: str, send: Send) -> None:
    """Readers of the file do not hold up its writer; the mode outlives the opening."""
    kind.open(sqlite_url).close()

    assert send(sqlite_url, "PRAGMA journal_mode") == [("wal",)]


@pytest.mark.parametrize(("mode", "number"), [("NORMAL", 1), ("FULL", 2)])
def test_layout_decides_what_outlasts_a_power_failure(
    sqlite_url: str, mode: Literal["NORMAL", "FULL"], number: int
) -> None:
    """SQLite's own numbers of its modes; foreign keys hold in each."""
    layout = dataclasses.replace(NOTEBOOK, synchronous=mode)
    with (
        contextlib.closing(Database(sqlite_url, layout)) as database,
        database.reading() as connection,
    ):
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == number
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1


def test_a_candidate_outlasts_a_power_failure() -> None:
    """What is judged is never judged again; what was fetched can be."""
    assert registry_tables.LAYOUT.synchronous == "FULL"
    assert ledger_tables.LAYOUT.synchronous == "NORMAL"


def test_database_in_memory_serves_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a file there is nothing to lock, and nothing stays."""
    monkeypatch.chdir(tmp_path)
    with contextlib.closing(Database("sqlite://", NOTEBOOK)) as database:
        write(database, "here")

        assert notes(database) == ["here"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change", ["UPDATE {}_schema SET version = 7", "DELETE FROM {}_schema"], ids=["other", "none"]
)
def test_tables_of_another_layout_are_refused(
    kind: Kind, url: str, send: Send, change: str
) -> None:
    """They are not touched, and the message names both versions."""
    kind.open(url).close()
    send(url, change.format(kind.name))

    with pytest.raises(SchemaVersionError, match=f"{kind.name} has another") as caught:
        kind.open(url)
    layouts = {"ledger": ledger_tables.LAYOUT, "registry": registry_tables.LAYOUT}
    assert caught.value.expected == str(layouts[kind.name].version_number)
    assert caught.value.found == ("7" if "7" in change else "none")


@pytest.mark.parametrize(
    "address",
    ["no://address here", "nosuchdatabase://x", "sqlite://host/x", "postgresql://ann:s3cret@x:y/z"],
)
def test_address_that_is_no_database_is_refused(kind: Kind, address: str) -> None:
    """What cannot be an address is an error of the request, and no password is told."""
    with pytest.raises(ConfigError, match=f"{kind.name}'s address cannot be used") as caught:
        kind.open(address)
    assert "s3cret" not in str(caught.value)


def test_missing_driver_is_named(kind: Kind) -> None:
    """PostgreSQL without its driver says what is missing."""
    with pytest.raises(ConfigError, match=r"sensequant_no_such_driver.*install the driver"):
        kind.open("postgresql+sensequant_no_such_driver://localhost/x")


def test_file_that_is_no_database_is_refused(kind: Kind, tmp_path: Path) -> None:
    """It is left as it is, and the message says what to do."""
    path = tmp_path / "facts.db"
    path.write_text("this is no database, and longer than a header" * 50)

    with pytest.raises(kind.damage, match=rf"{kind.name} cannot be read.*move (the file|it) away"):
        kind.open(f"sqlite:///{path}")
    assert path.read_text().startswith("this is no database")


def test_damaged_page_is_told(file: Database, tmp_path: Path) -> None:
    """Zeros in the place of what was written are damage, and not taken for an empty table."""
    write(file, "x" * 100_000)
    file.close()
    path = tmp_path / "notes.db"
    content = path.read_bytes()
    path.write_bytes(content[:4096] + bytes(len(content) - 4096))

    with pytest.raises(DamagedError, match=r"malformed.*begin another one"):
        Database(path, NOTEBOOK)


def test_folder_in_the_place_of_the_file_is_refused(kind: Kind, tmp_path: Path) -> None:
    """What SQLite cannot open may lie elsewhere."""
    (tmp_path / "facts.db").mkdir()

    with pytest.raises(kind.refusal, match=f"unable to open.*make the {kind.name}'s folder"):
        kind.open(f"sqlite:///{tmp_path / 'facts.db'}")


def test_folder_that_cannot_be_made_is_a_refusal(kind: Kind, tmp_path: Path) -> None:
    """A file stands where a folder is needed."""
    (tmp_path / "folder").write_text("")

    with pytest.raises(kind.refusal, match=f"make the {kind.name}'s folder"):
        kind.open(f"sqlite:///{tmp_path / 'folder' / 'facts.db'}")


def test_server_that_does_not_answer_is_a_refusal(kind: Kind, tmp_path: Path) -> None:
    """Where no server listens, the address is named, and its password is not."""
    with pytest.raises(kind.refusal, match=f"{kind.name}'s database refused") as caught:
        kind.open(f"postgresql+psycopg://ann:s3cret@/x?host={tmp_path}")

    assert str(tmp_path) in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("text", ["x", "file is not a database, malformed"])
def test_full_disk_is_told_and_loses_nothing(file: Database, text: str) -> None:
    """A file that may grow no more stands for a full disk; what was to be written is no reason."""
    with file.reading() as connection:
        n_pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        # The pool hands the same connection out again.
        connection.exec_driver_sql(f"PRAGMA max_page_count={n_pages}")

    with pytest.raises(RefusedError, match=r"full.*free space on the disk of the notebook"):
        write(file, text * 100_000)
    assert notes(file) == ["kept"]


def test_file_that_may_not_be_written_is_told(file: Database) -> None:
    """A connection that only reads stands for a file without the right to write."""
    with file.reading() as connection:
        connection.exec_driver_sql("PRAGMA query_only=ON")

    with pytest.raises(RefusedError, match="make the notebook's file and folder writable"):
        write(file, "more")


def test_lock_that_is_never_freed_is_told(file: Database, tmp_path: Path) -> None:
    """Who waits in vain learns that another program holds the file."""
    with contextlib.closing(Database(tmp_path / "notes.db", NOTEBOOK)) as other:
        with other.reading() as connection:
            connection.exec_driver_sql("PRAGMA busy_timeout=1")

        with file.writing(), pytest.raises(RefusedError, match="which program keeps the notebook"):
            write(other, "more")
        write(other, "later")

    assert notes(file) == ["kept", "later"]


def test_mode_that_cannot_be_changed_is_told(
    file: Database, tmp_path: Path, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger who reads a file of the older mode keeps it from becoming ours."""
    monkeypatch.setattr("sensequant.databases._BUSY_TIMEOUT_MS", 1)
    file.close()
    path = tmp_path / "notes.db"
    send(f"sqlite:///{path}", "PRAGMA journal_mode=DELETE")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as stranger:
        stranger.execute("BEGIN")
        stranger.execute("SELECT * FROM notes").fetchall()

        with pytest.raises(RefusedError, match="which program keeps the notebook"):
            Database(path, NOTEBOOK)


def test_other_refusals_have_a_remedy_too(notebook: Database, url: str, send: Send) -> None:
    """A table that is gone has no special one."""
    send(url, "DROP TABLE notes")

    with pytest.raises(RefusedError, match="see whether the database is reachable"):
        write(notebook, "x")
