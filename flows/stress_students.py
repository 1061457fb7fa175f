"""Stage 8, run before the audit: how the students behave in dated crises."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from sensequant.runs import Stage
from tasks.crises import replay_method, replay_scenario, summarise_stress
from tasks.plans import failure_limit, planned_methods, planned_scenarios
from tasks.runners import runner
from tasks.stages import open_stage

__all__ = ["stress_students"]


@flow(name="stress-students", flow_run_name="stress tests {run_id}", task_runner=runner())
def stress_students(run_id: str) -> State[Any]:
    """Replay the students on crises whose bars they never saw.

    Args:
        run_id: A run whose students are trained.
    """
    with open_stage(run_id, Stage.STRESS_TESTS) as stage:
        scenarios, methods = planned_scenarios(run_id), planned_methods(run_id)
        stage.expect(len(scenarios) + len(methods))
        replays = [*replay_scenario.map(run_id, scenarios)]
        replays += replay_method.map(run_id, methods) if methods else []
        units = stage.collect(replays)
        stage.finish(
            lambda: summarise_stress(run_id),
            units=units,
            kind="stress",
            max_failure_rate=failure_limit(run_id),
        )
    return stage.state
