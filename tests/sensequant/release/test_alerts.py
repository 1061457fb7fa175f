"""Facts about alerts: since when, for how long, and when somebody is told again."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensequant.market.sessions import nse_calendar
from sensequant.release.alerts import alerts_of, in_words
from sensequant.release.deployment_records import EnvironmentName
from sensequant.release.monitoring import (
    Alert,
    CoolDown,
    Finding,
    FindingName,
    Health,
    MonitorReport,
)

START = datetime(2023, 7, 3, 12, tzinfo=UTC)
DATA = FindingName.DATA


def finding(health: Health, name: FindingName = DATA) -> Finding:
    return Finding(name=name, health=health, expected="new bars", found="old ones")


def report(
    at: datetime, alerts: tuple[Alert, ...], told: dict[FindingName, datetime]
) -> MonitorReport:
    return MonitorReport(
        environment=EnvironmentName.PRODUCTION,
        run_id="live_candidate_20230630_000000_00000001",
        model_sha256="a" * 64,
        is_simulated=True,
        deployed_at=START,
        at=at,
        health=Health.DEGRADED if alerts else Health.FINE,
        findings=(),
        since=None,
        validated_auc=None,
        n_columns=0,
        n_drifted=None,
        largest_psi=None,
        alerts=alerts,
        told_at=told,
    )


def watched(seen: list[tuple[datetime, Health]], cool_down: CoolDown) -> list[tuple[Alert, ...]]:
    """Return the alerts of successive observations; whoever is to be told is told."""
    former: MonitorReport | None = None
    found: list[tuple[Alert, ...]] = []
    for at, health in seen:
        alerts = alerts_of([finding(health)], former, cool_down, nse_calendar(), at=at)
        told = {} if former is None else dict(former.told_at)
        told |= {alert.name: at for alert in alerts if alert.is_told}
        former = report(at, alerts, told)
        found.append(alerts)
    return found


def test_only_what_is_degraded_is_an_alert() -> None:
    """Fine and unknown are none; each degraded finding has its own."""
    findings = [
        finding(Health.FINE, FindingName.SCORES),
        finding(Health.UNKNOWN, FindingName.DRIFT),
        finding(Health.DEGRADED),
        finding(Health.DEGRADED, FindingName.EXPIRY),
    ]
    alerts = alerts_of(findings, None, CoolDown(), nse_calendar(), at=START)

    assert [alert.name for alert in alerts] == [DATA, FindingName.EXPIRY]
    assert all(alert.is_told and alert.since == START for alert in alerts)
    assert "data: expected new bars, found old ones; since 2023-07-03 12:00" in in_words(alerts[0])


def test_hours_are_those_of_sessions() -> None:
    """From Monday after the close to Tuesday noon in India: 9:15 to 12:00."""
    noon = datetime(2023, 7, 4, 6, 30, tzinfo=UTC)
    *_, (last,) = watched([(START, Health.DEGRADED), (noon, Health.DEGRADED)], CoolDown())

    assert last.session_hours == pytest.approx(2.75)
    assert (last.since, last.n_observations, last.is_told) == (START, 2, False)


@given(
    st.lists(st.tuples(st.integers(1, 40), st.sampled_from(Health)), min_size=1, max_size=30),
    st.integers(0, 72),
)
def test_alerts_of_any_history(steps: list[tuple[int, Health]], quiet_hours: int) -> None:
    """Told first, never twice within the cool-down, always after it; since the last rest."""
    at = START
    seen: list[tuple[datetime, Health]] = []
    for hours, health in steps:
        at += timedelta(hours=hours)
        seen.append((at, health))
    found = watched(seen, CoolDown(data=quiet_hours))

    last_told: datetime | None = None
    begun: datetime | None = None
    for (instant, health), alerts in zip(seen, found, strict=True):
        assert bool(alerts) is (health is Health.DEGRADED)
        begun = (begun or instant) if alerts else None
        for alert in alerts:
            is_due = last_told is None or instant - last_told >= timedelta(hours=quiet_hours)
            assert (alert.since, alert.is_told) == (begun, is_due)
            last_told = instant if alert.is_told else last_told
