"""Every setting that a person can give does something, or is refused.

A setting that no code reads is a lie in the form that shows it. Each leaf of the models has one
row here: another value, and the narrowest step of the method that must then write something else.
What a step merely repeats of its settings (digests of configurations, counts of draws) is taken
out before comparing, so that only behaviour counts.
"""

import ast
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, get_args

import polars as pl
import pytest
from pydantic import BaseModel, ValidationError

from sensequant.errors import ConfigError, DataError
from sensequant.ingestion.opening import Intakes
from sensequant.market.bars import bars_digest
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.base import Chunk
from sensequant.market.sources.build import SourceConfig, build_source
from sensequant.market.sources.simulated import SimulatedConfig
from sensequant.records import Outcome, code_version, digest_of
from sensequant.runs import RunFolder, Stage
from sensequant.settings import RunOptions, RunRequest, TrainingConfig
from sensequant.stages import (
    certificate,
    crises,
    distillation,
    evidence,
    ingestion,
    inline,
    release,
    statistical_tests,
    students_evidence,
    training,
)
from sensequant.stages.context import Findings, Run, RunRecord, RunSettings
from sensequant.stages.inline import lone_process, run_inline
from sensequant.storage import read_json, sha256_of
from sensequant.units import UnitRecord
from sensequant.windows import POOLED

ROOT = Path(__file__).parents[2]
AT = datetime(2024, 1, 1, tzinfo=UTC)
RUN_ID = "live_candidate_20240101_000000_0000000a"
ECHOED = {
    "config_digest",
    "schema_version",
    "confidence",
    "n_draws",
    "n_placebo",
    "block_sessions",
    "threshold",
    "resilience_pass",
    "inputs",
    "seed",
    "lags",
}
"""What reports repeat of their settings."""

SMALL: dict[str, Any] = {
    "windows": {"window_days": 90},
    "teacher": {
        "booster": {
            "num_leaves": 7,
            "n_estimators": 20,
            "learning_rate": 0.1,
            "min_child_samples": 5,
            "early_stopping_rounds": 0,
        },
        "split": {"n_folds": 3},
    },
    "student": {"n_estimators": 10, "min_child_samples": 5},
    "validation": {"n_bootstrap_draws": 100, "n_placebo": 2},
    "significance": {"n_draws": 100},
}

OWNERS = ("SIM02", POOLED)
LOGISTIC: dict[str, Any] = {
    "student.kind": "logistic",
    "student.n_estimators": 60,
    "student.min_child_samples": 20,
}
"""A student of the other kind, which refuses settings of trees."""

Probe = Callable[[Run], Any]


class Case(NamedTuple):
    """Another value of one setting and the step that must notice it.

    `beside` holds values of other settings, given before and after, `along` such as are given with
    the other value only; without a probe, the value must be refused. `{home}` is the run's home.
    """

    value: Any
    probe: Probe | None = None
    beside: Mapping[str, Any] = MappingProxyType({})
    along: Mapping[str, Any] = MappingProxyType({})


def stripped(value: Any) -> Any:
    """Return a JSON value without what only repeats settings."""
    if isinstance(value, dict):
        items: dict[str, Any] = value  # pyright: ignore[reportUnknownVariableType]
        return {name: stripped(each) for name, each in items.items() if name not in ECHOED}
    if isinstance(value, list):
        parts: list[Any] = value  # pyright: ignore[reportUnknownVariableType]
        return [stripped(each) for each in parts]
    return value


def content_of(folder: Path, *patterns: str) -> dict[str, str]:
    """Return what stands in files below a folder: digests of tables, of stripped JSON, of trees."""
    found: dict[str, str] = {}
    for path in sorted({path for pattern in patterns for path in folder.glob(pattern)}):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".json":
            found[name] = digest_of(stripped(read_json(path)))
        elif path.suffix == ".txt":
            found[name] = path.read_text().partition("\nparameters:")[0]
        else:
            found[name] = sha256_of(path)
    return found


def rows(run: Run) -> Any:
    training.prepare_rows(run)
    return sha256_of(run.folder.rows("SIM02"))


def teacher(run: Run) -> Any:
    window = next(each for each in training.planned_teachers(run) if each.symbol in OWNERS)
    try:
        training.train_window(run, window.symbol, window.short)
    except DataError as error:
        return error.reason
    folder = run.folder.teacher(window.label)
    return content_of(folder, "labels.parquet", "importance.parquet", "model.txt")


