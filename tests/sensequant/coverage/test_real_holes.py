"""Known holes of real data: ingested, written down, found again by the audit."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from sensequant.coverage.audit import CoverageAudit, audit_coverage
from sensequant.coverage.collect import collect_evidence
from sensequant.coverage.evidence import as_of_at
from sensequant.coverage.expected import Scope
from sensequant.ingestion.chunks import ingest_chunk
from sensequant.ingestion.context import IngestContext
from sensequant.ingestion.ledger import Ledger
from sensequant.market.listings import LISTING_SCHEMA
from sensequant.market.sessions import SessionCalendar, nse_calendar
from sensequant.market.sources.base import Chunk
from sensequant.market.sources.files.source import FilesSource
from sensequant.market.store import BarStore

pytestmark = pytest.mark.real_data

NOW = datetime(2026, 9, 1, tzinfo=UTC)
Audited = Callable[..., CoverageAudit]


@pytest.fixture
def audited(tmp_path: Path, real_data: Path) -> Audited:
    """Ingest one symbol of a set and audit a range of it: set, symbol, start, end, listings."""

    def audited(
        name: str, symbol: str, start: date, end: date, listings: pl.DataFrame | None = None
    ) -> CoverageAudit:
        calendar = nse_calendar()
        ledger = Ledger.open(tmp_path / "ledger.db")
        context = IngestContext(
            source=FilesSource(real_data / name),
            store=BarStore(tmp_path / "store"),
            ledger=ledger,
            store_key=".",
            claims=tmp_path / "claims",
            calendar=calendar,
            clock=lambda: NOW,
        )
        ingest_chunk(Chunk(symbol), context)
        settled = as_of_at(NOW, calendar, settled_through=None).closed_through
        scope = Scope((symbol,), ("1day",), start, end)
        evidence = collect_evidence(
            context.store,
            ledger.entries("."),
            scope,
            settled_at=lambda _: settled,
            listings=listings,
        )
        ledger.close()
        as_of = as_of_at(NOW, calendar, settled_through=settled)
        return audit_coverage(scope, evidence, as_of=as_of, calendar=calendar)

    return audited


def gaps(audit: CoverageAudit) -> list[tuple[str, date, date]]:
    return audit.gaps.select("state", "first", "last").rows()


def test_the_hole_of_maruti(audited: Audited, calendar: SessionCalendar) -> None:
    """NSEpy lacks MARUTI from 2013-12-27 to 2014-05-06: one run, missing at the source."""
    audit = audited("daily_nsepy_2000_2020", "MARUTI", date(2013, 1, 1), date(2014, 12, 31))
    sessions = calendar.sessions(date(2013, 12, 27), date(2014, 5, 6))

    assert gaps(audit) == [("missing_at_source", date(2013, 12, 27), date(2014, 5, 6))]
    assert audit.gaps["n_sessions"].to_list() == [len(sessions)]
    assert audit.symbols["status"].to_list() == ["partial"]
    assert audit.gaps["evidence"][0].startswith("asked files on 2026-09-01")
    whole = len(calendar.sessions(date(2013, 1, 1), date(2014, 12, 31)))
    assert audit.total["coverage_frac"].item() == (whole - len(sessions)) / whole


def test_before_its_listing_maruti_is_not_expected(audited: Audited) -> None:
    """Listed on 2003-07-09; without that knowledge the years before are missing at the source."""
    start, end = date(2003, 1, 1), date(2003, 12, 31)
    spell = ("MARUTI", "listed", date(2003, 7, 9), None, "NSE")
    listings = pl.DataFrame([spell], schema=LISTING_SCHEMA, orient="row")
    known = audited("daily_nsepy_2000_2020", "MARUTI", start, end, listings)
    unknown = audited("daily_nsepy_2000_2020", "MARUTI", start, end)

    assert gaps(known) == []
    assert known.symbols["status"].to_list() == ["ok"]
    assert gaps(unknown) == [("missing_at_source", date(2003, 1, 1), date(2003, 7, 8))]


def test_trade_to_trade_leaves_206_sessions_of_adanipower(audited: Audited) -> None:
    """The security-wise set lacks series BE; the spell stands as evidence beside the absence."""
    start, end = date(2020, 1, 1), date(2026, 4, 6)
    spell = ("ADANIPOWER", "trade_to_trade", start, end, "series BE")
    listings = pl.DataFrame([spell], schema=LISTING_SCHEMA, orient="row")
    audit = audited("daily_secwise_2020_2026", "ADANIPOWER", start, end, listings)

    assert audit.total["n_missing_at_source"].item() == 206
    assert audit.total["n_missing_local"].item() == 0
    assert all("series BE" in evidence for evidence in audit.gaps["evidence"])


def test_the_sessions_that_the_bhavcopy_set_lacks(audited: Audited) -> None:
    """September 2019, the Muhurat hour of 2021 and one Monday of 2022."""
    audit = audited("daily_bhavcopy_2019_2026", "RELIANCE", date(2019, 8, 23), date(2022, 12, 31))

    assert gaps(audit) == [
        ("missing_at_source", date(2019, 8, 26), date(2019, 9, 30)),
        ("missing_at_source", date(2021, 11, 4), date(2021, 11, 4)),
        ("missing_at_source", date(2022, 8, 8), date(2022, 8, 8)),
    ]


def test_after_the_last_row_the_set_settles_nothing(audited: Audited) -> None:
    """The set ends on 2026-08-21: later sessions may be in a newer one."""
    audit = audited("daily_bhavcopy_2019_2026", "RELIANCE", date(2026, 8, 17), date(2026, 8, 31))

    assert audit.gaps.select("state", "reason", "first").rows() == [
        ("missing_local", "asked_too_early", date(2026, 8, 24))
    ]
