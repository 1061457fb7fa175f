"""A search on a run: what stands on disk, what the ledger counts, and a search that was killed."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sensequant.errors import DataError, RecordError
from sensequant.evaluation.optimisation import OptimisationConfig, Trial
from sensequant.evaluation.optimised import CHAIN_SCHEMA, OptimisationSummary
from sensequant.release.manifest import verify_manifest
from sensequant.runs import RunFolder
from sensequant.stages import optimisation
from sensequant.stages.context import Run
from sensequant.stages.tried import scope_of
from sensequant.storage import read_json, read_table, sha256_of, write_table
from sensequant.trials import TrialKind, count_trials, read_ledger

SMALL: dict[str, Any] = {
    "n_trials": 5,
    "min_training_sessions": 100,
    "step_sessions": 70,
    "min_trades": 0,
    "n_bootstrap_draws": 100,
}
SCORES = OptimisationConfig.model_validate(SMALL)
SWING = OptimisationConfig.model_validate(SMALL | {"strategy": "swing"})

ALONE = """
import sys
from pathlib import Path
from sensequant.evaluation.optimisation import OptimisationConfig
from sensequant.runs import RunFolder
from sensequant.stages.context import load_run
from sensequant.stages.optimisation import optimise
home, run_id, asked = sys.argv[1:]
optimise(load_run(RunFolder(Path(home), run_id)), OptimisationConfig.model_validate_json(asked))
"""


def digests_of(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("asked", [SCORES, SWING], ids=lambda asked: asked.strategy)
def test_a_search_is_written_whole(copied: Run, asked: OptimisationConfig) -> None:
    """Trials, returns, record and pages stand there; what was judged is as it was."""
    page, summary = optimisation.optimise(copied, asked)

    folder = optimisation.search_folder(copied, asked)
    trials = read_table(folder / "trials.parquet")
    chain = read_table(folder / "returns.parquet")
    assert OptimisationSummary.model_validate(read_json(folder / "summary.json")) == summary
    assert (folder / "summary.md").read_text() == page
    assert "SIMULATED" in page
    assert chain.schema == CHAIN_SCHEMA
    assert chain["session"].is_sorted()
    assert trials.height == summary.n_steps * (1 + asked.n_trials)
    assert trials.group_by("step").agg(pl.col("is_chosen").sum())["is_chosen"].unique().item() == 1
    assert summary.is_simulated
    assert not list(folder.rglob("trials/*.json"))
    assert verify_manifest(copied.folder) == []


def test_the_page_needs_nothing_else(copied: Run) -> None:
    """One file, marked, in both colour schemes, without a run id, a script or an address."""
    optimisation.optimise(copied, SCORES)

    page = (optimisation.search_folder(copied, SCORES) / "optimization_report.html").read_text()
    for word in ("http", "//", "<script", "<link", "<img", "@import", "src=", copied.folder.run_id):
        assert word not in page
    assert "prefers-color-scheme: dark" in page
    assert "SIMULATED" in page
    drawn = set(re.findall(r'id="([a-z]+)-wide-title"', page))
    assert {"equity", "distance", "history"} <= drawn
    assert page.count("&lt;span") == 0


def test_the_ledger_counts_every_trial_once(copied: Run) -> None:
    """The settings of the most searched step, and the chain as a contender, however often asked."""
    home, scope = copied.folder.home, scope_of(copied)
    before, _ = count_trials(read_ledger(home).trials, scope)

    optimisation.optimise(copied, SCORES)
    after, contenders = count_trials(read_ledger(home).trials, scope)
    optimisation.optimise(copied, SCORES)
    again, _ = count_trials(read_ledger(home).trials, scope)

    assert after.n_tuned == before.n_tuned + 5
    assert after.n_contenders == before.n_contenders + 1
    assert after.n_trials == before.n_trials + 6
    assert "optimised_scores" in {trial.name for trial in contenders}
    assert again == after
    searches = [each for each in read_ledger(home).trials if each.kind is TrialKind.SEARCH]
    assert {each.n_settings for each in searches} == {5}
    assert read_ledger(home).problems == ()

    # Another seed tries others; another width of intervals tries nothing.
    optimisation.optimise(copied, SCORES.model_copy(update={"confidence": 0.8}))
    assert count_trials(read_ledger(home).trials, scope)[0] == after
    optimisation.optimise(copied, SCORES.model_copy(update={"seed": 3}))
    assert count_trials(read_ledger(home).trials, scope)[0].n_tuned == after.n_tuned + 5


def test_trials_count_before_their_result_is_known(
    copied: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever stops a search because it looks poor has tried it."""

    def give_up(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(optimisation, "search_step", give_up)
    (step, *_) = optimisation.plan_search(copied, SCORES)
    with pytest.raises(KeyboardInterrupt):
        optimisation.search_one(copied, SCORES, step)

    (found,) = [
        each
        for each in read_ledger(copied.folder.home).trials
        if each.kind is TrialKind.SEARCH and each.name == step.name
    ]
    assert found.n_settings == SCORES.n_trials


def test_a_search_that_was_killed_ends_with_the_same_bytes(
    copied: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed among its trials, it goes on with those that are kept."""
    asked = SCORES.model_copy(update={"n_trials": 12})
    folder = optimisation.search_folder(copied, asked)
    given = (str(copied.folder.home), copied.folder.run_id, asked.model_dump_json())
    process = subprocess.Popen([sys.executable, "-c", ALONE, *given])
    while len(list(folder.rglob("trials/0*.json"))) < 3 and process.poll() is None:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = sorted(folder.rglob("trials/0*.json"))
    assert kept
    assert not (folder / "summary.json").exists()
    searched: list[int] = []
    search = optimisation.search_step

    def watched(*args: Any, known: Sequence[Trial], **rest: Any) -> Any:
        searched.append(len(known))
        return search(*args, known=known, **rest)

    monkeypatch.setattr(optimisation, "search_step", watched)
    optimisation.optimise(copied, asked)
    killed = digests_of(folder)

    assert searched[0] == len(kept)
    shutil.rmtree(copied.folder.optimisation)
    optimisation.optimise(copied, asked)
    assert digests_of(folder) == killed


def test_other_bars_are_searched_anew(copied: Run) -> None:
    """A step is known by what it follows from: a bar that changed makes those stale that saw it."""
    optimisation.optimise(copied, SCORES)
    folder = optimisation.search_folder(copied, SCORES)
    before = {path.parent.name: sha256_of(path) for path in folder.glob("step_*/step.json")}
    steps = optimisation.plan_search(copied, SCORES)
    summary = OptimisationSummary.model_validate(read_json(folder / "summary.json"))
    path = copied.folder.bars(copied.symbols[0])
    last = pl.col("session") == summary.steps[-1].last_session
    closer = pl.when(last).then(pl.col("close") * 0.999).otherwise(pl.col("close"))
    write_table(path, read_table(path).with_columns(closer.alias("close")))

    with pytest.raises(RecordError, match="step was not searched"):
        optimisation.sum_up(copied, SCORES)
    optimisation.optimise(copied, SCORES)

    after = {path.parent.name: sha256_of(path) for path in folder.glob("step_*/step.json")}
    assert {name for name in before if before[name] != after[name]} == {steps[-1].name}


def test_too_short_a_run_says_so(copied: Run) -> None:
    """Nothing is left to trade after the sessions that are only learnt from."""
    with pytest.raises(DataError, match="too few for a nested search"):
        optimisation.optimise(copied, SCORES.model_copy(update={"min_training_sessions": 2000}))


def test_a_run_without_scores_says_so(copied: Run) -> None:
    """Scores are needed to search for how to trade them."""
    copied.folder.predictions.unlink()

    with pytest.raises(RecordError):
        optimisation.optimise(copied, SCORES)


def test_what_was_asked_later_is_no_file_of_the_run(copied: Run) -> None:
    """Neither an artifact nor a record: a verdict stands on the same files before and after."""
    before = set(copied.folder.artifacts()), set(copied.folder.records())
    optimisation.optimise(copied, SWING)

    again = RunFolder(copied.folder.home, copied.folder.run_id)
    assert (set(again.artifacts()), set(again.records())) == before
