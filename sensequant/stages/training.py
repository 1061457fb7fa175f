"""Stage 2: features and labels of all symbols, and the teacher of each window.

Belongs here: which rows reach a teacher and where its files stand. Does not belong here: features,
labels, windows and the teacher themselves.

A teacher learns from one symbol's window (scope `symbol`) or from the same span of all symbols at
once (scope `universe`); the latter's window stands under the name `POOLED`.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sensequant.booster_device import resolve_device
from sensequant.errors import DataError, MissingBarsError
from sensequant.features.inputs import require_adjusted_bars
from sensequant.features.registry import model_columns
from sensequant.market.sessions import nse_calendar
from sensequant.records import (
    Outcome,
    Record,
    SkipReason,
    code_version,
    derive_seed,
    digest_of,
    explain_skip,
)
from sensequant.reward import reward_returns
from sensequant.rows import build_rows
from sensequant.stages.context import Findings, Run, digest_of_slices, shared_slice
from sensequant.stages.opening import library_versions
from sensequant.stages.tried import note_fit, note_search
from sensequant.storage import (
    json_bytes,
    read_table,
    sha256_of,
    sha256_of_bytes,
    table_bytes,
    write_table,
    write_tables,
    write_together,
)
from sensequant.teacher import require_device, train_teacher
from sensequant.uniqueness import uniqueness_weights
from sensequant.units import UnitRecord
from sensequant.windows import (
    POOLED,
    PlannedWindow,
    Window,
    WindowFunnel,
    count_funnel,
    feature_rows,
    funnel_skip,
)

__all__ = [
    "WEIGHT",
    "WindowSkippedError",
    "describe",
    "digest_of_rows",
    "planned_teachers",
    "prepare_rows",
    "skip_of",
    "teacher_key",
    "threads_for",
    "train_window",
    "window_rows",
]

WEIGHT = "sample_weight"
"""Column with the weight of a row in every fit."""

_ROWS_OF_A_THREAD = 10_000
"""Rows of a fit for which another thread is worth what waiting for it costs."""


class WindowSkippedError(DataError):
    """The plan or the counts of its rows say that a window has no teacher."""

    def __init__(self, what: str, *, reason: SkipReason, **fields: str) -> None:
        super().__init__(what, **fields)
        self.reason = reason


def prepare_rows(run: Run) -> list[UnitRecord]:
    """Compute features and labels of all symbols over their whole history, once.

    All symbols at once, because ranks compare them; a symbol whose bars cannot be used is left
    out, and its record says why.

    Raises
    ------
    ConfigError
        A family of features is switched on whose data are absent, or the device of the teachers
        does not work here: better known before anything is trained.
    MissingBarsError
        No symbol has usable bars.
    """
    require_device(run.config.teacher)
    bars: list[pl.DataFrame] = []
    refused: list[UnitRecord] = []
    for symbol in run.symbols:
        frame = read_table(run.folder.bars(symbol))
        try:
            require_adjusted_bars(frame, ("open", "high", "low", "close", "volume"))
        except DataError as error:
            name = _features_name(symbol)
            refused.append(
                UnitRecord.from_error(error, kind="features", name=name, symbol=symbol, seconds=0.0)
            )
        else:
            bars.append(frame)
    if not bars:
        raise MissingBarsError(
            "no symbol has usable bars",
            where=run.folder.run_id,
            expected="at least one",
            found=f"{len(refused)} refused",
            remedy="the reason stands beside each symbol in teacher_runs.parquet",
        )
    whole = pl.concat(bars)
    write_table(run.folder.reward_returns, _reward_returns(run, whole))
    rows = build_rows(
        whole, run.config, run.market_context, calendar=nse_calendar(), start=run.request.start
    )
    return sorted([*refused, *_write_rows(run, rows)], key=_by_name)


def train_window(run: Run, symbol: str, short: str) -> UnitRecord:
    """Train the teacher of one planned window.

    Parameters
    ----------
    run
        The run.
    symbol
        Whose window, or `POOLED` for that of all symbols.
    short
        First and last day of the window.

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
    rows = window_rows(run, window)
    # A row without any feature cannot teach; the funnel does not count it either.
    with_features = feature_rows(rows, columns)
    funnel = count_funnel(rows, with_features)
    _require_trainable(planned, funnel, run)
    note_fit(run)
    result = train_teacher(
        _weighted(with_features, run),
        columns=columns,
        config=run.config.teacher,
        min_samples=run.config.windows.min_samples,
        seed=derive_seed(run.config.seed, "teacher", window.label),
        n_threads=threads_for(run, with_features.height),
        weight_column=WEIGHT,
    )
    tables = {"labels": result.rows, "importance": result.importance}
    if result.trials.height:
        tables["trials"] = result.trials
        # All but the given settings, which are the fit itself.
        note_search(run, window.label, result.trials.height - 1)
    metadata, text = folder / "metadata.json", json_bytes(result.metadata)
    write_together(
        {
            folder / "model.txt": result.model_text.encode(),
            **{folder / f"{name}.parquet": table_bytes(table) for name, table in tables.items()},
            # The metadata come last: a folder that holds them is complete.
            metadata: text,
        }
    )
    return UnitRecord(
        kind="teacher",
        name=f"teacher {symbol} {short}",
        symbol=symbol,
        window=short,
        outcome=Outcome.SUCCESS,
        counts={
            **_counts(funnel),
            **_counts(result.metadata.counts),
            "is_early_life": int(window.is_early_life),
        },
        path=metadata.relative_to(run.folder.root).as_posix(),
        sha256=sha256_of_bytes(text),
        seconds=0.0,
    )


