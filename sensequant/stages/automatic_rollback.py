"""The rollback that nobody asks for: only where it is switched on, confirmed, and possible.

Belongs here: whether it is due, and asking for it. Does not belong here: the rollback itself
(`stages.promotion`), with all its checks, and what is degraded (`release.alerts`).

It is due when one of the named findings was degraded in every observation over as many session
hours as the settings ask, in two observations at least. It is refused where another model stands
there by then than the one that was looked at.
"""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from pydantic import SecretStr

from sensequant.errors import NotReadyError, RegistryError
from sensequant.release.alerts import in_words
from sensequant.release.monitoring import (
    Alert,
    AutomaticRollback,
    MonitorReport,
    RollbackNote,
    RollbackOutcome,
)
from sensequant.stages.moving import Order
from sensequant.stages.promotion import rollback_environment
from sensequant.stages.readiness import LoadStudent, load_safely
from sensequant.stages.registry_place import registry_of

__all__ = ["ACTOR", "roll_back_if_confirmed"]

ACTOR = "automatic"
"""Who stands in the history."""

_FEWEST_OBSERVATIONS = 2


def roll_back_if_confirmed(
    home: Path,
    report: MonitorReport,
    settings: AutomaticRollback,
    *,
    load: LoadStudent = load_safely,
    registry: SecretStr | None = None,
) -> RollbackNote | None:
    """Put the former model back where that is due, and say what was done.

    Parameters
    ----------
    home
        Root of all data at rest.
    report
        What was just found of the model of an environment.
    settings
        When it is due.
    load
        Loads a student of the former model to see whether it can be loaded.
    registry
        Address of the registry; None for the file below the home.

    Returns
    -------
    RollbackNote or None
        None where it is switched off.
    """
    if not settings.is_on:
        return None
    confirmed = _confirmed(report.alerts, settings)
    if not confirmed:
        return RollbackNote(outcome=RollbackOutcome.NOT_DUE, words=_why_not_due(report, settings))
    reason = "; ".join(in_words(alert) for alert in confirmed)
    with closing(registry_of(home, registry)) as opened:
        current = opened.deployments.current(report.environment)
    if current is None or current.former is None:
        words = f"no model stood in {report.environment} before this one; {reason}"
        return RollbackNote(outcome=RollbackOutcome.NO_FORMER, words=words)
    order = Order(actor=ACTOR, reason=reason, clock=lambda: report.at, load=load, registry=registry)
    try:
        done = rollback_environment(home, report.environment, order, instead_of=report.model_sha256)
    except (NotReadyError, RegistryError) as error:
        return RollbackNote(outcome=RollbackOutcome.REFUSED, words=str(error))
    return RollbackNote(
        outcome=RollbackOutcome.DONE,
        words=f"{done.run_id} stands in {report.environment} again; {reason}",
        deployment=done.number,
    )


def _confirmed(alerts: Sequence[Alert], settings: AutomaticRollback) -> list[Alert]:
    return [
        alert
        for alert in alerts
        if alert.name in settings.findings
        and alert.n_observations >= _FEWEST_OBSERVATIONS
        and alert.session_hours >= settings.confirmation_hours
    ]


def _why_not_due(report: MonitorReport, settings: AutomaticRollback) -> str:
    named = [alert for alert in report.alerts if alert.name in settings.findings]
    if not named:
        return f"none of {', '.join(settings.findings)} is degraded"
    held = ", ".join(
        f"{alert.name} {alert.session_hours:.2f} hours in {alert.n_observations}" for alert in named
    )
    return f"not confirmed over {settings.confirmation_hours:g} session hours: {held} observations"
