"""Tasks of the null-world certificate: one per random-walk twin.

Belongs here: names and keys of these tasks. Does not belong here: the twins (`stages.certificate`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import task

from sensequant.runs import Stage
from sensequant.stages import certificate
from sensequant.stages.context import Run, load_run
from tasks.units import UnitRef, do_unit, run_folder, unit_key

__all__ = ["planned_twins", "try_twin"]


def planned_twins(run_id: str) -> list[int]:
    """Return the numbers of the twins that a run's settings ask for."""
    return certificate.planned_twins(load_run(run_folder(run_id)))


def _reads_of_twin(run: Run, _given: Mapping[str, Any]) -> list[Path]:
    return certificate.twin_inputs(run)


@task(
    task_run_name="twin {number}",
    persist_result=True,
    result_serializer="json",
    cache_key_fn=unit_key(_reads_of_twin),
)
def try_twin(run_id: str, number: int) -> UnitRef:
    """Run the pipeline on a random-walk twin of the run's symbols."""
    folder = run_folder(run_id)
    return do_unit(
        folder,
        Stage.RELEASE_AUDIT,
        lambda: certificate.try_twin(load_run(folder), number),
        makes=[certificate.twin_file(folder, number)],
        key=lambda: certificate.twin_key(load_run(folder), number),
        kind="twin",
        name=f"twin {number}",
    )
