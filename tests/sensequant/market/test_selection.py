"""Facts about the ways to name symbols."""

from datetime import date
from pathlib import Path
from typing import Any, NoReturn

import pytest
from pydantic import ValidationError

from sensequant.errors import ConfigError
from sensequant.market.selection import SymbolSelection, selected_symbols

AS_OF = date(2024, 1, 1)


def selection(**fields: Any) -> SymbolSelection:
    return SymbolSelection.model_validate(fields)


def selected(chosen: SymbolSelection, universes: Path) -> tuple[str, ...]:
    return selected_symbols(
        chosen, universes=universes, as_of=AS_OF, available=lambda: ("AAA", "BBB")
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"symbols": ["TCS"], "universe": "pilot"},
        {"symbols": ["TCS"], "symbols_file": "few.txt"},
        {"universe": "pilot", "symbols_file": "few.txt"},
        {"symbols": []},
    ],
)
def test_symbols_are_named_in_one_way(fields: dict[str, Any]) -> None:
    """Two ways contradict each other; an empty list is none."""
    with pytest.raises(ValidationError):
        selection(**fields)


def test_without_a_name_everything_available_is_meant(tmp_path: Path) -> None:
    """So it is with the universe `all`."""
    assert selected(selection(), tmp_path) == ("AAA", "BBB")
    assert selected(selection(universe="all"), tmp_path) == ("AAA", "BBB")


def test_named_symbols_keep_their_order_and_lose_repetitions(tmp_path: Path) -> None:
    """Nobody asks what is available."""

    def nobody() -> NoReturn:
        raise AssertionError

    (tmp_path / "few.txt").write_text("TCS\nINFY\n")
    for chosen, expected in (
        (selection(symbols=["TCS", "INFY", "TCS"]), ("TCS", "INFY")),
        (selection(symbols_file=tmp_path / "few.txt"), ("TCS", "INFY")),
    ):
        found = selected_symbols(chosen, universes=tmp_path, as_of=AS_OF, available=nobody)
        assert found == expected


def test_a_universe_is_that_of_its_date(tmp_path: Path) -> None:
    """Members that joined later are left out."""
    (tmp_path / "pair.yaml").write_text(
        "name: pair\ndescription: two\nsource: a test\n"
        "members: [TCS, {symbol: INFY, since: 2024-01-02}]\n"
    )

    assert selected(selection(universe="pair"), tmp_path) == ("TCS",)
    with pytest.raises(ConfigError, match="unknown"):
        selected(selection(universe="nowhere"), tmp_path)


@pytest.mark.parametrize(
    ("fields", "title"),
    [
        ({}, "all symbols"),
        ({"universe": "pilot"}, "pilot"),
        ({"symbols": ["TCS", "INFY"]}, "TCS, INFY"),
        ({"symbols": ["TCS", "INFY", "ITC", "LT"]}, "4 symbols"),
    ],
)
def test_a_selection_has_a_title(fields: dict[str, Any], title: str) -> None:
    """Few symbols are named, many are counted."""
    assert selection(**fields).title == title


def test_a_resolved_selection_needs_no_file(tmp_path: Path) -> None:
    """The list takes the place of the file, and anything else stays as it is."""
    (tmp_path / "few.txt").write_text("TCS\n")
    named = selection(symbols_file=tmp_path / "few.txt")

    assert named.resolved() == selection(symbols=["TCS"])
    assert selection(universe="pilot").resolved() == selection(universe="pilot")
