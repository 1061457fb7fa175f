"""Structural check of LightGBM's text models: what LightGBM must never see is refused here.

LightGBM trusts its own format. On version 4.7.0 a truncated text aborts the process, an edited
`left_child` hangs it or ends it with a segmentation fault, an edited `right_child` changes
predictions without a word, and a lost tail goes unnoticed. So a text is read here first, strictly.

Belongs here: the grammar of the texts that `boosting` writes (version v4, one tree per round, no
categorical splits, no linear leaves) and the laws that a tree obeys. Does not belong here: loading
and predicting, and anything about LightGBM texts of other makers: they are refused.

What is checked: sizes; the order and form of every line; that `tree_sizes` names the bytes of each
tree; the count of each array; finite leaf values, and finite thresholds but for the `inf` of a
split into present and missing; that features exist; that every node and leaf has exactly one
parent, which comes before it (so there is no cycle); that the rows of a node are those of its
children; that the importances are the splits counted; that the parameters and the end are there.
What cannot be seen here is a leaf value that was replaced by another number of as many digits:
that takes the digest, which `verify_digest` compares.

Source of the format: LightGBM 4.7.0, `src/boosting/gbdt_model_text.cpp` and `src/io/tree.cpp`.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from sensequant.errors import DigestMismatchError, RecordError

__all__ = ["ModelStructure", "read_model_text", "verify_digest"]

_MAX_CHARACTERS = 256 * 1024 * 1024
_MAX_TREES = 5000
_MAX_LEAVES = 1024
_MAX_COLUMNS = 4096

_OBJECTIVES = ("binary sigmoid:1", "cross_entropy")
_HEADER_KEYS = (
    "version",
    "num_class",
    "num_tree_per_iteration",
    "label_index",
    "max_feature_idx",
    "objective",
    "feature_names",
    "feature_infos",
    "tree_sizes",
)
_HEADER_CONSTANTS = {
    "version": "v4",
    "num_class": "1",
    "num_tree_per_iteration": "1",
    "label_index": "0",
}
_TREE_KEYS = (
    "num_leaves",
    "num_cat",
    "split_feature",
    "split_gain",
    "threshold",
    "decision_type",
    "left_child",
    "right_child",
    "leaf_value",
    "leaf_weight",
    "leaf_count",
    "internal_value",
    "internal_weight",
    "internal_count",
    "is_linear",
    "shrinkage",
)
_TREE_CONSTANTS = {"num_cat": "0", "is_linear": "0"}
_PARAMETER_CONSTANTS = {
    "boosting": "gbdt",
    "num_class": "1",
    "linear_tree": "0",
    "num_threads": "1",
}
# Bit 1 is the default direction, bits 2 and 3 the kind of missing; bit 0 would be categorical.
_DECISION_TYPES = frozenset({0, 2, 4, 6, 8, 10})
_MISSING_GOES_RIGHT = 8

_END_OF_TREES = "end of trees\n\nfeature_importances:\n"
_PARAMETERS = "\nparameters:\n"
_TAIL = "\nend of parameters\n\npandas_categorical:null\n"

_NUMBER = r"-?\d{1,25}(?:\.\d{1,25})?(?:e[+-]?\d{1,3})?"
_INTEGERS = re.compile(r"-?\d{1,9}(?: -?\d{1,9})*")
_NUMBERS = re.compile(rf"{_NUMBER}(?: {_NUMBER})*")
_NAMES = re.compile(r"[A-Za-z0-9_.]+(?: [A-Za-z0-9_.]+)*")
_RANGE = re.compile(rf"\[({_NUMBER}):({_NUMBER})\]")
_IMPORTANCE = re.compile(r"([A-Za-z0-9_.]+)=(\d{1,10})")
_PARAMETER = re.compile(r"\[([a-z0-9_]+): ([^\[\]]*)\]")

_Integers = npt.NDArray[np.int64]
_Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ModelStructure:
    """What a sound text says about its model.

    Attributes
    ----------
    columns
        Names of the features, in order.
    n_trees
        Trees, at least 1.
    objective
        `binary` or `cross_entropy`.
    n_splits
        Splits per column name, for columns with any.
    parameters
        Every parameter that the booster wrote.
    """

    columns: tuple[str, ...]
    n_trees: int
    objective: str
    n_splits: Mapping[str, int]
    parameters: Mapping[str, str]


def verify_digest(text: str, *, sha256: str) -> None:
    """Compare a text with the digest that a manifest or record promises for it.

    Raises
    ------
    DigestMismatchError
        They differ.
    """
    found = hashlib.sha256(text.encode()).hexdigest()
    if found != sha256:
        raise DigestMismatchError(
            "model text is not the one that its digest names",
            where="model text",
            expected=sha256,
            found=found,
            remedy="restore the file from the run that wrote it, or train it again",
        )


def read_model_text(text: str) -> ModelStructure:
    """Check the structure of a LightGBM text and say what it holds.

    Parameters
    ----------
    text
        The whole text.

    Raises
    ------
    RecordError
        The first thing that is wrong, where, what was expected and what was found.
    """
    if len(text) > _MAX_CHARACTERS:
        _refuse("size", expected=f"at most {_MAX_CHARACTERS} characters", found=str(len(text)))
    if not text.isascii():
        _refuse("characters", expected="ASCII", found="others")
    header, separator, body = text.partition("\n\n")
    if not separator:
        _refuse("header", expected="an empty line after it", found="none")
    fields = _read_header(header)
    columns = _read_columns(fields)
    sizes = _integers(fields["tree_sizes"], where="tree_sizes")
    if not 1 <= len(sizes) <= _MAX_TREES or (sizes < 1).any():
        _refuse("tree_sizes", expected=f"1 to {_MAX_TREES} positive", found=str(len(sizes)))
    end = int(sizes.sum())
    splits = _read_trees(body[:end], sizes=sizes, n_columns=len(columns))
    n_splits = {columns[i]: int(n) for i, n in enumerate(splits) if n}
    parameters = _read_tail(body[end:], n_splits=n_splits)
    objective = fields["objective"].partition(" ")[0]
    if parameters["objective"] != objective:
        _refuse("parameters: objective", expected=objective, found=parameters["objective"])
    return ModelStructure(
        columns=columns,
        n_trees=len(sizes),
        objective=objective,
        n_splits=n_splits,
        parameters=parameters,
    )


def _refuse(where: str, *, expected: str, found: str) -> NoReturn:
    raise RecordError(
        "model text is not sound",
        where=where,
        expected=expected,
        found=found if len(found) <= 80 else f"{found[:77]}...",  # noqa: PLR2004 - one line
        remedy="restore the file from the run that wrote it, or train it again",
    )


def _read_header(header: str) -> dict[str, str]:
    first, *lines = header.split("\n")
    if first != "tree":
        _refuse("line 1", expected="tree", found=first)
    fields = _read_fields(lines, keys=_HEADER_KEYS, where="header")
    _check_constants(fields, _HEADER_CONSTANTS, where="header")
    if fields["objective"] not in _OBJECTIVES:
        _refuse("objective", expected=" or ".join(_OBJECTIVES), found=fields["objective"])
    return fields


def _read_fields(lines: list[str], *, keys: tuple[str, ...], where: str) -> dict[str, str]:
    pairs = [line.partition("=") for line in lines]
    found = tuple(key for key, _, _ in pairs)
    if found != keys or not all(sign for _, sign, _ in pairs):
        _refuse(where, expected=", ".join(keys), found=", ".join(found))
    return {key: value for key, _, value in pairs}


def _check_constants(
    fields: Mapping[str, str], constants: Mapping[str, str], *, where: str
) -> None:
    for key, value in constants.items():
        if fields.get(key) != value:
            _refuse(f"{where}: {key}", expected=value, found=str(fields.get(key)))


def _read_columns(fields: Mapping[str, str]) -> tuple[str, ...]:
    if not _NAMES.fullmatch(fields["feature_names"]):
        _refuse("feature_names", expected="names", found=fields["feature_names"])
    columns = tuple(fields["feature_names"].split(" "))
    if len(set(columns)) != len(columns) or len(columns) > _MAX_COLUMNS:
        _refuse("feature_names", expected=f"at most {_MAX_COLUMNS}, each once", found="others")
    if fields["max_feature_idx"] != str(len(columns) - 1):
        _refuse("max_feature_idx", expected=str(len(columns) - 1), found=fields["max_feature_idx"])
    infos = fields["feature_infos"].split(" ")
    if len(infos) != len(columns):
        _refuse("feature_infos", expected=str(len(columns)), found=str(len(infos)))
    for info in infos:
        _check_range(info)
    return columns


def _check_range(info: str) -> None:
    match = _RANGE.fullmatch(info)
    if info == "none":  # a column with no two different values
        return
    if match is None or not -np.inf < float(match[1]) <= float(match[2]) < np.inf:
        _refuse("feature_infos", expected="[least:greatest] or none", found=info)


def _read_trees(trees: str, *, sizes: _Integers, n_columns: int) -> _Integers:
    if len(trees) != int(sizes.sum()):
        _refuse("tree_sizes", expected=f"{int(sizes.sum())} bytes", found=str(len(trees)))
    splits = np.zeros(n_columns, dtype=np.int64)
    for number, block in enumerate(_blocks(trees, sizes)):
        used = _read_tree(block, number=number)
        if len(used) and not 0 <= used.min() <= used.max() < n_columns:
            _refuse(
                f"Tree={number}: split_feature",
                expected=f"0 to {n_columns - 1}",
                found=f"{used.min()} to {used.max()}",
            )
        splits += np.bincount(used, minlength=n_columns)
    return splits


def _blocks(trees: str, sizes: _Integers) -> Iterator[str]:
    ends = np.cumsum(sizes)
    for start, end in zip(ends - sizes, ends, strict=True):
        yield trees[start:end]


def _read_tree(block: str, *, number: int) -> _Integers:
    where = f"Tree={number}"
    # LightGBM ends a tree with two empty lines, so the last three parts are empty.
    first, *lines = block.split("\n")
    if first != where or lines[-3:] != ["", "", ""]:
        _refuse("tree_sizes", expected=f"{where} as one block", found=block[:20])
    fields = _read_fields(lines[:-3], keys=_TREE_KEYS, where=where)
    _check_constants(fields, _TREE_CONSTANTS, where=where)
    n_leaves = _n_leaves(fields["num_leaves"], where=where)
    _check_numbers(fields, n_leaves=n_leaves, where=where)
    if n_leaves == 1:
        return np.empty(0, dtype=np.int64)
    left, right = (
        _counted(fields, key, count=n_leaves - 1, where=where)
        for key in ("left_child", "right_child")
    )
    _check_children(left, right, where=where)
    _check_counts(fields, left, right, where=where)
    decisions = _counted(fields, "decision_type", count=n_leaves - 1, where=where)
    if not _DECISION_TYPES.issuperset(decisions.tolist()):
        _refuse(
            f"{where}: decision_type",
            expected=" ".join(map(str, sorted(_DECISION_TYPES))),
            found=fields["decision_type"],
        )
    _check_thresholds(fields["threshold"], decisions, where=where)
    return _counted(fields, "split_feature", count=n_leaves - 1, where=where)


def _n_leaves(text: str, *, where: str) -> int:
    values = _integers(text, where=f"{where}: num_leaves")
    if len(values) != 1 or not 1 <= values[0] <= _MAX_LEAVES:
        _refuse(f"{where}: num_leaves", expected=f"1 to {_MAX_LEAVES}", found=text)
    return int(values[0])


def _check_numbers(fields: Mapping[str, str], *, n_leaves: int, where: str) -> None:
    for key in ("leaf_value", "leaf_weight", "leaf_count"):
        if key == "leaf_weight" and n_leaves == 1 and not fields[key]:
            continue  # a tree that is one leaf has no weight
        _numbers(fields[key], count=n_leaves, where=f"{where}: {key}")
    for key in ("split_gain", "internal_value", "internal_weight"):
        _numbers(fields[key], count=n_leaves - 1, where=f"{where}: {key}")
    _numbers(fields["shrinkage"], count=1, where=f"{where}: shrinkage")
    if n_leaves == 1:
        for key in (
            "split_feature",
            "threshold",
            "decision_type",
            "left_child",
            "right_child",
            "internal_count",
        ):
            _numbers(fields[key], count=0, where=f"{where}: {key}")


def _check_thresholds(text: str, decisions: _Integers, *, where: str) -> None:
    # A split into "has a value" and "is missing" is written with the threshold `inf`.
    words = text.split(" ")
    is_missing_split = [word == "inf" for word in words]
    finite = " ".join("0" if word == "inf" else word for word in words)
    _numbers(finite, count=len(decisions), where=f"{where}: threshold")
    if (decisions[is_missing_split] != _MISSING_GOES_RIGHT).any():
        _refuse(
            f"{where}: threshold",
            expected=f"inf only where decision_type is {_MISSING_GOES_RIGHT}",
            found=text,
        )


def _check_children(left: _Integers, right: _Integers, *, where: str) -> None:
    n_nodes = len(left)
    children = np.concatenate([left, right])
    parents = np.tile(np.arange(n_nodes), 2)
    # Node i is made by the i-th split, so a parent always comes before its child: no cycle.
    inner = children >= 0
    if (children[inner] <= parents[inner]).any():
        _refuse(f"{where}: children", expected="after their parent", found=_shown(left, right))
    # Leaf k is written as -1 - k: one root, n - 1 other nodes and n + 1 leaves, each once.
    expected = np.concatenate([np.arange(-n_nodes - 1, 0), np.arange(1, n_nodes)])
    if not np.array_equal(np.sort(children), expected):
        _refuse(
            f"{where}: children",
            expected="each node and leaf once",
            found=_shown(left, right),
        )


def _check_counts(
    fields: Mapping[str, str], left: _Integers, right: _Integers, *, where: str
) -> None:
    n_nodes = len(left)
    inner = _counted(fields, "internal_count", count=n_nodes, where=where)
    leaves = _counted(fields, "leaf_count", count=n_nodes + 1, where=where)
    # A child c is inner[c] for c >= 0, and leaf -1 - c is the entry c from the end of this array.
    rows = np.concatenate([inner, leaves[::-1]])
    if (leaves < 1).any() or not np.array_equal(inner, rows[left] + rows[right]):
        _refuse(
            f"{where}: internal_count",
            expected="the rows of both children",
            found=fields["internal_count"],
        )


def _read_tail(tail: str, *, n_splits: Mapping[str, int]) -> dict[str, str]:
    if not tail.startswith(_END_OF_TREES):
        _refuse("end of trees", expected=repr(_END_OF_TREES), found=repr(tail[:40]))
    if not tail.endswith(_TAIL):
        _refuse("end", expected=repr(_TAIL), found=repr(tail[-60:]))
    inside = tail.removeprefix(_END_OF_TREES).removesuffix(_TAIL)
    importances, separator, parameters = inside.partition(_PARAMETERS)
    if not separator:
        _refuse("parameters", expected=repr(_PARAMETERS), found="none")
    counts = _pairs(importances, pattern=_IMPORTANCE, where="feature_importances")
    if counts != {name: str(n) for name, n in n_splits.items()}:
        _refuse("feature_importances", expected="the splits counted", found="other counts")
    found = _pairs(parameters, pattern=_PARAMETER, where="parameters")
    _check_constants(found, _PARAMETER_CONSTANTS, where="parameters")
    if "objective" not in found:
        _refuse("parameters: objective", expected="one", found="none")
    return found


def _pairs(text: str, *, pattern: re.Pattern[str], where: str) -> dict[str, str]:
    lines = text.removesuffix("\n").split("\n") if text else []
    matches = [(line, pattern.fullmatch(line)) for line in lines]
    wrong = [line for line, match in matches if match is None]
    if wrong:
        _refuse(where, expected="one entry on each line", found=repr(wrong[0]))
    pairs = [(match[1], match[2]) for _, match in matches if match is not None]
    twice = [name for name, n in Counter(name for name, _ in pairs).items() if n > 1]
    if twice:
        _refuse(where, expected="each entry once", found=twice[0])
    return dict(pairs)


def _counted(fields: Mapping[str, str], key: str, *, count: int, where: str) -> _Integers:
    values = _integers(fields[key], where=f"{where}: {key}")
    if len(values) != count:
        _refuse(f"{where}: {key}", expected=f"{count} numbers", found=str(len(values)))
    return values


def _integers(text: str, *, where: str) -> _Integers:
    if not _INTEGERS.fullmatch(text):
        _refuse(where, expected="integers, one space between", found=text)
    return np.array(text.split(" "), dtype=np.int64)


def _numbers(text: str, *, count: int, where: str) -> _Numbers:
    if not text and not count:
        return np.empty(0)
    if not _NUMBERS.fullmatch(text):
        _refuse(where, expected="numbers, one space between", found=text)
    values = np.array(text.split(" "), dtype=np.float64)
    if len(values) != count or not np.isfinite(values).all():
        _refuse(where, expected=f"{count} finite numbers", found=text)
    return values


def _shown(left: _Integers, right: _Integers) -> str:
    return f"left {left.tolist()}, right {right.tolist()}"
