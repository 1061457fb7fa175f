"""What every stage needs of a run: its folder, request, configuration, plan, and shared tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError

from sensequant.context.sessions import OF_CONTEXT
from sensequant.context.store import ContextStore
from sensequant.errors import RecordError
from sensequant.features.context import MarketContext
from sensequant.features.spec import Family
from sensequant.histories import listings_of
from sensequant.ingestion.places import context_store_at, store_at
from sensequant.market.store import BarStore
from sensequant.market.symbols import INDIA_VIX, NIFTY50
from sensequant.records import FrameDigests, Record, SkipReason, digest_of, frame_digest
from sensequant.runs import RunFolder, Stage
from sensequant.settings import RunOptions, RunRequest, TrainingConfig
from sensequant.storage import read_json, read_table
from sensequant.stress.scenarios import Scenario, load_scenarios, select_scenarios
from sensequant.windows import POOLED, PlannedWindow, Window, pooled_windows

__all__ = [
    "Findings",
    "Run",
    "RunRecord",
    "RunSettings",
    "WindowPlan",
    "digest_of_slices",
    "load_run",
    "read_settings",
    "settings_at",
    "shared_slice",
    "shared_table",
]


class RunSettings(Record):
    """What stands in `config.json`: everything asked that can change an artifact."""

    request: RunRequest
    config: TrainingConfig


class RunRecord(Record):
    """Who ran what, where and when, and how it ended; `outcome` is null until then."""

    run_id: str
    started_at: datetime
    ended_at: datetime | None = None
    options: RunOptions
    workers: int = Field(ge=1)
    host: str
    code_version: str
    versions: dict[str, str]
    is_simulated: bool
    outcome: str | None = None
    failed_stage: str | None = None
    verdict: str | None = None
    manifest_sha256: str | None = None
    prefect_flow_run_id: str | None = None

    @property
    def seconds(self) -> float | None:
        """How long the run took; None while it runs."""
        if self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()


class Findings(Record):
    """What a stage found, by name, and what it does not do yet."""

    values: dict[str, float | int | str | bool | None] = Field(default_factory=dict)
    not_done_yet: list[str] = Field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """An existing run: where it stands and what was asked of it."""

    folder: RunFolder
    request: RunRequest
    config: TrainingConfig

    @property
    def record(self) -> RunRecord:
        """Who runs it, where and how, and how it ended."""
        return RunRecord.model_validate(read_json(self.folder.run))

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages to execute, in order."""
        return self.record.options.stages or tuple(Stage)

    @cached_property
    def config_digest(self) -> str:
        """Digest of the method's settings."""
        return digest_of(self.config)

    @property
    def store(self) -> BarStore:
        """The bars that this run reads and writes."""
        return store_at(self.folder.home, self.request.source)

    @property
    def context_store(self) -> ContextStore:
        """What is known beside the bars of this run's source."""
        return context_store_at(self.folder.home, self.request.source)

    @property
    def benchmark(self) -> pl.DataFrame | None:
        """Bars of the benchmark index, or None where the source has none."""
        path = self.folder.benchmark
        return read_table(path) if path.exists() else None

    @property
    def bars(self) -> pl.DataFrame:
        """Adjusted bars of all symbols, one after the other."""
        return pl.concat([read_table(self.folder.bars(symbol)) for symbol in self.symbols])

    @property
    def symbols(self) -> list[str]:
        """Symbols that have bars, in alphabetical order."""
        return read_table(self.folder.data)["symbol"].sort().to_list()

    @cached_property
    def windows(self) -> list[PlannedWindow]:
        """Every planned window, by symbol and time."""
        plan = _PLAN.validate_python(read_json(self.folder.plan))
        planned = [PlannedWindow(row.window, row.skip) for row in plan]
        return sorted(planned, key=lambda each: (each.window.symbol, each.window.start))

    def windows_of(self, symbol: str) -> list[Window]:
        """Return the windows of one symbol, or of `POOLED` those of all symbols, in time order."""
        if symbol == POOLED:
            return self.pooled_windows
        return self._windows_by_symbol.get(symbol, [])

    @cached_property
    def pooled_windows(self) -> list[Window]:
        """The windows of all symbols at once, in time order."""
        return pooled_windows(self.request.start, self.request.end, self.config.windows)

    @cached_property
    def _windows_by_symbol(self) -> dict[str, list[Window]]:
        windows: dict[str, list[Window]] = {}
        for planned in self.windows:
            windows.setdefault(planned.window.symbol, []).append(planned.window)
        return windows

    @property
    def market_context(self) -> MarketContext:
        """What features may know besides a symbol's own bars, as far as the source has it."""
        first = read_table(self.folder.data).select("symbol", "first_session")
        return MarketContext(
            benchmark=self._index_bars(NIFTY50),
            vix=self._index_bars(INDIA_VIX),
            listings=listings_of(dict(first.iter_rows())),
            **{family.value: self._context_of(family) for family in sorted(OF_CONTEXT)},
        )

    def _index_bars(self, symbol: str) -> pl.DataFrame | None:
        path = self.folder.bars(symbol)
        return read_table(path) if path.exists() else None

    def _context_of(self, family: Family) -> pl.DataFrame | None:
        path = self.folder.context(family)
        return read_table(path) if path.exists() else None

    @property
    def scenarios(self) -> tuple[Scenario, ...]:
        """The crises that the settings select."""
        return tuple(select_scenarios(load_scenarios(), self.config.stress))

    def window(self, symbol: str, short: str) -> PlannedWindow:
        """Return one planned window by its symbol (or `POOLED`) and `start..end`.

        Raises
        ------
        RecordError
            The plan holds no such window.
        """
        if symbol == POOLED:
            pooled = (PlannedWindow(window, None) for window in self.pooled_windows)
            planned = next((each for each in pooled if each.window.short == short), None)
        else:
            planned = self._planned.get((symbol, short))
        if planned is not None:
            return planned
        raise RecordError(
            "window is not planned",
            where=str(self.folder.plan),
            expected="one of the planned windows",
            found=f"{symbol} {short}",
            remedy="run stage data_ingestion again",
        )

    @cached_property
    def _planned(self) -> dict[tuple[str, str], PlannedWindow]:
        return {(each.window.symbol, each.window.short): each for each in self.windows}


