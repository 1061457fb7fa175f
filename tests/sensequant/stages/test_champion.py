"""Facts about the champion beside a candidate: the same sessions, neither has seen them."""

from pathlib import Path
from typing import Any, cast

import polars as pl
import pytest
from sklearn import metrics as untyped_metrics

from sensequant.features.registry import FeatureConfig
from sensequant.market.sources.build import SourceConfig
from sensequant.market.sources.simulated import SimulatedConfig
from sensequant.release.champion import ChampionComparison
from sensequant.release.deployment_records import EnvironmentName, Pointer
from sensequant.release.environments import pointer_path, write_pointer
from sensequant.release.manifest import FileEntry, read_manifest, verify_manifest
from sensequant.release.models import ModelRecord, PackedModel, store_model
from sensequant.stages import release
from sensequant.stages.champion import CHAMPION, compare_with_champion, read_champion
from sensequant.stages.context import Run, RunSettings
from sensequant.storage import (
    json_bytes,
    read_json,
    read_table,
    sha256_of,
    sha256_of_bytes,
    write_table,
)
from sensequant.student_file import read_student
from sensequant.student_record import sealed, student_text
from sensequant.windows import POOLED
from tests.sensequant.stages.conftest import AT, changed

metrics: Any = untyped_metrics
OTHER_RUN = "live_candidate_20230101_000000_000000cc"


def first_student(run: Run) -> Path:
    """Return the file of the student that scored the second window of this run."""
    window = run.windows_of(POOLED)[0]
    return run.folder.student(window.label) / "student.json"


def crown(
    run: Run,
    text: bytes | None = None,
    *,
    settings: RunSettings | None = None,
    run_id: str = OTHER_RUN,
    symbols: tuple[str, ...] | None = None,
) -> str:
    """Put a student into production of the run's home; return the digest of its model."""
    asked = settings or RunSettings(request=run.request, config=run.config)
    contents = {
        "config.json": json_bytes(asked),
        "candidate/universe.json": text or first_student(run).read_bytes(),
    }
    packed = PackedModel(
        ModelRecord(
            run_id=run_id,
            manifest_sha256="a" * 64,
            evidence_digest="b" * 64,
            is_simulated=True,
            symbols=symbols or tuple(run.symbols),
            files=tuple(
                FileEntry(path=name, sha256=sha256_of_bytes(content), bytes=len(content))
                for name, content in sorted(contents.items())
            ),
        ),
        contents,
    )
    model = store_model(run.folder.home, packed)
    write_pointer(
        run.folder.home,
        Pointer(
            environment=EnvironmentName.PRODUCTION,
            number=1,
            run_id=run_id,
            model_sha256=model.sha256,
            manifest_sha256="a" * 64,
            is_simulated=True,
        ),
    )
    return model.sha256


def compared(run: Run) -> ChampionComparison:
    found = compare_with_champion(run)
    assert found is not None
    return found


def test_scores_are_those_of_the_champions_student_on_sessions_that_neither_has_seen(
    copied: Run,
) -> None:
    """Judged again from the run's rows; the areas under the curve are scikit-learn's."""
    digest = crown(copied)
    student = read_student(first_student(copied))
    rows = pl.concat([read_table(copied.folder.rows(each)) for each in copied.symbols])
    said = pl.concat([rows.select("symbol", "session"), student.judge(rows)], how="horizontal")
    both = (
        read_table(copied.folder.predictions)
        .filter(pl.col("session") > student.file.trained_through)
        .join(said, on=["symbol", "session"], suffix="_champion")
        .drop_nulls(["label", "score", "score_champion"])
    )

    found = compared(copied)

    assert (found.model_sha256, found.trained_through) == (digest, student.file.trained_through)
    comparison = found.comparison
    assert comparison is not None
    assert comparison.n_rows == both.height > 100
    auc = comparison.of("auc")
    for value, column in ((auc.candidate, "score"), (auc.reference, "score_champion")):
        assert value == pytest.approx(
            metrics.roc_auc_score(both["label"].to_numpy(), both[column].to_numpy())
        )
    loss = comparison.of("log_loss")
    assert loss.reference == pytest.approx(
        metrics.log_loss(both["label"].to_numpy(), both["probability_champion"].to_numpy())
    )
    assert (auc.difference.lower or 1) < (auc.difference.upper or 0)
    assert comparison.n_traded_sessions > comparison.n_sessions


