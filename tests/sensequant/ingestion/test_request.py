"""Facts about what a person may ask of a backfill."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sensequant.ingestion.request import BackfillOptions, BackfillRequest
from sensequant.market.sessions import nse_calendar
from sensequant.market.sources.build import SourceConfig


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"start": "2024-03-02", "end": "2024-03-01"}, "upside down"),
        ({"intervals": ["1day", "1day"]}, "named twice"),
        ({"intervals": ["2minute"]}, "'1day', '30minute', '5minute' or '1minute'"),
        ({"intervals": []}, "at least 1 item"),
        ({"symbols": ["TCS"], "universe": "pilot"}, "more than one way"),
        ({"symbols": ["tcs"]}, "no symbol"),
        ({"source": {"kind": "nowhere"}}, "kind"),
        ({"period": "1y"}, "not permitted"),
    ],
)
def test_wrong_requests_are_refused(fields: dict[str, Any], message: str) -> None:
    """Each says what is wrong and what would be right."""
    with pytest.raises(ValidationError, match=message):
        BackfillRequest.model_validate(fields)


def test_one_session_and_holidays_are_ranges() -> None:
    """Whether there is anything to do on them is not a question of the request."""
    for day in (date(2024, 6, 7), date(2024, 6, 8)):
        assert BackfillRequest(start=day, end=day).start == day


def test_an_end_that_is_not_named_is_the_last_close() -> None:
    """A named one stays, whatever the time."""
    during = datetime(2024, 6, 12, 6, 0, tzinfo=UTC)

    assert BackfillRequest().last_session(nse_calendar(), during) == date(2024, 6, 11)
    named = BackfillRequest(end=date(2024, 6, 30))
    assert named.last_session(nse_calendar(), during) == date(2024, 6, 30)


def test_force_and_incremental_exclude_each_other() -> None:
    """One fetches the whole range again, the other only its end."""
    with pytest.raises(ValidationError, match="contradict"):
        BackfillOptions(force=True, incremental=True)


@pytest.mark.parametrize("workers", [0, 65])
def test_workers_are_bounded(workers: int) -> None:
    """None do nothing, and too many only wait."""
    with pytest.raises(ValidationError):
        BackfillOptions(workers=workers)


@pytest.mark.parametrize("model", [BackfillRequest, BackfillOptions])
def test_every_field_is_described_for_the_form(
    model: type[BackfillRequest] | type[BackfillOptions],
) -> None:
    """Prefect shows the description beside the field."""
    assert all(field.description for field in model.model_fields.values())


def test_a_resolved_request_names_its_symbols(tmp_path: Path) -> None:
    """The ledger keeps what was meant, not the name of a file."""
    (tmp_path / "few.txt").write_text("TCS\nINFY # a comment\n")
    resolved = BackfillRequest(symbols_file=tmp_path / "few.txt").resolved()

    assert (resolved.symbols, resolved.symbols_file) == (("TCS", "INFY"), None)


def test_a_source_is_not_compared_with_itself() -> None:
    """Equal bars would say nothing."""
    with pytest.raises(ValidationError, match="compared with itself"):
        BackfillRequest(source=SourceConfig(kind="breeze"), compare_with="breeze")
    asked = BackfillRequest(source=SourceConfig(kind="breeze"), compare_with="files")
    assert asked.compare_with == "files"