def figures(run: Run) -> Any:
    teacher(run)
    record = read_json(run.folder.teacher(run.windows_of("SIM02")[0].label) / "metadata.json")
    return stripped(record["out_of_fold"])


def student(run: Run) -> Any:
    window = run.pooled_windows[1]
    distillation.train_student_of(run, POOLED, window.short)
    return content_of(run.folder.student(window.label), "predictions.parquet")


def weighted_student(run: Run) -> Any:
    # Its lessons are weighted by what three students before it earned.
    window = run.pooled_windows[4]
    distillation.train_student_of(run, POOLED, window.short)
    return content_of(run.folder.student(window.label), "predictions.parquet")


def rewards(run: Run) -> Any:
    training.prepare_rows(run)
    students_evidence.gather(run)
    return sha256_of(run.folder.rewards)


def validation(run: Run) -> Any:
    evidence.validate_scores(run)
    return content_of(run.folder.validation, "*.parquet", "*.json")


def equity(run: Run) -> Any:
    evidence.validate_scores(run)
    return content_of(run.folder.validation, "equity.parquet")


def significance(run: Run) -> Any:
    statistical_tests.assess_significance(run)
    return stripped(read_json(run.folder.significance / "stat_tests.json"))


def stress(run: Run) -> Any:
    folder = run.folder.stress / "scenarios"
    shutil.rmtree(folder)
    for scenario in run.scenarios:
        crises.replay_scenario(run, scenario.name)
    crises.summarise(run)
    return stripped(read_json(run.folder.stress / "stress_summary.json"))


def methods(run: Run) -> Any:
    return [crises.replay_method(run, name).outcome for name in crises.planned_methods(run)]


def shocks(run: Run) -> Any:
    crises.summarise(run)
    return read_json(run.folder.stress / "shocks.json")


def gates(run: Run) -> Any:
    release.audit(run, created_at=AT)
    return read_json(run.folder.audit / "gates.json")


def twins(run: Run) -> Any:
    for number in certificate.planned_twins(run):
        certificate.try_twin(run, number)
    return content_of(run.folder.audit, "twins/*.json")


def stage_outcome(run: Run) -> Any:
    units = [
        UnitRecord(kind="teacher", name=f"teacher {n}", outcome=outcome, seconds=0.0)
        for n, outcome in enumerate([Outcome.FAILED] + 9 * [Outcome.SUCCESS])
    ]
    inline._finish(run, Stage.TEACHER_TRAINING, Findings(), AT, units=units, kind="teacher")
    return next(record for record in run.folder.stages() if record.failure_rate == 0.1).outcome


def plan(run: Run) -> Any:
    ingestion.settle(run, [*run.symbols, "NIFTY50", "NIFTY50TRI"])
    return content_of(run.folder.root, "windows.json")


def data(run: Run) -> Any:
    for symbol in run.symbols:
        ingestion.freeze_bars(run, symbol)
    ingestion.settle(run, run.symbols)
    return content_of(run.folder.root, "data.parquet", "windows.json")


def chunks(run: Run) -> Any:
    universes = run.folder.home / "universes"
    with closing(Intakes(lone_process(run.folder.home, AT))) as intakes:
        planned = ingestion.plan_chunks(run, intakes.of(run.request.source), universes=universes)
    return [chunk.symbol for chunk in planned]


def market(run: Run) -> Any:
    source = build_source(run.request.source)
    symbols = (*source.symbols(), *source.indices())
    bars = {symbol: bars_digest(source.fetch(Chunk(symbol)).bars) for symbol in symbols}
    return [bars, source.actions().rows()]


BOOSTER, SPLIT, SIMULATED = "teacher.booster", "teacher.split", "source.simulated"

TRADED: dict[str, Any] = {"backtest.threshold": 0.2}
"""A market that is bought nearly always."""

