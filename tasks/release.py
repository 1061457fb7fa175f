"""Tasks of stages 6 and 7, and the beginning and end of a run."""

import platform

from prefect import task
from prefect.runtime import flow_run

from blocks.environment import environment_now
from blocks.signing import signing_key
from sensequant.records import code_version
from sensequant.settings import RunOptions, RunRequest, TrainingConfig
from sensequant.stages import opening, release
from sensequant.stages.context import Findings, RunRecord, RunSettings, load_run
from sensequant.storage import write_table
from sensequant.telemetry import telemetry_table
from tasks.artifacts import show_markdown, show_run
from tasks.runners import default_workers
from tasks.telling import say, telemetry_of, utc_now
from tasks.units import run_folder

__all__ = ["close_run", "judge_evidence", "name_run", "open_run", "write_briefing"]


def name_run() -> str:
    """Return the id that a new run of this flow run has, at each of its attempts."""
    flow_run_id = str(flow_run.get_root_flow_run_id())
    return opening.name_run(flow_run.get_scheduled_start_time(), flow_run_id)


@task(task_run_name="open run")
def open_run(
    request: RunRequest,
    config: TrainingConfig,
    options: RunOptions = RunOptions(),
    *,
    run_id: str | None = None,
) -> str:
    """Make the run's folder and write down what was asked; return the run's id.

    A retried flow run opens its own folder again, because its id names the folder.
    """
    name = run_id or name_run()
    folder = run_folder(name)
    run = opening.open_run(
        folder,
        RunSettings(request=request, config=config),
        RunRecord(
            run_id=name,
            started_at=utc_now(),
            options=options,
            workers=options.workers or default_workers(),
            host=platform.node(),
            code_version=code_version(),
            versions=opening.library_versions(),
            is_simulated=request.source.is_simulated,
            prefect_flow_run_id=str(flow_run.get_root_flow_run_id()),
        ),
    )
    for stage in run.stages:
        # What an earlier attempt said of a stage does not hold for this one.
        folder.stage_record(stage).unlink(missing_ok=True)
    telemetry_of(folder).emit(
        "run_started",
        stage=None,
        title=request.title,
        start=request.start.isoformat(),
        end=request.end.isoformat(),
    )
    say("run opened", run=name)
    return name


@task(task_run_name="judge evidence")
def judge_evidence(run_id: str) -> Findings:
    """Judge the evidence by the gates and bind every artifact into the manifest."""
    run = load_run(run_folder(run_id))
    return release.audit(run, created_at=utc_now(), signing_key=signing_key())


@task(task_run_name="write briefing")
def write_briefing(run_id: str) -> Findings:
    """Write the page that a person decides from, and record the candidate."""
    run = load_run(run_folder(run_id))
    page, findings = release.brief(run, at=utc_now(), registry=environment_now().registry_url)
    show_markdown("briefing", page, description=f"briefing of {run_id}")
    return findings


@task(task_run_name="close run")
def close_run(run_id: str) -> RunRecord:
    """Write down how the run ended, and show its stages and briefing on the run's own page."""
    folder = run_folder(run_id)
    closed = release.close(load_run(folder), at=utc_now())
    show_run(closed, folder)
    telemetry_of(folder).emit(
        "run_ended",
        stage=None,
        outcome=closed.outcome,
        verdict=closed.verdict,
        seconds=closed.seconds,
    )
    write_table(folder.telemetry_table, telemetry_table(folder.telemetry))
    say("run ended", run=run_id, outcome=closed.outcome, verdict=closed.verdict)
    return closed
