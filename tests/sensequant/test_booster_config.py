"""Which settings of a booster are refused because they would act on nothing."""

import pytest
from pydantic import ValidationError

from sensequant.booster_config import BoosterConfig


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"bagging_freq": 0}, "subsample"),
        ({"subsample": 1.0, "bagging_freq": 5}, "bagging_freq"),
        ({"max_depth": 0}, "max_depth"),
        ({"gpu_platform_id": 0}, "gpu_platform_id"),
        ({"gpu_device_id": 1}, "gpu_device_id"),
        ({"gpu_use_dp": False}, "gpu_use_dp"),
        ({"device": "cuda", "gpu_platform_id": 0}, "gpu_platform_id"),
        ({"num_leaves": 1}, "num_leaves"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"n_estimators": 9}, "n_estimators"),
        ({"device": "tpu"}, "device"),
        ({"trees": 7}, "trees"),
    ],
)
def test_settings_without_effect_or_out_of_bounds_are_refused(
    settings: dict[str, object], named: str
) -> None:
    """The refusal names the setting."""
    with pytest.raises(ValidationError, match=named):
        BoosterConfig.model_validate(settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"device": "cuda", "gpu_device_id": 1},
        {"device": "cuda", "gpu_use_dp": False},
        {"device": "gpu", "gpu_device_id": 1, "gpu_platform_id": 0, "gpu_use_dp": False},
        {"device": "auto", "gpu_device_id": 1},
        {"subsample": 1.0},
        {"subsample": 1.0, "bagging_freq": 0},
        {"max_depth": -1},
    ],
)
def test_settings_that_act_are_taken(settings: dict[str, object]) -> None:
    """GPU settings belong to GPU devices; sampling may be off."""
    assert BoosterConfig.model_validate(settings)


@pytest.mark.parametrize(
    ("settings", "n_rows"),
    [
        ({}, 50),
        ({"subsample": 1.0}, 40),
        ({"subsample": 1.0, "bagging_freq": 0, "min_child_samples": 3}, 6),
        ({"subsample": 0.3, "min_child_samples": 1}, 7),
    ],
)
def test_smallest_training_part_holds_two_leaves_after_bagging(
    settings: dict[str, object], n_rows: int
) -> None:
    """By hand: ceil(2 * 20 / 0.8) = 50, 2 * 20 / 1 = 40, 2 * 3 = 6, ceil(2 / 0.3) = 7."""
    assert BoosterConfig.model_validate(settings).smallest_training_part == n_rows