METHOD: dict[str, Case] = {
    "seed": Case(7, teacher),
    "max_failure_rate": Case(0.05, stage_outcome),
    "windows.window_days": Case(120, plan),
    "windows.min_samples": Case(62, teacher),
    "features.scale_free": Case(False, rows, {"features.classic_levels": True}),
    "features.classic_levels": Case(True, rows),
    "features.trend": Case(False, rows),
    "features.momentum": Case(False, rows),
    "features.volatility": Case(False, rows),
    "features.volume": Case(False, rows),
    "features.gaps": Case(True, rows),
    "features.calendar": Case(True, rows),
    "features.delivery": Case(True, rows),
    "features.market_context": Case(True, rows),
    "features.ranks": Case(True, rows),
    "features.depth": Case(True, rows),
    "features.sentiment": Case(True, rows),
    "features.macro": Case(True, rows),
    "features.options": Case(True, rows),
    "features.regimes": Case(True, rows),
    "features.levels": Case(True, rows),
    "features.listing": Case(False, rows),
    "windows.early_life_days": Case(30, plan),
    "labels.kind": Case("triple_barrier", rows),
    "labels.horizon_sessions": Case(8, rows),
    "labels.threshold_frac": Case(0.01, rows),
    "labels.volatility_multiple": Case(1.0, rows, {"labels.kind": "volatility"}),
    "labels.profit_multiple": Case(2.0, rows, {"labels.kind": "triple_barrier"}),
    "labels.stop_multiple": Case(2.0, rows, {"labels.kind": "triple_barrier"}),
    "labels.sample_weights": Case("equal", teacher),
    f"{BOOSTER}.num_leaves": Case(3, teacher),
    f"{BOOSTER}.max_depth": Case(1, teacher),
    f"{BOOSTER}.learning_rate": Case(0.2, teacher),
    f"{BOOSTER}.n_estimators": Case(12, teacher),
    f"{BOOSTER}.min_child_samples": Case(8, teacher),
    f"{BOOSTER}.subsample": Case(0.5, teacher),
    f"{BOOSTER}.bagging_freq": Case(3, teacher),
    f"{BOOSTER}.colsample_bytree": Case(0.3, teacher),
    f"{BOOSTER}.reg_lambda": Case(5.0, teacher),
    f"{BOOSTER}.early_stopping_rounds": Case(1, teacher),
    # An OpenCL device grows the same trees as the CPU; the wheel refuses CUDA.
    f"{BOOSTER}.device": Case("cuda", teacher),
    f"{BOOSTER}.gpu_platform_id": Case(0),
    f"{BOOSTER}.gpu_device_id": Case(0),
    f"{BOOSTER}.gpu_use_dp": Case(False),
    f"{SPLIT}.validation_frac": Case(0.3, teacher),
    f"{SPLIT}.n_folds": Case(4, teacher),
    f"{SPLIT}.embargo_sessions": Case(5, teacher),
    "teacher.reference_positive_frac": Case(0.3, teacher),
    "teacher.scope": Case("universe", teacher),
    "teacher.n_interval_draws": Case(100, figures),
    "teacher.interval_confidence": Case(0.8, figures),
    "teacher.tuning.n_trials": Case(15, teacher),
    "student.kind": Case("logistic", student, along=LOGISTIC),
    "student.scope": Case("symbol", student),
    "student.temperature": Case(4.0, student),
    "student.alpha": Case(0.9, student),
    "student.num_leaves": Case(2, student),
    "student.learning_rate": Case(0.2, student),
    "student.n_estimators": Case(20, student),
    "student.min_child_samples": Case(20, student),
    "student.subsample": Case(0.5, student),
    "student.colsample_bytree": Case(0.3, student),
    "student.reg_lambda": Case(5.0, student),
    "student.l2_penalty": Case(1000.0, student, LOGISTIC),
    "student.calibration": Case("none", student),
    "student.calibration_folds": Case(3, student),
    "student.novelty_limit": Case(1.0, student),
    "student.valid_days": Case(20, student),
    "reward.mode": Case("exponential", weighted_student),
    "reward.is_deployed": Case(True, weighted_student),
    "reward.scale": Case(5.0, weighted_student),
    "reward.decay": Case(0.5, weighted_student),
    "reward.depth_windows": Case(1, weighted_student),
    "reward.floor": Case(0.9, weighted_student, {"reward.scale": 10.0}),
    "reward.horizon_sessions": Case(3, rewards),
    "reward.neutral_score": Case(0.4, rewards),
    "reward.signal_band": Case(0.1, rewards),
    "reward.dead_band_frac": Case(0.01, rewards),
    "reward.clip_min": Case(-0.01, rewards),
    "reward.clip_max": Case(0.01, rewards),
    "costs.brokerage_bps": Case(10.0, equity),
    "costs.dp_charge_inr": Case(0.0, equity),
    "costs.slippage_bps": Case(1.0, equity),
    "costs.impact_bps": Case(0.0, equity),
    "costs.rates_as_of": Case(date(2010, 1, 4), equity),
    "backtest.threshold": Case(0.3, equity),
    "backtest.position_frac": Case(0.05, equity),
    "backtest.max_position_frac": Case(0.02, equity),
    "backtest.gross_limit_frac": Case(0.2, equity),
    "backtest.capital_inr": Case(1e6, equity),
    "backtest.sizing": Case("volatility", equity),
    "backtest.reference_volatility_frac": Case(0.1, equity, {"backtest.sizing": "volatility"}),
    "backtest.min_change_frac": Case(0.05, equity),
    "backtest.max_participation_frac": Case(1e-6, equity),
    "backtest.cash_rate_frac": Case(0.0, equity),
    "validation.n_bootstrap_draws": Case(150, validation),
    "validation.confidence": Case(0.8, validation),
    "validation.min_block_sessions": Case(40, validation),
    "validation.n_calibration_bins": Case(5, validation),
    "validation.n_placebo": Case(5, validation),
    "significance.n_draws": Case(150, significance),
    "significance.confidence": Case(0.8, significance),
    "significance.annual_risk_free_frac": Case(0.0, significance, {"backtest.cash_rate_frac": 0.0}),
    "significance.power": Case(0.9, significance),
    "significance.min_sessions": Case(5000, significance),
    "significance.min_trades": Case(10_000, significance),
    "significance.n_cscv_blocks": Case(6, significance),
    "significance.sessions_per_year": Case(252.0, significance),
    "stress.severities": Case(["medium"], stress),
    "stress.periods": Case(["covid_crash_2020"], stress),
    "stress.resilience_pass": Case(10.0, stress),
    "stress.min_sessions": Case(30, stress),
    "stress.cash_rate_frac": Case(0.0, stress),
    "stress.balanced_equity_frac": Case(0.3, stress),
    "stress.black_swan_sigma": Case(0.1, stress),
    "stress.method_windows": Case(2, methods),
    "stress.gap_down_frac": Case(0.3, shocks),
    "stress.volatility_factor": Case(3.0, shocks),
    "stress.halt_sessions": Case(60, shocks),
    "stress.spread_factor": Case(2.0, shocks),
    "gates.min_scored_sessions": Case(5000, gates),
    "gates.min_trades": Case(5000, gates),
    "gates.min_auc": Case(0.9, gates),
    "gates.min_mean_excess_return": Case(-0.9, gates),
    "gates.min_deflated_sharpe": Case(0.6, gates),
    "gates.max_alpha_p_value": Case(0.4, gates),
    "gates.max_drawdown_frac": Case(0.001, gates),
    "gates.min_resilience": Case(5.0, gates),
    "gates.min_coverage_frac": Case(0.999, gates),
    "gates.max_failure_rate": Case(0.9, gates),
    "twins.n_twins": Case(1, twins, TRADED),
}

