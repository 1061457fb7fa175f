"""Watching a model that is used: what it said since it was deployed, and whether that still holds.

Belongs here: the findings about a deployed model, each with what was expected, and their record.
Does not belong here: scoring (`stages.scoring`, `stages.shadow`), measures (`evaluation`), moving
models (`stages.promotion`), which is left to a person.

A finding is fine, degraded, or unknown where the bars that arrived since cannot say it yet; too
little to say is no alarm. The scores since the deployment and their outcomes, as far as they are
known, are kept beside the report, so that every figure can be made again.
"""

from collections.abc import Callable, Iterable
from datetime import date, datetime
from pathlib import Path
from typing import NamedTuple

import polars as pl
from pydantic import SecretStr

from sensequant.errors import ConfigError, SenseQuantError
from sensequant.evaluation.figures import Figure
from sensequant.evaluation.validation import ValidationSummary
from sensequant.market.sessions import nse_calendar
from sensequant.release.deployment_records import Deployment, EnvironmentName, ShadowValidation
from sensequant.release.limits import PromotionLimits
from sensequant.release.models import Model
from sensequant.release.monitoring import Finding, Health, MonitorLimits, MonitorReport
from sensequant.runs import RunFolder
from sensequant.stages.context import RunSettings, settings_at
from sensequant.stages.moving import history_of
from sensequant.stages.readiness import place_checks, student_checks
from sensequant.stages.scoring import (
    Scorers,
    ScoringRequest,
    deployed_model,
    score_deployed,
    scorers_of,
)
from sensequant.stages.shadow import figures_in_shadow, score_in_shadow
from sensequant.storage import read_json, write_json, write_table
from sensequant.student_file import read_student

__all__ = ["monitor"]

_VALIDATION = "validation_summary.json"


class _Told(NamedTuple):
    health: Health
    expected: str
    found: str


class _Watched(NamedTuple):
    """What there is to look at."""

    home: Path
    environment: EnvironmentName
    model: Model
    settings: RunSettings
    scorers: Scorers
    deployed_at: datetime
    limits: MonitorLimits
    at: datetime


def monitor(
    home: Path,
    environment: EnvironmentName,
    limits: MonitorLimits,
    *,
    at: datetime,
    registry: SecretStr | None = None,
) -> MonitorReport:
    """Look at the model of an environment, and keep what was found below `monitoring/`.

    Parameters
    ----------
    home
        Root of all data at rest.
    environment
        Where the model is used.
    limits
        From where on it counts as degraded.
    at
        Aware instant; of what a store says of later sessions, nothing is read.
    registry
        Address of the registry; None for the file below the home.

    Raises
    ------
    ConfigError
        Nothing is deployed there.
    RecordError, DigestMismatchError
        The pointer or the model is damaged: that is for a rollback, not for a finding.
    StorageError
        The report cannot be written.
    """
    history = history_of(home, registry=registry)
    watched = _watched(home, environment, limits, at, history)
    since, rows, why = _scores_since(watched)
    drift = _drift_since(watched, since)
    validated = _validated_auc(watched)
    findings = tuple(
        Finding(name=name, **look()._asdict())
        for name, look in _looks(watched, since, why, drift, validated).items()
    )
    report = MonitorReport(
        environment=environment,
        run_id=watched.model.record.run_id,
        model_sha256=watched.model.sha256,
        is_simulated=watched.model.record.is_simulated,
        deployed_at=watched.deployed_at,
        at=at,
        health=_together(findings),
        findings=findings,
        since=since,
        validated_auc=validated,
        n_columns=0 if drift is None else drift.height,
        n_drifted=None if drift is None else _n_drifted(drift),
        largest_psi=None if drift is None else drift["psi"].max(),  # pyright: ignore[reportArgumentType]
    )
    folder = home / "monitoring" / environment
    if rows is not None:
        write_table(folder / "rows.parquet", rows)
    write_json(folder / f"{at:%Y%m%dT%H%M%SZ}.json", report)
    return report


def _watched(
    home: Path,
    environment: EnvironmentName,
    limits: MonitorLimits,
    at: datetime,
    history: Iterable[Deployment],
) -> _Watched:
    model = deployed_model(home, environment)
    deployed = [
        each.ended_at
        for each in history
        if each.environment is environment and each.model_sha256 == model.sha256
    ]
    since = next((ended for ended in reversed(deployed) if ended is not None), None)
    if since is None:
        raise ConfigError(
            "registry knows of no deployment of this model",
            where=f"{environment}, model {model.sha256}",
            expected="a deployment that was completed",
            found="none",
            remedy="`sensequant environments` settles what a killed process left",
        )
    return _Watched(
        home=home,
        environment=environment,
        model=model,
        settings=settings_at(model.config),
        scorers=scorers_of(home, model),
        deployed_at=since,
        limits=limits,
        at=at,
    )


