"""The whole method on worlds whose truth is known: nothing to find, and something planted.

The yardstick is the AUC pooled over windows, symbols and worlds, with the standard error of a block
bootstrap over both. An average of per-window AUCs is biased upward on short windows and proves
nothing; it is measured beside.

Worlds are explored once and kept below the folder of the test session, for all of its processes.
A world is a minute of training, so that the suite explores few; `make worlds` explores them all.
"""

import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest

from sensequant.evaluation.bootstrap import panel_auc_draws, panel_weights
from sensequant.evaluation.comparison import ComparisonRecord
from sensequant.evaluation.measures import roc_auc
from sensequant.evaluation.validation import ValidationConfig, ValidationSummary
from sensequant.market.sources.build import SourceConfig
from sensequant.market.sources.simulated import SimulatedConfig
from sensequant.release.gates import Decision, Verdict
from sensequant.runs import RunFolder
from sensequant.settings import RunOptions, RunRequest, TrainingConfig
from sensequant.stages.context import Run, RunRecord, RunSettings
from sensequant.stages.evidence import read_summary
from sensequant.stages.inline import run_inline
from sensequant.stages.students_evidence import read_comparisons
from sensequant.stages.training import planned_teachers
from sensequant.storage import locked, read_json, read_table, write_json, write_table
from sensequant.student import StudentConfig
from sensequant.teacher import TeacherConfig

ROOT = Path(__file__).parents[2]
# Tracing would take longer than the method itself, and every line is covered elsewhere.
pytestmark = [pytest.mark.slow, pytest.mark.no_cover]

AT = datetime(2025, 1, 1, tzinfo=UTC)
RUN_ID = "live_candidate_20250101_000000_00000000"
N_SEEDS = 10
FEW_SEEDS = 2
EDGE_BPS = 60.0
# Ten intervals at once: each must be so wide that all ten hold together in 95 of 100 worlds.
CONFIDENCE = 1 - 0.05 / N_SEEDS
BLOCK_SESSIONS = 21
N_DRAWS = 300


class Question(NamedTuple):
    """What a world is and how it is explored: edge, scopes of teachers and students, symbols."""

    seed: int
    edge_bps: float = 0.0
    teacher: str = "symbol"
    student: str = "universe"
    n_symbols: int = 34

    @property
    def name(self) -> str:
        """Name of the world's folder."""
        return "_".join(map(str, self))


# So large an edge shows in a dozen symbols.
EDGE = Question(0, EDGE_BPS, n_symbols=12)
EDGE_OF_ALL = Question(0, EDGE_BPS, teacher="universe", student="symbol", n_symbols=12)


class World(NamedTuple):
    """What a run found in one world, and what the gates made of it.

    Scores are of teachers out of fold and of students out of sample: symbol, session_number,
    window, label, score; rows with a label and a score only.
    """

    summary: ValidationSummary
    verdict: Verdict
    comparisons: dict[str, ComparisonRecord]
    teachers: pl.DataFrame
    students: pl.DataFrame


class Pooled(NamedTuple):
    """The AUC of rows of many worlds, its standard error, and the mean of the windows' AUCs."""

    auc: float
    standard_error: float
    mean_of_windows: float
    n_windows: int


Explore = Callable[[Question], World]


@pytest.fixture(scope="session")
def explore(tmp_path_factory: pytest.TempPathFactory) -> Explore:
    """Return what explores a world once."""
    # Processes of pytest-xdist have folders of their own below one.
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base
    return partial(_explore, shared / "worlds")


def _explore(worlds: Path, question: Question) -> World:
    folder = worlds / question.name
    with locked(folder):
        if not (folder / "gates.json").exists():
            _keep(_run(folder / "home", question), folder)
            shutil.rmtree(folder / "home")
    return World(
        ValidationSummary.model_validate(read_json(folder / "summary.json")),
        Verdict.model_validate(read_json(folder / "gates.json")),
        {
            name: ComparisonRecord.model_validate(found)
            for name, found in read_json(folder / "comparisons.json").items()
        },
        read_table(folder / "teachers.parquet"),
        read_table(folder / "students.parquet"),
    )


def _run(home: Path, question: Question) -> Run:
    """Run all stages on independent driftless walks of equal volatility, with or without edge."""
    market = SimulatedConfig(
        seed=question.seed,
        n_symbols=question.n_symbols,
        history_start=date(2019, 1, 1),
        has_regimes=False,
        has_events=False,
        market_correlation=0.0,
        volatility_dispersion=0.0,
        annual_drift_frac=0.0,
        planted_edge_bps=question.edge_bps,
    )
    return run_inline(
        RunFolder(home, RUN_ID),
        RunSettings(
            request=RunRequest(source=SourceConfig(kind="simulated", simulated=market)),
            config=TrainingConfig(
                validation=ValidationConfig(confidence=CONFIDENCE),
                teacher=TeacherConfig.model_validate({"scope": question.teacher}),
                student=StudentConfig.model_validate({"scope": question.student}),
            ),
        ),
        RunRecord(
            run_id=RUN_ID,
            started_at=AT,
            options=RunOptions(),
            workers=1,
            host="test",
            code_version="0" * 64,
            versions={},
            is_simulated=True,
        ),
        universes=ROOT / "deployments" / "universes",
        at=AT,
    )


