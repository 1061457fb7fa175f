"""Fixtures that every test may use, and the guards that keep tests honest."""

import os
import pwd
import shlex
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

settings.register_profile("ci", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("ci")


_MACHINE = "tests/operations/"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow tests, so that no process is left alone with them at the end."""
    items.sort(
        key=lambda item: (
            not item.nodeid.startswith(_MACHINE),
            item.get_closest_marker("slow") is None,
        )
    )


class _ByFile(LoadScopeScheduling):
    """Give each file to one process, and to one process all that share a machine."""

    def _split_scope(self, nodeid: str) -> str:
        return _MACHINE if nodeid.startswith(_MACHINE) else nodeid.split("::", 1)[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Return what shares out the tests where several processes run them."""
    return _ByFile(config, log)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder with real NSE data, or skip: it may not be redistributed."""
    folder = Path(os.environ.get("SENSEQUANT_REAL_DATA", "../shared/data")).absolute()
    if not folder.is_dir():
        pytest.skip(f"no real NSE data at {folder}; name it by SENSEQUANT_REAL_DATA")
    return folder


def _postgresql_programs() -> Path | None:
    # Debian keeps the server's programs off PATH, one folder for each version.
    on_path = shutil.which("initdb")
    if on_path is not None:
        return Path(on_path).resolve().parent
    versions = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    found = max(versions, key=lambda path: float(path.parts[-3]), default=None)
    return None if found is None else found.parent


def _postgresql_owner() -> pwd.struct_passwd:
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        pytest.skip("PostgreSQL refuses to run as root, and there is no user postgres")


@contextmanager
def _own_postgresql(address: str = "", *, within: Sequence[str] = ()) -> Generator[Path]:
    """Hold a server and return the folder of its socket; it skips where there can be none."""
    programs, owner = _postgresql_programs(), _postgresql_owner()
    if programs is None:
        pytest.skip(
            "no PostgreSQL server; install it (Debian: postgresql), or name a database by "
            "SENSEQUANT_TEST_POSTGRESQL"
        )
    as_owner = ["runuser", "-u", owner.pw_name, "--"] if os.geteuid() == 0 else []
    # Not below pytest's folders: they are closed to other users, and a socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="sensequant-") as name:
        os.chown(name, owner.pw_uid, owner.pw_gid)

        def execute(program: str, *options: str) -> None:
            command = [*within, *as_owner, str(programs / program), "--pgdata", f"{name}/data"]
            subprocess.run([*command, *options], cwd=name, check=True)

        execute("initdb", "-U", "sensequant", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")
        with Path(name, "data", "pg_hba.conf").open("a") as file:
            file.write("host all all samenet trust\n")
        # A socket in this folder, no port unless asked for, nothing forced to disk.
        server = f"-k {shlex.quote(name)} -p 5432 -h '{address}' -F"
        try:
            execute("pg_ctl", "start", "--log", f"{name}/log", "--options", server)
            yield Path(name)
        finally:
            # By the process id in this cluster's own folder.
            execute("pg_ctl", "stop", "--mode", "immediate")


@pytest.fixture(scope="session")
def own_postgresql() -> Callable[..., AbstractContextManager[Path]]:
    """Return a starter of PostgreSQL servers, on an address and inside a network of choice."""
    return _own_postgresql


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """Return the address of a PostgreSQL database for trials, or skip: there is no server.

    That of `SENSEQUANT_TEST_POSTGRESQL`, else a server of this test session alone.
    """
    given = os.environ.get("SENSEQUANT_TEST_POSTGRESQL")
    if given:
        yield given
        return
    with _own_postgresql() as folder:
        yield f"postgresql+psycopg://sensequant@/postgres?host={folder}&port=5432"


@pytest.fixture
def postgresql_url(postgresql: str) -> Iterator[str]:
    """Return the address of an empty place on PostgreSQL: a schema that only this test sees."""
    schema = f"sensequant_test_{uuid.uuid4().hex}"
    engine = sa.create_engine(postgresql)
    with engine.begin() as connection:
        connection.execute(sa.schema.CreateSchema(schema))
    url = engine.url.update_query_dict({"options": f"-csearch_path={schema}"})
    yield url.render_as_string(hide_password=False)
    with engine.begin() as connection:
        connection.execute(sa.schema.DropSchema(schema, cascade=True))
    engine.dispose()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Return the address of a file that is not there yet, in a folder that is not either."""
    return f"sqlite:///{tmp_path / 'new' / 'facts.db'}"


@pytest.fixture(params=["sqlite_url", "postgresql_url"], ids=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """Return the address of an empty database, of each kind in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def send() -> Callable[[str, str], list[tuple[object, ...]]]:
    """Return what sends a statement to an address, as any other client of a database could."""

    def send(url: str, statement: str) -> list[tuple[object, ...]]:
        engine = sa.create_engine(url)
        try:
            with engine.begin() as connection:
                result = connection.exec_driver_sql(statement)
                return [tuple(row) for row in result] if result.returns_rows else []
        finally:
            engine.dispose()

    return send
