"""The forecast of a run: it says what the stages then do."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sensequant.coverage.audit import CoverageAudit, audit_coverage
from sensequant.coverage.collect import collect_evidence
from sensequant.coverage.evidence import AsOf
from sensequant.coverage.expected import Scope
from sensequant.coverage.preflight import (
    Forecast,
    Preflight,
    PreflightConfig,
    Question,
    Warn,
    preflight,
)
from sensequant.coverage.preflight_text import preflight_markdown
from sensequant.market.crosscheck import DISPUTE_SCHEMA
from sensequant.market.finality import Finality
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.base import Chunk
from sensequant.market.sources.build import SourceConfig
from sensequant.market.sources.simulated import SimulatedConfig, SimulatedSource
from sensequant.market.store import BarStore
from sensequant.market.symbols import NIFTY50, NIFTY50_TRI
from sensequant.records import SkipReason, code_version
from sensequant.runs import RunFolder, Stage
from sensequant.settings import RunOptions, RunRequest, TrainingConfig
from sensequant.stages.context import Run, RunRecord, RunSettings
from sensequant.stages.inline import run_inline
from sensequant.stages.opening import library_versions
from sensequant.storage import read_json, read_table

AT = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
START, END = date(2022, 1, 1), date(2023, 6, 30)
MARKET = SimulatedConfig(n_symbols=3)
SMALL: dict[str, Any] = {
    "teacher": {
        "booster": {
            "num_leaves": 4,
            "n_estimators": 10,
            "learning_rate": 0.1,
            "min_child_samples": 5,
        },
        "split": {"n_folds": 2},
    },
}
Stored = Callable[..., BarStore]


def config_of(**changes: Any) -> TrainingConfig:
    return TrainingConfig.model_validate({**SMALL, **changes})


def audit_of(store: BarStore, symbols: tuple[str, ...], *, end: date = END) -> CoverageAudit:
    scope = Scope(symbols, ("1day",), START, end)
    evidence = collect_evidence(store, [], scope, settled_at=lambda _: end)
    return audit_coverage(scope, evidence, as_of=AsOf(end, end), calendar=nse_calendar())


def forecast_of(
    store: BarStore,
    symbols: tuple[str, ...] = ("SIM01", "SIM02", "SIM03"),
    *,
    limits: PreflightConfig | None = None,
    end: date = END,
    **changes: Any,
) -> Preflight:
    return preflight(
        Question(symbols, START, end, config_of(**changes)),
        store,
        audit_of(store, symbols, end=end),
        calendar=nse_calendar(),
        limits=limits,
    )


@pytest.fixture(scope="module")
def source() -> SimulatedSource:
    """Return a market with a listing, a split and a hole inside the range."""
    return SimulatedSource(MARKET)


@pytest.fixture
def stored(tmp_path: Path, source: SimulatedSource) -> Stored:
    """Store simulated bars: symbols, first and last date by name, indices or none."""

    def stored(
        *symbols: str,
        indices: tuple[str, ...] = (NIFTY50,),
        finality: Finality | None = None,
        **span: date,
    ) -> BarStore:
        store = BarStore(tmp_path)
        for symbol in (*symbols, *indices):
            bars = source.fetch(Chunk(symbol, "1day", span.get("start"), span.get("end", END))).bars
            store.write(bars, interval="1day", fetched_at=AT, finality=finality)
        store.write_actions(source.actions())
        return store

    return stored


def ran(home: Path, config: TrainingConfig) -> Run:
    """Execute stages 1 and 2 on the simulated market."""
    settings = RunSettings(
        request=RunRequest(
            start=START, end=END, source=SourceConfig(kind="simulated", simulated=MARKET)
        ),
        config=config,
    )
    options = RunOptions(stages=(Stage.DATA_INGESTION, Stage.TEACHER_TRAINING), workers=1)
    folder = RunFolder(home, "live_candidate_20240102_030405_0000000a")
    record = RunRecord(
        run_id=folder.run_id,
        started_at=AT,
        options=options,
        workers=1,
        host="test",
        code_version=code_version(),
        versions=library_versions(),
        is_simulated=True,
    )
    return run_inline(folder, settings, record, universes=home, at=AT)


@pytest.mark.parametrize(
    "changes",
    [
        {"windows": {"window_days": 90}},
        {"windows": {"window_days": 30, "min_samples": 12}},
        {"windows": {"window_days": 60}, "labels": {"threshold_frac": 0.3}},
        {"windows": {"window_days": 45}, "labels": {"threshold_frac": 0.08}},
        {"windows": {"window_days": 120}, "labels": {"horizon_sessions": 60}},
    ],
    ids=["quarters", "months", "one class", "rare", "long horizon"],
)
def test_the_stages_do_what_was_forecast(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Every planned window is trained or skipped as forecast, with the same reason and counts."""
    run = ran(tmp_path, config_of(**changes))
    forecast = forecast_of(run.store, **changes)
    units = read_table(run.folder.units("teacher")).filter(pl.col("kind") == "teacher")
    done = {
        (row["symbol"], row["window"]): row["reason"] if row["outcome"] != "success" else None
        for row in units.iter_rows(named=True)
    }

    assert set(units["outcome"]) <= {"success", "skipped"}
    assert {
        (window.symbol, f"{window.start}..{window.end}"): window.reason
        for window in forecast.windows
    } == done
    assert (
        forecast.benchmark
        == read_json(run.folder.stage_record(Stage.DATA_INGESTION))["findings"]["benchmark"]
    )


