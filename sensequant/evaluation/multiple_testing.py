"""Tests that many contenders, symbols or runs take at once, and what that costs each of them.

Belongs here: the best of all contenders against chance, and the rate of false discoveries over
symbols and over contenders. Does not belong here: the choice of the best across splits
(`overfitting`), tests of one series (`inference`).

Sources
-------
- P. R. Hansen (2005), "A Test for Superior Predictive Ability": `arch`, whose statistic is the
  largest mean. Dividing each contender's excess by its HAC error beforehand makes it the largest
  t statistic, as in the paper.
- J. P. Romano and M. Wolf (2005), "Stepwise Multiple Testing as Formalized Data Snooping": `arch`.
- Y. Benjamini and Y. Hochberg (1995): `scipy`; valid for independent or positively dependent
  tests. Y. Benjamini and D. Yekutieli (2001): for any dependence, told beside it.
- R. J. Simes (1986): the smallest adjusted p-value tests that there is nothing at all.
"""

from typing import Any, cast

import numpy as np
import polars as pl
from arch.bootstrap import SPA
from numpy.typing import NDArray
from scipy import stats

from sensequant.evaluation.bootstrap import block_length
from sensequant.evaluation.contenders import Contenders
from sensequant.evaluation.hac import HacFit, hac_fit, hac_lags
from sensequant.evaluation.hypotheses import (
    ReturnSeries,
    SignificanceConfig,
    TestResult,
    answered,
    unanswered,
)
from sensequant.evaluation.overfitting import cross_validate_choice
from sensequant.records import derive_seed

__all__ = [
    "BY_CONTENDER_SCHEMA",
    "BY_SYMBOL_SCHEMA",
    "contender_discoveries",
    "contender_tests",
    "overfitting_probability",
    "superior_contenders",
    "symbol_discoveries",
    "symbol_tests",
]

_Floats = NDArray[np.float64]

_TESTED = {
    "n": pl.Int64,
    "n_effective": pl.Float64,
    "lags": pl.Int64,
    "estimate": pl.Float64,
    "statistic": pl.Float64,
    "p_value": pl.Float64,
    "p_benjamini_hochberg": pl.Float64,
    "p_benjamini_yekutieli": pl.Float64,
    "is_discovery": pl.Boolean,
    "reason": pl.String,
}
BY_SYMBOL_SCHEMA = pl.Schema({"symbol": pl.String} | _TESTED)
"""`estimate` is the rise of the forward return, as a fraction, per unit of score."""

BY_CONTENDER_SCHEMA = pl.Schema({"contender": pl.String, "is_own": pl.Boolean} | _TESTED)
"""`estimate` is the mean net return over the benchmark, as a fraction per year."""

_RESIDUAL_NOISE = 1e-12
_ROUNDING = 1e-14
"""Returns nearer to each other than this differ by rounding of the equity, which is near one."""
_NO_BENCHMARK = "no benchmark"


def overfitting_probability(
    found: Contenders, config: SignificanceConfig, *, reason: str | None
) -> TestResult:
    """Return the probability that choosing the best of all contenders in sample was worth nothing.

    Parameters
    ----------
    found
        The contenders.
    config
        Fewest sessions, number of blocks.
    reason
        Why the contenders cannot be relied on, if so.
    """
    blank = TestResult(
        name="overfitting_probability",
        null=None,
        alternative=None,
        source="Bailey, Borwein, López de Prado and Zhu (2017): CSCV on Sharpe ratios",
        assumptions="Blocks of sessions are exchangeable; the contenders are all that was tried.",
        no_interval="every split of one sample was played; the splits are not independent",
    )
    n = len(found.returns)
    reason = reason or _too_few(found, n, config)
    if reason is None and n < 2 * config.n_cscv_blocks:
        reason = f"{n} sessions do not fill {config.n_cscv_blocks} blocks"
    if reason is None and not _varies_in_every_half(found.returns, config.n_cscv_blocks):
        reason = "a contender's returns do not vary in some half of the blocks"
    if reason:
        return unanswered(blank, n, reason)
    played = cross_validate_choice(found.returns, n_blocks=config.n_cscv_blocks)
    inputs = {
        "n_contenders": float(len(found.names)),
        "n_contenders_left_out": float(found.n_left_out),
        "n_blocks": float(config.n_cscv_blocks),
        "n_splits": float(played.n_splits),
        "loss_frac": played.loss_frac,
    }
    if played.degradation is not None:
        inputs["degradation_slope"] = played.degradation
    return answered(
        blank,
        config,
        estimate=played.overfit_frac,
        unit="probability",
        n=n,
        n_effective=float(config.n_cscv_blocks),
        inputs=inputs,
    )


