"""Facts about what a person may ask for, and what is refused before anything is done."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sensequant.errors import ConfigError
from sensequant.runs import Stage
from sensequant.settings import RunOptions, RunRequest, TrainingConfig


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    path = tmp_path / "symbols.txt"
    path.write_text("# mine\nRELIANCE\nM&M\n")
    return path


def refusal(given: dict[str, Any], model: type[RunRequest | RunOptions | TrainingConfig]) -> str:
    with pytest.raises((ConfigError, ValidationError)) as caught:
        model.model_validate(given)
    return str(caught.value)


def test_defaults_make_a_request() -> None:
    """Every symbol of a simulated market, over three years, by the default method."""
    request = RunRequest()

    assert (request.start, request.end) == (date(2022, 1, 1), date(2024, 12, 31))
    assert request.named_symbols is None
    assert request.title == "all symbols"
    assert request.source.kind == "simulated"
    assert TrainingConfig().seed == 42
    assert RunOptions().stages is None


@pytest.mark.parametrize(
    ("symbols", "title"),
    [
        (("TCS",), "TCS"),
        (("TCS", "INFY", "M&M"), "TCS, INFY, M&M"),
        (("A", "B", "C", "D"), "4 symbols"),
    ],
    ids=["one", "three", "four"],
)
def test_few_symbols_are_named_and_many_counted(symbols: tuple[str, ...], title: str) -> None:
    """What a person recognises a run by."""
    assert RunRequest(symbols=symbols).title == title


def test_a_universe_is_called_by_its_name() -> None:
    """Its members are known only where it is read."""
    request = RunRequest(universe="nifty100")

    assert (request.title, request.named_symbols) == ("nifty100", None)


def test_a_file_of_symbols_names_them(listed: Path) -> None:
    """Its title is that of its symbols, not its path."""
    request = RunRequest(symbols_file=listed)

    assert request.named_symbols == ("RELIANCE", "M&M")
    assert request.title == "RELIANCE, M&M"


def test_a_resolved_request_needs_no_file(listed: Path) -> None:
    """The symbols stand in the request itself; one without a file is itself resolved."""
    asked = RunRequest(symbols_file=listed)

    resolved = asked.resolved()
    listed.unlink()

    assert resolved == RunRequest(symbols=("RELIANCE", "M&M"))
    assert resolved.resolved() is resolved
    with pytest.raises(ConfigError, match="file of symbols cannot be read"):
        asked.resolved()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"symbols": ["TCS"], "universe": "nifty100"}, "symbols and universe"),
        ({"universe": "nifty100", "symbols_file": "x"}, "universe and symbols_file"),
        ({"symbols": []}, "at least 1 item"),
        ({"symbols": ["../x"]}, "text is no symbol"),
        ({"symbols": ["tcs"]}, "write TCS"),
        ({"start": "2024-01-02", "end": "2024-01-02"}, "range is upside down"),
        ({"start": "2024-01-03", "end": "2024-01-02"}, "2024-01-03 to 2024-01-02"),
        ({"start": "someday"}, "start"),
        ({"symbol": ["TCS"]}, "Extra inputs are not permitted"),
    ],
)
def test_a_wrong_request_is_refused(given: dict[str, Any], words: str) -> None:
    """The message says which fields contradict each other, and what was found."""
    assert words in refusal(given, RunRequest)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"stages": []}, "at least 1 item"),
        ({"stages": ["everything"]}, "Input should be"),
        ({"stages": ["teacher_training", "data_ingestion"]}, "out of order or named twice"),
        ({"stages": ["data_ingestion", "data_ingestion"]}, "out of order or named twice"),
        ({"workers": 0}, "greater than or equal to 1"),
        ({"workers": 257}, "less than or equal to 256"),
        ({"runner": "tcp://10.0.0.7:8786"}, "should match pattern"),
        ({"runner": "dask://10.0.0.7"}, "should match pattern"),
    ],
)
def test_wrong_options_are_refused(given: dict[str, Any], words: str) -> None:
    """Stages come once each and in their order; there is at least one worker."""
    assert words in refusal(given, RunOptions)


def test_stages_may_be_left_out() -> None:
    """Any selection in the right order will do."""
    chosen = (Stage.DATA_INGESTION, Stage.RELEASE_AUDIT)

    assert RunOptions(stages=chosen).stages == chosen


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"seed": -1}, "greater than or equal to 0"),
        ({"max_failure_rate": 1.5}, "less than or equal to 1"),
        ({"max_failure_rate": float("nan")}, "finite"),
        ({"labels": {"kind": "psychic"}}, "fixed"),
        ({"teacher": {"booster": {"leaves": 3}}}, "Extra inputs are not permitted"),
    ],
)
def test_a_wrong_method_is_refused(given: dict[str, Any], words: str) -> None:
    """At any depth: unknown names, values out of bounds, and what is no number."""
    assert words in refusal(given, TrainingConfig)


def test_settings_survive_json() -> None:
    """What is stored is what was asked."""
    config = TrainingConfig(seed=7, max_failure_rate=0.5)
    request = RunRequest(symbols=("TCS",), start=date(2023, 1, 1))

    assert TrainingConfig.model_validate_json(config.model_dump_json()) == config
    assert RunRequest.model_validate_json(request.model_dump_json()) == request


def test_settings_cannot_be_changed() -> None:
    """A run is asked once."""
    with pytest.raises(ValidationError, match="frozen"):
        RunRequest().start = date(2020, 1, 1)


def test_idle_cash_cannot_pass_for_skill() -> None:
    """Cash earns the risk-free return of the statistics by default, and never more."""
    config = TrainingConfig()

    assert config.backtest.cash_rate_frac == config.significance.annual_risk_free_frac
    assert config.backtest.cash_rate_frac == config.stress.cash_rate_frac
    with pytest.raises((ConfigError, ValidationError), match="risk-free"):
        TrainingConfig.model_validate({"significance": {"annual_risk_free_frac": 0.0}})
    both = {
        "significance": {"annual_risk_free_frac": 0.0},
        "backtest": {"cash_rate_frac": 0.0},
    }
    assert TrainingConfig.model_validate(both).backtest.cash_rate_frac == 0
