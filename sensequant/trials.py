"""The ledger of trials: every configuration that was ever evaluated on the same data.

Belongs here: writing a trial down and counting those of the same data. Does not belong here: what
the count does to a Sharpe ratio (`evaluation.significance`).

A trial is one file named by its configuration's digest, so that running the same configuration
again adds nothing and nobody can under-count.
"""

from collections.abc import Iterable
from pathlib import Path

from pydantic import Field

from sensequant.records import Finite, Record
from sensequant.storage import read_json, write_json

__all__ = ["Trial", "count_trials", "record_trial", "trials_of"]


class Trial(Record):
    """One configuration evaluated out of sample on one universe and range.

    `n_tuned` is the number of settings that its teachers tried on their training rows before: none
    of them was scored out of sample, but the best of them was chosen.
    """

    data_digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    config_digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    daily_sharpe: Finite | None
    n_sessions: int = Field(ge=0)
    n_tuned: int = Field(default=0, ge=0)


def record_trial(home: Path, trial: Trial) -> None:
    """Write a trial into the ledger below `home`; the same trial twice is one."""
    write_json(_folder(home, trial.data_digest) / f"{trial.config_digest}.json", trial)


def trials_of(home: Path, data_digest: str) -> list[Trial]:
    """Return all trials on the same data, ordered by configuration digest."""
    paths = sorted(_folder(home, data_digest).glob("*.json"))
    return [Trial.model_validate(read_json(path)) for path in paths]


def count_trials(trials: Iterable[Trial]) -> int:
    """Return how many configurations were tried, those of a tuning included."""
    return sum(1 + trial.n_tuned for trial in trials)


def _folder(home: Path, data_digest: str) -> Path:
    return home / "trials" / data_digest
