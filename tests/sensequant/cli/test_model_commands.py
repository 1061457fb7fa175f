"""Facts about `train`, `predict` and `--resume`: which stages of which run, what is answered."""

import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sensequant.cli import run as module
from sensequant.cli.app import main
from sensequant.cli.arguments import RunArguments
from sensequant.cli.asking import Question, ask
from sensequant.errors import ConfigError
from sensequant.runs import RunFolder, Stage
from sensequant.settings import RunOptions
from sensequant.stages.context import Run, load_run
from sensequant.stages.scoring import ScoringRequest, score_stored
from sensequant.stages.students_evidence import candidate_files
from sensequant.storage import read_table, sha256_of
from sensequant.student_file import read_student

RUN_ID = "live_candidate_20240102_030405_0000000a"


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[tuple[RunArguments, int | None]]:
    """Take the place of the run itself, and collect what would be started."""
    started: list[tuple[RunArguments, int | None]] = []

    def start(arguments: RunArguments, env: Any, *, is_verbose: bool) -> int:
        assert not is_verbose
        started.append((arguments, env.workers))
        return 0

    monkeypatch.setattr(module, "start_run", start)
    return started


Started = list[tuple[RunArguments, int | None]]


@pytest.mark.parametrize(
    ("words", "stages"),
    [
        (["teachers"], "data_ingestion,teacher_training"),
        (["students"], "data_ingestion,teacher_training,student_training"),
        (["teachers", "--run", "latest"], "teacher_training"),
        (["students", "--run", "latest"], "student_training"),
    ],
)
def test_training_asks_for_its_own_stages(
    questions: Started, words: list[str], stages: str
) -> None:
    """Those up to what was named in a new run, that one alone in an existing run."""
    assert main(["train", *words, "--workers", "3"]) == 0

    ((arguments, workers),) = questions
    assert arguments.stages == stages
    assert workers == 3


def test_training_takes_the_settings_of_a_run(questions: Started) -> None:
    """What can be asked of a run can be asked of a training."""
    words = ["--symbols", "TCS", "--set", "teacher.scope=universe", "--seed", "7"]

    assert main(["train", "students", *words]) == 0

    ((arguments, _),) = questions
    assert (arguments.symbols, arguments.seed) == ("TCS", 7)
    assert arguments.set == ("teacher.scope=universe",)


@pytest.mark.parametrize("option", ["--stages", "--resume"])
def test_training_refuses_other_stages(
    questions: Started, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    """The error names the option and the command that takes it."""
    assert main(["train", "teachers", option, "stress_tests"]) == 2

    said = capsys.readouterr().err
    assert "a training has stages of its own" in said
    assert f"sensequant run {option}" in said
    assert questions == []


def test_a_resumed_run_keeps_its_stages_and_its_question(trained: Run) -> None:
    """Request, settings and stages are its own; workers and pools may be others."""
    arguments = RunArguments(resume="latest", workers=7, gpu_pools="gpu-1")

    asked = ask(arguments, home=trained.folder.home)

    assert asked == Question(
        asked.folder,
        trained.request,
        trained.config,
        RunOptions(stages=tuple(Stage)[:3], workers=7, gpu_pools=("gpu-1",)),
    )
    assert asked.folder.root == trained.folder.root


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"run": "latest"}, "--run"),
        ({"stages": "stress_tests", "skip_fetch": True}, "--skip-fetch, --stages"),
        ({"seed": 1}, "--seed"),
        ({"symbols_file": Path("x"), "set": ("seed=1",)}, "--symbols-file, --set"),
    ],
)
def test_a_resumed_run_takes_no_other_question(
    trained: Run, arguments: dict[str, Any], found: str
) -> None:
    """Each option that would change it is named."""
    with pytest.raises(ConfigError) as caught:
        ask(RunArguments(resume="latest", **arguments), home=trained.folder.home)

    assert caught.value.found == found
    assert "--resume latest" in caught.value.where


def test_a_run_that_is_not_there_is_not_resumed(tmp_path: Path) -> None:
    """No run is opened in its place."""
    with pytest.raises(ConfigError):
        ask(RunArguments(resume="latest"), home=tmp_path)


