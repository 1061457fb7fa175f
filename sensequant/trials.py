"""The ledger of trials: everything that was ever tried on the same data, over all runs of a home.

Belongs here: writing a trial down, reading the ledger back, telling whether it was altered, and
counting the trials that compete with a run. Does not belong here: what the count does to a test
(`evaluation`), what a run tries (`stages.contenders`).

A trial is a fit (a configuration that began to learn), a search (settings tried inside training
rows), or a contender (net returns out of sample). It is one line of `trials/ledger.jsonl`, known by
the digest of its content: the same trial done again adds nothing. A line is written before its
result can be seen, so that what looked poor and was given up still counts.

Every line holds the sha256 of the line before it. What was altered, removed or put in between
breaks this chain; what was cut off at the end is missed by `trials/head.json` and by the anchor
that each run keeps of the ledger as it was then. Returns stand in files named by their digest.
Somebody who rewrites ledger, head and all runs leaves no trace here; that takes a copy outside this
home.

A writer that is killed leaves a line without its end, which counts as not written, or a head that
is one write behind, which is no fault.
"""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import Field, ValidationError

from sensequant.errors import RecordError, StorageError
from sensequant.evaluation.hypotheses import TrialCount
from sensequant.records import Finite, Record, digest_of, frame_digest
from sensequant.storage import (
    locked,
    read_json,
    read_table,
    sha256_of_bytes,
    write_json,
    write_table,
)

__all__ = [
    "ANCHOR_NAME",
    "Anchor",
    "Scope",
    "Trial",
    "TrialKind",
    "TrialLedger",
    "count_trials",
    "read_ledger",
    "record_trials",
    "returns_of",
    "store_returns",
]

ANCHOR_NAME = "significance/trial_ledger.json"
"""Where a run keeps its anchor, below its folder."""

_DIGEST = r"^[0-9a-f]{64}$"
_NOTHING = "0" * 64
_LEDGER, _HEAD, _RETURNS = "ledger.jsonl", "head.json", "returns"


class TrialKind(StrEnum):
    """What was tried."""

    FIT = "fit"
    SEARCH = "search"
    CONTENDER = "contender"


class Scope(Record):
    """On which data something was tried.

    Attributes
    ----------
    market
        `nse`, or the digest of a simulated market: worlds that have nothing in common.
    symbols
        In alphabetical order.
    start, end
        First and last session of the request.
    """

    market: str
    symbols: tuple[str, ...]
    start: date
    end: date

    def overlaps(self, other: "Scope") -> bool:
        """Return whether both share a market, a symbol and a session."""
        return (
            self.market == other.market
            and self.start <= other.end
            and other.start <= self.end
            and not set(self.symbols).isdisjoint(other.symbols)
        )


class Trial(Record):
    """One thing that was tried.

    Attributes
    ----------
    kind
        What.
    scope
        On which data.
    settings_digest
        Of all that the fit, the search or the contender's models follow from: settings, seed, code.
    name
        Variant of a contender, or window of a search.
    n_settings
        Settings that a search tried beside the given ones.
    n_sessions, sharpe_session, returns_digest
        Of a contender: its sessions, its Sharpe ratio per session over the risk-free return (None
        where returns do not vary), and the digest of its returns.
    """

    kind: TrialKind
    scope: Scope
    settings_digest: str = Field(pattern=_DIGEST)
    name: str = ""
    n_settings: int = Field(default=0, ge=0)
    n_sessions: int = Field(default=0, ge=0)
    sharpe_session: Finite | None = None
    returns_digest: str | None = Field(default=None, pattern=_DIGEST)


class Anchor(Record):
    """How long the ledger was at some time, and the sha256 of its last line then."""

    n_entries: int = Field(ge=0)
    sha256: str = Field(pattern=_DIGEST)


