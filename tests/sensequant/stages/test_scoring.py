"""Facts about scoring of stored bars: whose student speaks, of which bars, who may be loaded."""

import shutil
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
import yaml

from sensequant.errors import (
    ConfigError,
    DigestMismatchError,
    LeakageError,
    MissingBarsError,
    RecordError,
)
from sensequant.market.intervals import DAILY
from sensequant.prediction import PREDICTED_SCHEMA
from sensequant.runs import RunFolder
from sensequant.stages.context import Run, load_run
from sensequant.stages.scoring import ScoringRequest, score_stored
from sensequant.stages.students_evidence import candidate_files
from sensequant.storage import read_table, sha256_of, write_table
from sensequant.student_file import read_student
from sensequant.windows import POOLED

SAID = ["score", "probability", "novelty", "reason"]


def sessions_of(run: Run, symbol: str) -> list[date]:
    return run.store.read(symbol, interval=DAILY, final_only=True)["session"].to_list()


def trained_through(run: Run, name: str = POOLED) -> date:
    return read_student(candidate_files(run)[name]).file.trained_through


def test_the_last_stored_session_is_scored_by_the_candidate(whole: Run) -> None:
    """One row per symbol of the run: what its student says of the rows of the run."""
    last = sessions_of(whole, "SIM01")[-1]

    scored = score_stored(whole, ScoringRequest())

    assert list(scored.predictions) == [POOLED]
    assert scored.rows.schema == PREDICTED_SCHEMA
    assert scored.rows.select("symbol", "session").rows() == [(s, last) for s in whole.symbols]
    assert scored.is_audited
    assert scored.is_simulated


def test_scores_are_those_that_the_run_itself_would_give(whole: Run) -> None:
    """Bars of the store become the very rows of the run, and so the very scores."""
    known = trained_through(whole)
    request = ScoringRequest(start=known + timedelta(days=1), end=known + timedelta(days=60))
    student = read_student(candidate_files(whole)[POOLED])
    rows = pl.concat([read_table(whole.folder.rows(symbol)) for symbol in whole.symbols]).filter(
        pl.col("session").is_between(request.start, request.end)
    )
    expected = pl.concat([rows.select("symbol", "session"), student.judge(rows)], how="horizontal")

    scored = score_stored(whole, request)

    assert expected.height > 100
    assert scored.rows.equals(expected.sort("session", "symbol"))
    (part,) = scored.predictions.values()
    assert part.n_scored == expected["score"].count()


def test_scores_of_sessions_after_training_are_those_of_the_predictions(whole: Run) -> None:
    """An earlier student of the run, given as a file, says again what stands in the evidence."""
    window = whole.pooled_windows[3]
    path = whole.folder.student(window.label) / "student.json"
    expected = read_table(whole.folder.predictions).filter(pl.col("trained_window") == window.label)
    request = ScoringRequest(
        start=min(expected["session"].to_list()),
        end=max(expected["session"].to_list()),
        student=path,
        sha256=sha256_of(path),
    )

    scored = score_stored(whole, request)

    keys = ["session", "symbol"]
    assert expected["score"].count() > 100
    assert scored.rows.sort(keys).equals(
        expected.sort(keys).select(scored.rows.columns), null_equal=True
    )
    assert not scored.is_audited


def test_each_symbol_is_scored_by_its_own_student(by_symbol: Run) -> None:
    """Students of single symbols speak of theirs alone; no manifest vouches for them here."""
    scored = score_stored(by_symbol, ScoringRequest(symbols=("SIM02", "SIM01")))

    assert sorted(scored.predictions) == ["SIM01", "SIM02"]
    assert not scored.is_audited
    for symbol, part in scored.predictions.items():
        student = read_student(candidate_files(by_symbol)[symbol])
        rows = read_table(by_symbol.folder.rows(symbol)).tail(1)
        assert part.rows["symbol"].to_list() == [symbol]
        assert student.judge(rows).equals(part.rows.select(SAID))


def test_symbols_beside_those_asked_for_do_not_change_a_score(whole: Run) -> None:
    """What compares symbols sees all of the run, whoever is asked for."""
    alone = score_stored(whole, ScoringRequest(symbols=("SIM02",))).rows
    among = score_stored(whole, ScoringRequest()).rows

    assert alone.equals(among.filter(pl.col("symbol") == "SIM02"))


def test_after_its_last_day_a_student_is_silent(whole: Run) -> None:
    """Sessions up to the expiry are scored, those after it are not."""
    expiry = read_student(candidate_files(whole)[POOLED]).file.expires_on
    request = ScoringRequest(start=expiry - timedelta(days=5), end=expiry + timedelta(days=9))

    rows = score_stored(whole, request).rows

    late = rows.filter(pl.col("session") > expiry)
    assert late.height > 3
    assert set(late["reason"]) == {"expired"}
    assert late["score"].count() == late["probability"].count() == 0
    assert "expired" not in rows.filter(pl.col("session") <= expiry)["reason"].to_list()
    (part,) = score_stored(whole, request).predictions.values()
    assert part.n_expired == late.height


