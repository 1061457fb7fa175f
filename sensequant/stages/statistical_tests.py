"""Stage 5: whether chance or the market explains what the scores earned.

Belongs here: which files of the run the tests read and write, and the trials that they are held
against. Does not belong here: any test (`evaluation`), the ledger of trials (`sensequant.trials`).
"""

from collections.abc import Iterable

import polars as pl

from sensequant.evaluation.hypotheses import RankedRows, SignificanceReport
from sensequant.evaluation.significance_text import render_tests
from sensequant.evaluation.validation import ValidationSummary
from sensequant.records import derive_seed
from sensequant.stages.context import Findings, Run
from sensequant.stages.evidence import read_summary
from sensequant.stages.tried import lacks_units, own_contender, scope_of
from sensequant.storage import read_json, read_table, write_atomically, write_json, write_table
from sensequant.trials import (
    ANCHOR_NAME,
    Trial,
    count_trials,
    read_ledger,
    record_trials,
    returns_of,
)

__all__ = ["assess_significance", "read_report"]


def assess_significance(run: Run) -> tuple[str, Findings]:
    """Test the net returns against chance; return a page of Markdown and findings.

    The trial is written down before it is counted; that of a run whose units failed is its fit.
    """
    # Loads the statistical libraries, which no other stage needs.
    from sensequant.evaluation.significance import OutOfSample, assess  # noqa: PLC0415

    returns, summary = _validated(run, "returns"), read_summary(run)
    own = own_contender(run, returns)
    if not lacks_units(run.folder):
        record_trials(run.folder.home, [own], run_id=run.folder.run_id)
    ledger = read_ledger(run.folder.home)
    count, contenders = count_trials(ledger.trials, scope_of(run), problems=ledger.problems)
    if own.returns_digest not in {each.returns_digest for each in contenders}:
        contenders.append(own)
    tried, lost = _returns_of(run, contenders)
    if lost:
        told = f"the returns of {lost} contenders are missing or were altered"
        count = count.model_copy(update={"problems": (*count.problems, told)})
    found = OutOfSample(
        returns=returns,
        horizon_sessions=run.config.labels.horizon_sessions,
        trials=count,
        n_trades=_validated(run, "trades").height,
        baselines=_validated(run, "universe_equity").select("session", universe="net_return"),
        contenders=tried,
        own=own.returns_digest,
        scores=read_table(run.folder.predictions),
        ranked=_ranked(summary),
    )
    seed = derive_seed(run.config.seed, "significance")
    assessed = assess(found, seed=seed, config=run.config.significance)
    report, page = assessed.report, render_tests(assessed.report)
    folder = run.folder.significance
    write_table(folder / "by_symbol.parquet", assessed.by_symbol)
    write_table(folder / "by_contender.parquet", assessed.by_contender)
    write_json(run.folder.root / ANCHOR_NAME, ledger.anchor)
    write_atomically(folder / "stat_tests.md", page.encode())
    write_json(folder / "stat_tests.json", report)
    return page, Findings(
        values={
            "n_sessions": report.n_sessions,
            "n_trials": report.trials.n_trials,
            **{test.name: test.estimate for test in report.tests},
        },
        not_done_yet=list(report.not_done_yet),
    )


def read_report(run: Run) -> SignificanceReport:
    """Return the tests of stage 5."""
    path = run.folder.significance / "stat_tests.json"
    return SignificanceReport.model_validate(read_json(path))


def _validated(run: Run, name: str) -> pl.DataFrame:
    return read_table(run.folder.validation / f"{name}.parquet")


def _returns_of(run: Run, contenders: Iterable[Trial]) -> tuple[pl.DataFrame, int]:
    """Return the net returns of contenders, one column each, and how many have lost theirs."""
    wide = pl.DataFrame(schema={"session": pl.Date})
    lost = 0
    for trial in sorted(contenders, key=lambda each: each.returns_digest or ""):
        returns = returns_of(run.folder.home, trial)
        if returns is None or trial.returns_digest is None:
            lost += 1
            continue
        column = returns.select("session", pl.col("net_return").alias(trial.returns_digest))
        wide = wide.join(column, on="session", how="full", coalesce=True)
    return wide.sort("session"), lost


def _ranked(summary: ValidationSummary) -> RankedRows:
    return RankedRows(
        auc=summary.classification.auc,
        confidence=summary.confidence,
        n_positive=summary.n_true_positive + summary.n_false_negative,
        n_negative=summary.n_true_negative + summary.n_false_positive,
    )
