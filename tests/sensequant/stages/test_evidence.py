"""Facts about stages 4 and 5: every number counted again, and the ledger of trials."""

import math
from collections.abc import Callable
from itertools import product
from pathlib import Path
from statistics import fmean, stdev, variance
from typing import Any

import polars as pl
import pytest

from sensequant.runs import RunFolder, Stage
from sensequant.settings import TrainingConfig
from sensequant.stages import evidence, students_evidence
from sensequant.stages.context import Run, RunSettings, load_run
from sensequant.storage import read_json, read_table, write_json
from sensequant.trials import Trial

SESSIONS_PER_YEAR = 248


def table(run: Run, name: str) -> pl.DataFrame:
    return read_table(run.folder.validation / f"{name}.parquet")


def findings_of(run: Run, stage: Stage) -> dict[str, Any]:
    return read_json(run.folder.stage_record(stage))["findings"]


def trials_in(home: Path) -> list[Trial]:
    paths = sorted(home.glob("trials/*/*.json"))
    return [Trial.model_validate(read_json(path)) for path in paths]


def close_to(value: float) -> Any:
    return pytest.approx(value, rel=1e-9)


def other(settings: RunSettings, **changes: Any) -> RunSettings:
    changed = {**settings.config.model_dump(), **changes}
    return settings.model_copy(update={"config": TrainingConfig.model_validate(changed)})


def test_findings_of_validation_are_counted_in_the_tables(whole: Run) -> None:
    """Scores from the predictions, returns from the equity, trades from the trades."""
    predictions, equity = read_table(whole.folder.predictions), table(whole, "equity")
    labelled = predictions.drop_nulls(["label", "score"])
    ones = labelled.filter(pl.col("label") == 1)["score"].to_list()
    zeros = labelled.filter(pl.col("label") == 0)["score"].to_list()
    wins = sum(1.0 if one > zero else 0.5 * (one == zero) for one, zero in product(ones, zeros))
    net: list[float] = equity["net_return"].to_list()
    levels = [whole.config.backtest.capital_inr, *equity["equity"].to_list()]
    falls = [level / max(levels[: place + 1]) - 1 for place, level in enumerate(levels)]

    assert findings_of(whole, Stage.MODEL_VALIDATION) == {
        "n_scored": predictions["score"].count(),
        "n_labelled": labelled.height,
        "auc": close_to(wins / len(ones) / len(zeros)),
        "net_sharpe": close_to(fmean(net) / stdev(net) * math.sqrt(SESSIONS_PER_YEAR)),
        "net_annual_return": close_to((levels[-1] / levels[0]) ** (248 / len(net)) - 1),
        "max_drawdown": close_to(min(falls)),
        "n_trades": table(whole, "trades").height,
    }


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


def test_findings_of_the_tests_are_counted_in_the_returns(whole: Run) -> None:
    """Sharpe ratio, excess, beta and tracking error by their definitions."""
    returns = table(whole, "returns")
    net: list[float] = returns["net_return"].to_list()
    market: list[float] = returns["benchmark_return"].to_list()
    risk_free = 1.065 ** (1 / SESSIONS_PER_YEAR) - 1
    over = [value - risk_free for value in net]
    excess = [mine - theirs for mine, theirs in zip(net, market, strict=True)]
    shared = sum(
        (mine - fmean(net)) * (theirs - fmean(market))
        for mine, theirs in zip(net, market, strict=True)
    )
    beta = shared / (len(net) - 1) / variance(market)
    root = math.sqrt(SESSIONS_PER_YEAR)
    findings = findings_of(whole, Stage.STATISTICAL_TESTS)

    assert findings["n_sessions"] == len(net)
    assert findings["n_trials"] == len(trials_in(whole.folder.home)) == 1
    assert findings["sharpe_ratio"] == close_to(fmean(over) / stdev(over) * root)
    assert findings["mean_excess_bootstrap"] == close_to(fmean(excess) * SESSIONS_PER_YEAR)
    assert findings["mean_excess_newey_west"] == close_to(fmean(excess) * SESSIONS_PER_YEAR)
    assert findings["tracking_error"] == close_to(stdev(excess) * root)
    assert findings["information_ratio"] == close_to(fmean(excess) / stdev(excess) * root)
    assert findings["beta"] == close_to(beta)
    alpha = fmean(over) - beta * (fmean(market) - risk_free)
    assert findings["alpha"] == close_to(alpha * SESSIONS_PER_YEAR)
    stored = evidence.read_report(whole)
    assert {test.name: test.estimate for test in stored.tests} == {
        name: value for name, value in findings.items() if not name.startswith("n_")
    }


