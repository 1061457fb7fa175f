"""Facts about a backfill as a flow: what it stores, what its pages say, what stops it.

The vendor is the simulator, over HTTP and through the vendor's SDK.
"""

import dataclasses
import json
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any, cast

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.flow_engine import run_flow
from prefect.states import AwaitingRetry

from flows.backfill_bars import backfill_bars
from sensequant.breeze_simulator.faults import parse_fault
from sensequant.breeze_simulator.server import BreezeSimulator
from sensequant.errors import ConfigError, StorageError
from sensequant.ingestion.backfill import BackfillOutcome, BackfillReport
from sensequant.ingestion.chunks import ChunkResult
from sensequant.ingestion.places import ledger_path, market_digest, store_at
from sensequant.ingestion.request import BackfillOptions, BackfillRequest
from sensequant.ingestion.shelf import open_shelf
from sensequant.ingestion.simulators import announce_simulator
from sensequant.market.bars import bar_key
from sensequant.market.sources.base import Chunk
from sensequant.market.sources.breeze.config import BreezeConfig, RetryConfig
from sensequant.market.sources.build import SourceConfig
from sensequant.storage import read_json
from sensequant.telemetry import read_events
from tasks import backfill as tasks
from tasks.backfill import backfill_folder, fetch_chunk_of
from tasks.sources import close_intakes

Ask = Callable[..., list[dict[str, Any]]]
Eventually = Callable[[Callable[[], Any]], Any]

VALUES = ("open", "high", "low", "close", "volume")
BREEZE = BreezeConfig(
    calls_per_minute=100_000,
    calls_per_day=1_000,
    retry=RetryConfig(n_transient_tries=1, first_wait_seconds=0.0, longest_wait_seconds=0.0),
)
ID = "backfill_20250101_000000_0000abcd"
AT = (date(2024, 3, 4), date(2024, 3, 15))
"""Nine sessions without an event of the market, all settled long ago."""


def asked(
    source: SourceConfig,
    *,
    symbols: Iterable[str] = ("SIM01", "SIM02"),
    intervals: Iterable[str] = ("5minute",),
    **settings: Any,
) -> BackfillRequest:
    """Return a request; intraday bars come without indices, which keeps calls countable."""
    fields = {"symbols": symbols, "intervals": intervals, "start": AT[0], "end": AT[1]}
    return BackfillRequest.model_validate({**fields, "source": source, **settings})


def in_chunks(source: SourceConfig, n_sessions: int, **limits: Any) -> SourceConfig:
    """Return the source with chunks of a few sessions of 5-minute bars."""
    breeze = BREEZE.model_copy(update={"five_minute_chunk_sessions": n_sessions, **limits})
    return source.model_copy(update={"breeze": breeze})


def execute(request: BackfillRequest, **parameters: Any) -> State[Any]:
    # The decorator types `return_state` away where the flow itself returns a state.
    fill = cast("Callable[..., State[Any]]", backfill_bars)
    return fill(request, **parameters, return_state=True)


def report_of(state: State[Any]) -> BackfillReport:
    report = state.result(raise_on_failure=False)
    assert isinstance(report, BackfillReport), report
    return report


def assert_stored_is_true(home: Path, request: BackfillRequest, vendor: BreezeSimulator) -> None:
    """Hold every stored bar of the request against the market, and every bar of the market."""
    store = store_at(home, request.source)
    for symbol in request.symbols or ():
        for interval in request.intervals:
            key = bar_key(interval)
            stored = store.read(symbol, interval=interval).select(*key, *VALUES)
            truth = vendor.market.truth(symbol, interval, request.start, request.end)
            assert truth.height > 0
            assert stored.equals(truth.select(*key, *VALUES).sort(key))


def n_history_calls(vendor: BreezeSimulator) -> int:
    return sum("historicalcharts" in call.path for call in vendor.calls)


def task_runs(ask: Ask, state: State[Any]) -> dict[str, dict[str, Any]]:
    flow_run_id = str(state.state_details.flow_run_id)
    found = ask("task_runs", flow_runs={"id": {"any_": [flow_run_id]}})
    return {run["name"]: run["state"] for run in found}


