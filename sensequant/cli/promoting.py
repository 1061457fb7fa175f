"""Staging, promoting and rolling back from the terminal, and what stands where.

Belongs here: the words of the answers. Does not belong here: what may move and how
(`stages.promotion`, `stages.moving`).
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from getpass import getuser
from typing import Any, Literal

from rich.console import Console

from blocks.environment import Environment
from sensequant.cli.asking import build_model, nested_settings
from sensequant.cli.output import Fact, print_facts, print_table
from sensequant.cli.stored import find_run
from sensequant.errors import NotReadyError
from sensequant.release.deployment_records import (
    Deployment,
    DeploymentKind,
    EnvironmentName,
    Readiness,
)
from sensequant.release.limits import PromotionLimits
from sensequant.stages.moving import EnvironmentState, Order, environments_of, history_of, reconcile
from sensequant.stages.promotion import (
    look_at,
    promote_candidate,
    rollback_environment,
    stage_candidate,
)

__all__ = ["Asked", "move", "roll_back", "show_environments"]

_CHECKS = ["check", "outcome", "expected", "found"]
_STANDS = ["environment", "run", "model", "since", "by", "why"]
_HISTORY = ["number", "when", "environment", "what", "run", "by", "why", "outcome"]
_N_DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was typed: which run shall move, who says so, and whether it is only looked at."""

    what: Literal["stage", "promote"]
    run: str
    by: str
    reason: str
    settings: tuple[str, ...]
    is_check: bool


def move(console: Console, env: Environment, asked: Asked) -> int:
    """Move a model, or say whether it could be moved, and print every check.

    Returns
    -------
    int
        0; 1 where it was only looked at and is not ready.

    Raises
    ------
    ConfigError
        The run is unknown, a limit is wrong, or nobody or no reason was named.
    NotReadyError, RegistryError
        It is refused; nothing has changed.
    """
    folder = find_run(env.home, asked.run)
    limits = build_model(PromotionLimits, nested_settings(asked.settings), where="limits")
    order = _order(env, by=asked.by, reason=asked.reason, limits=limits)
    if asked.is_check:
        found = look_at(folder, DeploymentKind(asked.what), order)
        _print_checks(console, found)
        return 1 if found.failures else 0
    act = stage_candidate if asked.what == "stage" else promote_candidate
    return _done(console, lambda: act(folder, order))


def roll_back(
    console: Console,
    env: Environment,
    environment: Literal["staging", "production"],
    *,
    by: str,
    reason: str,
) -> int:
    """Put back the former model of an environment, and print every check; errors as `move`."""
    order = _order(env, by=by, reason=reason, limits=PromotionLimits())
    name = EnvironmentName(environment)
    return _done(console, lambda: rollback_environment(env.home, name, order))


def show_environments(console: Console, env: Environment, *, is_json: bool) -> int:
    """Print what stands where and the history, once what killed processes left is settled.

    Returns
    -------
    int
        1 where a pointer or a model is not what it should be, else 0.
    """
    settled: list[Deployment] = []
    home, registry = env.home, env.registry_url
    if any(each.outcome is None for each in history_of(home, registry=registry)):
        settled = reconcile(home, actor=getuser(), clock=_now, registry=registry)
    states = environments_of(home, registry=registry)
    history = history_of(home, registry=registry)
    if is_json:
        console.out(json.dumps(_as_json(states, history), indent=2))
    else:
        _print_states(console, states, settled)
        _print_history(console, history)
    return 1 if any(state.problem is not None for state in states) else 0


def _now() -> datetime:
    return datetime.now(UTC)


def _order(env: Environment, *, by: str, reason: str, limits: PromotionLimits) -> Order:
    return Order(
        actor=by,
        reason=reason,
        clock=_now,
        limits=limits,
        trusted_keys=env.trusted_keys,
        registry=env.registry_url,
    )


def _done(console: Console, act: Callable[[], Deployment]) -> int:
    try:
        done = act()
    except NotReadyError as error:
        _print_checks(console, error.readiness)
        raise
    _print_checks(console, done.readiness)
    console.print()
    print_facts(console, _facts(done))
    return 0


def _facts(done: Deployment) -> list[Fact]:
    facts = [
        (done.environment.value, done.run_id),
        ("model", done.model_sha256),
        ("manifest", done.manifest_sha256),
        ("deployment", f"{done.number}, {done.kind} by {done.actor}: {done.reason}"),
        (
            "a rollback would restore",
            "nothing" if done.former is None else f"deployment {done.former}",
        ),
    ]
    if done.is_simulated:
        facts.append(("bars", "simulated: no score tells anything about a real market"))
    return facts


def _print_checks(console: Console, found: Readiness) -> None:
    rows = [
        [check.name, "pass" if check.is_passed else "fail", check.expected, check.found]
        for check in found.checks
    ]
    print_facts(
        console, [("run", found.run_id), (f"ready to {found.kind.in_words}", _verdict(found))]
    )
    print_table(console, _CHECKS, rows)


def _verdict(found: Readiness) -> str:
    n_failed = len(found.failures)
    return f"fail, {n_failed} of {len(found.checks)} checks" if n_failed else "pass"


def _print_states(
    console: Console, states: list[EnvironmentState], settled: list[Deployment]
) -> None:
    rows = [_stand(state) for state in states]
    print_table(console, _STANDS, rows)
    problems = [(f"fail {state.name}", state.problem) for state in states if state.problem]
    print_facts(console, problems)
    print_facts(
        console, [(f"settled deployment {each.number}", str(each.note)) for each in settled]
    )


def _stand(state: EnvironmentState) -> list[str]:
    deployment = state.deployment
    if deployment is None:
        return [state.name.value, "nothing", "", "", "", ""]
    simulated = " (simulated)" if deployment.is_simulated else ""
    return [
        state.name.value,
        f"{deployment.run_id}{simulated}",
        deployment.model_sha256[:_N_DIGITS],
        _minute(deployment.ended_at or deployment.at),
        deployment.actor,
        deployment.reason,
    ]


def _print_history(console: Console, history: list[Deployment]) -> None:
    if not history:
        return
    console.print()
    rows = [
        [
            str(each.number),
            _minute(each.at),
            each.environment.value,
            each.kind.value,
            each.run_id,
            each.actor,
            each.reason,
            f"{each.outcome or 'under way'}{'' if each.note is None else f': {each.note}'}",
        ]
        for each in reversed(history)
    ]
    print_table(console, _HISTORY, rows)


def _as_json(states: list[EnvironmentState], history: list[Deployment]) -> dict[str, Any]:
    return {
        "environments": {
            state.name.value: {
                "pointer": None if state.pointer is None else state.pointer.model_dump(mode="json"),
                "problem": state.problem,
            }
            for state in states
        },
        "history": [each.model_dump(mode="json") for each in history],
    }


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
