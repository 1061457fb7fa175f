"""Stage 6: random-walk twins, the gates, the verdict and the manifest of all evidence."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from sensequant.runs import Stage
from tasks.plans import failure_limit
from tasks.release import judge_evidence
from tasks.runners import runner
from tasks.stages import open_stage
from tasks.twins import planned_twins, try_twin

__all__ = ["audit_release"]


@flow(name="audit-release", flow_run_name="release audit {run_id}", task_runner=runner())
def audit_release(run_id: str) -> State[Any]:
    """Run the pipeline on twins, judge the evidence, and bind every artifact into the manifest.

    Args:
        run_id: A run whose evidence is complete.
    """
    with open_stage(run_id, Stage.RELEASE_AUDIT) as stage:
        twins = planned_twins(run_id)
        stage.expect(max(1, len(twins)))
        units = stage.collect(try_twin.map(run_id, twins)) if twins else []
        stage.finish(
            lambda: judge_evidence(run_id),
            units=units,
            kind="twin" if twins else None,
            max_failure_rate=failure_limit(run_id),
        )
    return stage.state