def artifacts(ask: Ask, state: State[Any]) -> dict[str, tuple[Any, str]]:
    flow_run_id = str(state.state_details.flow_run_id)
    found = ask("artifacts", artifacts={"flow_run_id": {"any_": [flow_run_id]}})
    return {each["key"]: (json.loads(each["data"]), each["description"]) for each in found}


def test_a_backfill_stores_the_market_and_a_second_one_has_nothing_to_do(
    home: Path, vendor: BreezeSimulator, source: SourceConfig
) -> None:
    """Daily and intraday bars side by side equal the truth; no call is made for what is there."""
    request = asked(source, intervals=("1day", "5minute"))

    state = execute(request, backfill_id=ID)

    assert (state.type, state.name) == ("COMPLETED", "Completed")
    assert_stored_is_true(home, request, vendor)
    report = report_of(state)
    n_bars = 2 * 9 * (1 + 75)
    assert state.message == f"{report.n_added} bars added, 0 changed; 0 of 6 chunks left to do"
    assert report.n_added == n_bars + sum(
        store_at(home, source).read(index, interval="1day").height
        for index in ("NIFTY50", "INDIAVIX")
    )
    assert report.n_calls == n_history_calls(vendor)
    folder = backfill_folder(home, ID)
    assert BackfillReport.model_validate(read_json(folder / "report.json")) == report
    assert {path.name for path in folder.iterdir()} == {
        "coverage.html",
        "coverage.json",
        "coverage.parquet",
        "coverage_sessions.parquet",
        "report.json",
        "telemetry.jsonl",
    }
    vendor.forget_calls()

    again = execute(request)

    assert (again.type, again.name) == ("COMPLETED", "Nothing to do")
    assert not vendor.calls
    assert report_of(again).hit_rate_frac == 1.0


def test_the_run_page_tells_what_happened(
    vendor: BreezeSimulator, source: SourceConfig, ask: Ask, eventually: Eventually, home: Path
) -> None:
    """Names and states of the run and its tasks, three tables, and no secret among parameters."""
    request = asked(
        in_chunks(source, 9), symbols=("SIM01", "NOSUCH"), intervals=("1day", "5minute")
    )

    state = execute(request, backfill_id=ID)

    def ended() -> dict[str, dict[str, Any]] | None:
        runs = task_runs(ask, state)
        is_over = all(run["type"] in {"COMPLETED", "FAILED", "CRASHED"} for run in runs.values())
        return runs if len(runs) == 10 and is_over else None

    runs = eventually(ended)
    span = "2024-03-04..2024-03-15"
    assert {name: (run["type"], run["name"]) for name, run in runs.items()} == {
        "plan backfill": ("COMPLETED", "Completed"),
        f"chunk SIM01 {span} 1day": ("COMPLETED", "Completed"),
        f"chunk SIM01 {span} 5minute": ("COMPLETED", "Completed"),
        f"chunk NOSUCH {span} 1day": ("COMPLETED", "Empty"),
        f"chunk NOSUCH {span} 5minute": ("COMPLETED", "Empty"),
        f"chunk NIFTY50 {span} 1day": ("COMPLETED", "Completed"),
        f"chunk INDIAVIX {span} 1day": ("COMPLETED", "Completed"),
        "report": ("COMPLETED", "Completed"),
        "cross-check": ("COMPLETED", "Completed"),
        "audit coverage": ("COMPLETED", "Completed"),
    }
    assert runs[f"chunk NOSUCH {span} 1day"]["message"] == "unknown_symbol"

    tables = artifacts(ask, state)
    figures = {row["figure"]: row["value"] for row in tables["backfill"][0]}
    report = report_of(state)
    assert (figures["outcome"], figures["chunks planned"]) == ("completed", "6")
    assert (figures["chunks stored"], figures["chunks empty"]) == ("4", "2")
    assert figures["calls used"] == str(report.n_calls) == str(n_history_calls(vendor))
    # The calls of everybody count: the login's proof too, and the refusals of the vendor.
    n_made = sum(call.path != "master" for call in vendor.calls)
    assert figures["calls used today, by all"] == str(n_made)
    assert figures["calls left today"] == str(1_000 - n_made)
    assert tables["backfill"][1] == ID
    left_out = {row["chunk"]: row["reason"] for row in tables["backfill-left-out"][0]}
    assert left_out[f"chunk NOSUCH {span} 5minute"] == "unknown_symbol"
    assert len(left_out) == 2
    coverage = {(r["symbol"], r["interval"]): r for r in tables["coverage"][0]}
    assert coverage["SIM01", "5minute"]["status"] == "ok"
    assert coverage["SIM01", "5minute"]["coverage_frac"] == "1.0"
    assert coverage["NOSUCH", "1day"]["status"] == "missing_at_source"
    page = backfill_folder(home, ID) / "coverage.html"
    assert tables["coverage"][1].endswith(f"page: {page}")
    assert page.is_file()

    (run,) = ask("flow_runs", flow_runs={"id": {"any_": [str(state.state_details.flow_run_id)]}})
    assert run["name"] == "SIM01, NOSUCH · 1day, 5minute · from 2024-03-04 · breeze-simulator"
    told = json.dumps(run["parameters"])
    login = vendor.login
    for secret in (login.api_key, login.secret_key, login.session_token):
        assert secret.get_secret_value() not in told


