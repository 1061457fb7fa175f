"""Champion and challengers side by side: what each says and earns on bars that are new to all.

Belongs here: who takes part, which sessions count, and the files that are kept. Does not belong
here: scoring and trading (`stages.side_by_side`), differences (`evaluation.side_by_side`).

The champion is the model in production. Challengers are the one in staging and approved candidates
that somebody names. Sessions count that closed after the range of every one of their runs, and
after everything that a student of theirs has learnt from: nobody can have chosen a model by them.
Outcomes, costs and bars are the champion's. Nothing is moved.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl

from sensequant.errors import ConfigError, DataError, LeakageError, RecordError
from sensequant.evaluation.figures import benchmark_returns, risk_free_per_session
from sensequant.evaluation.side_by_side import Side, Terms, compare_models
from sensequant.evaluation.validation import ValidationConfig
from sensequant.features.build import build_features
from sensequant.features.context import MarketContext
from sensequant.features.registry import FeatureConfig, fed_families, model_columns
from sensequant.ingestion.places import store_key
from sensequant.ingestion.ranges import last_closed_session
from sensequant.market.sessions import nse_calendar
from sensequant.records import derive_seed, digest_of
from sensequant.release.contest import Contender, ContestConfig, ContestReport
from sensequant.release.deployment_records import EnvironmentName
from sensequant.release.environments import read_pointer
from sensequant.release.manifest import CandidateStatus
from sensequant.release.models import Model, open_model, pack_model
from sensequant.rows import build_rows
from sensequant.runs import RunFolder
from sensequant.stages.context import RunSettings, settings_at
from sensequant.stages.release import registry_of
from sensequant.stages.scoring import deployed_model, scorers_of, stored_market
from sensequant.stages.side_by_side import (
    Ground,
    learnt_through,
    said_of,
    students_of,
    traded_side,
)
from sensequant.storage import write_json, write_table
from sensequant.student_file import Student, load_student

__all__ = ["hold_contest"]

_APPROVED = (
    CandidateStatus.APPROVED,
    CandidateStatus.STAGING,
    CandidateStatus.PRODUCTION,
    CandidateStatus.RETIRED,
)


@dataclass(frozen=True, slots=True)
class _Entrant:
    """One model that takes part."""

    contender: Contender
    settings: RunSettings
    students: dict[str, Student]
    symbols: tuple[str, ...]

    @property
    def known_through(self) -> date:
        return max(learnt_through(self.students.values()), self.settings.request.end)


@dataclass(frozen=True, slots=True)
class _Arena:
    """The new bars, with features and outcomes by the champion's settings."""

    champion: _Entrant
    bars: pl.DataFrame
    context: MarketContext
    rows: pl.DataFrame
    config: ContestConfig
    built: dict[str, pl.DataFrame]

    @property
    def sessions(self) -> list[date]:
        return self.rows["session"].unique().sort().to_list()

    def features_of(self, settings: FeatureConfig) -> pl.DataFrame:
        key = digest_of(settings)
        if key not in self.built:
            self.built[key] = build_features(self.bars, settings, self.context)
        return self.built[key]

    def side_of(self, entrant: _Entrant, symbols: Sequence[str]) -> tuple[Side, pl.DataFrame]:
        """Return what a model earned, and what it said."""
        said = said_of(entrant.students, self.features_of, sessions=self.sessions, symbols=symbols)
        ground = Ground(
            bars=self.bars,
            symbols=symbols,
            first=self.sessions[0],
            last=self.bars["session"].max(),  # pyright: ignore[reportArgumentType]
            costs=self.champion.settings.config.costs,
        )
        return traded_side(said, ground, config=entrant.settings.config), said