@dataclass(frozen=True, slots=True)
class TrialLedger:
    """The ledger as it stands.

    Attributes
    ----------
    trials
        In the order in which they were written; none twice.
    anchor
        Its present length and last digest.
    problems
        What shows that it was altered, one sentence each.
    """

    trials: tuple[Trial, ...]
    anchor: Anchor
    problems: tuple[str, ...]


def record_trials(home: Path, trials: Iterable[Trial], *, run_id: str) -> None:
    """Write trials down, but for those that the ledger knows already.

    Parameters
    ----------
    home
        Root of all data at rest.
    trials
        What was, or is about to be, tried.
    run_id
        The run that tries; it is no part of a trial.

    Raises
    ------
    StorageError
        The disk is full or the folder cannot be written.
    """
    path = home / "trials" / _LEDGER
    with locked(path):
        content = path.read_bytes() if path.exists() else b""
        # What a killed writer left of a line is no entry.
        whole = content[: content.rfind(b"\n") + 1]
        lines = whole.splitlines()
        head_path = home / "trials" / _HEAD
        if not lines and not head_path.exists():
            # There is a head before there is an entry, so that a missing one was taken away.
            write_json(head_path, _anchor([]))
        head = _read_anchor(head_path)
        new = {_key(trial): trial for trial in trials}
        n_before = len(lines)
        for key, trial in new.items():
            if key.encode() not in whole:
                lines.append(_line(key, trial, run_id, lines[-1] if lines else None))
        if len(lines) > n_before:
            _append(path, whole, b"".join(line + b"\n" for line in lines[n_before:]))
        if head is not None and head != _anchor(lines) and _is_kept(head, lines[:n_before]):
            # Otherwise the head stays as it is: it is the proof that something was taken away.
            write_json(head_path, _anchor(lines))


def read_ledger(home: Path) -> TrialLedger:
    """Return all trials of a home, and what shows that the ledger was altered."""
    path = home / "trials" / _LEDGER
    # Before the entries, because the ledger may grow in between.
    anchors = list(_anchors(home))
    content = path.read_bytes() if path.exists() else b""
    lines = content[: content.rfind(b"\n") + 1].splitlines()
    problems: list[str] = []
    trials: list[Trial] = []
    previous = _NOTHING
    for number, line in enumerate(lines, start=1):
        trial, linked_to = _parsed(line)
        if linked_to != previous:
            problems.append(f"entry {number} does not follow from the one before it")
        if trial is None:
            problems.append(f"entry {number} cannot be read, or is not what its key says")
        else:
            trials.append(trial)
        previous = sha256_of_bytes(line)
    problems += [
        f"entries that {name} knew of are missing or differ"
        for name, anchor in anchors
        if not _is_kept(anchor, lines)
    ]
    if lines and _HEAD not in dict(anchors):
        problems.append(f"{_HEAD} is missing")
    return TrialLedger(tuple(trials), _anchor(lines), tuple(problems))


def store_returns(home: Path, returns: pl.DataFrame) -> str:
    """Store the net returns of a contender (session, net_return); return their digest."""
    digest = frame_digest(returns)
    path = _returns_path(home, digest)
    if not path.exists():
        write_table(path, returns)
    return digest


def returns_of(home: Path, trial: Trial) -> pl.DataFrame | None:
    """Return session and net_return of a contender; None if they are missing or were altered."""
    if trial.returns_digest is None:
        return None
    try:
        returns = read_table(_returns_path(home, trial.returns_digest))
    except RecordError:
        return None
    return returns if frame_digest(returns) == trial.returns_digest else None


