"""Facts about `calibrate-verdict`: which worlds are asked for, and what is refused."""

from typing import Any

import pytest

from sensequant.calibration.request import CalibrationRequest
from sensequant.cli import calibrate as module
from sensequant.cli.app import main
from sensequant.cli.arguments import CalibrationArguments
from sensequant.cli.calibrate import calibration_request
from sensequant.errors import ConfigError


def test_words_become_the_request() -> None:
    """Counts, edges by an oracle's Sharpe ratio, size, seed, and any setting by --set."""
    arguments = CalibrationArguments(
        universes=40,
        edge_universes=5,
        oracle_sharpe="1,3",
        symbols=12,
        years=2,
        seed=7,
        set=("walk.annual_drift_frac=0", "config.labels.horizon_sessions=5"),
    )

    request = calibration_request(arguments)

    assert (request.n_worlds, request.n_edge_worlds) == (40, 5)
    assert request.oracle_sharpes == (1.0, 3.0)
    assert (request.n_symbols, request.years, request.seed) == (12, 2, 7)
    assert request.walk.annual_drift_frac == 0.0
    assert request.config.labels.horizon_sessions == 5


def test_without_words_the_shipped_calibration_is_asked_for() -> None:
    """The defaults stand in the request alone."""
    assert calibration_request(CalibrationArguments()) == CalibrationRequest()


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        (CalibrationArguments(oracle_sharpe="1,three"), "--oracle-sharpe"),
        (CalibrationArguments(oracle_sharpe="3,1"), "oracle_sharpes"),
        (CalibrationArguments(universes=-1), "n_worlds"),
        (CalibrationArguments(set=("walk.nothing=1",)), "walk.nothing"),
    ],
    ids=["no number", "out of order", "none", "unknown"],
)
def test_a_wrong_word_is_named(arguments: CalibrationArguments, where: str) -> None:
    """The error says which one."""
    with pytest.raises(ConfigError) as caught:
        calibration_request(arguments)

    assert caught.value.where == where


def test_the_command_starts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the number of processes and the form of the answer."""
    started: list[Any] = []

    def start(arguments: CalibrationArguments, env: Any, *, is_json: bool, is_verbose: bool) -> int:
        started.append((arguments.universes, env.workers, is_json, is_verbose))
        return 0

    monkeypatch.setattr(module, "start_calibration", start)

    assert main(["calibrate-verdict", "--universes", "40", "--workers", "3", "--json"]) == 0
    assert started == [(40, 3, True, False)]
