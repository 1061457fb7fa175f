"""One run on disk: its name, where its files stand, and the records of its stages.

Belongs here: paths below `runs/<run_id>/`, run ids, `StageRecord`. Does not belong here: units of
work (`units`), what a stage computes, and how bytes reach the disk (`storage`).

Files are of two kinds. *Artifacts* are functions of data, configuration and code alone: two runs
of the same three give the same bytes. *Records* say when, where and how long; they differ. What a
person asks of a run after its verdict stands in folders that are neither: nothing in them is
evidence, and asking must not change what was judged.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import Field

from sensequant.errors import ConfigError, RecordError
from sensequant.market.symbols import INDIA_VIX, NIFTY50
from sensequant.records import Record
from sensequant.storage import read_json, write_json

__all__ = [
    "RUN_ID_PATTERN",
    "RunFolder",
    "Stage",
    "StageOutcome",
    "StageRecord",
    "describe",
    "make_run_id",
]

RUN_ID_PATTERN = re.compile(r"live_candidate_\d{8}_\d{6}_[0-9a-f]{8}")

_RECORD_NAMES = frozenset(
    {
        "run.json",
        "telemetry.jsonl",
        "telemetry.parquet",
        "gpu_samples.jsonl",
        "gpu_samples.parquet",
        "chunk_runs.parquet",
        "teacher_runs.parquet",
        "student_runs.parquet",
        "stress_runs.parquet",
        "twin_runs.parquet",
        "significance/trial_ledger.json",
        "SHA256SUMS",
        "manifest.yaml",
        "manifest.sig",
        "promotion_briefing.md",
        "promotion_briefing.json",
        "promotion_briefing.html",
    }
)


_LATER_FOLDERS = frozenset({"optimisation", "ablation"})
_VARIANT_PATTERN = re.compile(rf"({RUN_ID_PATTERN.pattern})\.([a-z][a-z_]{{0,39}})")


class Stage(StrEnum):
    """The eight stages, in the order in which they run.

    Stress tests run before the audit, so that the manifest and the briefing hold their findings.
    """

    DATA_INGESTION = "data_ingestion"
    TEACHER_TRAINING = "teacher_training"
    STUDENT_TRAINING = "student_training"
    MODEL_VALIDATION = "model_validation"
    STATISTICAL_TESTS = "statistical_tests"
    STRESS_TESTS = "stress_tests"
    RELEASE_AUDIT = "release_audit"
    PROMOTION_BRIEFING = "promotion_briefing"


class StageOutcome(StrEnum):
    """How a stage ended; `degraded`: units failed, but no more than the threshold allows."""

    SUCCESS = "success"
    DEGRADED = "degraded"
    SKIPPED = "skipped"
    FAILED = "failed"


class StageRecord(Record):
    """What one stage did, in numbers that a person reads first."""

    run_id: str
    stage: Stage
    outcome: StageOutcome
    n_success: int = 0
    n_skipped: int = 0
    n_failed: int = 0
    skip_reasons: dict[str, int] = Field(default_factory=dict)
    failure_rate: float | None = None
    max_failure_rate: float | None = None
    started_at: datetime
    seconds: float = Field(ge=0)
    findings: dict[str, float | int | str | bool | None] = Field(default_factory=dict)
    not_done_yet: list[str] = Field(default_factory=list)
    error: str | None = None


class RunFolder:
    """The folder of one run and the names of what stands in it.

    Parameters
    ----------
    home
        Root of all data at rest (`SENSEQUANT_HOME`).
    run_id
        `live_candidate_YYYYMMDD_HHMMSS_xxxxxxxx`; validated before it becomes a path. With a dot
        and a name behind it, a variant of that run, whose folder lies in the run's.
    """

    def __init__(self, home: Path, run_id: str) -> None:
        variant = _VARIANT_PATTERN.fullmatch(run_id)
        if variant is None and not RUN_ID_PATTERN.fullmatch(run_id):
            raise ConfigError(
                "run id is malformed",
                where="run_id",
                expected="live_candidate_YYYYMMDD_HHMMSS_ and eight hexadecimal digits",
                found=repr(run_id),
                remedy="list the runs with `sensequant runs`",
            )
        self.home = home
        self.run_id = run_id
        self.root = home / "runs" / run_id
        if variant is not None:
            self.root = home / "runs" / variant[1] / "ablation" / variant[2]

    @property
    def config(self) -> Path:
        """Request and configuration, without what cannot change an artifact."""
        return self.root / "config.json"

    @property
    def run(self) -> Path:
        """Record of who started the run, when, and with how many workers."""
        return self.root / "run.json"

    @property
    def telemetry(self) -> Path:
        """One JSON line per event, written as it happens."""
        return self.root / "telemetry.jsonl"

    @property
    def telemetry_table(self) -> Path:
        """All events as a table, made when the run ends."""
        return self.root / "telemetry.parquet"

    @property
    def gpu_samples(self) -> Path:
        """What the GPUs did, one JSON line per device and moment, written as it happens."""
        return self.root / "gpu_samples.jsonl"

    @property
    def gpu_table(self) -> Path:
        """What the GPUs did, as a table, made when a stage ends."""
        return self.root / "gpu_samples.parquet"

    @property
    def plan(self) -> Path:
        """Windows planned per symbol, with those that are skipped beforehand."""
        return self.root / "windows.json"

    @property
    def data(self) -> Path:
        """Digest, range and source of the bars of each symbol."""
        return self.root / "data.parquet"

    @property
    def quarantine(self) -> Path:
        """Delivered rows that were refused, with reasons."""
        return self.root / "quarantine.parquet"

    @property
    def benchmark(self) -> Path:
        """Daily bars of the benchmark index that the run compares with."""
        return self.root / "benchmark.parquet"

    @property
    def indices(self) -> list[Path]:
        """Tables of the index bars that features may know."""
        return [self.bars(NIFTY50), self.bars(INDIA_VIX)]

    @property
    def all_rows(self) -> Path:
        """Folder of the tables of features and labels."""
        return self.root / "rows"

    @property
    def reward_returns(self) -> Path:
        """What every decision would have earned, and when that was known."""
        return self.root / "reward_returns.parquet"

    @property
    def rewards(self) -> Path:
        """Out-of-sample decisions of the students with their rewards."""
        return self.root / "rewards.parquet"

    @property
    def comparisons(self) -> Path:
        """Variants of the students measured on the same rows."""
        return self.root / "comparisons.json"

    @property
    def candidate(self) -> Path:
        """Folder of the students to deploy."""
        return self.root / "candidate"

    @property
    def predictions(self) -> Path:
        """Out-of-sample scores of all students."""
        return self.root / "predictions.parquet"

    @property
    def validation(self) -> Path:
        """Folder of stage 4."""
        return self.root / "validation"

    @property
    def significance(self) -> Path:
        """Folder of stage 5."""
        return self.root / "significance"

    @property
    def stress(self) -> Path:
        """Folder of stage 8."""
        return self.root / "stress"

    @property
    def audit(self) -> Path:
        """Folder of stage 6."""
        return self.root / "audit"

    @property
    def optimisation(self) -> Path:
        """Folder of the searches that a person asked for later."""
        return self.root / "optimisation"

    @property
    def ablation(self) -> Path:
        """Folder of the run's variants with and without families of features."""
        return self.root / "ablation"

    def variant(self, name: str) -> "RunFolder":
        """Return the folder of a variant of this run."""
        return RunFolder(self.home, f"{self.run_id}.{name}")

    @property
    def manifest(self) -> Path:
        """Digests of everything that the verdict rests on."""
        return self.root / "manifest.yaml"

    @property
    def signature(self) -> Path:
        """Signature of the manifest, where somebody has signed it."""
        return self.root / "manifest.sig"

    @property
    def report(self) -> Path:
        """The self-contained HTML page of the run."""
        return self.root / "report.html"

    @property
    def briefing(self) -> Path:
        """The page that a person decides from, without its suffix (.md, .json, .html)."""
        return self.root / "promotion_briefing"

    def units(self, kind: str) -> Path:
        """Return the table of one kind of unit: chunk, teacher, student or stress."""
        return self.root / f"{kind}_runs.parquet"

    def rows(self, symbol: str) -> Path:
        """Return the table of one symbol's features and labels."""
        return self.all_rows / f"{symbol}.parquet"

    @property
    def sectors(self) -> Path:
        """Sectors of companies as they were listed when the bars came; absent without a list."""
        return self.root / "sectors.parquet"

    def bars(self, symbol: str) -> Path:
        """Return the table of one symbol's adjusted bars."""
        return self.root / "bars" / f"{symbol}.parquet"

    def context(self, family: str) -> Path:
        """Return the table of what is known of each session for one family of features."""
        return self.root / "context" / f"{family}.parquet"

    def teacher(self, window: str) -> Path:
        """Return the folder of one window's teacher."""
        return self.root / "teachers" / window

    def student(self, window: str) -> Path:
        """Return the folder of the student made from windows up to this one."""
        return self.root / "students" / window

    def stage_record(self, stage: Stage) -> Path:
        """Return the record of one stage."""
        return self.root / "stages" / f"{stage}.json"

    def write_stage(self, record: StageRecord) -> None:
        """Store the record of a stage."""
        write_json(self.stage_record(record.stage), record)

    def stages(self) -> list[StageRecord]:
        """Return the records of the stages that ended, in the order of the stages."""
        return [
            StageRecord.model_validate(read_json(self.stage_record(stage)))
            for stage in Stage
            if self.stage_record(stage).exists()
        ]

    def require(self) -> Self:
        """Return the folder itself if the run exists.

        Raises
        ------
        ConfigError
            There is no such run.
        """
        if not self.config.exists():
            raise ConfigError(
                "run is unknown",
                where=str(self.root),
                expected="the folder of a run",
                found="no configuration there",
                remedy="list the runs with `sensequant runs`",
            )
        return self

    def artifacts(self) -> Iterator[Path]:
        """Yield the files that data, configuration and code determine, sorted."""
        yield from (path for path in self._files if not self.is_record(path))

    def records(self) -> Iterator[Path]:
        """Yield the files that say when, where and how long, but for the manifest itself."""
        yield from (
            path for path in self._files if self.is_record(path) and path.name != self.manifest.name
        )

    def is_record(self, path: Path) -> bool:
        """Return whether a file of this run differs between equal runs by its nature."""
        relative = path.relative_to(self.root)
        return relative.parts[0] == "stages" or relative.as_posix() in _RECORD_NAMES

    @property
    def _files(self) -> list[Path]:
        return sorted(
            path
            for path in self.root.rglob("*")
            if path.is_file() and not path.name.startswith(".")
            if path.relative_to(self.root).parts[0] not in _LATER_FOLDERS
        )

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The stored request and configuration as plain values."""
        value = read_json(self.config)
        if not isinstance(value, dict):
            raise RecordError("configuration is no object", where=str(self.config))
        return value  # pyright: ignore[reportUnknownVariableType]


def make_run_id(started_at: datetime, unique: str) -> str:
    """Return `live_candidate_YYYYMMDD_HHMMSS_` plus the first eight hex digits of `unique`."""
    return f"live_candidate_{started_at:%Y%m%d_%H%M%S}_{unique.replace('-', '')[:8]}"


def describe(error: Exception) -> str:
    """Return the type and message of an error in one line."""
    return f"{type(error).__name__}: {error}"
