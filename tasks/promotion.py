"""Tasks that move models between environments, and show every check of it on the run's page.

Belongs here: who asks, and what is shown. Does not belong here: what may move and how
(`sensequant.stages.promotion`, `sensequant.stages.moving`).

Nothing here is retried: a refusal is an answer, and whatever a killed process has left is settled
by whoever moves a model next.
"""

from collections.abc import Callable

from prefect import task

from blocks.environment import environment_now
from sensequant.errors import NotReadyError
from sensequant.release.deployment_records import Deployment, DeploymentKind, EnvironmentName
from sensequant.release.limits import PromotionLimits
from sensequant.stages.moving import Order
from sensequant.stages.promotion import promote_candidate, rollback_environment, stage_candidate
from tasks.model_artifacts import show_readiness
from tasks.telling import say, utc_now
from tasks.units import run_folder

__all__ = ["move_candidate", "put_back"]

_MOVES = {
    DeploymentKind.STAGE: stage_candidate,
    DeploymentKind.PROMOTE: promote_candidate,
}


@task(task_run_name="{kind} {run_id}")
def move_candidate(
    run_id: str, kind: DeploymentKind, by: str, reason: str, limits: PromotionLimits
) -> Deployment:
    """Move the model of a candidate into its next environment."""
    folder = run_folder(run_id)
    return _shown(lambda: _MOVES[kind](folder, _order(by, reason, limits)))


@task(task_run_name="roll back {environment}")
def put_back(environment: EnvironmentName, by: str, reason: str) -> Deployment:
    """Put back the model that stood in an environment before."""
    home, order = environment_now().home, _order(by, reason, PromotionLimits())
    return _shown(lambda: rollback_environment(home, environment, order))


def _order(by: str, reason: str, limits: PromotionLimits) -> Order:
    env = environment_now()
    return Order(
        actor=by,
        reason=reason,
        clock=utc_now,
        limits=limits,
        trusted_keys=env.trusted_keys,
        registry=env.registry_url,
    )


def _shown(act: Callable[[], Deployment]) -> Deployment:
    try:
        done = act()
    except NotReadyError as error:
        show_readiness(error.readiness)
        say("refused; nothing has changed", is_warning=True, error=str(error))
        raise
    show_readiness(done.readiness)
    say(
        "model moved",
        environment=done.environment,
        run=done.run_id,
        model=done.model_sha256,
        deployment=done.number,
    )
    return done
