"""Facts about schedules that are on and plan nothing."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from blocks.schedules import unplanned

AN_HOUR, SECONDS = timedelta(hours=1), timedelta(seconds=10)


class Server:
    """Answers what a client asks for: one deployment, and how many runs are planned for it."""

    def __init__(
        self, *, is_on: bool, changed_before: timedelta, n_planned: int, is_paused: bool
    ) -> None:
        self._changed_before = changed_before
        self._schedule = SimpleNamespace(active=is_on, updated=None)
        self._deployment = SimpleNamespace(
            id="00000000-0000-0000-0000-000000000001",
            name="retrain-pilot",
            paused=is_paused,
            schedules=[self._schedule],
        )
        self._n_planned = n_planned

    def read_deployments(self) -> list[Any]:
        """Return the deployment, changed some time before it is asked for."""
        self._schedule.updated = datetime.now(UTC) - self._changed_before
        return [self._deployment]

    def read_flow_runs(self, **filters: Any) -> list[Any]:
        """Return what is planned, asked for by state and deployment."""
        assert filters["flow_run_filter"].state.type.any_ == ["SCHEDULED"]
        assert str(filters["deployment_filter"].id.any_[0]) == self._deployment.id
        return [object()] * self._n_planned


@pytest.mark.parametrize(
    ("server", "names"),
    [
        (
            Server(is_on=True, changed_before=AN_HOUR, n_planned=0, is_paused=False),
            ["retrain-pilot"],
        ),
        (Server(is_on=True, changed_before=AN_HOUR, n_planned=1, is_paused=False), []),
        (Server(is_on=True, changed_before=SECONDS, n_planned=0, is_paused=False), []),
        (Server(is_on=False, changed_before=AN_HOUR, n_planned=0, is_paused=False), []),
        (Server(is_on=True, changed_before=AN_HOUR, n_planned=0, is_paused=True), []),
    ],
    ids=["silent", "planned", "on for seconds", "off", "paused"],
)
def test_a_schedule_that_plans_nothing_is_named(server: Server, names: list[str]) -> None:
    """Where it is on, and has been for longer than the scheduler takes."""
    assert unplanned(cast("Any", server)) == names
