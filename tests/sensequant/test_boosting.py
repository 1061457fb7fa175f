"""Fits are deterministic, silent, safe in threads, and what is saved is what was fitted."""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from typing import Any, cast

import lightgbm
import numpy as np
import polars as pl
import pytest

from sensequant import boosting
from sensequant.booster_config import BoosterConfig
from sensequant.boosting import (
    FittedBooster,
    Floats,
    Objective,
    TrainingData,
    feature_matrix,
    fit_predictor,
    load_booster,
    predict,
    train_booster,
)
from sensequant.errors import ConfigError, DigestMismatchError, InvalidBarsError, RecordError
from sensequant.model_text import read_model_text
from sensequant.native_lightgbm import Booster, LightGBMError

_COLUMNS = tuple(f"feature_{i}" for i in range(6))


def _data(n: int = 200, seed: int = 3) -> TrainingData:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, len(_COLUMNS)))
    features[rng.random(features.shape) < 0.1] = np.nan
    targets = (np.nan_to_num(features[:, 0]) + rng.normal(size=n) > 0).astype(np.float64)
    return TrainingData(features, targets, _COLUMNS)


def _fit(
    n_threads: int = 1, seed: int = 1, n_rounds: int = 30, settings: dict[str, Any] | None = None
) -> FittedBooster:
    return train_booster(
        _data(),
        objective="binary",
        config=BoosterConfig.model_validate(settings or {}),
        seed=seed,
        n_threads=n_threads,
        n_rounds=n_rounds,
    )


@pytest.mark.parametrize("objective", ["binary", "cross_entropy"])
@pytest.mark.parametrize("n_rows", [120, 2500])
def test_threads_change_no_byte(objective: Objective, n_rows: int) -> None:
    """One and four threads write the same text, though LightGBM's own names the threads."""
    texts = {
        train_booster(
            _data(n_rows),
            objective=objective,
            config=BoosterConfig(),
            seed=1,
            n_threads=n_threads,
            n_rounds=5,
        ).model_text
        for n_threads in (1, 2, 4)
    }

    assert len(texts) == 1
    assert "[num_threads: 1]" in texts.pop()


@pytest.mark.parametrize("patience", [0, 5, 50])
@pytest.mark.parametrize("objective", ["binary", "cross_entropy"])
@pytest.mark.parametrize("weighing", ["none", "all one", "different"])
def test_a_fit_is_that_of_lightgbms_own_function(
    objective: Objective, patience: int, weighing: str
) -> None:
    """`lightgbm.train` with the same parameters gives the same text and chooses the same rounds."""
    data, examined = (
        replace(each, weights=_WEIGHTS[weighing](len(each.targets)))
        for each in (_data(), _data(80, seed=4))
    )
    settings = {"n_estimators": 60, "early_stopping_rounds": patience, "learning_rate": 0.2}
    fitted = train_booster(
        data,
        objective=objective,
        config=BoosterConfig.model_validate(settings),
        seed=1,
        n_threads=1,
        validation=examined,
    )

    asked = {name: fitted.parameters[name] for name in _PARAMETERS}
    counts = {"num_iterations": 60, "early_stopping_round": patience}
    parameters = {**asked, **counts, "objective": objective}
    parameters |= {"verbosity": -1, "deterministic": True, "force_col_wise": True}
    train, held_out = (
        lightgbm.Dataset(
            each.features, each.targets, weight=each.weights, feature_name=list(_COLUMNS)
        )
        for each in (data, examined)
    )
    valid_sets = [held_out.set_reference(train)] if patience else []
    oracle = cast("Any", lightgbm).train(parameters, train, valid_sets=valid_sets)
    n_rounds = oracle.best_iteration if patience else oracle.num_trees()
    assert fitted.best_iteration == n_rounds
    assert _trees(fitted.model_text) == _trees(oracle.model_to_string(num_iteration=n_rounds))


_WEIGHTS: dict[str, Callable[[int], Floats | None]] = {
    "none": lambda _: None,
    "all one": np.ones,
    "different": lambda n: np.random.default_rng(n).uniform(0.5, 2.0, n),
}
_PARAMETERS = (
    "bagging_fraction",
    "bagging_freq",
    "feature_fraction",
    "lambda_l2",
    "learning_rate",
    "max_depth",
    "min_data_in_leaf",
    "num_leaves",
    "seed",
)


def _trees(text: str) -> str:
    return text.partition("\nparameters:\n")[0]


def test_equal_inputs_give_equal_bytes_and_another_seed_others() -> None:
    """The seed, and nothing else that is hidden, decides."""
    first, again, other = _fit(), _fit(), _fit(seed=2)

    assert first.model_text == again.model_text
    assert first.sha256 == hashlib.sha256(first.model_text.encode()).hexdigest()
    assert first.model_text != other.model_text


