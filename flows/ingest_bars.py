"""Stage 1: bring the bars of every requested symbol into the store, chunk by chunk."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from sensequant.runs import Stage
from sensequant.settings import RunRequest, TrainingConfig
from sensequant.units import UnitRecord
from tasks.ingestion import (
    fetch_chunk,
    forecast_training,
    freeze_bars,
    known_bars,
    plan_chunks,
    remember_bars,
    settle_data,
    symbols_fetched,
)
from tasks.plans import failure_limit
from tasks.release import open_run
from tasks.runners import in_turn, runner, submit
from tasks.stages import OpenStage, ingestion_name, open_stage

__all__ = ["ingest_bars"]


def _name_run() -> str:
    return ingestion_name(flow_run.get_parameters())


@flow(name="ingest-bars", flow_run_name=_name_run, task_runner=runner())
def ingest_bars(
    request: RunRequest = RunRequest(),
    config: TrainingConfig = TrainingConfig(),
    run_id: str | None = None,
) -> State[Any]:
    """Fetch, check and store bars, and plan the run's windows.

    Args:
        request: What to ingest; opens a new run, whose later stages can then be started by its id.
        config: Settings of the new run.
        run_id: An existing run to ingest for; then its own request and configuration count.
    """
    opened = run_id or open_run(request, config)
    with open_stage(opened, Stage.DATA_INGESTION) as stage:
        known = known_bars(opened)
        units = known or _brought(opened, stage)
        if known:
            stage.expect(len(known))
            stage.count(known)
        frozen = [unit for unit in units if unit.kind == "bars"]
        stage.finish(
            lambda: settle_data(opened, symbols_fetched(frozen)),
            units=units,
            kind="chunk",
            max_failure_rate=failure_limit(opened),
        )
        if stage.state.is_completed():
            remember_bars(opened)
            forecast_training(opened)
    return stage.state


def _brought(run_id: str, stage: OpenStage) -> list[UnitRecord]:
    chunks = plan_chunks(run_id)
    stage.expect(2 * len(chunks))
    fetched = stage.collect(in_turn(submit(fetch_chunk, run_id, chunk) for chunk in chunks))
    symbols = symbols_fetched(fetched)
    frozen = stage.collect(in_turn(submit(freeze_bars, run_id, symbol) for symbol in symbols))
    return [*fetched, *frozen]
