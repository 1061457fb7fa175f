"""Who fetches a chunk while others could: the first who claims it, until it is done.

Belongs here: locks between threads and processes of one home. Does not belong here: the locks of
single files (`sensequant.storage`), and what a claimant does.

The kernel frees the claims of a process that dies. Chunks of one symbol and interval that overlap
exclude each other; so may, at times, two that do not, because the number of lock files is fixed.
"""

import contextlib
import hashlib
from collections.abc import Generator
from pathlib import Path

from sensequant.errors import StorageError
from sensequant.market.sources.base import Chunk
from sensequant.storage import locked

__all__ = ["N_CLAIM_FILES", "claimed"]

N_CLAIM_FILES = 256
"""Lock files in the folder of claims."""

_WHOLE = "whole"


@contextlib.contextmanager
def claimed(chunk: Chunk, *, store_key: str, size: int | None, folder: Path) -> Generator[None]:
    """Hold the claim on a chunk, waiting for whoever holds an overlapping one.

    Parameters
    ----------
    chunk
        What is claimed.
    store_key
        Name of the store into which it goes.
    size
        Sessions that a chunk of this source and interval may span; None: the whole history.
    folder
        Where the lock files lie; the same for all who might meet.

    Raises
    ------
    StorageError
        The folder cannot be written.
    """
    with contextlib.ExitStack() as stack:
        # All take their locks in one order, so that no two wait for each other.
        for number in sorted(_numbers(chunk, store_key=store_key, size=size)):
            try:
                stack.enter_context(locked(folder / f"claim-{number:03d}"))
            except OSError as error:
                raise StorageError(
                    "chunk cannot be claimed",
                    where=str(folder),
                    expected="a folder that can be written",
                    found=error.strerror or str(error),
                    remedy="free space or make it writable, then run again",
                ) from error
        yield


def _numbers(chunk: Chunk, *, store_key: str, size: int | None) -> set[int]:
    stripes: list[str] = [_WHOLE]
    if size is not None and chunk.start is not None and chunk.end is not None:
        # Stripes as wide as about a chunk: few locks for each, and neighbours seldom share one.
        width = 2 * size
        first, last = (day.toordinal() // width for day in (chunk.start, chunk.end))
        stripes = [str(stripe) for stripe in range(first, last + 1)]
    names = [f"{store_key} {chunk.symbol} {chunk.interval} {stripe}" for stripe in stripes]
    digests = [hashlib.sha256(name.encode()).digest() for name in names]
    return {int.from_bytes(digest[:4], "big") % N_CLAIM_FILES for digest in digests}
