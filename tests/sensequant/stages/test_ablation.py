"""Families of features: a planted edge is found where it is, chance is not, nothing is undone."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from sensequant.errors import ConfigError, RecordError
from sensequant.evaluation.ablation import AblationConfig, AblationSummary
from sensequant.features.registry import model_columns
from sensequant.features.spec import Family
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.build import SourceConfig
from sensequant.records import Outcome
from sensequant.release.manifest import verify_manifest
from sensequant.reuse import remember
from sensequant.rows import build_rows
from sensequant.runs import RunFolder, Stage
from sensequant.stages import ablation, ablation_summary, distillation, release, training
from sensequant.stages.context import Run
from sensequant.stages.tried import scope_of
from sensequant.storage import read_json, read_table, sha256_of, write_json, write_table
from sensequant.trials import count_trials, read_ledger
from sensequant.units import UnitRecord
from tests.sensequant.stages.planted import DAYS, SYMBOLS, settings_on, write_stocks

FEW = AblationConfig(families=(Family.MOMENTUM, Family.GAPS), n_bootstrap_draws=200)


def write_world(folder: Path, *, seed: int, edge: float) -> None:
    """Write three stocks whose volume today says whether tomorrow rises by `edge` or falls."""
    rng = np.random.default_rng(seed)
    moves, volumes = dict[str, Any](), dict[str, Any]()
    for symbol in SYMBOLS:
        is_busy = rng.random(len(DAYS)) < 0.5
        drift = np.where(np.append(False, is_busy[:-1]), edge, -edge)
        moves[symbol] = drift + rng.normal(0, 0.01, len(DAYS))
        volumes[symbol] = (np.where(is_busy, 2e6, 5e5) * rng.uniform(0.9, 1.1, len(DAYS))).astype(
            np.int64
        )
    write_stocks(folder, moves, volumes)


@pytest.fixture
def world(tmp_path: Path, execute: Callable[..., Run]) -> Callable[..., Run]:
    """Return what makes a trained run on such a world: seed and edge."""

    def world(seed: int, edge: float) -> Run:
        folder = tmp_path / f"files_{seed}_{edge}"
        write_world(folder, seed=seed, edge=edge)
        source = SourceConfig(kind="files", folder=folder)
        asked = settings_on(source, trend=False, volatility=False, listing=False)
        return execute(tmp_path / f"home_{seed}_{edge}", asked, stages=tuple(Stage)[:3])

    return world


def digests_of(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_planted_edge_is_found_where_it_is(world: Callable[..., Run]) -> None:
    """Only the volume tells of tomorrow: its family is worth something, prices are not."""
    _, summary = ablation.ablate(world(1, 0.012), AblationConfig())

    worth = {each.family: each for each in summary.families}
    assert set(worth) == {Family.MOMENTUM, Family.VOLUME}
    assert {"auc", "log_loss", "net_annual_return"} <= set(worth[Family.VOLUME].helps)
    auc = worth[Family.VOLUME].of("auc")
    assert auc.rejects_null
    assert (auc.estimate or 0) > 0.15
    assert (worth[Family.VOLUME].of("log_loss").estimate or 0) < 0
    assert (worth[Family.VOLUME].of("net_annual_return").estimate or 0) > 0
    assert worth[Family.MOMENTUM].helps == ()


@pytest.mark.parametrize("seed", [2, 3])
def test_on_chance_no_family_is_worth_anything(world: Callable[..., Run], seed: int) -> None:
    """Where nothing can be known, no difference is told from zero."""
    _, summary = ablation.ablate(world(seed, 0.0), AblationConfig())

    # More trades cost more, which is told where it is so; knowledge there is none.
    assert [each.helps for each in summary.families] == [(), ()]
    assert not {"auc", "log_loss"} & {name for each in summary.families for name in each.harms}
    assert all(test.n > 100 for each in summary.families for test in each.worth)


def test_it_is_written_whole_and_undoes_nothing(copied: Run) -> None:
    """Table, record and page stand there; what was judged is as it was, models are gone."""
    page, summary = ablation.ablate(copied, FEW)

    folder = copied.folder.ablation
    table = read_table(folder / "families.parquet")
    assert AblationSummary.model_validate(read_json(folder / "summary.json")) == summary
    assert (folder / "summary.md").read_text() == page
    assert "SIMULATED" in page
    assert "| gaps (added) |" in page
    assert table.height == 2 * 4
    assert set(table["family"]) == {"momentum", "gaps"}
    assert [each.was_fed for each in summary.families] == [True, False]
    assert [each.n_columns for each in summary.families] == [9, 3]
    assert verify_manifest(copied.folder) == []
    briefing, _ = release.brief(copied, at=datetime(2024, 1, 3, tzinfo=UTC))
    assert "## Families of features (SIMULATED)" in briefing
    assert "| gaps (added) | auc |" in briefing
    assert not list(folder.rglob("model.txt"))
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {
        "as_it_was",
        "without_momentum",
        "with_gaps",
        "rows",
    }


def test_the_run_as_it_was_scores_as_it_did(copied: Run) -> None:
    """The variant that changes nothing has the scores of the run, and its trade."""
    (as_it_was, *_) = ablation.plan_variants(copied, FEW)
    report = ablation.train_variant(copied, as_it_was)

    before = read_table(copied.folder.predictions)
    again = read_table(copied.folder.variant("as_it_was").root / "scores.parquet")
    assert again.equals(before.select(again.columns))
    assert report.n_scored == before["score"].count()
    equity = read_table(copied.folder.variant("as_it_was").root / "equity.parquet")
    assert equity.equals(read_table(copied.folder.validation / "equity.parquet"))


def test_rows_of_a_variant_are_those_of_its_settings(copied: Run) -> None:
    """Columns taken from the run's rows are what its own settings would have computed."""
    for variant in ablation.plan_variants(copied, FEW)[1:]:
        inner = ablation._open(copied, variant, "0" * 64)
        expected = build_rows(
            pl.concat(read_table(copied.folder.bars(symbol)) for symbol in copied.symbols),
            copied.config.model_copy(update={"features": variant.features}),
            copied.market_context,
            calendar=nse_calendar(),
            start=copied.request.start,
        )
        found = pl.concat(read_table(inner.folder.rows(symbol)) for symbol in copied.symbols)
        assert found.equals(expected)
        assert set(model_columns(variant.features)) < set(found.columns)


