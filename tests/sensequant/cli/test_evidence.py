"""Facts about doing stages of evidence again: which of which run, what is told, what is stale."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sensequant.cli import evidence as module
from sensequant.cli.app import main
from sensequant.cli.arguments import RunArguments
from sensequant.evaluation.hypotheses import SignificanceReport, TestResult, TrialCount
from sensequant.release.gates import judge
from sensequant.release.manifest import ManifestFacts, build_manifest, write_manifest
from sensequant.runs import RunFolder
from sensequant.storage import write_atomically, write_json

RUN_ID = "live_candidate_20240102_030405_0000000a"
AT = datetime(2024, 1, 2, tzinfo=UTC)
BLANK: dict[str, Any] = {"null": "n", "alternative": "a", "source": "s", "assumptions": "a"}
REPORT = SignificanceReport(
    first_session=None,
    last_session=None,
    n_sessions=300,
    n_benchmark_sessions=0,
    horizon_sessions=7,
    trials=TrialCount(n_trials=5, n_contenders=4, n_unscored=1, problems=("entry 3 is gone",)),
    tests=(
        TestResult(
            name="sharpe_ratio", **BLANK, estimate=1.25, lower=0.5, upper=2, p_value=0.01, n=300
        ).model_copy(update={"rejects_null": True}),
        TestResult(name="alpha", **BLANK, reason="no benchmark"),
        TestResult(name="detectable", **BLANK, estimate=2.0, no_interval="a bound", n=300),
    ),
    not_done_yet=(),
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """Return the one run of a home, judged before its statistics were done again."""
    monkeypatch.setenv("SENSEQUANT_HOME", str(tmp_path))
    folder = RunFolder(tmp_path, RUN_ID)
    write_json(folder.config, {})
    write_json(folder.significance / "stat_tests.json", REPORT)
    return folder


Started = list[tuple[str | None, str | None]]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """Take the place of the run itself, and collect what would be started."""
    asked: Started = []

    def start(arguments: RunArguments, _env: Any, *, is_verbose: bool, **_: Any) -> int:
        assert not is_verbose
        asked.append((arguments.run, arguments.stages))
        return 0

    monkeypatch.setattr(module, "start_run", start)
    return asked


def judged(folder: RunFolder) -> None:
    """Bind the run's present files to a verdict."""
    digest = "a" * 64
    facts = ManifestFacts(
        is_simulated=True,
        first_session=AT.date(),
        last_session=AT.date(),
        symbols=("SIM01",),
        seed=1,
        data_digest=digest,
        config_digest=digest,
        code_version=digest,
        library_versions={},
        training={},
        validation={},
        statistical_tests={},
    )
    verdict = judge((), detectable_sharpe=None, is_simulated=True)
    write_manifest(folder, build_manifest(folder, verdict=verdict, facts=facts, created_at=AT))


@pytest.mark.parametrize(
    ("command", "stage"),
    [
        ("validate", "model_validation"),
        ("stats", "statistical_tests"),
        ("stress", "stress_tests"),
        ("audit", "release_audit,promotion_briefing"),
        ("brief", "promotion_briefing"),
    ],
)
@pytest.mark.parametrize("words", [[], ["latest"], [RUN_ID[-4:]]])
def test_one_stage_of_the_run_that_was_named_is_done_again(
    folder: RunFolder, started: Started, command: str, stage: str, words: list[str]
) -> None:
    """By its id or a part of it; the latest when none is named."""
    assert main([command, *words]) == 0

    assert started == [(folder.run_id, stage)]


@pytest.mark.usefixtures("folder", "started")
def test_every_test_is_told_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    """Estimate, interval, p-value, answer and size; what is absent says why."""
    assert main(["stats"]) == 0

    told = capsys.readouterr().out
    lines = {line.split()[0]: line.split() for line in told.splitlines() if line}
    assert lines["sharpe_ratio"][1:] == ["1.25", "0.5", "to", "2", "0.01", "yes", "300", "-"]
    assert lines["alpha"][-2:] == ["no", "benchmark"]
    assert lines["detectable"][-2:] == ["a", "bound"]
    assert "ledger: trials 5, contenders 4, unscored 1, tuned 0\n" in told
    assert "ledger was altered: entry 3 is gone\n" in told


@pytest.mark.usefixtures("folder", "started")
def test_json_is_the_record_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    """A program reads what the stage wrote."""
    assert main(["stats", "--json"]) == 0

    assert SignificanceReport.model_validate(json.loads(capsys.readouterr().out)) == REPORT


@pytest.mark.usefixtures("started")
@pytest.mark.parametrize("command", ["validate", "stats", "stress"])
def test_a_verdict_about_former_figures_is_told(
    folder: RunFolder, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """Equal files leave the verdict standing; other ones ask for another judgement."""
    judged(folder)

    assert main([command]) == 0
    assert "verdict: still about these figures\n" in capsys.readouterr().out
    # A longer ledger alone changes no figure.
    write_atomically(folder.root / "significance" / "trial_ledger.json", b"{}")
    assert main([command]) == 0
    assert "verdict: still about these figures\n" in capsys.readouterr().out
    write_atomically(folder.significance / "stat_tests.json", REPORT.model_dump_json().encode())
    assert main([command]) == 0

    told = capsys.readouterr().out
    assert "verdict: about former figures: 1 files are not those that were judged\n" in told
    assert f"to judge anew: sensequant audit {folder.run_id}\n" in told


@pytest.mark.usefixtures("folder")
def test_a_stage_that_failed_tells_no_tests(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Figures of an earlier attempt are not those of this one."""

    def fail(*_: Any, **__: Any) -> int:
        return 1

    monkeypatch.setattr(module, "start_run", fail)

    assert main(["stats"]) == 1
    assert capsys.readouterr().out == ""


def test_an_unknown_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a server is looked for."""
    monkeypatch.setenv("SENSEQUANT_HOME", str(tmp_path))

    for command in ("validate", "stats", "stress", "audit", "brief"):
        assert main([command, "nobody"]) == 2
