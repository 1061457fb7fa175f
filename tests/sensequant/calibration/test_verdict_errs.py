"""The verdict held against truth: shipped settings on walks, and on edges that an oracle knows.

Few worlds, so that what is asked of them is far from what is demanded of two hundred: the page
`docs/methods/verdict-calibration.md` has the rates.
"""

from pathlib import Path

import pytest

from sensequant.calibration.oracle import EDGES_BPS
from sensequant.calibration.request import CalibrationRequest
from sensequant.calibration.work import (
    close_calibration,
    do_world_apart,
    do_worth_apart,
    open_calibration,
)

UNIVERSES = Path(__file__).parents[3] / "deployments" / "universes"
N_WALKS = 10
N_EDGES = 5
STRONG = 5.0

# Half an hour of one core.
pytestmark = [pytest.mark.slow, pytest.mark.worlds, pytest.mark.no_cover]


def test_walks_are_not_approved_and_strong_edges_are(tmp_path: Path) -> None:
    """Of ten walks at most one is approved, of five edges of an oracle's 5 at least three.

    With a rate of 5 % a right verdict fails the first in 9 of 100 seeds, and the seed is fixed.
    """
    request = CalibrationRequest(
        n_worlds=N_WALKS, n_edge_worlds=N_EDGES, oracle_sharpes=(STRONG,), n_symbols=12
    )
    calibration = open_calibration(tmp_path, request)
    for edge in EDGES_BPS:
        do_worth_apart(calibration, edge)
    for name in calibration.missing:
        do_world_apart(calibration, name, universes=UNIVERSES)

    summary = close_calibration(calibration)

    (level,) = summary.levels
    assert summary.n_judged == N_WALKS + N_EDGES
    assert summary.walks.approved.count <= 1
    assert level.approved.count >= 3
    assert level.oracle_sharpe.value is not None
    assert level.oracle_sharpe.value > 2.5