def skip_of(run: Run, symbol: str, short: str) -> WindowSkippedError | None:
    """Return why a window has no teacher, where the plan or the number of its bars says so.

    Of a window that is not skipped for these it is found by its training whether it has one;
    counting the labels of all windows in advance would take longer than it spares.

    Parameters
    ----------
    run
        The run.
    symbol, short
        As `train_window`.
    """
    planned, columns = run.window(symbol, short), model_columns(run.config.features)
    try:
        rows = window_rows(run, planned.window)
    except WindowSkippedError:
        # Its symbol has no features, which the unit says.
        return None
    if planned.skip is None and rows.height >= run.config.windows.min_samples:
        return None
    try:
        _require_trainable(planned, count_funnel(rows, feature_rows(rows, columns)), run)
    except WindowSkippedError as error:
        return error
    return None


def teacher_key(run: Run, given: Mapping[str, Any]) -> str:
    """Return the digest of all that a teacher follows from: rows, settings, seed and code.

    Equal keys give equal files, in whichever run: data of other windows do not enter.

    Parameters
    ----------
    run
        The run.
    given
        `symbol` and `window` of the unit.
    """
    planned = run.window(given["symbol"], given["window"])
    config = run.config
    return digest_of(
        {
            "unit": f"teacher {planned.window.label}",
            "rows": digest_of_rows(run, planned.window),
            # Its place in the range is no part of it: a range that begins later has it, too.
            "window": planned.window.model_dump(mode="json", exclude={"index"}),
            "skip": planned.skip,
            "features": config.features,
            "labels": config.labels,
            "teacher": config.teacher,
            # Bytes differ between kinds of devices, and `auto` does not name one.
            "device": resolve_device(config.teacher.booster),
            "windows": config.windows,
            "seed": config.seed,
            "code": code_version(),
            "libraries": library_versions(),
        }
    )


def planned_teachers(run: Run) -> list[Window]:
    """Return every window that is to have a teacher, those that will be skipped included."""
    if run.config.teacher.scope == POOLED:
        return run.pooled_windows
    return [planned.window for planned in run.windows]


def threads_for(run: Run, n_rows: int) -> int:
    """Return how many threads one fit may use; it changes no byte of a model.

    Windows run side by side, and threads of one fit wait for each other after every step of a few
    hundred rows: on cores that others use as well, two threads took ten times as long as one over
    three thousand rows.

    Parameters
    ----------
    run
        Whose number of workers is the most.
    n_rows
        Rows of the fit.
    """
    n_worth = 1 + n_rows // _ROWS_OF_A_THREAD
    return 1 if n_worth == 1 else min(run.record.workers, n_worth)


