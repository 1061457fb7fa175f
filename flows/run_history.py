"""The main job: from bars to a recommendation, eight stages in one flow.

Belongs here: the order of the stages, what a failed one means for the rest, and that a person
decides last. Does not belong here: what a stage does; each is a flow of its own.
"""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from flows.assess_significance import assess_significance
from flows.audit_release import audit_release
from flows.brief_promotion import brief_promotion
from flows.ingest_bars import ingest_bars
from flows.stress_students import stress_students
from flows.train_students import train_students
from flows.train_teachers import train_teachers
from flows.validate_students import validate_students
from sensequant.runs import Stage
from sensequant.settings import RunOptions, RunRequest, TrainingConfig
from tasks.decisions import closed_before, settle_candidate
from tasks.helping import N_WAITING
from tasks.plans import planned_stages
from tasks.release import close_run, name_run, open_run
from tasks.runners import on_cluster, runner
from tasks.stages import final_state, one_heartbeat, run_name, state_of

__all__ = ["historical_training"]

_STAGE_FLOWS = {
    Stage.DATA_INGESTION: ingest_bars,
    Stage.TEACHER_TRAINING: train_teachers,
    Stage.STUDENT_TRAINING: train_students,
    Stage.MODEL_VALIDATION: validate_students,
    Stage.STATISTICAL_TESTS: assess_significance,
    Stage.STRESS_TESTS: stress_students,
    Stage.RELEASE_AUDIT: audit_release,
    Stage.PROMOTION_BRIEFING: brief_promotion,
}

_TRAINING = {Stage.TEACHER_TRAINING, Stage.STUDENT_TRAINING}
# The others have no more than a few units, or ask a vendor who counts the calls of one account.
_STAGES_ON_CLUSTER = {*_TRAINING, Stage.STRESS_TESTS}


def _name_run() -> str:
    return run_name(flow_run.get_parameters())


@flow(name="historical-training", flow_run_name=_name_run, task_runner=runner())
def historical_training(
    request: RunRequest,
    config: TrainingConfig = TrainingConfig(),
    options: RunOptions = RunOptions(),
    run_id: str | None = None,
) -> State[Any]:
    """Train, test and brief: from bars to a recommendation that a person can decide on.

    Args:
        request: Symbols, range and source of the bars.
        config: How to train and how to judge.
        options: How to execute it; changes no result.
        run_id: An existing run of the same request and configuration; a new one when empty.
    """
    name = run_id or name_run()
    waiting = closed_before(name)
    if waiting is not None:
        # Resumed, or retried, when nothing was left but a decision.
        return settle_candidate(waiting) or final_state(waiting, {})
    cluster = None if options.runner is None else on_cluster(options.runner)
    opened = open_run(request, config, options, run_id=name)
    states: dict[Stage, State[Any]] = {}
    with one_heartbeat():
        for stage in planned_stages(opened):
            chosen = cluster if stage in _STAGES_ON_CLUSTER else None
            threads = runner(options.workers, n_waiting=N_WAITING * (stage in _TRAINING))
            stage_flow = _STAGE_FLOWS[stage].with_options(task_runner=chosen or threads)
            states[stage] = state_of(stage_flow, opened)
            if not states[stage].is_completed():
                break
        if _needs_partial_briefing(states):
            state_of(brief_promotion, opened)
    closed = close_run(opened)
    return settle_candidate(closed) or final_state(closed, states)


def _needs_partial_briefing(states: dict[Stage, State[Any]]) -> bool:
    return any(
        not state.is_completed()
        for stage, state in states.items()
        if stage is not Stage.PROMOTION_BRIEFING
    )
