"""What is found of a deployed model, on a terminal.

Belongs here: the words of the answer. Does not belong here: the findings (`stages.monitoring`).
"""

from datetime import UTC, datetime

from rich.console import Console

from blocks.environment import Environment
from sensequant.cli.asking import build_model, nested_settings
from sensequant.cli.output import print_facts, print_table
from sensequant.release.deployment_records import EnvironmentName
from sensequant.release.monitoring import Alert, Health, MonitorLimits
from sensequant.stages.monitoring import monitor

__all__ = ["show_health"]


def show_health(
    console: Console,
    env: Environment,
    environment: str,
    settings: tuple[str, ...],
    *,
    is_json: bool,
) -> int:
    """Look at the model of an environment, print every finding, and return the exit code.

    Raises
    ------
    ConfigError
        Nothing is deployed there, or a limit is not one.
    """
    limits = build_model(MonitorLimits, nested_settings(settings), where="limits")
    report = monitor(
        env.home,
        EnvironmentName(environment),
        limits,
        at=datetime.now(UTC),
        registry=env.registry_url,
    )
    if is_json:
        console.out(report.model_dump_json(indent=2))
    else:
        rows = [[each.name, each.health, each.expected, each.found] for each in report.findings]
        print_table(console, ["finding", "health", "expected", "found"], rows)
        facts = [
            ("run", report.run_id),
            ("model", report.model_sha256),
            ("deployed", f"{report.deployed_at:%Y-%m-%d %H:%M} UTC"),
            ("health", report.health.value),
        ]
        facts += [(f"alert {each.name}", _alert(each)) for each in report.alerts]
        if report.rollback is not None:
            note = report.rollback
            facts.append(("automatic rollback", f"{note.outcome}: {note.words}"))
        if report.is_simulated:
            facts.append(("bars", "simulated: no figure tells anything about a real market"))
        print_facts(console, facts)
    return 1 if report.health is Health.DEGRADED else 0


def _alert(alert: Alert) -> str:
    return (
        f"since {alert.since:%Y-%m-%d %H:%M} UTC, in {alert.n_observations} observations over "
        f"{alert.session_hours:.2f} session hours"
    )