def hold_contest(
    home: Path,
    named: Sequence[RunFolder],
    config: ContestConfig,
    *,
    at: datetime,
    environment: EnvironmentName = EnvironmentName.PRODUCTION,
) -> ContestReport:
    """Hold the champion against its challengers, and keep scores and report below `monitoring/`.

    Parameters
    ----------
    home
        Root of all data at rest.
    named
        Runs of approved candidates, beside the model in staging.
    config
        Which sessions, and how sure.
    at
        Aware instant; of what a store says of later sessions, nothing is read.
    environment
        Whose model is the champion.

    Raises
    ------
    ConfigError
        There is no champion, nobody to hold it against, or a named candidate was not approved.
    RegistryError
        A named run is not in the registry.
    RecordError, DigestMismatchError
        The champion is damaged, or this code does not build its features.
    MissingBarsError
        The store has no final bars.
    """
    champion = _of_model(deployed_model(home, environment), environment.value)
    entrants = _challengers(home, champion, named)
    if not entrants:
        raise ConfigError(
            "nobody to hold the champion against",
            where=str(home),
            expected="another model in staging, or approved candidates that are named",
            found="none",
            remedy="`sensequant candidates` says who is approved",
        )
    arena = _arena(home, champion, entrants, config, environment, at)
    own = _said_by(arena, champion)
    results = [_held_against(arena, each) for each in entrants]
    report = ContestReport(
        environment=environment,
        at=at,
        is_simulated=champion.contender.is_simulated,
        settings=config,
        first_session=min(arena.sessions, default=None),
        last_session=max(arena.sessions, default=None),
        n_sessions=len(arena.sessions),
        n_realised=_realised(arena, own),
        champion=_counted(champion, own),
        challengers=tuple(contender for contender, _ in results),
    )
    parts = {champion.contender.run_id: own} | {
        contender.run_id: said for contender, said in results if said is not None
    }
    _keep(home, report, arena, parts)
    return report


def _of_model(model: Model, place: str) -> _Entrant:
    settings = settings_at(model.config)
    record = model.record
    contender = Contender(run_id=record.run_id, place=place, is_simulated=record.is_simulated)
    return _Entrant(contender, settings, students_of(model), record.symbols)


def _challengers(home: Path, champion: _Entrant, named: Sequence[RunFolder]) -> list[_Entrant]:
    found: list[_Entrant] = []
    pointer = read_pointer(home, EnvironmentName.STAGING)
    if pointer is not None:
        place = EnvironmentName.STAGING.value
        found.append(_of_model(open_model(home, pointer.model_sha256), place))
    found += [_of_candidate(folder) for folder in named]
    others = {
        each.contender.run_id: each
        for each in reversed(found)
        if each.contender.run_id != champion.contender.run_id
    }
    return list(reversed(others.values()))


def _of_candidate(folder: RunFolder) -> _Entrant:
    with closing(registry_of(folder.home)) as registry:
        candidate = registry.get_candidate_run(folder.run_id)
    if candidate.status not in _APPROVED or candidate.manifest_sha256 is None:
        raise ConfigError(
            "candidate was not approved",
            where=folder.run_id,
            expected=" or ".join(_APPROVED),
            found=candidate.status,
            remedy="`sensequant approve` it first",
        )
    packed = pack_model(folder, manifest_sha256=candidate.manifest_sha256)
    students = {
        Path(entry.path).stem: load_student(
            packed.contents[entry.path].decode(), sha256=entry.sha256
        )
        for entry in packed.record.files
        if Path(entry.path).parent.name == folder.candidate.name
    }
    contender = Contender(
        run_id=folder.run_id,
        place=CandidateStatus.APPROVED.value,
        is_simulated=packed.record.is_simulated,
    )
    return _Entrant(contender, settings_at(folder.config), students, packed.record.symbols)


def _arena(
    home: Path,
    champion: _Entrant,
    entrants: Sequence[_Entrant],
    config: ContestConfig,
    environment: EnvironmentName,
    at: datetime,
) -> _Arena:
    near = [each for each in entrants if _why_elsewhere(champion, each) is None]
    scorers = scorers_of(home, deployed_model(home, environment))
    families = [fed_families(each.settings.config.features) for each in near]
    bars, context = stored_market(replace(scorers, families=scorers.families.union(*families)))
    calendar, asked = nse_calendar(), champion.settings
    known = bars.filter(pl.col("session") <= last_closed_session(calendar, at))
    rows = build_rows(known, asked.config, context, calendar=calendar, start=asked.request.start)
    through = max(each.known_through for each in (champion, *near))
    first = max(config.since or date.min, through + timedelta(days=1))
    columns = ["symbol", "session", *model_columns(asked.config.features)]
    return _Arena(
        champion=champion,
        bars=known,
        context=context,
        rows=rows.filter(pl.col("session") >= first),
        config=config,
        built={digest_of(asked.config.features): rows.select(columns)},
    )


