"""A tiny simulated run made once, and the means to make, copy and continue runs.

The run that tests share lies in `whole` and is never altered; what alters a run takes `copied`.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensequant.ingestion.context import IngestContext
from sensequant.ingestion.imports import import_sectors
from sensequant.ingestion.opening import Intakes
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.build import SourceConfig
from sensequant.market.sources.simulated import SimulatedConfig
from sensequant.records import code_version
from sensequant.runs import RunFolder, Stage
from sensequant.settings import RunOptions, RunRequest, TrainingConfig
from sensequant.stages.context import Run, RunRecord, RunSettings, load_run
from sensequant.stages.inline import lone_process, run_inline
from sensequant.stages.opening import library_versions, open_run

UNIVERSES = Path(__file__).parents[3] / "deployments" / "universes"
RUN_ID = "live_candidate_20240102_030405_0000000a"
AT = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)

SMALL: dict[str, Any] = {
    "windows": {"window_days": 90},
    "teacher": {
        "booster": {
            "num_leaves": 7,
            "n_estimators": 20,
            "learning_rate": 0.1,
            "min_child_samples": 5,
            "early_stopping_rounds": 10,
        },
        "split": {"n_folds": 3},
    },
    "student": {"n_estimators": 10, "min_child_samples": 5},
    "validation": {"n_bootstrap_draws": 100, "n_placebo": 2},
    "significance": {"n_draws": 100},
}
"""As little of everything as the bounds of the settings allow."""

BHAVCOPY_HEADER = (
    "SYMBOL, SERIES, DATE1, PREV_CLOSE, OPEN_PRICE, HIGH_PRICE, LOW_PRICE, LAST_PRICE,"
    " CLOSE_PRICE, AVG_PRICE, TTL_TRD_QNTY, TURNOVER_LACS, NO_OF_TRADES, DELIV_QTY, DELIV_PER"
)


@pytest.fixture(scope="session")
def settings() -> RunSettings:
    """Three invented stocks over a year and a half: a listing, a split, a hole, a stub window."""
    market = SimulatedConfig(n_symbols=3)
    return RunSettings(
        request=RunRequest(
            start=date(2022, 1, 1),
            end=date(2023, 6, 30),
            source=SourceConfig(simulated=market),
        ),
        config=TrainingConfig.model_validate(SMALL),
    )


def _record(folder: RunFolder, settings: RunSettings, options: RunOptions) -> RunRecord:
    return RunRecord(
        run_id=folder.run_id,
        started_at=AT,
        options=options,
        workers=options.workers or 1,
        host="test",
        code_version=code_version(),
        versions=library_versions(),
        is_simulated=settings.request.source.is_simulated,
    )


@pytest.fixture(scope="session")
def start() -> Callable[..., Run]:
    """Open a run and execute nothing: home, settings, then options by name."""

    def start(home: Path, settings: RunSettings, run_id: str = RUN_ID, **options: Any) -> Run:
        folder = RunFolder(home, run_id)
        return open_run(folder, settings, _record(folder, settings, RunOptions(**options)))

    return start


@pytest.fixture
def intake() -> Iterator[Callable[[Run], IngestContext]]:
    """Return what opens source, store and ledger of a run, as a lone process does."""
    with ExitStack() as stack:

        def opened(run: Run) -> IngestContext:
            intakes = Intakes(lone_process(run.folder.home, AT))
            stack.callback(intakes.close)
            return intakes.of(run.request.source)

        yield opened


@pytest.fixture(scope="session")
def execute() -> Callable[..., Run]:
    """Execute a run in this process: home, settings, then options by name."""

    def execute(
        home: Path, settings: RunSettings, run_id: str = RUN_ID, at: datetime = AT, **options: Any
    ) -> Run:
        folder = RunFolder(home, run_id)
        record = _record(folder, settings, RunOptions(**options))
        return run_inline(folder, settings, record, universes=UNIVERSES, at=at)

    return execute


def list_sectors(home: Path) -> None:
    """Import a list of sectors that does not name the second stock."""
    listed = home / "listed.csv"
    listed.write_text("Company Name,Industry,Symbol\nOne,Power,SIM01\nThree,Metals,SIM03\n")
    import_sectors(home, listed)


@pytest.fixture(scope="session")
def sectors_in() -> Callable[[Path], None]:
    """Return what imports the list of sectors of `whole` into another home."""
    return list_sectors


@pytest.fixture(scope="session")
def whole(
    tmp_path_factory: pytest.TempPathFactory, settings: RunSettings, execute: Callable[..., Run]
) -> Run:
    """Return the run that all tests read and none alters; the sector of one stock is not known."""
    home = tmp_path_factory.mktemp("whole")
    list_sectors(home)
    return execute(home, settings)


UP_TO_STUDENTS = tuple(Stage)[:3]


def changed(settings: RunSettings, **changes: Any) -> RunSettings:
    """Return the settings with other values in some groups of the configuration."""
    values = settings.config.model_dump(mode="json")
    for group, fields in changes.items():
        values[group] = {**values[group], **fields}
    return settings.model_copy(update={"config": TrainingConfig.model_validate(values)})


@pytest.fixture(scope="session")
def by_symbol(
    tmp_path_factory: pytest.TempPathFactory, settings: RunSettings, execute: Callable[..., Run]
) -> Run:
    """Return the same run with students of single symbols as the evidence; none alters it."""
    asked = changed(settings, student={"scope": "symbol"})
    return execute(tmp_path_factory.mktemp("by_symbol"), asked, stages=UP_TO_STUDENTS)


@pytest.fixture(scope="session")
def one_teacher(
    tmp_path_factory: pytest.TempPathFactory, settings: RunSettings, execute: Callable[..., Run]
) -> Run:
    """Return the same run with one teacher of all symbols per window; none alters it."""
    asked = changed(settings, teacher={"scope": "universe"})
    return execute(tmp_path_factory.mktemp("one_teacher"), asked, stages=UP_TO_STUDENTS)


@pytest.fixture(scope="session")
def one_teacher_by_symbol(
    tmp_path_factory: pytest.TempPathFactory, settings: RunSettings, execute: Callable[..., Run]
) -> Run:
    """Return the same run with teachers of all symbols and students of single ones as evidence."""
    asked = changed(settings, teacher={"scope": "universe"}, student={"scope": "symbol"})
    return execute(tmp_path_factory.mktemp("one_by_symbol"), asked, stages=UP_TO_STUDENTS)


SCOPED = ("whole", "by_symbol", "one_teacher", "one_teacher_by_symbol")


@pytest.fixture(params=SCOPED)
def scoped(request: pytest.FixtureRequest) -> Run:
    """Return the run under each pair of scopes of teacher and student in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def copied(whole: Run, tmp_path: Path) -> Run:
    """Return a copy of the shared run, in a home of its own."""
    home = tmp_path / "home"
    shutil.copytree(whole.folder.home, home)
    return load_run(RunFolder(home, whole.folder.run_id))


