"""Scoring of stored bars: with the students of a run or an environment, or with one from elsewhere.

Belongs here: which student scores which bars of the store. Does not belong here: features, scores
and drift (`prediction`), and who may load what (`student_file`, `foreign_student`).

A student of a run is loaded when its file is the one that the run's manifest names; a run that was
not audited has no manifest, and the result says so. One that is deployed is loaded from the folder
of its model, which nobody alters.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import polars as pl

from sensequant.context.sessions import context_of_sessions
from sensequant.context.store import ContextStore
from sensequant.errors import ConfigError, MissingBarsError
from sensequant.features.context import MarketContext
from sensequant.features.registry import fed_families
from sensequant.features.spec import Family
from sensequant.foreign_student import load_foreign_student
from sensequant.histories import context_from_store, listings_of, read_histories
from sensequant.ingestion.places import context_store_at, store_at
from sensequant.market.intervals import DAILY
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.base import require_known
from sensequant.market.store import BarStore
from sensequant.market.symbols import is_index
from sensequant.prediction import Prediction, predict_bars
from sensequant.release.deployment_records import EnvironmentName
from sensequant.release.environments import pointer_path, read_pointer
from sensequant.release.manifest import read_manifest
from sensequant.release.models import Model, open_model
from sensequant.stages.context import Run, settings_at
from sensequant.stages.students_evidence import candidate_files
from sensequant.student_file import Student, read_student
from sensequant.windows import POOLED

__all__ = [
    "Scored",
    "Scorers",
    "ScoringRequest",
    "deployed_model",
    "score_deployed",
    "score_stored",
    "scorers_of",
    "stored_market",
]


@dataclass(frozen=True, slots=True)
class ScoringRequest:
    """What to score.

    Parameters
    ----------
    symbols
        Those of the run when empty.
    start, end
        Sessions to score; both None: the last one stored.
    student
        File of a student from elsewhere; None: those of the run.
    sha256
        Digest that this file must have.
    """

    symbols: tuple[str, ...] = ()
    start: date | None = None
    end: date | None = None
    student: Path | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Scored:
    """What was scored by whom.

    Attributes
    ----------
    predictions
        By the symbol whose student it is, or under `universe` for one student of all symbols.
    is_audited
        Whether a manifest vouches for the students.
    is_simulated
        Whether any of the bars was invented.
    """

    predictions: dict[str, Prediction]
    is_audited: bool
    is_simulated: bool

    @property
    def rows(self) -> pl.DataFrame:
        """`prediction.PREDICTED_SCHEMA`, by session and symbol."""
        return pl.concat([each.rows for each in self.predictions.values()]).sort(
            "session", "symbol"
        )


@dataclass(frozen=True, slots=True)
class Scorers:
    """Students with the store whose bars they score.

    Attributes
    ----------
    home, store, symbols
        The bars; what compares symbols sees all of these.
    owners
        Symbols that have a student, or `universe` for one of all symbols.
    load
        Returns the student of an owner, verified.
    is_audited
        Whether a manifest vouches for them.
    families, beside
        Families of features that they were fed, and the store of what is known beside the bars;
        None where no family needs it.
    """

    home: Path
    store: BarStore
    symbols: tuple[str, ...]
    owners: tuple[str, ...]
    load: Callable[[str], Student]
    is_audited: bool
    families: frozenset[Family] = frozenset()
    beside: ContextStore | None = None


def score_stored(run: Run, request: ScoringRequest) -> Scored:
    """Score bars of the store that the run was ingested into.

    Raises
    ------
    ConfigError
        The run has no student to deploy, or a symbol has none or is not in the store.
    MissingBarsError
        The store has no final bars to score, or none of the sessions that were asked for.
    RecordError, DigestMismatchError
        A student is not the one that was written, or cannot be trusted.
    LeakageError
        A session to score is one that a student learnt from.
    """
    files = candidate_files(run)
    scorers = Scorers(
        home=run.folder.home,
        store=run.store,
        symbols=tuple(run.symbols),
        owners=tuple(files),
        load=lambda owner: _own_student(run, files[owner]),
        is_audited=run.folder.manifest.exists(),
        families=fed_families(run.config.features),
        beside=run.context_store,
    )
    return _score(scorers, request)


def score_deployed(home: Path, environment: EnvironmentName, request: ScoringRequest) -> Scored:
    """Score bars with the model that an environment uses now; needs no file of its run.

    Raises
    ------
    ConfigError
        Nothing is deployed there, or a symbol has no student or is not in the store.
    MissingBarsError, RecordError, DigestMismatchError, LeakageError
        As `score_stored`.
    """
    return _score(scorers_of(home, deployed_model(home, environment)), request)


def deployed_model(home: Path, environment: EnvironmentName) -> Model:
    """Return the model that an environment uses now, every byte verified.

    Raises
    ------
    ConfigError
        Nothing is deployed there.
    RecordError, DigestMismatchError
        The pointer or the model is damaged.
    """
    pointer = read_pointer(home, environment)
    if pointer is None:
        raise ConfigError(
            "nothing is deployed in this environment",
            where=str(pointer_path(home, environment)),
            expected="a model that was staged or promoted",
            found="no pointer",
            remedy="`sensequant environments` says what is where",
        )
    return open_model(home, pointer.model_sha256)


def scorers_of(home: Path, model: Model) -> Scorers:
    """Return the students of a deployed model with the store of its bars.

    Raises
    ------
    RecordError
        Its settings are not of this version.
    """
    files, settings = model.students, settings_at(model.config)
    return Scorers(
        home=home,
        store=store_at(home, settings.request.source),
        symbols=model.record.symbols,
        owners=tuple(files),
        load=lambda owner: read_student(files[owner][0], sha256=files[owner][1]),
        is_audited=True,
        families=fed_families(settings.config.features),
        beside=context_store_at(home, settings.request.source),
    )


def stored_market(
    scorers: Scorers, symbols: Sequence[str] = ()
) -> tuple[pl.DataFrame, MarketContext]:
    """Return the adjusted final bars of these symbols, and of the model's own, with their market.

    Raises
    ------
    MissingBarsError
        The store has none.
    """
    asked = sorted({*scorers.symbols, *symbols})
    calendar = nse_calendar()
    histories = read_histories(scorers.store, asked, calendar)
    tables = [each.bars for each in histories.values() if each.bars is not None]
    if not tables:
        raise MissingBarsError(
            "store has no final bars to score",
            where=str(scorers.home),
            expected="bars that the source will not change any more",
            remedy="ingest first: sensequant ingest",
        )
    firsts = {symbol: each.ends[0] for symbol, each in histories.items() if each.ends is not None}
    context = context_from_store(scorers.store, calendar, listings=listings_of(firsts))
    if scorers.beside is not None:
        frames = context_of_sessions(
            scorers.beside, scorers.families, symbols=firsts, calendar=calendar
        )
        context = replace(context, **{family.value: frame for family, frame in frames.items()})
    return pl.concat(tables), context


def _score(scorers: Scorers, request: ScoringRequest) -> Scored:
    stored = tuple(symbol for symbol in scorers.store.symbols(DAILY) if not is_index(symbol))
    symbols = request.symbols or scorers.symbols
    for symbol in symbols:
        require_known(symbol, stored, source=str(scorers.home))
    students = _students(scorers, symbols, request)
    fed = [fed_families(student.file.features) for student in students.values()]
    # A student from elsewhere may be fed other families than those of the run.
    asked = replace(scorers, families=scorers.families.union(*fed))
    bars, context = stored_market(asked, symbols)
    sessions = _sessions(bars, symbols, request)
    predictions = {
        owner: predict_bars(
            student,
            bars,
            context=context,
            sessions=sessions,
            symbols=symbols if owner == POOLED else [owner],
        )
        for owner, student in students.items()
    }
    is_simulated = any(
        bool(scorers.store.read(symbol, interval=DAILY)["is_simulated"].any()) for symbol in symbols
    )
    return Scored(
        predictions,
        is_audited=request.student is None and scorers.is_audited,
        is_simulated=is_simulated,
    )


def _sessions(bars: pl.DataFrame, symbols: Sequence[str], request: ScoringRequest) -> list[date]:
    asked = bars.filter(pl.col("symbol").is_in(symbols))["session"].unique().sort()
    if request.start is None and request.end is None:
        return asked.tail(1).to_list()
    first, last = request.start or asked[0], request.end or asked[-1]
    chosen = asked.filter(asked.is_between(first, last)).to_list()
    if not chosen:
        raise MissingBarsError(
            "period has no final bars to score",
            where=", ".join(symbols),
            expected=f"sessions from {first} to {last}",
            found=f"bars from {asked[0]} to {asked[-1]}",
            remedy="ask for sessions that are stored, or ingest them first: sensequant ingest",
        )
    return chosen


def _students(
    scorers: Scorers, symbols: Sequence[str], request: ScoringRequest
) -> dict[str, Student]:
    if request.student is not None:
        return {POOLED: load_foreign_student(request.student, sha256=request.sha256)}
    if POOLED in scorers.owners:
        return {POOLED: scorers.load(POOLED)}
    without = [symbol for symbol in symbols if symbol not in scorers.owners]
    if without:
        raise ConfigError(
            "run has no student to deploy for a symbol",
            where=", ".join(without),
            expected=", ".join(scorers.owners) or "a run whose students are trained",
            remedy="score other symbols, or train with student.scope universe",
        )
    return {symbol: scorers.load(symbol) for symbol in symbols}


def _own_student(run: Run, path: Path) -> Student:
    if not run.folder.manifest.exists():
        return read_student(path)
    name = path.relative_to(run.folder.root).as_posix()
    listed = {entry.path: entry.sha256 for entry in read_manifest(run.folder).artifacts}
    if name not in listed:
        raise ConfigError(
            "manifest does not name the student",
            where=str(run.folder.manifest),
            expected=name,
            remedy="audit the run again, or verify it: sensequant verify",
        )
    return read_student(path, sha256=listed[name])
