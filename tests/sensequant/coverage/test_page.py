"""Page, record and tables of an audit: complete, self-contained, honest about nothing."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sensequant.coverage.audit import CoverageAudit, audit_coverage
from sensequant.coverage.evidence import AsOf, Evidence
from sensequant.coverage.expected import Scope
from sensequant.coverage.files import CoverageFiles, write_coverage
from sensequant.coverage.heatmap import LETTERS, NAMES, heat_map_of
from sensequant.coverage.page import build_page
from sensequant.coverage.states import MEANINGS, REASON_WORDS, REMEDIES, SEVERITY, Reason, State
from sensequant.coverage.summary import CoverageSummary, Heading, summary_of
from sensequant.market.sessions import nse_calendar
from sensequant.storage import read_json, read_table

EvidenceOf = Callable[..., Evidence]
START, END = date(2024, 1, 1), date(2024, 3, 31)
AS_OF = AsOf(END, date(2024, 3, 22))
HEADING = Heading(
    "two shares", "breeze", is_simulated=False, audited_at=datetime(2024, 4, 1, tzinfo=UTC)
)
SESSIONS = nse_calendar().sessions(START, END)
VOID = {"wbr", "meta", "br", "hr", "img", "link", "input"}


class Walker(HTMLParser):
    """Checks that tags are balanced and notes addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.problems: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what is open; addresses must not point anywhere."""
        found = dict(attrs)
        self.ids += [found["id"] or ""] if "id" in found else []
        self.problems += [name for name in ("src", "href") if name in found]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost open element, which must be this one."""
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> closes nothing")


def audit_of(
    evidence: Evidence, *symbols: str, intervals: tuple[Any, ...] = ("1day",), as_of: AsOf = AS_OF
) -> CoverageAudit:
    scope = Scope(symbols, intervals, START, END)
    return audit_coverage(scope, evidence, as_of=as_of, calendar=nse_calendar())


def page_of(audit: CoverageAudit, heading: Heading = HEADING) -> str:
    page = build_page(audit, summary_of(audit, heading))
    walker = Walker()
    walker.feed(page)
    assert walker.problems == []
    assert walker.open == []
    assert len(set(walker.ids)) == len(walker.ids)
    assert not re.search(r"https?:|@import|url\(", page)
    return page


@pytest.fixture
def mixed(evidence_of: EvidenceOf) -> CoverageAudit:
    """Return an audit in which every state occurs, for AAA; BBB is complete."""
    days = SESSIONS[5:]
    stored = [
        ("AAA", "1day", day, 1, 1) for day in days if day.month != 2 and day < date(2024, 3, 20)
    ]
    stored += [("AAA", "1day", date(2024, 3, 20), 1, 0)]
    stored += [("BBB", "1day", day, 1, 1) for day in SESSIONS]
    stored += [("AAA", "5minute", day, 70, 70) for day in SESSIONS[:3]]
    stored += [("BBB", "5minute", day, 75, 75) for day in SESSIONS if day != date(2024, 3, 2)]
    return audit_of(
        evidence_of(
            stored=stored,
            quarantined=[("AAA", "1day", date(2024, 2, 1), 2, "high_below_low")],
            disputed=[("AAA", "1day", date(2024, 1, 15), "close 1 against 2")],
            asked=[{"start": date(2024, 2, 1), "end": date(2024, 2, 29), "evidence": "asked <b>"}],
            listings=[("AAA", "listed", date(2024, 1, 5), None, "NSE")],
        ),
        "AAA",
        "BBB",
        intervals=("1day", "5minute"),
    )


def test_every_word_is_defined() -> None:
    """Each state has a name, a letter and a meaning, each reason words and a remedy."""
    assert set(SEVERITY) == set(MEANINGS) == set(NAMES) == set(LETTERS) == set(State)
    assert set(REASON_WORDS) == set(REMEDIES) == set(Reason)
    letters = [letter for letter in LETTERS.values() if letter]
    assert len(set(letters)) == len(letters)