def test_the_market_has_every_kind_of_window(stored: Stored) -> None:
    """One symbol is listed within the range: its first windows are skipped, the next one is cut."""
    store = stored("SIM01", "SIM02", "SIM03", indices=(NIFTY50, NIFTY50_TRI))
    forecast = forecast_of(store, windows={"window_days": 90})
    listed = {one.symbol: one for one in forecast.symbols}["SIM03"]

    assert listed.forecast is Forecast.PARTLY
    assert listed.skips["pre_listing"] > 0
    assert forecast.benchmark == NIFTY50_TRI
    assert forecast.n_trained == sum(one.n_trained for one in forecast.symbols) > 0
    assert forecast.is_possible
    assert forecast.warnings == ()


def test_a_symbol_without_bars_is_skipped(stored: Stored) -> None:
    """It has windows, each without data, and the command that would fetch it."""
    forecast = forecast_of(stored("SIM01"), ("SIM01", "SIM02", NIFTY50))
    absent = forecast.symbols[1]

    assert [one.symbol for one in forecast.symbols] == ["SIM01", "SIM02"]
    assert absent.forecast is Forecast.SKIPPED
    assert absent.reason is SkipReason.NO_DATA
    assert absent.warnings == (Warn.LOW_COVERAGE, Warn.TO_FETCH)
    own = [window for window in forecast.windows if window.symbol == "SIM02"]
    assert {window.reason for window in own} == {SkipReason.NO_DATA}
    assert sum(window.n_missing_local for window in own) == absent.n_missing_local
    assert any("SIM02" in command for command in forecast.commands)


def test_provisional_bars_are_not_learned_from(stored: Stored) -> None:
    """With no final bar there is nothing to train, and the run would fail in stage 1."""
    never = Finality(settled_through=None, confirmable_through=None, confirm_after=AT - AT)
    forecast = forecast_of(stored("SIM01", finality=never), ("SIM01",))

    assert forecast.symbols[0].reason is SkipReason.NO_DATA
    assert Warn.PROVISIONAL in forecast.symbols[0].warnings
    assert forecast.warnings == (Warn.NO_BARS_IN_RANGE, Warn.NO_BENCHMARK)
    assert not forecast.is_possible


