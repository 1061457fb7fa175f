"""What the structural check of model texts lets through, and what it stops before LightGBM."""

import hashlib
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensequant import model_text
from sensequant.booster_config import BoosterConfig
from sensequant.boosting import Objective, TrainingData, load_booster, predict, train_booster
from sensequant.errors import DigestMismatchError, RecordError
from sensequant.model_text import read_model_text, verify_digest

_COLUMNS = ("alpha_1", "beta.2", "gamma", "constant", "empty")


def _data(n: int = 150) -> TrainingData:
    rng = np.random.default_rng(5)
    features = rng.normal(size=(n, len(_COLUMNS)))
    features[rng.random(features.shape) < 0.1] = np.nan
    features[:, 3], features[:, 4] = 1.0, np.nan
    targets = (np.nan_to_num(features[:, 0]) + 0.5 * rng.normal(size=n) > 0).astype(np.float64)
    return TrainingData(features, targets, _COLUMNS)


def _text(objective: Objective = "binary", n_rounds: int = 6, **changes: float) -> str:
    config = BoosterConfig.model_validate({"learning_rate": 0.1, **changes})
    fitted = train_booster(
        _data(), objective=objective, config=config, seed=1, n_threads=1, n_rounds=n_rounds
    )
    return fitted.model_text


_TEXT = _text()


def _without(line: str) -> str:
    return "".join(row for row in _TEXT.splitlines(keepends=True) if not row.startswith(line))


def _line(key: str, tree: int = 0) -> str:
    block = _TEXT[_TEXT.index(f"Tree={tree}\n") :]
    return block[block.index(f"{key}=") :].partition("\n")[0]


def _replaced_line(key: str, change: str, tree: int = 0) -> str:
    # Sizes are put right again, so that it is not they which give the change away.
    start = _TEXT.index(f"Tree={tree}\n")
    at = _TEXT.index(f"{key}=", start)
    old = _line(key, tree)
    text = _TEXT[:at] + change + _TEXT[at + len(old) :]
    written = text[text.index("tree_sizes=") :].partition("\n")[0].partition("=")[2]
    sizes = [int(size) for size in written.split(" ")]
    sizes[tree] += len(change) - len(old)
    return re.sub(r"tree_sizes=.*", "tree_sizes=" + " ".join(map(str, sizes)), text)


def _edited(key: str, position: int, value: str, tree: int = 0) -> str:
    name, _, numbers = _line(key, tree).partition("=")
    parts = numbers.split(" ")
    parts[position] = value
    return _replaced_line(key, f"{name}={' '.join(parts)}", tree)


@pytest.mark.parametrize(
    ("objective", "changes"),
    [
        ("binary", {}),
        ("cross_entropy", {}),
        ("binary", {"num_leaves": 2}),
        ("binary", {"num_leaves": 127, "min_child_samples": 1}),
        ("binary", {"min_child_samples": 200}),
        ("cross_entropy", {"min_child_samples": 200}),
        ("binary", {"reg_lambda": 3.0, "subsample": 1.0, "max_depth": -1}),
        ("cross_entropy", {"num_leaves": 7, "early_stopping_rounds": 0}),
    ],
)
def test_every_kind_of_model_that_is_trained_here_passes(
    objective: Objective, changes: dict[str, float]
) -> None:
    """Deep, shallow, one-leaf, hard and soft targets: all are sound, and say who they are."""
    structure = read_model_text(_text(objective, 6, **changes))

    assert structure.columns == _COLUMNS
    assert structure.objective == objective
    assert 1 <= structure.n_trees <= 6
    assert not {"constant", "empty"} & set(structure.n_splits)


