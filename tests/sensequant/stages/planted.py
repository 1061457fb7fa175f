"""Markets of three stocks in which something tells of the next session, for tests of ablation."""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.build import SourceConfig
from sensequant.settings import RunRequest, TrainingConfig
from sensequant.stages.context import RunSettings
from tests.sensequant.stages.conftest import BHAVCOPY_HEADER

SYMBOLS = ("AAA", "BBB", "CCC")
DAYS: Sequence[date] = nse_calendar().sessions(date(2021, 9, 1), date(2023, 6, 30))

_TINY: dict[str, Any] = {
    "windows": {"window_days": 90},
    "labels": {"horizon_sessions": 1, "threshold_frac": 0.0},
    "teacher": {
        "booster": {
            "num_leaves": 4,
            "n_estimators": 20,
            "learning_rate": 0.1,
            "min_child_samples": 10,
            "early_stopping_rounds": 10,
        },
        "split": {"n_folds": 3},
        "n_interval_draws": 0,
    },
    "student": {"n_estimators": 20, "min_child_samples": 10},
    "validation": {"n_bootstrap_draws": 100, "n_placebo": 2, "min_block_sessions": 5},
}


def settings_on(source: SourceConfig, **features: bool) -> RunSettings:
    """Return small models of the next session's rise, fed the given families beside the others."""
    return RunSettings(
        request=RunRequest(start=date(2022, 1, 1), end=date(2023, 6, 30), source=source),
        config=TrainingConfig.model_validate(_TINY | {"features": features}),
    )


def write_stocks(
    folder: Path,
    moves: Mapping[str, NDArray[np.float64]],
    volumes: Mapping[str, NDArray[np.int64]],
) -> None:
    """Write files of the stocks: log return and volume of each session of `DAYS`."""
    folder.mkdir(parents=True)
    for symbol, of_symbol in moves.items():
        rows, close = [BHAVCOPY_HEADER], 100.0
        for day, move, volume in zip(DAYS, of_symbol, volumes[symbol], strict=True):
            before, close = close, close * float(np.exp(move))
            low, high = sorted((before, close))
            rows.append(
                f"{symbol}, EQ, {day:%d-%b-%Y}, {before:.2f}, {before:.2f}, {high * 1.004:.2f},"
                f" {low * 0.996:.2f}, {close:.2f}, {close:.2f}, {(low + high) / 2:.2f}, {volume},"
                f" 1.00, 10, {volume // 2}, 50.0"
            )
        (folder / f"{symbol}.csv").write_text("\n".join(rows) + "\n")
