"""The calibration of the verdict from the terminal: what is asked, what came of it.

Belongs here: from words to the request, and the words of the answer. Does not belong here: the
worlds and their counts (`sensequant.calibration`), and the order of the work (`flows`).
"""

import sys
from collections.abc import Iterator
from typing import Any

from blocks.environment import Environment
from sensequant.calibration.request import CalibrationRequest
from sensequant.calibration.summary import CalibrationSummary, Judged, in_words
from sensequant.calibration.work import Calibration
from sensequant.cli.arguments import CalibrationArguments
from sensequant.cli.asking import build_model, nested_settings
from sensequant.cli.flow_runs import execute_flow, serve
from sensequant.cli.output import Fact, console_for, print_facts
from sensequant.errors import ConfigError
from sensequant.storage import json_bytes

__all__ = ["calibration_request", "start_calibration"]

_ANSWERS = {True: "holds", False: "does not hold", None: "not decided"}


def calibration_request(arguments: CalibrationArguments) -> CalibrationRequest:
    """Return the request that the arguments describe.

    Raises
    ------
    ConfigError
        An argument is wrong.
    """
    given: dict[str, Any] = {
        "n_worlds": arguments.universes,
        "n_edge_worlds": arguments.edge_universes,
        "oracle_sharpes": _numbers(arguments.oracle_sharpe),
        "n_symbols": arguments.symbols,
        "years": arguments.years,
        "seed": arguments.seed,
    }
    known = {name: value for name, value in given.items() if value is not None}
    values = nested_settings(arguments.set, known)
    return build_model(CalibrationRequest, values, where="calibration")


def start_calibration(
    arguments: CalibrationArguments, env: Environment, *, is_json: bool, is_verbose: bool
) -> int:
    """Do what is missing, print what all worlds say together, and return the exit code.

    Returns
    -------
    int
        0 when every world is judged, whatever was found; 1 when some failed.

    Raises
    ------
    SenseQuantError
        The calibration could not begin.
    """
    request = calibration_request(arguments)
    root = Calibration(env.home, request).root
    run = execute_flow(
        "flows.calibrate_verdict:calibrate_verdict",
        serve(env, is_verbose=is_verbose),
        telemetry=root / "telemetry.jsonl",
        is_verbose=is_verbose,
        request=request,
        workers=arguments.workers,
    )
    summary = run.returned(
        CalibrationSummary, where=str(root), nothing="calibration returned nothing"
    )
    if is_json:
        sys.stdout.write(json_bytes(summary).decode())
    else:
        facts = [*_facts(summary), ("written", str(root)), ("page", run.page or "none")]
        print_facts(console_for(sys.stdout), facts)
    return int(run.is_failed)


def _facts(summary: CalibrationSummary) -> Iterator[Fact]:
    yield "worlds", f"{summary.n_judged} of {summary.n_asked} judged, all of them invented"
    yield "nothing to find", f"approved {in_words(summary.walks.approved)}"
    yield from (
        (_name_of(level), f"approved {in_words(level.approved)}") for level in summary.levels
    )
    yield from (
        (_ANSWERS[answer.holds], f"{answer.demand} {answer.found}") for answer in summary.answers
    )


def _name_of(level: Judged) -> str:
    return f"oracle's Sharpe ratio {level.oracle_sharpe_asked:g}"


def _numbers(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(
            "edges are no numbers",
            where="--oracle-sharpe",
            expected="Sharpe ratios, separated by commas: 1,2,3",
            found=text,
        ) from error
