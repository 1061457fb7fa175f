"""Facts about stage 4: every number counted again, and what is written down of it first."""

import math
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import polars as pl
import pytest

from sensequant.evaluation.strategies import SwingConfig, trade_rules
from sensequant.market.sessions import nse_calendar
from sensequant.runs import RunFolder, Stage
from sensequant.stages import evidence, students_evidence
from sensequant.stages.context import Run, load_run
from sensequant.storage import read_json, read_table
from sensequant.trials import TrialKind, read_ledger, returns_of

SESSIONS_PER_YEAR = 248


def table(run: Run, name: str) -> pl.DataFrame:
    return read_table(run.folder.validation / f"{name}.parquet")


def findings_of(run: Run, stage: Stage) -> dict[str, Any]:
    return read_json(run.folder.stage_record(stage))["findings"]


def close_to(value: float) -> Any:
    return pytest.approx(value, rel=1e-9)


def test_findings_of_validation_are_counted_in_the_tables(whole: Run) -> None:
    """Scores from the predictions, returns from the equity, trades from the trades."""
    predictions, equity = read_table(whole.folder.predictions), table(whole, "equity")
    labelled = predictions.drop_nulls(["label", "score"])
    ones = labelled.filter(pl.col("label") == 1)["score"].to_list()
    zeros = labelled.filter(pl.col("label") == 0)["score"].to_list()
    wins = sum(1.0 if one > zero else 0.5 * (one == zero) for one, zero in product(ones, zeros))
    net: list[float] = equity["net_return"].to_list()
    risk_free = 1.065 ** (1 / SESSIONS_PER_YEAR) - 1
    over = [value - risk_free for value in net]
    levels = [whole.config.backtest.capital_inr, *equity["equity"].to_list()]
    falls = [level / max(levels[: place + 1]) - 1 for place, level in enumerate(levels)]

    assert findings_of(whole, Stage.MODEL_VALIDATION) == {
        "n_scored": predictions["score"].count(),
        "n_labelled": labelled.height,
        "auc": close_to(wins / len(ones) / len(zeros)),
        "net_sharpe": close_to(fmean(over) / stdev(over) * math.sqrt(SESSIONS_PER_YEAR)),
        "net_annual_return": close_to((levels[-1] / levels[0]) ** (248 / len(net)) - 1),
        "max_drawdown": close_to(min(falls)),
        "n_trades": table(whole, "trades").height,
    }


def test_the_classical_baseline_trades_the_same_sessions(whole: Run) -> None:
    """Averages that cross, on the symbols that were scored, by the sizes and costs of the run."""
    equity, swing = table(whole, "equity"), table(whole, "swing_equity")
    summary = evidence.read_summary(whole)
    scored = read_table(whole.folder.predictions).drop_nulls("score")["symbol"].unique().sort()
    calendar = nse_calendar()
    first, last = (calendar.number_of(equity["session"].to_list()[place]) for place in (0, -1))
    bars = pl.concat(read_table(whole.folder.bars(symbol)) for symbol in scored)
    account = trade_rules(
        SwingConfig(),
        bars.filter(pl.col("session") <= equity["session"].to_list()[-1]),
        first=first,
        last=last,
        costs=whole.config.costs,
        portfolio=whole.config.backtest,
    )

    assert swing.equals(account.equity)
    assert swing["session"].equals(equity["session"])
    assert summary.swing is not None
    assert summary.swing.n_trades.value == account.trades.height
    page = (whole.folder.validation / "validation_summary.md").read_text()
    assert "| strategy | universe | swing | nifty50 |" in page


def test_states_and_months_hold_every_row_once(whole: Run) -> None:
    """Tables by state and month add up to the labelled rows and the sessions of the backtest."""
    n_labelled = evidence.read_summary(whole).n_labelled
    by_regime, by_month = table(whole, "by_regime"), table(whole, "by_month")

    assert by_month["n"].sum() == n_labelled
    for rule in ("vix", "trend"):
        part = by_regime.filter(rule=rule)
        assert part["n"].sum() == n_labelled
        assert part["n_sessions"].sum() == table(whole, "returns").height
    page = (whole.folder.validation / "validation_summary.md").read_text()
    assert "## States of the market" in page


