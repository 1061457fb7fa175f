"""Scores on a terminal: who scored what, the rows, and how far they lie from what was learnt.

Belongs here: the words of the answer and the file that is written. Does not belong here: scoring
(`stages.scoring`).
"""

import json
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console

from sensequant.cli.arguments import PredictArguments
from sensequant.cli.output import Fact, print_facts, print_table
from sensequant.cli.stored import LATEST, find_run
from sensequant.errors import ConfigError
from sensequant.market.symbols import parse_symbols
from sensequant.release.deployment_records import EnvironmentName
from sensequant.stages.context import load_run
from sensequant.stages.scoring import (
    Scored,
    ScoringRequest,
    deployed_model,
    score_deployed,
    score_stored,
)
from sensequant.storage import write_atomically, write_table

__all__ = ["show_prediction"]

_N_SHOWN = 20
_N_DRIFTED = 5


def show_prediction(
    console: Console, arguments: PredictArguments, home: Path, *, is_json: bool
) -> int:
    """Score, write the file if one was asked for, and print what a person asked.

    Returns
    -------
    int
        0.

    Raises
    ------
    ConfigError
        An argument is wrong.
    SenseQuantError
        Nothing can be scored; the message says why.
    """
    scored, whose = _score(home, arguments)
    if arguments.output is not None:
        _write(arguments.output, scored.rows)
    if is_json:
        console.out(json.dumps(_as_json(scored, whose), indent=2))
        return 0
    print_facts(console, _facts(scored, whose, arguments))
    _print_rows(console, scored.rows)
    _print_drift(console, scored)
    return 0


def _score(home: Path, arguments: PredictArguments) -> tuple[Scored, dict[str, str]]:
    request = _request(arguments)
    if arguments.env is None:
        run = load_run(find_run(home, arguments.run or LATEST))
        return score_stored(run, request), {"run_id": run.folder.run_id}
    if arguments.run is not None or arguments.student is not None:
        raise ConfigError(
            "whose model scores was said twice",
            where="--env, --run, --student",
            expected="one of them",
            found=f"--env {arguments.env} and another one",
        )
    environment = EnvironmentName(arguments.env)
    scored = score_deployed(home, environment, request)
    model = deployed_model(home, environment)
    return scored, {
        "environment": environment.value,
        "run_id": model.record.run_id,
        "model": model.sha256,
    }


def _request(arguments: PredictArguments) -> ScoringRequest:
    symbols = () if arguments.symbols is None else parse_symbols(arguments.symbols)
    return ScoringRequest(
        symbols=symbols,
        start=_date(arguments.start, "--start"),
        end=_date(arguments.end, "--end"),
        student=arguments.student,
        sha256=arguments.sha256,
    )


def _date(text: str | None, option: str) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            "date is malformed", where=option, expected="YYYY-MM-DD", found=text
        ) from error


def _write(path: Path, rows: pl.DataFrame) -> None:
    if path.suffix == ".parquet":
        write_table(path, rows)
    elif path.suffix == ".csv":
        write_atomically(path, rows.write_csv().encode())
    else:
        raise ConfigError(
            "format of the output is unknown",
            where="--output",
            expected="a name that ends in .parquet or .csv",
            found=str(path),
        )


def _facts(scored: Scored, whose: dict[str, str], arguments: PredictArguments) -> list[Fact]:
    parts = scored.predictions.values()
    counts = [
        f"{sum(part.n_scored for part in parts)} scored",
        f"{sum(part.n_novel for part in parts)} too far from what was learnt",
        f"{sum(part.n_expired for part in parts)} after the student's expiry",
    ]
    facts = [
        *(("run" if name == "run_id" else name, value) for name, value in whose.items()),
        ("student", str(arguments.student or ", ".join(scored.predictions))),
        ("rows", ", ".join(counts)),
    ]
    if scored.is_simulated:
        facts.append(("bars", "simulated: no score tells anything about a real market"))
    if not scored.is_audited:
        facts.append(("audit", "no manifest vouches for this student"))
    if arguments.output is not None:
        facts.append(("written", str(arguments.output)))
    return facts


def _print_rows(console: Console, rows: pl.DataFrame) -> None:
    ranked = rows.sort("session", "score", descending=[True, True], nulls_last=True)
    header = ["session", "symbol", "score", "probability", "novelty", "why no score"]
    print_table(
        console,
        header,
        [
            [
                str(row["session"]),
                str(row["symbol"]),
                _number(row["score"]),
                _number(row["probability"]),
                _number(row["novelty"]),
                row["reason"] or "",
            ]
            for row in ranked.head(_N_SHOWN).iter_rows(named=True)
        ],
    )
    if rows.height > _N_SHOWN:
        print_facts(console, [("and", f"{rows.height - _N_SHOWN} rows more; see --output")])


def _print_drift(console: Console, scored: Scored) -> None:
    for owner, part in scored.predictions.items():
        drifted = part.drift.filter(pl.col("psi").is_not_null()).head(_N_DRIFTED)
        if drifted.is_empty():
            print_facts(console, [(f"drift of {owner}", "too few rows to measure")])
            continue
        words = ", ".join(
            f"{row['column']} {row['psi']:.2f}" for row in drifted.iter_rows(named=True)
        )
        print_facts(console, [(f"drift of {owner}", f"population stability index: {words}")])


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def _as_json(scored: Scored, whose: dict[str, str]) -> dict[str, Any]:
    rows = scored.rows.with_columns(pl.col("session").cast(pl.String))
    return {
        **whose,
        "is_audited": scored.is_audited,
        "is_simulated": scored.is_simulated,
        "rows": rows.to_dicts(),
        "drift": {owner: part.drift.to_dicts() for owner, part in scored.predictions.items()},
    }
