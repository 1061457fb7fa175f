"""Facts about the settings of the simulated market."""

import pytest
from pydantic import ValidationError

from sensequant.market.sources.simulated import SimulatedConfig


def test_events_need_three_stocks() -> None:
    """One for the listing, one for the split, one for the hole."""
    with pytest.raises(ValidationError, match="too few simulated stocks"):
        SimulatedConfig(n_symbols=2)

    assert SimulatedConfig(n_symbols=3).has_events
    assert SimulatedConfig(n_symbols=1, has_events=False).n_symbols == 1


@pytest.mark.parametrize(
    ("law", "told"),
    [
        ({"garch_reaction_frac": 0.3, "garch_memory_frac": 0.7}, "variance has no mean"),
        ({"garch_memory_frac": 0.7}, "memory of variance without reaction"),
        ({"tail_degrees_of_freedom": 2.0}, "greater than 2"),
    ],
    ids=["not stationary", "does nothing", "no variance"],
)
def test_a_law_without_meaning_is_refused(law: dict[str, float], told: str) -> None:
    """The variance has a mean, and every setting acts."""
    with pytest.raises(ValidationError, match=told):
        SimulatedConfig.model_validate(law)


def test_settings_survive_json() -> None:
    """What is written down can be read again."""
    config = SimulatedConfig(seed=7, planted_edge_bps=20.0)

    assert SimulatedConfig.model_validate_json(config.model_dump_json()) == config
