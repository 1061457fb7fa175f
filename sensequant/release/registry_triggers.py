"""What the database of the registry enforces by itself, whoever writes: history, states, order.

Belongs here: triggers for SQLite and PostgreSQL, made from one list. Does not belong here: columns
(`release.registry_tables`), and the messages that a person reads first (`release.registry`,
`release.deployments`): they ask before they write, these refuse what would still be wrong.

A guard is a condition on the row that is to be written, under which the statement is refused.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from sensequant.release.deployment_records import (
    DeploymentKind,
    DeploymentOutcome,
    EnvironmentName,
)
from sensequant.release.manifest import CandidateStatus
from sensequant.release.registry_records import FIRST_STATES, TRANSITIONS, EventKind

__all__ = ["DEPLOYABLE", "ENVIRONMENT_OF", "Guard", "guards_of"]

ENVIRONMENT_OF = {
    DeploymentKind.STAGE: EnvironmentName.STAGING,
    DeploymentKind.PROMOTE: EnvironmentName.PRODUCTION,
}
"""Where each kind of deployment leads; a rollback stays where it is."""

DEPLOYABLE = {
    DeploymentKind.STAGE: (CandidateStatus.APPROVED, CandidateStatus.RETIRED),
    DeploymentKind.PROMOTE: (CandidateStatus.STAGING,),
    DeploymentKind.ROLLBACK: (
        CandidateStatus.RETIRED,
        CandidateStatus.STAGING,
        CandidateStatus.PRODUCTION,
    ),
}
"""States from which each kind takes a candidate."""


@dataclass(frozen=True, slots=True)
class Guard:
    """One statement that makes a trigger, or the function that it calls, in one dialect."""

    dialect: str
    ddl: str


@dataclass(frozen=True, slots=True)
class _Rule:
    table: str
    name: str
    when: str
    refused_if: str
    message: str


def guards_of(*tables: sa.Table) -> dict[sa.Table, list[Guard]]:
    """Return the guards of these tables of the registry, in the order in which they are made."""
    guards: dict[str, list[Guard]] = defaultdict(list)
    for name, message in _APPEND_ONLY.items():
        guards[name] += _append_only(name, message)
    for rule in _rules():
        guards[rule.table] += _guards(rule)
    return {table: guards[table.name] for table in tables}


_APPEND_ONLY = {
    "candidate_events": "events are only ever added",
    "deployments": "deployments are only ever added",
    "deployment_outcomes": "outcomes are only ever added",
}


def _rules() -> Iterator[_Rule]:
    yield from _CANDIDATE_RULES
    yield from _DEPLOYMENT_RULES


def _texts(values: Iterable[str]) -> str:
    return "(" + ", ".join(f"'{value}'" for value in sorted(values)) + ")"


_UNDER_WAY_OR_DONE = f"""EXISTS (
    SELECT 1 FROM deployments AS d LEFT JOIN deployment_outcomes AS o
    ON o.deployment_number = d.number
    WHERE d.run_id = OLD.run_id AND COALESCE(o.outcome, '') <> '{DeploymentOutcome.ABANDONED}')"""  # noqa: S608 - words of this project

_CANDIDATE_RULES = (
    _Rule(
        "candidates",
        "candidates_begin",
        "INSERT",
        f"NEW.status NOT IN {_texts(FIRST_STATES)}",
        "a candidate begins as its verdict says, or failed",
    ),
    _Rule(
        "candidates",
        "candidates_move",
        "UPDATE",
        "OLD.status || '>' || NEW.status NOT IN "
        + _texts(f"{former}>{later}" for former, later in TRANSITIONS),
        "a candidate does not go from that state to this one",
    ),
    _Rule(
        "candidates",
        "candidates_keep_manifest",
        "UPDATE",
        "COALESCE(NEW.manifest_sha256, '') <> COALESCE(OLD.manifest_sha256, '') AND "
        + _UNDER_WAY_OR_DONE,
        "what was deployed keeps its manifest",
    ),
)

_DEPLOYMENT_RULES = (
    _Rule(
        "deployments",
        "deployments_kind",
        "INSERT",
        "NEW.kind || '>' || NEW.environment NOT IN "
        + _texts(
            [
                *(f"{kind}>{environment}" for kind, environment in ENVIRONMENT_OF.items()),
                *(f"{DeploymentKind.ROLLBACK}>{environment}" for environment in EnvironmentName),
            ]
        ),
        "this kind of deployment does not lead there",
    ),
    _Rule(
        "deployments",
        "deployments_in_turn",
        "INSERT",
        """EXISTS (SELECT 1 FROM deployments AS d WHERE d.environment = NEW.environment
        AND NOT EXISTS (SELECT 1 FROM deployment_outcomes AS o
        WHERE o.deployment_number = d.number))""",
        "another deployment of this environment is under way",
    ),
    _Rule(
        "deployments",
        "deployments_state",
        "INSERT",
        "NOT EXISTS (SELECT 1 FROM candidates AS c WHERE c.run_id = NEW.run_id "  # noqa: S608
        "AND c.manifest_sha256 = NEW.manifest_sha256 AND NEW.kind || '>' || c.status IN "
        + _texts(f"{kind}>{status}" for kind, states in DEPLOYABLE.items() for status in states)
        + ")",
        "no candidate of this manifest is in a state to be deployed so",
    ),
    _Rule(
        "deployments",
        "deployments_approved",
        "INSERT",
        f"""NOT EXISTS (SELECT 1 FROM candidate_events AS e WHERE e.run_id = NEW.run_id
        AND e.kind = '{EventKind.APPROVED}' AND e.manifest_sha256 = NEW.manifest_sha256)""",  # noqa: S608
        "nothing is deployed without an approval of its manifest",
    ),
    _Rule(
        "deployments",
        "deployments_restore",
        "INSERT",
        f"""NEW.kind = '{DeploymentKind.ROLLBACK}' AND NOT EXISTS (
        SELECT 1 FROM deployments AS d JOIN deployment_outcomes AS o
        ON o.deployment_number = d.number WHERE d.number = NEW.restores
        AND d.environment = NEW.environment AND d.run_id = NEW.run_id
        AND d.model_sha256 = NEW.model_sha256 AND o.outcome = '{DeploymentOutcome.COMPLETED}')""",  # noqa: S608
        "a rollback restores what stood in this environment",
    ),
    _Rule(
        "deployment_outcomes",
        "deployment_outcomes_kind",
        "INSERT",
        f"NEW.outcome NOT IN {_texts(DeploymentOutcome)}",
        "a deployment is completed or abandoned",
    ),
)


def _guards(rule: _Rule) -> Iterator[Guard]:
    yield Guard(
        "sqlite",
        f"CREATE TRIGGER {rule.name} BEFORE {rule.when} ON {rule.table} WHEN {rule.refused_if} "
        f"BEGIN SELECT RAISE(ABORT, '{rule.message}'); END",
    )
    yield Guard(
        "postgresql",
        f"CREATE OR REPLACE FUNCTION {rule.name}() RETURNS trigger AS $$ "
        f"BEGIN IF {rule.refused_if} THEN RAISE EXCEPTION '{rule.message}'; END IF; "
        f"RETURN NEW; END $$ LANGUAGE plpgsql",
    )
    yield Guard(
        "postgresql",
        f"CREATE TRIGGER {rule.name} BEFORE {rule.when} ON {rule.table} "
        f"FOR EACH ROW EXECUTE FUNCTION {rule.name}()",
    )


def _append_only(table: str, message: str) -> Iterator[Guard]:
    for act in ("update", "delete"):
        yield Guard(
            "sqlite",
            f"CREATE TRIGGER {table}_no_{act} BEFORE {act.upper()} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{message}'); END",
        )
    yield Guard(
        "postgresql",
        f"CREATE OR REPLACE FUNCTION {table}_keep() RETURNS trigger AS $$ "
        f"BEGIN RAISE EXCEPTION '{message}'; END $$ LANGUAGE plpgsql",
    )
    yield Guard(
        "postgresql",
        f"CREATE TRIGGER {table}_keep BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_keep()",
    )
