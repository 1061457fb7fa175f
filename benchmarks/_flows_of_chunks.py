"""What a task of Prefect adds to a chunk; imported by `bench_backfill` once a server runs."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from prefect import flow, task, unmapped

from sensequant.ingestion.backfill import plan_backfill
from sensequant.ingestion.chunks import ingest_chunk
from sensequant.ingestion.planning import ChunkPlan
from sensequant.ingestion.request import BackfillOptions, BackfillRequest
from sensequant.market.sources.base import Chunk
from tasks.backfill import collect_results, fetch_chunk_of, open_backfill
from tasks.runners import runner
from tasks.sources import intake_of

__all__ = ["measure"]

Work = Callable[[BackfillRequest, Sequence[Chunk]], object]

UNIVERSES = Path(__file__).parents[1] / "deployments" / "universes"
ID = "backfill_of_the_benchmark"


@task
def idle(chunk: Chunk) -> Any:
    """Do nothing."""
    return chunk


def without_prefect(request: BackfillRequest, chunks: Sequence[Chunk]) -> None:
    """Fetch each chunk."""
    context = intake_of(request.source)
    for chunk in chunks:
        ingest_chunk(chunk, context)


def as_idle_tasks(_request: BackfillRequest, chunks: Sequence[Chunk]) -> None:
    """Run a task that does nothing for each chunk."""
    with runner(1) as threads:
        for future in threads.map(idle, {"chunk": list(chunks)}):
            future.wait()


def as_tasks(request: BackfillRequest, chunks: Sequence[Chunk]) -> None:
    """Fetch each chunk in a task of its own, as the flow does."""
    with runner(1) as threads:
        given = {
            "backfill_id": ID,
            "request": unmapped(request),
            "chunk": list(chunks),
            "is_forced": False,
        }
        futures = list(threads.map(fetch_chunk_of, given))
        collect_results(futures, ChunkPlan(tuple(chunks), 0, 0))


@flow
def measure(batches: Sequence[BackfillRequest]) -> dict[str, list[float]]:
    """Return the least milliseconds of a chunk in each way, on the wall and of this process."""
    works: tuple[Work, ...] = (without_prefect, as_idle_tasks, as_tasks)
    open_backfill(batches[0], BackfillOptions(), backfill_id=ID)
    # The first batch logs in, and lets every part of the way be used once.
    as_tasks(batches[0], _chunks(batches[0]))
    found: dict[str, list[list[float]]] = {work.__name__: [] for work in works}
    for place, request in enumerate(batches[1:]):
        work = works[place % len(works)]
        chunks = _chunks(request)
        started, used = time.perf_counter(), time.process_time()
        work(request, chunks)
        times = (time.perf_counter() - started, time.process_time() - used)
        found[work.__name__].append([1000 * each / len(chunks) for each in times])
    return {
        name: [round(min(each), 2) for each in zip(*times, strict=True)]
        for name, times in found.items()
    }


def _chunks(request: BackfillRequest) -> list[Chunk]:
    plan = plan_backfill(request, BackfillOptions(), intake_of(request.source), universes=UNIVERSES)
    return [chunk for chunk in plan.chunks if chunk.symbol in (request.symbols or ())]
