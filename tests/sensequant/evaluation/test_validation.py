"""The validation agrees with scikit-learn and plain loops, and nothing is invented."""

from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as untyped_metrics

from sensequant.errors import DataError
from sensequant.evaluation.backtest import (
    BacktestConfig,
    BacktestResult,
    buy_and_hold,
    run_backtest,
)
from sensequant.evaluation.costs import CostConfig
from sensequant.evaluation.figures import Figure
from sensequant.evaluation.validation import (
    Validation,
    ValidationConfig,
    ValidationSummary,
    validate,
)
from sensequant.evaluation.validation_text import render_markdown
from sensequant.market.sessions import nse_calendar

metrics: Any = untyped_metrics
CONFIG = ValidationConfig(n_bootstrap_draws=100, n_placebo=5)
HORIZON = 5
FIRST = nse_calendar().number_of(date(2024, 1, 1))
N_SYMBOLS, N_SESSIONS = 6, 120


def market(seed: int = 0, knowledge: float = 0.0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return predictions and bars of a random market; `knowledge` leaks the future into scores."""
    rng = np.random.default_rng(seed)
    days = [nse_calendar().session_at(FIRST + place) for place in range(N_SESSIONS)]
    closes = 100 * np.exp(np.cumsum(rng.normal(0, 0.015, (N_SESSIONS, N_SYMBOLS)), axis=0))
    opens = np.vstack([np.full(N_SYMBOLS, 100.0), closes[:-1]])
    symbols = [f"S{code}" for code in range(N_SYMBOLS)]
    bars = pl.DataFrame(
        {
            "symbol": np.repeat(symbols, N_SESSIONS),
            "session": days * N_SYMBOLS,
            "open": opens.T.ravel(),
            "close": closes.T.ravel(),
            "volume": 1e9,
            "is_unexplained_gap": False,
        }
    )
    n_scored = N_SESSIONS - HORIZON
    forward = np.array([closes[t + HORIZON] / opens[t + 1] - 1 for t in range(n_scored)])
    known = knowledge * forward / forward.std()
    scores = 1 / (1 + np.exp(-(known + rng.normal(size=forward.shape))))
    predictions = pl.DataFrame(
        {
            "symbol": np.repeat(symbols, n_scored),
            "session": days[:n_scored] * N_SYMBOLS,
            "session_number": list(range(FIRST, FIRST + n_scored)) * N_SYMBOLS,
            "scored_window": [f"{s}_w{t // 40}" for s in symbols for t in range(n_scored)],
            "score": scores.T.ravel(),
            "probability": scores.T.ravel(),
            "forward_return": forward.T.ravel(),
        }
    ).with_columns(label=(pl.col("forward_return") > 0.01).cast(pl.Int8))
    return predictions, bars


def traded(
    predictions: pl.DataFrame, bars: pl.DataFrame, threshold: float = 0.6
) -> tuple[BacktestResult, BacktestResult]:
    settings: dict[str, Any] = {
        "horizon_sessions": HORIZON,
        "costs": CostConfig(),
        "config": BacktestConfig(threshold=threshold),
    }
    return run_backtest(predictions, bars, **settings), buy_and_hold(predictions, bars, **settings)


def validated(
    predictions: pl.DataFrame, bars: pl.DataFrame, config: ValidationConfig = CONFIG, seed: int = 3
) -> Validation:
    strategy, universe = traded(predictions, bars)
    benchmark = bars.filter(symbol="S0").select("session", "close")
    return validate(
        predictions,
        backtest=strategy,
        universe=universe,
        benchmark=benchmark,
        annual_risk_free_frac=0.065,
        seed=seed,
        config=config,
    )


def test_pooled_figures_are_those_of_sklearn() -> None:
    """AUC, precision, recall, F1, Brier score and log loss equal scikit-learn's."""
    predictions, bars = market()
    label, score = predictions["label"].to_numpy(), predictions["score"].to_numpy()
    decided = score >= 0.6

    summary = validated(predictions, bars).summary
    found = summary.classification

    assert found.auc.value == pytest.approx(metrics.roc_auc_score(label, score))
    assert found.precision.value == pytest.approx(metrics.precision_score(label, decided))
    assert found.recall.value == pytest.approx(metrics.recall_score(label, decided))
    assert found.f1.value == pytest.approx(metrics.f1_score(label, decided))
    assert found.brier_score.value == pytest.approx(metrics.brier_score_loss(label, score))
    assert found.log_loss.value == pytest.approx(metrics.log_loss(label, score))
    assert found.positive_frac.value == pytest.approx(label.mean())
    returns = predictions["forward_return"].to_numpy()
    assert found.hit_rate.value == pytest.approx((returns[decided] > 0).mean())
    assert metrics.confusion_matrix(label, decided).ravel().tolist() == [
        summary.n_true_negative,
        summary.n_false_positive,
        summary.n_false_negative,
        summary.n_true_positive,
    ]


def test_intervals_enclose_their_figures() -> None:
    """Every figure with an interval lies in it; every other one has a reason."""
    found = validated(*market()).summary

    for record in (found.classification, found.strategy, found.universe):
        for _, figure in record:
            if not isinstance(figure, Figure):
                continue
            assert figure.n > 0
            if figure.lower is None or figure.upper is None:
                assert figure.reason is not None
            elif figure.reason is None and figure.unit == "fraction":
                assert figure.value is not None
                assert figure.lower <= figure.upper


def test_noise_is_not_seen_as_skill_and_knowledge_is() -> None:
    """Random scores leave 0.5 in the interval of the AUC, informed ones lie above their placebo."""
    noise = validated(*market(1)).summary.classification
    skill = validated(*market(1, knowledge=1.0)).summary

    assert noise.auc.lower is not None
    assert noise.auc.upper is not None
    assert noise.auc.lower < 0.5 < noise.auc.upper
    found = skill.classification
    assert found.auc.lower is not None
    assert found.auc.lower > 0.6
    assert found.auc_placebo.upper is not None
    assert found.auc_placebo.upper < found.auc.lower
    assert found.window_auc_mean.value is not None
    assert found.window_auc_placebo.upper is not None
    assert found.window_auc_mean.value > found.window_auc_placebo.upper
    assert skill.strategy.net_total_return.value is not None
    assert skill.universe.net_total_return.value is not None
    assert skill.strategy.gross_sharpe.value is not None
    assert skill.strategy.gross_sharpe.value > 0


@pytest.mark.parametrize("column", ["symbol", "scored_window"])
def test_tables_equal_a_loop_over_groups(column: str) -> None:
    """Each row of a table is what scikit-learn says of the rows of its group."""
    predictions, bars = market(2)
    found = validated(predictions, bars)
    table = found.by_symbol if column == "symbol" else found.by_window

    assert table[column].to_list() == sorted(predictions[column].unique())
    for row in table.iter_rows(named=True):
        part = predictions.filter(pl.col(column) == row[column])
        label, score = part["label"].to_numpy(), part["score"].to_numpy()
        decided = score >= 0.6
        assert row["n"] == part.height
        assert row["n_positive"] == label.sum()
        assert row["n_decided"] == decided.sum()
        assert row["auc"] == pytest.approx(metrics.roc_auc_score(label, score))
        assert row["f1"] == pytest.approx(metrics.f1_score(label, decided))
        assert row["brier_score"] == pytest.approx(((score - label) ** 2).mean())
        assert (row["auc_lower"] is None) is (column == "scored_window")
        assert 0.2 < row["auc_placebo"] < 0.8


def test_mean_over_windows_is_the_mean_of_the_table() -> None:
    """The mean of per-window AUCs is that of the table's column, its n the windows with one."""
    found = validated(*market(2))

    figure = found.summary.classification.window_auc_mean

    assert figure.value == pytest.approx(found.by_window["auc"].to_numpy().mean())
    assert figure.n == found.by_window.height == 18


def test_rows_without_a_label_count_as_scored_only() -> None:
    """A null label leaves the figures of scores and stays in the portfolio."""
    predictions, bars = market()
    is_hidden = pl.col("session_number") >= FIRST + 100
    hidden = predictions.with_columns(
        pl.when(~is_hidden).then(pl.col(name)).alias(name) for name in ("label", "forward_return")
    )
    unscored = hidden.with_columns(score=pl.when(pl.col("session_number") > FIRST).then("score"))

    whole, found = validated(predictions, bars), validated(unscored, bars)

    assert found.summary.n_predictions == predictions.height
    assert found.summary.n_scored == predictions.height - N_SYMBOLS
    assert found.summary.n_labelled == 99 * N_SYMBOLS
    assert found.summary.classification.auc.n == 99 * N_SYMBOLS
    assert found.returns["session"].max() == whole.returns["session"].max()


def test_the_same_seed_gives_the_same_summary_in_any_row_order() -> None:
    """Shuffled predictions give the same record and tables; another seed other intervals."""
    predictions, bars = market()

    one = validated(predictions, bars)
    two = validated(predictions.sample(fraction=1, shuffle=True, seed=4), bars)
    other = validated(predictions, bars, seed=4)

    assert one.summary == two.summary
    assert one.by_symbol.equals(two.by_symbol)
    assert one.by_window.equals(two.by_window)
    assert one.calibration.equals(two.calibration)
    assert other.summary.classification.auc.lower != one.summary.classification.auc.lower


def test_record_survives_json() -> None:
    """Record to JSON to record is the identity."""
    summary = validated(*market()).summary

    assert ValidationSummary.model_validate_json(summary.model_dump_json()) == summary


def test_nothing_scored_is_all_reasons() -> None:
    """Without predictions every figure is absent with a reason, and the tables are empty."""
    predictions, bars = market()

    found = validated(predictions.clear(), bars)

    for record in (
        found.summary.classification,
        found.summary.strategy,
        found.summary.universe,
        found.summary.nifty50,
    ):
        for name, figure in record:
            if isinstance(figure, Figure) and name != "n_trades":
                assert figure.value is None
                assert figure.reason
    assert found.by_symbol.is_empty()
    assert found.by_window.is_empty()
    assert found.calibration.is_empty()
    assert "- (no sessions)" in render_markdown(found.summary)


def test_one_class_has_no_auc() -> None:
    """When all labels are zero there is no AUC, recall or placebo, but a Brier score."""
    predictions, bars = market()

    found = validated(predictions.with_columns(label=pl.lit(0, dtype=pl.Int8)), bars)
    scores = found.summary.classification

    assert scores.auc.reason == "one class only"
    assert scores.auc_placebo.value is None
    assert scores.recall.reason == "no positive labels"
    assert scores.brier_score.value is not None
    assert found.by_symbol["auc"].null_count() == N_SYMBOLS
    assert found.by_symbol["recall"].null_count() == N_SYMBOLS
    assert found.by_symbol["auc_lower"].null_count() == N_SYMBOLS


def test_windows_of_one_class_are_told() -> None:
    """Windows without both classes are left out of the mean, and counted in the note."""
    predictions, bars = market()
    one_class = predictions.with_columns(
        label=pl.when(pl.col("scored_window").str.ends_with("w1"))
        .then(pl.lit(1, dtype=pl.Int8))
        .otherwise("label")
    )

    figure = validated(one_class, bars).summary.classification.window_auc_mean

    assert figure.n == 12
    assert figure.reason is not None
    assert "6 of 18 windows hold one class only" in figure.reason


def test_pooled_auc_with_windows_of_one_class_each() -> None:
    """When every window has one class the mean over windows and its placebo are absent."""
    predictions, bars = market()
    split = predictions.with_columns(
        label=pl.col("scored_window").str.ends_with("w1").cast(pl.Int8)
    )

    found = validated(split, bars).summary.classification

    assert found.auc.value is not None
    assert found.window_auc_mean.value is None
    assert found.window_auc_placebo.reason == "no placebo is defined"


def test_missing_benchmark_is_absent_not_zero() -> None:
    """Without NIFTY 50 its column holds reasons."""
    predictions, bars = market()
    strategy, universe = traded(predictions, bars)

    found = validate(
        predictions,
        backtest=strategy,
        universe=universe,
        benchmark=None,
        annual_risk_free_frac=0.065,
        seed=1,
        config=CONFIG,
    )

    assert found.summary.nifty50.net_total_return.reason == "no sessions"
    assert found.returns["benchmark_return"].null_count() == found.returns.height


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n_bootstrap_draws", 150),
        ("confidence", 0.8),
        ("min_block_sessions", 2),
        ("n_calibration_bins", 5),
        ("n_placebo", 9),
    ],
)
def test_every_setting_acts(field: str, value: float) -> None:
    """Changing a setting changes figures, beyond the record of the setting itself."""
    predictions, bars = market()
    changed = CONFIG.model_copy(update={field: value})

    before, after = validated(predictions, bars), validated(predictions, bars, changed)

    assert before.summary.classification != after.summary.classification