def test_every_variant_is_a_trial(copied: Run) -> None:
    """One contender each, however often asked; the run as it was is the run's own."""
    home, scope = copied.folder.home, scope_of(copied)
    before, _ = count_trials(read_ledger(home).trials, scope)

    ablation.ablate(copied, FEW)
    after, _ = count_trials(read_ledger(home).trials, scope)
    ablation.ablate(copied, FEW)

    assert after.n_contenders == before.n_contenders + 2
    assert after.n_unscored == before.n_unscored
    assert after.n_trials == before.n_trials + 2
    assert count_trials(read_ledger(home).trials, scope)[0] == after


def test_an_ablation_that_was_stopped_goes_on(copied: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was trained is not trained again, and the end has the same bytes."""
    asked = AblationConfig(families=(Family.MOMENTUM,), n_bootstrap_draws=100)
    trained: list[str] = []
    work = distillation.train_student_of

    def stop(run: Run, symbol: str, short: str) -> UnitRecord:
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(short)
        return work(run, symbol, short)

    with monkeypatch.context() as patch:
        patch.setattr(distillation, "train_student_of", stop)
        with pytest.raises(KeyboardInterrupt):
            ablation.ablate(copied, asked)
    taught: list[str] = []
    teach = training.train_window

    def count(run: Run, symbol: str, short: str) -> UnitRecord:
        taught.append(run.folder.root.name)
        return teach(run, symbol, short)

    monkeypatch.setattr(training, "train_window", count)
    ablation.ablate(copied, asked)
    stopped = digests_of(copied.folder.ablation)

    # Windows that are skipped are looked at again; those that have a teacher are not.
    n_skipped = taught.count("as_it_was")
    assert 0 < n_skipped < taught.count("without_momentum")
    shutil.rmtree(copied.folder.ablation)
    ablation.ablate(copied, asked)
    assert digests_of(copied.folder.ablation) == stopped


def test_units_that_are_known_are_brought(copied: Run) -> None:
    """A teacher of the same rows, settings and code is not trained again."""
    window = next(
        each
        for each in training.planned_teachers(copied)
        if (copied.folder.teacher(each.label) / "metadata.json").exists()
    )
    folder = copied.folder.teacher(window.label)
    given = {"symbol": window.symbol, "window": window.short}
    record = UnitRecord(
        kind="teacher", name="teacher", outcome=Outcome.SUCCESS, seconds=0.0, symbol=window.symbol
    )
    files = {
        path.relative_to(copied.folder.root).as_posix(): sha256_of(path)
        for path in folder.iterdir()
    }
    remember(copied.folder, training.teacher_key(copied, given), record, files)
    (as_it_was, *_) = ablation.plan_variants(copied, FEW)

    assert ablation.train_variant(copied, as_it_was).n_brought == 1


def test_changed_rows_make_a_variant_stale(copied: Run) -> None:
    """What was trained on other bars is no answer any more."""
    ablation.ablate(copied, FEW)
    path = copied.folder.bars(copied.symbols[0])
    path.write_bytes(copied.folder.bars(copied.symbols[1]).read_bytes())

    with pytest.raises(RecordError, match="variant was not trained"):
        ablation.sum_up(copied, FEW)


def test_the_briefing_leaves_out_what_is_stale(
    copied: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other code, or other rows, than those that were asked about: no figure, but the reason."""

    def families() -> str:
        briefing, _ = release.brief(copied, at=datetime(2024, 1, 3, tzinfo=UTC))
        return briefing.partition("## Families of features")[2].partition("\n## ")[0]

    ablation.ablate(copied, FEW)
    assert "stale" not in families()
    with monkeypatch.context() as patch:
        patch.setattr(ablation_summary, "code_version", lambda: "another")
        assert "stale: code or libraries have changed since" in families()
    path = copied.folder.rows(copied.symbols[0])
    write_table(path, read_table(path).with_columns(pl.col("return_1") + 0.001))

    found = families()
    assert "stale: bars, features, labels, windows or settings of the run have changed" in found
    assert f"sensequant ablate {copied.folder.run_id}" in found
    assert "| gaps (added) |" not in found
    assert "```" not in found
    training.prepare_rows(copied)
    assert "| gaps (added) |" in families()
    summary = read_json(copied.folder.ablation / "summary.json")
    write_json(copied.folder.ablation / "summary.json", summary | {"basis": None})
    assert "stale: it does not say what it was trained on" in families()


def test_what_cannot_be_asked_is_refused(copied: Run) -> None:
    """Ranks need five symbols; a run without rows has nothing to train on."""
    with pytest.raises(ConfigError, match="has no data"):
        ablation.plan_variants(copied, AblationConfig(families=(Family.RANKS,)))
    shutil.rmtree(copied.folder.all_rows)
    with pytest.raises(RecordError, match="no features and labels"):
        ablation.plan_variants(copied, FEW)


def test_the_last_family_cannot_be_left_out(copied: Run) -> None:
    """A model is fed at least one column."""
    only = {family.value: family is Family.VOLUME for family in Family}
    features = copied.config.features.model_validate(copied.config.features.model_dump() | only)
    run = Run(
        copied.folder, copied.request, copied.config.model_copy(update={"features": features})
    )
    with pytest.raises((ConfigError, ValueError), match="no feature is left"):
        ablation.plan_variants(run, AblationConfig())


@pytest.mark.parametrize("name", ["../other", "Without", "x" * 41, "a/b", "", "a.b"])
def test_a_variant_is_named_before_it_is_a_path(tmp_path: Path, name: str) -> None:
    """Nothing but small letters and underscores becomes a folder."""
    folder = RunFolder(tmp_path, "live_candidate_20240102_030405_0000000a")

    assert folder.variant("with_gaps").root == folder.ablation / "with_gaps"
    with pytest.raises(ConfigError, match="run id is malformed"):
        folder.variant(name)
