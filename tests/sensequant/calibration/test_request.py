"""Facts about the request: which worlds it means, and that every setting acts."""

from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError

from sensequant.calibration.request import CalibrationRequest, WalkConfig
from sensequant.calibration.worlds import planned
from sensequant.market.sources.simulated import SimulatedConfig


def test_a_world_is_a_random_walk_without_events() -> None:
    """Neither regimes, whose drift can be foreseen, nor a listing, a split or a hole."""
    request = CalibrationRequest(n_symbols=7)

    market = request.market(seed=3, edge_bps=12.0)

    assert (market.seed, market.n_symbols, market.planted_edge_bps) == (3, 7, 12.0)
    assert (market.has_regimes, market.has_events) == (False, False)


def test_the_method_is_the_shipped_one() -> None:
    """Nothing of the method is set aside unless somebody asks for it."""
    request = CalibrationRequest()

    assert request.config == type(request.config)()
    assert (request.n_worlds, request.n_symbols, request.years) == (200, 50, 3)
    assert (request.start, request.end) == (date(2022, 1, 1), date(2024, 12, 31))


@pytest.mark.parametrize(
    "sharpes", [(1.0, 0.0), (1.0, 1.0), (-1.0, 2.0)], ids=["descending", "twice", "negative"]
)
def test_edges_out_of_order_are_refused(sharpes: tuple[float, ...]) -> None:
    """Each edge once, ascending, from 0 on."""
    with pytest.raises(ValidationError, match="planted edges are out of order"):
        CalibrationRequest(oracle_sharpes=sharpes)


OTHER: dict[str, Any] = {
    "n_worlds": 5,
    "n_edge_worlds": 3,
    "oracle_sharpes": (2.5,),
    "n_symbols": 6,
    "years": 2,
    "seed": 9,
    "walk": {"annual_drift_frac": 0.0},
    "config": {"seed": 7},
}


@pytest.mark.parametrize("name", CalibrationRequest.model_fields)
def test_every_setting_acts(name: str) -> None:
    """Other worlds, another market, or another run."""

    def meant(request: CalibrationRequest) -> list[Any]:
        market = request.market(seed=1, edge_bps=5.0)
        return [planned(request), market, request.run_request(market), request.config]

    given: dict[str, Any] = {"n_worlds": 2, "n_edge_worlds": 1}
    assert meant(CalibrationRequest.model_validate(given)) != meant(
        CalibrationRequest.model_validate(given | {name: OTHER[name]})
    )


@pytest.mark.parametrize("name", WalkConfig.model_fields)
def test_every_setting_of_the_walk_is_one_of_the_market(name: str) -> None:
    """It reaches the simulated market under its own name, within the same bounds."""
    low, high = 0.06, 3.5
    value = high if name == "tail_degrees_of_freedom" else low
    request = CalibrationRequest.model_validate({"walk": {name: value}})

    assert getattr(request.market(seed=1, edge_bps=0.0), name) == value
    ours, theirs = (model.model_fields[name].metadata for model in (WalkConfig, SimulatedConfig))
    assert ours == theirs


def test_more_worlds_leave_the_first_ones_alone() -> None:
    """Neither their number nor further edges change the name or the seed of one."""
    few = CalibrationRequest(n_worlds=2, n_edge_worlds=1, oracle_sharpes=(3.0,))
    many = CalibrationRequest(n_worlds=4, n_edge_worlds=3, oracle_sharpes=(1.0, 3.0))

    names = {world.name: world for world in planned(many)}
    assert all(names[world.name] == world for world in planned(few))
    assert few.same_but_counts() == many.same_but_counts()
    assert len({world.seed for world in planned(many)}) == len(planned(many)) == 10


def test_a_request_survives_json() -> None:
    """What is written down can be read again."""
    request = CalibrationRequest(oracle_sharpes=(0.5, 3.0), n_symbols=12)

    assert CalibrationRequest.model_validate_json(request.model_dump_json()) == request
