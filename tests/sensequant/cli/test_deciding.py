"""Facts about deciding from the terminal: what is said, what is refused, what is listed."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sensequant.cli.app import main
from sensequant.release.gates import Decision
from sensequant.release.registry_records import RunResult
from sensequant.runs import RunFolder
from sensequant.stages import decision
from sensequant.stages.registry_place import registry_of
from sensequant.storage import write_json

RUN_ID = "live_candidate_20250101_000000_0000abcd"
DIGEST = "a" * 64


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home with one run whose gates all pass; its files need not be digested here."""
    folder = RunFolder(tmp_path, RUN_ID)
    folder.root.mkdir(parents=True)
    write_json(folder.run, {"is_simulated": True, "options": {"decision": "later"}})
    result = RunResult(
        run_id=RUN_ID,
        decision=Decision.APPROVE,
        reason="All gates pass.",
        manifest_sha256=DIGEST,
        evidence_digest=DIGEST,
        is_simulated=True,
    )
    now = datetime.now(UTC)
    registry = registry_of(tmp_path)
    registry.record_candidate_run(result, actor="flow", at=now, decide_by=now + timedelta(hours=1))
    registry.close()
    monkeypatch.setattr(decision, "_require_judged_bytes", lambda _folder, _digest: None)  # pyright: ignore[reportUnknownLambdaType,reportUnknownArgumentType]
    return tmp_path


def test_decision_is_told_and_listed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With who, why and on which manifest; invented bars are named."""
    place = ["--home", str(home)]
    assert main(["candidates", *place]) == 0
    assert "ready-for-review" in capsys.readouterr().out

    assert main(["approve", "latest", "--by", "ann", "--reason", "read it", *place]) == 0

    said = capsys.readouterr().out
    for words in (
        f"run: {RUN_ID}",
        "decision: approved by ann: read it",
        f"manifest: {DIGEST}",
        "simulated",
    ):
        assert words in said
    assert main(["candidates", *place]) == 0
    assert "approved by ann: read it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "exit_code", "said"),
    [
        (["approve", "latest", "--by", "ann"], 2, "reason"),
        (["approve", "latest", "--by", " ", "--reason", "x"], 2, "actor was empty"),
        (["approve", "other", "--by", "ann", "--reason", "x"], 2, "run is unknown"),
        (
            ["reject", "latest", "--by", "ann", "--reason", "x", "--manifest", "b" * 64],
            1,
            "decision is about another manifest",
        ),
    ],
    ids=["no reason", "nobody", "unknown run", "other manifest"],
)
def test_refusal_says_why(
    home: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    exit_code: int,
    said: str,
) -> None:
    """Nothing is decided then."""
    assert main([*words, "--home", str(home)]) == exit_code

    assert said in capsys.readouterr().err
    review = decision.review_of(RunFolder(home, RUN_ID))
    assert review is not None
    assert review.is_open


def test_run_without_candidate_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that was killed before its briefing."""
    RunFolder(tmp_path, RUN_ID).root.mkdir(parents=True)

    code = main(["approve", "latest", "--by", "ann", "--reason", "x", "--home", str(tmp_path)])

    assert code == 2
    assert "no candidate to decide on" in capsys.readouterr().err
