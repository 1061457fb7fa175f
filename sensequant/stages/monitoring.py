"""Watching a model that is used: what it said since it was deployed, and whether that still holds.

Belongs here: the findings about a deployed model, each with what was expected, and their record.
Does not belong here: scoring (`stages.scoring`, `stages.shadow`), measures (`evaluation`), which
alerts follow (`release.alerts`), putting the former model back (`stages.automatic_rollback`), which
is left to a person unless that is switched on.

A finding is fine, degraded, or unknown where the bars that arrived since cannot say it yet; too
little to say is no alarm. The scores since the deployment and their outcomes, as far as they are
known, are kept beside the report, so that every figure can be made again. Reports are never
altered: together they are the history of the alerts.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import polars as pl
from pydantic import SecretStr, ValidationError

from sensequant.boosting import feature_matrix
from sensequant.errors import ConfigError, RecordError, SenseQuantError
from sensequant.evaluation.figures import Figure
from sensequant.evaluation.scoring import ClassificationFigures
from sensequant.evaluation.validation import ValidationSummary
from sensequant.market.sessions import nse_calendar
from sensequant.release.alerts import alerts_of
from sensequant.release.deployment_records import Deployment, EnvironmentName, ShadowValidation
from sensequant.release.limits import CLOCKS_AGREE, PromotionLimits
from sensequant.release.models import Model
from sensequant.release.monitoring import (
    Alert,
    Finding,
    FindingName,
    Health,
    MonitorLimits,
    MonitorReport,
)
from sensequant.runs import RunFolder
from sensequant.stages.automatic_rollback import roll_back_if_confirmed
from sensequant.stages.context import RunSettings, settings_at
from sensequant.stages.moving import history_of
from sensequant.stages.readiness import LoadStudent, load_safely, place_checks, student_checks
from sensequant.stages.scoring import Scorers, deployed_model, scorers_of
from sensequant.stages.shadow import (
    figures_in_shadow,
    judge_rows,
    reward_figure,
    rewarded,
    rows_in_shadow,
)
from sensequant.storage import locked, read_json, read_table, write_json, write_table
from sensequant.student_drift import measure_drift
from sensequant.student_file import read_student
from sensequant.windows import POOLED

__all__ = ["monitor"]

Tell = Callable[[MonitorReport, Alert], None]
"""Tells a person of one alert of a report."""

_VALIDATION = "validation_summary.json"


class _Told(NamedTuple):
    health: Health
    expected: str
    found: str
    figure: Figure | None = None
    limit: float | None = None


class _Since(NamedTuple):
    """What the model said since it was deployed; all None, and why, where that cannot be made."""

    figures: ShadowValidation | None
    rows: pl.DataFrame | None
    drift: pl.DataFrame | None
    reward: Figure | None
    why: str


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
    tell: Tell | None = None,
    load: LoadStudent = load_safely,
) -> MonitorReport:
    """Look at the model of an environment, and keep what was found below `monitoring/`.

    Parameters
    ----------
    home
        Root of all data at rest.
    environment
        Where the model is used.
    limits
        From where on it counts as degraded, and what follows.
    at
        Aware instant; of what a store says of later sessions, nothing is read.
    registry
        Address of the registry; None for the file below the home.
    tell
        Tells a person of an alert whose cool-down is over, after what was done about it; None tells
        nobody, and the next one who can does.
    load
        Loads a student of the former model, before that is put back by itself.

    Raises
    ------
    ConfigError
        Nothing is deployed there, or a report was made at a later instant: the clock goes
        backwards.
    RecordError, DigestMismatchError
        The pointer or the model is damaged: that is for a rollback, not for a finding. Or the
        report before this one cannot be read.
    StorageError
        The report cannot be written.
    """
    folder = home / "monitoring" / environment
    with locked(folder / "reports"):
        former = _former(folder, at)
        history = history_of(home, registry=registry)
        watched = _watched(home, environment, limits, at, history)
        since = _since(watched)
        report = _reported(watched, since, former)
        note = roll_back_if_confirmed(home, report, limits.rollback, load=load, registry=registry)
        report = _with_told(report.model_copy(update={"rollback": note}), tell)
        if since.rows is not None:
            write_table(folder / "rows.parquet", since.rows)
        write_json(folder / _file_of(at), report)
    return report


def _reported(watched: _Watched, since: _Since, former: MonitorReport | None) -> MonitorReport:
    drift, validated = since.drift, _validated(watched)
    findings = tuple(
        Finding(name=name, **look()._asdict())
        for name, look in _looks(watched, since, validated).items()
    )
    model = watched.model
    # What was found of another deployment says nothing of this one.
    if former is not None and (former.model_sha256, former.deployed_at) != (
        model.sha256,
        watched.deployed_at,
    ):
        former = None
    return MonitorReport(
        environment=watched.environment,
        run_id=model.record.run_id,
        model_sha256=model.sha256,
        is_simulated=model.record.is_simulated,
        deployed_at=watched.deployed_at,
        at=watched.at,
        health=_together(findings),
        findings=findings,
        since=since.figures,
        validated_auc=None if validated is None else validated.auc,
        n_columns=0 if drift is None else drift.height,
        n_drifted=None if drift is None else _n_drifted(drift),
        largest_psi=None if drift is None else drift["psi"].max(),  # pyright: ignore[reportArgumentType]
        alerts=alerts_of(
            findings, former, watched.limits.cool_down_hours, nse_calendar(), at=watched.at
        ),
        told_at={} if former is None else former.told_at,
    )


def _with_told(report: MonitorReport, tell: Tell | None) -> MonitorReport:
    if tell is None:
        quiet = tuple(alert.model_copy(update={"is_told": False}) for alert in report.alerts)
        return report.model_copy(update={"alerts": quiet})
    told = dict(report.told_at)
    for alert in report.alerts:
        if alert.is_told:
            tell(report, alert)
            told[alert.name] = report.at
    return report.model_copy(update={"told_at": told})


def _file_of(at: datetime) -> str:
    return f"{at:%Y%m%dT%H%M%SZ}.json"


def _former(folder: Path, at: datetime) -> MonitorReport | None:
    """Return the last report before an instant."""
    names = sorted(path.name for path in folder.glob("*Z.json"))
    if names and names[-1] > _file_of(at + CLOCKS_AGREE):
        raise ConfigError(
            "clock goes backwards",
            where=str(folder),
            expected=f"no report after {at:%Y-%m-%d %H:%M:%S} UTC",
            found=names[-1],
            remedy="set the clock of this machine right, or move the later reports away",
        )
    before = [folder / name for name in names if name < _file_of(at)]
    return _read_report(before[-1]) if before else None


def _read_report(path: Path) -> MonitorReport:
    try:
        return MonitorReport.model_validate(read_json(path))
    except ValidationError as error:
        raise RecordError(
            "report of a look at a model cannot be read",
            where=str(path),
            expected="a report of this version of sensequant",
            found=str(error).splitlines()[0],
            remedy="move it away: alerts then begin anew",
        ) from error


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


def _since(watched: _Watched) -> _Since:
    since = watched.deployed_at
    try:
        features = rows_in_shadow(
            watched.scorers, watched.settings, nse_calendar(), since=since, until=watched.at
        )
        rows = rewarded(judge_rows(watched.scorers, features), features, watched.settings.config)
    except SenseQuantError as error:
        return _Since(None, None, None, None, str(error))
    figures = figures_in_shadow(rows, watched.settings.config, since=since)
    drift = None if features.is_empty() else _drift_of(watched.scorers, features)
    reward = reward_figure(rows, watched.settings.config)
    return _Since(figures, rows, drift, reward, "no session has closed since the deployment")


def _drift_of(scorers: Scorers, features: pl.DataFrame) -> pl.DataFrame:
    parts: list[pl.DataFrame] = []
    for owner in scorers.owners:
        file = scorers.load(owner).file
        mine = features if owner == POOLED else features.filter(symbol=owner)
        parts.append(measure_drift(file.drift, file.columns, feature_matrix(mine, file.columns)))
    return pl.concat(parts)


def _validated(watched: _Watched) -> ClassificationFigures | None:
    folder = RunFolder(watched.home, watched.model.record.run_id)
    path = folder.validation / _VALIDATION
    if not path.exists():
        return None
    return ValidationSummary.model_validate(read_json(path)).classification


def _rewarded_then(watched: _Watched) -> Figure | None:
    """Return the reward of the run's own decisions, by the same measure; None without its files."""
    path = RunFolder(watched.home, watched.model.record.run_id).rewards
    return reward_figure(read_table(path), watched.settings.config) if path.exists() else None