def test_a_loaded_model_predicts_the_same_bits() -> None:
    """Fresh, loaded, one thread or four: the same scores, those of LightGBM itself."""
    fitted = _fit()
    features = _data(seed=9).features
    fresh = predict(fitted.predictor, features, n_threads=4)
    loaded = predict(load_booster(fitted.model_text, sha256=fitted.sha256), features, n_threads=1)
    oracle = lightgbm.Booster(model_str=fitted.model_text).predict(features)

    np.testing.assert_array_equal(fresh, loaded)
    np.testing.assert_array_equal(fresh, np.asarray(oracle))


def test_scores_are_the_sum_of_the_leaves_in_the_text() -> None:
    """By hand: walk every tree of the text for one row, sum the leaves, apply the sigmoid."""
    fitted = _fit(n_rounds=12)
    features = _data(seed=11).features[:20]
    total = np.zeros(len(features))
    for block in fitted.model_text.split("\nTree=")[1:]:
        tree = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        for i, row in enumerate(features):
            total[i] += _leaf(tree, row)

    expected = 1 / (1 + np.exp(-total))
    np.testing.assert_allclose(predict(fitted.predictor, features, n_threads=1), expected, 1e-12)


def _leaf(tree: dict[str, str], row: np.ndarray[Any, Any]) -> float:
    node = 0
    while node >= 0:
        value = row[int(tree["split_feature"].split()[node])]
        kind = int(tree["decision_type"].split()[node])
        missing = np.isnan(value)
        if missing and not kind & 8:
            value, missing = 0.0, False
        goes_left = bool(kind & 2) if missing else value <= float(tree["threshold"].split()[node])
        node = int(tree["left_child" if goes_left else "right_child"].split()[node])
    return float(tree["leaf_value"].split()[-1 - node])


@pytest.mark.parametrize(
    ("setting", "value", "parameter", "written"),
    [
        ("num_leaves", 5, "num_leaves", "5"),
        ("max_depth", 3, "max_depth", "3"),
        ("learning_rate", 0.3, "learning_rate", "0.3"),
        ("min_child_samples", 7, "min_data_in_leaf", "7"),
        ("subsample", 0.5, "bagging_fraction", "0.5"),
        ("bagging_freq", 3, "bagging_freq", "3"),
        ("colsample_bytree", 0.4, "feature_fraction", "0.4"),
        ("reg_lambda", 2.5, "lambda_l2", "2.5"),
    ],
)
def test_every_setting_reaches_the_booster(
    setting: str, value: float, parameter: str, written: str
) -> None:
    """The booster says the setting back, and its trees differ."""
    changed, usual = (
        _fit(settings={"min_child_samples": 5, **settings}) for settings in ({setting: value}, {})
    )

    assert changed.parameters[parameter] == written
    assert read_model_text(changed.model_text).parameters == dict(changed.parameters)
    trees = [text.partition("end of trees")[0] for text in (changed.model_text, usual.model_text)]
    assert trees[0] != trees[1]


def test_rounds_come_from_the_settings_unless_given() -> None:
    """`n_estimators` is the number of rounds; `n_rounds` takes its place."""
    config = BoosterConfig(n_estimators=13)
    fitted = train_booster(_data(), objective="binary", config=config, seed=1, n_threads=1)
    given = train_booster(
        _data(), objective="binary", config=config, seed=1, n_threads=1, n_rounds=4
    )

    assert (fitted.n_trees, fitted.best_iteration, fitted.parameters["num_iterations"]) == (
        13,
        13,
        "13",
    )
    assert given.n_trees == 4


def test_early_stopping_keeps_the_rounds_of_least_validation_loss() -> None:
    """Brute force: the log loss of every prefix of the full model is least at the kept rounds."""
    config = BoosterConfig(n_estimators=300, learning_rate=0.1, early_stopping_rounds=30)
    validation = _data(80, seed=4)
    stopped = train_booster(
        _data(), objective="binary", config=config, seed=1, n_threads=1, validation=validation
    )
    whole = train_booster(_data(), objective="binary", config=config, seed=1, n_threads=1)
    booster = lightgbm.Booster(model_str=whole.model_text)
    losses: list[float] = []
    for n_rounds in range(1, 61):
        scores = np.asarray(booster.predict(validation.features, num_iteration=n_rounds))
        likelihood = np.where(validation.targets == 1, scores, 1 - scores)
        losses.append(float(-np.log(likelihood).mean()))

    assert stopped.best_iteration == int(np.argmin(losses)) + 1 < 60
    assert stopped.n_trees == read_model_text(stopped.model_text).n_trees == stopped.best_iteration
    assert stopped.parameters["early_stopping_round"] == "30"


