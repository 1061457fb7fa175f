"""Facts about the names under which the vendor knows what trades."""

from typing import Any

import pytest

from sensequant.breeze_simulator.directory import Directory, isin_of
from sensequant.breeze_simulator.market import SimulatedFeed
from sensequant.market.sources.simulated import SimulatedConfig


def luhn_sum(isin: str) -> int:
    """Return the sum of ISO 6166 by counting each digit in turn."""
    digits = [int(one) for character in isin for one in str(int(character, 36))]
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = digit * 2 if place % 2 else digit
        total += doubled - 9 if doubled > 9 else doubled
    return total


def test_isins_are_well_formed() -> None:
    """They are of India, have twelve characters and a check digit that is right."""
    assert luhn_sum("INE002A01018") % 10 == 0  # that of Reliance, as a check of the check
    for number in range(50):
        isin = isin_of(f"ABC{number}", security=number % 9)
        assert isin.startswith("INE")
        assert len(isin) == 12
        assert luhn_sum(isin) % 10 == 0


@pytest.mark.parametrize("n_symbols", [1, 4, 120])
def test_codes_are_unique_and_no_symbols_but_the_trap(n_symbols: int) -> None:
    """Only the last stock's code is a symbol, that of the first stock."""
    feed = SimulatedFeed(SimulatedConfig(n_symbols=n_symbols, has_events=False))
    directory = Directory(feed)
    codes = [one.code for one in directory.stocks]

    assert len({*codes, "NIFTY", "INDVIX"}) == n_symbols + 2
    trapped = [one for one in directory.stocks if one.code in feed.symbols()]
    expected = [(feed.symbols()[-1], feed.symbols()[0])] if n_symbols > 1 else []
    assert [(one.symbol, one.code) for one in trapped] == expected


def test_a_code_that_is_taken_is_passed_over() -> None:
    """A stock whose symbol is another's code takes that code away from it."""

    class Names:
        def __init__(self, *symbols: str) -> None:
            self._symbols = symbols

        def symbols(self) -> tuple[str, ...]:
            return self._symbols

    def code_of_abc(*others: str) -> str:
        market: Any = Names("ABC", *others, "ZZZ")
        return Directory(market).of_symbol("ABC").code

    first = code_of_abc()
    assert code_of_abc(first) != first
    assert code_of_abc(first)[:3] == first[:3] == "ABC"


def test_names_are_found_both_ways(feed: SimulatedFeed) -> None:
    """By symbol, code and token; what is unknown is unknown."""
    directory = Directory(feed)
    one = directory.of_symbol("SIM02")

    assert directory.of_code(one.code) == one
    assert directory.of_token(one.token) == one
    assert directory.of_code("NIFTY") == directory.of_symbol("NIFTY50")
    assert directory.of_code("NOSUCH") is None
    assert directory.of_token("7") is None
    with pytest.raises(KeyError):
        directory.of_symbol("NIFTY50TRI")


def test_a_renamed_stock_keeps_token_and_isin(feed: SimulatedFeed) -> None:
    """Its old code is unknown, its new one is not before the change of name."""
    directory = Directory(feed)
    renamed = frozenset({"SIM02"})
    old, new = directory.of_symbol("SIM02"), directory.of_symbol("SIM02", renamed)

    assert (old.token, old.isin) == (new.token, new.isin)
    assert (old.code, old.exchange_code) != (new.code, new.exchange_code)
    assert directory.of_code(old.code, renamed) is None
    assert directory.of_code(new.code, renamed) == new
    assert directory.of_code(new.code) is None
