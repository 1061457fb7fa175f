"""Gradient boosting: what is asked of LightGBM, and what comes back.

Belongs here: fitting, and saving and loading as text. Does not belong here: the calls into the
library (`native_lightgbm`, which nothing else uses), the settings (`booster_config`), the device
that a fit runs on (`devices`), what is learnt from which rows (`teacher`, `student`), and the check
of a text before LightGBM may see it (`model_text`).

Conventions: features are a float64 array of shape (n_rows, n_columns) in which NaN means missing;
infinity is refused. Fits are deterministic: `deterministic=true` with histograms built column by
column gives the same trees for any number of threads, and the one line of the text that names the
number of threads is written with a fixed value. LightGBM prints nothing: it runs at verbosity -1.

Source: Ke et al. (2017), "LightGBM: a highly efficient gradient boosting decision tree".
"""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from sensequant.booster_config import BoosterConfig
from sensequant.booster_device import resolve_device
from sensequant.errors import ConfigError, InvalidBarsError, RecordError
from sensequant.model_text import read_model_text, verify_digest
from sensequant.native_lightgbm import Booster, Dataset, LightGBMError

__all__ = [
    "FittedBooster",
    "Floats",
    "Objective",
    "Predictor",
    "TrainingData",
    "check_features",
    "feature_matrix",
    "fit_predictor",
    "load_booster",
    "predict",
    "split_counts",
    "train_booster",
]

Floats = npt.NDArray[np.float64]
"""A float64 array."""

Objective = Literal["binary", "cross_entropy"]