def _scores_since(
    watched: _Watched,
) -> tuple[ShadowValidation | None, pl.DataFrame | None, str]:
    try:
        rows = score_in_shadow(
            watched.scorers,
            watched.settings,
            nse_calendar(),
            since=watched.deployed_at,
            until=watched.at,
        )
    except SenseQuantError as error:
        return None, None, str(error)
    since = figures_in_shadow(rows, watched.settings.config, since=watched.deployed_at)
    return since, rows, "no session has closed since the deployment"


def _drift_since(watched: _Watched, since: ShadowValidation | None) -> pl.DataFrame | None:
    if since is None or since.first_session is None or since.last_session is None:
        return None
    first, last = (date.fromisoformat(each) for each in (since.first_session, since.last_session))
    request = ScoringRequest(start=first, end=last)
    parts = score_deployed(watched.home, watched.environment, request).predictions.values()
    return pl.concat([part.drift for part in parts])


def _validated_auc(watched: _Watched) -> Figure | None:
    folder = RunFolder(watched.home, watched.model.record.run_id)
    path = folder.validation / _VALIDATION
    if not path.exists():
        return None
    return ValidationSummary.model_validate(read_json(path)).classification.auc


def _looks(
    watched: _Watched,
    since: ShadowValidation | None,
    why: str,
    drift: pl.DataFrame | None,
    validated: Figure | None,
) -> dict[str, Callable[[], _Told]]:
    students = student_checks(
        lambda: watched.model.students,
        lambda path, sha256: read_student(path, sha256=sha256),
        at=watched.at,
    )
    places = place_checks(
        watched.home,
        lambda: watched.scorers.store,
        lambda: watched.scorers.symbols,
        PromotionLimits(max_sessions_behind=watched.limits.max_sessions_behind),
        at=watched.at,
    )
    return {
        "data": lambda: _exact(*places["data"]()),
        "feature_schema": lambda: _exact(*students["feature_schema"]()),
        "expiry": lambda: _exact(*students["expiry"]()),
        "silence": lambda: _silence(since, why, watched.limits),
        "scores": lambda: _scores(since, why, validated),
        "drift": lambda: _drift(drift, watched.limits),
    }


def _exact(is_passed: bool, expected: str, found: str) -> _Told:
    return _Told(Health.FINE if is_passed else Health.DEGRADED, expected, found)


def _silence(since: ShadowValidation | None, why: str, limits: MonitorLimits) -> _Told:
    expected = f"at most {limits.max_silent_frac:.0%} of rows without a score"
    if since is None or not since.n_rows:
        return _Told(Health.UNKNOWN, expected, why)
    silent = since.n_novel + since.n_expired
    found = f"{silent} of {since.n_rows}: {since.n_novel} novel, {since.n_expired} expired"
    is_fine = silent <= limits.max_silent_frac * since.n_rows
    return _Told(Health.FINE if is_fine else Health.DEGRADED, expected, found)


def _scores(since: ShadowValidation | None, why: str, validated: Figure | None) -> _Told:
    floor = 0.5
    expected = "an AUC whose interval does not lie below one half"
    if validated is not None and validated.lower is not None:
        floor = max(floor, validated.lower)
        expected += f", nor below that of the validation, from {validated.lower:.3f} on"
    if since is None:
        return _Told(Health.UNKNOWN, expected, why)
    auc = since.auc
    if auc.value is None or auc.upper is None or auc.lower is None:
        reason = auc.reason or "no interval"
        return _Told(Health.UNKNOWN, expected, f"{since.n_realised} outcomes: {reason}")
    found = f"{auc.value:.3f} [{auc.lower:.3f}, {auc.upper:.3f}] over {auc.n} outcomes"
    return _Told(Health.DEGRADED if auc.upper < floor else Health.FINE, expected, found)


def _drift(drift: pl.DataFrame | None, limits: MonitorLimits) -> _Told:
    expected = f"at most {limits.max_drifted_frac:.0%} of columns that moved far beyond chance"
    n_drifted = None if drift is None else _n_drifted(drift)
    if drift is None or n_drifted is None:
        return _Told(Health.UNKNOWN, expected, "too few rows since the deployment")
    is_fine = n_drifted <= limits.max_drifted_frac * drift.height
    found = f"{n_drifted} of {drift.height} columns"
    return _Told(Health.FINE if is_fine else Health.DEGRADED, expected, found)


def _n_drifted(drift: pl.DataFrame) -> int | None:
    if drift["state"].null_count() == drift.height:
        return None
    is_large = (pl.col("state") == "large") & (pl.col("psi") > pl.col("psi_by_chance"))
    return int(drift.select(is_large.sum()).item())


def _together(findings: tuple[Finding, ...]) -> Health:
    told = {finding.health for finding in findings}
    if Health.DEGRADED in told:
        return Health.DEGRADED
    return Health.UNKNOWN if Health.UNKNOWN in told else Health.FINE
