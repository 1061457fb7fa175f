"""What a family of features is worth: the method with it and without it, on the same rows.

Belongs here: the question, the tests of one family and their correction for all of them. Does not
belong here: training (`stages.ablation`), draws (`evaluation.comparison`,
`evaluation.differences`), wording (`evaluation.ablation_text`).

A difference is the figure with the family minus the figure without it, whichever of both the run
was. Scores are compared on the rows that both scored, returns on the sessions that both traded, in
pairs: what both share cancels. The p-value is two-sided, by inversion of the percentile interval:
twice the smaller share of draws on either side of zero. All p-values of all families and figures
are corrected together for the rate of any false finding (Holm 1979): on data that hold nothing, at
most one question in twenty finds something. A difference of net returns alone may be one of costs:
a family can make scores trade more without making them know more.

Sources: A. C. Davison and D. V. Hinkley (1997), "Bootstrap Methods and their Application" (p-values
by inversion); S. Holm (1979), "A simple sequentially rejective multiple test procedure"; Y.
Benjamini and Y. Hochberg (1995), "Controlling the false discovery rate".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from sensequant.evaluation.bootstrap import interval_of_draws
from sensequant.evaluation.comparison import PairedDraws, ScorePair, draw_scores
from sensequant.evaluation.differences import DIFFERENCES, UNDEFINED, draw_differences
from sensequant.evaluation.hypotheses import TestResult
from sensequant.evaluation.validation import ValidationConfig
from sensequant.features.spec import Family
from sensequant.records import Config, Record, derive_seed

__all__ = [
    "FIGURES",
    "AblationBasis",
    "AblationConfig",
    "AblationSummary",
    "FamilyWorth",
    "Worlds",
    "family_worths",
]

_Floats = NDArray[np.float64]

FIGURES = {
    "auc": "probability",
    "log_loss": "nats",
    "net_annual_return": "fraction per year",
    "net_sharpe": "annual ratio",
}
"""Name and unit of each figure; log loss is better where it is lower."""

_LOWER_IS_BETTER = "log_loss"

_SOURCES = {
    "auc": "paired two-way block bootstrap (McCullagh 2000; Owen 2007)",
    "log_loss": "paired two-way block bootstrap (McCullagh 2000; Owen 2007)",
    "net_annual_return": "paired stationary bootstrap (Politis and Romano 1994)",
    "net_sharpe": "paired stationary bootstrap (Politis and Romano 1994)",
}
_WITH, _WITHOUT = "with_family", "without_family"


class AblationConfig(Config):
    """Which families are asked about, and how sure the answer has to be."""

    families: tuple[Family, ...] = Field(
        default=(),
        description="Families of features; those that the run was fed when empty. One that it was "
        "not fed is added, and needs its data.",
    )
    n_bootstrap_draws: int = Field(
        default=2000, ge=100, le=100_000, description="Bootstrap draws per figure (a count)."
    )
    confidence: float = Field(
        default=0.95,
        ge=0.5,
        lt=1,
        description="Coverage of intervals; a family is told from zero where its corrected p-value "
        "is below 1 minus it (a fraction).",
    )
    seed: int = Field(default=42, ge=0, lt=2**31, description="Seed of the draws.")


class FamilyWorth(Record):
    """What one family is worth.

    Attributes
    ----------
    was_fed
        Whether the run was fed it, so that the variant lacks it; else the variant has it besides.
    n_columns
        Columns of the family that models are fed.
    n_rows_left_out
        Labelled rows that only one of both scored.
    worth
        One test per figure (`FIGURES`). Its `inputs` hold the figures `with` and `without` and the
        p-value corrected for all tests, `p_holm`, from which `rejects_null` follows; `q_value` is
        the share of false findings among those with a p-value as low or lower.
    """

    family: Family
    was_fed: bool
    n_columns: int
    n_rows: int
    n_rows_left_out: int
    n_sessions: int
    worth: tuple[TestResult, ...]

    @property
    def helps(self) -> tuple[str, ...]:
        """Figures that are better with it, told from zero after the correction."""
        return tuple(test.name for test in self.worth if test.rejects_null and _is_better(test))

    @property
    def harms(self) -> tuple[str, ...]:
        """Figures that are worse with it, told from zero after the correction."""
        return tuple(test.name for test in self.worth if test.rejects_null and not _is_better(test))

    def of(self, name: str) -> TestResult:
        """Return the test of one figure."""
        return next(test for test in self.worth if test.name == name)


class AblationBasis(Record):
    """What an answer follows from: the digest of all that was trained on, and that of the code."""

    inputs: str
    code: str


class AblationSummary(Record):
    """What every family that was asked about is worth.

    `basis` is None where an earlier version answered, which did not write it down.
    """

    basis: AblationBasis | None = None
    settings: AblationConfig
    is_simulated: bool
    n_symbols: int
    n_tests: int
    score: str
    families: tuple[FamilyWorth, ...]


@dataclass(frozen=True, slots=True)
class Worlds:
    """One family's pair: everything with it and without it.

    Attributes
    ----------
    family, was_fed, n_columns
        As in `FamilyWorth`.
    with_scores, without_scores
        symbol, session, session_number, label, score (in [0, 1] or null).
    with_returns, without_returns
        session, net_return.
    """

    family: Family
    was_fed: bool
    n_columns: int
    with_scores: pl.DataFrame
    without_scores: pl.DataFrame
    with_returns: pl.DataFrame
    without_returns: pl.DataFrame


def family_worths(
    worlds: Sequence[Worlds],
    *,
    config: AblationConfig,
    horizon_sessions: int,
    min_block_sessions: int,
    risk_free_daily: float,
) -> tuple[FamilyWorth, ...]:
    """Return what each family is worth, corrected for the number of all tests.

    Parameters
    ----------
    worlds
        One pair per family.
    config
        Draws, confidence, seed.
    horizon_sessions
        Overlap of neighbouring labels.
    min_block_sessions
        Least block of the bootstraps.
    risk_free_daily
        Risk-free return per session, over which Sharpe ratios are taken.
    """
    block = max(horizon_sessions, min_block_sessions)
    found = [_worth(each, config, block=block, risk_free_daily=risk_free_daily) for each in worlds]
    return _corrected(found, config)


def _worth(
    world: Worlds, config: AblationConfig, *, block: int, risk_free_daily: float
) -> FamilyWorth:
    keys = ["symbol", "session"]
    scored = world.with_scores.select(
        *keys, "session_number", "label", pl.col("score").alias(_WITH)
    ).join(world.without_scores.select(*keys, pl.col("score").alias(_WITHOUT)), on=keys, how="left")
    labelled = scored.drop_nulls("label")
    n_both = labelled.drop_nulls([_WITH, _WITHOUT]).height
    either = pl.any_horizontal(pl.col(_WITH, _WITHOUT).is_not_null())
    returns = world.with_returns.select("session", with_return="net_return").join(
        world.without_returns.select("session", without_return="net_return"), on="session"
    )
    seed = derive_seed(config.seed, world.family)
    return FamilyWorth(
        family=world.family,
        was_fed=world.was_fed,
        n_columns=world.n_columns,
        n_rows=n_both,
        n_rows_left_out=labelled.filter(either).height - n_both,
        n_sessions=returns.height,
        worth=(
            *_scores_worth(scored, config, block=block, seed=seed),
            *_returns_worth(
                returns.sort("session"),
                config,
                block=block,
                seed=seed,
                risk_free_daily=risk_free_daily,
            ),
        ),
    )


def _scores_worth(
    rows: pl.DataFrame, config: AblationConfig, *, block: int, seed: int
) -> list[TestResult]:
    drawn = draw_scores(
        rows,
        ScorePair("family", _WITH, _WITHOUT),
        horizon_sessions=block,
        seed=seed,
        config=ValidationConfig(
            n_bootstrap_draws=config.n_bootstrap_draws,
            confidence=config.confidence,
            min_block_sessions=block,
        ),
    )
    return [
        _test(name, *drawn[name], config=config, block=block, seed=seed)
        for name in ("auc", "log_loss")
    ]


def _returns_worth(
    returns: pl.DataFrame,
    config: AblationConfig,
    *,
    block: int,
    seed: int,
    risk_free_daily: float,
) -> list[TestResult]:
    drawn = draw_differences(
        returns["with_return"].to_numpy(),
        returns["without_return"].to_numpy(),
        min_block=block,
        n_draws=config.n_bootstrap_draws,
        seed=seed,
        risk_free_daily=risk_free_daily,
    )
    tests: list[TestResult] = []
    for place, name in enumerate(DIFFERENCES):
        both = float(drawn.candidate[place]), float(drawn.reference[place])
        paired: PairedDraws | str = PairedDraws(*both, drawn.draws[:, place])
        if not np.isfinite(both).all():
            paired = UNDEFINED if returns.height else "no sessions"
        tests.append(
            _test(
                name, paired, returns.height, config=config, block=drawn.block_sessions, seed=seed
            )
        )
    return tests


def _test(
    name: str,
    paired: PairedDraws | str,
    n: int,
    *,
    config: AblationConfig,
    block: int,
    seed: int,
) -> TestResult:
    better = "lower" if name == _LOWER_IS_BETTER else "higher"
    blank = TestResult(
        name=name,
        null="the family makes no difference",
        alternative=f"it does ({better} is better)",
        source=_SOURCES[name],
        assumptions="Dependence in time dies out within a block.",
        unit=FIGURES[name],
        n=n,
        block_sessions=block,
        seed=seed,
    )
    if isinstance(paired, str):
        return blank.model_copy(update={"reason": paired})
    lower, upper, reason = interval_of_draws(paired.draws, confidence=config.confidence)
    return blank.model_copy(
        update={
            "estimate": paired.candidate - paired.reference,
            "lower": lower,
            "upper": upper,
            "confidence": None if lower is None else config.confidence,
            "no_interval": reason,
            "p_value": None if lower is None else _two_sided(paired.draws),
            "inputs": {"with": paired.candidate, "without": paired.reference},
        }
    )


def _is_better(test: TestResult) -> bool:
    gain = test.estimate or 0.0
    return gain < 0 if test.name == _LOWER_IS_BETTER else gain > 0


def _two_sided(draws: _Floats) -> float:
    known = draws[np.isfinite(draws)]
    fewer = min(int((known <= 0).sum()), int((known >= 0).sum()))
    return min(1.0, 2 * (1 + fewer) / (1 + known.size))


def _corrected(found: Sequence[FamilyWorth], config: AblationConfig) -> tuple[FamilyWorth, ...]:
    # Half a second of libraries, which nobody needs who only reads a summary.
    from statsmodels.stats import multitest  # noqa: PLC0415

    p_values = [test.p_value for each in found for test in each.worth if test.p_value is not None]
    if not p_values:
        return tuple(found)
    adjusted, shares = (
        cast("Any", multitest).multipletests(p_values, method=method)[1].tolist()
        for method in ("holm", "fdr_bh")
    )

    def corrected(test: TestResult) -> TestResult:
        if test.p_value is None:
            return test
        p_holm = float(adjusted.pop(0))
        return test.model_copy(
            update={
                "rejects_null": p_holm < 1 - config.confidence,
                "inputs": test.inputs | {"p_holm": p_holm, "q_value": float(shares.pop(0))},
            }
        )

    return tuple(
        each.model_copy(update={"worth": tuple(corrected(test) for test in each.worth)})
        for each in found
    )
