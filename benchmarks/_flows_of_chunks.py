"""What a task of Prefect adds to a chunk; imported by `bench_backfill` once a server runs."""

import itertools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from prefect import flow, task

from sensequant.ingestion.backfill import plan_backfill
from sensequant.ingestion.chunks import ingest_chunk
from sensequant.ingestion.planning import ChunkPlan
from sensequant.ingestion.request import BackfillOptions, BackfillRequest
from sensequant.market.sources.base import Chunk
from tasks.backfill import collect_results, open_backfill, submit_chunks
from tasks.runners import in_turn, runner
from tasks.sources import intake_of

__all__ = ["chunks_of", "measure"]

Work = Callable[[BackfillRequest, Sequence[Chunk], int], object]

UNIVERSES = Path(__file__).parents[1] / "deployments" / "universes"
ID = "backfill_of_the_benchmark"


@task
def idle(chunk: Chunk) -> Any:
    """Do nothing."""
    return chunk


def alone(request: BackfillRequest, chunks: Sequence[Chunk], workers: int) -> None:
    """Fetch each chunk without Prefect."""
    context = intake_of(request.source)

    def fetch(chunk: Chunk) -> None:
        ingest_chunk(chunk, context)

    with ThreadPoolExecutor(workers) as threads:
        list(threads.map(fetch, chunks))


def as_idle_tasks(_request: BackfillRequest, chunks: Sequence[Chunk], workers: int) -> None:
    """Run a task that does nothing for each chunk."""
    with runner(workers) as threads:
        for future in in_turn(threads.submit(idle, {"chunk": chunk}) for chunk in chunks):
            future.wait()


def as_tasks(request: BackfillRequest, chunks: Sequence[Chunk], workers: int) -> None:
    """Fetch each chunk in a task of its own, as the flow does."""
    with runner(workers) as threads:
        futures = submit_chunks(
            threads, chunks, backfill_id=ID, source=request.source, is_forced=False
        )
        collect_results(futures, ChunkPlan(tuple(chunks), 0, 0))


@flow
def measure(batches: Sequence[BackfillRequest]) -> dict[str, list[float]]:
    """Return the seconds of a chunk in each way, on the wall and of this process.

    Of many side by side they are the time of all by their number.
    """
    works: tuple[Work, ...] = (alone, as_idle_tasks, as_tasks)
    ways = list(itertools.product(works, (1, BackfillOptions().workers)))
    open_backfill(batches[0], BackfillOptions(), backfill_id=ID)
    # The first batch logs in, and lets every part of the way be used once.
    as_tasks(batches[0], chunks_of(batches[0]), 1)
    found: dict[str, list[float]] = {}
    for (work, workers), request in zip(ways, batches[1:], strict=False):
        chunks = chunks_of(request)
        started, used = time.perf_counter(), time.process_time()
        work(request, chunks, workers)
        times = (time.perf_counter() - started, time.process_time() - used)
        name = f"{work.__name__}, {workers} at once"
        found[name] = [each / len(chunks) for each in times]
    return found


def chunks_of(request: BackfillRequest) -> list[Chunk]:
    """Return what is left to fetch of a request."""
    plan = plan_backfill(request, BackfillOptions(), intake_of(request.source), universes=UNIVERSES)
    return [chunk for chunk in plan.chunks if chunk.symbol in (request.symbols or ())]
