"""A nested search for trading settings on the scores or bars of a run, asked for after the fact.

Belongs here: which files of the run a search reads and writes, and how it goes on after it was
killed. Does not belong here: the search (`evaluation.optimisation`), its figures
(`evaluation.optimised`), its page (`reports.optimisation`). Nothing here is evidence: no gate reads
it, and no file of it enters the manifest. What it tries is written into the ledger of trials first.

Below `optimisation/<strategy>_<digest of the settings>/` stand one folder per step with its trials,
and what all steps together say. While a step is searched, each of its trials is a file of its own,
so that nothing is traded twice; whenever a search was killed, it ends with the same bytes. A step
is known by all that it follows from: with other scores, bars or code it is searched anew.
"""

import shutil
from pathlib import Path

import polars as pl
from pydantic import Field, ValidationError

from sensequant.errors import RecordError
from sensequant.evaluation.figures import risk_free_per_session
from sensequant.evaluation.optimisation import (
    OptimisationConfig,
    Search,
    Searched,
    Step,
    StepReport,
    TradedStep,
    Trial,
    plan_steps,
    report_step,
    search_step,
    trade_step,
    trial_table,
)
from sensequant.evaluation.optimised import (
    Found,
    OptimisationSummary,
    chain_of,
    summarise_search,
)
from sensequant.evaluation.optimised_text import render_search
from sensequant.evaluation.sizing import PortfolioConfig
from sensequant.evaluation.tradable import ScoreTrading, SwingTrading, Tradable
from sensequant.market.sessions import nse_calendar
from sensequant.records import Record, code_version, digest_of, frame_digest
from sensequant.stages.context import Run, shared_table
from sensequant.stages.opening import library_versions
from sensequant.stages.tried import note_trading_search, record_optimised
from sensequant.storage import (
    json_bytes,
    read_json,
    read_table,
    table_bytes,
    write_atomically,
    write_json,
    write_together,
)

__all__ = ["optimise", "plan_search", "search_folder", "search_one", "sum_up"]

_SETTINGS, _STEP, _TRIALS = "settings.json", "step.json", "trials"
_EQUITY = ("optimised", "default")


class _StoredStep(Record):
    """A step that is done, and the digest of all that it follows from."""

    key: str = Field(pattern=r"^[0-9a-f]{64}$")
    report: StepReport


def optimise(run: Run, asked: OptimisationConfig) -> tuple[str, OptimisationSummary]:
    """Search all steps one after the other, and sum up; return a page of Markdown and the record.

    Raises
    ------
    DataError
        The run has too few sessions.
    RecordError
        The run has no scores yet.
    """
    for step in plan_search(run, asked):
        search_one(run, asked, step)
    return sum_up(run, asked)


def search_folder(run: Run, asked: OptimisationConfig) -> Path:
    """Return where a search with these settings stands."""
    return run.folder.optimisation / f"{asked.strategy}_{digest_of(asked)[:8]}"


def plan_search(run: Run, asked: OptimisationConfig) -> tuple[Step, ...]:
    """Return the steps of a search, and write its settings down.

    Raises
    ------
    DataError
        The run has too few sessions.
    RecordError
        The run has no scores yet.
    """
    steps = plan_steps(_tradable(run, asked).span, asked)
    write_json(search_folder(run, asked) / _SETTINGS, asked)
    return steps


def search_one(run: Run, asked: OptimisationConfig, step: Step) -> StepReport:
    """Search before one step and trade it, or return what an earlier attempt found."""
    tradable, folder = _tradable(run, asked), search_folder(run, asked) / step.name
    key = _key_of(run, asked, tradable, step)
    done = _done(folder, key)
    trials = _TrialFiles(folder / _TRIALS, key)
    if done is None:
        search = _search_of(run, asked)
        parameters = tradable.parameters(asked.parameters, last=step.known_last)
        note_trading_search(run, asked, step.name, n_settings=asked.n_trials if parameters else 0)
        searched = search_step(tradable, step, search, known=trials.known(), tell=trials.keep)
        traded = trade_step(tradable, step, searched)
        done = report_step(step, searched, traded, search)
        _write_step(folder, asked, searched, traded, _StoredStep(key=key, report=done))
    trials.remove()
    return done


def sum_up(run: Run, asked: OptimisationConfig) -> tuple[str, OptimisationSummary]:
    """Sum up the steps of a search; return a page of Markdown and the record.

    Raises
    ------
    RecordError
        A step was not searched yet.
    """
    # Loads what draws charts.
    from sensequant.reports.optimisation import build_search_report  # noqa: PLC0415

    tradable, folder = _tradable(run, asked), search_folder(run, asked)
    steps = plan_steps(tradable.span, asked)
    found = _read_steps(run, asked, tradable, steps)
    chain = chain_of(found.steps, found.traded)
    # Before anybody can see what it was worth.
    record_optimised(run, asked, chain.select("session", net_return="optimised_return"))
    summary = summarise_search(
        found,
        _search_of(run, asked),
        defaults=tradable.defaults(),
        n_symbols=len(run.symbols),
        is_simulated=run.record.is_simulated,
    )
    page = render_search(summary)
    write_together(
        {
            folder / "trials.parquet": table_bytes(found.trials),
            folder / "returns.parquet": table_bytes(chain),
            folder / "optimization_report.html": build_search_report(
                summary, found.trials, chain
            ).encode(),
            folder / "summary.md": page.encode(),
            # Last: a folder that holds it is complete.
            folder / "summary.json": json_bytes(summary),
        }
    )
    return page, summary


