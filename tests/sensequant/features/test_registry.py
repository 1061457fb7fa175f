"""Which features exist, and which of them a model is fed."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from sensequant.features.registry import (
    FeatureConfig,
    computing_stages,
    model_columns,
    registered_features,
)
from sensequant.features.spec import Family

CLASSIC_NAMES = {
    "sma_20", "sma_50", "ema_12", "ema_26", "rsi_14", "atr_14", "vwap", "bb_upper", "bb_middle",
    "bb_lower", "macd_line", "macd_signal", "macd_histogram", "adx_14", "obv",
}  # fmt: skip


def test_the_fifteen_classic_names_exist() -> None:
    """The indicator names that users know are all registered, and only they are classic."""
    assert {spec.name for spec in registered_features() if spec.is_classic} == CLASSIC_NAMES


def test_classic_levels_alone_feed_the_fifteen() -> None:
    """Without scale-free forms the matrix is the fifteen columns."""
    config = FeatureConfig(scale_free=False, classic_levels=True)

    assert set(model_columns(config)) == CLASSIC_NAMES


def test_the_default_feeds_no_level() -> None:
    """By default every column that a model is fed compares between symbols and over time."""
    scale_free = {spec.name for spec in registered_features() if spec.is_scale_free}

    assert set(model_columns(FeatureConfig())) == scale_free


def test_names_are_unique_and_specifications_complete() -> None:
    """Every feature has one name and says its unit, formula and source."""
    specs = registered_features()

    assert len({spec.name for spec in specs}) == len(specs)
    assert all(spec.unit and spec.formula and spec.source for spec in specs)
    assert all(spec.warmup_bars >= 0 for spec in specs)
    assert all(spec.is_scale_free or spec.is_classic for spec in specs)


@pytest.mark.parametrize("family", list(Family))
def test_each_family_flag_removes_its_columns_and_no_others(family: Family) -> None:
    """A family that is switched off leaves the matrix; the order of the rest stays."""
    everything = FeatureConfig(classic_levels=True)
    without = everything.model_copy(update={family.value: False})
    expected = tuple(spec.name for spec in registered_features() if spec.family != family)

    assert model_columns(without) == expected
    assert len(expected) < len(model_columns(everything))


@pytest.mark.parametrize(
    "flags",
    [
        {"scale_free": False},
        {"trend": False, "momentum": False, "volatility": False, "volume": False},
    ],
    ids=["no form", "no family"],
)
def test_a_configuration_without_columns_is_refused(flags: dict[str, bool]) -> None:
    """A model cannot be fed nothing."""
    with pytest.raises(ValidationError, match="no feature is left"):
        FeatureConfig(**flags)


def test_stages_compute_every_feature_from_earlier_columns() -> None:
    """No stage needs a column of its own or of a later stage."""
    known = {"open", "high", "low", "close", "volume"}
    for stage in computing_stages():
        for column in stage:
            assert known.issuperset(column.meta.root_names())
        known |= {column.meta.output_name() for column in stage}

    assert known.issuperset(spec.name for spec in registered_features())


def test_every_feature_is_described_in_the_methods() -> None:
    """The page on features holds the row that the registry would write, for every feature."""
    page = (Path(__file__).parents[3] / "docs/methods/features.md").read_text(encoding="utf-8")
    for spec in registered_features():
        row = f"| {spec.warmup_bars} | {spec.unit} | {spec.formula} | {spec.source} |"
        lines = [line for line in page.splitlines() if line.startswith(f"| `{spec.name}` |")]

        assert len(lines) == 1
        assert lines[0].endswith(row)
