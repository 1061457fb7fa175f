"""Tests of many at once agree with the libraries, with brute force and with the truth of worlds."""

from datetime import date, timedelta
from typing import Any, cast

import numpy as np
import polars as pl
import pytest
from arch.bootstrap import SPA, StationaryBootstrap, StepM
from scipy import stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats import multitest

from sensequant.evaluation.contenders import Contenders
from sensequant.evaluation.hac import hac_fit, hac_lags
from sensequant.evaluation.hypotheses import ReturnSeries, SignificanceConfig
from sensequant.evaluation.multiple_testing import (
    contender_discoveries,
    contender_tests,
    overfitting_probability,
    superior_contenders,
    symbol_discoveries,
    symbol_tests,
)

CONFIG = SignificanceConfig(n_draws=500)
DAY = date(2020, 1, 1)


def data(config: SignificanceConfig = CONFIG) -> ReturnSeries:
    return ReturnSeries(
        net=np.zeros(0),
        paired_net=np.zeros(0),
        benchmark=np.zeros(0),
        risk_free=0.0,
        horizon=3,
        seed=7,
        config=config,
    )


def contenders(edges: tuple[float, ...], *, n: int = 300, seed: int = 0) -> Contenders:
    rng = np.random.default_rng(seed)
    benchmark = rng.normal(0, 0.01, n)
    scale = 0.004 * (1 + np.arange(len(edges)))
    returns = benchmark[:, None] + rng.normal(edges, scale, (n, len(edges)))
    names = tuple(f"c{place}" for place in range(len(edges)))
    return Contenders(names, "c0", returns, benchmark, 0)


def scored(edges: dict[str, float], *, n: int = 250, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    parts: list[pl.DataFrame] = []
    for symbol, edge in edges.items():
        score = rng.random(n)
        later = edge * (score - 0.5) + rng.normal(0, 0.02, n)
        parts.append(
            pl.DataFrame(
                {
                    "symbol": symbol,
                    "session_number": np.arange(n),
                    "score": score,
                    "forward_return": later,
                }
            )
        )
    return pl.concat(parts)


def studentised(found: Contenders) -> np.ndarray:
    excess = found.returns - found.benchmark[:, None]
    lags = hac_lags(len(excess), 3)
    errors = [hac_fit(column, np.ones((len(excess), 1)), lags).errors[0] for column in excess.T]
    return excess / np.array(errors) / np.sqrt(len(excess))


def test_superior_ability_equals_arch() -> None:
    """On excess divided by its HAC error, with the same seed, block and draws."""
    found = contenders((0.0006, 0.0, 0.0002))

    spa, step = superior_contenders(found, data(), reason=None)

    assert spa.seed is not None
    assert spa.block_sessions is not None
    scaled = studentised(found)
    arguments: dict[str, Any] = {"block_size": spa.block_sessions, "reps": 500}
    test = SPA(np.zeros(300), -scaled, seed=np.random.default_rng(spa.seed), **arguments)
    test.compute()
    p_values = cast("Any", test.pvalues)
    assert spa.p_value == pytest.approx(float(p_values["consistent"]))
    assert spa.inputs["p_lower"] == pytest.approx(float(p_values["lower"]))
    assert spa.inputs["p_upper"] == pytest.approx(float(p_values["upper"]))
    model = StepM(np.zeros(300), -scaled, seed=np.random.default_rng(spa.seed), **arguments)
    model.compute()
    assert step.estimate == len(model.superior_models)
    assert step.rejects_null is (0 in model.superior_models)


def test_superior_ability_by_brute_force() -> None:
    """Hansen's statistic, recentred by his threshold, drawn index by index."""
    found = contenders((0.0003, -0.002, 0.0002), seed=4)

    spa, _ = superior_contenders(found, data(), reason=None)

    assert spa.block_sessions is not None
    values = studentised(found) * np.sqrt(300)
    n, p = len(values), 1 / spa.block_sessions
    centred = values - values.mean(axis=0)
    variance = (centred**2).sum(axis=0) / n
    for lag in range(1, n):
        kernel = (1 - lag / n) * (1 - p) ** lag + lag / n * (1 - p) ** (n - lag)
        variance += 2 * kernel * (centred[:-lag] * centred[lag:]).sum(axis=0) / n
    means = values.mean(axis=0)
    threshold = -np.sqrt(variance / n * 2 * np.log(np.log(n)))
    recentre = np.where(means >= threshold, means, 0.0)
    assert (recentre == 0).any()
    drawn = StationaryBootstrap(
        spa.block_sessions, np.arange(n), seed=np.random.default_rng(spa.seed)
    )
    beyond = [
        (values[indices[0]].mean(axis=0) - recentre).max() > means.max()
        for indices, _ in drawn.bootstrap(500)
    ]
    assert spa.p_value == pytest.approx(np.mean(beyond))


def test_the_best_of_many_without_skill_is_rarely_superior() -> None:
    """Of 60 universes of eight contenders without an edge, about three are rejected."""
    rejected = 0
    config = SignificanceConfig(n_draws=100)
    for seed in range(60):
        spa, _ = superior_contenders(
            contenders((0.0,) * 8, seed=seed, n=200), data(config), reason=None
        )
        rejected += bool(spa.rejects_null)

    assert rejected <= 8


def test_step_wise_names_those_with_an_edge() -> None:
    """The contender that is judged passes where it has the edge, and not where another has."""
    with_edge = contenders((0.002, 0.0, 0.0))
    other = Contenders(with_edge.names, "c1", with_edge.returns, with_edge.benchmark, 0)

    own, its = (superior_contenders(each, data(), reason=None)[1] for each in (with_edge, other))

    assert own.estimate == its.estimate == 1
    assert own.rejects_null is True
    assert its.rejects_null is False


def test_all_may_be_superior_one_step_after_the_other() -> None:
    """The first is so far ahead that the second is found only without it; then nobody is left."""
    found = contenders((0.02, 0.0012), seed=2)
    second = Contenders(("c1",), "c1", found.returns[:, 1:], found.benchmark, 0)

    step, alone = (superior_contenders(each, data(), reason=None)[1] for each in (found, second))

    assert alone.rejects_null is True
    assert step.estimate == 2
    assert step.rejects_null is True


def test_overfitting_is_near_one_half_on_noise_and_none_with_an_edge() -> None:
    """Choosing among twelve noises is worth nothing on average; choosing a real edge is."""
    on_noise = [
        overfitting_probability(
            contenders((0.0,) * 12, seed=seed), SignificanceConfig(n_cscv_blocks=8), reason=None
        ).estimate
        or 0.0
        for seed in range(40)
    ]
    with_edge = overfitting_probability(contenders((0.003, 0.0, 0.0)), CONFIG, reason=None)

    assert np.mean(on_noise) == pytest.approx(0.5, abs=3 * np.std(on_noise) / 40**0.5)
    assert with_edge.estimate is not None
    assert with_edge.estimate < 0.02
    assert with_edge.inputs["n_splits"] == 12_870


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (contenders((0.0,)), "at least 2 are needed"),
        (contenders((0.0, 0.0), n=40), "40 sessions are too few"),
        (Contenders((), None, np.zeros((100, 0)), np.zeros(100), 2), "0 contenders"),
    ],
)
def test_too_little_to_choose_from_has_a_reason(found: Contenders, reason: str) -> None:
    """One contender, a short history, none that varies."""
    answer = overfitting_probability(found, CONFIG, reason=None)

    assert reason in (answer.reason or "")
    assert answer.estimate is None