def test_a_cell_shows_share_and_worst_state(mixed: CoverageAudit) -> None:
    """February lacks all but a refused row, January a part, March waits; numbers are exact."""
    first, second = heat_map_of(mixed.months, mixed.symbols, interval="1day").rows

    assert [cell.kind for cell in first.cells] == ["missing_local", "quarantined", "missing_local"]
    assert [cell.letter for cell in first.cells] == ["M", "Q", "M"]
    assert first.cells[1].number == "0"
    assert first.cells[1].shown is None
    assert "0 of 21 sessions ok, 1 quarantined, 20 source has none" in first.cells[1].tip
    assert [cell.kind for cell in second.cells] == ["ok"] * 3
    assert second.cells[0].tip.startswith("BBB 2024-01: 22 of 22 sessions ok")


@pytest.mark.parametrize(
    ("n_ok", "shown", "number"),
    [(0, None, "0"), (1, 12, "4"), (11, 50, "50"), (21, 75, "95"), (22, None, "100")],
)
def test_what_lacks_is_always_seen(
    evidence_of: EvidenceOf, n_ok: int, shown: int | None, number: str
) -> None:
    """January 2024 had 22 sessions; at least an eighth and at most three quarters are drawn ok."""
    stored = [("AAA", "1day", day, 1, 1) for day in SESSIONS[:n_ok]]
    audit = audit_of(evidence_of(stored=stored), "AAA")
    cell = heat_map_of(audit.months, audit.symbols, interval="1day").rows[0].cells[0]

    assert (cell.shown, cell.number) == (shown, number)


def test_months_without_anything_expected_are_hatched(evidence_of: EvidenceOf) -> None:
    """A bar in such a month is marked; a month without a row is told as well."""
    listings = [("AAA", "listed", date(2024, 3, 1), None, "NSE")]
    stored = [("AAA", "1day", date(2024, 2, 5), 1, 1)]
    audit = audit_of(evidence_of(stored=stored, listings=listings), "AAA")
    january, february, _ = heat_map_of(audit.months, audit.symbols, interval="1day").rows[0].cells
    without_january = audit.months.filter(
        (pl.col("month") != date(2024, 1, 1)) | (pl.col("symbol") != "AAA")
    )

    assert (january.kind, january.letter, january.tip) == (
        "none",
        "",
        "AAA 2024-01: nothing expected",
    )
    assert (february.letter, february.number) == ("!", "")
    assert "1 bars nevertheless" in february.tip
    gap = without_january.with_columns(month=pl.lit(date(2023, 12, 1)))
    padded = heat_map_of(pl.concat([without_january, gap]), audit.symbols, interval="1day")
    assert padded.rows[0].cells[1].tip == "AAA 2024-01: no session"
    assert padded.years == ((2023, 1), (2024, 3))


def test_the_page_tells_all(mixed: CoverageAudit) -> None:
    """States, reasons, evidence, remedies and commands stand on it, escaped."""
    page = page_of(mixed)

    for text in (
        "missing here (M)",
        "source has none (S)",
        "no request covers it",
        "asked &lt;b&gt;",
    ):
        assert text in page
    assert "<code>sensequant ingest --symbols AAA --interval 1day --start 2024-01-05" in page
    assert page.count("<table") == 4
    assert "SIMULATED" not in page
    assert 'data-status="partial"' in page
    assert "2 symbols, " in page


def test_a_simulated_market_is_named_as_such(mixed: CoverageAudit) -> None:
    """Banner and title say so."""
    heading = Heading("two", "simulated", is_simulated=True, audited_at=HEADING.audited_at)

    assert page_of(mixed, heading).count("SIMULATED") == 2


def test_equal_audits_give_equal_bytes(mixed: CoverageAudit) -> None:
    """Nothing but the heading and the findings enters the page."""
    assert page_of(mixed) == page_of(mixed)


def test_nothing_is_told_as_nothing(evidence_of: EvidenceOf) -> None:
    """No symbol, no session, and a complete audit each say what they are; no fraction is made."""
    empty = page_of(audit_of(evidence_of()))
    future = page_of(audit_of(evidence_of(), "AAA", as_of=AsOf(None, None)))
    stored = [("AAA", "1day", day, 1, 1) for day in SESSIONS]
    whole = page_of(audit_of(evidence_of(stored=stored), "AAA"))

    assert "Nothing was audited" in empty
    assert "0.0%" not in empty
    assert "100.0%" not in empty
    assert "No session is expected in this range" in future
    assert "No session of this interval lies" in future
    assert "nothing is missing" in future
    assert "every expected session is ok" in whole
    assert "1 symbol, 100.0% of" in whole