class WindowPlan(Record):
    """One window as it stands in `windows.json`."""

    window: Window
    skip: SkipReason | None


_PLAN = TypeAdapter(list[WindowPlan])


def read_settings(folder: RunFolder) -> RunSettings:
    """Return what a run was asked; errors as `settings_at`."""
    return settings_at(folder.config)


def settings_at(path: Path) -> RunSettings:
    """Return what a run was asked, from the file that says so.

    Raises
    ------
    RecordError
        The file is missing, or holds settings that this version does not know or forbids.
    """
    try:
        return RunSettings.model_validate(read_json(path))
    except ValidationError as error:
        fault = error.errors()[0]
        raise RecordError(
            "settings of the run are not of this version",
            where=f"{path}: {'.'.join(map(str, fault['loc']))}",
            expected=fault["msg"],
            found=repr(fault["input"]),
            remedy="open a new run, or go on with the version that opened this one",
        ) from error


def load_run(folder: RunFolder) -> Run:
    """Return an existing run, read again only when its settings or its plan have changed.

    Raises
    ------
    ConfigError
        There is no such run.
    RecordError
        Its settings are not of this version.
    """
    folder.require()
    state = tuple(
        path.stat().st_mtime_ns if path.exists() else 0 for path in (folder.config, folder.plan)
    )
    return _load(folder.home, folder.run_id, state)


@lru_cache(maxsize=16)
def _load(home: Path, run_id: str, _state: tuple[int, ...]) -> Run:
    # A thousand windows are a thousand tasks, and each of them needs the plan.
    folder = RunFolder(home, run_id)
    settings = read_settings(folder)
    return Run(folder, settings.request, settings.config)


Stamp = tuple[int, ...]
"""What tells a file's present content from an earlier one; empty where there is no file."""


def stamp_of(path: Path) -> Stamp:
    """Return when a file was written, its size and its inode."""
    state = path.stat() if path.exists() else None
    return () if state is None else (state.st_mtime_ns, state.st_size, state.st_ino)


def shared_table(path: Path) -> pl.DataFrame:
    """Return a table that many units read, read again only when its file has changed.

    Raises
    ------
    RecordError
        The file is missing or damaged.
    """
    return _shared_table(path, stamp_of(path))


def shared_slice(path: Path, start: date, end: date) -> pl.DataFrame:
    """Return the rows of a shared table from the session `start` to `end`, both included.

    The table is sorted by session.

    Raises
    ------
    RecordError
        The file is missing or damaged.
    """
    return _slice(path, stamp_of(path), start, end)


def digest_of_slices(paths: Sequence[Path], start: date, end: date) -> str:
    """Return the digest of the rows of these tables from `start` to `end`, one after the other.

    Raises
    ------
    RecordError
        A file is missing or damaged.
    """
    return _digest_of_slices(tuple((path, stamp_of(path)) for path in paths), start, end)


@lru_cache(maxsize=512)
def _shared_table(path: Path, _stamp: Stamp) -> pl.DataFrame:
    return read_table(path)


@lru_cache(maxsize=512)
def _sessions(path: Path, stamp: Stamp) -> NDArray[np.datetime64]:
    return _shared_table(path, stamp)["session"].to_numpy()


@lru_cache(maxsize=4096)
def _digest_of_slices(tables: tuple[tuple[Path, Stamp], ...], start: date, end: date) -> str:
    # A unit asks for its key before it is done and when it is remembered.
    if len(tables) == 1:
        ((path, stamp),) = tables
        return _digests(path, stamp).of(*_bounds(path, stamp, start, end))
    return frame_digest(pl.concat(_slice(path, stamp, start, end) for path, stamp in tables))


# The windows of a symbol are asked for one after the other.
@lru_cache(maxsize=8)
def _digests(path: Path, stamp: Stamp) -> FrameDigests:
    return FrameDigests(_shared_table(path, stamp))


def _slice(path: Path, stamp: Stamp, start: date, end: date) -> pl.DataFrame:
    first, after = _bounds(path, stamp, start, end)
    return _shared_table(path, stamp).slice(first, after - first)


def _bounds(path: Path, stamp: Stamp, start: date, end: date) -> tuple[int, int]:
    sessions = _sessions(path, stamp)
    first = int(np.searchsorted(sessions, np.datetime64(start), side="left"))
    return first, int(np.searchsorted(sessions, np.datetime64(end), side="right"))
