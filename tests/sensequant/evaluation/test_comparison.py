"""Paired differences equal a plain bootstrap, are 0 for equal columns and cover the truth."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn import metrics

from sensequant.errors import DataError, RecordError
from sensequant.evaluation.bootstrap import panel_sum_draws, panel_weights
from sensequant.evaluation.comparison import ComparisonRecord, ScorePair, compare_scores
from sensequant.evaluation.validation import ValidationConfig

SKLEARN: Any = metrics
PAIR = ScorePair("test", "a", "b")
CONFIG = ValidationConfig(n_bootstrap_draws=200, min_block_sessions=5)
FIGURES = ("auc", "log_loss", "brier_score", "accuracy", "mean_reward")


def panel(
    seed: int, *, n_symbols: int = 10, n_sessions: int = 60, edge: float = 0.0
) -> pl.DataFrame:
    """Return rows whose labels share moves; `edge` is how much more `a` knows of them than `b`."""
    rng = np.random.default_rng(seed)
    symbol = np.repeat(np.arange(n_symbols), n_sessions)
    session = np.tile(np.arange(n_sessions), n_symbols)
    moves = np.repeat(rng.normal(size=n_sessions // 5), 5)[session] + rng.normal(size=symbol.size)
    shared = 0.3 * moves + rng.normal(size=symbol.size)
    scores = {
        "a": shared + edge * moves + 0.5 * rng.normal(size=symbol.size),
        "b": shared + 0.5 * rng.normal(size=symbol.size),
    }
    return pl.DataFrame(
        {
            "symbol": [f"S{code}" for code in symbol],
            "session_number": session,
            "label": (moves > 0.3).astype(np.int8),
            "reward_a": np.where(scores["a"] > 0, moves, -moves),
            "reward_b": np.where(scores["b"] > 0, moves, -moves),
        }
        | {name: 1 / (1 + np.exp(-values)) for name, values in scores.items()}
    )


def compared(
    rows: pl.DataFrame, *, config: ValidationConfig = CONFIG, seed: int = 3
) -> ComparisonRecord:
    return compare_scores(rows, PAIR, horizon_sessions=5, seed=seed, config=config)


def bounds(record: ComparisonRecord, name: str) -> tuple[float, float]:
    found = record.of(name)
    assert found.lower is not None
    assert found.upper is not None
    return found.lower, found.upper


def by_scikit_learn(rows: pl.DataFrame, column: str) -> dict[str, float]:
    label, score = rows["label"].to_numpy(), rows[column].to_numpy()
    return {
        "auc": float(SKLEARN.roc_auc_score(label, score)),
        "log_loss": float(SKLEARN.log_loss(label, score)),
        "brier_score": float(SKLEARN.brier_score_loss(label, score)),
        "accuracy": float(SKLEARN.accuracy_score(label, score >= 0.5)),
        "mean_reward": float(rows[f"reward_{column}"].to_numpy().mean()),
    }


def test_figures_are_those_of_scikit_learn() -> None:
    """Both figures and their difference, on all rows."""
    rows = panel(1, edge=0.5)
    record = compared(rows)
    ours, others = by_scikit_learn(rows, "a"), by_scikit_learn(rows, "b")

    assert tuple(each.name for each in record.differences) == FIGURES
    for name in FIGURES:
        found = record.of(name)
        assert found.inputs == pytest.approx({"candidate": ours[name], "reference": others[name]})
        assert found.estimate == pytest.approx(ours[name] - others[name])


def test_intervals_equal_those_of_rows_repeated_as_drawn() -> None:
    """The plain way: repeat the rows of each draw, measure both columns, subtract."""
    rows = panel(2, n_symbols=4, n_sessions=20, edge=0.4)
    record = compared(rows)
    weights = panel_weights(n_symbols=4, n_sessions=20, block_sessions=5, n_draws=200, seed=3)
    codes = rows["symbol"].rank("dense").to_numpy() - 1
    draws: list[list[float]] = []
    for by_symbol, by_session in zip(*weights, strict=True):
        times = by_symbol[codes] * by_session[rows["session_number"].to_numpy()]
        drawn = rows[np.repeat(np.arange(rows.height), times.astype(int))]
        ours, others = by_scikit_learn(drawn, "a"), by_scikit_learn(drawn, "b")
        draws.append([ours[name] - others[name] for name in FIGURES])

    for name, lower, upper in zip(
        FIGURES, *np.quantile(draws, [0.025, 0.975], axis=0), strict=True
    ):
        assert bounds(record, name) == pytest.approx((lower, upper))


def test_sums_of_draws_are_those_of_repeated_rows() -> None:
    """Each draw adds a row's value as often as its symbol and session were drawn."""
    rows = panel(2, n_symbols=4, n_sessions=20)
    codes, sessions = rows["symbol"].rank("dense").to_numpy(), rows["session_number"].to_numpy()
    weights = panel_weights(n_symbols=4, n_sessions=20, block_sessions=5, n_draws=9, seed=3)
    values = rows["a"].to_numpy()
    found = panel_sum_draws(codes, sessions, values, weights=weights)

    for draw, by_symbol, by_session in zip(found, *weights, strict=True):
        assert draw == pytest.approx((by_symbol[codes - 1] * by_session[sessions] * values).sum())