def _looks(
    watched: _Watched, since: _Since, validated: ClassificationFigures | None
) -> dict[FindingName, Callable[[], _Told]]:
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
        FindingName.DATA: lambda: _exact(*places["data"]()),
        FindingName.FEATURE_SCHEMA: lambda: _exact(*students["feature_schema"]()),
        FindingName.EXPIRY: lambda: _exact(*students["expiry"]()),
        FindingName.SILENCE: lambda: _silence(since, watched.limits),
        FindingName.SCORES: lambda: _scores(since, None if validated is None else validated.auc),
        FindingName.PRECISION: lambda: _classified(since, validated, "precision"),
        FindingName.HIT_RATE: lambda: _classified(since, validated, "hit_rate"),
        FindingName.CALIBRATION: lambda: _classified(
            since, validated, "brier_score", is_error=True
        ),
        FindingName.REWARD: lambda: _against(
            "share of the reward", _rewarded_then(watched), since.reward, since.why
        ),
        FindingName.DRIFT: lambda: _drift(since.drift, watched.limits),
    }


def _exact(is_passed: bool, expected: str, found: str) -> _Told:
    return _Told(Health.FINE if is_passed else Health.DEGRADED, expected, found)


def _silence(since: _Since, limits: MonitorLimits) -> _Told:
    expected = f"at most {limits.max_silent_frac:.0%} of rows without a score"
    figures = since.figures
    if figures is None or not figures.n_rows:
        return _Told(Health.UNKNOWN, expected, since.why)
    silent = figures.n_novel + figures.n_expired
    found = f"{silent} of {figures.n_rows}: {figures.n_novel} novel, {figures.n_expired} expired"
    return _share(silent, figures.n_rows, limits.max_silent_frac, expected, found)