def test_a_split_into_present_and_missing_passes() -> None:
    """LightGBM writes the threshold `inf` where only missing values go right; only there."""
    rng = np.random.default_rng(2)
    features = rng.normal(size=(150, 2))
    is_missing = rng.random(150) < 0.4
    features[is_missing, 0] = np.nan
    targets = (is_missing ^ (rng.random(150) < 0.1)).astype(np.float64)
    text = train_booster(
        TrainingData(features, targets, ("a", "b")),
        objective="binary",
        config=BoosterConfig(num_leaves=2),
        seed=1,
        n_threads=1,
        n_rounds=3,
    ).model_text

    assert "\nthreshold=inf\ndecision_type=8\n" in text
    assert read_model_text(text).n_trees == 3
    with pytest.raises(RecordError, match="threshold"):
        read_model_text(text.replace("decision_type=8\n", "decision_type=2\n", 1))


def test_parameters_are_read_back() -> None:
    """The structure holds every parameter that the booster wrote."""
    parameters = read_model_text(_TEXT).parameters

    assert parameters["learning_rate"] == "0.1"
    assert parameters["num_threads"] == "1"


def test_digest_of_the_text_is_compared() -> None:
    """The right digest passes, any other raises with both digests in the error."""
    right = hashlib.sha256(_TEXT.encode()).hexdigest()
    verify_digest(_TEXT, sha256=right)

    with pytest.raises(DigestMismatchError) as caught:
        verify_digest(_TEXT + " ", sha256=right)

    assert caught.value.expected == right
    assert caught.value.found not in {"", right}


@given(st.integers(min_value=0, max_value=len(_TEXT) - 1))
def test_a_truncated_text_is_refused(length: int) -> None:
    """Whatever the length at which the text was cut, it does not pass."""
    with pytest.raises(RecordError):
        read_model_text(_TEXT[:length])


@given(st.integers(min_value=0, max_value=len(_TEXT) - 1), st.integers(min_value=1, max_value=60))
def test_a_text_with_a_hole_is_refused(start: int, length: int) -> None:
    """Characters lost from the middle do not pass, except digits of a parameter's value."""
    broken = _TEXT[:start] + _TEXT[start + length :]
    before_parameters = start < _TEXT.index("\nparameters:")

    if before_parameters:
        with pytest.raises(RecordError):
            read_model_text(broken)


_CHILDREN = [
    (key, position, value)
    for key in ("left_child", "right_child")
    for position in range(len(_line("left_child").split(" ")))
    for value in ("-1", "-2", "-3", "0", "1", "2", "7", "-99", "99999999999", "1.5", "x", "")
    if _line(key).partition("=")[2].split(" ")[position] != value
]


@pytest.mark.parametrize(("key", "position", "value"), _CHILDREN)
def test_an_edited_child_is_refused(key: str, position: int, value: str) -> None:
    """Any other child makes a cycle, an orphan, a second parent, or rows that do not add up."""
    with pytest.raises(RecordError):
        read_model_text(_edited(key, position, value))


def test_two_leaves_that_swapped_places_are_refused() -> None:
    """Leaves exchanged across the tree keep its form, but the rows of parents give it away."""
    for tree in range(6):
        left = _line("left_child", tree).partition("=")[2].split(" ")
        right = _line("right_child", tree).partition("=")[2].split(" ")
        counts = _line("leaf_count", tree).partition("=")[2].split(" ")
        refs = [(row, i) for row in (left, right) for i, c in enumerate(row) if c.startswith("-")]
        for row, i in refs:
            for other, j in refs:
                if i == j or counts[-1 - int(row[i])] == counts[-1 - int(other[j])]:
                    continue
                row[i], other[j] = other[j], row[i]
                text = _replaced_line("left_child", "left_child=" + " ".join(left), tree)
                at = text.index("right_child=", text.index(f"Tree={tree}\n"))
                end = text.index("\n", at)
                text = text[:at] + "right_child=" + " ".join(right) + text[end:]
                row[i], other[j] = other[j], row[i]
                with pytest.raises(RecordError):
                    read_model_text(text)


_OTHER_FEATURE = "0" if _line("split_feature").startswith("split_feature=1") else "1"


