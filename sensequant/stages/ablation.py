"""A run trained again without, or with, families of features; asked for after the fact.

Belongs here: which variants there are, their training on the run's own frozen bars, and the files
that say what each family is worth. Does not belong here: training (`stages.training`,
`stages.distillation`), differences and their tests (`evaluation.ablation`). Nothing here is
evidence: no gate reads it, and no file of it enters the manifest. Every variant is a trial.

A variant is a run of its own in a folder of the run's (`runs.RunFolder.variant`), with the same
plan, seeds, labels and windows. Features are computed once: a variant's rows are columns of the
run's. Only students whose scores are the evidence are trained. One variant is the run as it was, so
that all that is compared was made by the same code; where nothing has changed, its units are
brought from the run by their digests. Of a variant that is done the scores are kept, and its rows
and models are removed; it is known by all that it follows from.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import Field, ValidationError

from sensequant.errors import ConfigError, DataError, RecordError
from sensequant.evaluation.ablation import AblationConfig, AblationSummary, Worlds, family_worths
from sensequant.evaluation.ablation_text import render_families
from sensequant.evaluation.backtest import run_backtest
from sensequant.evaluation.figures import risk_free_per_session
from sensequant.features.registry import FeatureConfig, fed_families, model_columns
from sensequant.features.spec import Family
from sensequant.labels import LABEL_COLUMNS
from sensequant.market.sessions import nse_calendar
from sensequant.records import Record, code_version, digest_of
from sensequant.reuse import bring
from sensequant.rows import build_rows
from sensequant.stages import distillation, training
from sensequant.stages.ablation_summary import SHARED, basis_of
from sensequant.stages.context import Run, RunSettings, shared_table
from sensequant.stages.distillation import is_evidence, planned_students
from sensequant.stages.opening import library_versions
from sensequant.stages.students_evidence import evidence_scores
from sensequant.stages.tried import record_contenders
from sensequant.storage import (
    json_bytes,
    read_json,
    read_table,
    sha256_of,
    table_bytes,
    write_tables,
    write_together,
)
from sensequant.windows import Window

__all__ = ["Variant", "VariantReport", "ablate", "plan_variants", "sum_up", "train_variant"]

_AS_IT_WAS = "as_it_was"
_DONE = "variant.json"
_KEPT = ("score", "probability")


class Variant(Record):
    """One way to train a run again: by what families its models are fed."""

    name: str
    family: Family | None
    features: FeatureConfig


class VariantReport(Record):
    """What one variant did."""

    name: str
    n_columns: int
    n_teachers: int
    n_students: int
    n_brought: int
    n_skipped: int
    n_scored: int


class _StoredVariant(Record):
    """A variant that is done, and the digest of all that it follows from."""

    key: str = Field(pattern=r"^[0-9a-f]{64}$")
    report: VariantReport


def ablate(run: Run, asked: AblationConfig) -> tuple[str, AblationSummary]:
    """Train all variants one after the other, and sum up; return a page and the record.

    Raises
    ------
    ConfigError
        A family cannot be left out, or has no data.
    RecordError
        The run has no features and labels yet.
    """
    for variant in plan_variants(run, asked):
        train_variant(run, variant)
    return sum_up(run, asked)


def plan_variants(run: Run, asked: AblationConfig) -> tuple[Variant, ...]:
    """Return the run as it was and its variants, and compute what their features lack.

    Raises
    ------
    ConfigError
        A family cannot be left out because no column would be left, or its data are absent.
    RecordError
        The run has no features and labels yet.
    """
    variants = _variants(run, asked)
    if not any(run.folder.all_rows.glob("*.parquet")):
        raise RecordError(
            "run has no features and labels",
            where=str(run.folder.all_rows),
            expected="a table for each symbol",
            found="none",
            remedy="train its teachers first: sensequant train teachers --run",
        )
    _compute_added(run, variants)
    return variants


def train_variant(run: Run, variant: Variant) -> VariantReport:
    """Train a variant and keep its scores, or return what an earlier attempt found."""
    folder = run.folder.variant(variant.name)
    key = _key_of(run, variant)
    done = _done(folder.root, key)
    if done is not None:
        return done
    inner = _open(run, variant, key)
    counts = _train(inner)
    predictions = evidence_scores(inner)
    equity = _traded(run, predictions)
    # Before anybody can see what it was worth.
    record_contenders(inner, equity, {})
    report = VariantReport(
        name=variant.name,
        n_columns=len(model_columns(variant.features)),
        n_scored=predictions["score"].count(),
        **counts,
    )
    keys = ["symbol", "session", "session_number", "scored_window", "label"]
    write_together(
        {
            folder.root / "scores.parquet": table_bytes(predictions.select(*keys, *_KEPT)),
            folder.root / "equity.parquet": table_bytes(equity),
            # Last: a folder that holds it is complete.
            folder.root / _DONE: json_bytes(_StoredVariant(key=key, report=report)),
        }
    )
    for name in ("rows", "teachers", "students"):
        shutil.rmtree(folder.root / name, ignore_errors=True)
    return report


def sum_up(run: Run, asked: AblationConfig) -> tuple[str, AblationSummary]:
    """Say what each family is worth; return a page of Markdown and the record.

    Raises
    ------
    RecordError
        A variant was not trained yet.
    """
    variants = _variants(run, asked)
    score = "score" if run.config.student.calibration == "none" else "probability"
    scores = {each.name: _scores(run, each, score) for each in variants}
    returns = {each.name: _returns(run, each) for each in variants}
    fed = fed_families(run.config.features)
    worlds: list[Worlds] = []
    for variant in variants:
        if variant.family is None:
            continue
        was_fed = variant.family in fed
        names = (_AS_IT_WAS, variant.name) if was_fed else (variant.name, _AS_IT_WAS)
        n_columns = len(model_columns(variant.features)) - len(model_columns(run.config.features))
        worlds.append(
            Worlds(
                family=variant.family,
                was_fed=was_fed,
                n_columns=abs(n_columns),
                with_scores=scores[names[0]],
                without_scores=scores[names[1]],
                with_returns=returns[names[0]],
                without_returns=returns[names[1]],
            )
        )
    significance = run.config.significance
    worths = family_worths(
        worlds,
        config=asked,
        horizon_sessions=run.config.labels.horizon_sessions,
        min_block_sessions=run.config.validation.min_block_sessions,
        risk_free_daily=risk_free_per_session(
            significance.annual_risk_free_frac, significance.sessions_per_year
        ),
    )
    summary = AblationSummary(
        basis=basis_of(run),
        settings=asked,
        is_simulated=run.record.is_simulated,
        n_symbols=len(run.symbols),
        n_tests=sum(test.p_value is not None for each in worths for test in each.worth),
        score=score,
        families=worths,
    )
    page = render_families(summary)
    write_together(
        {
            run.folder.ablation / "families.parquet": table_bytes(_table(summary)),
            run.folder.ablation / "summary.md": page.encode(),
            run.folder.ablation / "summary.json": json_bytes(summary),
        }
    )
    return page, summary


def _variants(run: Run, asked: AblationConfig) -> tuple[Variant, ...]:
    features = run.config.features
    fed = fed_families(features)
    families = asked.families or tuple(family for family in Family if family in fed)
    variants = [Variant(name=_AS_IT_WAS, family=None, features=features)]
    for family in dict.fromkeys(families):
        is_added = family not in fed
        # Checked by its own rules: at least one column must be left.
        changed = FeatureConfig.model_validate(features.model_dump() | {family.value: is_added})
        word = "with" if is_added else "without"
        variants.append(Variant(name=f"{word}_{family}", family=family, features=changed))
        if model_columns(changed) == model_columns(features):
            raise ConfigError(
                "family has no column in these settings",
                where=f"features.{family}",
                expected="scale_free or classic_levels on, whichever the family has",
                found="no column more with it than without",
            )
    return tuple(variants)


def _compute_added(run: Run, variants: Sequence[Variant]) -> None:
    """Compute the features of families that the run was not fed, of all symbols at once."""
    base = set(model_columns(run.config.features))
    if all(set(model_columns(each.features)) <= base for each in variants):
        return
    added = {
        each.family.value: True
        for each in variants
        if each.family is not None and not set(model_columns(each.features)) <= base
    }
    features = FeatureConfig.model_validate(run.config.features.model_dump() | added)
    symbols = [path.stem for path in sorted(run.folder.all_rows.glob("*.parquet"))]
    rows = build_rows(
        pl.concat(read_table(run.folder.bars(symbol)) for symbol in symbols),
        run.config.model_copy(update={"features": features}),
        run.market_context,
        calendar=nse_calendar(),
        start=run.request.start,
    )
    parts = rows.partition_by("symbol", maintain_order=True)
    write_tables({_wide(run, str(part["symbol"][0])): part for part in parts})


def _wide(run: Run, symbol: str) -> Path:
    return run.folder.ablation / "rows" / f"{symbol}.parquet"


def _source(run: Run, variant: Variant, symbol: str) -> Path:
    """Return the table that holds the columns of a variant."""
    is_fed = set(model_columns(variant.features)) <= set(model_columns(run.config.features))
    return run.folder.rows(symbol) if is_fed else _wide(run, symbol)


def _symbols(run: Run) -> list[str]:
    return [path.stem for path in sorted(run.folder.all_rows.glob("*.parquet"))]


def _key_of(run: Run, variant: Variant) -> str:
    sources = [_source(run, variant, symbol) for symbol in _symbols(run)]
    return digest_of(
        {
            "variant": variant,
            "config": run.config,
            "rows": [sha256_of(path) for path in sources],
            "shared": [sha256_of(run.folder.root / name) for name in SHARED],
            "bars": [sha256_of(run.folder.bars(symbol)) for symbol in run.symbols],
            "code": code_version(),
            "libraries": library_versions(),
        }
    )


def _done(folder: Path, key: str) -> VariantReport | None:
    path = folder / _DONE
    if not path.exists():
        return None
    try:
        stored = _StoredVariant.model_validate(read_json(path))
    except (RecordError, ValidationError):
        # Of another version; it is trained anew.
        return None
    return stored.report if stored.key == key else None


def _open(run: Run, variant: Variant, key: str) -> Run:
    """Return the variant as a run of its own; what an earlier attempt trained stays if it fits."""
    folder = run.folder.variant(variant.name)
    begun = folder.root / "begun.json"
    if not begun.exists() or read_json(begun) != key:
        shutil.rmtree(folder.root, ignore_errors=True)
    config = run.config.model_copy(update={"features": variant.features})
    columns = [*LABEL_COLUMNS, *model_columns(variant.features)]
    write_tables(
        {
            folder.rows(symbol): read_table(_source(run, variant, symbol)).select(columns)
            for symbol in _symbols(run)
        }
    )
    copies = {folder.root / name: (run.folder.root / name).read_bytes() for name in SHARED}
    # Variants are trained side by side, so that each takes one thread; it changes no byte.
    record = run.record.model_copy(update={"run_id": folder.run_id, "workers": 1})
    write_together(
        {
            **copies,
            folder.run: json_bytes(record),
            folder.config: json_bytes(RunSettings(request=run.request, config=config)),
            begun: json_bytes(key),
        }
    )
    return Run(folder, run.request, config)


def _train(run: Run) -> dict[str, int]:
    teachers = [_teacher(run, window) for window in training.planned_teachers(run)]
    # Only those whose scores are the evidence, in the order of time.
    students = [
        _student(run, window) for window in planned_students(run) if is_evidence(run, window.symbol)
    ]
    ends = [*teachers, *students]
    return {
        "n_teachers": len(teachers) - teachers.count("skipped"),
        "n_students": len(students) - students.count("skipped"),
        "n_brought": ends.count("brought"),
        "n_skipped": ends.count("skipped"),
    }


def _teacher(run: Run, window: Window) -> str:
    given = {"symbol": window.symbol, "window": window.short}
    return _do(
        run,
        run.folder.teacher(window.label),
        lambda: training.teacher_key(run, given),
        lambda: training.train_window(run, **_named(given)),
    )


def _student(run: Run, window: Window) -> str:
    given = {"symbol": window.symbol, "window": window.short}
    return _do(
        run,
        run.folder.student(window.label),
        lambda: distillation.student_key(run, given),
        lambda: distillation.train_student_of(run, **_named(given)),
    )


def _named(given: Mapping[str, str]) -> dict[str, Any]:
    return {"symbol": given["symbol"], "short": given["window"]}


def _do(run: Run, folder: Path, key: Any, work: Any) -> str:
    # The metadata come last: a folder that holds them is complete.
    if (folder / "metadata.json").exists():
        return "kept"
    if bring(run.folder, key()) is not None:
        return "brought" if (folder / "metadata.json").exists() else "skipped"
    try:
        work()
    except DataError:
        return "skipped"
    return "trained"


def _traded(run: Run, predictions: pl.DataFrame) -> pl.DataFrame:
    bars = pl.concat(shared_table(run.folder.bars(symbol)) for symbol in run.symbols)
    return run_backtest(
        predictions,
        bars,
        horizon_sessions=run.config.labels.horizon_sessions,
        costs=run.config.costs,
        config=run.config.backtest,
    ).equity


def _scores(run: Run, variant: Variant, score: str) -> pl.DataFrame:
    folder = run.folder.variant(variant.name).root
    if _done(folder, _key_of(run, variant)) is None:
        raise RecordError(
            "variant was not trained",
            where=str(folder),
            expected="a finished variant on the present rows and code",
            found="none",
            remedy="start the ablation again",
        )
    columns = ["symbol", "session", "session_number", "label"]
    return read_table(folder / "scores.parquet").select(*columns, score=score)


def _returns(run: Run, variant: Variant) -> pl.DataFrame:
    equity = read_table(run.folder.variant(variant.name).root / "equity.parquet")
    return equity.select("session", "net_return")


def _table(summary: AblationSummary) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "family": each.family.value,
                "was_fed": each.was_fed,
                "n_columns": each.n_columns,
                "figure": test.name,
                "unit": test.unit,
                "with_family": test.inputs.get("with"),
                "without_family": test.inputs.get("without"),
                "difference": test.estimate,
                "lower": test.lower,
                "upper": test.upper,
                "p_value": test.p_value,
                "p_holm": test.inputs.get("p_holm"),
                "q_value": test.inputs.get("q_value"),
                "is_told": test.rejects_null,
                "n": test.n,
                "reason": test.reason or test.no_interval,
            }
            for each in summary.families
            for test in each.worth
        ],
        schema=_TABLE_SCHEMA,
    )


_TABLE_SCHEMA = pl.Schema(
    {"family": pl.String, "was_fed": pl.Boolean, "n_columns": pl.Int64}
    | {"figure": pl.String, "unit": pl.String}
    | dict.fromkeys(("with_family", "without_family", "difference", "lower", "upper"), pl.Float64)
    | {"p_value": pl.Float64, "p_holm": pl.Float64, "q_value": pl.Float64, "is_told": pl.Boolean}
    | {"n": pl.Int64, "reason": pl.String}
)