def _scores(since: _Since, validated: Figure | None) -> _Told:
    floor = 0.5
    expected = "an AUC whose interval does not lie below one half"
    if validated is not None and validated.lower is not None:
        floor = max(floor, validated.lower)
        expected += f", nor below that of the validation, from {validated.lower:.3f} on"
    if since.figures is None:
        return _Told(Health.UNKNOWN, expected, since.why)
    auc = since.figures.auc
    if auc.value is None or auc.upper is None or auc.lower is None:
        reason = auc.reason or "no interval"
        words = f"{since.figures.n_realised} outcomes: {reason}"
        return _Told(Health.UNKNOWN, expected, words, auc, floor)
    found = f"{auc.value:.3f} [{auc.lower:.3f}, {auc.upper:.3f}] over {auc.n} outcomes"
    health = Health.DEGRADED if auc.upper < floor else Health.FINE
    return _Told(health, expected, found, auc, floor)


def _classified(
    since: _Since,
    validated: ClassificationFigures | None,
    name: str,
    *,
    is_error: bool = False,
) -> _Told:
    then: Figure | None = None if validated is None else getattr(validated, name)
    now: Figure | None = None if since.figures is None else getattr(since.figures, name)
    return _against(name.replace("_", " "), then, now, since.why, is_error=is_error)


def _against(
    words: str, then: Figure | None, now: Figure | None, why: str, *, is_error: bool = False
) -> _Told:
    """Hold a figure against that of the validation: their intervals tell only if they are apart."""
    side = "above" if is_error else "below"
    if then is None or then.lower is None or then.upper is None:
        return _Told(Health.UNKNOWN, f"a {words} as in the validation", "it has no interval there")
    limit = then.upper if is_error else then.lower
    expected = f"a {words} whose interval does not lie {side} that of the validation, {limit:.3f}"
    if now is None:
        return _Told(Health.UNKNOWN, expected, why, limit=limit)
    if now.value is None or now.upper is None or now.lower is None:
        return _Told(Health.UNKNOWN, expected, now.reason or "no interval", now, limit)
    found = f"{now.value:.3f} [{now.lower:.3f}, {now.upper:.3f}] over {now.n} outcomes"
    is_worse = now.lower > limit if is_error else now.upper < limit
    return _Told(Health.DEGRADED if is_worse else Health.FINE, expected, found, now, limit)


def _drift(drift: pl.DataFrame | None, limits: MonitorLimits) -> _Told:
    expected = f"at most {limits.max_drifted_frac:.0%} of columns that moved far beyond chance"
    n_drifted = None if drift is None else _n_drifted(drift)
    if drift is None or n_drifted is None:
        return _Told(Health.UNKNOWN, expected, "too few rows since the deployment")
    found = f"{n_drifted} of {drift.height} columns"
    return _share(n_drifted, drift.height, limits.max_drifted_frac, expected, found)


def _share(part: int, whole: int, limit: float, expected: str, found: str) -> _Told:
    figure = Figure(value=part / whole, n=whole, unit="fraction", reason="counted, no interval")
    health = Health.FINE if part <= limit * whole else Health.DEGRADED
    return _Told(health, expected, found, figure, limit)


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
