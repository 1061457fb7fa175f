"""Stage 6: the gates, the verdict and the manifest of all evidence."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from sensequant.runs import Stage
from tasks.release import judge_evidence
from tasks.runners import runner
from tasks.stages import open_stage

__all__ = ["audit_release"]


@flow(name="audit-release", flow_run_name="release audit {run_id}", task_runner=runner())
def audit_release(run_id: str) -> State[Any]:
    """Judge the evidence by the gates and bind every artifact into the manifest.

    Args:
        run_id: A run whose evidence is complete.
    """
    with open_stage(run_id, Stage.RELEASE_AUDIT) as stage:
        stage.expect(1)
        stage.finish(lambda: judge_evidence(run_id))
    return stage.state