def count_trials(
    trials: Sequence[Trial], scope: Scope, *, problems: Iterable[str] = ()
) -> tuple[TrialCount, list[Trial]]:
    """Count what competes with a run on a scope, and return the contenders among it.

    Contenders of equal returns are one: they differ in nothing that could be chosen. A
    configuration that learnt and was never scored counts as one, whatever it might have become. Of
    a search, windows are parts of one strategy, so that the most searched window counts.

    Parameters
    ----------
    trials
        All of the ledger.
    scope
        Of the run that is judged; trials count that share a symbol and a session with it.
    problems
        Why the ledger cannot be trusted.
    """
    near = [trial for trial in trials if trial.scope.overlaps(scope)]
    contenders = {
        trial.returns_digest: trial for trial in near if trial.kind is TrialKind.CONTENDER
    }
    scored = {
        (trial.settings_digest, trial.scope) for trial in near if trial.kind is TrialKind.CONTENDER
    }
    fitted = {(trial.settings_digest, trial.scope) for trial in near if trial.kind is TrialKind.FIT}
    searched: dict[str, int] = {}
    for trial in near:
        if trial.kind is TrialKind.SEARCH:
            so_far = searched.get(trial.settings_digest, 0)
            searched[trial.settings_digest] = max(so_far, trial.n_settings)
    ratios = [
        trial.sharpe_session for trial in contenders.values() if trial.sharpe_session is not None
    ]
    n_unscored, n_tuned = len(fitted - scored), sum(searched.values())
    variance = pl.Series(ratios, dtype=pl.Float64).var()
    count = TrialCount(
        n_trials=max(1, len(contenders) + n_unscored + n_tuned),
        n_contenders=len(contenders),
        n_unscored=n_unscored,
        n_tuned=n_tuned,
        n_with_sharpe=len(ratios),
        sharpe_variance=variance if isinstance(variance, float) else None,
        problems=tuple(problems),
    )
    return count, list(contenders.values())


def _key(trial: Trial) -> str:
    return digest_of(trial)


def _line(key: str, trial: Trial, run_id: str, previous: bytes | None) -> bytes:
    entry = {
        "previous": _NOTHING if previous is None else sha256_of_bytes(previous),
        "key": key,
        "run_id": run_id,
        "trial": trial.model_dump(mode="json"),
    }
    return json.dumps(entry, separators=(",", ":"), allow_nan=False).encode()


def _parsed(line: bytes) -> tuple[Trial | None, str | None]:
    try:
        entry: dict[str, Any] = json.loads(line)
        trial = Trial.model_validate(entry["trial"])
    except (ValueError, KeyError, TypeError, ValidationError):
        return None, None
    is_intact = _key(trial) == entry.get("key")
    return trial if is_intact else None, entry.get("previous")


def _append(path: Path, whole: bytes, text: bytes) -> None:
    try:
        with path.open("r+b" if path.exists() else "w+b") as file:
            file.truncate(len(whole))
            file.seek(len(whole))
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StorageError(
            "trial was not written down",
            where=str(path),
            expected="a writable folder with free space",
            found=error.strerror or str(error),
            remedy="free space, then run again: a trial that is not counted must not be judged",
        ) from error


def _anchor(lines: Sequence[bytes]) -> Anchor:
    return Anchor(n_entries=len(lines), sha256=sha256_of_bytes(lines[-1]) if lines else _NOTHING)


def _is_kept(anchor: Anchor, lines: Sequence[bytes]) -> bool:
    if anchor.n_entries > len(lines):
        return False
    return _anchor(lines[: anchor.n_entries]) == anchor


def _anchors(home: Path) -> Iterable[tuple[str, Anchor]]:
    kept = {_HEAD: home / "trials" / _HEAD}
    kept |= {path.parents[1].name: path for path in (home / "runs").glob(f"*/{ANCHOR_NAME}")}
    for name, path in sorted(kept.items()):
        anchor = _read_anchor(path)
        if anchor is not None:
            yield name, anchor


def _read_anchor(path: Path) -> Anchor | None:
    try:
        return Anchor.model_validate(read_json(path)) if path.exists() else None
    except (RecordError, ValidationError):
        # It is there and says nothing: no entry can satisfy it.
        return Anchor(n_entries=2**62, sha256=_NOTHING)


def _returns_path(home: Path, digest: str) -> Path:
    return home / "trials" / _RETURNS / f"{digest}.parquet"