def broken(name: str, value: float | None) -> pl.DataFrame:
    predictions, _ = market()
    is_first = pl.int_range(pl.len()) == 0
    changed = pl.when(is_first).then(pl.lit(value, dtype=pl.Float64)).otherwise(pl.col(name))
    return predictions.with_columns(changed.alias(name))


@pytest.mark.parametrize(
    ("predictions", "what"),
    [
        (market()[0].drop("scored_window"), "lack columns"),
        (broken("score", 1.5), "outside"),
        (broken("score", float("nan")), "outside"),
        (broken("forward_return", None), "without its forward return"),
    ],
)
def test_contradicting_predictions_are_refused(predictions: pl.DataFrame, what: str) -> None:
    """Missing columns, scores that are no probability and unpaired labels stop the validation."""
    good, bars = market()
    strategy, universe = traded(good, bars)

    with pytest.raises(DataError, match=what):
        validate(
            predictions,
            backtest=strategy,
            universe=universe,
            benchmark=None,
            annual_risk_free_frac=0.065,
            seed=1,
            config=CONFIG,
        )


def test_markdown_shows_figures_with_intervals_and_gaps() -> None:
    """The text holds every figure by name, intervals in brackets, and what is not done."""
    summary = validated(*market()).summary

    text = render_markdown(summary)

    for record in (summary.classification, summary.strategy):
        for name, figure in record:
            if isinstance(figure, Figure):
                assert f"| {name} |" in text
    assert "| strategy | universe | nifty50 |" in text
    assert "an index is not traded" in text
    assert "[0." in text
    for sentence in summary.not_done_yet:
        assert sentence in text
    assert text.endswith("\n")


def test_only_probabilities_can_be_too_high() -> None:
    """Brier score, log loss and calibration are those of the rows that have a probability."""
    predictions, bars = market()
    half = predictions.with_columns(probability=pl.when(pl.int_range(pl.len()) % 2 == 0).then(0.3))

    found = validated(half, bars).summary.classification

    known = half.drop_nulls(["probability", "label"])["label"].to_numpy()
    assert found.brier_score.n == known.size
    assert found.brier_score.value == pytest.approx(((0.3 - known) ** 2).mean())
    assert found.log_loss.value == pytest.approx(metrics.log_loss(known, np.full(known.size, 0.3)))
    assert found.auc.n == half["label"].count()


def test_without_calibration_there_is_no_figure_of_levels() -> None:
    """A student that only ranks has an AUC, and no Brier score, log loss or calibration error."""
    predictions, bars = market()

    found = validated(
        predictions.with_columns(probability=pl.lit(None, dtype=pl.Float64)), bars
    ).summary.classification

    assert found.auc.value is not None
    for figure in (found.brier_score, found.log_loss, found.expected_calibration_error):
        assert figure.value is None
        assert figure.reason
