"""The task that holds the champion against challengers, and shows both on the run's page.

Belongs here: who asks. Does not belong here: the comparison (`sensequant.stages.contest`), what is
shown of it (`tasks.artifacts`).
"""

from collections.abc import Sequence

from prefect import task

from blocks.environment import Environment
from sensequant.release.contest import ContestConfig, ContestReport
from sensequant.release.deployment_records import EnvironmentName
from sensequant.stages.contest import hold_contest
from tasks.model_artifacts import show_contest
from tasks.telling import say, utc_now
from tasks.units import run_folder

__all__ = ["compare_on_new_bars"]


@task(task_run_name="compare with {environment}")
def compare_on_new_bars(
    candidates: Sequence[str], environment: EnvironmentName, config: ContestConfig
) -> ContestReport:
    """Hold the model of an environment against challengers on the same new bars."""
    report = hold_contest(
        Environment().home,
        [run_folder(run_id) for run_id in candidates],
        config,
        at=utc_now(),
        environment=environment,
    )
    show_contest(report)
    say(
        "models compared",
        champion=report.champion.run_id,
        challengers=len(report.challengers),
        sessions=report.n_sessions,
    )
    return report