def test_contenders_that_stand_still_have_no_overfitting() -> None:
    """Returns that do not vary in half of the blocks have no Sharpe ratio there."""
    found = contenders((0.0, 0.0))
    found.returns[:160, 1] = 0.0

    answer = overfitting_probability(found, CONFIG, reason=None)

    assert "do not vary in some half" in (answer.reason or "")


def test_without_a_benchmark_nobody_is_superior() -> None:
    """Absent with its reason, for the best and for the one that is judged."""
    known = contenders((0.01, 0.0))
    found = Contenders(known.names, "c0", known.returns, np.full(300, np.nan), 0)

    for answer in superior_contenders(found, data(), reason=None):
        assert answer.reason == "no benchmark"
        assert answer.rejects_null is None


def test_a_contender_that_is_the_benchmark_has_no_error() -> None:
    """Its excess is zero throughout, which no statistic can be made of."""
    known = contenders((0.01, 0.0))
    known.returns[:, 1] = known.benchmark

    spa, _ = superior_contenders(known, data(), reason=None)

    assert spa.reason == "a contender follows the benchmark exactly"


def test_contenders_are_laid_on_the_sessions_that_all_share() -> None:
    """Who has four fifths of the sessions shortens all; who has fewer is counted as left out."""
    n = 100
    days = [DAY + timedelta(days=place) for place in range(n)]
    rng = np.random.default_rng(0)
    returns = pl.DataFrame({"session": days, "benchmark_return": rng.normal(size=n)})
    tried = pl.DataFrame(
        {
            "session": days,
            "own": rng.normal(size=n),
            "late": [None] * 15 + rng.normal(size=n - 15).tolist(),
            "elsewhere": [None] * 60 + rng.normal(size=n - 60).tolist(),
            "still": [0.0] * n,
        }
    )

    found = Contenders.of(returns, tried, "own")

    assert found.names == ("own", "late")
    assert found.returns.shape == (85, 2)
    assert found.n_left_out == 2
    assert found.own == "own"
    assert Contenders.of(returns, tried, "still").own is None


