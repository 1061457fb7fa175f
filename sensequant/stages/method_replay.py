"""The method as of then: trained only on what was known before a crisis, and led through it.

Belongs here: the run inside the run that this takes, and its outcome. Does not belong here: the
candidate's own replay (`stages.crises`), how scores are traded and judged (`stress`).

A replay of the candidate asks how these students would have fared, though some of them learned from
later years. Here the same settings train new teachers and students on the windows before the
crisis, from bars up to its end and not a session more; the last of these students scores it, as in
any walk-forward step. The windows are laid so that the last label of the last of them ends before
the crisis begins. It runs in a home of its own, which is removed; its outcome stays.
"""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import polars as pl

from sensequant.calibration.throwaway import run_apart, throwaway_home
from sensequant.errors import DataError
from sensequant.records import SkipReason
from sensequant.runs import Stage
from sensequant.stages.context import Run, RunSettings
from sensequant.stages.ingestion import SymbolData, write_windows
from sensequant.storage import read_table, write_table
from sensequant.stress.replay import ReplaySettings, replay, scores_in_period
from sensequant.stress.resilience import ScenarioOutcome, SkippedScenario
from sensequant.stress.scenarios import Scenario

__all__ = ["replay_as_of_then"]

_STAGES = (Stage.TEACHER_TRAINING, Stage.STUDENT_TRAINING)
_DAYS_OF_SESSIONS = 2
"""Calendar days that surely hold one session, holidays in a row included, for some of them."""

_SPARE_DAYS = 10


def replay_as_of_then(run: Run, scenario: Scenario, settings: ReplaySettings) -> ScenarioOutcome:
    """Train the method on the windows before a crisis, and replay what comes of it.

    Parameters
    ----------
    run
        The run whose symbols, bars and settings are taken.
    scenario
        The crisis.
    settings
        Of stress tests, backtest and costs.

    Returns
    -------
    ScenarioResult or SkippedScenario
        Skipped with `no_data` where no symbol has a bar in the crisis, and with
        `no_earlier_training` where none can be trained on before it.
    """
    bars = _bars_until(run, scenario)
    symbols = sorted(set(run.symbols) & bars.keys())
    if not symbols:
        everyone = {SkipReason.NO_DATA.value: len(run.symbols)}
        return SkippedScenario(
            scenario=scenario, skip_reason=SkipReason.NO_DATA, skipped_symbols=everyone
        )
    with throwaway_home(
        run.folder.home / "methods", f"{run.folder.run_id}-{scenario.name}"
    ) as home:
        try:
            inner = _trained(run, home, scenario, bars)
        except DataError:
            # The reason stands beside each window; here it comes to the same.
            nobody = {SkipReason.NO_EARLIER_TRAINING.value: len(symbols)}
            return SkippedScenario(
                scenario=scenario,
                skip_reason=SkipReason.NO_EARLIER_TRAINING,
                skipped_symbols=nobody,
            )
        predictions = read_table(inner.folder.predictions)
        scores = [
            scores_in_period(
                scenario,
                symbol=symbol,
                rows=read_table(inner.folder.rows(symbol)),
                predictions=predictions.filter(pl.col("symbol") == symbol),
                student=None,
                horizon_sessions=settings.horizon_sessions,
            )
            for symbol in symbols
            if inner.folder.rows(symbol).exists()
        ]
        return replay(
            scenario,
            scores=scores,
            bars=pl.concat([bars[symbol] for symbol in symbols]),
            benchmark=run.benchmark,
            predictions=predictions,
            settings=settings,
        )


def _bars_until(run: Run, scenario: Scenario) -> dict[str, pl.DataFrame]:
    """Return the bars of all symbols and indices that have one in the crisis, up to its end."""
    found: dict[str, pl.DataFrame] = {}
    for path in sorted((run.folder.root / "bars").glob("*.parquet")):
        known = read_table(path).filter(pl.col("session") <= scenario.end)
        if known.height and known["session"][-1] >= scenario.start:
            found[path.stem] = known
    return found


def _trained(run: Run, home: Path, scenario: Scenario, bars: dict[str, pl.DataFrame]) -> Run:
    config = run.config
    # The label of a window's last row must have ended before the crisis begins.
    gap = timedelta(days=_DAYS_OF_SESSIONS * config.labels.horizon_sessions + _SPARE_DAYS)
    length = timedelta(days=config.windows.window_days)
    start = scenario.start - gap - config.stress.method_windows * length
    request = run.request.model_copy(update={"start": start, "end": scenario.end})
    return run_apart(
        home,
        RunSettings(request=request, config=config),
        stages=_STAGES,
        universes=home,
        is_simulated=run.request.source.is_simulated,
        prepare=lambda folder: _write_data(run, Run(folder, request, config), bars),
    )


def _write_data(run: Run, inner: Run, bars: dict[str, pl.DataFrame]) -> None:
    """Write what stage 1 leaves, of bars that end with the crisis."""
    for symbol, known in bars.items():
        write_table(inner.folder.bars(symbol), known)
    facts = _facts_of(run, {symbol: bars[symbol] for symbol in run.symbols if symbol in bars})
    write_table(inner.folder.data, pl.DataFrame([fact.model_dump() for fact in facts]))
    write_windows(inner, facts)
    benchmark = run.benchmark
    if benchmark is not None:
        known = benchmark.filter(pl.col("session") <= inner.request.end)
        write_table(inner.folder.benchmark, known)


def _facts_of(run: Run, bars: dict[str, pl.DataFrame]) -> Sequence[SymbolData]:
    rows = {row["symbol"]: row for row in read_table(run.folder.data).iter_rows(named=True)}
    return [
        SymbolData.model_validate(
            rows[symbol]
            | {
                "n_bars": known.height,
                "first_session": known["session"][0],
                "last_session": known["session"][-1],
            }
        )
        for symbol, known in bars.items()
    ]
