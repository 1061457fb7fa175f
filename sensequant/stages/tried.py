"""What a run tries, as entries of the ledger of trials.

Belongs here: what makes two fits, searches or contenders of runs the same. Does not belong here:
the ledger (`sensequant.trials`), training and trading themselves, what the trials do to a test
(`stages.statistical_tests`).

All variants of the students are contenders: whoever sees that the weighted student failed and
deploys the other one has tried both.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import polars as pl

from sensequant.evaluation.hypotheses import SignificanceConfig
from sensequant.evaluation.measures import sharpe_ratio
from sensequant.evaluation.optimisation import OptimisationConfig
from sensequant.market.sources.build import SourceConfig
from sensequant.market.sources.simulated import SimulatedConfig
from sensequant.records import code_version, digest_of
from sensequant.runs import RunFolder, Stage
from sensequant.stages.context import Run, load_run
from sensequant.trials import Scope, Trial, TrialKind, record_trials, store_returns

__all__ = [
    "DEPLOYED",
    "lacks_units",
    "note_fit",
    "note_search",
    "note_trading_search",
    "own_contender",
    "record_contenders",
    "record_optimised",
    "scope_of",
]

DEPLOYED = "deployed"
"""Name of the contender whose returns are the evidence."""

_NSE = "nse"
_TEACHER_PARTS = ("windows", "features", "labels", "teacher", "seed")
_TRAINING_PARTS = (*_TEACHER_PARTS, "student", "reward")
_STAGES_OF_MODELS = (Stage.DATA_INGESTION, Stage.TEACHER_TRAINING, Stage.STUDENT_TRAINING)


def scope_of(run: Run) -> Scope:
    """Return the data on which a run tries something."""
    return Scope(
        market=_market(run.request.source),
        symbols=tuple(run.symbols),
        start=run.request.start,
        end=run.request.end,
    )


def note_fit(run: Run) -> None:
    """Write down that a run's configuration begins to learn; once for all of its fits."""
    _note_fit(run.folder.home, run.folder.run_id)


def note_search(run: Run, window: str, n_settings: int) -> None:
    """Write down how many settings a teacher's search tried in one window."""
    trial = Trial(
        kind=TrialKind.SEARCH,
        scope=scope_of(run),
        settings_digest=_digest_of(run, _TEACHER_PARTS),
        name=window,
        n_settings=n_settings,
    )
    record_trials(run.folder.home, [trial], run_id=run.folder.run_id)


def note_trading_search(run: Run, asked: OptimisationConfig, step: str, *, n_settings: int) -> None:
    """Write down how many settings of a strategy are about to be tried before one step.

    Steps are parts of one strategy as windows are: the one with the most settings counts.
    """
    trial = Trial(
        kind=TrialKind.SEARCH,
        scope=scope_of(run),
        settings_digest=_digest_of_search(run, asked),
        name=step,
        n_settings=n_settings,
    )
    record_trials(run.folder.home, [trial], run_id=run.folder.run_id)


def record_optimised(run: Run, asked: OptimisationConfig, returns: pl.DataFrame) -> None:
    """Write down the net returns (session, net_return) of a strategy whose settings were searched.

    It is a contender beside the students: whoever sees that it did better may trade it.
    """
    trial = _contender(run, f"optimised_{asked.strategy}", returns).model_copy(
        update={"settings_digest": _digest_of_search(run, asked)}
    )
    record_trials(run.folder.home, [trial], run_id=run.folder.run_id)


def record_contenders(
    run: Run, deployed: pl.DataFrame, variants: Mapping[str, pl.DataFrame]
) -> None:
    """Write down the net returns of the deployed students and of every variant beside them.

    Of a run whose units failed nothing is written: its fit counts until the run is whole, and a
    retry that makes it whole leaves the same ledger as a run that never failed.

    Parameters
    ----------
    run
        The run.
    deployed
        session, net_return of the portfolio that is the evidence.
    variants
        The same of other students, by name, traded by the same rules.
    """
    if lacks_units(run.folder):
        return
    own = own_contender(run, deployed)
    others = (_contender(run, name, returns) for name, returns in variants.items())
    tried = [own, *(each for each in others if each.returns_digest != own.returns_digest)]
    record_trials(run.folder.home, tried, run_id=run.folder.run_id)


def lacks_units(folder: RunFolder) -> bool:
    """Whether units failed on which the scores of a run rest."""
    return any(
        record.n_failed > 0 for record in folder.stages() if record.stage in _STAGES_OF_MODELS
    )


def own_contender(run: Run, deployed: pl.DataFrame) -> Trial:
    """Return the trial of the portfolio that is the evidence; its returns are stored."""
    return _contender(run, DEPLOYED, deployed)


def _contender(run: Run, name: str, returns: pl.DataFrame) -> Trial:
    kept = returns.select(pl.col("session").cast(pl.Date), pl.col("net_return").cast(pl.Float64))
    net = kept["net_return"].to_numpy()
    return Trial(
        kind=TrialKind.CONTENDER,
        scope=scope_of(run),
        settings_digest=_digest_of(run, _TRAINING_PARTS),
        name=name,
        n_sessions=kept.height,
        sharpe_session=sharpe_ratio(
            net, risk_free_daily=_risk_free(run.config.significance), sessions_per_year=1
        ),
        returns_digest=store_returns(run.folder.home, kept),
    )


def _risk_free(config: SignificanceConfig) -> float:
    # The very ratio that is deflated: over the risk-free return, or trials would not compare.
    return math.expm1(math.log1p(config.annual_risk_free_frac) / config.sessions_per_year)


def _digest_of(run: Run, parts: tuple[str, ...]) -> str:
    settings = {name: getattr(run.config, name) for name in parts}
    return digest_of({"settings": settings, "code": code_version()})


def _digest_of_search(run: Run, asked: OptimisationConfig) -> str:
    # How it is shown is no part of what was tried; averages of bars ask no student.
    shown = {"schema_version", "n_bootstrap_draws", "confidence"}
    parts = ("costs", "backtest", *(_TRAINING_PARTS if asked.strategy == "scores" else ()))
    search = asked.model_dump(mode="json", exclude=shown)
    return digest_of({"search": search, "settings": _digest_of(run, parts)})


def _market(source: SourceConfig) -> str:
    if source.kind == "simulated" or (source.is_simulated and source.folder is None):
        return digest_of({"simulated": source.simulated or SimulatedConfig()})
    return _NSE


@lru_cache(maxsize=64)
def _note_fit(home: Path, run_id: str) -> None:
    # A thousand fits are one configuration.
    run = load_run(RunFolder(home, run_id))
    trial = Trial(
        kind=TrialKind.FIT, scope=scope_of(run), settings_digest=_digest_of(run, _TRAINING_PARTS)
    )
    record_trials(home, [trial], run_id=run_id)
