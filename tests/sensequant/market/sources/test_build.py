"""Facts about the choice of a source."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sensequant.errors import ConfigError
from sensequant.market.sources.breeze.config import BreezeConfig
from sensequant.market.sources.build import SourceConfig, SourceKind, build_source
from sensequant.market.sources.simulated import SimulatedConfig


def test_the_default_is_a_simulated_market() -> None:
    """Without settings the market is simulated and says so."""
    source = build_source(SourceConfig())

    assert (source.name, source.is_simulated) == ("simulated", True)
    assert len(source.symbols()) == SimulatedConfig().n_symbols


def test_settings_of_the_simulation_are_used() -> None:
    """The nested settings reach the source."""
    config = SourceConfig(simulated=SimulatedConfig(n_symbols=5))

    assert build_source(config).symbols() == ("SIM01", "SIM02", "SIM03", "SIM04", "SIM05")


def test_files_are_read_from_their_places(tmp_path: Path) -> None:
    """Folder, index folder and actions reach the source."""
    folder, indices = tmp_path / "bars", tmp_path / "elsewhere"
    folder.mkdir()
    indices.mkdir()
    (folder / "TCS.csv").write_text("opened when it is fetched")
    (indices / "NIFTY50.csv").write_text("Date,Open,High,Low,Close,Volume\n")
    config = SourceConfig(kind="files", folder=folder, index_folder=indices)

    source = build_source(config)

    assert (source.name, source.is_simulated) == ("files", False)
    assert (source.symbols(), source.indices()) == (("TCS",), ("NIFTY50",))
    with pytest.raises(ConfigError, match="nowhere"):
        build_source(config.model_copy(update={"actions_path": tmp_path / "nowhere"}))


@pytest.mark.parametrize(
    "settings",
    [
        {"folder": "x"},
        {"index_folder": "x"},
        {"actions_path": "x"},
        {"kind": "files", "folder": "x", "simulated": {}},
        {"kind": "files"},
        {"kind": "bloomberg"},
        {"kind": "breeze", "folder": "x"},
        {"kind": "breeze", "simulated": {}},
        {"kind": "breeze", "credentials_block": "a block"},
        {"kind": "breeze-simulator", "folder": "x", "simulated": {}},
        {"kind": "breeze-simulator", "credentials_block": "breeze"},
        {"n_symbols": 3},
    ],
    ids=str,
)
def test_settings_that_do_not_apply_are_refused(settings: dict[str, Any]) -> None:
    """A setting without effect is an error, not a silent nothing."""
    with pytest.raises(ValidationError):
        SourceConfig.model_validate(settings)


@pytest.mark.parametrize(
    "config",
    [
        SourceConfig(),
        SourceConfig(kind="files", folder=Path("x")),
        SourceConfig(kind="breeze", credentials_block="mine"),
        SourceConfig(kind="breeze-simulator", breeze=BreezeConfig(calls_per_minute=80)),
    ],
    ids=lambda config: config.kind,
)
def test_settings_survive_json(config: SourceConfig) -> None:
    """What is written down can be read again."""
    assert SourceConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("config", "is_vendor", "is_simulated"),
    [
        (SourceConfig(), False, True),
        (SourceConfig(kind="files", folder=Path("x")), False, False),
        (SourceConfig(kind="breeze"), True, False),
        (SourceConfig(kind="breeze-simulator"), True, True),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_a_kind_tells_who_delivers_and_whether_it_is_real(
    config: SourceConfig, *, is_vendor: bool, is_simulated: bool
) -> None:
    """What comes through the vendor's SDK needs a login; what is made up is marked."""
    assert (config.is_vendor, config.is_simulated) == (is_vendor, is_simulated)


@pytest.mark.parametrize("kind", ["breeze", "breeze-simulator"])
def test_a_vendor_is_not_built_from_settings_alone(kind: SourceKind) -> None:
    """It needs a login and a pace, which are opened elsewhere."""
    with pytest.raises(ConfigError, match="needs a login and a pace"):
        build_source(SourceConfig(kind=kind))
