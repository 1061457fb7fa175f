"""Say what each family of features is worth to an existing run, by training it without."""

from typing import Any

from prefect import flow, unmapped
from prefect.client.schemas.objects import State
from prefect.states import Completed

from sensequant.evaluation.ablation import AblationConfig
from sensequant.evaluation.ablation_text import headline_of_families
from tasks.ablation import plan_variants, sum_up_families, train_variant
from tasks.runners import runner

__all__ = ["ablate_families"]


@flow(name="ablate-families", flow_run_name="feature families {run_id}", task_runner=runner())
def ablate_families(run_id: str, asked: AblationConfig = AblationConfig()) -> State[Any]:
    """Train a run again without each of its families, or with one more, and compare.

    Args:
        run_id: A run whose teachers are trained.
        asked: Which families, and how sure the answer has to be.
    """
    variants = plan_variants(run_id, asked)
    trained = train_variant.map(unmapped(run_id), variants)
    trained.result()
    summary = sum_up_families(run_id, asked)
    return Completed(message=headline_of_families(summary), data=summary)