@pytest.fixture
def predict(
    trained: Run, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Return `sensequant predict` in the home of the run: code, standard output and error."""

    def predict(*words: str) -> tuple[int, str, str]:
        code = main(["predict", "--home", str(trained.folder.home), *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return predict


Predict = Callable[..., tuple[int, str, str]]


def test_predict_scores_the_last_stored_session(trained: Run, predict: Predict) -> None:
    """The rows of the answer are those of the stage, and it says what vouches for them."""
    rows = score_stored(trained, ScoringRequest()).rows

    code, out, _ = predict()

    assert code == 0
    assert f"run: {RUN_ID}" in out
    assert "student: universe" in out
    assert "simulated: no score tells anything about a real market" in out
    assert "no manifest vouches for this student" in out
    for row in rows.iter_rows(named=True):
        (line,) = (each for each in out.splitlines() if row["symbol"] in each)
        assert str(row["session"]) in line
        assert ("none" if row["score"] is None else f"{row['score']:.4f}") in line


def test_predict_as_json_holds_all_rows_and_the_drift(trained: Run, predict: Predict) -> None:
    """One object: rows as they are, drift by student."""
    known = read_student(candidate_files(trained)["universe"]).file.trained_through
    start, end = known + timedelta(days=1), known + timedelta(days=40)
    expected = score_stored(trained, ScoringRequest(start=start, end=end))

    code, out, _ = predict("--start", str(start), "--end", str(end), "--json")

    said = json.loads(out)
    rows = expected.rows.with_columns(pl.col("session").cast(pl.String)).to_dicts()
    assert code == 0
    assert len(rows) > 20
    assert (said["run_id"], said["is_audited"], said["is_simulated"]) == (RUN_ID, False, True)
    assert said["rows"] == rows
    assert {each["column"] for each in said["drift"]["universe"]} == set(
        read_student(candidate_files(trained)["universe"]).file.columns
    )


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_predict_writes_the_rows(
    trained: Run, predict: Predict, tmp_path: Path, suffix: str
) -> None:
    """As a table or as text; the answer names the file."""
    path = tmp_path / f"scores.{suffix}"
    expected = score_stored(trained, ScoringRequest(symbols=("SIM02",))).rows

    code, out, _ = predict("--symbols", "SIM02", "--output", str(path))

    assert code == 0
    assert f"written: {path}" in " ".join(out.split())
    if suffix == "parquet":
        assert read_table(path).equals(expected)
    else:
        assert path.read_bytes() == expected.write_csv().encode()


def test_predict_with_a_file_from_elsewhere(trained: Run, predict: Predict, tmp_path: Path) -> None:
    """It scores like the one it is a copy of; with another digest it is refused."""
    path = tmp_path / "mine.json"
    shutil.copyfile(candidate_files(trained)["universe"], path)
    own = json.loads(predict("--json")[1])["rows"]

    code, out, _ = predict("--student", str(path), "--sha256", sha256_of(path), "--json")
    refused, _, error = predict("--student", str(path), "--sha256", "0" * 64)

    assert (code, json.loads(out)["rows"]) == (0, own)
    assert refused == 1
    assert "digest" in error


@pytest.mark.parametrize(
    ("words", "culprit"),
    [
        (["--start", "01/02/2024"], "--start"),
        (["--end", "soon"], "--end"),
        (["--output", "scores.xlsx"], "--output"),
        (["--symbols", "NOSUCH"], "NOSUCH"),
        (["--run", "nothing"], "nothing"),
    ],
)
def test_a_wrong_question_to_predict_is_refused(
    predict: Predict, words: list[str], culprit: str
) -> None:
    """What is wrong stands in the error."""
    code, out, error = predict(*words)

    assert (code, out) == (2, "")
    assert culprit in error


def test_a_session_that_was_learnt_from_is_no_answer(predict: Predict) -> None:
    """It is an error of its own, not a score."""
    code, out, error = predict("--start", "2022-03-01")

    assert (code, out) == (1, "")
    assert "learnt from" in error


def test_a_run_without_students_says_so(trained: Run, tmp_path: Path) -> None:
    """Nobody scores; the error says what to do."""
    home = tmp_path / "home"
    shutil.copytree(trained.folder.home, home)
    run = load_run(RunFolder(home, RUN_ID))
    shutil.rmtree(run.folder.candidate)

    with pytest.raises(ConfigError, match="no student to deploy"):
        score_stored(run, ScoringRequest())
