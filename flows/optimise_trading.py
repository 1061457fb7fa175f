"""Search for trading settings on an existing run, nested in walk-forward steps."""

from typing import Any

from prefect import flow, unmapped
from prefect.client.schemas.objects import State
from prefect.states import Completed

from sensequant.evaluation.optimisation import OptimisationConfig
from sensequant.evaluation.optimised_text import headline_of
from tasks.optimisation import plan_search, search_before_step, sum_up_search
from tasks.runners import runner

__all__ = ["optimise_trading"]


@flow(name="optimise-trading", flow_run_name="trading search {run_id}", task_runner=runner())
def optimise_trading(run_id: str, search: OptimisationConfig = OptimisationConfig()) -> State[Any]:
    """Choose settings before each step by the sessions before it, and trade the step by them.

    Args:
        run_id: A run whose students are scored; with strategy swing, one whose bars are ingested.
        search: What is traded, which parameters are tried, how often, and the length of the steps.
    """
    steps = plan_search(run_id, search)
    searched = search_before_step.map(run_id, unmapped(search), steps)
    searched.result()
    summary = sum_up_search(run_id, search)
    return Completed(message=headline_of(summary), data=summary)
