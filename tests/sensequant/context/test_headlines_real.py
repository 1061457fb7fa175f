"""Seven thousand real headlines of a hundred companies: read, scored, in time."""

import time
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from sensequant.context.headline_files import import_headlines
from sensequant.context.headlines import HEADLINES
from sensequant.context.hours import session_of
from sensequant.context.sessions import context_of_sessions
from sensequant.context.store import ContextStore
from sensequant.features.spec import Family
from sensequant.market.sessions import nse_calendar

pytestmark = pytest.mark.real_data


def test_real_headlines_become_sessions(real_data: Path, tmp_path: Path) -> None:
    """All but the doubled ones are kept; none counts on its own day, because none has a time."""
    store = ContextStore(tmp_path, is_simulated=False)
    began = time.process_time()

    report = import_headlines(
        store, real_data / "news" / "headlines", imported_at=datetime(2026, 11, 1, tzinfo=UTC)
    )
    sessions = context_of_sessions(
        store, [Family.SENTIMENT], symbols=store.symbols(HEADLINES), calendar=nse_calendar()
    )[Family.SENTIMENT]
    seconds = time.process_time() - began

    assert report.counts.n_added + report.refused.height == 7_620
    assert set(report.refused["reason"]) == {"duplicate"}
    assert len(report.symbols) == 100
    rows = pl.concat(store.read(HEADLINES, symbol) for symbol in report.symbols)
    assert not rows["has_time"].any()
    assert sessions["n_headlines"].sum() == rows.height
    assert sessions["mean"].is_between(-1, 1).all()
    assert sessions["mean"].n_unique() > 500
    first = sessions.group_by("symbol").agg(pl.col("session").min())
    published = rows.group_by("symbol").agg(day=session_of("at").min())
    both = first.join(published, on="symbol")
    assert (both["session"] > both["day"]).all()
    # Five seconds are the promise on an idle processor.
    assert seconds < 15
