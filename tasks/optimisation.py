"""Tasks of a nested search for trading settings: one per step, then what all steps say.

A step that was searched before, by this attempt or an earlier one, is read from disk: so is every
trial of a step that was under way. Nothing of it is kept in Prefect's cache.
"""

from prefect import task

from sensequant.evaluation.optimisation import OptimisationConfig, Step, StepReport
from sensequant.evaluation.optimised import OptimisationSummary
from sensequant.stages import optimisation
from sensequant.stages.context import load_run
from tasks.artifacts import show_markdown
from tasks.telling import say
from tasks.units import run_folder

__all__ = ["plan_search", "search_before_step", "sum_up_search"]


@task(task_run_name="plan the search")
def plan_search(run_id: str, search: OptimisationConfig) -> list[Step]:
    """Cut the sessions of a run into steps."""
    run = load_run(run_folder(run_id).require())
    return list(optimisation.plan_search(run, search))


@task(task_run_name="search before {step.name}")
def search_before_step(run_id: str, search: OptimisationConfig, step: Step) -> StepReport:
    """Try settings on the sessions before a step, and trade the step by the best of them."""
    report = optimisation.search_one(load_run(run_folder(run_id)), search, step)
    say(
        "step searched",
        step=step.name,
        trials=report.n_trials,
        taken=report.chosen_trial,
        in_sample=report.in_sample,
        out_of_sample=report.out_of_sample,
    )
    return report


@task(task_run_name="sum up the search")
def sum_up_search(run_id: str, search: OptimisationConfig) -> OptimisationSummary:
    """Chain the steps and hold them against the settings as given."""
    run = load_run(run_folder(run_id))
    page, summary = optimisation.sum_up(run, search)
    folder = optimisation.search_folder(run, search)
    show_markdown("trading-search", page, description=f"search on {run_id}; page: {folder}")
    return summary