def test_identical_columns_differ_by_exactly_nothing() -> None:
    """Zero, from zero to zero, and no null rejected."""
    rows = panel(3).with_columns(b=pl.col("a"), reward_b=pl.col("reward_a"))
    record = compared(rows)

    for name in FIGURES:
        found = record.of(name)
        assert (found.estimate, found.lower, found.upper) == (0.0, 0.0, 0.0)
        assert found.rejects_null is False


def test_a_better_column_is_found() -> None:
    """A column that knows more gains in every figure, and the interval leaves 0 out."""
    record = compared(panel(4, edge=1.0))

    for name in FIGURES:
        found = record.of(name)
        lower, upper = bounds(record, name)
        assert found.rejects_null is True
        assert upper < 0 if name in {"log_loss", "brier_score"} else lower > 0
        assert found.alternative is not None
        assert ("lower" in found.alternative) is (name in {"log_loss", "brier_score"})


def test_swapping_the_columns_turns_the_sign() -> None:
    """What one gains the other loses."""
    rows = panel(5, edge=0.3)
    there = compared(rows)
    back = compare_scores(
        rows, ScorePair("test", "b", "a"), horizon_sessions=5, seed=3, config=CONFIG
    )

    for name in FIGURES:
        lower, upper = bounds(back, name)
        assert (-upper, -lower) == pytest.approx(bounds(there, name))


def test_equal_columns_are_covered_about_as_often_as_claimed() -> None:
    """Where neither column is better, 95 % intervals hold 0 in nearly all of 100 panels."""
    covered = dict.fromkeys(FIGURES, 0)
    for seed in range(100):
        record = compared(panel(seed, n_symbols=8, n_sessions=40), seed=seed)
        for name in FIGURES:
            lower, upper = bounds(record, name)
            covered[name] += lower <= 0 <= upper

    assert min(covered.values()) >= 90


def test_only_rows_with_both_scores_count() -> None:
    """A row that one of them did not score is left out of both, and counted."""
    rows = panel(6)
    place = pl.int_range(pl.len())
    holed = rows.with_columns(
        a=pl.when(place != 0).then("a"),
        b=pl.when(place != 1).then("b"),
        label=pl.when(place != 2).then("label"),
    ).with_columns(
        b=pl.when(~place.is_in([1, 3])).then("b"), a=pl.when(~place.is_in([0, 3])).then("a")
    )
    record = compared(holed)
    whole = compared(rows[4:])

    assert (record.n_rows, record.n_left_out) == (596, 2)
    assert record.of("auc").inputs == whole.of("auc").inputs


