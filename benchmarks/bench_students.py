"""What a student costs to train, to load, and to score one row or a million.

Both kinds on planted rows as wide as the default features, with calibration. Scoring is measured
with and without what stands around the model (probability, novelty, expiry). Training and the
million rows are wall time; loading and single rows are processor time, so that neighbours on the
machine do not count.
"""

import json
import time
from collections.abc import Callable
from datetime import date, timedelta
from typing import Literal

import numpy as np
import polars as pl

from sensequant.features.registry import FeatureConfig, model_columns
from sensequant.student import Lesson, StudentConfig, TrainedStudent, train_student
from sensequant.student_file import load_student

N_TRAINED = 20_000
N_SCORED = 1_000_000
N_THREADS = 2
COLUMNS = model_columns(FeatureConfig())
FIRST = date(2020, 1, 1)


def main() -> None:
    """Measure and print one JSON object."""
    rows, many = planted(N_TRAINED, seed=0), planted(N_SCORED, seed=1)
    print(
        json.dumps(
            {
                "n_trained": N_TRAINED,
                "n_columns": len(COLUMNS),
                "n_threads": N_THREADS,
                "boosted": measured("boosted", rows, many),
                "logistic": measured("logistic", rows, many),
            },
            indent=2,
        )
    )


def measured(
    kind: Literal["boosted", "logistic"], rows: pl.DataFrame, many: pl.DataFrame
) -> dict[str, float]:
    """Return the shortest times of one kind."""
    student = trained(rows, StudentConfig(kind=kind)).student
    text = student.to_text()
    matrix = many.head(1).select(COLUMNS).to_numpy()
    one, cpu = many.head(1), time.process_time
    return {
        "train_seconds": best_of(lambda: trained(rows, StudentConfig(kind=kind)), 1),
        "train_uncalibrated_seconds": best_of(
            lambda: trained(rows, StudentConfig(kind=kind, calibration="none")), 1
        ),
        "text_kilobytes": round(len(text) / 1000, 1),
        "load_milliseconds": 1e3 * best_of(lambda: load_student(text), 20, cpu),
        "score_array_row_microseconds": 1e6
        * best_of(lambda: student.scorer.score(matrix, n_threads=1), 1000, cpu),
        "score_row_microseconds": 1e6 * best_of(lambda: student.score(one), 500, cpu),
        "judge_row_microseconds": 1e6 * best_of(lambda: student.judge(one), 500, cpu),
        "score_million_seconds": best_of(lambda: student.score(many, n_threads=N_THREADS), 1),
        "judge_million_seconds": best_of(lambda: student.judge(many, n_threads=N_THREADS), 1),
    }


def trained(rows: pl.DataFrame, config: StudentConfig) -> TrainedStudent:
    """Return a student of these rows."""
    return train_student(
        rows,
        lesson=Lesson(COLUMNS, FeatureConfig()),
        config=config,
        min_samples=100,
        seed=1,
        n_threads=N_THREADS,
    )


def planted(n_rows: int, *, seed: int) -> pl.DataFrame:
    """Return rows of a hundred symbols in which the first column tells the label."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n_rows, len(COLUMNS)))
    known = 1 / (1 + np.exp(-features[:, 0]))
    features[rng.random(features.shape) < 0.02] = np.nan
    number = np.arange(n_rows) // 100 % 150
    columns = {name: features[:, i] for i, name in enumerate(COLUMNS)}
    return pl.DataFrame(
        {
            "symbol": [f"S{i % 100:02}" for i in range(n_rows)],
            "session": [FIRST + timedelta(int(each)) for each in number],
            "session_number": number,
            "label_end": [FIRST + timedelta(int(each) + 7) for each in number],
            "label_end_number": number + 7,
            "label": (rng.random(n_rows) < known).astype(np.int8),
            "teacher_probability": known,
            **columns,
        }
    ).with_columns(pl.col(COLUMNS).fill_nan(None))


def best_of(
    work: Callable[[], object],
    n_times: int,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Return the shortest mean time in seconds of one call, of five rounds."""
    times: list[float] = []
    for _ in range(5):
        started = clock()
        for _ in range(n_times):
            work()
        times.append((clock() - started) / n_times)
    return round(min(times), 9)


if __name__ == "__main__":
    main()