def test_telemetry_has_one_line_for_every_chunk(
    home: Path, vendor: BreezeSimulator, source: SourceConfig
) -> None:
    """From the plan to the end; what has no bars says why."""
    assert vendor
    execute(asked(in_chunks(source, 5), symbols=("SIM01", "NOSUCH")), backfill_id=ID)

    first, *chunks, last = read_events(backfill_folder(home, ID) / "telemetry.jsonl")
    assert (first["event"], first["n_units"], first["run_id"]) == ("stage_started", 4, ID)
    assert (last["event"], last["outcome"]) == ("stage_ended", "completed")
    assert sorted((e["name"], e["outcome"], e["reason"]) for e in chunks) == [
        ("chunk NOSUCH 2024-03-04..2024-03-11 5minute", "skipped", "unknown_symbol"),
        ("chunk NOSUCH 2024-03-12..2024-03-15 5minute", "skipped", "unknown_symbol"),
        ("chunk SIM01 2024-03-04..2024-03-11 5minute", "success", None),
        ("chunk SIM01 2024-03-12..2024-03-15 5minute", "success", None),
    ]
    assert {(event["event"], event["kind"]) for event in chunks} == {("unit_ended", "chunk")}


def test_a_chunk_that_others_fetched_meanwhile_is_present(
    vendor: BreezeSimulator, source: SourceConfig, home: Path
) -> None:
    """Its state says so, and it costs no call; forced, it is fetched again."""
    request = asked(source)
    chunk = Chunk("SIM01", "5minute", *AT)
    backfill_folder(home, ID).mkdir(parents=True)

    @flow
    def ask_thrice() -> list[tuple[str, int]]:
        seen: list[tuple[str, int]] = []
        for is_forced in (False, False, True):
            state = fetch_chunk_of(
                ID, request.source, chunk, is_forced=is_forced, return_state=True
            )
            seen.append((str(state.name), n_history_calls(vendor)))
        return seen

    (first, n_first), present, forced = ask_thrice()

    assert first == "Completed"
    assert present == ("Present", n_first)
    assert forced == ("Completed", 2 * n_first)


def test_what_fails_is_red_and_is_all_that_a_retry_does(
    vendor: BreezeSimulator,
    source: SourceConfig,
    home: Path,
    ask: Ask,
    eventually: Eventually,
) -> None:
    """Retry on the run's page of a backfill that lost one symbol to a fault that passed."""
    request = asked(in_chunks(source, 5))
    vendor.faults.add(parse_fault("html_503:path=v2/historicalcharts,symbol=SIM02"))

    state = execute(request)

    assert (state.type, state.name) == ("COMPLETED", "Degraded")
    report = report_of(state)
    assert [(each.symbol, each.n_chunks) for each in report.left] == [("SIM02", 2)]
    assert report.n_by_reason == {"transient_source": 2}
    name = "chunk SIM02 2024-03-04..2024-03-11 5minute"

    def red() -> dict[str, Any] | None:
        run = task_runs(ask, state).get(name)
        return run if run is not None and run["type"] != "RUNNING" else None

    ended = eventually(red)
    assert (ended["type"], ended["name"]) == ("FAILED", "Failed")
    assert "503" in ended["message"]

    vendor.faults.clear()
    vendor.forget_calls()
    state = retried(state, request)

    assert (state.type, state.name) == ("COMPLETED", "Completed")
    histories = [call for call in vendor.calls if "historicalcharts" in call.path]
    assert {call.params["stock_code"] for call in histories} == {
        vendor.directory.of_symbol("SIM02").code
    }
    assert_stored_is_true(home, request, vendor)


