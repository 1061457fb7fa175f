"""Fixtures that every test may use, and the guards that keep tests honest."""

import os
import pwd
import shlex
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import settings
from pydantic import SecretStr
from xdist.scheduler import LoadScopeScheduling

from sensequant.features.registry import model_columns
from sensequant.ingestion.places import store_at
from sensequant.market.intervals import DAILY
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.base import Chunk
from sensequant.market.sources.build import SourceConfig
from sensequant.market.sources.simulated import SimulatedConfig, SimulatedSource
from sensequant.release.gates import Decision, Verdict
from sensequant.release.manifest import ManifestFacts, build_manifest, write_manifest
from sensequant.release.registry_records import RunResult
from sensequant.rows import build_rows
from sensequant.runs import RunFolder
from sensequant.settings import RunRequest, TrainingConfig
from sensequant.stages.context import RunSettings
from sensequant.stages.decision import Answer, Choice, decide
from sensequant.stages.registry_place import registry_of
from sensequant.stages.scoring import Scorers, stored_market
from sensequant.storage import sha256_of, write_atomically, write_json
from sensequant.student import Lesson, StudentConfig, train_student
from sensequant.student_file import read_student

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


@dataclass(frozen=True)
class PostgresqlServer:
    """A server that a test may stop and start: the folder of its socket, and its program."""

    folder: Path
    control: Callable[..., None]
    options: str

    @property
    def address(self) -> str:
        """Of the database that is there from the start."""
        return f"postgresql+psycopg://sensequant@/postgres?host={self.folder}&port=5432"

    def start(self) -> None:
        """Start it, and return when it answers."""
        self.control("pg_ctl", "start", "--log", f"{self.folder}/log", "--options", self.options)

    def stop(self) -> None:
        """End it at once, as a crash would; by the process id in this cluster's own folder."""
        self.control("pg_ctl", "stop", "--mode", "immediate")


@contextmanager
def _own_postgresql(
    address: str = "", *, within: Sequence[str] = ()
) -> Generator[PostgresqlServer]:
    """Hold a server; it skips where there can be none."""
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
        options = f"-k {shlex.quote(name)} -p 5432 -h '{address}' -F"
        server = PostgresqlServer(Path(name), execute, options)
        try:
            server.start()
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def own_postgresql() -> Callable[..., AbstractContextManager[PostgresqlServer]]:
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
    with _own_postgresql() as server:
        yield server.address


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


