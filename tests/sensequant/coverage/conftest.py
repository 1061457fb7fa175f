"""Plain evidence for audits, by hand and at random."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from sensequant.coverage.evidence import (
    ASKED_SCHEMA,
    DISPUTED_SCHEMA,
    QUARANTINED_SCHEMA,
    STORED_SCHEMA,
    Evidence,
)
from sensequant.market.sessions import SessionCalendar, nse_calendar

AT = datetime(2024, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def calendar() -> SessionCalendar:
    """Return the NSE calendar."""
    return nse_calendar()


@pytest.fixture(scope="session")
def evidence_of() -> Callable[..., Evidence]:
    """Make evidence from rows: stored, quarantined, disputed, asked, listings; each may be left."""

    def evidence_of(
        *,
        stored: list[tuple[Any, ...]] | None = None,
        quarantined: list[tuple[Any, ...]] | None = None,
        disputed: list[tuple[Any, ...]] | None = None,
        asked: list[dict[str, Any]] | None = None,
        listings: list[tuple[Any, ...]] | None = None,
    ) -> Evidence:
        requests = [{**_REQUEST, **request} for request in asked or []]
        spells = pl.Schema(
            {
                "symbol": pl.String(),
                "kind": pl.String(),
                "start": pl.Date(),
                "end": pl.Date(),
                "evidence": pl.String(),
            }
        )
        return Evidence(
            stored=pl.DataFrame(stored or [], schema=STORED_SCHEMA, orient="row"),
            quarantined=pl.DataFrame(quarantined or [], schema=QUARANTINED_SCHEMA, orient="row"),
            disputed=pl.DataFrame(disputed or [], schema=DISPUTED_SCHEMA, orient="row"),
            asked=pl.DataFrame(requests, schema=ASKED_SCHEMA, orient="row"),
            listings=None
            if listings is None
            else pl.DataFrame(listings, schema=spells, orient="row"),
        )

    return evidence_of


_REQUEST: dict[str, Any] = {
    "symbol": "AAA",
    "interval": "1day",
    "start": None,
    "end": None,
    "asked_at": AT,
    "is_answered": True,
    "is_refused": False,
    "settled_through": date(2100, 1, 1),
    "missing_sessions": None,
    "n_duplicates_dropped": None,
    "evidence": "asked",
}
