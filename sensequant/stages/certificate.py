"""The null-world certificate: the same pipeline on random-walk twins of a run's own symbols.

Belongs here: which files of the run a twin is made of, running it, and its record. Does not belong
here: how bars are mirrored (`sensequant.twins`), the page that shows twins beside the candidate
(`release.briefing`).

A twin has the run's symbols, plan of windows, settings and seed. It runs in a home of its own, with
its own ledger of trials, which is removed with it; its record stays, marked as simulated, apart
from all evidence: no gate reads it.
"""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sensequant.errors import DataError
from sensequant.evaluation.figures import absent_figure
from sensequant.records import Outcome, code_version, digest_of, frame_digest
from sensequant.release.certificate import TwinRecord
from sensequant.runs import RunFolder, Stage
from sensequant.stages.context import Run, RunSettings
from sensequant.stages.evidence import read_summary
from sensequant.storage import read_json, read_table, sha256_of, write_json, write_table
from sensequant.twins import TwinConfig, signs_of, twin_of
from sensequant.units import UnitRecord

__all__ = ["planned_twins", "read_twins", "try_twin", "twin_file", "twin_inputs", "twin_key"]

_NO_VERDICT = "the twin came to no verdict"


def planned_twins(run: Run) -> list[int]:
    """Return the numbers of the twins that the run's settings ask for."""
    return list(range(1, run.config.twins.n_twins + 1))


def twin_file(folder: RunFolder, number: int) -> Path:
    """Return the file of a twin's record."""
    return folder.audit / "twins" / f"twin_{number:03d}.json"


def twin_inputs(run: Run) -> list[Path]:
    """Return the files of the run that a twin is made of."""
    bars = sorted((run.folder.root / "bars").glob("*.parquet"))
    return [run.folder.plan, run.folder.data, run.folder.quarantine, *bars]


def twin_key(run: Run, number: int) -> str:
    """Return the digest of all that a twin's record follows from."""
    settings = _settings_of(run)
    inputs = {path.name: sha256_of(path) for path in twin_inputs(run)}
    return digest_of({"twin": number, "settings": settings, "in": inputs, "code": code_version()})


def try_twin(run: Run, number: int) -> UnitRecord:
    """Run the pipeline on one twin and write its record.

    A twin whose bars no student can be trained on is a record without a verdict, with the reason.

    Raises
    ------
    SenseQuantError
        A stage cannot do its work.
    """
    path = twin_file(run.folder, number)
    write_json(path, _tried(run, number))
    return UnitRecord(
        kind="twin",
        name=f"twin {number}",
        outcome=Outcome.SUCCESS,
        path=path.relative_to(run.folder.root).as_posix(),
        sha256=sha256_of(path),
        seconds=0.0,
    )


def read_twins(run: Run) -> list[TwinRecord]:
    """Return the records of the twins that were done, in order."""
    return [
        TwinRecord.model_validate(read_json(path))
        for number in planned_twins(run)
        if (path := twin_file(run.folder, number)).exists()
    ]


def _tried(run: Run, number: int) -> TwinRecord:
    # The stages in one process know this stage, too.
    from sensequant.calibration.throwaway import judged_apart, throwaway_home  # noqa: PLC0415

    signs = signs_of(run.config.seed, number)
    name = f"{run.folder.run_id}-{number}"
    with throwaway_home(run.folder.home / "twins", name) as home:
        try:
            twin, verdict = judged_apart(
                home,
                _settings_of(run),
                universes=home,
                prepare=lambda folder: _mirror(run, folder, signs),
            )
        except DataError as error:
            return TwinRecord(
                number=number,
                decision=None,
                auc=absent_figure("AUC", _NO_VERDICT),
                net_sharpe=absent_figure("annual Sharpe ratio", _NO_VERDICT),
                reason=str(error),
            )
        summary = read_summary(twin)
    return TwinRecord(
        number=number,
        decision=verdict.decision,
        auc=summary.classification.auc,
        net_sharpe=summary.strategy.net_sharpe,
    )


def _settings_of(run: Run) -> RunSettings:
    config = run.config.model_copy(update={"twins": TwinConfig()})
    return RunSettings(request=run.request, config=config)


def _mirror(run: Run, twin: RunFolder, signs: NDArray[np.int8]) -> None:
    """Write what stage 1 leaves, with mirrored bars; windows, gaps and listings are the run's."""
    digests: dict[str, str] = {}
    for path in sorted((run.folder.root / "bars").glob("*.parquet")):
        bars = twin_of(read_table(path), signs)
        digests[path.stem] = frame_digest(bars)
        write_table(twin.bars(path.stem), bars)
    data = read_table(run.folder.data)
    write_table(
        twin.data,
        data.with_columns(
            bars_digest=pl.col("symbol").replace_strict(digests, return_dtype=pl.String),
            source=pl.lit("twin"),
            is_simulated=pl.lit(value=True),
        ),
    )
    benchmark = run.benchmark
    if benchmark is not None:
        write_table(twin.benchmark, twin_of(benchmark, signs))
    ingested = run.folder.stage_record(Stage.DATA_INGESTION)
    for path in (run.folder.plan, run.folder.quarantine, ingested):
        copy = twin.root / path.relative_to(run.folder.root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