def test_early_stopping_can_be_off() -> None:
    """With 0 rounds of patience the validation part ends nothing."""
    config = BoosterConfig(n_estimators=40, early_stopping_rounds=0)
    data = _data()
    with_it, without = (
        train_booster(data, objective="binary", config=config, seed=1, n_threads=1, validation=part)
        for part in (_data(80, seed=4), None)
    )

    assert with_it.n_trees == 40
    assert with_it.model_text == without.model_text


def test_soft_targets_are_fitted() -> None:
    """A constant target of 0.3 is learnt as 0.3, which no hard label could say."""
    data = _data()
    soft = TrainingData(data.features, np.full(len(data.targets), 0.3), _COLUMNS)
    predictor = fit_predictor(
        soft, objective="cross_entropy", config=BoosterConfig(), seed=1, n_threads=1, n_rounds=20
    )

    np.testing.assert_allclose(predict(predictor, data.features, n_threads=1), 0.3, atol=1e-3)


def test_a_weight_counts_like_repeated_rows() -> None:
    """A first tree of rows with weight 2 has the base rate of rows that stand there twice."""
    data = _data()
    twice = np.where(data.targets == 1, 2.0, 1.0)
    config = BoosterConfig(min_child_samples=1000)
    predictor = fit_predictor(
        TrainingData(data.features, data.targets, _COLUMNS, weights=twice),
        objective="binary",
        config=config,
        seed=1,
        n_threads=1,
        n_rounds=1,
    )
    expected = (twice * data.targets).sum() / twice.sum()

    np.testing.assert_allclose(predict(predictor, data.features, n_threads=1), expected, rtol=1e-9)


def test_importances_count_the_splits_of_the_text() -> None:
    """Splits and gain per column are those that the trees hold."""
    fitted = _fit()
    splits = dict.fromkeys(_COLUMNS, 0)
    gains = dict.fromkeys(_COLUMNS, 0.0)
    for block in fitted.model_text.split("\nTree=")[1:]:
        tree = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        for feature, gain in zip(
            tree["split_feature"].split(), tree["split_gain"].split(), strict=True
        ):
            splits[_COLUMNS[int(feature)]] += 1
            gains[_COLUMNS[int(feature)]] += float(gain)

    assert dict(fitted.n_splits) == splits
    assert dict(fitted.importance_gain) == pytest.approx(gains, rel=1e-4)


def test_features_that_cannot_be_split_give_one_leaf() -> None:
    """A model without a split says the base rate, and says that it has one tree."""
    fitted = _fit(settings={"min_child_samples": 1000})
    data = _data()

    assert fitted.n_trees == 1
    scores = predict(fitted.predictor, data.features, n_threads=1)
    np.testing.assert_allclose(scores, data.targets.mean(), rtol=1e-9)


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    """Neither fits, loads nor predictions write a line, in whatever thread they run."""

    def work(n_threads: int) -> bytes:
        fitted = _fit(n_threads, settings={"min_child_samples": 90})
        predictor = load_booster(fitted.model_text, sha256=None)
        return predict(predictor, _data().features, n_threads=n_threads).tobytes()

    with ThreadPoolExecutor(2) as pool:
        results = set(pool.map(work, [1, 2, 1, 2]))

    assert len(results) == 1
    assert capfd.readouterr() == ("", "")