NO_MARKET: dict[str, Any] = {"source.simulated": None}
FILES = NO_MARKET | {"source.kind": "files", "source.folder": "{home}/bars"}

REQUEST: dict[str, Case] = {
    "symbols": Case(["SIM02"], chunks),
    "universe": Case("pair", chunks),
    "symbols_file": Case("{home}/symbols.txt", chunks),
    "start": Case(date(2022, 6, 1), data),
    "end": Case(date(2023, 5, 31), data),
    "source.kind": Case("files", chunks, along={"source.folder": "{home}/bars"} | NO_MARKET),
    "source.folder": Case("{home}/other/bars", market, FILES),
    "source.index_folder": Case("{home}/indices", market, FILES),
    "source.actions_path": Case("{home}/actions.parquet", market, FILES),
    f"{SIMULATED}.seed": Case(1, market),
    f"{SIMULATED}.n_symbols": Case(4, market),
    f"{SIMULATED}.history_start": Case(date(2019, 1, 1), market),
    f"{SIMULATED}.annual_volatility_frac": Case(0.5, market),
    f"{SIMULATED}.volatility_dispersion": Case(0.0, market),
    f"{SIMULATED}.market_correlation": Case(0.0, market),
    f"{SIMULATED}.annual_drift_frac": Case(0.0, market),
    f"{SIMULATED}.has_regimes": Case(False, market),
    f"{SIMULATED}.tail_degrees_of_freedom": Case(4.0, market),
    f"{SIMULATED}.garch_reaction_frac": Case(0.1, market),
    f"{SIMULATED}.garch_memory_frac": Case(0.8, market, {f"{SIMULATED}.garch_reaction_frac": 0.1}),
    f"{SIMULATED}.planted_edge_bps": Case(50.0, market),
    f"{SIMULATED}.has_events": Case(False, market),
}


