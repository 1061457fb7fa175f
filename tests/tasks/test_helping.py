"""Facts about when processes that help begin, and when the threads of tasks train."""

from typing import Any, ClassVar

import pytest

from sensequant.runs import RunFolder, Stage, StageOutcome, StageRecord
from sensequant.stages.context import load_run
from sensequant.storage import write_json
from tasks import helping
from tasks.plans import PlannedWindows

STAGE = Stage.TEACHER_TRAINING
FEW = PlannedWindows(["SIM01"] * 3, ["one", "two", "three"])
MANY = PlannedWindows(["SIM01"] * 24, [str(number) for number in range(24)])


class Trainers:
    """What was begun in place of processes or threads, and whether it was ended."""

    begun: ClassVar[list[str]] = []
    name = "helpers"

    def __init__(self, n_at_once: int) -> None:
        self.begun.append(f"{self.name} {n_at_once}")

    def close(self) -> None:
        """Note it."""
        self.begun.append("end")


class Threads(Trainers):
    """The same for threads."""

    name = "threads"


@pytest.fixture
def begun(ingested: RunFolder, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what has begun so far for a run of two workers."""
    change_record(ingested, workers=2)
    monkeypatch.setattr(helping, "Helpers", Trainers)
    monkeypatch.setattr(helping, "Threads", Threads)
    monkeypatch.setattr(Trainers, "begun", [])
    return Trainers.begun


def change_record(folder: RunFolder, **fields: Any) -> None:
    record = load_run(folder).record.model_copy(update=fields)
    write_json(folder.run, record)


def test_helpers_begin_at_once_in_a_stage_done_for_the_first_time(
    ingested: RunFolder, begun: list[str]
) -> None:
    """They load while features and keys are made, and do what is left, however few."""
    with helping.helping(ingested.run_id, STAGE, MANY) as settle:
        assert begun == ["helpers 2"]
        settle(FEW)
        assert begun == ["helpers 2"]

    assert begun == ["helpers 2", "end"]


@pytest.mark.parametrize(("left", "trainers"), [(FEW, "threads 2"), (MANY, "helpers 2")])
def test_a_stage_done_again_waits_for_what_is_left(
    ingested: RunFolder, begun: list[str], left: PlannedWindows, trainers: str
) -> None:
    """A Retry of three windows among hundreds needs no process."""
    ingested.write_stage(
        StageRecord(
            run_id=ingested.run_id,
            stage=STAGE,
            outcome=StageOutcome.FAILED,
            started_at=load_run(ingested).record.started_at,
            seconds=1.0,
        )
    )

    with helping.helping(ingested.run_id, STAGE, MANY) as settle:
        assert begun == []
        settle(left)

    assert begun == [trainers, "end"]


def test_nothing_begins_early_where_pools_of_gpus_take_windows(
    ingested: RunFolder, begun: list[str]
) -> None:
    """What they leave is known only when they have ended."""
    options = load_run(ingested).record.options
    change_record(ingested, options=options.model_copy(update={"gpu_pools": ("gpu-0",)}))

    with helping.helping(ingested.run_id, STAGE, MANY) as settle:
        assert begun == []
        settle(PlannedWindows([], []))

    assert begun == ["threads 2", "end"]


def test_trainers_end_where_a_stage_breaks(ingested: RunFolder, begun: list[str]) -> None:
    """No process is left behind, and the next attempt begins anew."""
    for _ in range(2):
        with pytest.raises(KeyError), helping.helping(ingested.run_id, STAGE, MANY):
            raise KeyError

    assert begun == ["helpers 2", "end"] * 2
