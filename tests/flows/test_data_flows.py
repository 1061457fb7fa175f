"""Facts about the flows that look: the audit of what is stored, the vendor's names of symbols.

And about the commands that start flows about bars, from the first word to the exit code.
"""

import json
import os
from collections.abc import Callable, Generator
from datetime import date
from pathlib import Path
from typing import Any, cast

import pytest
from prefect.client.schemas.objects import State
from pydantic import ValidationError

from blocks.environment import Environment
from flows.audit_coverage import audit_coverage
from flows.discover_symbols import discover_symbols
from flows.import_context import import_context
from sensequant.breeze_simulator.faults import parse_fault
from sensequant.breeze_simulator.server import BreezeSimulator
from sensequant.cli.app import main
from sensequant.coverage.summary import CoverageSummary
from sensequant.errors import ConfigError
from sensequant.ingestion import opening
from sensequant.ingestion.context_imports import ContextImport
from sensequant.ingestion.discoveries import DiscoveryRequest
from sensequant.ingestion.places import store_at, store_key
from sensequant.ingestion.request import BackfillRequest
from sensequant.ingestion.simulators import simulator_file
from sensequant.market.discovery import Discovery
from sensequant.market.sources.build import SourceConfig, SourceKind
from sensequant.storage import read_json
from tasks import sources
from tasks.sources import close_intakes

Ask = Callable[..., list[dict[str, Any]]]
Eventually = Callable[[Callable[[], Any]], Any]

RANGE: dict[str, Any] = {"start": date(2024, 3, 4), "end": date(2024, 3, 15)}
WORDS = ["--source", "breeze-simulator", "--start", "2024-03-04", "--end", "2024-03-07"]


def execute(flow: Any, request: Any) -> State[Any]:
    # The decorator types `return_state` away where the flow itself returns a state.
    return cast("Callable[..., State[Any]]", flow)(request, return_state=True)


def table(ask: Ask, state: State[Any], key: str) -> tuple[list[dict[str, str]], str] | None:
    flow_run_id = str(state.state_details.flow_run_id)
    kept = ask(
        "artifacts", artifacts={"flow_run_id": {"any_": [flow_run_id]}, "key": {"any_": [key]}}
    )
    return (json.loads(kept[0]["data"]), kept[0]["description"]) if kept else None


def name_of(ask: Ask, state: State[Any]) -> str:
    flow_run_id = str(state.state_details.flow_run_id)
    (run,) = ask("flow_runs", flow_runs={"id": {"any_": [flow_run_id]}})
    return run["name"]


