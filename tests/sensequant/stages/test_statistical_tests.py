"""Facts about stage 5: every number counted again, and the trials that it is held against."""

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev, variance
from typing import Any

import polars as pl
import pytest

from sensequant.runs import RunFolder, Stage
from sensequant.settings import TrainingConfig
from sensequant.stages import evidence, statistical_tests, students_evidence
from sensequant.stages.context import Run, RunSettings, load_run
from sensequant.storage import read_json, read_table, write_table
from sensequant.trials import Trial, TrialKind, read_ledger

SESSIONS_PER_YEAR = 248
OTHER_ID = "live_candidate_20250101_000000_00000000"


def table(run: Run, name: str) -> pl.DataFrame:
    return read_table(run.folder.validation / f"{name}.parquet")


def findings_of(run: Run, stage: Stage) -> dict[str, Any]:
    return read_json(run.folder.stage_record(stage))["findings"]


def contenders_of(run: Run) -> list[Trial]:
    trials = read_ledger(run.folder.home).trials
    return [trial for trial in trials if trial.kind is TrialKind.CONTENDER]


def close_to(value: float) -> Any:
    return pytest.approx(value, rel=1e-9)


def other(settings: RunSettings, **changes: Any) -> RunSettings:
    changed = {**settings.config.model_dump(), **changes}
    return settings.model_copy(update={"config": TrainingConfig.model_validate(changed)})


def retold(run: Run, factor: float) -> None:
    """Let a copied run have earned something else."""
    path = run.folder.validation / "returns.parquet"
    frame = read_table(path).with_columns(pl.col("net_return") * factor)
    path.unlink()
    write_table(path, frame)


@pytest.fixture
def second(copied: Run, start: Callable[..., Run], settings: RunSettings) -> Run:
    """Return another run of the same home with another seed, validated, and twice as lucky."""
    run = start(copied.folder.home, other(settings, seed=7), run_id=OTHER_ID)
    for name in ("data.parquet", "predictions.parquet"):
        shutil.copy(copied.folder.root / name, run.folder.root / name)
    shutil.copytree(copied.folder.validation, run.folder.validation)
    retold(run, 2.0)
    return run


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
    scored = {trial.returns_digest for trial in contenders_of(whole)}
    assert findings["n_trials"] == len(scored) >= 3
    assert findings["sharpe_ratio"] == close_to(fmean(over) / stdev(over) * root)
    assert findings["mean_excess_bootstrap"] == close_to(fmean(excess) * SESSIONS_PER_YEAR)
    assert findings["mean_excess_newey_west"] == close_to(fmean(excess) * SESSIONS_PER_YEAR)
    assert findings["tracking_error"] == close_to(stdev(excess) * root)
    assert findings["information_ratio"] == close_to(fmean(excess) / stdev(excess) * root)
    assert findings["beta"] == close_to(beta)
    alpha = fmean(over) - beta * (fmean(market) - risk_free)
    assert findings["alpha"] == close_to(alpha * SESSIONS_PER_YEAR)
    stored = statistical_tests.read_report(whole)
    assert {test.name: test.estimate for test in stored.tests} == {
        name: value for name, value in findings.items() if not name.startswith("n_")
    }


def test_a_second_configuration_is_a_second_trial(copied: Run, second: Run) -> None:
    """On the same data it raises the count; repeating either adds nothing."""
    first = statistical_tests.read_report(copied).trials

    n_trials = [
        statistical_tests.assess_significance(run)[1].values["n_trials"]
        for run in (second, second, copied)
    ]

    assert n_trials == [first.n_trials + 1] * 3
    again = statistical_tests.read_report(copied).trials
    assert again.n_contenders == first.n_contenders + 1
    assert again.n_unscored == 0
    ratios = {trial.returns_digest: trial.sharpe_session for trial in contenders_of(copied)}
    known = [ratio for ratio in ratios.values() if ratio is not None]
    assert again.sharpe_variance == close_to(variance(known))