@dataclass(frozen=True)
class CandidateWorld:
    """A home with bars of an invented market, and candidates whose student was really trained.

    What trains a student in a second stands in the place of the stages; gates are said to pass.
    """

    home: Path
    registry: SecretStr | None = None

    BEGIN = date(2022, 1, 3)
    LEARNT_THROUGH = date(2023, 5, 31)
    DELIVERED_THROUGH = date(2023, 6, 30)
    AT = datetime(2023, 6, 30, 12, tzinfo=UTC)
    """Two hours after the close of the last session that is delivered at first."""

    SETTINGS = RunSettings(
        request=RunRequest(
            start=BEGIN,
            end=DELIVERED_THROUGH,
            source=SourceConfig(
                simulated=SimulatedConfig(
                    n_symbols=3, history_start=date(2020, 12, 31), has_events=False
                )
            ),
        ),
        config=TrainingConfig.model_validate(
            {"student": {"kind": "logistic"}, "validation": {"n_bootstrap_draws": 100}}
        ),
    )

    def deliver(self, through: date) -> None:
        """Bring the bars up to a session into the store, as final ones."""
        market = SimulatedSource(self.SETTINGS.request.source.simulated or SimulatedConfig())
        chunks = (Chunk(symbol, DAILY, self.BEGIN, through) for symbol in market.symbols())
        bars = pl.concat([market.fetch(chunk).bars for chunk in chunks])
        store = store_at(self.home, self.SETTINGS.request.source)
        store.write(bars, interval=DAILY, fetched_at=self.AT)

    def folder(self, number: int = 1) -> RunFolder:
        """Return the folder of a candidate's run, which need not be there."""
        return RunFolder(self.home, f"live_candidate_20230630_000000_{number:08x}")

    def train(self, number: int = 1) -> RunFolder:
        """Write a run with a student and what its manifest lists; the seed makes it another one."""
        folder = self.folder(number)
        asked = self.SETTINGS
        scorers = Scorers(
            home=self.home,
            store=store_at(self.home, asked.request.source),
            symbols=("SIM01", "SIM02", "SIM03"),
            owners=(),
            load=read_student,  # nobody is asked to speak  # pyright: ignore[reportArgumentType]
            is_audited=False,
        )
        bars, context = stored_market(scorers)
        rows = build_rows(
            bars, asked.config, context, calendar=nse_calendar(), start=asked.request.start
        ).with_columns(teacher_probability=pl.col("label").cast(pl.Float64) * 0.2 + 0.4)
        student = train_student(
            rows.filter(pl.col("session") <= self.LEARNT_THROUGH, pl.col("label").is_not_null()),
            lesson=Lesson(model_columns(asked.config.features), asked.config.features),
            config=StudentConfig(kind="logistic", l2_penalty=1 + number),
            min_samples=20,
            seed=number,
            n_threads=1,
        ).student
        write_json(folder.config, asked)
        write_atomically(folder.candidate / "universe.json", student.to_text().encode())
        write_json(folder.audit / "gates.json", {"said": "all gates pass"})
        write_atomically(folder.predictions, b"scores")
        write_json(folder.run, {"is_simulated": True, "options": {"decision": "later"}})
        return folder

    def judge(self, folder: RunFolder, decision: Decision = Decision.APPROVE) -> None:
        """Write the manifest of a run and record its candidate."""
        verdict = Verdict(
            decision=decision,
            headline="All gates pass." if decision is Decision.APPROVE else "A gate fails.",
            reasons=(),
            n_passed=10,
            n_failed=0,
            n_undetermined=0,
            detectable_sharpe=None,
            gates=(),
            is_simulated=True,
        )
        digest = "d" * 64
        facts = ManifestFacts(
            is_simulated=True,
            first_session=self.BEGIN,
            last_session=self.DELIVERED_THROUGH,
            symbols=("SIM01", "SIM02", "SIM03"),
            seed=1,
            data_digest=digest,
            config_digest=digest,
            code_version=digest,
            library_versions={},
            training={},
            validation={},
            statistical_tests={},
        )
        manifest = build_manifest(folder, verdict=verdict, facts=facts, created_at=self.AT)
        result = RunResult(
            run_id=folder.run_id,
            decision=decision,
            reason=verdict.headline,
            manifest_sha256=write_manifest(folder, manifest),
            evidence_digest=manifest.evidence_digest,
            is_simulated=True,
        )
        with closing(registry_of(self.home, self.registry)) as registry:
            registry.record_candidate_run(result, actor="flow", at=self.AT)

    def approve(self, folder: RunFolder, *, at: datetime = AT) -> None:
        """Approve the candidate of a run for the manifest that it has."""
        answer = Answer(
            choice=Choice.APPROVE,
            name="ann",
            reason="read it",
            manifest_sha256=sha256_of(folder.manifest),
        )
        decide(folder, answer, at=at, registry=self.registry)

    def approved(self, number: int = 1) -> RunFolder:
        """Return the run of an approved candidate; runs of other numbers have other models."""
        folder = self.train(number)
        self.judge(folder)
        self.approve(folder)
        return folder


@pytest.fixture(scope="session")
def _approved_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = CandidateWorld(tmp_path_factory.mktemp("approved") / "home")
    world.deliver(CandidateWorld.DELIVERED_THROUGH)
    for number in (1, 2):
        world.approved(number)
    return world.home


@pytest.fixture
def world(_approved_home: Path, tmp_path: Path) -> CandidateWorld:
    """Return a home of its own with two approved candidates, numbers 1 and 2."""
    home = tmp_path / "world"
    shutil.copytree(_approved_home, home)
    return CandidateWorld(home)


@pytest.fixture
def world_elsewhere(world: CandidateWorld, postgresql_url: str) -> CandidateWorld:
    """Return such a home whose registry lies on PostgreSQL."""
    return _elsewhere(world, postgresql_url)


@pytest.fixture
def elsewhere() -> Callable[[CandidateWorld, str], CandidateWorld]:
    """Return what gives such a home another, empty registry, and its candidates with it."""
    return _elsewhere


def _elsewhere(world: CandidateWorld, address: str) -> CandidateWorld:
    for path in world.home.glob("registry.db*"):
        path.unlink()
    moved = CandidateWorld(world.home, SecretStr(address))
    for number in (1, 2):
        moved.judge(moved.folder(number))
        moved.approve(moved.folder(number))
    return moved
