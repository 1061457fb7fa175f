"""Base classes of everything that is written down, and the digests that bind it together.

Belongs here: `Record` (what a step found), `Config` (what a step was asked), outcomes and skip
reasons, digests of values and of the code. Does not belong here: the fields of one step's record;
they stand beside the step.

Numbers in records are finite or absent: NaN and infinity are refused when a record is made.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from datetime import date
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import AllowInfNan, BaseModel, ConfigDict

__all__ = [
    "Config",
    "Finite",
    "FrameDigests",
    "Outcome",
    "Record",
    "SkipReason",
    "code_version",
    "derive_seed",
    "digest_of",
    "digest_of_files",
    "explain_skip",
    "finite_or_none",
    "frame_digest",
]

Finite = Annotated[float, AllowInfNan(False)]
"""A float that is neither NaN nor infinite."""


class Outcome(StrEnum):
    """How a unit of work (chunk, window, student) ended."""

    SUCCESS = "success"
    SKIPPED = "skipped"
    FAILED = "failed"


class SkipReason(StrEnum):
    """Why a unit of work has no result although nothing is broken."""

    PRE_LISTING = "pre_listing"
    NO_DATA = "no_data"
    INVALID_BARS = "invalid_bars"
    UNKNOWN_SYMBOL = "unknown_symbol"
    INSUFFICIENT_HISTORY = "insufficient_history"
    INSUFFICIENT_FUTURE = "insufficient_future"
    INSUFFICIENT_SAMPLES = "insufficient_samples"
    ONE_CLASS = "one_class"
    SUSPENDED = "suspended"
    NO_FEATURES = "no_features"
    NO_TEACHER = "no_teacher"
    NO_LATER_WINDOW = "no_later_window"
    SEEN_IN_TRAINING = "seen_in_training"
    NO_EARLIER_TRAINING = "no_earlier_training"
    NO_BENCHMARK = "no_benchmark"


_EXPLANATIONS = {
    SkipReason.PRE_LISTING: "The symbol was not listed yet.",
    SkipReason.NO_DATA: "The store holds no bars of the symbol for these days.",
    SkipReason.INVALID_BARS: "The bars contradict themselves, the calendar or their format.",
    SkipReason.UNKNOWN_SYMBOL: "The source of bars does not know the symbol.",
    SkipReason.INSUFFICIENT_HISTORY: "No bar has enough bars before it to compute a feature.",
    SkipReason.INSUFFICIENT_FUTURE: "No outcome is known yet: all lie behind the last bar.",
    SkipReason.INSUFFICIENT_SAMPLES: "Too few labelled rows are left to learn from or to score.",
    SkipReason.ONE_CLASS: "All labels are the same, so there is nothing to tell apart.",
    SkipReason.SUSPENDED: "The symbol was not traded any more while the market was.",
    SkipReason.NO_FEATURES: "The symbol's features and labels could not be computed.",
    SkipReason.NO_TEACHER: "No teacher was trained from which a student could learn.",
    SkipReason.NO_LATER_WINDOW: "No later window exists on which the student could be scored.",
    SkipReason.SEEN_IN_TRAINING: "The model has learnt from these days and cannot be judged there.",
    SkipReason.NO_EARLIER_TRAINING: "No model was trained on days before this period.",
    SkipReason.NO_BENCHMARK: "The benchmark has no bars for these days.",
}


class Config(BaseModel):
    """One concern's settings: frozen, closed, bounded; defaults stand only here.

    Every field has a description with its unit, because Prefect's form shows it to a person.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        model_title_generator=lambda model: _in_words(model.__name__),
    )