class _TrialFiles:
    """The trials of a step that is being searched, one file each, of one key."""

    def __init__(self, folder: Path, key: str) -> None:
        self._folder = folder
        self._key = key

    def known(self) -> list[Trial]:
        """Return the trials of an earlier attempt from the first on, up to the first that lacks."""
        mark = self._folder / "key.json"
        if not mark.exists() or read_json(mark) != self._key:
            self.remove()
            write_json(mark, self._key)
            return []
        found: list[Trial] = []
        while (path := self._path(len(found))).exists():
            found.append(Trial.model_validate(read_json(path)))
        return found

    def keep(self, trial: Trial) -> None:
        """Write one trial down."""
        write_atomically(self._path(trial.number), json_bytes(trial))

    def remove(self) -> None:
        """Remove what is kept elsewhere by now."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:05d}.json"


def _tradable(run: Run, asked: OptimisationConfig) -> Tradable:
    bars = pl.concat(shared_table(run.folder.bars(symbol)) for symbol in run.symbols)
    config = run.config
    if asked.strategy == "scores":
        return ScoreTrading.of(
            read_table(run.folder.predictions),
            bars,
            hold_sessions=config.labels.horizon_sessions,
            costs=config.costs,
            config=config.backtest,
        )
    calendar = nse_calendar()
    sessions = calendar.sessions(run.request.start, run.request.end)
    own = config.backtest.model_dump(include=set(PortfolioConfig.model_fields))
    return SwingTrading.of(
        bars,
        first=calendar.number_of(sessions[0]),
        last=calendar.number_of(sessions[-1]),
        rules=asked.swing,
        portfolio=PortfolioConfig.model_validate(own),
        costs=config.costs,
    )


def _search_of(run: Run, asked: OptimisationConfig) -> Search:
    config = run.config.significance
    rate = risk_free_per_session(config.annual_risk_free_frac, config.sessions_per_year)
    return Search(asked, rate)


def _key_of(run: Run, asked: OptimisationConfig, tradable: Tradable, step: Step) -> str:
    return digest_of(
        {
            "step": step,
            "asked": asked,
            "given": tradable.defaults(),
            "data": [frame_digest(frame) for frame in tradable.known_until(step.last)],
            "backtest": run.config.backtest,
            "costs": run.config.costs,
            "risk_free": _search_of(run, asked).risk_free_daily,
            "code": code_version(),
            "libraries": library_versions(),
        }
    )


def _done(folder: Path, key: str) -> StepReport | None:
    path = folder / _STEP
    if not path.exists():
        return None
    try:
        stored = _StoredStep.model_validate(read_json(path))
    except (RecordError, ValidationError):
        # Of another version; it is searched anew.
        return None
    return stored.report if stored.key == key else None


def _write_step(
    folder: Path,
    asked: OptimisationConfig,
    searched: Searched,
    traded: TradedStep,
    stored: _StoredStep,
) -> None:
    step = stored.report.step
    tables = {
        "trials": trial_table(asked.strategy, step, searched),
        "trial_returns": _returns_of(searched, traded),
        **{name: getattr(traded, name) for name in _EQUITY},
    }
    write_together(
        {
            **{folder / f"{name}.parquet": table_bytes(table) for name, table in tables.items()},
            # Last: a folder that holds it is complete.
            folder / _STEP: json_bytes(stored),
        }
    )


def _returns_of(searched: Searched, traded: TradedStep) -> pl.DataFrame:
    """Return the net returns of every trial that has a figure, by known session."""
    calendar = nse_calendar()
    end = calendar.number_of(traded.default["session"].to_list()[0])
    valued = [trial for trial in searched.trials if trial.value is not None]
    n_sessions = max((len(trial.net_returns) for trial in valued), default=0)
    sessions = [calendar.session_at(end - n_sessions + place) for place in range(n_sessions)]
    return pl.DataFrame(
        {"session": sessions} | {f"trial_{each.number}": each.net_returns for each in valued},
        schema_overrides={"session": pl.Date},
    )


def _read_steps(
    run: Run, asked: OptimisationConfig, tradable: Tradable, steps: tuple[Step, ...]
) -> Found:
    reports: list[StepReport] = []
    traded: list[TradedStep] = []
    for step in steps:
        folder = search_folder(run, asked) / step.name
        report = _done(folder, _key_of(run, asked, tradable, step))
        if report is None:
            raise RecordError(
                "step was not searched",
                where=str(folder),
                expected="a finished step on the present scores, bars and code",
                found="none",
                remedy="start the search again",
            )
        reports.append(report)
        optimised, default = (read_table(folder / f"{name}.parquet") for name in _EQUITY)
        traded.append(TradedStep(optimised, default, report.n_trades, report.n_trades_default))
    whole = search_folder(run, asked)
    return Found(
        steps=reports,
        traded=traded,
        trials=pl.concat(read_table(whole / step.name / "trials.parquet") for step in steps),
        last_returns=read_table(whole / steps[-1].name / "trial_returns.parquet"),
    )
