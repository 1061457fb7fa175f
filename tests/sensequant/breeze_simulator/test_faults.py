"""Facts about when a fault acts."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sensequant.breeze_simulator.fault_catalog import CATALOG, HISTORY_V2, PATHS, Layer
from sensequant.breeze_simulator.faults import Fault, Faults, chance, parse_fault
from sensequant.errors import ConfigError

REPOSITORY = Path(__file__).parents[3]


def acted(fault: Fault, requests: Iterable[str], symbol: str | None = None) -> list[bool]:
    """Return on which of the requests a fault acted."""
    faults = Faults([fault])
    return [
        faults.first(Layer.INSTEAD, HISTORY_V2, identity, symbol) is not None
        for identity in requests
    ]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "111111"),
        ({"times": 2}, "110000"),
        ({"after": 2}, "001111"),
        ({"after": 1, "times": 3}, "011100"),
        ({"times": 1, "scope": "request"}, "110010"),
        ({"after": 1, "scope": "request"}, "001101"),
    ],
)
def test_counts_decide(settings: dict[str, Any], expected: str) -> None:
    """Of six requests a, b, a, a, c, b: over all of them, or over each of them apart."""
    found = acted(Fault(name="html_503", **settings), "abaacb")

    assert found == [one == "1" for one in expected]


def test_a_path_and_a_symbol_decide() -> None:
    """A switch for one path or symbol leaves the others alone."""
    by_path = Faults([Fault(name="html_503", path="quotes")])
    by_symbol = Faults([Fault(name="html_503", symbol="SIM02")])

    assert by_path.first(Layer.INSTEAD, "quotes", "a", None) is not None
    assert by_path.first(Layer.INSTEAD, HISTORY_V2, "a", None) is None
    assert by_symbol.first(Layer.INSTEAD, HISTORY_V2, "a", "SIM02") is not None
    assert by_symbol.first(Layer.INSTEAD, HISTORY_V2, "a", "SIM03") is None
    assert by_symbol.first(Layer.INSTEAD, "customerdetails", "a", None) is None


@given(seed=st.integers(0, 1000), order=st.permutations([f"r{n % 20}" for n in range(60)]))
def test_chance_does_not_depend_on_the_order_of_requests(seed: int, order: list[str]) -> None:
    """The n-th asking of a request fails or not, whatever was asked between."""
    fault = Fault(name="html_503", probability=0.4, seed=seed)
    plain = [f"r{n % 20}" for n in range(60)]

    def by_attempt(requests: list[str]) -> dict[tuple[str, int], bool]:
        seen: dict[str, int] = {}
        outcomes: dict[tuple[str, int], bool] = {}
        for identity, has_acted in zip(requests, acted(fault, requests), strict=True):
            seen[identity] = seen.get(identity, 0) + 1
            outcomes[identity, seen[identity]] = has_acted
        return outcomes

    assert by_attempt(plain) == by_attempt(order)


def test_chance_has_the_probability() -> None:
    """Of two thousand requests about three in ten meet a fault of 0.3; another seed differs."""
    requests = [str(n) for n in range(2000)]

    one = acted(Fault(name="html_503", probability=0.3, seed=1), requests)
    other = acted(Fault(name="html_503", probability=0.3, seed=2), requests)

    assert 540 < sum(one) < 660
    assert one != other
    numbers = [chance(Fault(name="html_503"), str(n)) for n in range(2000)]
    assert 0.0 <= min(numbers) < 0.01
    assert 0.99 < max(numbers) < 1.0


def test_threads_share_the_counts() -> None:
    """Of two hundred requests from eight threads, exactly fifty are spoilt."""
    faults = Faults([Fault(name="html_503", times=50)])

    def ask(number: int) -> Fault | None:
        return faults.first(Layer.INSTEAD, HISTORY_V2, str(number), None)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(200)))

    assert sum(one is not None for one in found) == faults.n_acted("html_503") == 50
    faults.clear()
    assert faults.first(Layer.INSTEAD, HISTORY_V2, "x", None) is None


def test_a_change_that_changes_nothing_does_not_count() -> None:
    """The switch waits for a request that it can spoil."""
    faults = Faults([Fault(name="negative_volume", times=1)])

    def changed(value: int) -> tuple[int, list[str]]:
        return faults.change(
            value,
            lambda _, number: number - number % 2,
            layer=Layer.ROWS,
            path=HISTORY_V2,
            identity="a",
            symbol="SIM02",
        )

    assert changed(4) == (4, [])
    assert changed(5) == (4, ["negative_volume"])
    assert changed(7) == (7, [])


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "html_504"},
        {"name": ""},
        {"name": "html_503", "path": "stream"},
        {"name": "html_503", "rate": 0.5},
        {"name": "html_503", "seconds": 1.0},
        {"name": "html_503", "sessions": (date(2024, 1, 1),)},
        {"name": "html_503", "days": 3},
        {"name": "login_expired", "symbol": "SIM01"},
        {"name": "rename"},
        {"name": "missing_day", "rate": 0.5, "sessions": (date(2024, 1, 1),)},
        {"name": "missing_day", "rate": 1.5},
        {"name": "html_503", "times": 0},
        {"name": "html_503", "unknown": 1},
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any]) -> None:
    """Unknown faults, foreign paths, settings that the fault does not read."""
    with pytest.raises(ValidationError):
        Fault(**settings)


def test_a_switch_can_be_written_as_text() -> None:
    """Name, then settings; sessions are joined by a plus."""
    assert parse_fault("html_503") == Fault(name="html_503")
    assert parse_fault("html_503: path=quotes, times=2,probability=0.1") == Fault(
        name="html_503", path="quotes", times=2, probability=0.1
    )
    assert parse_fault("missing_day:sessions=2024-01-02+2024-01-03,symbol=SIM01") == Fault(
        name="missing_day", sessions=(date(2024, 1, 2), date(2024, 1, 3)), symbol="SIM01"
    )
    with pytest.raises(ConfigError, match="did you mean html_503"):
        parse_fault("html_504")
    with pytest.raises(ConfigError, match="look the name up"):
        parse_fault("zzzzzzz")
    with pytest.raises(ConfigError, match="no setting of a fault"):
        parse_fault("html_503:loud")
    with pytest.raises(ConfigError, match="greater than or equal to 1"):
        parse_fault("html_503:times=0")
    with pytest.raises(ConfigError, match="the fault has no such setting"):
        parse_fault("html_503:seconds=1")


def test_the_catalog_is_whole() -> None:
    """Every fault says what it does and what to make of it, on paths that exist."""
    for name, kind in CATALOG.items():
        assert name.islower()
        assert kind.effect
        assert kind.meaning
        assert set(kind.paths) <= set(PATHS)
        assert set(kind.readable) <= set(Fault.model_fields)


def test_the_page_lists_every_fault() -> None:
    """The table of docs/breeze_simulator.md is the catalog: names, effects, meanings."""
    text = (REPOSITORY / "docs" / "breeze_simulator.md").read_text()
    cells = {
        row[0].strip("`"): (row[1], row[2])
        for line in text.splitlines()
        if line.startswith("| `")
        for row in [[cell.strip() for cell in line.strip("|").split("|")]]
        if len(row) == 3
    }

    expected = {name: (kind.effect, kind.meaning) for name, kind in CATALOG.items()}
    assert {name: cells.get(name) for name in expected} == expected