def test_sectors_hold_every_row_once_by_the_list_of_the_day_of_ingestion(whole: Run) -> None:
    """A sector of one stock has the figures of that stock; what is not listed is `unknown`."""
    by_sector, by_symbol = table(whole, "by_sector"), table(whole, "by_symbol")
    named = {"Metals": "SIM03", "Power": "SIM01", "unknown": "SIM02"}

    assert by_sector["sector"].to_list() == list(named)
    assert by_sector["n_symbols"].to_list() == [1, 1, 1]
    shown = ["n", "n_positive", "n_decided", "auc", "precision", "hit_rate"]
    of_symbols = pl.concat(by_symbol.filter(symbol=symbol) for symbol in named.values())
    assert by_sector.select(shown).equals(of_symbols.select(shown))
    assert whole.folder.sectors in set(whole.folder.artifacts())


def test_net_is_gross_less_the_costs_of_the_trades(whole: Run) -> None:
    """The costs of all trades are the whole difference between gross and net, in INR."""
    equity = table(whole, "equity")
    before = [whole.config.backtest.capital_inr, *equity["equity"].to_list()[:-1]]
    paid = (equity["cost_return"] * pl.Series(before)).sum()

    assert paid == pytest.approx(table(whole, "trades")["cost_inr"].sum(), rel=1e-9)
    assert paid > 0
    lost = equity["gross_return"] - equity["net_return"]
    assert (lost - equity["cost_return"]).abs().to_list() == pytest.approx([0.0] * equity.height)


def test_returns_stand_beside_those_of_the_benchmark(whole: Run) -> None:
    """Close to close of the frozen index bars, on the sessions of the backtest."""
    returns, benchmark = table(whole, "returns"), whole.benchmark
    assert benchmark is not None
    closes = dict(benchmark.select("session", "close").iter_rows())
    known = sorted(closes)

    assert returns["session"].to_list() == table(whole, "equity")["session"].to_list()
    assert returns["net_return"].to_list() == table(whole, "equity")["net_return"].to_list()
    for session, change in returns.select("session", "benchmark_return").iter_rows():
        before = known[known.index(session) - 1]
        assert change == close_to(closes[session] / closes[before] - 1)


def test_the_page_and_the_summary_say_the_same(whole: Run) -> None:
    """Both are made of one record; its numbers stand in the page."""
    summary = evidence.read_summary(whole)

    assert summary.n_labelled == findings_of(whole, Stage.MODEL_VALIDATION)["n_labelled"]
    page = (whole.folder.validation / "validation_summary.md").read_text()
    assert f"{summary.n_labelled}" in page.replace(",", "")


def test_every_variant_is_a_contender_before_anything_is_seen(whole: Run) -> None:
    """The ledger holds the returns of the deployed students and of those beside them."""
    home = whole.folder.home
    contenders = {
        trial.name: trial for trial in read_ledger(home).trials if trial.kind is TrialKind.CONTENDER
    }

    assert {"deployed", "without_teacher", "other_scope"} <= contenders.keys()
    assert len({trial.returns_digest for trial in contenders.values()}) == len(contenders)
    stored = returns_of(home, contenders["deployed"])
    assert stored is not None
    assert stored.equals(table(whole, "equity").select("session", "net_return"))
    net: list[float] = stored["net_return"].to_list()
    over = [value - (1.065 ** (1 / SESSIONS_PER_YEAR) - 1) for value in net]
    assert contenders["deployed"].sharpe_session == close_to(fmean(over) / stdev(over))
    assert contenders["deployed"].n_sessions == len(net)


def test_nothing_scored_is_no_figure_and_no_error(copied: Run) -> None:
    """Without a prediction every figure is null with a reason, and the trial has no ratio."""
    for path in (copied.folder.root / "students").glob("*/metadata.json"):
        path.unlink()
    students_evidence.gather(load_run(copied.folder))

    page, validated = evidence.validate_scores(copied)

    assert page
    assert validated.values == {
        "n_scored": 0,
        "n_labelled": 0,
        "auc": None,
        "net_sharpe": None,
        "net_annual_return": None,
        "max_drawdown": None,
        "n_trades": 0,
    }
    last = read_ledger(copied.folder.home).trials[-1]
    assert (last.n_sessions, last.sharpe_session) == (0, None)


def test_a_summary_of_a_run_that_has_none_is_refused(tmp_path: Path, whole: Run) -> None:
    """A missing file names the stage that writes it."""
    run = Run(
        RunFolder(tmp_path, "live_candidate_20250101_000000_00000000"), whole.request, whole.config
    )

    with pytest.raises(Exception, match="run the stage that writes it again"):
        evidence.read_summary(run)
