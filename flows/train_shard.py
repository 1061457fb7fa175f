"""One device's share of the windows of a stage, in a process that sees this device alone.

Belongs here: mapping the units of a share. Does not belong here: which windows are in it and what
happens when it fails; the run that shares out decides that (`tasks.shards`).
"""

from collections import Counter
from typing import Any, Literal

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from sensequant.records import Outcome
from sensequant.runs import Stage
from tasks.plans import PlannedWindows
from tasks.runners import runner
from tasks.shards import ShardReport, collect_share
from tasks.submission import submit_windows
from tasks.watching import tell_faster_device, watching_share

__all__ = ["train_shard"]


@flow(
    name="train-shard",
    flow_run_name="{device}: {stage} of {run_id}",
    task_runner=runner(),
    persist_result=True,
    result_serializer="json",
)
def train_shard(
    run_id: str,
    stage: Literal["teacher_training", "student_training"],
    windows: dict[str, list[str]],
    device: str,
) -> State[Any]:
    """Train the teachers or students of some windows on the device of this pool.

    Args:
        run_id: A run whose features are made.
        stage: Teachers or students.
        windows: First and last day of each window, by symbol.
        device: Work pool whose device this is; names the run.
    """
    share = PlannedWindows(
        [symbol for symbol, names in windows.items() for _ in names],
        [name for names in windows.values() for name in names],
    )
    with watching_share(run_id):
        timing = tell_faster_device(run_id, Stage(stage), share)
        futures = submit_windows(run_id, Stage(stage), share)
        records = collect_share(run_id, Stage(stage), futures)
    outcomes = Counter(record.outcome for record in records)
    return Completed(
        # The run that shares out decides whether this is too many.
        name="Degraded" if outcomes[Outcome.FAILED] else None,
        message=f"{device}: " + ", ".join(f"{outcomes[each]} {each}" for each in Outcome),
        data=ShardReport(records=records, timing=timing),
    )
