"""The main flow with a teacher that fails where it is told to; for workers of tests only.

A file in the home names the windows that fail, one `SYMBOL FIRST_SESSION` a line; another one gets
a line for each window that is really trained.
"""

import os
import sys
from pathlib import Path
from typing import Any

import polars as pl

from flows.run_history import historical_training
from sensequant.stages import training
from sensequant.teacher import TeacherResult, train_teacher
from tasks import helping

__all__ = ["historical_training"]


def _train(rows: pl.DataFrame, **settings: Any) -> TeacherResult:
    home = Path(os.environ["SENSEQUANT_HOME"])
    window = f"{rows['symbol'][0]} {rows['session'][0]}"
    with (home / "taught").open("a", encoding="utf-8") as file:
        file.write(f"{window}\n")
    if window in (home / "failing").read_text(encoding="utf-8").splitlines():
        message = "a tree fell"
        raise RuntimeError(message)
    return train_teacher(rows, **settings)


training.train_teacher = _train
# Processes that help would train without this double.
helping._LEAST_WINDOWS_OF_A_HELPER = sys.maxsize