def test_many_threads_fit_at_once_as_one_does() -> None:
    """Concurrent fits of different data, with different budgets, do not disturb one another."""

    def work(seed: int) -> str:
        return _fit(n_threads=1 + seed % 3, seed=seed, n_rounds=20).sha256

    alone = [work(seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(work, range(8)))

    assert alone == together


def test_a_forged_text_never_reaches_lightgbm() -> None:
    """The digest is compared first, then the structure."""
    fitted = _fit()
    forged = fitted.model_text.replace("left_child=", "left_child=7", 1)

    with pytest.raises(DigestMismatchError):
        load_booster(forged, sha256=fitted.sha256)
    with pytest.raises(RecordError):
        load_booster(forged, sha256=hashlib.sha256(forged.encode()).hexdigest())


def test_no_rows_have_no_scores() -> None:
    """An empty array is scored as such."""
    assert predict(_fit().predictor, np.empty((0, 6)), n_threads=1).shape == (0,)


def test_infinite_features_are_refused_by_name() -> None:
    """Infinity is an error of the bars, at training and at scoring alike."""
    features = _data().features.copy()
    features[3, 2] = np.inf

    with pytest.raises(InvalidBarsError, match="feature_2"):
        predict(_fit().predictor, features, n_threads=1)
    with pytest.raises(InvalidBarsError, match="feature_2"):
        TrainingData(features, _data().targets, _COLUMNS)


@pytest.mark.parametrize(
    "changes",
    [
        {"targets": np.zeros(3)},
        {"targets": np.full(200, np.nan)},
        {"targets": np.full(200, 1.5)},
        {"weights": np.ones(3)},
        {"weights": np.zeros(200)},
        {"weights": np.full(200, np.nan)},
        {"columns": ("one",)},
        {"columns": ("a", "a", "b", "c", "d", "e")},
        {"columns": ("a b", "x", "b", "c", "d", "e")},
        {"features": np.zeros(200)},
    ],
)
def test_training_data_that_do_not_fit_are_refused(changes: dict[str, Any]) -> None:
    """Shapes, ranges and names are checked before anything is fitted."""
    data = _data()
    fields: dict[str, Any] = {
        "features": data.features,
        "targets": data.targets,
        "columns": data.columns,
    }

    with pytest.raises(ConfigError):
        TrainingData(**{**fields, **changes})


def test_soft_targets_need_the_other_objective(capfd: pytest.CaptureFixture[str]) -> None:
    """A target between 0 and 1 is refused for `binary` before LightGBM could print about it."""
    data = _data()
    soft = TrainingData(data.features, data.targets * 0.5, _COLUMNS)

    with pytest.raises(ConfigError, match="cross_entropy"):
        fit_predictor(soft, objective="binary", config=BoosterConfig(), seed=1, n_threads=1)

    assert capfd.readouterr() == ("", "")


def test_what_lightgbm_refuses_is_a_config_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of LightGBM becomes one of ours, with LightGBM's words and as its cause."""

    def refuse(*_: object) -> bool:
        message = "out of device memory"
        raise LightGBMError(message)

    monkeypatch.setattr(Booster, "update", refuse)

    with pytest.raises(ConfigError, match="out of device memory") as caught:
        _fit()

    assert isinstance(caught.value.__cause__, LightGBMError)


def test_a_feature_matrix_is_by_name_with_nan_for_null() -> None:
    """Order is that of the names asked for, whatever the frame's; integers become floats."""
    frame = pl.DataFrame({"b": [1, None], "a": [0.5, 2.5], "text": ["x", "y"]})

    matrix = feature_matrix(frame, ["a", "b"])

    np.testing.assert_array_equal(matrix, [[0.5, 1.0], [2.5, np.nan]])
    assert matrix.flags.c_contiguous
    with pytest.raises(RecordError, match="vwap"):
        feature_matrix(frame, ["a", "vwap"])


@pytest.mark.parametrize(
    "values",
    [[0.5, None], [3, 2**53 + 1], [True, False], ["1.5", "-2"], [date(2024, 1, 2), None]],
    ids=lambda values: type(values[0]).__name__,
)
def test_one_row_is_read_as_among_many(values: list[object]) -> None:
    """A single row goes another way, and says the same to the last bit, whatever its types."""
    frame = pl.DataFrame({"a": values, "b": [0.1 + 0.2, float("nan")]})
    many = feature_matrix(frame, ["b", "a"])

    for number, row in enumerate(many):
        np.testing.assert_array_equal(feature_matrix(frame[number], ["b", "a"]), row[None])


def _asked_of_lightgbm(monkeypatch: pytest.MonkeyPatch, config: BoosterConfig) -> dict[str, Any]:
    seen: dict[str, Any] = {}

    text = _fit(n_rounds=2).model_text

    def boost(parameters: dict[str, Any], *_: object) -> tuple[Booster, int]:
        seen.update(parameters)
        return Booster.read(text), 2

    def work(config: BoosterConfig) -> str:
        return config.device

    monkeypatch.setattr(boosting, "resolve_device", work)
    monkeypatch.setattr(boosting, "_boost", boost)
    fit_predictor(_data(), objective="binary", config=config, seed=1, n_threads=1)
    return seen


def test_gpu_settings_reach_lightgbm(monkeypatch: pytest.MonkeyPatch) -> None:
    """On an OpenCL device all three settings are handed over, with column-wise histograms."""
    config = BoosterConfig(device="gpu", gpu_device_id=1, gpu_platform_id=0, gpu_use_dp=False)

    asked = _asked_of_lightgbm(monkeypatch, config)

    assert asked["device_type"] == "gpu"
    assert (asked["gpu_device_id"], asked["gpu_platform_id"], asked["gpu_use_dp"]) == (1, 0, False)
    assert asked["force_col_wise"]


def test_cuda_settings_reach_lightgbm(monkeypatch: pytest.MonkeyPatch) -> None:
    """On CUDA sums are in double precision unless asked otherwise, in row-wise histograms."""
    asked = _asked_of_lightgbm(monkeypatch, BoosterConfig(device="cuda", gpu_device_id=1))

    assert (asked["device_type"], asked["gpu_device_id"], asked["gpu_use_dp"]) == ("cuda", 1, True)
    assert asked["force_row_wise"]
    assert not {"force_col_wise", "gpu_platform_id"} & set(asked)