def _keep(run: Run, folder: Path) -> None:
    columns = ["symbol", "session_number", "window", "label", "score"]
    taught = [
        read_table(path).with_columns(window=pl.lit(window.label), score="teacher_probability")
        for window in planned_teachers(run)
        if (path := run.folder.teacher(window.label) / "labels.parquet").exists()
    ]
    scored = read_table(run.folder.predictions).with_columns(window="scored_window")
    write_table(folder / "teachers.parquet", pl.concat(taught).select(columns).drop_nulls())
    write_table(folder / "students.parquet", scored.select(columns).drop_nulls())
    write_json(folder / "summary.json", read_summary(run))
    comparisons = read_comparisons(run).items()
    write_json(
        folder / "comparisons.json",
        {name: found.model_dump(mode="json") for name, found in comparisons},
    )
    # The last file says that the world is explored.
    write_json(folder / "gates.json", read_json(run.folder.audit / "gates.json"))


def pooled(tables: list[pl.DataFrame]) -> Pooled:
    """Pool the scores of several worlds; symbols of different worlds are different symbols."""
    rows = pl.concat(
        [table.with_columns(world=pl.lit(number)) for number, table in enumerate(tables)]
    ).with_columns(symbol=pl.format("{} {}", "world", "symbol"))
    symbols, sessions = (rows[name].rank("dense").to_numpy() for name in rows.columns[:2])
    weights = panel_weights(
        n_symbols=rows["symbol"].n_unique(),
        n_sessions=rows["session_number"].n_unique(),
        block_sessions=BLOCK_SESSIONS,
        n_draws=N_DRAWS,
        seed=0,
    )
    labels, scores = rows["label"].to_numpy(), rows["score"].to_numpy()
    draws = panel_auc_draws(symbols, sessions, labels, scores, weights=weights)
    auc = roc_auc(labels, scores)
    assert auc is not None
    windows = rows.partition_by("world", "window")
    known = [roc_auc(part["label"].to_numpy(), part["score"].to_numpy()) for part in windows]
    mean = float(np.mean([value for value in known if value is not None]))
    return Pooled(auc, float(draws.std(ddof=1)), mean, len(windows))


SEEDS = [
    pytest.param(seed, marks=[pytest.mark.worlds] if seed >= FEW_SEEDS else [])
    for seed in range(N_SEEDS)
]
# Standard errors shrink with the root of the number of worlds.
ALL_WORLDS = pytest.param(N_SEEDS, 1.0, marks=pytest.mark.worlds)
SOME_WORLDS = pytest.param(FEW_SEEDS, (N_SEEDS / FEW_SEEDS) ** 0.5)
any_number_of_worlds = pytest.mark.parametrize(
    ("n_worlds", "widening"), [SOME_WORLDS, ALL_WORLDS], ids=["some", "all"]
)


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_found_where_there_is_nothing(explore: Explore, seed: int) -> None:
    """On random walks the pooled AUC's interval contains one half, and nothing is approved."""
    world = explore(Question(seed))

    auc = world.summary.classification.auc
    assert world.teachers["window"].n_unique() >= 200
    assert auc.lower is not None
    assert auc.upper is not None
    assert auc.lower <= 0.5 <= auc.upper
    assert world.verdict.decision is not Decision.APPROVE


@any_number_of_worlds
def test_students_of_worlds_together_know_nothing(
    explore: Explore, n_worlds: int, widening: float
) -> None:
    """Out of sample, over all windows, one half lies within two standard errors."""
    found = pooled([explore(Question(seed)).students for seed in range(n_worlds)])

    assert found.standard_error < 0.006 * widening
    assert abs(found.auc - 0.5) < 2 * found.standard_error, found


@any_number_of_worlds
def test_teachers_of_worlds_together_know_nothing(
    explore: Explore, n_worlds: int, widening: float
) -> None:
    """Out of fold, over all windows, one half lies within two standard errors."""
    found = pooled([explore(Question(seed)).teachers for seed in range(n_worlds)])

    assert found.n_windows > 200 * n_worlds
    assert found.standard_error < 0.008 * widening
    assert abs(found.auc - 0.5) < 2 * found.standard_error, found


@pytest.mark.parametrize("seed", SEEDS)
def test_variants_of_students_do_not_differ_where_there_is_nothing(
    explore: Explore, seed: int
) -> None:
    """Neither a teacher nor rewards rank better than none, in any world."""
    comparisons = explore(Question(seed)).comparisons
    for name in ("distillation", "weighting"):
        assert comparisons[name].of("auc").rejects_null is False


def test_a_planted_edge_is_found(explore: Explore) -> None:
    """The same method on the same market with an edge finds it: the null test can fail."""
    world = explore(EDGE)

    assert world.summary.classification.auc.lower is not None
    assert world.summary.classification.auc.lower > 0.55
    assert world.verdict.decision is Decision.APPROVE


@pytest.mark.worlds
def test_teachers_of_all_symbols_find_more_of_the_edge(explore: Explore) -> None:
    """Both scopes find what all symbols share; the one that sees all of them finds more."""
    single, whole = (pooled([explore(question).teachers]) for question in (EDGE, EDGE_OF_ALL))

    for found in (single, whole):
        assert found.auc > 0.5 + 2 * found.standard_error
    assert whole.auc > single.auc + 2 * single.standard_error


@pytest.mark.worlds
def test_a_teacher_of_all_symbols_helps_the_student_of_one(explore: Explore) -> None:
    """A student that sees one symbol learns from its teacher what its own labels cannot tell."""
    distilled = explore(EDGE_OF_ALL).comparisons["distillation"]
    loss, auc = distilled.of("log_loss"), distilled.of("auc")

    assert loss.upper is not None
    assert auc.lower is not None
    assert loss.upper < 0 < auc.lower


def test_one_student_of_all_symbols_is_better_than_one_of_each(explore: Explore) -> None:
    """What symbols share is learnt from all of them."""
    auc = explore(EDGE).comparisons["pooling"].of("auc")

    assert auc.lower is not None
    assert auc.lower > 0
