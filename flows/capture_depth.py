"""Capture the order books of a running session, from the open to the close."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from sensequant.capture.request import DepthCaptureRequest, why_no_capture
from sensequant.market.sessions import nse_calendar, session_date_of
from tasks.capture import listen_to_depth
from tasks.telling import say, utc_now

__all__ = ["capture_depth"]


def _name_run() -> str:
    asked = DepthCaptureRequest.model_validate(flow_run.get_parameters()["asked"])
    day = session_date_of(flow_run.get_scheduled_start_time())
    return f"depth of {asked.title} · {day} · {asked.source.kind}"


@flow(name="capture-depth", flow_run_name=_name_run)
def capture_depth(asked: DepthCaptureRequest = DepthCaptureRequest()) -> State[Any]:
    """Listen to the vendor's order books; on a day without a session it ends as Skipped.

    Started before the open, it waits. Started again after a kill, it goes on, and what was missed
    is a gap.

    Args:
        asked: Symbols, vendor, and how long.
    """
    reason = why_no_capture(utc_now(), nse_calendar())
    if reason is not None:
        say("nothing to capture", reason=reason)
        return Completed(name="Skipped", message=reason)
    report = listen_to_depth(asked)
    message = (
        f"{report.n_ticks} ticks of {len(report.symbols)} symbols, {report.n_stored} books stored, "
        f"{sum(report.n_refused.values())} refused, {sum(report.n_gaps.values())} gaps"
    )
    if report.stopped_by is not None:
        return Failed(name="Stopped", message=f"{report.stopped_by}; {message}", data=report)
    return Completed(message=message, data=report)
