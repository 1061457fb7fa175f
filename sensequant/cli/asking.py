"""From the words of a command line to the request and configuration of a run.

Belongs here: the file of settings, `--set`, and errors that name the
option. Does not belong here: bounds and rules between settings; `sensequant.settings` knows them.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from pydantic import BaseModel, ValidationError

from sensequant.cli.arguments import RunArguments
from sensequant.cli.stored import find_run
from sensequant.errors import ConfigError, SenseQuantError
from sensequant.market.symbols import parse_symbols
from sensequant.runs import RunFolder, make_run_id
from sensequant.settings import RunOptions, RunRequest, TrainingConfig
from sensequant.stages.context import load_run

__all__ = [
    "Question",
    "ask",
    "build_config",
    "build_model",
    "build_options",
    "build_request",
    "nested_settings",
]

Model = TypeVar("Model", bound=BaseModel)

_QUESTION = (
    "symbols",
    "universe",
    "symbols_file",
    "start",
    "end",
    "source",
    "data",
    "index_data",
    "config",
    "set",
    "seed",
)


@dataclass(frozen=True)
class Question:
    """What a run is asked, complete: where, what, how."""

    folder: RunFolder
    request: RunRequest
    config: TrainingConfig
    options: RunOptions


def ask(arguments: RunArguments, *, home: Path) -> Question:
    """Return the question that the arguments put: to a new run, or to the existing `run`.

    Raises
    ------
    ConfigError
        An argument is wrong or contradicts another one, or there is no such run.
    """
    if arguments.resume is not None:
        return _resumed(arguments, home=home)
    if arguments.run is None:
        run_id = make_run_id(datetime.now(UTC), uuid.uuid4().hex)
        return Question(
            RunFolder(home, run_id),
            build_request(arguments),
            build_config(arguments),
            build_options(arguments),
        )
    _refuse_other_question(arguments, option=f"--run {arguments.run}")
    folder = find_run(home, arguments.run)
    run = load_run(folder)
    return Question(folder, run.request, run.config, build_options(arguments))


def _resumed(arguments: RunArguments, *, home: Path) -> Question:
    others = {"run", "stages", "skip_fetch"}
    given = [name for name in others if getattr(arguments, name)]
    if given:
        raise ConfigError(
            "a resumed run keeps its stages",
            where=f"--resume {arguments.resume}",
            expected="--workers, --runner, --gpu-pools and --pool-start-seconds at most",
            found=", ".join(f"--{name.replace('_', '-')}" for name in sorted(given)),
            remedy="leave these out, or use --run with --stages",
        )
    _refuse_other_question(arguments, option=f"--resume {arguments.resume}")
    folder = find_run(home, str(arguments.resume))
    run = load_run(folder)
    # Another machine may go on with it: how many units and where is said anew each time.
    stored = run.record.options.model_dump() | {"workers": None, "runner": None}
    options = build_model(RunOptions, stored | _execution(arguments), where="options")
    return Question(folder, run.request, run.config, options)


def build_request(arguments: RunArguments) -> RunRequest:
    """Return the request that the arguments describe.

    Raises
    ------
    ConfigError
        An argument is wrong or contradicts another one.
    """
    symbols = None if arguments.symbols is None else parse_symbols(arguments.symbols)
    fields = {
        "symbols": symbols,
        "universe": arguments.universe,
        "symbols_file": _absolute(arguments.symbols_file),
        "start": arguments.start,
        "end": arguments.end,
        "source": _source_fields(arguments),
    }
    return build_model(RunRequest, _given(fields), where="request")


def build_config(arguments: RunArguments) -> TrainingConfig:
    """Return the settings: defaults, then the file's, then those of `--set`, then the seed.

    Raises
    ------
    ConfigError
        The file or a setting is wrong.
    """
    values = {} if arguments.config is None else _read_settings(arguments.config)
    values = nested_settings(arguments.set, values)
    if arguments.seed is not None:
        values["seed"] = arguments.seed
    return build_model(TrainingConfig, values, where="configuration")


def nested_settings(texts: Sequence[str], values: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return settings, given or none, with those of `--set` in their places.

    Raises
    ------
    ConfigError
        A text is no setting.
    """
    nested = {} if values is None else values
    for text in texts:
        _set(nested, text)
    return nested


