"""One tiny world that was tried once, and the request that it answers."""

from pathlib import Path
from typing import Any

import pytest

from sensequant.calibration.request import CalibrationRequest
from sensequant.calibration.worlds import WorldRecord, planned, try_world

UNIVERSES = Path(__file__).parents[3] / "deployments" / "universes"

METHOD: dict[str, Any] = {
    "windows": {"window_days": 90},
    "teacher": {
        "booster": {
            "num_leaves": 3,
            "n_estimators": 10,
            "min_child_samples": 5,
            "early_stopping_rounds": 0,
        },
        "split": {"n_folds": 3},
        "n_interval_draws": 0,
    },
    "student": {"n_estimators": 10, "min_child_samples": 5, "calibration": "none"},
    "backtest": {"threshold": 0.2},
    "validation": {"n_bootstrap_draws": 100, "n_placebo": 2},
    "significance": {"n_draws": 100},
    "stress": {"periods": ["rate_hike_selloff_2022", "svb_banking_crisis_2023"]},
}
"""As little of everything as lets a world be judged in seconds; it buys nearly always."""


@pytest.fixture(scope="session")
def tiny() -> CalibrationRequest:
    """Return a request for worlds of three stocks over two years."""
    return CalibrationRequest.model_validate(
        {"n_worlds": 2, "n_edge_worlds": 0, "n_symbols": 3, "years": 2, "config": METHOD}
    )


@pytest.fixture(scope="session")
def judged(tmp_path_factory: pytest.TempPathFactory, tiny: CalibrationRequest) -> WorldRecord:
    """Return the record of the first world of the tiny request."""
    work = tmp_path_factory.mktemp("judged") / "work"
    record = try_world(tiny, planned(tiny)[0], edge_bps=0.0, work=work, universes=UNIVERSES)
    assert list(work.iterdir()) == []
    return record
