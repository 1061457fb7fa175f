"""Commands about environments: what stands where, and moving approved models into them and back.

Belongs here: what can be typed, and which function answers. Does not belong here: the answers.
"""

import sys
from typing import Annotated, Literal

from cyclopts import App, Parameter

from sensequant.cli.output import console_for
from sensequant.cli.place import Place

__all__ = ["register_promotion_commands"]

_GROUP = "Environments"


def register_promotion_commands(app: App) -> None:
    """Add the commands about environments to the command line."""
    for command in (stage, promote, rollback, environments, monitor, compare):
        app.command(command, group=_GROUP)


def stage(
    run: str,
    /,
    *,
    by: str,
    reason: str,
    check: Annotated[bool, Parameter(negative="")] = False,
    settings: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
    place: Place | None = None,
) -> int:
    """Put the model of an approved candidate into staging, where its scores are watched.

    Parameters
    ----------
    run
        Its id, the beginning or end of it, or latest.
    by
        Your name; it stands in the history.
    reason
        Why, in your own words.
    check
        Make every check and move nothing; exit with 1 if one does not pass.
    settings
        One limit: max_sessions_behind=5; may be repeated.
    place
        Where the data are.
    """
    return _move("stage", run, by=by, reason=reason, check=check, settings=settings, place=place)


def promote(
    run: str,
    /,
    *,
    by: str,
    reason: str,
    check: Annotated[bool, Parameter(negative="")] = False,
    settings: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
    place: Place | None = None,
) -> int:
    """Put the model that stands in staging into production.

    Parameters
    ----------
    run
        Its id, the beginning or end of it, or latest.
    by
        Your name; it stands in the history.
    reason
        Why, in your own words.
    check
        Make every check and move nothing; exit with 1 if one does not pass.
    settings
        One limit: staging_hours=24; may be repeated.
    place
        Where the data are.
    """
    return _move("promote", run, by=by, reason=reason, check=check, settings=settings, place=place)


def rollback(
    *,
    by: str,
    reason: str,
    env: Literal["staging", "production"] = "production",
    place: Place | None = None,
) -> int:
    """Put back the model that stood in an environment before the present one.

    Parameters
    ----------
    by
        Your name; it stands in the history.
    reason
        Why, in your own words.
    env
        The environment.
    place
        Where the data are.
    """
    from sensequant.cli.promoting import roll_back  # noqa: PLC0415

    environment = (place or Place()).environment()
    return roll_back(console_for(sys.stdout), environment, env, by=by, reason=reason)


def environments(
    *, json: Annotated[bool, Parameter(negative="")] = False, place: Place | None = None
) -> int:
    """Show which model stands where, since when and by whom, and the history; verify every byte.

    Parameters
    ----------
    json
        Print everything as one JSON object.
    place
        Where the data are.
    """
    from sensequant.cli.promoting import show_environments  # noqa: PLC0415

    env = (place or Place()).environment()
    return show_environments(console_for(sys.stdout), env, is_json=json)


def monitor(
    *,
    env: Literal["staging", "production"] = "production",
    settings: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
    json: Annotated[bool, Parameter(negative="")] = False,
    place: Place | None = None,
) -> int:
    """Look at the model of an environment: what it said since, and what that was worth.

    Exits with 1 where a finding says that it is degraded. Nobody else is told; the deployment
    monitor-model tells.

    Parameters
    ----------
    env
        Whose model.
    settings
        One limit: max_drifted_frac=0.5, or rollback.is_on=true; may be repeated.
    json
        Print everything as one JSON object.
    place
        Where the data are.
    """
    from sensequant.cli.monitoring import show_health  # noqa: PLC0415

    asked = (place or Place()).environment()
    return show_health(console_for(sys.stdout), asked, env, settings, is_json=json)


def compare(
    *models: str,
    env: Literal["staging", "production"] = "production",
    settings: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
    json: Annotated[bool, Parameter(negative="")] = False,
    place: Place | None = None,
) -> int:
    """Hold the model in production against challengers, on bars that are new to all of them.

    The model in staging takes part by itself. Exits with 1 where one could not be compared.

    Parameters
    ----------
    models
        Runs of approved candidates: an id, its beginning or end, or latest.
    env
        Whose model is the champion.
    settings
        One setting: min_block_sessions=7; may be repeated.
    json
        Print everything as one JSON object.
    place
        Where the data are.
    """
    from sensequant.cli.contest import show_contest  # noqa: PLC0415

    return show_contest(
        console_for(sys.stdout),
        (place or Place()).environment().home,
        models,
        environment=env,
        settings=settings,
        is_json=json,
    )


def _move(
    what: Literal["stage", "promote"],
    run: str,
    *,
    by: str,
    reason: str,
    check: bool,
    settings: tuple[str, ...],
    place: Place | None,
) -> int:
    from sensequant.cli.promoting import Asked, move  # noqa: PLC0415

    asked = Asked(what=what, run=run, by=by, reason=reason, settings=settings, is_check=check)
    return move(console_for(sys.stdout), (place or Place()).environment(), asked)