def superior_contenders(
    found: Contenders, data: ReturnSeries, *, reason: str | None
) -> tuple[TestResult, TestResult]:
    """Test the best of all contenders, and the one that is judged among them, for an excess.

    Parameters
    ----------
    found
        The contenders.
    data
        Horizon, seed and settings.
    reason
        Why the contenders cannot be relied on, if so.

    Returns
    -------
    tuple
        Superior predictive ability; step-wise test of the contender that is judged.
    """
    best = TestResult(
        name="superior_predictive_ability",
        null="no contender earns more than the benchmark",
        alternative="the best contender earns more than the benchmark",
        source="Hansen (2005), studentised by HAC errors",
        assumptions="Stationary, weakly dependent excess returns; all contenders are counted.",
    )
    own = TestResult(
        name="step_m",
        null="this contender earns no more than the benchmark",
        alternative="this contender earns more, at a family-wise error over all contenders",
        source="Romano and Wolf (2005), studentised by HAC errors",
        assumptions=best.assumptions,
        no_interval="a count",
    )
    excess = found.excess
    n, config = len(excess), data.config
    reason = reason or (None if n or not len(found.returns) else _NO_BENCHMARK)
    reason = reason or _too_few(found, n, config, least=1)
    if reason:
        return unanswered(best, n, reason), unanswered(own, n, reason)
    errors = _errors(excess, data.horizon)
    if errors is None:
        follows = "a contender follows the benchmark exactly"
        return unanswered(best, n, follows), unanswered(own, n, follows)
    block = max(block_length(column, min_block=data.horizon) for column in excess.T)
    seed = derive_seed(data.seed, best.name)
    spa_test = SPA(
        np.zeros(n),
        -excess / errors / np.sqrt(n),
        block_size=block,
        reps=config.n_draws,
        seed=np.random.default_rng(seed),
    )
    # The step-wise test draws on the very simulation of the test of the best.
    spa_test.compute()
    p_values = cast("Any", spa_test.pvalues)
    superior = _step_wise(spa_test, size=1 - config.confidence, n_contenders=len(found.names))
    winners = [found.names[place] for place in superior]
    statistics = excess.mean(axis=0) / errors
    common: dict[str, Any] = {
        "n": n,
        "n_effective": n / block,
        "block_sessions": block,
        "lags": hac_lags(n, data.horizon),
        "seed": seed,
    }
    counts = {
        "n_contenders": float(len(found.names)),
        "n_contenders_left_out": float(found.n_left_out),
    }
    top = int(statistics.argmax())
    spa = answered(
        best,
        config,
        statistic=float(statistics[top]),
        p_value=float(p_values["consistent"]),
        estimate=float(excess[:, top].mean()) * data.yearly,
        unit="fraction per year",
        no_interval="the mean of the best of several is biased upward",
        inputs=counts | {f"p_{name}": float(p_values[name]) for name in ("lower", "upper")},
        **common,
    )
    if found.own is None:
        return spa, unanswered(own, n, "this run has no contender on these sessions")
    stepped = answered(
        own,
        config,
        statistic=float(statistics[found.names.index(found.own)]),
        estimate=float(len(winners)),
        unit="superior contenders",
        inputs=counts,
        **common,
    )
    return spa, stepped.model_copy(update={"rejects_null": found.own in winners})


