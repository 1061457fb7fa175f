"""Stage 2: features and labels per symbol, and the teacher of each window.

Belongs here: which rows reach a teacher and where its files stand. Does not belong here: features,
labels, windows and the teacher themselves.
"""

import shutil

import polars as pl

from sensequant.errors import DataError
from sensequant.evaluation.costs import round_trip_cost_frac
from sensequant.features.build import build_features
from sensequant.features.registry import model_columns
from sensequant.labels import build_labels
from sensequant.market.sessions import nse_calendar
from sensequant.records import Outcome, Record, SkipReason, derive_seed
from sensequant.runs import UnitRecord
from sensequant.stages.context import Findings, Run
from sensequant.storage import (
    read_table,
    sha256_of,
    write_atomically,
    write_json,
    write_table,
)
from sensequant.teacher import train_teacher
from sensequant.windows import (
    PlannedWindow,
    WindowFunnel,
    count_funnel,
    feature_rows,
    funnel_skip,
    slice_window,
)

__all__ = ["NOT_DONE_YET", "WindowSkippedError", "describe", "prepare_rows", "train_window"]

NOT_DONE_YET = [
    "Features of delivery, calendar, market context, ranks and price levels are not there yet.",
    "Labels are of kind fixed; volatility, triple barrier and excess are not there yet.",
    "Teachers learn from one symbol; a teacher over all symbols of a window is not there yet.",
    "Importances are by gain; permutation importances are not measured.",
    "Metrics inside a window carry no interval.",
]


class WindowSkippedError(DataError):
    """The plan or the counts of its rows say that a window has no teacher."""

    def __init__(self, what: str, *, reason: SkipReason, **fields: str) -> None:
        super().__init__(what, **fields)
        self.reason = reason


def prepare_rows(run: Run, symbol: str) -> UnitRecord:
    """Compute one symbol's features and labels over its whole history, once."""
    bars = read_table(run.folder.bars(symbol))
    features = build_features(bars, run.config.features)
    labels = build_labels(
        bars,
        nse_calendar().numbers(),
        run.config.labels,
        round_trip_cost_frac=round_trip_cost_frac(run.config.costs, run.request.start),
    )
    rows = labels.join(features, on=["symbol", "session"], how="inner", maintain_order="left")
    path = run.folder.rows(symbol)
    write_table(path, rows)
    return UnitRecord(
        kind="features",
        name=f"features {symbol}",
        symbol=symbol,
        outcome=Outcome.SUCCESS,
        counts={"n_bars": bars.height, "n_labelled": rows["label"].count()},
        path=path.relative_to(run.folder.root).as_posix(),
        sha256=sha256_of(path),
        seconds=0.0,
    )


def train_window(run: Run, symbol: str, short: str) -> UnitRecord:
    """Train the teacher of one planned window.

    Raises
    ------
    DataError
        The plan or the rows say that this window has no teacher; its reason is the skip's.
    """
    planned = run.window(symbol, short)
    window, columns = planned.window, model_columns(run.config.features)
    folder = run.folder.teacher(window.label)
    # A window that is skipped this time must not keep the teacher of an earlier attempt.
    shutil.rmtree(folder, ignore_errors=True)
    rows = slice_window(_rows_of(run, symbol), window)
    funnel = count_funnel(rows, columns)
    _require_trainable(planned, funnel, run)
    result = train_teacher(
        # A row without any feature cannot teach; the funnel does not count it either.
        feature_rows(rows, columns),
        columns=columns,
        config=run.config.teacher,
        min_samples=run.config.windows.min_samples,
        seed=derive_seed(run.config.seed, "teacher", window.label),
        # Windows run side by side; a fit of a hundred rows gains nothing from a second thread.
        n_threads=1,
    )
    write_atomically(folder / "model.txt", result.model_text.encode())
    write_table(folder / "labels.parquet", result.rows)
    write_table(folder / "importance.parquet", result.importance)
    # The metadata come last: a folder that holds them is complete.
    metadata = folder / "metadata.json"
    write_json(metadata, result.metadata)
    return UnitRecord(
        kind="teacher",
        name=f"teacher {symbol} {short}",
        symbol=symbol,
        window=short,
        outcome=Outcome.SUCCESS,
        counts={
            **_counts(funnel),
            **_counts(result.metadata.counts),
        },
        path=metadata.relative_to(run.folder.root).as_posix(),
        sha256=sha256_of(metadata),
        seconds=0.0,
    )


def describe(run: Run) -> Findings:
    """Sum up the teachers of a run."""
    columns = model_columns(run.config.features)
    folders = [run.folder.teacher(planned.window.label) for planned in run.windows]
    n_teachers = sum((folder / "metadata.json").exists() for folder in folders)
    return Findings(
        values={"n_teachers": n_teachers, "n_features": len(columns)},
        not_done_yet=NOT_DONE_YET,
    )


def _rows_of(run: Run, symbol: str) -> pl.DataFrame:
    path = run.folder.rows(symbol)
    if not path.exists():
        # The cause stands beside the unit that should have made them, and counts there.
        raise WindowSkippedError(
            "symbol has no features and labels",
            where=symbol,
            expected=path.name,
            found="no such file",
            reason=SkipReason.NO_FEATURES,
        )
    return read_table(path)


def _require_trainable(planned: PlannedWindow, funnel: WindowFunnel, run: Run) -> None:
    reason = planned.skip or funnel_skip(funnel, run.config.windows)
    if reason is not None:
        raise WindowSkippedError(
            "window cannot be trained",
            where=planned.window.label,
            expected=f"at least {run.config.windows.min_samples} labelled rows",
            found=f"{funnel.n_labelled} of {funnel.n_bars} bars",
            reason=reason,
        )


def _counts(record: Record) -> dict[str, int]:
    values = record.model_dump(exclude={"schema_version"}, exclude_none=True)
    return {name: value for name, value in values.items() if isinstance(value, int)}