def build_options(arguments: RunArguments) -> RunOptions:
    """Return how the run is executed.

    Raises
    ------
    ConfigError
        A stage is unknown, the stages are out of order, or a pool is named twice.
    """
    fields = {"skip_fetch": arguments.skip_fetch, "stages": _names(arguments.stages)}
    return build_model(RunOptions, _given(fields) | _execution(arguments), where="options")


def _execution(arguments: RunArguments) -> dict[str, Any]:
    fields = {
        "workers": arguments.workers,
        "runner": arguments.runner,
        "gpu_pools": _names(arguments.gpu_pools),
        "pool_start_seconds": arguments.pool_start_seconds,
    }
    return _given(fields)


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",")]


def _source_fields(arguments: RunArguments) -> dict[str, Any]:
    kind = arguments.source
    if kind is None and arguments.data is not None:
        kind = "files"
    fields = {
        "kind": kind,
        # A worker in another working folder must find the same files.
        "folder": _absolute(arguments.data),
        "index_folder": _absolute(arguments.index_data),
    }
    return _given(fields)


def _refuse_other_question(arguments: RunArguments, *, option: str) -> None:
    given = [name for name in _QUESTION if getattr(arguments, name) not in (None, ())]
    if given:
        raise ConfigError(
            "an existing run keeps its request and settings",
            where=option,
            expected="options of execution at most: --stages, --skip-fetch, --workers, --runner, "
            "--gpu-pools, --pool-start-seconds",
            found=", ".join(f"--{name.replace('_', '-')}" for name in given),
            remedy=f"leave these out, or leave out {option.split(maxsplit=1)[0]} to open a new run",
        )


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        # YAML reads JSON too.
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(
            "file of settings cannot be read",
            where=str(path),
            expected="a YAML or JSON file",
            found=" ".join(str(error).split()),
            remedy="correct --config",
        ) from error
    if not isinstance(values, dict):
        raise ConfigError(
            "file of settings is no mapping",
            where=str(path),
            expected="names of settings with their values",
            found=type(values).__name__,
            remedy="see docs/operations.md, section Settings",
        )
    return cast("dict[str, Any]", values)


def _set(values: dict[str, Any], text: str) -> None:
    path, separator, value = text.partition("=")
    names = path.split(".")
    if not separator or not all(name.isidentifier() for name in names):
        raise ConfigError(
            "setting is malformed",
            where=f"--set {text}",
            expected="a dotted name, = and a value",
            found=text,
            remedy="for example --set teacher.booster.num_leaves=31",
        )
    inner = values
    for name in names[:-1]:
        nested = inner.setdefault(name, {})
        if not isinstance(nested, dict):
            raise ConfigError(
                "setting has no settings below it",
                where=f"--set {text}",
                expected=f"{name} as a group of settings",
                found=repr(nested),
            )
        inner = cast("dict[str, Any]", nested)
    inner[names[-1]] = _parse_value(value, text)


def _parse_value(value: str, text: str) -> Any:
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(
            "value of a setting cannot be read",
            where=f"--set {text}",
            expected="a number, a text, true, false, null or a [list]",
            found=value,
        ) from error


def build_model(model: type[Model], values: dict[str, Any], *, where: str) -> Model:
    """Return a model of settings, with faults told in our words.

    Raises
    ------
    ConfigError
        A value is wrong.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _explain(error, where=where) from error


def _explain(error: ValidationError, *, where: str) -> SenseQuantError:
    faults = error.errors()
    cause = faults[0].get("ctx", {}).get("error")
    if isinstance(cause, SenseQuantError):
        # A rule of ours already says what, where and what to do.
        return cause
    names = [".".join(str(part) for part in fault["loc"]) for fault in faults]
    return ConfigError(
        "setting is wrong" if len(faults) == 1 else f"{len(faults)} settings are wrong",
        where=", ".join(name or where for name in names),
        expected="; ".join(fault["msg"] for fault in faults),
        found=", ".join(repr(fault["input"]) for fault in faults),
        remedy="`sensequant run --help` and docs/operations.md name every setting",
    )


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.expanduser().absolute()


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
