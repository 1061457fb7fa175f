"""Rows of the registry read inside a transaction, and the forms in which values are written.

Belongs here: what `release.registry` and `release.deployments` both need. Does not belong here:
transactions, and what they mean.
"""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from sensequant.errors import ConfigError, RegistryError
from sensequant.release.registry_records import CandidateRun
from sensequant.release.registry_tables import CANDIDATES

__all__ = ["as_text", "candidate_of", "find_candidate", "one_candidate", "require_words", "without"]


def find_candidate(connection: sa.Connection, run_id: str) -> CandidateRun | None:
    """Return the present state of a run, or None where the registry does not know it."""
    query = sa.select(CANDIDATES).where(CANDIDATES.c.run_id == run_id)
    row = connection.execute(query).mappings().first()
    return None if row is None else candidate_of(row)


def one_candidate(connection: sa.Connection, run_id: str) -> CandidateRun:
    """Return the present state of a run.

    Raises
    ------
    RegistryError
        The run is not in the registry.
    """
    found = find_candidate(connection, run_id)
    if found is None:
        raise RegistryError(
            "run is not in the registry",
            where=run_id,
            expected="a run that was recorded",
            found="no such candidate",
            remedy="`sensequant candidates` lists those that there are",
        )
    return found


def candidate_of(row: sa.RowMapping) -> CandidateRun:
    """Return the record of a row of candidates."""
    return CandidateRun.model_validate(without(row, "id"))


def without(row: sa.RowMapping, *names: str) -> dict[str, Any]:
    """Return the values of a row but for some columns."""
    return {name: value for name, value in row.items() if name not in names}


def require_words(name: str, value: str) -> None:
    """Refuse an actor or a reason that says nothing.

    Raises
    ------
    ConfigError
        The value is empty.
    """
    if not value.strip():
        raise ConfigError(f"{name} was empty", where=name, expected="words", found=repr(value))


def as_text(at: datetime) -> str:
    """Return an instant as it is stored: in UTC, so that texts have the order of the instants.

    Raises
    ------
    ConfigError
        It has no time zone.
    """
    if at.tzinfo is None:
        raise ConfigError(
            "instant has no time zone",
            where="at",
            expected="an aware datetime",
            found=at.isoformat(),
            remedy="give it in UTC",
        )
    return at.astimezone(UTC).isoformat()
