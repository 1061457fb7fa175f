"""Keep what the option chains say while the session is open."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from sensequant.capture.options import OptionSnapshotRequest, why_no_snapshot
from sensequant.market.sessions import nse_calendar
from tasks.capture import look_at_options
from tasks.telling import say, utc_now

__all__ = ["snapshot_options"]


@flow(name="snapshot-options", flow_run_name="options")
def snapshot_options(asked: OptionSnapshotRequest = OptionSnapshotRequest()) -> State[Any]:
    """Ask for option chains and store them; outside the hours of a session it ends as Skipped.

    Args:
        asked: Underlyings, expiries, rates and vendor.
    """
    reason = why_no_snapshot(utc_now(), nse_calendar())
    if reason is not None:
        say("no snapshot of options", reason=reason)
        return Completed(name="Skipped", message=reason)
    report = look_at_options(asked)
    message = (
        f"{sum(report.n_contracts.values())} contracts on {len(report.n_contracts)} underlyings, "
        f"{report.n_volatilities} with a volatility"
    )
    return Completed(message=message, data=report)