def window_rows(run: Run, window: Window) -> pl.DataFrame:
    """Return the features and labels of one window, by symbol and session.

    Raises
    ------
    DataError
        The symbol of the window has no features.
    """
    return pl.concat(shared_slice(path, window.start, window.end) for path in _tables(run, window))


def digest_of_rows(run: Run, window: Window) -> str | None:
    """Return the digest of the features and labels of one window, None where it has none."""
    try:
        return digest_of_slices(_tables(run, window), window.start, window.end)
    except DataError:
        # A window without rows is skipped; that is an answer like another.
        return None


def describe(run: Run) -> Findings:
    """Sum up the teachers of a run."""
    columns = model_columns(run.config.features)
    folders = [run.folder.teacher(window.label) for window in planned_teachers(run)]
    n_teachers = sum((folder / "metadata.json").exists() for folder in folders)
    return Findings(
        values={
            "n_teachers": n_teachers,
            "n_features": len(columns),
            "scope": run.config.teacher.scope,
        },
    )


def _reward_returns(run: Run, bars: pl.DataFrame) -> pl.DataFrame:
    numbers = nse_calendar().numbers()
    return reward_returns(bars, numbers, horizon_sessions=run.config.reward.horizon_sessions)


def _write_rows(run: Run, rows: pl.DataFrame) -> list[UnitRecord]:
    parts = {
        str(part["symbol"][0]): part for part in rows.partition_by("symbol", maintain_order=True)
    }
    write_tables({run.folder.rows(symbol): part for symbol, part in parts.items()})
    return [_features_record(run, symbol, part) for symbol, part in parts.items()]


def _features_record(run: Run, symbol: str, rows: pl.DataFrame) -> UnitRecord:
    path = run.folder.rows(symbol)
    return UnitRecord(
        kind="features",
        name=_features_name(symbol),
        symbol=symbol,
        outcome=Outcome.SUCCESS,
        counts={"n_bars": rows.height, "n_labelled": rows["label"].count()},
        path=path.relative_to(run.folder.root).as_posix(),
        sha256=sha256_of(path),
        seconds=0.0,
    )


def _features_name(symbol: str) -> str:
    return f"features {symbol}"


def _by_name(record: UnitRecord) -> str:
    return record.name


def _weighted(rows: pl.DataFrame, run: Run) -> pl.DataFrame:
    labelled = rows.drop_nulls("label")
    if run.config.labels.sample_weights == "equal" or labelled.is_empty():
        return rows.with_columns(pl.lit(1.0).alias(WEIGHT))
    keys = ("symbol", "session_number", "label_end_number")
    weights = np.full(rows.height, np.nan)
    weights[rows["label"].is_not_null().to_numpy()] = uniqueness_weights(
        *(labelled[name].to_numpy() for name in keys)
    )
    return rows.with_columns(pl.Series(WEIGHT, weights, nan_to_null=True))


def _tables(run: Run, window: Window) -> list[Path]:
    symbols = run.symbols if window.symbol == POOLED else [window.symbol]
    tables = [path for path in map(run.folder.rows, symbols) if path.exists()]
    if not tables:
        raise _no_features(window.symbol)
    return tables


def _no_features(symbol: str) -> WindowSkippedError:
    # The cause stands beside the unit that should have made them, and counts there.
    return WindowSkippedError(
        "symbol has no features and labels",
        where=symbol,
        expected=f"{symbol}.parquet",
        found="no such file",
        reason=SkipReason.NO_FEATURES,
    )


def _require_trainable(planned: PlannedWindow, funnel: WindowFunnel, run: Run) -> None:
    reason = planned.skip or funnel_skip(funnel, run.config.windows)
    if reason is not None:
        raise WindowSkippedError(
            explain_skip(reason).rstrip("."),
            where=planned.window.label,
            expected=f"at least {run.config.windows.min_samples} labelled rows",
            found=f"{funnel.n_labelled} of {funnel.n_bars} bars",
            reason=reason,
        )


def _counts(record: Record) -> dict[str, int]:
    values = record.model_dump(exclude={"schema_version"}, exclude_none=True)
    return {name: value for name, value in values.items() if isinstance(value, int)}