def test_a_bar_unlike_all_others_is_novel(copied: Run) -> None:
    """A range and a volume never seen before: its row is not scored, the others are."""
    session = next(day for day in sessions_of(copied, "SIM02") if day > trained_through(copied))
    (path,) = copied.folder.home.glob(
        f"simulated/*/bars/*/symbol=SIM02/year={session.year}.parquet"
    )
    bars, is_it = read_table(path), pl.col("session") == session
    factors = {"high": 1.5, "low": 0.6, "volume": 1000}
    write_table(
        path,
        bars.with_columns(
            pl.when(is_it).then(pl.col(name) * factor).otherwise(name).alias(name)
            for name, factor in factors.items()
        ),
    )

    scored = score_stored(copied, ScoringRequest(start=session, end=session))

    reasons = dict(scored.rows.select("symbol", "reason").iter_rows())
    assert reasons == {"SIM01": None, "SIM02": "novel", "SIM03": None}
    silent = scored.rows.row(by_predicate=pl.col("symbol") == "SIM02", named=True)
    assert (silent["score"], silent["probability"]) == (None, None)
    assert silent["novelty"] > copied.config.student.novelty_limit
    (part,) = scored.predictions.values()
    assert (part.n_scored, part.n_novel) == (2, 1)


@pytest.mark.parametrize("session", ["last", "first"])
def test_a_session_that_was_learnt_from_is_refused(whole: Run, session: str) -> None:
    """It is leakage, not a score."""
    known = trained_through(whole)
    start = known if session == "last" else date(2022, 3, 1)

    with pytest.raises(LeakageError, match="learnt from"):
        score_stored(whole, ScoringRequest(start=start))


def test_a_symbol_that_is_not_stored_is_refused(whole: Run) -> None:
    """Its name stands in the error."""
    with pytest.raises(ConfigError, match="NOSUCH"):
        score_stored(whole, ScoringRequest(symbols=("NOSUCH",)))


def test_a_symbol_without_a_student_is_refused(by_symbol: Run, tmp_path: Path) -> None:
    """The error names it, and those that have one."""
    home = tmp_path / "home"
    shutil.copytree(by_symbol.folder.home, home)
    run = load_run(RunFolder(home, by_symbol.folder.run_id))
    candidate_files(run)["SIM03"].unlink()

    with pytest.raises(ConfigError, match="no student to deploy") as caught:
        score_stored(run, ScoringRequest(symbols=("SIM01", "SIM03")))

    assert (caught.value.where, caught.value.expected) == ("SIM03", "SIM01, SIM02")


def test_a_store_without_bars_is_told(copied: Run) -> None:
    """The symbols of the run are not there any more: the error names one of them."""
    shutil.rmtree(copied.folder.home / "simulated")

    with pytest.raises(ConfigError, match="SIM01"):
        score_stored(copied, ScoringRequest())


def test_a_store_of_provisional_bars_has_nothing_to_score(copied: Run) -> None:
    """What the source may still change is not scored."""
    for path in copied.folder.home.glob("simulated/*/bars/*/symbol=SIM*/*.parquet"):
        write_table(path, read_table(path).with_columns(is_final=pl.lit(value=False)))

    with pytest.raises(MissingBarsError, match="no final bars to score"):
        score_stored(copied, ScoringRequest())


def test_a_candidate_is_the_one_that_the_manifest_names(copied: Run) -> None:
    """Another student in its place, sound in itself, is not loaded."""
    (path,) = candidate_files(copied).values()
    other = copied.folder.student(copied.pooled_windows[0].label) / "student.json"
    path.write_bytes(other.read_bytes())
    read_student(path)

    with pytest.raises(DigestMismatchError):
        score_stored(copied, ScoringRequest())


def test_a_candidate_that_the_manifest_does_not_name_is_refused(copied: Run) -> None:
    """It came there after the audit."""
    manifest = yaml.safe_load(copied.folder.manifest.read_text())
    manifest["artifacts"] = [
        entry for entry in manifest["artifacts"] if not entry["path"].startswith("candidate/")
    ]
    copied.folder.manifest.write_text(yaml.safe_dump(manifest))

    with pytest.raises(ConfigError, match="manifest does not name the student"):
        score_stored(copied, ScoringRequest())


def test_a_run_that_was_not_audited_says_so(copied: Run) -> None:
    """Its student is loaded by its own digest."""
    copied.folder.manifest.unlink()

    scored = score_stored(copied, ScoringRequest())

    assert not scored.is_audited
    assert scored.rows.height == 3


@pytest.mark.parametrize("change", ["bytes", "digest"])
def test_a_foreign_file_that_is_not_the_promised_one_is_refused(
    copied: Run, tmp_path: Path, change: str
) -> None:
    """One altered number, or a digest of another file."""
    source = candidate_files(copied)[POOLED]
    path, sha256 = tmp_path / "student.json", sha256_of(source)
    text = source.read_text()
    if change == "bytes":
        path.write_text(text.replace('"novelty_limit":3.0', '"novelty_limit":99.0'))
        assert path.read_text() != text
    else:
        path.write_text(text)
        sha256 = "0" * 64

    with pytest.raises(DigestMismatchError):
        score_stored(copied, ScoringRequest(student=path, sha256=sha256))
    if change == "bytes":
        # Without a promised digest its own seal is broken.
        with pytest.raises(DigestMismatchError):
            score_stored(copied, ScoringRequest(student=path))


def test_a_foreign_file_that_is_no_student_is_refused(whole: Run, tmp_path: Path) -> None:
    """It is read as data first."""
    path = tmp_path / "student.json"
    path.write_text('{"kind": "boosted"}')

    with pytest.raises(RecordError):
        score_stored(whole, ScoringRequest(student=path))
