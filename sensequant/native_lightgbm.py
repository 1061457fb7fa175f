"""LightGBM's own library, called by its public interface in C, without its Python package.

Belongs here: datasets and boosters in the library's memory, and the calls on them. Does not belong
here: anything that is decided about a fit (`boosting`).

The package does in Python what a fit of a hundred rows does not need (guesses at the kind of its
input, copies of the settings, figures by name): more than a third of the time of such a fit, in
which it holds the interpreter's lock. It also loads scikit-learn and pandas wherever they are
installed, two thirds of the time and 120 MiB of every process that trains. The library is the same,
and so are the trees (`tests/sensequant/test_boosting.py`).

Source: `LightGBM/c_api.h` of LightGBM 4.
"""

import ctypes
from collections.abc import Callable, Mapping
from ctypes import byref, c_char_p, c_double, c_int, c_int32, c_int64, c_void_p
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

__all__ = ["Booster", "Dataset", "LightGBMError"]

_Floats = npt.NDArray[np.float64]

_FLOAT32, _FLOAT64 = 0, 1
_ROW_MAJOR = 1
_NORMAL_PREDICTION = 0
_FIRST_VALIDATION = 1
_IMPORTANCE = {"split": 0, "gain": 1}
_TEXT_BYTES = 1 << 20
# The package ends a text so, and expects it; this is what it writes where there was no pandas.
_END_OF_TEXT = "\npandas_categorical:null\n"


class LightGBMError(Exception):
    """The library refused; the message is its own."""


def _load() -> ctypes.CDLL:
    package = find_spec("lightgbm")
    if package is None or package.origin is None:
        message = "lightgbm is not installed"
        raise ModuleNotFoundError(message, name="lightgbm")
    folder = Path(package.origin).parent
    found = sorted([*folder.glob("lib/lib_lightgbm.*"), *folder.glob("bin/lib_lightgbm.*")])
    if not found:
        message = f"no lib_lightgbm below {folder}"
        raise ImportError(message, name="lightgbm")
    return ctypes.CDLL(str(found[0]))


_library: Any = _load()
_library.LGBM_GetLastError.restype = c_char_p


def _check(status: int) -> None:
    if status:
        raise LightGBMError(_library.LGBM_GetLastError().decode())


class Dataset:
    """Rows in the library's memory, in bins; freed with this object.

    Parameters
    ----------
    features
        Shape (n_rows, n_columns); NaN is missing.
    targets
        Shape (n_rows,).
    weights
        Shape (n_rows,); None for equal weights.
    columns
        Names of the columns.
    parameters
        Of the fit; columns that no leaf could be split on are left out already here.
    reference
        Whose bins to take; None to make bins from these rows.
    """

    def __init__(
        self,
        features: _Floats,
        targets: _Floats,
        *,
        weights: _Floats | None,
        columns: tuple[str, ...],
        parameters: Mapping[str, Any],
        reference: "Dataset | None" = None,
    ) -> None:
        self.handle = c_void_p()
        matrix = np.ascontiguousarray(features, dtype=np.float64)
        _check(
            _library.LGBM_DatasetCreateFromMat(
                c_void_p(matrix.ctypes.data),
                c_int(_FLOAT64),
                *map(c_int32, matrix.shape),
                c_int(_ROW_MAJOR),
                _as_text(parameters),
                None if reference is None else reference.handle,
                byref(self.handle),
            )
        )
        self._set_field(b"label", targets)
        # The library takes another way with weights; the package spares it where all are one.
        if weights is not None and not (weights == 1).all():
            self._set_field(b"weight", weights)
        names = _as_names(columns)
        _check(_library.LGBM_DatasetSetFeatureNames(self.handle, names, c_int(len(columns))))

    def __del__(self) -> None:
        _library.LGBM_DatasetFree(self.handle)

    def _set_field(self, name: bytes, values: _Floats) -> None:
        single = values.astype(np.float32)
        place = c_void_p(single.ctypes.data)
        size, kind = c_int(len(single)), c_int(_FLOAT32)
        _check(_library.LGBM_DatasetSetField(self.handle, name, place, size, kind))


