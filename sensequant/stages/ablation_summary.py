"""What an ablation of a run found, as it lies in the run, and whether that still holds.

Belongs here: reading it, and what it follows from. Does not belong here: training variants and
summing up (`stages.ablation`).

An answer is stale once bars, rows, plan or settings of the run, or the code, are others than those
that were asked about: the run was prepared or trained again since.
"""

from typing import NamedTuple

from pydantic import ValidationError

from sensequant.errors import RecordError
from sensequant.evaluation.ablation import AblationBasis, AblationSummary
from sensequant.records import code_version, digest_of
from sensequant.stages.context import Run
from sensequant.stages.opening import library_versions
from sensequant.storage import read_json, sha256_of

__all__ = ["SHARED", "StoredAblation", "basis_of", "read_ablation"]

SHARED = ("windows.json", "data.parquet", "reward_returns.parquet")
"""Files of a run that every variant of it reads, beside bars and rows."""


class StoredAblation(NamedTuple):
    """What families are worth, and why that does not hold any more; None where it does."""

    summary: AblationSummary
    stale: str | None


def basis_of(run: Run) -> AblationBasis:
    """Return what an ablation of the run, asked now, would follow from."""
    files = [
        *sorted(run.folder.all_rows.glob("*.parquet")),
        *(run.folder.root / name for name in SHARED),
        *(run.folder.bars(symbol) for symbol in run.symbols),
    ]
    digests = {
        path.relative_to(run.folder.root).as_posix(): sha256_of(path)
        for path in files
        if path.exists()
    }
    return AblationBasis(
        inputs=digest_of({"config": run.config, "files": digests}),
        code=digest_of({"code": code_version(), "libraries": library_versions()}),
    )


def read_ablation(run: Run) -> StoredAblation | None:
    """Return what families are worth, None where nobody has asked or another version answered."""
    path = run.folder.ablation / "summary.json"
    if not path.exists():
        return None
    try:
        summary = AblationSummary.model_validate(read_json(path))
    except (RecordError, ValidationError):
        return None
    return StoredAblation(summary, _why_stale(summary.basis, basis_of(run)))


def _why_stale(then: AblationBasis | None, now: AblationBasis) -> str | None:
    if then is None:
        return "it does not say what it was trained on"
    if then.inputs != now.inputs:
        return "bars, features, labels, windows or settings of the run have changed since"
    return None if then.code == now.code else "code or libraries have changed since"