def test_all_that_was_tried_stands_beside_the_contender(copied: Run, second: Run) -> None:
    """SPA, overfitting and discoveries count every contender of either run."""
    statistical_tests.assess_significance(second)
    statistical_tests.assess_significance(copied)

    report = statistical_tests.read_report(copied)
    tested = read_table(copied.folder.significance / "by_contender.parquet")

    names = {trial.returns_digest for trial in contenders_of(copied)}
    assert set(tested["contender"]) == names
    assert tested["is_own"].sum() == 1
    for name in ("superior_predictive_ability", "overfitting_probability"):
        test = report.of(name)
        told = test.inputs["n_contenders"] + test.inputs["n_contenders_left_out"]
        assert told == len(names)


def test_each_symbol_is_tested(whole: Run) -> None:
    """One row per symbol that was scored, with its adjusted p-value or its reason."""
    tested = read_table(whole.folder.significance / "by_symbol.parquet")
    scored = read_table(whole.folder.predictions).drop_nulls(["score", "forward_return"])

    assert tested["symbol"].to_list() == sorted(scored["symbol"].unique())
    assert dict(tested.select("symbol", "n").iter_rows()) == dict(
        scored.group_by("symbol").len().iter_rows()
    )
    assert (tested["p_value"].is_null() == tested["reason"].is_not_null()).all()


def test_the_page_and_the_record_say_the_same(whole: Run) -> None:
    """Both are made of one report."""
    page = (whole.folder.significance / "stat_tests.md").read_text()

    for test in statistical_tests.read_report(whole).tests:
        assert f"| {test.name} |" in page


def test_a_ledger_that_was_cut_is_told_and_nothing_is_deflated(copied: Run) -> None:
    """The run keeps what the ledger was, so that a shorter one is noticed."""
    folder = copied.folder.home / "trials"
    lines = (folder / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "ledger.jsonl").write_bytes(b"".join(lines[:-1]))

    page, _ = statistical_tests.assess_significance(copied)

    report = statistical_tests.read_report(copied)
    assert "head.json knew of" in report.trials.problems[0]
    assert report.of("deflated_sharpe").estimate is None
    assert report.of("deflated_sharpe").rejects_null is None
    assert "was altered" in page


def test_a_whole_ledger_that_was_deleted_is_told(copied: Run) -> None:
    """The anchor of the run remembers it even when the folder is gone."""
    shutil.rmtree(copied.folder.home / "trials")

    statistical_tests.assess_significance(copied)

    (problem, *_) = statistical_tests.read_report(copied).trials.problems
    assert copied.folder.run_id in problem


def test_returns_that_were_taken_away_are_told(copied: Run) -> None:
    """A contender whose returns are gone still counts, and the count is not relied on."""
    before = statistical_tests.read_report(copied).trials
    paths = sorted((copied.folder.home / "trials" / "returns").glob("*.parquet"))
    paths[0].write_bytes(b"nothing")
    paths[-1].unlink()

    statistical_tests.assess_significance(copied)

    after = statistical_tests.read_report(copied).trials
    assert after.n_contenders == before.n_contenders
    assert "contenders are missing or were altered" in after.problems[0]


def test_nothing_scored_passes_nothing(copied: Run) -> None:
    """Without a prediction every test has a reason and none rejects."""
    for path in (copied.folder.root / "students").glob("*/metadata.json"):
        path.unlink()
    students_evidence.gather(load_run(copied.folder))
    evidence.validate_scores(copied)

    _, tested = statistical_tests.assess_significance(copied)

    assert tested.values["n_sessions"] == 0
    report = statistical_tests.read_report(copied)
    assert all(test.reason and test.rejects_null is None for test in report.tests)


def test_a_report_of_a_run_that_has_none_is_refused(tmp_path: Path, whole: Run) -> None:
    """A missing file names the stage that writes it."""
    run = Run(RunFolder(tmp_path, OTHER_ID), whole.request, whole.config)

    with pytest.raises(Exception, match="run the stage that writes it again"):
        statistical_tests.read_report(run)