class Record(BaseModel):
    """What one step found: frozen, closed, finite numbers, with the version of its layout."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_version: int = 1


def digest_of(value: Any) -> str:
    """Return the sha256 of a JSON-like value or pydantic model, independent of key order.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=_as_json)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of_files(paths: Iterable[Path], *, root: Path) -> str:
    """Return one sha256 over the names (below `root`) and the contents of files."""
    total = hashlib.sha256()
    for path in sorted(paths):
        total.update(path.relative_to(root).as_posix().encode() + b"\0")
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def frame_digest(frame: pl.DataFrame) -> str:
    """Return the sha256 of a frame: names, types and values of its columns, in order.

    The bytes are defined here (a mask of nulls, then little-endian numbers or the lengths and UTF-8
    bytes of texts), so that the digest depends on no library's file format.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    return FrameDigests(frame).of(0, frame.height)


class FrameDigests:
    """Digests of the slices of one frame: of each the `frame_digest`, without cutting it out.

    A window has a hundred rows and as many columns, so that calls for each column of each window
    would cost more than the bytes.
    """

    def __init__(self, frame: pl.DataFrame) -> None:
        self._nulls = frame.select(pl.all().is_null()).to_numpy(order="fortran")
        values = frame.select(_without_nulls(frame.schema))
        self._heads = [f"\0{name}:{dtype}\0".encode() for name, dtype in frame.schema.items()]
        self._values = [_numbers_or_texts(series) for series in values.iter_columns()]

    def of(self, first: int, after: int) -> str:
        """Return the digest of the rows from `first` up to the one before `after`."""
        total = hashlib.sha256(str(after - first).encode())
        for place, (head, values) in enumerate(zip(self._heads, self._values, strict=True)):
            total.update(head)
            total.update(np.packbits(self._nulls[first:after, place]).tobytes())
            part = values[first:after]
            total.update(_bytes_of_texts(part) if isinstance(part, pl.Series) else part.tobytes())
        return total.hexdigest()


@cache
def code_version() -> str:
    """Return the digest of this library's own sources: what a cached result depends on.

    The terminal's part is left out, because it computes nothing.
    """
    root = Path(__file__).parent
    sources = [
        path
        for path in root.rglob("*")
        if path.suffix in {".py", ".csv", ".yaml", ".j2"} and "cli" not in path.parts
    ]
    return digest_of_files(sources, root=root)


def derive_seed(seed: int, *names: str) -> int:
    """Return a seed for one named use, independent of the order in which uses happen.

    Returns
    -------
    int
        In [0, 2**31), which LightGBM and NumPy both take.
    """
    text = "\0".join([str(seed), *names])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def explain_skip(reason: SkipReason) -> str:
    """Return one plain sentence that tells a person why something was skipped."""
    return _EXPLANATIONS[reason]


def finite_or_none(value: float | np.floating[Any] | None) -> float | None:
    """Return a plain float, or None for what is missing, NaN or infinite."""
    if value is None or not np.isfinite(value):
        return None
    return float(value)


def _without_nulls(schema: pl.Schema) -> Iterator[pl.Expr]:
    for name, dtype in schema.items():
        if dtype == pl.String:
            yield pl.col(name).fill_null("")
        elif dtype == pl.Float64:
            yield pl.col(name).fill_null(0.0)
        else:
            yield pl.col(name).cast(pl.Int64).fill_null(0)


def _numbers_or_texts(series: pl.Series) -> NDArray[Any] | pl.Series:
    if series.dtype == pl.String:
        return series
    if series.dtype == pl.Float64:
        # Adding 0.0 makes one zero of the two that IEEE 754 knows.
        return (series.to_numpy() + 0.0).astype("<f8", copy=False)
    return series.to_numpy().astype("<i8", copy=False)


def _bytes_of_texts(texts: pl.Series) -> bytes:
    lengths = texts.str.len_bytes().cast(pl.Int64).to_numpy().astype("<i8")
    return lengths.tobytes() + "".join(texts.to_list()).encode()


def _in_words(name: str) -> str:
    # Prefect's form shows the title of a nested model above its fields.
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.removesuffix("Config")).capitalize()


def _as_json(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Path):
        return value.as_posix()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    message = f"{type(value).__name__} has no digest"
    raise TypeError(message)