def test_without_a_champion_the_evidence_is_what_it_was(copied: Run) -> None:
    """With one it names it; once production is empty again, every artifact is as before."""
    before = read_manifest(copied.folder).evidence_digest
    digest = crown(copied)
    audited = release.audit(copied, created_at=AT)
    page, _ = release.brief(copied, at=AT)

    assert audited.values["champion"] == digest
    assert read_json(copied.folder.root / CHAMPION)["model_sha256"] == digest
    assert CHAMPION in {entry.path for entry in read_manifest(copied.folder).artifacts}
    assert audited.values["evidence_digest"] != before
    assert verify_manifest(copied.folder) == []
    assert digest[:12] in page
    assert digest[:12] in copied.folder.report.read_text()

    pointer_path(copied.folder.home, EnvironmentName.PRODUCTION).unlink()
    again = release.audit(copied, created_at=AT)
    page, _ = release.brief(copied, at=AT)

    assert again.values["champion"] == "none"
    assert again.values["evidence_digest"] == before
    assert "Not compared: no champion: nothing stood in production" in page


def numbers_in(value: Any) -> set[float]:
    parts: list[Any] = []
    if isinstance(value, dict):
        parts = list(cast("dict[str, Any]", value).values())
    elif isinstance(value, list):
        parts = cast("list[Any]", value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        return {value}
    return {each for part in parts for each in numbers_in(part)}


def test_every_number_of_the_briefing_stands_in_the_file_that_it_names(copied: Run) -> None:
    """The part about the champion holds no figure that its evidence does not hold."""
    crown(copied)
    release.audit(copied, created_at=AT)
    release.brief(copied, at=AT)
    part = read_json(copied.folder.briefing.with_suffix(".json"))["champion"]
    evidence = copied.folder.root / part["evidence"]["path"]

    assert sha256_of(evidence) == part["evidence"]["sha256"]
    assert len(part["deltas"]) == 5
    assert numbers_in(part) <= numbers_in(read_json(evidence))
    assert len(numbers_in(part)) > 15


def other_columns(run: Run) -> bytes:
    file = read_student(first_student(run)).file
    fewer = FeatureConfig(volume=False)
    return student_text(sealed(file.model_copy(update={"features": fewer}))).encode()


def test_what_does_not_fit_is_absent_with_its_reason(copied: Run) -> None:
    """Another schema, other bars, other symbols, nothing unseen, itself: never a figure."""
    market = SourceConfig(simulated=SimulatedConfig(n_symbols=3, seed=99))
    elsewhere = RunSettings(
        request=copied.request.model_copy(update={"source": market}), config=copied.config
    )
    newest = (copied.folder.candidate / "universe.json").read_bytes()
    cases: list[tuple[dict[str, Any], str]] = [
        ({"text": other_columns(copied)}, "features are not those"),
        ({"settings": elsewhere}, "its bars are others"),
        ({"symbols": ("ELSE",)}, "no symbol in common"),
        ({"text": newest}, "the last one that the champion has learnt from"),
        ({"run_id": copied.folder.run_id}, "the model of this very run"),
        ({"text": b"{}"}, "student"),
    ]
    for given, reason in cases:
        crown(copied, **given)
        found = compared(copied)

        assert found.comparison is None
        assert reason in str(found.reason)
        assert str(copied.folder.home) not in str(found.reason)


def test_another_label_leaves_trading_alone(copied: Run) -> None:
    """Scores for another outcome are not ranked against this one; what both earned is compared."""
    asked = changed(
        RunSettings(request=copied.request, config=copied.config), labels={"horizon_sessions": 5}
    )
    crown(copied, settings=asked)
    comparison = compared(copied).comparison

    assert comparison is not None
    assert comparison.of("auc").difference.value is None
    assert comparison.of("auc").difference.reason == "the champion has learnt another label"
    assert comparison.of("max_drawdown").difference.value is not None


def test_one_session_has_no_interval(copied: Run) -> None:
    """Figures of one session stand without an interval, which says why."""
    crown(copied)
    predictions = read_table(copied.folder.predictions).drop_nulls(["score", "label"])
    session = predictions["session"].sort()[0]
    write_table(copied.folder.predictions, predictions.filter(session=session))

    comparison = compared(copied).comparison

    assert comparison is not None
    assert (comparison.first_session, comparison.last_session) == (session, session)
    for delta in comparison.deltas:
        assert delta.difference.lower is None
        assert delta.difference.reason
    assert "fewer than 5 blocks" in str(comparison.of("max_drawdown").difference.reason)


def test_champion_of_more_symbols_is_compared_on_those_of_both(copied: Run) -> None:
    """A remark says how many symbols count."""
    crown(copied, symbols=(*copied.symbols[:2], "ELSE"))
    found = compared(copied)

    assert found.comparison is not None
    assert found.comparison.n_symbols <= 2
    assert f"2 symbols are compared, of {len(copied.symbols)} of this run" in found.remarks[0]
    assert read_champion(copied) == found