def leaves_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of all settings that are no models themselves."""
    for name, field in model.model_fields.items():
        nested = [
            kind
            for kind in (field.annotation, *get_args(field.annotation))
            if isinstance(kind, type) and issubclass(kind, BaseModel)
        ]
        if nested:
            yield from leaves_of(nested[0], f"{prefix}{name}.")
        else:
            yield prefix + name


def changed(given: dict[str, Any], values: Mapping[str, Any], home: Path) -> dict[str, Any]:
    """Return nested settings with values at dotted names."""
    result = dict(given)
    for dotted, value in values.items():
        head, _, rest = dotted.partition(".")
        filled = value.format(home=home) if isinstance(value, str) else value
        if rest:
            result[head] = changed(result.get(head) or {}, {rest: filled}, home)
        else:
            result[head] = filled
    return result


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home with one small finished run, and the files that a request may name."""
    home = tmp_path_factory.mktemp("settings") / "home"
    folder = RunFolder(home, RUN_ID)
    market = SimulatedConfig(n_symbols=3)
    request = RunRequest(
        start=date(2022, 1, 1),
        end=date(2023, 6, 30),
        source=SourceConfig(simulated=market),
    )
    run_inline(
        folder,
        RunSettings(request=request, config=TrainingConfig.model_validate(SMALL)),
        RunRecord(
            run_id=RUN_ID,
            started_at=AT,
            options=RunOptions(),
            workers=1,
            host="test",
            code_version=code_version(),
            versions={},
            is_simulated=True,
        ),
        universes=home,
        at=AT,
    )
    _write_inputs(home)
    return home


def _write_inputs(home: Path) -> None:
    sessions = nse_calendar().sessions(date(2023, 1, 2), date(2023, 1, 31))
    header = (
        "symbol,series,date1,prev_close,open_price,high_price,low_price,close_price,avg_price,"
        "ttl_trd_qnty,turnover_lacs,no_of_trades,deliv_qty"
    )
    for name in ("bars/AAA", "bars/BBB", "other/bars/AAA"):
        path = home / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        price = 100 + len(name)
        rows = [
            f"{path.stem},EQ,{session:%d-%b-%Y},{price},{price},{price},{price},{price},{price},"
            f"10,1.0,1,1"
            for session in sessions
        ]
        path.write_text("\n".join([header, *rows]))
    (home / "indices").mkdir()
    levels = [f"{session},100,100,100,100,0" for session in sessions]
    index = "\n".join(["timestamp,open,high,low,close,volume", *levels])
    (home / "indices" / "NIFTY50TRI.csv").write_text(index)
    pl.DataFrame(
        {"symbol": ["AAA"], "subject": ["Bonus 1:1"], "exDate": [sessions[3]]}
    ).write_parquet(home / "actions.parquet")
    (home / "symbols.txt").write_text("SIM02\n")
    (home / "universes").mkdir()
    (home / "universes" / "pair.yaml").write_text(
        "name: pair\ndescription: one\nsource: a test\nmembers: [SIM03]\n"
    )


@pytest.fixture
def observe(home: Path, tmp_path: Path) -> Callable[..., Any]:
    """Return what a probe says of a copy of the run under given settings: probe, values."""

    def observe(
        probe: Probe, *, method: Mapping[str, Any] = {}, request: Mapping[str, Any] = {}
    ) -> Any:
        # Both sides of a comparison see the same paths, as both are read one after the other.
        copy = tmp_path / "home"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(home, copy)
        folder = RunFolder(copy, RUN_ID)
        stored = RunSettings.model_validate(read_json(folder.config)).request.model_dump()
        run = Run(
            folder,
            RunRequest.model_validate(changed(stored, request, copy)),
            TrainingConfig.model_validate(changed(SMALL, method, copy)),
        )
        return probe(run)

    return observe


BREEZE = "tests/sensequant/market/sources/breeze"
CLIENT, PACING, SOURCE = (f"{BREEZE}/test_{name}.py" for name in ("client", "pacing", "source"))
SIZES = f"{BREEZE}/test_config.py::test_each_size_is_that_of_its_interval"
TRIES = f"{CLIENT}::test_number_of_tries_and_waits_can_be_set"
PACE = f"{PACING}::test_settings_reach_the_pacer"