def test_disputed_sessions_are_warned_of(stored: Stored) -> None:
    """The session is left out of training; the symbol is trained without it."""
    store = stored("SIM02")
    session = date(2022, 6, 1)
    row = ("SIM02", session, "differs", "close", 1.0, 2.0, "NSE")
    store.write_disputes(
        "SIM02", pl.DataFrame([row], schema=DISPUTE_SCHEMA, orient="row"), interval="1day"
    )
    forecast = forecast_of(store, ("SIM02",))

    assert Warn.DISPUTED in forecast.symbols[0].warnings
    whole = audit_of(store, ("SIM02",)).symbols["n_sessions"].item()
    assert sum(window.n_bars for window in forecast.windows) == whole - 1


def test_old_last_bars_are_warned_of(stored: Stored) -> None:
    """Bars that end long before the range does are stale; the limit decides."""
    store = stored("SIM02", end=date(2023, 3, 31))
    patient = PreflightConfig(max_stale_sessions=100, min_coverage_frac=0.5)

    assert Warn.STALE in forecast_of(store, ("SIM02",)).symbols[0].warnings
    assert Warn.LOW_COVERAGE in forecast_of(store, ("SIM02",)).symbols[0].warnings
    calm = forecast_of(store, ("SIM02",), limits=patient).symbols[0].warnings
    assert Warn.STALE not in calm
    assert Warn.LOW_COVERAGE not in calm


def test_the_total_return_index_must_cover_the_range(stored: Stored) -> None:
    """Where it ends early the price index stands in, and without that there is none."""
    both = stored("SIM02", indices=(NIFTY50,))
    short = SimulatedSource(MARKET).fetch(Chunk(NIFTY50_TRI, "1day", START, date(2023, 1, 2))).bars
    both.write(short, interval="1day", fetched_at=AT)

    assert forecast_of(both, ("SIM02",)).benchmark == NIFTY50


def test_conflicting_actions_skip_a_symbol(stored: Stored) -> None:
    """Two sources that disagree about a split leave a symbol without adjusted bars."""
    store = stored("SIM02")
    actions = store.actions().with_columns(price_ratio=pl.lit(0.5), source=pl.lit("other"))
    store.write_actions(actions)

    assert forecast_of(store, ("SIM02",)).symbols[0].reason is SkipReason.INVALID_BARS


def test_no_symbol_is_no_error(stored: Stored) -> None:
    """A question about nothing has an empty answer."""
    forecast = forecast_of(stored(), ())

    assert forecast.windows == ()
    assert forecast.benchmark == NIFTY50
    assert "0 of 0 windows" in preflight_markdown(forecast)


def test_the_forecast_reads_as_markdown(stored: Stored) -> None:
    """It leads with what will be trained, names reasons, symbols, windows and commands."""
    store = stored("SIM01", "SIM03", indices=())
    forecast = forecast_of(store, windows={"window_days": 90})
    text = preflight_markdown(forecast)

    assert f"**{forecast.n_trained} of {len(forecast.windows)} windows will be trained.**" in text
    assert "| pre listing |" in text
    assert "has no benchmark" in text
    assert "| SIM02 | skipped |" in text
    assert "sensequant ingest --symbols" in text
    assert all(
        line.count("|") == header.count("|")
        for table in text.split("\n\n")
        if table.startswith("|")
        for header, *lines in [table.strip().splitlines()]
        for line in lines
    )


def test_a_ready_run_is_told_shortly(stored: Stored) -> None:
    """Without anything to know there is no table."""
    forecast = forecast_of(
        stored("SIM02", end=date(2022, 12, 31)),
        ("SIM02",),
        end=date(2022, 6, 29),
        windows={"window_days": 180},
    )

    assert forecast.symbols[0].forecast is Forecast.READY
    assert "|" not in preflight_markdown(forecast)


def test_long_tables_are_cut(stored: Stored) -> None:
    """A table of very many rows says how many it leaves out."""
    names = tuple(f"X{number:03d}" for number in range(205))

    assert "and 5 further rows" in preflight_markdown(forecast_of(stored(), names))
