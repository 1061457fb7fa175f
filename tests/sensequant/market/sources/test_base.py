"""Facts about what all sources share."""

from datetime import date

import pytest

from sensequant.errors import ConfigError, UnknownSymbolError
from sensequant.market.sources.base import require_known, require_range, require_symbol


def test_a_known_symbol_passes() -> None:
    """A symbol of the source raises nothing."""
    require_known("TCS", ["INFY", "TCS"], source="here")


def test_an_unknown_symbol_is_told_its_neighbours() -> None:
    """The nearest names are listed, whatever the case of what was asked."""
    with pytest.raises(ConfigError, match="did you mean RELIANCE"):
        require_known("relianse", ["INFY", "RELIANCE"], source="here")


def test_a_symbol_without_neighbours_is_told_to_look() -> None:
    """Where nothing is near, nothing is guessed."""
    with pytest.raises(ConfigError, match="list the symbols"):
        require_known("QQQ", ["INFY"], source="here")


def test_a_symbol_of_many_is_refused_alone() -> None:
    """What a chunk asks for is skipped; what a person named makes the request wrong."""
    with pytest.raises(UnknownSymbolError, match="did you mean RELIANCE"):
        require_symbol("relianse", ["INFY", "RELIANCE"], source="here")
    require_symbol("TCS", ["INFY", "TCS"], source="here")


def test_ranges() -> None:
    """A range may be open at either end, and must not be upside down."""
    require_range(None, date(2024, 1, 1))
    require_range(date(2024, 1, 1), None)
    require_range(date(2024, 1, 1), date(2024, 1, 1))
    with pytest.raises(ConfigError, match="upside down"):
        require_range(date(2024, 1, 2), date(2024, 1, 1))
