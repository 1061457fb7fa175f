"""Alerts: what is degraded now, since when, and whether a person is told again.

Belongs here: which alerts follow from the findings and from the report before. Does not belong
here: looking (`stages.monitoring`), who is told how (`tasks.monitoring`), what is done about it
(`stages.automatic_rollback`).

An alert lasts as long as successive observations of one deployment find it degraded. An observation
that cannot tell ends it, for it confirms nothing. Who was told is not told again before the
cool-down of that kind is over, also where the alert went away in between.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sensequant.market.sessions import SessionCalendar
from sensequant.release.monitoring import (
    Alert,
    CoolDown,
    Finding,
    Health,
    MonitorReport,
)

__all__ = ["alerts_of", "in_words"]


def alerts_of(
    findings: Sequence[Finding],
    former: MonitorReport | None,
    cool_down: CoolDown,
    calendar: SessionCalendar,
    *,
    at: datetime,
) -> tuple[Alert, ...]:
    """Return one alert for each finding that is degraded.

    Parameters
    ----------
    findings
        Of this observation.
    former
        The report before it, of the same deployment; None: there is none.
    cool_down
        How long each kind keeps still.
    calendar
        Tells when NSE was open.
    at
        Aware instant of this observation.
    """
    return tuple(
        _alert(finding, former, cool_down, calendar, at=at)
        for finding in findings
        if finding.health is Health.DEGRADED
    )


def in_words(alert: Alert) -> str:
    """Return what a person is told of an alert."""
    return (
        f"{alert.name}: expected {alert.expected}, found {alert.found}; "
        f"since {alert.since:%Y-%m-%d %H:%M} UTC, in {alert.n_observations} observations over "
        f"{alert.session_hours:.2f} session hours"
    )


def _alert(
    finding: Finding,
    former: MonitorReport | None,
    cool_down: CoolDown,
    calendar: SessionCalendar,
    *,
    at: datetime,
) -> Alert:
    known = () if former is None else former.alerts
    before = next((alert for alert in known if alert.name is finding.name), None)
    told = None if former is None else former.told_at.get(finding.name)
    since = at if before is None else before.since
    quiet = timedelta(hours=getattr(cool_down, finding.name))
    return Alert(
        **finding.model_dump(include={"name", "expected", "found", "figure", "limit"}),
        since=since,
        session_hours=calendar.hours_between(since, at),
        n_observations=1 if before is None else before.n_observations + 1,
        is_told=told is None or at - told >= quiet,
    )
