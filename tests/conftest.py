"""Fixtures that every test may use, and the guards that keep tests honest."""

import os
import pwd
import shlex
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import settings

settings.register_profile("ci", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("ci")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow tests, so that no process is left alone with them at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


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


def _own_postgresql(programs: Path, owner: pwd.struct_passwd) -> Iterator[str]:
    # Not below pytest's folders: they are closed to other users, and a socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="sensequant-") as name:
        os.chown(name, owner.pw_uid, owner.pw_gid)
        is_root = os.geteuid() == 0

        def execute(program: str, *options: str) -> None:
            subprocess.run(
                [programs / program, "--pgdata", f"{name}/data", *options],
                cwd=name,
                check=True,
                user=owner.pw_uid if is_root else None,
                group=owner.pw_gid if is_root else None,
                extra_groups=[] if is_root else None,
            )

        execute("initdb", "-U", "sensequant", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")
        # A socket in this folder, no port of the machine, nothing forced to disk.
        server = f"-k {shlex.quote(name)} -p 5432 -h '' -F"
        try:
            execute("pg_ctl", "start", "--log", f"{name}/log", "--options", server)
            yield f"postgresql+psycopg://sensequant@/postgres?host={name}&port=5432"
        finally:
            # By the process id in this cluster's own folder.
            execute("pg_ctl", "stop", "--mode", "immediate")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """Return the address of a PostgreSQL database for trials, or skip: there is no server.

    That of `SENSEQUANT_TEST_POSTGRESQL`, else a server of this test session alone.
    """
    given = os.environ.get("SENSEQUANT_TEST_POSTGRESQL")
    if given:
        yield given
        return
    programs = _postgresql_programs()
    if programs is None:
        pytest.skip(
            "no PostgreSQL server; install it (Debian: postgresql), or name a database by "
            "SENSEQUANT_TEST_POSTGRESQL"
        )
    yield from _own_postgresql(programs, _postgresql_owner())


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