@pytest.mark.parametrize("value", ["-1", "5", "99", _OTHER_FEATURE, "2.0", "", "1e3", "999999999"])
def test_an_edited_feature_is_refused(value: str) -> None:
    """A feature that does not exist, or that the importances do not count, does not pass."""
    with pytest.raises(RecordError) as caught:
        read_model_text(_edited("split_feature", 0, value))

    assert "split_feature" in caught.value.where or "importances" in caught.value.where


@pytest.mark.parametrize("key", ["leaf_value", "threshold", "internal_value", "split_gain"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "", "1,5", "0x10", "1_0", "--1"])
def test_a_number_that_is_none_is_refused(key: str, value: str) -> None:
    """What is not finite, or not written as LightGBM writes numbers, does not pass."""
    with pytest.raises(RecordError) as caught:
        read_model_text(_edited(key, 0, value))

    assert caught.value.where == f"Tree=0: {key}"


@pytest.mark.parametrize(
    "key",
    [
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
    ],
)
def test_a_lost_or_added_number_is_refused(key: str) -> None:
    """Each array has as many numbers as the tree has nodes or leaves."""
    line = _line(key)
    for changed in (line.rpartition(" ")[0], f"{line} 1", f"{key}=", f"{key}= {line[len(key) :]}"):
        with pytest.raises(RecordError):
            read_model_text(_replaced_line(key, changed))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("tree\n", "bush\n"),
        ("version=v4", "version=v3"),
        ("num_class=1\n", "num_class=3\n"),
        ("num_tree_per_iteration=1", "num_tree_per_iteration=2"),
        ("max_feature_idx=4", "max_feature_idx=40"),
        ("objective=binary sigmoid:1", "objective=regression"),
        ("objective=binary sigmoid:1", "objective=cross_entropy"),
        ("[objective: binary]\n", ""),
        ("feature_names=alpha_1", "feature_names=gamma"),
        ("feature_names=alpha_1", "feature_names=alpha 1"),
        ("feature_names=alpha_1", "feature_names= alpha_1"),
        ("beta.2", "b\u00eata"),
        ("feature_infos=[", "feature_infos=[9e9"),
        ("feature_infos=[", "feature_infos=<"),
        ("feature_infos=", "feature_infos=none "),
        ("tree_sizes=", "tree_sizes=0 "),
        ("tree_sizes=", "tree_sizes=999999999 "),
        ("tree_sizes=", "tree_sizes=-"),
        ("Tree=1\n", "Tree=2\n"),
        ("num_leaves=", "num_leaves=1"),
        ("num_leaves=", "num_leaves=9"),
        ("num_leaves=", "num_leaves=1 "),
        ("num_cat=0", "num_cat=1"),
        ("is_linear=0", "is_linear=1"),
        ("shrinkage=1\n", "shrinkage=n\n"),
        ("decision_type=10", "decision_type=11"),
        ("decision_type=8", "decision_type=9"),
        ("end of trees", "end of forest"),
        ("\nparameters:\n", "\nsettings:\n"),
        ("alpha_1=", "alpha_2="),
        ("alpha_1=", "alpha_1=9"),
        ("[boosting: gbdt]", "[boosting: dart]"),
        ("[linear_tree: 0]", "[linear_tree: 1]"),
        ("[num_threads: 1]", "[num_threads: 64]"),
        ("[learning_rate: 0.1]", "learning_rate: 0.1"),
        ("[learning_rate: 0.1]", "[boosting: gbdt]"),
        ("end of parameters", "end of settings"),
        ("pandas_categorical:null\n", "pandas_categorical:[[1]]\n"),
        ("pandas_categorical:null\n", "pandas_categorical:null\nmore\n"),
    ],
)
def test_a_wrong_word_is_refused(old: str, new: str) -> None:
    """Everything that decides how LightGBM reads the text is as this project writes it."""
    if old not in _TEXT:
        pytest.skip(f"{old!r} does not occur in this model")
    with pytest.raises(RecordError):
        read_model_text(_TEXT.replace(old, new, 1))


