"""Champion and challengers side by side on the bars that are new to all of them."""

from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from sensequant.release.contest import ContestConfig
from sensequant.release.deployment_records import EnvironmentName
from tasks.contest import compare_on_new_bars

__all__ = ["compare_models"]


@flow(name="compare-models", flow_run_name="compare with {environment}")
def compare_models(
    candidates: Annotated[
        list[str], Field(description="Run ids of approved candidates, beside the one in staging.")
    ] = [],  # noqa: B006 - Prefect validates a copy
    environment: EnvironmentName = EnvironmentName.PRODUCTION,
    config: ContestConfig = ContestConfig(),
) -> State[Any]:
    """Hold the model in production against the one in staging and approved candidates.

    Moves nothing; the table on the run's page holds every difference with its interval.

    Args:
        candidates: Run ids of approved candidates, beside the one in staging.
        environment: Whose model is the champion.
        config: Which sessions, and how sure.
    """
    report = compare_on_new_bars(candidates, environment, config)
    left_out = [each.run_id for each in report.challengers if each.reason is not None]
    message = f"{len(report.challengers) - len(left_out)} models beside {report.champion.run_id}"
    message += f" on {report.n_sessions} sessions"
    if not left_out:
        return Completed(message=message)
    return Completed(name="Degraded", message=f"{message}; not compared: {', '.join(left_out)}")