def retried(state: State[Any], request: BackfillRequest) -> State[Any]:
    """Do what a worker does after Retry was pressed."""
    flow_run_id = state.state_details.flow_run_id
    assert flow_run_id is not None
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run_id, AwaitingRetry(), force=True)
        again = client.read_flow_run(flow_run_id)
    parameters = {"request": request, "options": BackfillOptions(), "backfill_id": None}
    return cast(
        "State[Any]",
        run_flow(backfill_bars, flow_run=again, parameters=parameters, return_type="state"),
    )


def test_a_backfill_without_a_single_answer_fails(
    vendor: BreezeSimulator, source: SourceConfig
) -> None:
    """Nothing came through: the run is red, and says how much is left to do."""
    vendor.faults.add(parse_fault("html_503:path=v2/historicalcharts"))

    state = execute(asked(in_chunks(source, 5), symbols=("SIM01",)))

    assert (state.type, state.name) == ("FAILED", "Failed")
    assert state.message == "0 bars added, 0 changed; 2 of 2 chunks left to do"


def test_the_limit_of_a_day_stops_a_backfill_and_a_higher_one_lets_it_end(
    vendor: BreezeSimulator, source: SourceConfig, home: Path, ask: Ask, eventually: Eventually
) -> None:
    """What was fetched is kept; the rest is left to do; no call is made beyond the limit."""
    low = asked(in_chunks(source, 2, calls_per_day=5))

    state = execute(low, backfill_id=ID)

    assert (state.type, state.name) == ("FAILED", "Stopped")
    report = report_of(state)
    assert report.outcome is BackfillOutcome.STOPPED
    n_made = sum(call.path != "master" for call in vendor.calls)
    assert (n_made, report.n_calls_today, report.n_calls_left_today) == (5, 5, 0)
    n_stored = report.n_by_outcome["stored"]
    assert (n_stored + report.n_left, report.n_planned) == (10, 10)
    assert n_stored == n_history_calls(vendor) > 0
    assert sum(each.n_chunks for each in report.left) == report.n_left
    figures = eventually(lambda: artifacts(ask, state).get("backfill"))[0]
    assert {"figure": "chunks left to do", "value": str(report.n_left)} in figures
    states = eventually(
        lambda: [r for r in task_runs(ask, state).values() if r and r["name"] == "Stopped"]
    )
    assert {each["type"] for each in states} == {"FAILED"}

    high = asked(in_chunks(source, 2, calls_per_day=100))
    state = execute(high, backfill_id=ID)

    assert (state.type, state.name) == ("COMPLETED", "Completed")
    assert report_of(state).n_planned == report.n_left
    assert_stored_is_true(home, high, vendor)
    shelf = open_shelf(home, high.source)
    with closing(shelf.ledger):
        (entry,) = shelf.ledger.backfills()
    assert (entry.backfill_id, entry.outcome) == (ID, "completed")