@pytest.mark.parametrize(
    "line", ["objective=", "tree_sizes=", "left_child=", "end of trees", "parameters:", "Tree=3"]
)
def test_a_lost_line_is_refused(line: str) -> None:
    """Each line is needed."""
    with pytest.raises(RecordError):
        read_model_text(_without(line))


@pytest.mark.parametrize("text", ["", "tree", "\n\n", "tree\n\n\n", "{}", "\x00" * 100])
def test_something_else_is_refused(text: str) -> None:
    """What is no model at all does not pass either."""
    with pytest.raises(RecordError):
        read_model_text(text)


def test_an_oversized_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text beyond the bound is refused before it is read."""
    monkeypatch.setattr(model_text, "_MAX_CHARACTERS", 100)

    with pytest.raises(RecordError) as caught:
        read_model_text(_TEXT)

    assert caught.value.where == "size"


def test_too_many_trees_or_leaves_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model beyond what the settings allow is none of ours."""
    monkeypatch.setattr(model_text, "_MAX_TREES", 5)
    with pytest.raises(RecordError, match="tree_sizes"):
        read_model_text(_TEXT)
    monkeypatch.undo()
    monkeypatch.setattr(model_text, "_MAX_LEAVES", 2)
    with pytest.raises(RecordError, match="num_leaves"):
        read_model_text(_TEXT)


def test_a_stump_with_splits_is_refused() -> None:
    """A tree of one leaf has no children."""
    text = _text(min_child_samples=200)
    for key in ("left_child", "split_feature", "threshold", "internal_count"):
        broken = text.replace(f"\n{key}=\n", f"\n{key}=0 1\n", 1)
        size = re.search(r"tree_sizes=(\d+)", text)
        assert size is not None
        broken = broken.replace(size[0], f"tree_sizes={int(size[1]) + 3}", 1)
        with pytest.raises(RecordError, match=key):
            read_model_text(broken)


def test_a_stump_without_weight_passes() -> None:
    """LightGBM writes the weight of a lone leaf as 0 or not at all, depending on the objective."""
    text = _text(min_child_samples=200)
    size = re.search(r"tree_sizes=(\d+)", text)
    assert size is not None
    shorter = text.replace(size[0], f"tree_sizes={int(size[1]) - 1}", 1)

    assert read_model_text(shorter.replace("leaf_weight=0\n", "leaf_weight=\n", 1)).n_trees == 1


@settings(max_examples=300)
@given(
    st.integers(min_value=0, max_value=_TEXT.index("\nparameters:")),
    st.sampled_from("0123456789-. e\n="),
)
def test_what_passes_is_safe_to_load(position: int, character: str) -> None:
    """A changed character is refused, or leaves a model that loads and scores finite numbers."""
    changed = _TEXT[:position] + character + _TEXT[position + 1 :]
    try:
        predictor = load_booster(changed, sha256=None)
    except RecordError:
        return

    assert np.isfinite(predict(predictor, _data().features, n_threads=1)).all()


@pytest.mark.parametrize("tree", range(6))
def test_a_plausible_leaf_value_is_refused_by_the_digest(tree: int) -> None:
    """A leaf value of as many digits has a sound structure, and still never reaches LightGBM."""
    value = _line("leaf_value", tree).partition("=")[2].split(" ")[0]
    forged = _edited("leaf_value", 0, value[:-1] + ("1" if value[-1] != "1" else "2"), tree)
    read_model_text(forged)

    with pytest.raises(DigestMismatchError):
        load_booster(forged, sha256=hashlib.sha256(_TEXT.encode()).hexdigest())


def test_an_error_shows_no_more_than_a_line() -> None:
    """What was found is cut to a readable length."""
    with pytest.raises(RecordError) as caught:
        read_model_text(_TEXT.replace("feature_names=", "feature_names=" + "%" * 500, 1))

    assert len(caught.value.found) == 80