def _step_wise(spa_test: SPA, *, size: float, n_contenders: int) -> list[int]:
    """Return the places of all that are superior, until nothing is left or nobody is superior.

    As `arch.bootstrap.StepM`, which fails where later steps remove the last contender.
    """
    is_left = np.ones(n_contenders, dtype=np.bool_)
    while is_left.any():
        spa_test.subset(is_left.copy())
        spa_test.compute()
        better = cast("list[int]", list(spa_test.better_models(size)))
        if not better:
            break
        is_left[better] = False
    return np.flatnonzero(~is_left).tolist()


def contender_tests(found: Contenders, data: ReturnSeries) -> pl.DataFrame:
    """Test every contender for a mean excess over the benchmark; see `BY_CONTENDER_SCHEMA`."""
    excess, config = found.excess, data.config
    n = len(excess)
    lags = hac_lags(n, data.horizon) if n else 0
    rows: list[dict[str, Any]] = []
    for place, name in enumerate(found.names):
        values = excess[:, place]
        row: dict[str, Any] = {"contender": name, "is_own": name == found.own, "n": n}
        if n < config.min_sessions:
            rows.append(row | {"reason": _few(n, config)})
            continue
        fit = hac_fit(values, np.ones((n, 1)), lags)
        rows.append(row | _tested(fit, 0, lags, n=n, scale=data.yearly))
    return _adjusted(rows, BY_CONTENDER_SCHEMA, config)


def contender_discoveries(table: pl.DataFrame, config: SignificanceConfig) -> TestResult:
    """Sum up whether the contender that is judged stands out among all that were tested."""
    blank = TestResult(
        name="false_discovery_runs",
        null="this contender earns no more than the benchmark",
        alternative="this contender earns more, at a false-discovery rate over all contenders",
        source="Benjamini and Hochberg (1995) on t-tests with HAC errors",
        assumptions="Tests of contenders are independent or positively dependent.",
        no_interval="a count",
    )
    own = table.filter("is_own")
    tested = table.drop_nulls("p_value")
    if own["p_value"].count() == 0:
        reason = own["reason"].item() if own.height else None
        n = int(own["n"].item()) if own.height else 0
        return unanswered(blank, n, reason or "this run has no contender to compare")
    row = own.row(0, named=True)
    return answered(
        blank,
        config,
        statistic=row["statistic"],
        p_value=row["p_benjamini_hochberg"],
        estimate=float(tested["is_discovery"].sum()),
        unit="contenders discovered",
        n=row["n"],
        n_effective=row["n_effective"],
        lags=row["lags"],
        inputs={
            "n_contenders": float(tested.height),
            "p_alone": row["p_value"],
            "p_benjamini_yekutieli": row["p_benjamini_yekutieli"],
        },
    )


def symbol_tests(
    scores: pl.DataFrame, *, horizon_sessions: int, config: SignificanceConfig
) -> pl.DataFrame:
    """Test for every symbol whether its later return rises with its score.

    Parameters
    ----------
    scores
        symbol, session_number, score, forward_return; rows without one of the last two are left
        out.
    horizon_sessions
        Overlap of neighbouring forward returns.
    config
        Fewest sessions, confidence.

    Returns
    -------
    polars.DataFrame
        By symbol; see `BY_SYMBOL_SCHEMA`.
    """
    known = scores.drop_nulls(["score", "forward_return"]).sort("symbol", "session_number")
    rows: list[dict[str, Any]] = []
    for (symbol,), part in known.group_by("symbol", maintain_order=True):
        n, score = part.height, part["score"].to_numpy().astype(np.float64)
        row: dict[str, Any] = {"symbol": symbol, "n": n}
        if n < config.min_sessions:
            rows.append(row | {"reason": _few(n, config)})
        elif np.ptp(score) <= _RESIDUAL_NOISE * np.abs(score).max():
            rows.append(row | {"reason": "the scores do not vary"})
        else:
            later = part["forward_return"].to_numpy().astype(np.float64)
            rows.append(row | _slope_tested(score, later, hac_lags(n, horizon_sessions)))
    return _adjusted(rows, BY_SYMBOL_SCHEMA, config)


