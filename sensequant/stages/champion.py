"""A run's candidate beside the champion: the model in production, on the run's own bars.

Belongs here: whether the two can be compared, on which sessions, and the file that says so. Does
not belong here: scoring and trading (`stages.side_by_side`), differences
(`evaluation.side_by_side`), the words of the briefing (`release.champion`).

The candidate is represented by the scores that are its evidence: each was given by a student that
had not seen its session. Of these sessions, those count that also come after everything that a
student of the champion has learnt from. The run's outcomes are those of both.

The file is part of the evidence, and names the champion; without a champion there is no file, and
the evidence is that of a home in which nothing was ever deployed.
"""

from datetime import date
from typing import NamedTuple

import polars as pl

from sensequant.errors import ConfigError, DataError, RecordError
from sensequant.evaluation.figures import benchmark_returns, risk_free_per_session
from sensequant.evaluation.side_by_side import Terms, compare_models
from sensequant.features.build import build_features
from sensequant.features.registry import FeatureConfig, model_columns
from sensequant.ingestion.places import store_key
from sensequant.market.sessions import nse_calendar
from sensequant.records import derive_seed, digest_of
from sensequant.release.champion import ChampionComparison
from sensequant.release.deployment_records import EnvironmentName, Pointer
from sensequant.release.environments import read_pointer
from sensequant.release.models import open_model
from sensequant.stages.context import Run, RunSettings, settings_at
from sensequant.stages.side_by_side import (
    FeaturesOf,
    Ground,
    learnt_through,
    said_of,
    students_of,
    traded_side,
)
from sensequant.storage import read_json, read_table, write_json
from sensequant.student_file import Student

__all__ = ["CHAMPION", "compare_with_champion", "read_champion"]

CHAMPION = "audit/champion.json"
"""Below the run folder."""


class _Champion(NamedTuple):
    settings: RunSettings
    students: dict[str, Student]
    symbols: tuple[str, ...]


def compare_with_champion(run: Run) -> ChampionComparison | None:
    """Hold the run's evidence against the model in production, and write the file that says so.

    Returns
    -------
    ChampionComparison or None
        None, and no file, where nothing is in production.

    Raises
    ------
    RecordError
        The pointer of production is damaged.
    """
    path = run.folder.root / CHAMPION
    pointer = read_pointer(run.folder.home, EnvironmentName.PRODUCTION)
    if pointer is None:
        path.unlink(missing_ok=True)
        return None
    found = _compared(run, pointer)
    write_json(path, found)
    return found


def read_champion(run: Run) -> ChampionComparison | None:
    """Return what the audit found beside the champion; None where there was none."""
    path = run.folder.root / CHAMPION
    return ChampionComparison.model_validate(read_json(path)) if path.exists() else None


def _compared(run: Run, pointer: Pointer) -> ChampionComparison:
    blank = ChampionComparison(
        run_id=pointer.run_id,
        model_sha256=pointer.model_sha256,
        manifest_sha256=pointer.manifest_sha256,
        is_simulated=pointer.is_simulated,
    )
    try:
        champion = _opened(run, pointer)
        blank = blank.model_copy(
            update={"trained_through": learnt_through(champion.students.values())}
        )
        return _measured(run, champion, blank)
    except (ConfigError, DataError, RecordError) as error:
        # Evidence must not depend on where a home lies.
        said = str(error).replace(str(run.folder.home), "the home")
        return blank.model_copy(update={"reason": said})


def _opened(run: Run, pointer: Pointer) -> _Champion:
    if pointer.run_id == run.folder.run_id:
        raise DataError("the champion is the model of this very run")
    model = open_model(run.folder.home, pointer.model_sha256)
    settings = settings_at(model.config)
    theirs, ours = (store_key(each.request.source) for each in (settings, run))
    if theirs != ours:
        raise DataError(f"its bars are others: those of {theirs}, where this run has {ours}")
    return _Champion(settings, students_of(model), model.record.symbols)


def _measured(run: Run, champion: _Champion, blank: ChampionComparison) -> ChampionComparison:
    symbols = sorted(set(run.symbols) & set(champion.symbols))
    if not symbols:
        raise DataError("this run and the champion have no symbol in common")
    rows = _rows_after(run, blank, symbols)
    sessions = rows["session"].unique().sort().to_list()
    ground = Ground(
        bars=run.bars,
        symbols=symbols,
        first=sessions[0],
        last=_last_traded(run, sessions[-1]),
        costs=run.config.costs,
    )
    said = said_of(champion.students, _features_of(run), sessions=sessions, symbols=symbols)
    candidate = traded_side(rows, ground, config=run.config)
    reference = traded_side(said, ground, config=champion.settings.config)
    has_own_labels = champion.settings.config.labels != run.config.labels
    comparison = compare_models(
        rows,
        candidate,
        reference,
        benchmark=benchmark_returns(candidate.returns, run.benchmark),
        terms=Terms(
            config=run.config.validation,
            horizon_sessions=run.config.labels.horizon_sessions,
            risk_free_daily=risk_free_per_session(run.config.significance.annual_risk_free_frac),
            seed=derive_seed(run.config.seed, "champion"),
            why_no_scores="the champion has learnt another label" if has_own_labels else None,
        ),
    )
    remarks = _remarks(run, champion, symbols)
    return blank.model_copy(update={"comparison": comparison, "remarks": remarks})


def _rows_after(run: Run, blank: ChampionComparison, symbols: list[str]) -> pl.DataFrame:
    if not run.folder.predictions.exists():
        raise DataError("this run has no scores out of sample")
    rows = read_table(run.folder.predictions).filter(
        pl.col("symbol").is_in(symbols), pl.col("session") > blank.trained_through
    )
    if rows.is_empty():
        raise DataError(
            "no session that this run was scored on out of sample comes after "
            f"{blank.trained_through}, the last one that the champion has learnt from"
        )
    return rows


def _last_traded(run: Run, last_scored: date) -> date:
    # As `run_backtest`: a horizon after the last score, as far as bars reach.
    calendar, ends = nse_calendar(), run.bars["session"].max()
    number = calendar.number_of(last_scored) + run.config.labels.horizon_sessions
    return calendar.session_at(min(number, calendar.number_of(ends)))  # pyright: ignore[reportArgumentType]


def _features_of(run: Run) -> FeaturesOf:
    # Students of single symbols ask for the same features, one after the other.
    built: dict[str, pl.DataFrame] = {}

    def features_of(settings: FeatureConfig) -> pl.DataFrame:
        key = digest_of(settings)
        if key not in built:
            built[key] = _built(run, settings)
        return built[key]

    return features_of


def _built(run: Run, settings: FeatureConfig) -> pl.DataFrame:
    if settings != run.config.features:
        return build_features(run.bars, settings, run.market_context)
    columns = ["symbol", "session", *model_columns(settings)]
    return pl.concat(read_table(run.folder.rows(each)).select(columns) for each in run.symbols)


def _remarks(run: Run, champion: _Champion, symbols: list[str]) -> tuple[str, ...]:
    if set(run.symbols) == set(champion.symbols):
        return ()
    remark = (
        f"{len(symbols)} symbols are compared, of {len(run.symbols)} of this run and "
        f"{len(champion.symbols)} of the champion; what compares symbols sees those of this run."
    )
    return (remark,)