@pytest.mark.parametrize("kind", ["breeze", "breeze-simulator"])
def test_an_audit_asks_no_source_anything(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    ask: Ask,
    eventually: Eventually,
    kind: SourceKind,
) -> None:
    """No login is looked for and no simulator is started; the page tells what is not here."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("asked")

    monkeypatch.setattr(opening, "BreezeSimulator", refuse)
    monkeypatch.setattr(sources, "breeze_login", refuse)
    request = BackfillRequest(symbols=("SIM01",), source=SourceConfig(kind=kind), **RANGE)

    state = execute(audit_coverage, request)

    assert state.name == "Completed"
    summary = state.result()
    assert isinstance(summary, CoverageSummary)
    assert (summary.total.n_missing_local, summary.total.n_ok) == (9, 0)
    page = home / "coverage" / str(state.state_details.flow_run_id) / "coverage.html"
    assert state.message == f"page: {page}"
    assert page.is_file()
    rows, description = eventually(lambda: table(ask, state, "coverage"))
    assert [(row["symbol"], row["status"]) for row in rows] == [("SIM01", "missing_local")]
    assert str(page) in description
    assert name_of(ask, state) == f"coverage of SIM01 · 1day · {kind}"


CONTEXT_FILES = {
    "depth": ("timestamp,bbq1,bbp1,bsq1,bsp1", "2024-01-01 09:20:00,1,99,1,101", "soon,1,1,1,1"),
    "sentiment": ("date,headline", "2024-01-01,Profit rises", "soon,Profit rises"),
    "macro": ("date,value,series", "2024-01-01,83.2,USDINR", "soon,83.2,USDINR"),
}


@pytest.mark.parametrize("kind", sorted(CONTEXT_FILES))
def test_an_import_of_context_shows_what_became_of_its_rows(
    home: Path, tmp_path: Path, ask: Ask, eventually: Eventually, kind: Any
) -> None:
    """The state says how many rows were kept; the page counts refused rows by reason."""
    assert home
    path = tmp_path / "AAA.csv"
    path.write_text("\n".join(CONTEXT_FILES[kind]))
    asked = ContextImport(kind=kind, path=path)

    state = execute(import_context, asked)

    words = "1 added, 0 corrected, 0 known already, 1 refused"
    assert (state.name, state.message) == ("Completed", words)
    assert state.result().reasons == {"unreadable_time": 1}
    counts, _ = eventually(lambda: table(ask, state, "context-import"))
    assert {row["figure"]: row["value"] for row in counts}["n_added"] == "1"
    refused, _ = eventually(lambda: table(ask, state, "context-refused"))
    assert refused[0]["reason"] == "unreadable_time"
    assert "AAA.csv" in refused[0]["for example"]
    assert name_of(ask, state) == f"import {kind} · {path}"


def test_an_import_of_nothing_is_asked_wrongly(home: Path, tmp_path: Path) -> None:
    """The flow run fails with the reason; fields that a kind does not read are refused."""
    assert home
    lost = execute(import_context, ContextImport(kind="depth", path=tmp_path / "none.csv"))

    assert lost.is_failed()
    with pytest.raises(ConfigError, match="nothing to import"):
        lost.result()
    for wrong in (
        {"kind": "macro"},
        {"kind": "index_bars", "path": tmp_path},
        {"kind": "macro", "path": tmp_path, "delay_seconds": 1},
        {"kind": "index_bars", "symbol": "USDINR"},
    ):
        with pytest.raises(ValidationError, match="do not fit"):
            ContextImport.model_validate(wrong)


def test_discovery_returns_a_finding_for_every_symbol(
    home: Path, vendor: BreezeSimulator, source: SourceConfig, ask: Ask, eventually: Eventually
) -> None:
    """The code where there is one, the reason where not; kept as a record and shown as a table."""
    request = DiscoveryRequest(symbols=("SIM01", "NOSUCH"), source=source)

    state = execute(discover_symbols, request)

    assert (state.name, state.message) == ("Completed", "1 of 2 symbols have a code")
    found = state.result()
    assert isinstance(found, Discovery)
    by_symbol = {each.symbol: each for each in found.findings}
    assert by_symbol["SIM01"].stock_code == vendor.directory.of_symbol("SIM01").code
    assert (by_symbol["NOSUCH"].stock_code, by_symbol["NOSUCH"].reason) == (None, "not_in_master")
    folder = home / store_key(source) / "symbols" / "discoveries"
    record = Discovery.model_validate(read_json(folder / f"{found.as_of}.json"))
    assert record == found
    rows, description = eventually(lambda: table(ask, state, "symbols"))
    assert [(row["symbol"], row["reason"]) for row in rows] == [
        ("NOSUCH", "not_in_master"),
        ("SIM01", "none"),
    ]
    assert description.startswith("1 of 2 symbols have a code; list of ")
    assert name_of(ask, state) == "symbols of SIM01, NOSUCH · breeze-simulator"


def test_discovery_without_a_list_is_an_error(
    home: Path, vendor: BreezeSimulator, source: SourceConfig
) -> None:
    """A list that cannot be had is no empty list; a source without one is asked wrongly."""
    vendor.faults.add(parse_fault("master_404"))
    lost = execute(discover_symbols, DiscoveryRequest(source=source))
    wrong = execute(discover_symbols, DiscoveryRequest(source=SourceConfig(kind="simulated")))

    assert lost.is_failed()
    assert "MasterUnavailableError" in str(lost.message)
    assert wrong.is_failed()
    with pytest.raises(ConfigError, match="no list of securities"):
        wrong.result()
    assert not list(home.rglob("discoveries"))


@pytest.fixture
def terminal(
    server: Environment, home: Path, monkeypatch: pytest.MonkeyPatch
) -> Generator[Callable[..., int]]:
    """Return the command line, which finds the server of all tests; its variables end with it."""
    monkeypatch.setenv("PREFECT_API_URL", server.server_url)
    before = dict(os.environ)
    try:
        yield lambda *words: main([*words, "--home", str(home)])
    finally:
        close_intakes()
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


def test_ingest_on_the_command_line(
    terminal: Callable[..., int], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It starts a simulator of its own, stores the bars, and has nothing to do the second time."""
    words = ["ingest", "--symbols", "SIM01,SIM02", *WORDS]

    assert terminal(*words) == 0
    first = capsys.readouterr().out
    assert terminal(*words) == 0
    second = capsys.readouterr().out

    assert "outcome: completed\n" in first
    assert "chunks: 4 planned; 4 stored\n" in first
    assert "outcome: nothing_to_do\nchunks: 0 planned; none\n" in second
    assert "no call needed: 16 of 16 sessions, 100.0%\ncalls: 0;" in second
    facts = dict(line.split(": ", maxsplit=1) for line in first.splitlines())
    assert Path(facts["coverage"]).is_file()
    assert "/v2/runs/flow-run/" in facts["page"]
    assert not simulator_file(home).exists()
    store = store_at(home, SourceConfig(kind="breeze-simulator"))
    assert store.read("SIM01", interval="1day").height == 4

    assert terminal("coverage", "--symbols", "SIM01,SIM02", *WORDS) == 0
    assert "coverage: 100.00% of 8 expected sessions\n" in capsys.readouterr().out


