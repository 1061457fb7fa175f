"""Facts about `monitor` on a terminal: findings as rows, and the exit code."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sensequant.cli import monitoring as module
from sensequant.cli.app import main
from sensequant.release.deployment_records import EnvironmentName
from sensequant.release.monitoring import (
    Alert,
    Finding,
    FindingName,
    Health,
    MonitorLimits,
    MonitorReport,
    RollbackNote,
    RollbackOutcome,
)

AT = datetime(2024, 5, 2, 12, tzinfo=UTC)


def report(health: Health) -> MonitorReport:
    return MonitorReport(
        environment=EnvironmentName.PRODUCTION,
        run_id="live_candidate_20240102_030405_0000000a",
        model_sha256="a" * 64,
        is_simulated=True,
        deployed_at=AT,
        at=AT,
        health=health,
        findings=(
            Finding(name=FindingName.DRIFT, health=health, expected="few", found="31 of 31"),
        ),
        since=None,
        validated_auc=None,
        n_columns=31,
        n_drifted=31,
        largest_psi=0.7,
    )


@pytest.mark.parametrize(
    ("health", "code"), [(Health.FINE, 0), (Health.UNKNOWN, 0), (Health.DEGRADED, 1)]
)
def test_only_what_is_degraded_fails(
    health: Health,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The limits that were typed reach the findings; too little to say is no failure."""
    asked: list[tuple[Any, ...]] = []

    def looked(*given: Any, at: datetime, registry: str | None) -> MonitorReport:
        assert (at.tzinfo, registry) == (UTC, None)
        asked.append(given)
        return report(health)

    monkeypatch.setenv("SENSEQUANT_HOME", str(tmp_path))
    monkeypatch.setattr(module, "monitor", looked)

    assert main(["monitor", "--env", "staging", "--set", "max_drifted_frac=0.5"]) == code
    told = capsys.readouterr().out
    assert asked == [(tmp_path, EnvironmentName.STAGING, MonitorLimits(max_drifted_frac=0.5))]
    assert "31 of 31" in told
    assert f"health: {health}\n" in told
    assert "simulated" in told
    assert main(["monitor", "--json"]) == code
    assert MonitorReport.model_validate(json.loads(capsys.readouterr().out)) == report(health)


def test_alerts_and_what_was_done_about_them_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Since when, over how many session hours, and that nothing was put back."""
    alert = Alert(
        name=FindingName.DRIFT,
        expected="few",
        found="31 of 31",
        figure=None,
        limit=0.25,
        since=AT,
        session_hours=6.25,
        n_observations=2,
        is_told=False,
    )
    note = RollbackNote(outcome=RollbackOutcome.NO_FORMER, words="no model stood there before")
    found = report(Health.DEGRADED).model_copy(update={"alerts": (alert,), "rollback": note})
    monkeypatch.setenv("SENSEQUANT_HOME", str(tmp_path))
    monkeypatch.setattr(module, "monitor", lambda *_given, **_named: found)  # pyright: ignore[reportUnknownLambdaType,reportUnknownArgumentType]

    assert main(["monitor"]) == 1

    told = capsys.readouterr().out
    assert "alert drift: since 2024-05-02 12:00 UTC, in 2 observations over 6.25 session" in told
    assert "automatic rollback: no former model: no model stood there before" in told


def test_nothing_deployed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the exit code of a wrong request."""
    monkeypatch.setenv("SENSEQUANT_HOME", str(tmp_path))

    assert main(["monitor"]) == 2
