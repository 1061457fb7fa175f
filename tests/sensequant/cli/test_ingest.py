"""Facts about the words and the exit code at the end of a backfill and of a lookup.

The flows themselves are executed in the tests of flows.
"""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from blocks.environment import Environment, read_environment
from sensequant.cli import ingest as module
from sensequant.cli.flow_runs import FlowRun
from sensequant.cli.ingest import (
    backfill_facts,
    discovery_rows,
    start_backfill,
    start_discovery,
)
from sensequant.errors import ConfigError, SenseQuantError
from sensequant.ingestion.backfill import BackfillOutcome, BackfillReport, LeftToDo
from sensequant.ingestion.discoveries import DiscoveryRequest
from sensequant.ingestion.request import BackfillOptions, BackfillRequest
from sensequant.market.discovery import Discovery, Note, SymbolFinding, Unmapped

DAY = date(2024, 3, 4)


def report(**changes: Any) -> BackfillReport:
    """Return a report of a backfill of which nothing is left."""
    fields: dict[str, Any] = {
        "outcome": BackfillOutcome.COMPLETED,
        "n_planned": 5,
        "n_by_outcome": {"empty": 1, "stored": 4},
        "n_by_reason": {"no_data_at_source": 1},
        "n_by_finding": {"numbers_as_text": 2},
        "n_bars": 36,
        "n_added": 30,
        "n_changed": 6,
        "n_final_changed": 0,
        "n_quarantined": 1,
        "n_missing_sessions": 9,
        "n_missing_bars": 0,
        "n_pending_sessions": 2,
        "n_calls": 5,
        "n_calls_today": 7,
        "n_calls_left_today": 93,
        "n_sessions": 50,
        "n_sessions_covered": 5,
        "hit_rate_frac": 0.1,
        "n_left": 0,
        "left": (),
        "seconds": 1.5,
    }
    return BackfillReport.model_validate(fields | changes)


def finding(symbol: str, **changes: Any) -> SymbolFinding:
    fields: dict[str, Any] = {
        "symbol": symbol,
        "is_mapped": True,
        "reason": None,
        "stock_code": f"{symbol}C",
        "isin": "INE000A01001",
        "token": "1",
        "series": "EQ",
        "company_name": None,
        "renamed_to": None,
        "renamed_on": None,
        "notes": (),
        "evidence": "in the list",
    }
    return SymbolFinding.model_validate(fields | changes)


LOST = finding(
    "LOST", is_mapped=False, reason=Unmapped.NOT_IN_MASTER, stock_code=None, isin=None, token=None
)
ODD = finding("ODD", notes=(Note.TRADE_TO_TRADE, Note.ADDED))


def discovery(*findings: SymbolFinding, previous: date | None = None) -> Discovery:
    """Return what a list says of these symbols."""
    reasons = [each.reason for each in findings if each.reason is not None]
    return Discovery(
        as_of=DAY,
        master_as_of=DAY,
        master_sha256="ab" * 32,
        previous_as_of=previous,
        previous_sha256=None if previous is None else "cd" * 32,
        n_symbols=len(findings),
        n_mapped=sum(each.is_mapped for each in findings),
        n_by_reason={reason.value: reasons.count(reason) for reason in reasons},
        n_by_note={},
        n_changes={} if previous is None else {"added": 2},
        findings=findings,
    )


class Ended:
    """A flow run that ended with a value."""

    returned = FlowRun.returned

    def __init__(self, value: Any, error: SenseQuantError | None = None) -> None:
        self.value = value
        self.page = "http://pages/1"
        self._error = error

    def failure(self, *, where: str) -> SenseQuantError | None:
        """Return why it failed."""
        assert where
        return self._error


