"""What stands on disk about runs, read without the libraries that made it.

Belongs here: finding a run by part of its name, and reading its records as they are, complete or
not: a run that is under way or was killed lacks some of them. Does not belong here: how they are
shown (`cli.show`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from sensequant.errors import ConfigError, RecordError
from sensequant.records import Outcome
from sensequant.runs import RUN_ID_PATTERN, RunFolder, StageRecord
from sensequant.storage import read_json, read_table, sha256_of

__all__ = ["LATEST", "Artifact", "StoredRun", "find_run", "read_run", "stored_runs"]

LATEST = "latest"
"""Names the newest run."""

_UNIT_KINDS = ("chunk", "teacher", "student", "stress")
_UNIT_COLUMNS = ("kind", "name", "outcome", "reason", "error_type", "error_message")


@dataclass(frozen=True)
class Artifact:
    """A file of a run: its path below the run's folder, its sha256 and its size."""

    path: str
    sha256: str
    n_bytes: int


@dataclass(frozen=True)
class StoredRun:
    """A run as far as it is written down.

    Parameters
    ----------
    folder
        Where it stands.
    record
        Content of `run.json`; empty if it was never written.
    request
        What was asked; empty if that was never written.
    """

    folder: RunFolder
    record: dict[str, Any]
    request: dict[str, Any]

    @property
    def outcome(self) -> str:
        """How the run ended, or that it did not."""
        return self.record.get("outcome") or "not ended"

    @property
    def verdict(self) -> str | None:
        """The verdict of the release audit, if the run came that far."""
        return self.record.get("verdict")

    @property
    def is_simulated(self) -> bool:
        """Whether the bars were generated."""
        return bool(self.record.get("is_simulated"))

    @property
    def symbols(self) -> str:
        """What a person calls the symbols that were asked for."""
        named: list[str] = self.request.get("symbols") or []
        if named:
            few = 3
            return ",".join(named) if len(named) <= few else f"{len(named)} symbols"
        return self.request.get("universe") or self.request.get("symbols_file") or "all symbols"

    @property
    def dates(self) -> str:
        """First and last date that were asked for."""
        return f"{self.request.get('start', '?')}..{self.request.get('end', '?')}"

    def stages(self) -> list[StageRecord]:
        """Return the records of the stages that ended."""
        return self.folder.stages()

    def judgement(self) -> dict[str, Any]:
        """Return the verdict with its gates, as the audit wrote it; empty if there is none."""
        return _object(self.folder.audit / "gates.json")

    def units_left_out(self) -> list[dict[str, str | None]]:
        """Return every unit that was skipped or failed, with its reason or error."""
        left_out: list[dict[str, str | None]] = []
        for kind in _UNIT_KINDS:
            path = self.folder.units(kind)
            if path.exists():
                rows = read_table(path).select(_UNIT_COLUMNS).iter_rows(named=True)
                left_out += [row for row in rows if row["outcome"] != Outcome.SUCCESS]
        return left_out

    def artifacts(self) -> Iterator[Artifact]:
        """Yield the artifacts with their digests, computed now from what stands there."""
        for path in self.folder.artifacts():
            yield Artifact(
                path.relative_to(self.folder.root).as_posix(),
                sha256_of(path),
                path.stat().st_size,
            )


def find_run(home: Path, text: str) -> RunFolder:
    """Return the run that a text names: `latest`, its id, or a part that begins or ends one id.

    Raises
    ------
    ConfigError
        No run has such a name, or more than one has.
    """
    names = _names(home)
    if text == LATEST:
        matching = names[:1]
    elif text in names:
        matching = [text]
    else:
        matching = [name for name in names if name.startswith(text) or name.endswith(text)]
    if len(matching) != 1:
        raise ConfigError(
            "run is ambiguous" if matching else "run is unknown",
            where=str(home / "runs"),
            expected="an id, its beginning or end if no other run shares it, or latest",
            found=f"{text}, which names {', '.join(matching) or 'none'}",
            remedy="list the runs with `sensequant runs`",
        )
    return RunFolder(home, matching[0])


def stored_runs(home: Path) -> list[StoredRun]:
    """Return all runs below `home`, the newest first."""
    return [read_run(RunFolder(home, name)) for name in _names(home)]


def read_run(folder: RunFolder) -> StoredRun:
    """Return what is written down about a run."""
    settings = _object(folder.config)
    return StoredRun(folder, _object(folder.run), settings.get("request", {}))


def _names(home: Path) -> list[str]:
    # Ids begin with their time in UTC, so that their order is that of their runs.
    folders = (home / "runs").glob("*")
    return sorted(
        (path.name for path in folders if RUN_ID_PATTERN.fullmatch(path.name)), reverse=True
    )


def _object(path: Path) -> dict[str, Any]:
    try:
        value = read_json(path)
    except RecordError:
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
