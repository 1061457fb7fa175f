"""Facts about where the bars of a source lie."""

import itertools
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

import pytest

from sensequant.errors import MissingBarsError
from sensequant.ingestion.places import (
    claims_folder,
    ledger_path,
    market_digest,
    real_store,
    store_at,
    store_key,
)
from sensequant.market.sources.base import Chunk
from sensequant.market.sources.breeze.config import BreezeConfig
from sensequant.market.sources.build import SourceConfig
from sensequant.market.sources.simulated import SimulatedConfig, SimulatedSource

AT = datetime(2024, 6, 1, tzinfo=UTC)


def source(kind: str, **fields: Any) -> SourceConfig:
    return SourceConfig.model_validate({"kind": kind, **fields})


OTHER_SEED = SimulatedConfig(seed=7)
APART = (
    source("files", folder=Path("bars")),
    source("breeze"),
    source("simulated"),
    source("simulated", simulated=OTHER_SEED),
    source("breeze-simulator"),
    source("breeze-simulator", simulated=OTHER_SEED),
    source("breeze-simulator", folder=Path("bars")),
    source("breeze-simulator", folder=Path("bars"), index_folder=Path("index")),
)


def test_another_market_or_kind_has_another_store() -> None:
    """Eight sources that may not meet have eight stores."""
    keys = [store_key(each) for each in APART]

    assert len(set(keys)) == len(APART)
    assert keys[:2] == [".", "breeze"]
    assert all(key.startswith("simulated/") for key in keys[2:])


def test_none_of_them_shares_bars(tmp_path: Path) -> None:
    """Bars in one store can be seen in no other, though one root lies within another."""
    day = date(2024, 1, 2)
    bars = SimulatedSource(SimulatedConfig()).fetch(Chunk("SIM01", "1day", day, day)).bars
    for number, each in enumerate(APART):
        named = bars.with_columns(symbol=bars["symbol"].replace("SIM01", f"ONLY{number}"))
        store_at(tmp_path, each).write(named, interval="1day", fetched_at=AT)

    for number, each in enumerate(APART):
        assert store_at(tmp_path, each).symbols("1day") == (f"ONLY{number}",)
    with pytest.raises(MissingBarsError):
        store_at(tmp_path, APART[0]).read("ONLY1", interval="1day")


def test_settings_that_change_no_bar_share_the_store() -> None:
    """Pace, credentials and the list of actions make no other market; defaults are no other."""
    pairs = [
        (source("breeze"), source("breeze", credentials_block="mine", breeze=BreezeConfig())),
        (source("simulated"), source("simulated", simulated=SimulatedConfig())),
        (
            source("breeze-simulator"),
            source("breeze-simulator", breeze=BreezeConfig(calls_per_minute=30)),
        ),
        (source("files", folder=Path("one")), source("files", folder=Path("two"))),
        (
            source("breeze-simulator", folder=Path("bars")),
            source("breeze-simulator", folder=Path("bars"), actions_path=Path("actions.csv")),
        ),
    ]
    assert all(store_key(one) == store_key(two) for one, two in pairs)


def test_a_folder_is_one_market_however_it_is_spelt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path means a folder, so the same words elsewhere mean another market."""
    digests: list[str] = []
    for name in ("one", "two"):
        place = tmp_path / name
        (place / "bars").mkdir(parents=True)
        monkeypatch.chdir(place)
        relative = source("breeze-simulator", folder=Path("bars"), index_folder=Path("bars"))
        roundabout = source(
            "breeze-simulator", folder=place / "bars" / ".." / "bars", index_folder=place / "bars"
        )
        assert market_digest(relative) == market_digest(roundabout)
        digests.append(market_digest(relative))
    assert digests[0] != digests[1]


def test_one_ledger_and_one_set_of_locks_for_all(tmp_path: Path) -> None:
    """Neither is a store, nor lies in one that a source has."""
    assert ledger_path(tmp_path) == tmp_path / "fetches" / "ledger.db"
    assert claims_folder(tmp_path) == tmp_path / "fetches" / "claims"
    roots = {tmp_path / store_key(each) for each in APART if store_key(each) != "."}
    for place, root in itertools.product((ledger_path(tmp_path), claims_folder(tmp_path)), roots):
        assert not place.is_relative_to(root)


@pytest.mark.parametrize("kind", ["files", "breeze"])
def test_real_bars_of_a_kind_share_a_store_whatever_their_folder(
    tmp_path: Path, kind: Literal["files", "breeze"]
) -> None:
    """A comparison needs the kind alone."""
    folder = tmp_path / "anywhere" if kind == "files" else None
    expected = store_at(tmp_path, SourceConfig(kind=kind, folder=folder))
    assert real_store(tmp_path, kind)._layout == expected._layout
