"""What an ablation of a run found, as it lies in the run.

Belongs here: reading it. Does not belong here: training variants and summing up
(`stages.ablation`).
"""

from pydantic import ValidationError

from sensequant.errors import RecordError
from sensequant.evaluation.ablation import AblationSummary
from sensequant.stages.context import Run
from sensequant.storage import read_json

__all__ = ["read_ablation"]


def read_ablation(run: Run) -> AblationSummary | None:
    """Return what families are worth, None where nobody has asked or another version answered."""
    path = run.folder.ablation / "summary.json"
    if not path.exists():
        return None
    try:
        return AblationSummary.model_validate(read_json(path))
    except (RecordError, ValidationError):
        return None