@pytest.fixture(scope="session")
def bars_of() -> Callable[..., list[str]]:
    """Return rows of NSE's full bhavcopy for one symbol: symbol, first and last date, seed."""

    def bars_of(symbol: str, start: date, end: date, seed: int = 0) -> list[str]:
        sessions = nse_calendar().sessions(start, end)
        random = np.random.default_rng(seed)
        closes = 100 * np.exp(np.cumsum(random.normal(0, 0.02, len(sessions))))
        rows: list[str] = []
        before = 100.0
        for session, close in zip(sessions, closes, strict=True):
            low, high = sorted((before, close))
            rows.append(
                f"{symbol}, EQ, {session:%d-%b-%Y}, {before:.2f}, {before:.2f}, {high * 1.01:.2f},"
                f" {low * 0.99:.2f}, {close:.2f}, {close:.2f}, {(low + high) / 2:.2f}, 1000,"
                f" 1.00, 10, 500, 50.0"
            )
            before = float(close)
        return rows

    return bars_of


@pytest.fixture(scope="session")
def write_stock(bars_of: Callable[..., list[str]]) -> Callable[..., None]:
    """Write SYMBOL.csv into a folder: folder, symbol, first and last date, seed."""

    def write_stock(folder: Path, symbol: str, start: date, end: date, seed: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        rows = [BHAVCOPY_HEADER, *bars_of(symbol, start, end, seed)]
        (folder / f"{symbol}.csv").write_text("\n".join(rows) + "\n")

    return write_stock


@pytest.fixture(scope="session")
def write_index() -> Callable[..., None]:
    """Write a file of index bars with a timestamp: path, first and last date."""

    def write_index(path: Path, start: date, end: date) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = ["timestamp,open,high,low,close,volume"]
        for number, session in enumerate(nse_calendar().sessions(start, end)):
            level = 10_000 + 3 * number + 40 * (number % 3)
            rows.append(f"{session} 00:00:00+05:30,{level},{level + 20},{level - 20},{level},0")
        path.write_text("\n".join(rows) + "\n")

    return write_index


@pytest.fixture(scope="session")
def files_settings() -> Callable[..., RunSettings]:
    """Return the small settings on a folder of files: folder, request fields by name."""

    def files_settings(folder: Path, **request: Any) -> RunSettings:
        given: dict[str, Any] = {"start": date(2023, 1, 1), "end": date(2023, 12, 31), **request}
        source = SourceConfig(kind="files", folder=folder)
        return RunSettings(
            request=RunRequest(source=source, **given),
            config=TrainingConfig.model_validate(SMALL),
        )

    return files_settings