def _why_elsewhere(champion: _Entrant, other: _Entrant) -> str | None:
    ours, theirs = (store_key(each.settings.request.source) for each in (champion, other))
    if ours != theirs:
        return f"its bars are others: those of {theirs}, where the champion has {ours}"
    if not set(champion.symbols) & set(other.symbols):
        return "it has no symbol in common with the champion"
    return None


def _said_by(arena: _Arena, entrant: _Entrant) -> pl.DataFrame:
    if not arena.sessions:
        return pl.DataFrame()
    return said_of(
        entrant.students, arena.features_of, sessions=arena.sessions, symbols=entrant.symbols
    )


def _held_against(arena: _Arena, other: _Entrant) -> tuple[Contender, pl.DataFrame | None]:
    blank = other.contender.model_copy(update={"known_through": other.known_through})
    reason = _why_elsewhere(arena.champion, other)
    if reason is None and not arena.sessions:
        reason = "no session is new to all of them"
    if reason is not None:
        return blank.model_copy(update={"reason": reason}), None
    try:
        return _compared(arena, other)
    except LeakageError:
        raise
    except (ConfigError, DataError, RecordError) as error:
        return blank.model_copy(update={"reason": str(error)}), None


def _compared(arena: _Arena, other: _Entrant) -> tuple[Contender, pl.DataFrame]:
    champion, config = arena.champion, arena.champion.settings.config
    symbols = sorted(set(champion.symbols) & set(other.symbols))
    challenger, said = arena.side_of(other, symbols)
    reference, _ = arena.side_of(champion, symbols)
    has_own_labels = other.settings.config.labels != config.labels
    comparison = compare_models(
        arena.rows.filter(pl.col("symbol").is_in(symbols)),
        challenger,
        reference,
        benchmark=benchmark_returns(challenger.returns, arena.context.benchmark),
        terms=Terms(
            config=ValidationConfig(
                n_bootstrap_draws=arena.config.n_bootstrap_draws,
                confidence=arena.config.confidence,
                min_block_sessions=arena.config.min_block_sessions,
            ),
            horizon_sessions=config.labels.horizon_sessions,
            risk_free_daily=risk_free_per_session(config.significance.annual_risk_free_frac),
            seed=derive_seed(arena.config.seed, other.contender.run_id),
            why_no_scores="it has learnt another label" if has_own_labels else None,
        ),
    )
    remarks: tuple[str, ...] = ()
    if set(champion.symbols) != set(other.symbols):
        remarks = (f"{len(symbols)} symbols are compared: those of both.",)
    counted = _counted(other, said)
    return counted.model_copy(update={"comparison": comparison, "remarks": remarks}), said


def _counted(entrant: _Entrant, said: pl.DataFrame) -> Contender:
    counts = {}
    if not said.is_empty():
        counts = {
            "n_scored": said["score"].count(),
            "n_novel": said.filter(reason="novel").height,
            "n_expired": said.filter(reason="expired").height,
        }
    known = {"known_through": entrant.known_through}
    return entrant.contender.model_copy(update=known | counts)


def _realised(arena: _Arena, said: pl.DataFrame) -> int:
    if said.is_empty():
        return 0
    labelled = arena.rows.select("symbol", "session", "label")
    return said.join(labelled, on=["symbol", "session"]).drop_nulls(["score", "label"]).height


def _keep(home: Path, report: ContestReport, arena: _Arena, parts: dict[str, pl.DataFrame]) -> None:
    folder = home / "monitoring" / "comparisons"
    name = f"{report.at:%Y%m%dT%H%M%SZ}"
    outcomes = arena.rows.select("symbol", "session", "label", "forward_return")
    tables = [
        said.join(outcomes, on=["symbol", "session"], how="left", maintain_order="left").select(
            pl.lit(run_id).alias("run_id"), pl.all()
        )
        for run_id, said in parts.items()
        if not said.is_empty()
    ]
    if tables:
        write_table(folder / f"{name}.parquet", pl.concat(tables))
    write_json(folder / f"{name}.json", report)
