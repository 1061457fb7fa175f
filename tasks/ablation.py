"""Tasks of an ablation: one per variant of the run, then what each family of features is worth.

A variant that was trained before is read from disk, and so are the models of one that was under
way. Nothing of it is kept in Prefect's cache.
"""

from prefect import task

from sensequant.evaluation.ablation import AblationConfig, AblationSummary
from sensequant.stages import ablation
from sensequant.stages.ablation import Variant, VariantReport
from sensequant.stages.context import load_run
from tasks.artifacts import show_markdown
from tasks.telling import say
from tasks.units import run_folder

__all__ = ["plan_variants", "sum_up_families", "train_variant"]


@task(task_run_name="plan the variants")
def plan_variants(run_id: str, asked: AblationConfig) -> list[Variant]:
    """Name the variants of a run, and compute the features that they need besides its own."""
    run = load_run(run_folder(run_id).require())
    return list(ablation.plan_variants(run, asked))


@task(task_run_name="train {variant.name}")
def train_variant(run_id: str, variant: Variant) -> VariantReport:
    """Train a run again as it was, without a family of features, or with one more."""
    report = ablation.train_variant(load_run(run_folder(run_id)), variant)
    say("variant trained", **report.model_dump(exclude={"schema_version"}))
    return report


@task(task_run_name="sum up the families")
def sum_up_families(run_id: str, asked: AblationConfig) -> AblationSummary:
    """Hold every variant against the run as it was."""
    page, summary = ablation.sum_up(load_run(run_folder(run_id)), asked)
    show_markdown("feature-families", page, description=f"worth of the families of {run_id}")
    return summary