def symbol_discoveries(table: pl.DataFrame, config: SignificanceConfig) -> TestResult:
    """Sum up in how many symbols the scores tell, beyond what chance would find."""
    blank = TestResult(
        name="false_discovery_symbols",
        null="of no symbol does the later return rise with the score",
        alternative="of some symbol it does",
        source="Benjamini and Hochberg (1995), Simes (1986) on regressions with HAC errors",
        assumptions="Tests of symbols are independent or positively dependent.",
        no_interval="a count",
    )
    tested = table.drop_nulls("p_value")
    if tested.is_empty():
        reason = table["reason"][0] if table.height else "no row was scored and labelled"
        return unanswered(blank, 0, f"no symbol can be tested: {reason}")
    best = tested.sort("p_value").row(0, named=True)
    by_yekutieli = (tested["p_benjamini_yekutieli"] < 1 - config.confidence).sum()
    return answered(
        blank,
        config,
        statistic=best["statistic"],
        p_value=tested["p_benjamini_hochberg"].min(),
        estimate=float(tested["is_discovery"].sum()),
        unit="symbols discovered",
        n=int(tested["n"].sum()),
        n_effective=float(tested["n_effective"].sum()),
        inputs={
            "n_symbols": float(tested.height),
            "n_symbols_left_out": float(table.height - tested.height),
            "n_by_benjamini_yekutieli": float(by_yekutieli),
        },
    )


def _too_few(
    found: Contenders, n: int, config: SignificanceConfig, *, least: int = 2
) -> str | None:
    if len(found.names) < least:
        return f"{len(found.names)} contenders with returns that vary, at least {least} are needed"
    return _few(n, config) if n < config.min_sessions else None


def _few(n: int, config: SignificanceConfig) -> str:
    return f"{n} sessions are too few, at least {config.min_sessions} are needed"


def _varies_in_every_half(returns: _Floats, n_blocks: int) -> bool:
    blocks = np.array_split(returns, n_blocks)
    # Cash alone earns the same in every session, but for the rounding of its equity.
    flat = np.stack([np.ptp(block, axis=0) <= _ROUNDING for block in blocks])
    # Blocks that stand still, half of them or more, could be one half.
    return bool((flat.sum(axis=0) < n_blocks // 2).all())


def _errors(excess: _Floats, horizon: int) -> _Floats | None:
    n = len(excess)
    design, lags = np.ones((n, 1)), hac_lags(n, horizon)
    errors = np.array([hac_fit(column, design, lags).errors[0] for column in excess.T])
    is_exact = errors <= _RESIDUAL_NOISE * np.abs(excess).max(axis=0)
    return None if is_exact.any() else errors


def _slope_tested(score: _Floats, later: _Floats, lags: int) -> dict[str, Any]:
    centred = score - score.mean()
    design = np.column_stack([np.ones(score.size), centred])
    return _tested(hac_fit(later, design, lags), 1, lags, n=score.size)


def _tested(fit: HacFit, place: int, lags: int, *, n: int, scale: float = 1.0) -> dict[str, Any]:
    error, independent = float(fit.errors[place]), float(fit.independent[place])
    if not error > _RESIDUAL_NOISE * independent or independent <= 0:
        return {"lags": lags, "reason": "the returns leave no error"}
    statistic = float(fit.estimates[place]) / error
    return {
        "n_effective": fit.effective_size(place, n),
        "lags": lags,
        "estimate": float(fit.estimates[place]) * scale,
        "statistic": statistic,
        "p_value": float(stats.t.sf(statistic, fit.freedom)),
    }


def _adjusted(
    rows: list[dict[str, Any]], schema: pl.Schema, config: SignificanceConfig
) -> pl.DataFrame:
    whole = [dict.fromkeys(schema) | row for row in rows]
    tested = [row for row in whole if row["p_value"] is not None]
    if tested:
        p_values = np.array([row["p_value"] for row in tested], dtype=np.float64)
        adjusted = (
            stats.false_discovery_control(p_values, method="bh"),
            stats.false_discovery_control(p_values, method="by"),
        )
        for row, hochberg, yekutieli in zip(tested, *adjusted, strict=True):
            row["p_benjamini_hochberg"] = float(hochberg)
            row["p_benjamini_yekutieli"] = float(yekutieli)
            row["is_discovery"] = bool(hochberg < 1 - config.confidence)
    return pl.DataFrame(whole, schema=schema)
