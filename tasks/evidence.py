"""Tasks of stages 4 and 5: what the scores were worth, and whether chance explains it."""

from prefect import task

from sensequant.stages import evidence, statistical_tests
from sensequant.stages.context import Findings, load_run
from tasks.artifacts import show_markdown
from tasks.units import run_folder

__all__ = ["assess_returns", "validate_scores"]


@task(task_run_name="validate scores")
def validate_scores(run_id: str) -> Findings:
    """Measure the scores out of sample and trade them in one portfolio, net of costs."""
    page, findings = evidence.validate_scores(load_run(run_folder(run_id)))
    show_markdown("validation-summary", page, description=f"validation of {run_id}")
    return findings


@task(task_run_name="assess returns")
def assess_returns(run_id: str) -> Findings:
    """Test the net returns against chance, NIFTY 50 and everything else that was tried."""
    page, findings = statistical_tests.assess_significance(load_run(run_folder(run_id)))
    show_markdown("statistical-tests-page", page, description=f"statistical tests of {run_id}")
    return findings
