"""What all statistical tests cost: a hundred symbols, five years of sessions, 10,000 draws.

The whole assessment of stage 5 on made-up returns, contenders, baselines and scores, as large as a
run of NIFTY 100 leaves them. Wall and processor time of the assessment alone, and of each part of
it; loading the libraries is told apart. To reach: 20 s on two cores.
"""

import json
import resource
import time
from collections.abc import Callable
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sensequant.evaluation.figures import Figure
from sensequant.evaluation.hypotheses import RankedRows, SignificanceConfig, TrialCount

if TYPE_CHECKING:
    from sensequant.evaluation.significance import OutOfSample

N_SYMBOLS = 100
N_SESSIONS = 1240
N_CONTENDERS = (4, 20, 100)
CONFIG = SignificanceConfig(n_draws=10_000)
FIRST = date(2019, 1, 1)


def main() -> None:
    """Measure and print one JSON object."""
    started = time.perf_counter()
    from sensequant.evaluation.significance import assess  # noqa: PLC0415

    loaded = time.perf_counter() - started
    results: dict[str, object] = {
        "n_symbols": N_SYMBOLS,
        "n_sessions": N_SESSIONS,
        "n_draws": CONFIG.n_draws,
        "load_seconds": round(loaded, 3),
    }
    for n_contenders in N_CONTENDERS:
        found = made_up(n_contenders)
        results[f"with {n_contenders} contenders"] = measured(
            lambda found=found: assess(found, seed=1, config=CONFIG)
        )
    results["max_resident_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(results, indent=2))


def measured(work: Callable[[], object]) -> dict[str, float]:
    """Return wall and processor seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return {
        "wall_seconds": round(time.perf_counter() - wall, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
    }


def made_up(n_contenders: int) -> "OutOfSample":
    """Return returns without skill, contenders alike, and scores that tell a little."""
    from sensequant.evaluation.significance import OutOfSample  # noqa: PLC0415

    rng = np.random.default_rng(n_contenders)
    sessions = [FIRST + timedelta(days=place) for place in range(N_SESSIONS)]
    market = rng.normal(0.0004, 0.01, N_SESSIONS)
    tried = market[:, None] + rng.normal(0.0002, 0.006, (N_SESSIONS, n_contenders))
    contenders = pl.DataFrame(
        {"session": sessions} | {f"c{place}": tried[:, place] for place in range(n_contenders)}
    )
    n_rows = N_SYMBOLS * N_SESSIONS
    score = rng.random(n_rows)
    scores = pl.DataFrame(
        {
            "symbol": np.repeat([f"S{place:03}" for place in range(N_SYMBOLS)], N_SESSIONS),
            "session_number": np.tile(np.arange(N_SESSIONS), N_SYMBOLS),
            "score": score,
            "forward_return": 0.002 * score + rng.normal(0, 0.04, n_rows),
        }
    )
    ranked = RankedRows(
        auc=Figure(value=0.51, lower=0.49, upper=0.53, n=n_rows, unit="probability"),
        confidence=0.95,
        n_positive=n_rows // 3,
        n_negative=n_rows - n_rows // 3,
    )
    return OutOfSample(
        returns=contenders.select("session", net_return="c0").with_columns(
            benchmark_return=pl.Series(market)
        ),
        horizon_sessions=7,
        trials=TrialCount(n_trials=n_contenders, sharpe_variance=1e-4),
        n_trades=5000,
        baselines=pl.DataFrame(
            {"session": sessions, "universe": market + rng.normal(0, 0.003, N_SESSIONS)}
        ),
        contenders=contenders,
        own="c0",
        scores=scores,
        ranked=ranked,
    )


if __name__ == "__main__":
    main()