def test_nearly_complete_does_not_read_as_complete(evidence_of: EvidenceOf) -> None:
    """One lacking session of very many is still seen in the figure."""
    names = [f"S{number:02d}" for number in range(40)]
    stored = [(name, "1day", day, 1, 1) for name in names for day in SESSIONS][:-1]
    page = page_of(audit_of(evidence_of(stored=stored), *names))

    assert "&gt; 99.9%" in page


def test_symbols_that_lack_the_same_stand_together(evidence_of: EvidenceOf) -> None:
    """A session that nobody has is one row, with the first names and the others folded."""
    names = [f"S{number:02d}" for number in range(9)]
    lost = SESSIONS[7]
    stored = [(name, "1day", day, 1, 1) for name in names for day in SESSIONS if day != lost]
    page = page_of(audit_of(evidence_of(stored=stored), *names))

    assert "S00, S01, S02, S03<details><summary>and others</summary>S04, S05" in page
    assert page.count(f">{lost}<") == 1


def test_a_long_list_begins_closed(mixed: CoverageAudit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first rows are open, the others one click away."""
    rows = page_of(mixed).count('<th scope="row" class="whole">')
    monkeypatch.setattr("sensequant.coverage.page._MAX_OPEN_GAPS", 2)
    page = page_of(mixed)

    assert f"<summary>{rows - 2} further runs</summary>" in page
    assert page.count('<th scope="row" class="whole">') == rows


def test_the_list_of_runs_is_cut(mixed: CoverageAudit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows beyond the limit are counted; they stand in the table beside the page."""
    monkeypatch.setattr("sensequant.coverage.page.MAX_GAPS", 1)

    assert re.search(r"\d+ further runs are not shown", page_of(mixed))


def test_files_hold_what_the_audit_found(mixed: CoverageAudit, tmp_path: Path) -> None:
    """Page, record and both tables; written again they are the same bytes."""
    files = write_coverage(tmp_path / "coverage", mixed, HEADING)
    before = {path: path.read_bytes() for path in (tmp_path / "coverage").iterdir()}
    write_coverage(tmp_path / "coverage", mixed, HEADING)

    assert isinstance(files, CoverageFiles)
    assert {path.name for path in before} == {
        "coverage.html",
        "coverage.json",
        "coverage.parquet",
        "coverage_sessions.parquet",
    }
    assert before == {path: path.read_bytes() for path in (tmp_path / "coverage").iterdir()}
    assert CoverageSummary.model_validate(read_json(files.record)) == files.summary
    assert read_table(files.months).equals(mixed.months)
    lacking = read_table(files.sessions)
    assert lacking.height == mixed.sessions.filter(pl.col("state") != "ok").height
    assert lacking["state"].null_count() == 0


def test_absence_at_the_source_is_a_finding_with_evidence(mixed: CoverageAudit) -> None:
    """It names symbol, range, number of sessions and what proves it; reasons are counted."""
    summary = summary_of(mixed, HEADING)
    finding = summary.findings[0]

    assert (finding.code, finding.symbol, finding.interval) == ("data_unavailable", "AAA", "1day")
    assert (finding.first, finding.last, finding.n_sessions) == (
        date(2024, 2, 2),
        date(2024, 2, 29),
        20,
    )
    assert finding.evidence == "asked <b>"
    first = summary.symbols[0]
    assert first.reasons["not_delivered"] == 20
    assert first.status == "partial"
    assert summary.total.interval is None
    assert [one.interval for one in summary.intervals] == ["1day", "5minute"]
    assert summary.total.n_symbols == 4


def test_what_was_lost_is_fetched_by_force(evidence_of: EvidenceOf) -> None:
    """The ledger would take a lost session for done; never-asked ones need no force."""
    asked: list[dict[str, Any]] = [{"end": date(2024, 1, 31), "missing_sessions": []}]
    summary = summary_of(audit_of(evidence_of(asked=asked), "AAA"), HEADING)

    begin = "sensequant ingest --symbols AAA --interval 1day --start"
    assert summary.commands == (
        f"{begin} 2024-01-01 --end 2024-01-31 --force",
        f"{begin} 2024-02-01 --end 2024-03-22",
    )