def test_the_page_and_the_summary_say_the_same(whole: Run) -> None:
    """Both are made of one record; its numbers stand in the page."""
    summary = evidence.read_summary(whole)

    assert summary.n_labelled == findings_of(whole, Stage.MODEL_VALIDATION)["n_labelled"]
    page = (whole.folder.validation / "validation_summary.md").read_text()
    assert f"{summary.n_labelled}" in page.replace(",", "")


def test_a_trial_is_written_down_with_its_sharpe_ratio(whole: Run) -> None:
    """Per session and over the risk-free return: the ratio that is deflated afterwards."""
    (trial,) = trials_in(whole.folder.home)
    tested = findings_of(whole, Stage.STATISTICAL_TESTS)["sharpe_ratio"]

    assert trial.n_sessions == table(whole, "returns").height
    assert trial.daily_sharpe is not None
    assert trial.daily_sharpe * math.sqrt(SESSIONS_PER_YEAR) == close_to(tested)


def test_a_second_configuration_is_a_second_trial(
    copied: Run, start: Callable[..., Run], settings: RunSettings
) -> None:
    """On the same data it raises the count and the hurdle; repeating either adds nothing."""
    first = evidence.read_report(copied)
    second = start(
        copied.folder.home,
        other(settings, seed=7),
        run_id="live_candidate_20250101_000000_00000000",
    )
    for name in ("data.parquet", "validation/returns.parquet"):
        target = second.folder.root / name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes((copied.folder.root / name).read_bytes())

    n_trials = [
        evidence.assess_significance(run).values["n_trials"] for run in (second, second, copied)
    ]

    assert (first.n_trials, first.trial_sharpe_variance) == (1, None)
    assert n_trials == [2, 2, 2]
    again = evidence.read_report(copied)
    assert again.trial_sharpe_variance == 0.0
    assert len({trial.config_digest for trial in trials_in(copied.folder.home)}) == 2


def test_the_variance_of_the_trials_is_that_of_their_ratios(copied: Run) -> None:
    """A trial without a ratio counts as a trial and has no part in the variance."""
    (path,) = copied.folder.home.glob("trials/*/*.json")
    (known,) = trials_in(copied.folder.home)
    assert known.daily_sharpe is not None
    for digit, sharpe in (("0", None), ("1", known.daily_sharpe + 0.2)):
        changes = {"config_digest": digit * 64, "daily_sharpe": sharpe}
        write_json(path.with_stem(digit * 64), known.model_copy(update=changes))

    evidence.assess_significance(copied)

    report = evidence.read_report(copied)
    assert report.n_trials == 3
    assert report.trial_sharpe_variance == close_to(0.02)
    before, after = (report.of(name) for name in ("probabilistic_sharpe", "deflated_sharpe"))
    assert before.estimate is not None
    assert after.estimate is not None
    assert after.estimate < before.estimate


def test_another_range_is_another_ledger(
    copied: Run, start: Callable[..., Run], settings: RunSettings
) -> None:
    """Trials count against each other on the same bars and the same range only."""
    request = settings.request.model_copy(update={"end": settings.request.end.replace(day=1)})
    asked = settings.model_copy(update={"request": request})
    run_id = "live_candidate_20250101_000000_00000000"
    run = start(copied.folder.home, asked, run_id=run_id)
    for name in ("data.parquet", "validation/returns.parquet"):
        target = run.folder.root / name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes((copied.folder.root / name).read_bytes())

    assert evidence.assess_significance(run).values["n_trials"] == 1
    assert len(list(copied.folder.home.glob("trials/*"))) == 2


def test_nothing_scored_is_no_figure_and_no_error(copied: Run) -> None:
    """Without a prediction every figure is null with a reason, and the trial has no ratio."""
    for path in (copied.folder.root / "students").glob("*/metadata.json"):
        path.unlink()
    students_evidence.gather(load_run(copied.folder))
    for path in copied.folder.home.glob("trials/*/*.json"):
        path.unlink()

    page, validated = evidence.validate_scores(copied)
    tested = evidence.assess_significance(copied)

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
    counts = {"n_sessions": 0, "n_trials": 1}
    names = tested.values.keys() - counts.keys()
    assert tested.values == {**counts, **dict.fromkeys(names)}
    assert all(test.reason for test in evidence.read_report(copied).tests)
    assert [trial.daily_sharpe for trial in trials_in(copied.folder.home)] == [None]


def test_a_report_of_a_run_that_has_none_is_refused(tmp_path: Path, whole: Run) -> None:
    """A missing file names the stage that writes it."""
    run = Run(
        RunFolder(tmp_path, "live_candidate_20250101_000000_00000000"), whole.request, whole.config
    )

    for read in (evidence.read_summary, evidence.read_report):
        with pytest.raises(Exception, match="run the stage that writes it again"):
            read(run)
