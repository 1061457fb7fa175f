"""Training on the last days before the scheduled time: what schedules start."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from flows.run_history import historical_training
from sensequant.market.sessions import nse_calendar, session_date_of
from sensequant.recent import RecentRange
from sensequant.settings import RunOptions, TrainingConfig
from tasks.runners import runner

__all__ = ["scheduled_retraining"]


def _name_run() -> str:
    asked = RecentRange.model_validate(flow_run.get_parameters()["recent"])
    day = session_date_of(flow_run.get_scheduled_start_time())
    return f"{asked.title} last {asked.last_days} days to {day} {asked.source.kind}"


@flow(name="scheduled-retraining", flow_run_name=_name_run, task_runner=runner())
def scheduled_retraining(
    recent: RecentRange = RecentRange(),
    config: TrainingConfig = TrainingConfig(),
    options: RunOptions = RunOptions(),
) -> State[Any]:
    """Train, test and brief on the last days: from bars to a recommendation.

    The days are counted from the scheduled time, so a late or retried run asks for the same bars.

    Args:
        recent: Symbols, number of days and source of the bars.
        config: How to train and how to judge.
        options: How to execute it; changes no result.
    """
    request = recent.request_at(
        flow_run.get_scheduled_start_time(),
        nse_calendar(),
        window_days=config.windows.window_days,
    )
    # Its body, not a run of its own: the stages stand on this run's page, where Retry is.
    return historical_training.fn(request=request, config=config, options=options)