def test_tests_of_contenders_are_those_of_statsmodels() -> None:
    """HAC t-tests, adjusted as `multipletests` does, and the own one told."""
    found = contenders((0.001, 0.0, 0.0, 0.0004))

    table = contender_tests(found, data())
    answer = contender_discoveries(table, CONFIG)

    p_values: list[float] = []
    for column in found.excess.T:
        fit = cast("Any", OLS(column, np.ones(300))).fit(
            cov_type="HAC", cov_kwds={"maxlags": hac_lags(300, 3), "use_correction": True}
        )
        p_values.append(float(stats.t.sf(float(fit.tvalues[0]), 299)))
    assert table["p_value"].to_list() == pytest.approx(p_values)
    for column, method in (
        ("p_benjamini_hochberg", "fdr_bh"),
        ("p_benjamini_yekutieli", "fdr_by"),
    ):
        assert table[column].to_list() == pytest.approx(
            list(cast("Any", multitest).multipletests(p_values, method=method)[1])
        )
    assert answer.p_value == table["p_benjamini_hochberg"][0]
    assert answer.inputs["p_alone"] == table["p_value"][0]
    assert answer.estimate == table["is_discovery"].sum()


def test_discoveries_over_symbols_are_the_planted_ones() -> None:
    """Two of twenty symbols have an edge: both are found, and hardly any other."""
    edges = {f"S{place:02}": 0.0 for place in range(20)} | {"S03": 0.05, "S11": 0.05}

    table = symbol_tests(scored(edges), horizon_sessions=1, config=CONFIG)
    answer = symbol_discoveries(table, CONFIG)

    found = set(table.filter("is_discovery")["symbol"])
    assert {"S03", "S11"} <= found
    assert len(found) <= 4
    assert answer.rejects_null is True
    assert answer.estimate == len(found)
    assert answer.inputs["n_symbols"] == 20


def test_a_symbol_is_tested_by_the_regression_of_statsmodels() -> None:
    """Slope, t statistic and one-sided p-value, lags no fewer than the overlap."""
    rows = scored({"A": 0.01})
    design = np.column_stack([np.ones(250), rows["score"].to_numpy()])
    fit = cast("Any", OLS(rows["forward_return"].to_numpy(), design)).fit(
        cov_type="HAC", cov_kwds={"maxlags": 9, "use_correction": True}
    )

    (row,) = symbol_tests(rows, horizon_sessions=10, config=CONFIG).iter_rows(named=True)

    assert row["lags"] == 9
    assert row["estimate"] == pytest.approx(float(fit.params[1]))
    assert row["statistic"] == pytest.approx(float(fit.tvalues[1]))
    assert row["p_value"] == pytest.approx(float(stats.t.sf(float(fit.tvalues[1]), 248)))


def test_overlapping_returns_leave_fewer_effective_rows() -> None:
    """Forward returns of ten sessions and scores that persist are a tenth of the evidence."""
    rng = np.random.default_rng(3)
    slow = np.convolve(rng.normal(size=1009), np.ones(10) / 10, mode="valid")
    later = np.convolve(rng.normal(0, 0.02, 1009), np.ones(10), mode="valid")
    rows = pl.DataFrame(
        {
            "symbol": "A",
            "session_number": np.arange(1000),
            "score": slow,
            "forward_return": later,
        }
    )

    (row,) = symbol_tests(rows, horizon_sessions=10, config=CONFIG).iter_rows(named=True)

    assert row["n_effective"] < 400


def test_no_symbol_that_can_be_tested_is_no_discovery() -> None:
    """Short histories and constant scores have reasons; none at all has one, too."""
    short = scored({"A": 0.1}, n=30)
    flat = scored({"B": 0.1}).with_columns(score=pl.lit(0.5))
    table = symbol_tests(pl.concat([short, flat]), horizon_sessions=1, config=CONFIG)

    answer = symbol_discoveries(table, CONFIG)

    assert table["reason"].to_list() == [
        "30 sessions are too few, at least 60 are needed",
        "the scores do not vary",
    ]
    assert answer.rejects_null is None
    assert "no symbol can be tested" in (answer.reason or "")
    assert symbol_discoveries(table.clear(), CONFIG).reason is not None


def test_no_edge_anywhere_is_rarely_discovered() -> None:
    """Of 60 universes of ten symbols without an edge, about three claim one."""
    claims = sum(
        bool(
            symbol_discoveries(
                symbol_tests(
                    scored({f"S{i}": 0.0 for i in range(10)}, seed=seed),
                    horizon_sessions=1,
                    config=CONFIG,
                ),
                CONFIG,
            ).rejects_null
        )
        for seed in range(60)
    )

    assert claims <= 8


def test_cash_stands_still_although_its_equity_is_rounded() -> None:
    """A contender in cash for half of the blocks has no Sharpe ratio in a half that has none."""
    rng = np.random.default_rng(5)
    returns = rng.normal(0.0005, 0.01, (320, 3))
    equity = 1e7 * 1.00025 ** np.arange(201)
    returns[:200, 0] = equity[1:] / equity[:-1] - 1
    frame = pl.DataFrame({"session": range(320), "benchmark_return": [0.0] * 320})
    tried = pl.DataFrame({"session": range(320)} | {f"c{n}": returns[:, n] for n in range(3)})

    found = overfitting_probability(
        Contenders.of(frame, tried, None), SignificanceConfig(), reason=None
    )

    assert np.ptp(returns[:200, 0]) > 0
    assert found.estimate is None
    assert "do not vary in some half" in (found.reason or "")
