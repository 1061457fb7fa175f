"""Bars of the session that has just closed: what a daily schedule starts."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from flows.backfill_bars import backfill_bars
from sensequant.market.sessions import nse_calendar, session_date_of
from sensequant.recent import DailyIngestion, why_not_today
from tasks.telling import say

__all__ = ["daily_ingestion"]


def _name_run() -> str:
    asked = DailyIngestion.model_validate(flow_run.get_parameters()["asked"])
    day = session_date_of(flow_run.get_scheduled_start_time())
    return f"{asked.title} · {', '.join(asked.intervals)} · {day} · {asked.source.kind}"


@flow(name="daily-ingestion", flow_run_name=_name_run)
def daily_ingestion(asked: DailyIngestion = DailyIngestion()) -> State[Any]:
    """Bring bars up to date after the close; on a day without a session it ends as Skipped.

    The day is that of the scheduled time, so a late or retried run fetches the same session.

    Args:
        asked: Symbols, intervals and source.
    """
    scheduled = flow_run.get_scheduled_start_time()
    reason = why_not_today(scheduled, nse_calendar())
    if reason is not None:
        say("nothing to ingest", reason=reason)
        return Completed(name="Skipped", message=reason)
    # Its body, not a run of its own: the chunks stand on this run's page, where Retry is.
    return backfill_bars.fn(request=asked.request_at(scheduled), options=asked.options)
