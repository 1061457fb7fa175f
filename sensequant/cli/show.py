"""What a person or a program is told of runs: the table of all, one in full, one at its end.

Belongs here: which facts of a stored run are told, in which order and words. Does not belong here:
reading them (`cli.stored`), and fonts and colours (`cli.output`).
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import Any

from rich.console import Console

from sensequant.cli.output import Fact, print_facts, print_table
from sensequant.cli.stored import Artifact, StoredRun
from sensequant.runs import StageRecord

__all__ = ["run_as_json", "show_run", "show_runs", "summary_of"]


def summary_of(run: StoredRun, *, page: str | None) -> list[Fact]:
    """Return what stands at the end of a run, one fact each.

    Parameters
    ----------
    run
        A run that ended, well or not.
    page
        Address of the run's page in the UI, if there is one.
    """
    facts = [("run", run.folder.run_id), ("outcome", run.outcome)]
    if run.is_simulated:
        facts.append(
            ("bars", "simulated: no figure of this run tells anything about a real market")
        )
    facts += [(f"stage {record.stage}", _stage_in_words(record)) for record in run.stages()]
    facts += _verdict_facts(run)
    files = (
        ("briefing", run.folder.briefing.with_suffix(".md")),
        ("report", run.folder.report),
    )
    facts += [(name, str(path) if path.exists() else "none") for name, path in files]
    facts.append(("folder", str(run.folder.root)))
    if page is not None:
        facts.append(("page", page))
    return facts


def show_runs(console: Console, runs: Iterable[StoredRun]) -> None:
    """Print one line per run, the newest first."""
    rows = [
        [
            run.folder.run_id,
            run.outcome,
            run.verdict or "none",
            run.dates,
            "simulated" if run.is_simulated else "real",
            run.symbols,
        ]
        for run in runs
    ]
    if rows:
        print_table(console, ["run", "outcome", "verdict", "dates", "bars", "symbols"], rows)
    else:
        print_facts(console, [("runs", "none yet; start one with `sensequant run`")])


def show_run(console: Console, run: StoredRun, *, all_files: bool) -> None:
    """Print a run in full: stages, verdict with gates, what was left out, files.

    Parameters
    ----------
    console
        Where to.
    run
        What.
    all_files
        Print every artifact with its digest instead of one line per folder.
    """
    facts = [
        *summary_of(run, page=None),
        ("dates", run.dates),
        ("symbols", run.symbols),
        ("started", str(run.record.get("started_at") or "unknown")),
        ("ended", str(run.record.get("ended_at") or "not ended")),
        ("workers", str(run.record.get("workers") or "unknown")),
    ]
    print_facts(console, facts)
    _show_gates(console, run.judgement())
    _show_left_out(console, run)
    _show_missing_parts(console, run.stages())
    _show_artifacts(console, list(run.artifacts()), all_files=all_files)


def run_as_json(run: StoredRun) -> str:
    """Return everything that is written down about a run, as one JSON object."""
    value: dict[str, Any] = {
        "run_id": run.folder.run_id,
        "folder": str(run.folder.root),
        "outcome": run.record.get("outcome"),
        "verdict": run.judgement() or run.verdict,
        "record": run.record,
        "request": run.request,
        "stages": [record.model_dump(mode="json") for record in run.stages()],
        "units_left_out": run.units_left_out(),
        "artifacts": [asdict(artifact) for artifact in run.artifacts()],
    }
    return json.dumps(value, indent=2, allow_nan=False)


def _stage_in_words(record: StageRecord) -> str:
    words = [record.outcome.value]
    if record.n_success + record.n_skipped + record.n_failed:
        words.append(
            f"{record.n_success} success, {record.n_skipped} skipped, {record.n_failed} failed"
        )
    words.append(f"{record.seconds:.1f} s")
    if record.error:
        words.append(" ".join(record.error.split()))
    return ", ".join(words)


def _verdict_facts(run: StoredRun) -> list[Fact]:
    judgement = run.judgement()
    facts = [("verdict", str(judgement.get("decision") or run.verdict or "none"))]
    if judgement.get("headline"):
        facts.append(("in short", str(judgement["headline"])))
    facts += [("why", str(reason)) for reason in judgement.get("reasons", ())]
    return facts


def _show_gates(console: Console, judgement: dict[str, Any]) -> None:
    rows = [
        [
            str(gate["name"]),
            str(gate["outcome"]),
            _number(gate["observed"]),
            f"{gate['direction'].replace('_', ' ')} {_number(gate['limit'])}",
            str(gate["reason"]),
        ]
        for gate in judgement.get("gates", ())
    ]
    if rows:
        console.print()
        print_table(console, ["gate", "outcome", "observed", "asked", "reason"], rows)


def _show_left_out(console: Console, run: StoredRun) -> None:
    rows = [
        [
            str(unit["name"]),
            str(unit["outcome"]),
            str(unit["reason"] or unit["error_type"] or ""),
            " ".join((unit["error_message"] or "").split()),
        ]
        for unit in run.units_left_out()
    ]
    if rows:
        console.print()
        print_table(console, ["unit", "outcome", "reason", "message"], rows)


def _show_missing_parts(console: Console, stages: Iterable[StageRecord]) -> None:
    facts = [
        (f"not done yet in {stage.stage}", text) for stage in stages for text in stage.not_done_yet
    ]
    if facts:
        console.print()
        print_facts(console, facts)


def _show_artifacts(console: Console, artifacts: list[Artifact], *, all_files: bool) -> None:
    if not artifacts:
        return
    console.print()
    if all_files:
        rows = [[one.sha256, str(one.n_bytes), one.path] for one in artifacts]
        print_table(console, ["sha256", "bytes", "artifact"], rows)
        return
    files, sizes = Counter[str](), Counter[str]()
    for one in artifacts:
        parts = PurePosixPath(one.path).parts
        name = f"{parts[0]}/" if len(parts) > 1 else one.path
        files[name] += 1
        sizes[name] += one.n_bytes
    rows = [[name, str(files[name]), str(sizes[name])] for name in files]
    print_table(console, ["artifacts", "files", "bytes"], rows)


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"