PROVEN: dict[str, str] = {
    "source.credentials_block": "tests/blocks/test_credentials.py"
    "::test_a_named_block_is_taken_whatever_the_environment_says",
    "source.breeze.daily_chunk_sessions": SIZES,
    "source.breeze.thirty_minute_chunk_sessions": SIZES,
    "source.breeze.five_minute_chunk_sessions": SIZES,
    "source.breeze.one_minute_chunk_sessions": SIZES,
    "source.breeze.daily_version": f"{SOURCE}::test_daily_bars_may_come_from_v1",
    "source.breeze.history_start": f"{SOURCE}::test_start_of_the_history_can_be_set",
    "source.breeze.calls_per_minute": PACE,
    "source.breeze.burst": PACE,
    "source.breeze.calls_per_day": PACE,
    "source.breeze.max_calls_in_flight": f"{CLIENT}::test_number_of_calls_under_way_can_be_set",
    "source.breeze.timeouts.connect_seconds": f"{BREEZE}/test_transport.py::test_silence_ends",
    "source.breeze.timeouts.read_seconds": f"{CLIENT}::test_silence_is_tried_again",
    "source.breeze.retry.n_transient_tries": TRIES,
    "source.breeze.retry.first_wait_seconds": TRIES,
    "source.breeze.retry.longest_wait_seconds": TRIES,
    "source.breeze.retry.n_minute_limits": f"{CLIENT}::test_minute_limit_without_end_is_left",
    "source.breeze.has_ipv4_only": f"{CLIENT}::test_ipv4_can_be_asked_for",
    "source.breeze.clock_tolerance_seconds": f"{CLIENT}::test_tolerance_of_the_clock_can_be_set",
    "source.breeze.proof_stock_code": f"{CLIENT}::test_proof_asks_for_the_code_that_is_set",
}
"""Settings of the vendor's service, and the test on the wire that shows each of them acting."""


@pytest.fixture(scope="module")
def known() -> dict[str, Any]:
    """Return what probes said of the unchanged settings, so that each is asked once."""
    return {}


@pytest.mark.parametrize(
    ("model", "table"),
    [(TrainingConfig, METHOD), (RunRequest, REQUEST)],
    ids=["method", "request"],
)
def test_every_setting_has_a_row(model: type[BaseModel], table: dict[str, Case]) -> None:
    """A new setting needs a row that proves it, and an old row goes with its setting."""
    elsewhere = PROVEN if model is RunRequest else {}
    assert sorted(leaves_of(model)) == sorted([*table, *elsewhere])


@pytest.mark.parametrize("proof", sorted(set(PROVEN.values())))
def test_a_proof_elsewhere_is_there(proof: str) -> None:
    """The test that is said to show a setting acting exists."""
    path, _, name = proof.partition("::")
    tree = ast.parse((ROOT / path).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def check(
    observe: Callable[..., Any], known: dict[str, Any], *, kind: str, name: str, case: Case
) -> None:
    given = {**case.beside, **case.along, name: case.value}
    if case.probe is None:
        with pytest.raises((ConfigError, ValidationError)):
            observe(stage_outcome, **{kind: given})
        return
    probe = case.probe
    key = f"{probe.__name__} {sorted(case.beside.items())}"
    if key not in known:
        known[key] = observe(probe, **{kind: case.beside})

    assert said_by(observe, probe, kind, given) != known[key]


def said_by(observe: Callable[..., Any], probe: Probe, kind: str, given: dict[str, Any]) -> Any:
    try:
        return observe(probe, **{kind: given})
    except ConfigError as error:
        # A device that this machine lacks is refused by its first fit, a family of features whose
        # data the run lacks by its name.
        is_refusal = error.where == "device" or error.where.startswith("features.")
        assert is_refusal
        return "refused"


@pytest.mark.parametrize("name", sorted(METHOD))
def test_a_setting_of_the_method_acts(
    observe: Callable[..., Any], known: dict[str, Any], name: str
) -> None:
    """Another value gives other bytes than the value before, or an error that refuses it."""
    check(observe, known, kind="method", name=name, case=METHOD[name])


@pytest.mark.parametrize("name", sorted(REQUEST))
def test_a_setting_of_the_request_acts(
    observe: Callable[..., Any], known: dict[str, Any], name: str
) -> None:
    """Other symbols, dates, folders and markets give other bars or another plan."""
    check(observe, known, kind="request", name=name, case=REQUEST[name])


@pytest.mark.parametrize(
    "probe",
    [rows, teacher, figures, student, weighted_student, rewards, validation, stress],
    ids=lambda probe: probe.__name__,
)
def test_a_probe_does_not_differ_by_itself(observe: Callable[..., Any], probe: Probe) -> None:
    """Unchanged settings say the same twice; else the tests above would prove nothing."""
    assert observe(probe) == observe(probe)