@pytest.mark.parametrize("workers", [1, 3])
def test_an_expired_session_stops_all_at_once(
    vendor: BreezeSimulator, source: SourceConfig, home: Path, workers: int
) -> None:
    """After the first refusal each worker ends the call it makes; a new login goes on."""
    request = asked(in_chunks(source, 2))
    vendor.faults.add(parse_fault("session_lost:path=v2/historicalcharts,after=3"))

    state = execute(request, options=BackfillOptions(workers=workers), backfill_id=ID)

    assert (state.type, state.name) == ("FAILED", "Stopped")
    report = report_of(state)
    assert report.n_by_reason["auth_expired"] == report.n_left == 10 - 3
    refused = [call for call in vendor.calls if call.outcome != "ok"]
    # The client asks once more and probes the session before it believes it.
    assert len(refused) <= 3 * workers
    n_asked = len({json.dumps(dict(c.params)) for c in refused if "historicalcharts" in c.path})
    assert n_asked <= workers

    vendor.faults.clear()
    vendor.renew_session()
    close_intakes()
    announce_simulator(home, vendor, market_digest=market_digest(source))
    state = execute(request)

    assert state.name == "Completed"
    assert_stored_is_true(home, request, vendor)


def test_as_many_chunks_side_by_side_as_were_asked_for(
    vendor: BreezeSimulator, source: SourceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The option says so, not the flow."""
    assert vendor
    lock = threading.Lock()
    under_way: list[str] = []
    most: dict[int, int] = {}

    for workers in (1, 3):

        def fetch(chunk: Chunk, *_: Any, n: int = workers, **__: Any) -> ChunkResult:
            with lock:
                under_way.append(chunk.symbol)
                most[n] = max(most.get(n, 0), len(under_way))
            time.sleep(0.2)
            with lock:
                under_way.pop()
            return ChunkResult.model_validate(
                {**dataclasses.asdict(chunk), "outcome": "empty", "reason": "holiday"}
            )

        monkeypatch.setattr(tasks, "ingest_chunk", fetch)
        execute(asked(in_chunks(source, 2)), options=BackfillOptions(workers=workers))

    assert most == {1: 1, 3: 3}


def test_what_nobody_expects_is_told_too(
    vendor: BreezeSimulator, source: SourceConfig, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk fails its chunks, with its words on the page and in the telemetry."""
    assert vendor

    def fetch(*_: Any, **__: Any) -> ChunkResult:
        raise StorageError("disk is full")

    monkeypatch.setattr(tasks, "ingest_chunk", fetch)
    state = execute(asked(source, symbols=("SIM01",)), backfill_id=ID)

    assert (state.type, state.name) == ("FAILED", "Failed")
    assert report_of(state).n_by_reason == {"storage": 1}
    events = list(read_events(backfill_folder(home, ID) / "telemetry.jsonl"))
    assert [(e["outcome"], e["reason"]) for e in events if e["event"] == "unit_ended"] == [
        ("failed", "storage")
    ]


def test_a_range_on_holidays_only_has_nothing_to_do(
    vendor: BreezeSimulator, source: SourceConfig
) -> None:
    """That is an answer, not an error; the page of the audit is there all the same."""
    weekend: dict[str, Any] = {"start": date(2024, 3, 9), "end": date(2024, 3, 10)}
    state = execute(asked(source, symbols=("SIM01",), **weekend))

    assert (state.type, state.name) == ("COMPLETED", "Nothing to do")
    assert n_history_calls(vendor) == 0


def test_the_vendor_itself_needs_a_login(home: Path) -> None:
    """Without one the run ends before any call, and says where a login can be put."""
    state = execute(asked(SourceConfig(kind="breeze"), symbols=("SIM01",)))

    assert state.is_failed()
    with pytest.raises(ConfigError) as caught:
        state.result()
    for word in ("breeze-credentials/breeze", "BREEZE_API_KEY", "BREEZE_SESSION_TOKEN"):
        assert word in str(caught.value)
    assert ledger_path(home).is_file()
    assert not (home / "breeze").exists()


def test_a_backfill_without_a_name_is_named_after_its_run(
    vendor: BreezeSimulator, source: SourceConfig, home: Path
) -> None:
    """By when it was due and by the beginning of the run's id."""
    assert vendor
    state = execute(asked(source, symbols=("SIM01",), start=AT[0], end=AT[0]))

    (folder,) = (home / "fetches" / "backfills").iterdir()
    unique = str(state.state_details.flow_run_id).replace("-", "")[:8]
    assert folder.name.startswith("backfill_2")
    assert folder.name.endswith(f"_{unique}")
