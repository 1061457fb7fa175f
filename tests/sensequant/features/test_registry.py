"""Which features exist, and which of them a model is fed."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from sensequant.features.registry import (
    FeatureConfig,
    describe_features,
    fed_families,
    model_columns,
    plan_for,
    registered_features,
)
from sensequant.features.spec import Family

CLASSIC_NAMES = {
    "sma_20", "sma_50", "ema_12", "ema_26", "rsi_14", "atr_14", "vwap", "bb_upper", "bb_middle",
    "bb_lower", "macd_line", "macd_signal", "macd_histogram", "adx_14", "obv",
}  # fmt: skip

EVERYTHING = FeatureConfig(
    classic_levels=True,
    gaps=True,
    calendar=True,
    delivery=True,
    market_context=True,
    ranks=True,
    levels=True,
    depth=True,
    sentiment=True,
    macro=True,
    options=True,
    regimes=True,
)
DEFAULTS = {Family.TREND, Family.MOMENTUM, Family.VOLATILITY, Family.VOLUME, Family.LISTING}


def test_the_fifteen_classic_names_exist() -> None:
    """The indicator names that users know are all registered, and only they are classic."""
    assert {spec.name for spec in registered_features() if spec.is_classic} == CLASSIC_NAMES


def test_classic_levels_alone_feed_the_fifteen() -> None:
    """Without scale-free forms the matrix is the fifteen columns."""
    config = FeatureConfig(scale_free=False, classic_levels=True)

    assert set(model_columns(config)) == CLASSIC_NAMES


def test_the_default_feeds_no_level() -> None:
    """By default every column compares between symbols and over time; new families are off."""
    expected = {
        spec.name
        for spec in registered_features()
        if spec.is_scale_free and spec.family in DEFAULTS
    }

    assert set(model_columns(FeatureConfig())) == expected
    assert fed_families(FeatureConfig()) == DEFAULTS


def test_the_default_matrix_is_pinned() -> None:
    """What a model is fed by default keeps its order: thirty columns, then the listing."""
    columns = model_columns(FeatureConfig())

    assert len(columns) == 31
    assert columns[0] == "adx_14"
    assert columns[-2:] == ("volume_ratio_20", "post_listing_sessions")


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
    without = EVERYTHING.model_copy(update={family.value: False})
    expected = tuple(spec.name for spec in registered_features() if spec.family != family)

    assert model_columns(without) == expected
    assert len(expected) < len(model_columns(EVERYTHING))
    assert fed_families(without) == set(Family) - {family}


@pytest.mark.parametrize(
    "flags",
    [
        {"scale_free": False},
        dict.fromkeys(family.value for family in DEFAULTS) | {"listing": False},
    ],
    ids=["no form", "no family"],
)
def test_a_configuration_without_columns_is_refused(flags: dict[str, bool | None]) -> None:
    """A model cannot be fed nothing."""
    with pytest.raises(ValidationError, match="no feature is left"):
        FeatureConfig.model_validate({name: bool(value) for name, value in flags.items()})


@pytest.mark.parametrize("family", sorted(set(Family) - DEFAULTS))
def test_a_family_without_a_form_is_refused(family: Family) -> None:
    """A family that is asked for and would feed nothing is refused by name, not left out."""
    flags = {"scale_free": False, "classic_levels": True, family.value: True}

    with pytest.raises(ValidationError, match=f"features.{family.value}.*switch scale_free on"):
        FeatureConfig.model_validate(flags)


def test_a_plan_computes_every_feature_from_earlier_columns() -> None:
    """No stage needs a column of its own or of a later stage."""
    plan = plan_for(model_columns(EVERYTHING))
    known = {"session", "open", "high", "low", "close", "volume", "delivered_volume", "_history"}
    known |= {name for table in plan.tables for name in table.columns}
    for stage in plan.stages:
        for column in stage:
            assert known.issuperset(column.meta.root_names())
        known |= {column.meta.output_name() for column in stage}

    assert known.issuperset(spec.name for spec in registered_features())


def test_a_plan_leaves_out_what_nobody_needs() -> None:
    """A return needs one column and no table; its rank needs the return."""
    alone, ranked = plan_for(["return_5"]), plan_for(["rank_return_5"])

    assert alone.tables == ranked.tables == ()
    assert [[column.meta.output_name() for column in stage] for stage in alone.stages] == [
        ["return_5"]
    ]
    assert [[column.meta.output_name() for column in stage] for stage in ranked.stages] == [
        ["return_5"],
        ["rank_return_5"],
    ]


def test_the_description_is_the_registry() -> None:
    """One row per feature, in the order of the matrix; fed are exactly the model's columns."""
    described = describe_features(FeatureConfig(levels=True))

    assert described.columns == [
        "family", "column", "warmup_bars", "unit", "formula", "source", "is_fed",
    ]  # fmt: skip
    assert tuple(described["column"]) == tuple(spec.name for spec in registered_features())
    fed = tuple(described.filter("is_fed")["column"])
    assert fed == model_columns(FeatureConfig(levels=True))
    assert "pivot_high_to_close" in fed


def test_every_feature_is_described_in_the_methods() -> None:
    """The page on features holds the row that the registry would write, for every feature."""
    page = (Path(__file__).parents[3] / "docs/methods/features.md").read_text(encoding="utf-8")
    for spec in registered_features():
        row = f"| {spec.warmup_bars} | {spec.unit} | {spec.formula} | {spec.source} |"
        lines = [line for line in page.splitlines() if line.startswith(f"| `{spec.name}` |")]

        assert len(lines) == 1
        assert lines[0].endswith(row)