class Machine:
    """Stands for server and Prefect: keeps what is executed, and lets it end as it was told."""

    def __init__(self) -> None:
        self.ended = Ended(None)
        self.executed: list[tuple[str, dict[str, Any]]] = []

    def serve(self, env: Environment, *, is_verbose: bool) -> Environment:
        """Return the same environment."""
        assert not is_verbose
        return env

    def execute(self, entrypoint: str, _: Environment, **settings: Any) -> Ended:
        """Keep what is asked."""
        self.executed.append((entrypoint, settings))
        return self.ended


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return what stands in for server and flows."""
    double = Machine()
    monkeypatch.setattr(module, "serve", double.serve)
    monkeypatch.setattr(module, "execute_flow", double.execute)
    return double


def test_a_report_in_words() -> None:
    """Every count with its name; calls used and left; reasons and findings apart."""
    assert list(backfill_facts(report())) == [
        ("outcome", "completed"),
        ("chunks", "5 planned; 1 empty, 4 stored"),
        ("reason no_data_at_source", "1 chunks"),
        ("finding numbers_as_text", "2 chunks"),
        ("bars", "30 added, 6 changed, 36 delivered"),
        ("quarantined", "1 rows"),
        ("missing at the source", "9 sessions"),
        ("pending", "2 sessions"),
        ("no call needed", "5 of 50 sessions, 10.0%"),
        ("calls", "5; 7 today by all, 93 left"),
        ("left to do", "0 chunks"),
    ]


def test_a_source_without_calls_counts_none() -> None:
    """Files cost no call, and no share of calls was saved."""
    uncounted = {"n_calls_today": None, "n_calls_left_today": None, "hit_rate_frac": None}
    facts = dict(backfill_facts(report(n_by_outcome={}, n_calls=0, **uncounted)))
    assert facts["calls"] == "0; this source needs none that are counted"
    assert facts["chunks"] == "5 planned; none"
    assert "no call needed" not in facts


def test_what_is_left_is_listed_up_to_a_bound() -> None:
    """By symbol and interval, from when; the sum counts all."""
    left = [
        LeftToDo(symbol=f"S{n:02}", interval="5minute", n_chunks=2, start=DAY, end=DAY)
        for n in range(50)
    ]
    facts = list(backfill_facts(report(n_left=100, left=tuple(left))))
    assert ("left to do", "100 chunks") in facts
    listed = [fact for fact in facts if fact[0].startswith("left S")]
    assert listed[0] == ("left S00 5minute", "2 chunks from 2024-03-04")
    assert len(listed) == 40
    assert facts[-1] == ("left besides", "10 symbols and intervals")


@pytest.mark.parametrize(
    ("outcome", "code"),
    [("completed", 0), ("nothing_to_do", 0), ("degraded", 1), ("stopped", 1), ("failed", 1)],
)
def test_exit_code_tells_whether_anything_is_left(
    machine: Machine,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    outcome: str,
    code: int,
) -> None:
    """The report is printed all the same; the flow got a name of its own for this backfill."""
    machine.ended = Ended(report(outcome=BackfillOutcome(outcome)))
    request, options = BackfillRequest(symbols=("SIM01",)), BackfillOptions(force=True)
    env = read_environment(home=tmp_path)

    assert start_backfill(request, options, env, is_verbose=False) == code

    ((entrypoint, settings),) = machine.executed
    assert entrypoint == "flows.backfill_bars:backfill_bars"
    assert (settings["request"], settings["options"]) == (request, options)
    folder = tmp_path / "fetches" / "backfills" / settings["backfill_id"]
    assert settings["telemetry"] == folder / "telemetry.jsonl"
    told = capsys.readouterr().out
    assert told.startswith(f"backfill: {settings['backfill_id']}\noutcome: {outcome}\n")
    assert told.endswith(f"coverage: {folder / 'coverage.html'}\npage: http://pages/1\n")


@pytest.mark.parametrize("error", [ConfigError("universe is unknown"), None])
def test_a_flow_without_a_report_raises_its_error(
    machine: Machine, tmp_path: Path, error: SenseQuantError | None
) -> None:
    """Of the backfill and of the lookup alike."""
    machine.ended = Ended(None, error)
    env = read_environment(home=tmp_path)

    with pytest.raises(SenseQuantError, match=r"universe|returned nothing"):
        start_backfill(BackfillRequest(), BackfillOptions(), env, is_verbose=False)
    with pytest.raises(SenseQuantError, match=r"universe|found nothing"):
        start_discovery(DiscoveryRequest(), env, is_verbose=False)


def test_a_lookup_lists_first_what_has_no_code(
    machine: Machine, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It exits with 1 then; what changed since the last list follows."""
    machine.ended = Ended(discovery(ODD, LOST, previous=date(2024, 3, 1)))
    env = read_environment(home=tmp_path)

    assert start_discovery(DiscoveryRequest(), env, is_verbose=False) == 1

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["symbol", "LOST", "ODD"]
    assert lines[3:] == [
        "mapped: 1 of 2 symbols",
        "reason not_in_master: 1 symbols",
        "list: 2024-03-04, sha256 abababababab",
        "list before: 2024-03-01",
        "since then added: 2",
        "page: http://pages/1",
    ]


def test_a_lookup_that_finds_all_exits_with_0(
    machine: Machine, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The first list has none before it."""
    machine.ended = Ended(discovery(ODD))
    env = read_environment(home=tmp_path)

    assert start_discovery(DiscoveryRequest(), env, is_verbose=False) == 0
    assert "list before: none\n" in capsys.readouterr().out
    ((entrypoint, settings),) = machine.executed
    assert entrypoint == "flows.discover_symbols:discover_symbols"
    assert (settings["telemetry"], settings["request"]) == (None, DiscoveryRequest())


def test_findings_are_rows(
    machine: Machine, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What is not there is told as none; the table ends where a screen does, and says so."""
    many = discovery(*(finding(f"S{n:02}") for n in range(50)), LOST, ODD)

    header, rows = discovery_rows(many)

    assert header == ["symbol", "code", "isin", "reason", "notes", "evidence"]
    assert rows[0] == ["LOST", "none", "none", "not_in_master", "", "in the list"]
    assert rows[1] == ["ODD", "ODDC", "INE000A01001", "", "trade_to_trade, added", "in the list"]
    assert len(rows) == 40
    machine.ended = Ended(many)
    assert start_discovery(DiscoveryRequest(), read_environment(home=tmp_path), is_verbose=False)
    assert capsys.readouterr().out.splitlines()[41] == "and 12 more"