_COLUMN_NAME = re.compile(r"[A-Za-z0-9_.]+")
_THREADS_LINE = re.compile(r"^\[num_threads: \d+\]$", flags=re.MULTILINE)


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Rows to learn from.

    Parameters
    ----------
    features
        Shape (n_rows, n_columns); NaN is missing.
    targets
        Shape (n_rows,); 0 or 1 for `binary`, in [0, 1] for `cross_entropy`.
    columns
        Names of the columns of `features`; letters, digits, underscore and dot.
    weights
        Shape (n_rows,), positive; None for equal weights.
    """

    features: Floats
    targets: Floats
    columns: tuple[str, ...]
    weights: Floats | None = None

    def __post_init__(self) -> None:
        check_features(self.features, columns=self.columns)
        for name, values in (("targets", self.targets), ("weights", self.weights)):
            if values is not None and values.shape != (len(self.features),):
                raise ConfigError(
                    f"{name} do not fit the features",
                    expected=f"shape ({len(self.features)},)",
                    found=f"shape {values.shape}",
                )
        if not ((self.targets >= 0) & (self.targets <= 1)).all():
            raise ConfigError(
                "targets are outside [0, 1]", remedy="drop rows without a label first"
            )
        if self.weights is not None and not (np.isfinite(self.weights) & (self.weights > 0)).all():
            raise ConfigError("weights are not all finite and positive")
        _check_names(self.columns)

    def take(self, indices: npt.NDArray[np.int64]) -> "TrainingData":
        """Return the rows at the given positions, in their order."""
        weights = None if self.weights is None else self.weights[indices]
        return TrainingData(self.features[indices], self.targets[indices], self.columns, weights)


@dataclass(frozen=True, slots=True)
class Predictor:
    """A model ready to score rows; safe to share between threads."""

    columns: tuple[str, ...]
    n_rounds: int
    booster: Booster


@dataclass(frozen=True, slots=True)
class FittedBooster:
    """A fitted model with what it says about itself.

    Attributes
    ----------
    model_text
        LightGBM's own text, the same bytes for any number of threads.
    sha256
        Of the text's bytes.
    best_iteration
        Rounds kept: those of the least validation loss, or all that were asked for.
    n_trees
        Trees in the text; fewer than `best_iteration` if no further split was possible.
    parameters
        Every parameter as the booster wrote it.
    importance_gain, n_splits
        Per column name, in the order of the columns: total gain and count of splits.
    predictor
        The same model, ready to score without reading the text again.
    """

    model_text: str
    sha256: str
    best_iteration: int
    n_trees: int
    parameters: Mapping[str, str]
    importance_gain: Mapping[str, float]
    n_splits: Mapping[str, int]
    predictor: Predictor


def feature_matrix(frame: pl.DataFrame, columns: Sequence[str]) -> Floats:
    """Return the columns, by name and in this order, as float64 with NaN for null.

    Raises
    ------
    RecordError
        A column is missing; the message names it.
    """
    missing = sorted(set(columns) - set(frame.columns))
    if missing:
        raise RecordError(
            "feature columns are missing",
            where=", ".join(missing),
            expected=f"{len(columns)} columns by name",
            found=f"{len(columns) - len(missing)} of them",
            remedy="build the features with the configuration that the model was trained with",
        )
    if frame.height == 1:
        row = dict(zip(frame.columns, frame.row(0), strict=True))
        values = [row[name] for name in columns]
        # Polars hands even one row to its threads, which takes longer than all that scores it.
        if {type(value) for value in values} <= {float, type(None)}:
            return np.array([values], dtype=np.float64)
    # Taking columns is ten times as fast as selecting them.
    chosen = frame[list(columns)]
    typed = chosen if set(chosen.dtypes) <= {pl.Float64} else chosen.cast(pl.Float64)
    return np.ascontiguousarray(typed.to_numpy(), dtype=np.float64)


def check_features(features: Floats, *, columns: tuple[str, ...]) -> None:
    """Refuse another number of columns (ConfigError) and infinity (InvalidBarsError)."""
    if features.ndim != 2 or features.shape[1] != len(columns):  # noqa: PLR2004 - rows and columns
        raise ConfigError(
            "features do not fit the model's columns",
            expected=f"shape (n_rows, {len(columns)})",
            found=f"shape {features.shape}",
        )
    if np.isinf(features).any():
        names = [columns[i] for i in np.flatnonzero(np.isinf(features).any(axis=0))]
        raise InvalidBarsError(
            "features are infinite",
            where=", ".join(names),
            expected="finite numbers, or NaN for missing",
            remedy="check the bars for zero prices and volumes",
        )


def fit_predictor(
    data: TrainingData,
    *,
    objective: Objective,
    config: BoosterConfig,
    seed: int,
    n_threads: int,
    validation: TrainingData | None = None,
    n_rounds: int | None = None,
) -> Predictor:
    """Fit a model that is used at once and not kept, as in cross-fitting.

    Parameters
    ----------
    data
        Rows to learn from.
    objective
        `binary` for hard labels, `cross_entropy` for targets in [0, 1].
    config
        Settings.
    seed
        Of bagging and column sampling, in [0, 2**31).
    n_threads
        Threads of this fit; the caller's budget, at least 1.
    validation
        Rows whose loss ends the fit early, if `config.early_stopping_rounds` is not 0.
    n_rounds
        Rounds instead of `config.n_estimators`.

    Raises
    ------
    ConfigError
        Settings, targets or names that LightGBM cannot take; a device that it does not have.
    """
    if objective == "binary" and not np.isin(data.targets, (0.0, 1.0)).all():
        raise ConfigError("binary targets are not all 0 or 1", remedy="use cross_entropy")
    parameters = _parameters(config, objective=objective, seed=seed, n_threads=n_threads)
    parameters["num_iterations"] = config.n_estimators if n_rounds is None else n_rounds
    patience = 0 if validation is None else config.early_stopping_rounds
    if patience:
        parameters["early_stopping_round"] = patience
    try:
        booster, rounds = _boost(parameters, data, validation if patience else None)
    except LightGBMError as error:
        raise ConfigError("LightGBM refused to fit", found=str(error)) from error
    return Predictor(columns=data.columns, n_rounds=max(1, rounds), booster=booster)


def train_booster(
    data: TrainingData,
    *,
    objective: Objective,
    config: BoosterConfig,
    seed: int,
    n_threads: int,
    validation: TrainingData | None = None,
    n_rounds: int | None = None,
) -> FittedBooster:
    """Fit a model to keep; parameters and errors as `fit_predictor`."""
    predictor = fit_predictor(
        data,
        objective=objective,
        config=config,
        seed=seed,
        n_threads=n_threads,
        validation=validation,
        n_rounds=n_rounds,
    )
    return _describe(predictor)


def load_booster(model_text: str, *, sha256: str | None) -> Predictor:
    """Load a model from its text, once its digest and its structure are verified.

    Parameters
    ----------
    model_text
        Text that `train_booster` returned.
    sha256
        Digest that a manifest promises for it; None if there is none to compare with.

    Raises
    ------
    DigestMismatchError
        The text is not the one that the digest names.
    RecordError
        The text has no sound structure; LightGBM never sees it.
    """
    if sha256 is not None:
        verify_digest(model_text, sha256=sha256)
    structure = read_model_text(model_text)
    booster = Booster.read(model_text)
    return Predictor(columns=structure.columns, n_rounds=structure.n_trees, booster=booster)


def predict(predictor: Predictor, features: Floats, *, n_threads: int) -> Floats:
    """Return the score of each row: shape (n_rows,), in [0, 1].

    Parameters
    ----------
    predictor
        From `load_booster` or `FittedBooster.predictor`; both give the same bits.
    features
        Shape (n_rows, n_columns) in the order of `predictor.columns`; NaN is missing.
    n_threads
        Threads to use, at least 1.

    Raises
    ------
    ConfigError
        The array has another number of columns.
    InvalidBarsError
        A feature is infinite.
    """
    check_features(features, columns=predictor.columns)
    if not len(features):
        return np.empty(0, dtype=np.float64)
    return predictor.booster.predict(features, n_rounds=predictor.n_rounds, n_threads=n_threads)


def split_counts(predictor: Predictor) -> npt.NDArray[np.int64]:
    """Return how many splits use each column, shape (n_columns,)."""
    return _importance(predictor, "split").astype(np.int64)


def _parameters(
    config: BoosterConfig, *, objective: Objective, seed: int, n_threads: int
) -> dict[str, Any]:
    device = resolve_device(config)
    parameters: dict[str, Any] = {
        "objective": objective,
        "device_type": device,
        "num_leaves": config.num_leaves,
        "max_depth": config.max_depth,
        "learning_rate": config.learning_rate,
        "min_data_in_leaf": config.min_child_samples,
        "bagging_fraction": config.subsample,
        "bagging_freq": config.bagging_freq,
        "feature_fraction": config.colsample_bytree,
        "lambda_l2": config.reg_lambda,
        "seed": seed,
        "deterministic": True,
        "num_threads": n_threads,
        "verbosity": -1,
        # CUDA knows row-wise histograms only; else column-wise, whose sums no thread count changes.
        "force_row_wise" if device == "cuda" else "force_col_wise": True,
    }
    if device != "cpu":
        parameters["gpu_device_id"] = config.gpu_device_id
        parameters["gpu_use_dp"] = config.gpu_use_dp
    if device == "gpu":
        parameters["gpu_platform_id"] = config.gpu_platform_id
    return parameters


def _boost(
    parameters: dict[str, Any], data: TrainingData, validation: TrainingData | None
) -> tuple[Booster, int]:
    # What the package's `train` does, round by round. Whether a round found a split is not asked:
    # the next one draws other rows.
    train = _dataset(data, parameters)
    if validation is None:
        booster = Booster.begin(parameters, train)
        for _ in range(parameters["num_iterations"]):
            booster.update()
        return booster, booster.n_trees()
    booster = Booster.begin(parameters, train, _dataset(validation, parameters, reference=train))
    loss_of_validation = booster.loss_of_validation()
    least, best = math.inf, 0
    for number in range(1, parameters["num_iterations"] + 1):
        booster.update()
        loss = loss_of_validation()
        if loss < least or not best:
            least, best = loss, number
        elif number - best >= parameters["early_stopping_round"]:
            break
    return booster, best


def _dataset(
    data: TrainingData, parameters: dict[str, Any], *, reference: Dataset | None = None
) -> Dataset:
    return Dataset(
        data.features,
        data.targets,
        weights=data.weights,
        columns=data.columns,
        parameters=parameters,
        reference=reference,
    )


def _importance(predictor: Predictor, kind: Literal["split", "gain"]) -> Floats:
    n_columns = len(predictor.columns)
    return predictor.booster.importance(kind, n_rounds=predictor.n_rounds, n_columns=n_columns)


def _describe(predictor: Predictor) -> FittedBooster:
    booster, rounds = predictor.booster, predictor.n_rounds
    text = _THREADS_LINE.sub("[num_threads: 1]", booster.text(n_rounds=rounds))
    gain = _importance(predictor, "gain").tolist()
    splits = split_counts(predictor).tolist()
    tail = text.partition("\nparameters:\n")[2].partition("\nend of parameters\n")[0]
    pairs = (line[1:-1].partition(": ") for line in tail.splitlines() if line)
    return FittedBooster(
        model_text=text,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        best_iteration=rounds,
        n_trees=min(rounds, booster.n_trees()),
        parameters=MappingProxyType({name: value for name, _, value in pairs}),
        importance_gain=MappingProxyType(dict(zip(predictor.columns, gain, strict=True))),
        n_splits=MappingProxyType(dict(zip(predictor.columns, splits, strict=True))),
        predictor=predictor,
    )


def _check_names(columns: tuple[str, ...]) -> None:
    wrong = [name for name in columns if not _COLUMN_NAME.fullmatch(name)]
    if wrong or len(set(columns)) != len(columns) or not columns:
        raise ConfigError(
            "columns cannot be named in a model",
            where=", ".join(wrong),
            expected="at least one, each once, of letters, digits, underscore and dot",
        )
