"""A run in a home of its own, made for its verdict and removed with it.

Belongs here: the home, the run, what is taken from it. Does not belong here: which market the run
is about (`calibration.worlds`, `twins`).

Everything that the gates read is done as in any run: stages 1 to 5 and the stress tests, by the
same code and settings. Left out is what follows from the verdict and cannot change it: report,
manifest, briefing, registry. The ledger of trials is that of the throwaway home: a world counts
its own trials and no others, and leaves none behind.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from pathlib import Path

from sensequant.records import code_version
from sensequant.release.gates import Verdict
from sensequant.runs import RunFolder, Stage
from sensequant.settings import RunOptions
from sensequant.stages.context import Run, RunRecord, RunSettings
from sensequant.stages.inline import run_inline
from sensequant.stages.opening import library_versions
from sensequant.stages.release import judge_run

__all__ = ["STAGES_BEFORE_VERDICT", "judged_apart", "run_apart", "throwaway_home"]

STAGES_BEFORE_VERDICT = tuple(Stage)[: list(Stage).index(Stage.RELEASE_AUDIT)]
"""What a verdict follows from."""

# No artifact holds it, and a run that is removed needs no name of its own.
_AT = datetime(2025, 1, 1, tzinfo=UTC)
_RUN_ID = "live_candidate_20250101_000000_00000000"


@contextlib.contextmanager
def throwaway_home(folder: Path, name: str) -> Generator[Path]:
    """Make an empty folder below `folder`, and remove it afterwards.

    What killed processes have left there under this name is removed first; the caller holds the
    lock of the name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{name}-*"):
        shutil.rmtree(left)
    # A name that was never used: tables are remembered by their path.
    home = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=folder))
    try:
        yield home
    finally:
        shutil.rmtree(home)


def judged_apart(
    home: Path,
    settings: RunSettings,
    *,
    universes: Path,
    prepare: Callable[[RunFolder], None] | None = None,
) -> tuple[Run, Verdict]:
    """Run all stages that a verdict follows from, and return the run and its verdict.

    Parameters
    ----------
    home
        An empty folder.
    settings
        What to run.
    universes
        Folder of the dated lists of symbols.
    prepare
        Writes what stage 1 leaves in the run's folder; where given, that stage is not done.

    Raises
    ------
    SenseQuantError
        A stage cannot do its work.
    """
    run = run_apart(
        home,
        settings,
        stages=STAGES_BEFORE_VERDICT if prepare is None else STAGES_BEFORE_VERDICT[1:],
        universes=universes,
        prepare=prepare,
        is_simulated=True,
    )
    return run, judge_run(run)


def run_apart(
    home: Path,
    settings: RunSettings,
    *,
    stages: tuple[Stage, ...],
    universes: Path,
    is_simulated: bool,
    prepare: Callable[[RunFolder], None] | None = None,
) -> Run:
    """Execute some stages of a run in a home of its own, and return it.

    Parameters
    ----------
    home
        An empty folder.
    settings
        What to run.
    stages
        Which of it, in order.
    universes
        Folder of the dated lists of symbols.
    is_simulated
        Whether its bars are invented.
    prepare
        Writes what the stages before these leave in the run's folder.

    Raises
    ------
    SenseQuantError
        A stage cannot do its work.
    """
    folder = RunFolder(home, _RUN_ID)
    record = RunRecord(
        run_id=_RUN_ID,
        started_at=_AT,
        options=RunOptions(stages=stages),
        workers=1,
        host="none",
        code_version=code_version(),
        versions=library_versions(),
        is_simulated=is_simulated,
    )
    if prepare is not None:
        prepare(folder)
    return run_inline(folder, settings, record, universes=universes, at=_AT)