class Booster:
    """A model in the library's memory, freed with this object.

    One that is not being fitted may be asked by any number of threads at once. It keeps the rows
    that it is fitted to, which the library only points at.
    """

    def __init__(self, *fitted_to: Dataset) -> None:
        self.handle = c_void_p()
        self._fitted_to = fitted_to

    def __del__(self) -> None:
        _library.LGBM_BoosterFree(self.handle)

    @classmethod
    def begin(
        cls, parameters: Mapping[str, Any], train: Dataset, validation: Dataset | None = None
    ) -> Self:
        """Return a model without trees, to be fitted to rows."""
        booster = cls(*(each for each in (train, validation) if each is not None))
        text = _as_text(parameters)
        _check(_library.LGBM_BoosterCreate(train.handle, text, byref(booster.handle)))
        if validation is not None:
            _check(_library.LGBM_BoosterAddValidData(booster.handle, validation.handle))
        return booster

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the model of a text that is known to be sound: the library trusts it."""
        booster, n_rounds = cls(), c_int()
        given = text.encode()
        _check(
            _library.LGBM_BoosterLoadModelFromString(given, byref(n_rounds), byref(booster.handle))
        )
        return booster

    def update(self) -> None:
        """Grow one more tree, or none where no split is possible."""
        is_finished = c_int()
        _check(_library.LGBM_BoosterUpdateOneIter(self.handle, byref(is_finished)))

    def loss_of_validation(self) -> Callable[[], float]:
        """Return what tells the loss of the validation rows after each round.

        Raises
        ------
        LightGBMError
            There are no such rows, or more than one figure is told of them.
        """
        if len(self._fitted_to) <= _FIRST_VALIDATION:
            # The library would read past the end of its list.
            message = "there are no validation rows"
            raise LightGBMError(message)
        loss, n_figures = c_double(), c_int()
        places = self.handle, c_int(_FIRST_VALIDATION), byref(n_figures), byref(loss)

        def ask() -> float:
            _check(_library.LGBM_BoosterGetEval(*places))
            if n_figures.value != 1:
                message = f"{n_figures.value} figures of the validation rows instead of one"
                raise LightGBMError(message)
            return loss.value

        return ask

    def n_trees(self) -> int:
        """Return how many trees there are."""
        count = c_int()
        _check(_library.LGBM_BoosterNumberOfTotalModel(self.handle, byref(count)))
        return count.value

    def predict(self, features: _Floats, *, n_rounds: int, n_threads: int) -> _Floats:
        """Return the score of each row by the first rounds, shape (n_rows,)."""
        matrix = np.ascontiguousarray(features, dtype=np.float64)
        scores, n_scores = np.empty(len(matrix)), c_int64()
        _check(
            _library.LGBM_BoosterPredictForMat(
                self.handle,
                c_void_p(matrix.ctypes.data),
                c_int(_FLOAT64),
                *map(c_int32, matrix.shape),
                c_int(_ROW_MAJOR),
                c_int(_NORMAL_PREDICTION),
                c_int(0),
                c_int(n_rounds),
                _as_text({"num_threads": n_threads}),
                byref(n_scores),
                c_void_p(scores.ctypes.data),
            )
        )
        return scores

    def importance(
        self, kind: Literal["split", "gain"], *, n_rounds: int, n_columns: int
    ) -> _Floats:
        """Return the splits, or their total gain, of each column in the first rounds."""
        values = np.empty(n_columns)
        place = c_void_p(values.ctypes.data)
        rounds, number = c_int(n_rounds), c_int(_IMPORTANCE[kind])
        _check(_library.LGBM_BoosterFeatureImportance(self.handle, rounds, number, place))
        return values

    def text(self, *, n_rounds: int) -> str:
        """Return the first rounds as the library's own text, which its package reads, too."""
        content, n_bytes = self._text_of(n_rounds, _TEXT_BYTES)
        if n_bytes > _TEXT_BYTES:
            content, _ = self._text_of(n_rounds, n_bytes)
        return content.decode() + _END_OF_TEXT

    def _text_of(self, n_rounds: int, size: int) -> tuple[bytes, int]:
        buffer, n_bytes = ctypes.create_string_buffer(size), c_int64()
        _check(
            _library.LGBM_BoosterSaveModelToString(
                self.handle,
                c_int(0),
                c_int(n_rounds),
                c_int(_IMPORTANCE["split"]),
                c_int64(size),
                byref(n_bytes),
                buffer,
            )
        )
        return buffer.value, n_bytes.value


def _as_text(parameters: Mapping[str, Any]) -> bytes:
    return " ".join(f"{name}={value}" for name, value in parameters.items()).encode()


@cache
def _as_names(columns: tuple[str, ...]) -> Any:
    return (c_char_p * len(columns))(*(name.encode() for name in columns))
