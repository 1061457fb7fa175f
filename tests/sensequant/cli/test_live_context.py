"""Facts about the commands that ask the vendor for context: what is asked, what is told."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from sensequant.capture.options import OptionSnapshotReport, OptionSnapshotRequest
from sensequant.capture.report import DepthCaptureReport
from sensequant.capture.request import DepthCaptureRequest
from sensequant.cli import live_context
from sensequant.cli.app import main
from sensequant.cli.flow_runs import FlowRun

REPORT = DepthCaptureReport(
    session=date(2024, 1, 16),
    begun_at=datetime(2024, 1, 16, 3, 45, tzinfo=UTC),
    ended_at=datetime(2024, 1, 16, 10, tzinfo=UTC),
    symbols=("SIM01", "SIM02"),
    unknown_symbols=("NOSUCH",),
    silent_symbols=("SIM02",),
    source="breeze_simulator",
    is_simulated=True,
    n_ticks=100,
    n_lost=0,
    n_most_waiting=10,
    n_stored=98,
    n_corrected=0,
    n_known=0,
    n_refused={"crossed_book": 2},
    n_gaps={"not_connected": 1},
    gap_seconds={"not_connected": 1.5},
    n_connections=2,
)


class Done:
    """Stands for a flow run that ended."""

    page = "http://page"
    returned = FlowRun.returned

    def __init__(self, value: object, outcome: str = "completed") -> None:
        self.value = value
        self.outcome = outcome


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return what the next command asks, and take what its flow shall return from `run`."""
    kept: dict[str, Any] = {"run": Done(REPORT)}

    def execute(entry: str, _env: Any, **given: Any) -> Any:
        kept.update(given, entry=entry)
        return kept["run"]

    def serve(env: Any, **_: Any) -> Any:
        return env

    monkeypatch.setattr(live_context, "serve", serve)
    monkeypatch.setattr(live_context, "execute_flow", execute)
    return kept


def test_a_capture_is_asked_for_and_told(
    asked: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Words become a request; the report becomes facts."""
    words = ["--symbols", "SIM01,SIM02", "--minutes", "30", "--set", "silence_seconds=20"]

    assert main(["depth", "capture", *words, "--source", "breeze-simulator"]) == 0

    request = asked["asked"]
    assert asked["entry"] == "flows.capture_depth:capture_depth"
    assert isinstance(request, DepthCaptureRequest)
    assert request.symbols == ("SIM01", "SIM02")
    assert (request.minutes, request.config.silence_seconds) == (30.0, 20.0)
    assert request.source.kind == "breeze-simulator"
    said = capsys.readouterr().out
    for fact in (
        "symbols: 2, 1 without a tick",
        "without a token: NOSUCH",
        "refused: 2\n  crossed_book: 2",
        "gaps not_connected: 1, 1.5 seconds",
        "mark: simulated",
        "page: http://page",
    ):
        assert fact in said


def test_the_exit_code_of_a_capture(
    asked: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """0 where there was no session, 1 where the vendor ended it or ticks were lost."""
    words = ["depth", "capture", "--symbols", "RELIANCE"]
    asked["run"] = Done(None, "skipped")
    assert main(words) == 0
    assert "nothing to capture" in capsys.readouterr().out
    assert asked["asked"].source.kind == "breeze"
    asked["run"] = Done(REPORT.model_copy(update={"stopped_by": "expired"}))
    assert main(words) == 1
    assert "stopped by: expired" in capsys.readouterr().out
    asked["run"] = Done(REPORT.model_copy(update={"n_lost": 3}))
    assert main(words) == 1


def test_wrong_words_are_refused(asked: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """A length below 0, a setting that does not exist, two ways to name symbols."""
    for words in (["--minutes", "-1"], ["--set", "silence=3"], ["--universe", "pilot"]):
        assert main(["depth", "capture", "--symbols", "RELIANCE", *words]) == 2
        assert capsys.readouterr().err
    assert "entry" not in asked


SNAPSHOT = OptionSnapshotReport(
    session=date(2024, 1, 16),
    begun_at=datetime(2024, 1, 16, 9, 50, tzinfo=UTC),
    ended_at=datetime(2024, 1, 16, 9, 51, tzinfo=UTC),
    source="breeze_simulator",
    is_simulated=True,
    rate_frac=0.07,
    dividend_frac=0.01,
    expiries_by="request",
    n_contracts={"NIFTY50": 42},
    n_volatilities=40,
    n_without={"no_trade": 2},
    n_refused={"duplicate": 1},
    without_options=("NOSUCH",),
    n_calls=4,
)


def test_a_snapshot_of_options_is_asked_for_and_told(
    asked: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """NIFTY is the name that the exchange uses; dates and rates reach the request."""
    asked["run"] = Done(SNAPSHOT)
    words = ["--symbols", "NIFTY,RELIANCE", "--expiry", "2024-01-25,2024-02-29", "--rate", "0.07"]

    assert main(["options", "snapshot", *words, "--dividend", "0.01"]) == 0

    request = asked["asked"]
    assert asked["entry"] == "flows.snapshot_options:snapshot_options"
    assert isinstance(request, OptionSnapshotRequest)
    assert request.symbols == ("NIFTY50", "RELIANCE")
    assert request.expiries == (date(2024, 1, 25), date(2024, 2, 29))
    assert (request.rate_frac, request.dividend_frac) == (0.07, 0.01)
    assert request.source.kind == "breeze"
    said = capsys.readouterr().out
    for fact in (
        "contracts on NIFTY50: 42",
        "with a volatility: 40\n  without, no_trade: 2",
        "refused: 1\n  duplicate: 1",
        "without options: NOSUCH",
        "rates: interest 0.07, dividends 0.01 a year",
        "mark: simulated",
    ):
        assert fact in said


def test_the_exit_code_of_a_snapshot(
    asked: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """0 where no session is open, 1 where nothing came, 2 for a date that is none."""
    asked["run"] = Done(None, "skipped")
    assert main(["options", "snapshot"]) == 0
    assert "no session is open" in capsys.readouterr().out
    assert asked["asked"].expiries is None
    asked["run"] = Done(SNAPSHOT.model_copy(update={"n_contracts": {}}))
    assert main(["options", "snapshot"]) == 1
    assert main(["options", "snapshot", "--expiry", "soon"]) == 2
