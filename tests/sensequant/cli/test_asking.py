"""Facts about what is asked: options become one validated question, or an error that names them."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from sensequant.cli.arguments import RunArguments
from sensequant.cli.asking import ask, build_config, build_options, build_request
from sensequant.errors import ConfigError
from sensequant.runs import RUN_ID_PATTERN, RunFolder, Stage
from sensequant.settings import RunRequest, TrainingConfig
from sensequant.storage import write_json


def test_nothing_said_is_the_simulated_default() -> None:
    """Three years of a simulated market, all stages, default settings."""
    bare = RunArguments()

    assert build_request(bare) == RunRequest()
    assert build_request(bare).source.kind == "simulated"
    assert (build_request(bare).start, build_request(bare).end) == (
        date(2022, 1, 1),
        date(2024, 12, 31),
    )
    assert build_config(bare) == TrainingConfig()
    assert build_options(bare).stages is None


def test_options_reach_the_request() -> None:
    """Symbols are a list, dates ISO, folders absolute: a worker may stand elsewhere."""
    request = build_request(
        RunArguments(
            symbols="RELIANCE, TCS",
            start="2023-01-01",
            end="2023-12-31",
            data=Path("bars"),
            index_data=Path("indices"),
        )
    )

    assert request.symbols == ("RELIANCE", "TCS")
    assert (request.start, request.end) == (date(2023, 1, 1), date(2023, 12, 31))
    assert request.source.kind == "files"
    assert request.source.folder == Path.cwd() / "bars"
    assert request.source.index_folder == Path.cwd() / "indices"


def test_symbols_come_from_one_place() -> None:
    """A universe or a file takes the place of a list."""
    assert build_request(RunArguments(universe="nifty100")).universe == "nifty100"
    asked = build_request(RunArguments(symbols_file=Path("mine.txt")))
    assert asked.symbols_file == Path.cwd() / "mine.txt"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"symbols": "../x"}, "symbol"),
        ({"symbols": "TCS", "universe": "nifty100"}, "more than one way"),
        ({"start": "2024-01-01", "end": "2023-01-01"}, "upside down"),
        ({"start": "01/02/2024"}, "start"),
        ({"source": "files"}, "folder"),
        ({"source": "bloomberg"}, r"source\.kind"),
        ({"source": "simulated", "data": Path("x")}, "another kind"),
    ],
)
def test_wrong_request_is_refused(arguments: dict[str, Any], words: str) -> None:
    """The error is one of ours and names the setting."""
    with pytest.raises(ConfigError, match=words):
        build_request(RunArguments(**arguments))


def test_options_of_execution_reach_the_run() -> None:
    """Stages are names with or without spaces between them."""
    options = build_options(
        RunArguments(stages="stress_tests, release_audit", workers=3, skip_fetch=True)
    )

    assert options.stages == (Stage.STRESS_TESTS, Stage.RELEASE_AUDIT)
    assert (options.workers, options.skip_fetch) == (3, True)
    assert (options.gpu_pools, options.pool_start_seconds) == ((), 120)


def test_gpu_pools_are_named_on_the_line() -> None:
    """Their names are separated by commas, with or without spaces."""
    options = build_options(RunArguments(gpu_pools="gpu-0, gpu-1", pool_start_seconds=30))

    assert (options.gpu_pools, options.pool_start_seconds) == (("gpu-0", "gpu-1"), 30)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"stages": "training"}, r"stages\.0"),
        ({"stages": "release_audit,stress_tests"}, "out of order"),
        ({"workers": 0}, "workers"),
        ({"gpu_pools": "gpu-0,gpu-0"}, "pools are named twice"),
        ({"pool_start_seconds": 1}, "pool_start_seconds"),
        ({"workers": -1, "stages": "x"}, "settings are wrong"),
    ],
)
def test_wrong_options_are_refused(arguments: dict[str, Any], words: str) -> None:
    """An unknown stage is named by its place."""
    with pytest.raises(ConfigError, match=words):
        build_options(RunArguments(**arguments))


@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_settings_come_from_a_file_then_from_the_line(tmp_path: Path, suffix: str) -> None:
    """The nearer one wins: default, file, --set, --seed."""
    path = tmp_path / f"settings.{suffix}"
    values = {"seed": 1, "max_failure_rate": 0.3, "teacher": {"booster": {"num_leaves": 15}}}
    path.write_text(json.dumps(values), encoding="utf-8")

    config = build_config(
        RunArguments(
            config=path,
            set=("teacher.booster.num_leaves=31", "teacher.booster.learning_rate=5e-2"),
            seed=7,
        )
    )

    assert config.seed == 7
    assert config.max_failure_rate == 0.3
    assert config.teacher.booster.num_leaves == 31
    assert config.teacher.booster.learning_rate == 0.05


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed", "malformed"),
        ("=1", "malformed"),
        ("teacher..x=1", "malformed"),
        ("seed.x=1", "no settings below"),
        ("seed=[1", "cannot be read"),
        ("no_such=1", "no_such"),
        ("seed=-1", "seed"),
        ("teacher.booster.num_leaves=many", r"teacher\.booster\.num_leaves"),
    ],
)
def test_wrong_setting_is_refused_by_its_name(text: str, words: str) -> None:
    """A misspelt setting must not be passed over."""
    with pytest.raises(ConfigError, match=words):
        build_config(RunArguments(set=("seed=1", text)))


@pytest.mark.parametrize(("content", "words"), [("[1]", "no mapping"), ("a: [", "cannot be read")])
def test_file_that_is_no_settings_is_refused(tmp_path: Path, content: str, words: str) -> None:
    """Its path stands in the error."""
    path = tmp_path / "settings.yaml"
    path.write_text(content, encoding="utf-8")

    with pytest.raises(ConfigError, match=words) as caught:
        build_config(RunArguments(config=path))
    assert caught.value.where == str(path)


def test_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    """No file is no empty file."""
    with pytest.raises(ConfigError, match="cannot be read"):
        build_config(RunArguments(config=tmp_path / "none.yaml"))


def test_new_run_has_a_new_id(tmp_path: Path) -> None:
    """Two questions in the same second are two runs."""
    first, second = (ask(RunArguments(seed=5), home=tmp_path) for _ in range(2))

    assert RUN_ID_PATTERN.fullmatch(first.folder.run_id)
    assert first.folder.run_id != second.folder.run_id
    assert first.config.seed == 5
    assert first.folder.home == tmp_path


def test_existing_run_keeps_its_question(tmp_path: Path) -> None:
    """Its request and settings are read back; only the execution is new."""
    folder = RunFolder(tmp_path, "live_candidate_20250101_090000_aaaa1111")
    request, config = RunRequest(symbols=("TCS",)), TrainingConfig(seed=9)
    stored = {
        "schema_version": 1,
        "request": request.model_dump(mode="json"),
        "config": config.model_dump(mode="json"),
    }
    write_json(folder.config, stored)

    asked = ask(RunArguments(run="latest", stages="stress_tests"), home=tmp_path)

    assert asked.folder.run_id == folder.run_id
    assert (asked.request, asked.config) == (request, config)
    assert asked.options.stages == (Stage.STRESS_TESTS,)


def test_existing_run_takes_no_other_question(tmp_path: Path) -> None:
    """Every option that would change its artifacts is named."""
    with pytest.raises(ConfigError) as caught:
        ask(RunArguments(run="latest", seed=1, symbols_file=Path("x")), home=tmp_path)

    assert caught.value.found == "--symbols-file, --seed"