def test_ingest_that_is_stopped_exits_with_1(
    terminal: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """The limit of the day is reached by two calls of the login and two of four chunks."""
    limits = ["--calls-per-day", "4", "--calls-per-minute", "6000"]

    assert terminal("ingest", "--symbols", "SIM01,SIM02", *WORDS, *limits) == 1

    told = capsys.readouterr().out
    assert "outcome: stopped\n" in told
    assert "4 today by all, 0 left\n" in told
    assert "\nleft to do: 2 chunks\n" in told
    left = [line for line in told.splitlines() if line.startswith("left ")]
    assert len(left) == 1 + 2
    assert all(line.endswith(" 1day: 1 chunks from 2024-03-04") for line in left[1:])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["ingest", "--source", "breeze", "--symbols", "SIM01"],
            ["block breeze-credentials/breeze", "BREEZE_API_KEY", "BREEZE_API_SECRET"],
        ),
        (["ingest", "--universe", "nosuch"], ["universe", "nosuch"]),
        (["symbols", "discover", "--source", "simulated"], ["no list of securities"]),
    ],
)
def test_what_a_flow_refuses_exits_with_2(
    terminal: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    told: list[str],
) -> None:
    """The message is the library's own, in one line, and names what to do."""
    assert terminal(*words) == 2

    output = capsys.readouterr()
    assert output.out == ""
    (line,) = [line for line in output.err.splitlines() if line.startswith("error: ")]
    for word in [*told, "what to do"]:
        assert word in line


def test_discover_on_the_command_line(
    terminal: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """0 where every symbol has a code, 1 where one has none."""
    assert terminal("symbols", "discover", "--symbols", "SIM01") == 0
    assert "mapped: 1 of 1 symbols\n" in capsys.readouterr().out
    assert terminal("symbols", "discover", "--symbols", "SIM01,NOSUCH") == 1
    told = capsys.readouterr().out
    assert "mapped: 1 of 2 symbols\nreason not_in_master: 1 symbols\n" in told
    assert told.splitlines()[1].startswith("NOSUCH  none")