def test_rewards_are_compared_where_both_are_known() -> None:
    """Rewards may be known for fewer rows than labels, or not at all."""
    rows = panel(7)
    fewer = rows.with_columns(reward_a=pl.when(pl.int_range(pl.len()) > 99).then("reward_a"))

    assert compared(fewer).of("mean_reward").n == rows.height - 100
    for without in (
        rows.drop("reward_b"),
        rows.with_columns(reward_b=pl.lit(None, dtype=pl.Float64)),
    ):
        found = compared(without).of("mean_reward")
        assert (found.estimate, found.rejects_null) == (None, None)
        assert found.reason == "no rewards of both scores"


def test_what_rows_do_not_define_has_a_reason() -> None:
    """One class has no AUC; no rows have nothing at all."""
    one_class = compared(panel(8).with_columns(label=pl.lit(1, dtype=pl.Int8)))
    nothing = compared(panel(8).clear())

    assert one_class.of("auc").reason == "one class only"
    assert one_class.of("accuracy").estimate is not None
    assert {each.estimate for each in nothing.differences} == {None}
    assert all(each.reason for each in nothing.differences)


def test_each_score_decides_at_its_own_threshold() -> None:
    """The accuracy of a calibrated score and of a raw one need not share a border."""
    rows = panel(9)
    pair = ScorePair("test", "a", "b", candidate_threshold=0.3, reference_threshold=0.8)
    found = compare_scores(rows, pair, horizon_sessions=5, seed=3, config=CONFIG).of("accuracy")
    label = rows["label"].to_numpy()

    assert found.inputs == pytest.approx(
        {
            "candidate": SKLEARN.accuracy_score(label, rows["a"].to_numpy() >= 0.3),
            "reference": SKLEARN.accuracy_score(label, rows["b"].to_numpy() >= 0.8),
        }
    )


def test_record_names_what_it_rests_on() -> None:
    """Sizes, blocks of at least the horizon, seed, null and source; JSON gives the record back."""
    record = compare_scores(panel(1), PAIR, horizon_sessions=7, seed=3, config=CONFIG)
    found = record.of("auc")

    assert (record.n_rows, record.n_symbols, record.n_sessions) == (600, 10, 60)
    assert (record.block_sessions, found.block_sessions) == (7, 7)
    assert (record.n_draws, record.seed, found.seed) == (200, 3, 3)
    assert found.null == "difference = 0"
    assert "Owen" in found.source
    assert ComparisonRecord.model_validate_json(record.model_dump_json()) == record


def test_order_of_rows_does_not_matter() -> None:
    """Rows are put in order first."""
    rows = panel(2)

    assert compared(rows) == compared(rows.sample(fraction=1, shuffle=True, seed=1))


@pytest.mark.parametrize(
    "changed",
    [
        {"n_bootstrap_draws": 300, "min_block_sessions": 5},
        {"n_bootstrap_draws": 200, "min_block_sessions": 9},
        {"n_bootstrap_draws": 200, "min_block_sessions": 5, "confidence": 0.8},
    ],
)
def test_settings_act(changed: dict[str, Any]) -> None:
    """Draws, block and confidence each move the interval."""
    other = compared(panel(2), config=ValidationConfig.model_validate(changed))

    assert bounds(other, "auc") != bounds(compared(panel(2)), "auc")


def test_nonsense_is_refused() -> None:
    """Columns that are missing, scores that are none, rows that stand twice, unknown figures."""
    rows = panel(1)
    with pytest.raises(RecordError, match="where: b"):
        compared(rows.drop("b"))
    with pytest.raises(DataError, match=r"outside \[0, 1\]"):
        compared(rows.with_columns(a=pl.lit(1.5)))
    with pytest.raises(DataError, match="more than one row"):
        compared(pl.concat([rows, rows]))
    with pytest.raises(DataError, match="no such figure"):
        compared(rows).of("sharpe")
