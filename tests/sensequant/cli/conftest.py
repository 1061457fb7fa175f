"""What tests of the terminal share: an empty environment, stub servers, and stored runs."""

import http.server
import json
import os
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from sensequant.market.sources.build import SourceConfig
from sensequant.market.sources.simulated import SimulatedConfig
from sensequant.records import Outcome
from sensequant.runs import RunFolder, Stage, StageOutcome, StageRecord
from sensequant.settings import RunOptions, RunRequest, TrainingConfig
from sensequant.stages.context import Run, RunRecord, RunSettings
from sensequant.stages.inline import run_inline
from sensequant.storage import write_json
from sensequant.units import UnitRecord, write_units

TRAINED_ID = "live_candidate_20240102_030405_0000000a"
AT = datetime(2024, 1, 2, tzinfo=UTC)
TINY = {
    "teacher": {"booster": {"n_estimators": 20, "num_leaves": 7}, "n_interval_draws": 0},
    "student": {"n_estimators": 10, "num_leaves": 4},
}
RUN_IDS = (
    "live_candidate_20250101_090000_aaaa1111",
    "live_candidate_20250102_090000_bbbb2222",
)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run of two stocks whose students are trained; none alters its files."""
    folder = RunFolder(tmp_path_factory.mktemp("trained"), TRAINED_ID)
    market = SimulatedConfig(n_symbols=2, history_start=date(2020, 12, 31), has_events=False)
    options = RunOptions(stages=tuple(Stage)[:3], workers=1)
    return run_inline(
        folder,
        RunSettings(
            request=RunRequest(
                start=date(2022, 1, 1),
                end=date(2023, 6, 30),
                source=SourceConfig(simulated=market),
            ),
            config=TrainingConfig.model_validate(TINY),
        ),
        RunRecord(
            run_id=TRAINED_ID,
            started_at=AT,
            options=options,
            workers=1,
            host="test",
            code_version="0" * 64,
            versions={},
            is_simulated=True,
        ),
        universes=folder.home,
        at=AT,
    )


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Generator[None]:
    """Take every variable of this project and of Prefect away, and put back what a test sets."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("SENSEQUANT_", "PREFECT_", "DO_NOT_TRACK")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    kept = dict(os.environ)
    yield
    for name in set(os.environ) - set(kept):
        del os.environ[name]


@pytest.fixture
def free_port() -> int:
    """Return a port on which nobody listens now."""
    return unused_port()


def unused_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def serve() -> Generator[Callable[[dict[str, str]], int]]:
    """Return a starter of HTTP servers that answer paths with texts, and anything else with 404."""
    with ExitStack() as servers:
        yield lambda answers: servers.enter_context(answering(answers))


@contextmanager
def answering(answers: dict[str, str]) -> Generator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answers.get(self.path)
            self.send_response(404 if body is None else 200)
            self.end_headers()
            self.wfile.write((body or "").encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a home with two runs: a completed simulated one, and one that failed in stage 2."""
    root = tmp_path / "home"
    _completed_run(RunFolder(root, RUN_IDS[0]))
    _failed_run(RunFolder(root, RUN_IDS[1]))
    return root


def _completed_run(folder: RunFolder) -> None:
    _write_run(folder, outcome="completed", verdict="reject", is_simulated=True)
    for stage in Stage:
        folder.write_stage(_stage(folder, stage))
    units = [
        UnitRecord(kind="teacher", name="teacher A w1", outcome=Outcome.SUCCESS, seconds=1),
        UnitRecord(
            kind="teacher",
            name="teacher A w2",
            outcome=Outcome.SKIPPED,
            reason="one_class",
            error_message="only one\nclass",
            seconds=1,
        ),
    ]
    write_units(folder.units("teacher"), units)
    write_json(folder.audit / "gates.json", VERDICT)
    for name, text in (("A_w1/model.txt", "tree"), ("A_w1/metadata.json", "{}")):
        path = folder.root / "teachers" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    folder.report.write_text("<html>", encoding="utf-8")
    folder.briefing.with_suffix(".md").write_text("# briefing", encoding="utf-8")


VERDICT: dict[str, Any] = {
    "decision": "reject",
    "headline": "1 of 2 gates fail: trades.",
    "reasons": ["Did it trade? No."],
    "gates": [
        {
            "name": "trades",
            "outcome": "fail",
            "observed": 12.0,
            "direction": "at_least",
            "limit": 30.0,
            "reason": "No.",
        },
        {
            "name": "auc",
            "outcome": "undetermined",
            "observed": None,
            "direction": "above",
            "limit": 0.5,
            "reason": "Not known.",
        },
    ],
}


def _failed_run(folder: RunFolder) -> None:
    _write_run(folder, outcome="failed", verdict=None, is_simulated=False)
    folder.write_stage(_stage(folder, Stage.DATA_INGESTION))
    failed = StageRecord(
        run_id=folder.run_id,
        stage=Stage.TEACHER_TRAINING,
        outcome=StageOutcome.FAILED,
        started_at=datetime(2025, 1, 2, 9, tzinfo=UTC),
        seconds=2,
        error="StorageError: disk\nis full",
    )
    folder.write_stage(failed)


def _write_run(folder: RunFolder, *, outcome: str, verdict: str | None, is_simulated: bool) -> None:
    record = {
        "run_id": folder.run_id,
        "started_at": "2025-01-01T09:00:00Z",
        "ended_at": "2025-01-01T09:10:00Z",
        "workers": 2,
        "is_simulated": is_simulated,
        "outcome": outcome,
        "verdict": verdict,
        "prefect_flow_run_id": "0f0f0f0f-0000-4000-8000-000000000001",
    }
    write_json(folder.run, record)
    request = {"symbols": ["TCS", "SBIN"], "start": "2022-01-01", "end": "2024-12-31"}
    write_json(folder.config, {"request": request, "config": {}})


def _stage(folder: RunFolder, stage: Stage) -> StageRecord:
    return StageRecord(
        run_id=folder.run_id,
        stage=stage,
        outcome=StageOutcome.SUCCESS,
        n_success=3,
        n_skipped=1,
        started_at=datetime(2025, 1, 1, 9, tzinfo=UTC),
        seconds=1.25,
        not_done_yet=["Options are not read."] if stage is Stage.DATA_INGESTION else [],
    )


def json_of(text: str) -> Any:
    return json.loads(text)
