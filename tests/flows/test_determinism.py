"""The same question gives the same bytes, however the work was spread."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from prefect.client.schemas.objects import State

from sensequant.release.manifest import SUMS_NAME, read_manifest
from sensequant.runs import RunFolder, Stage
from sensequant.settings import RunOptions
from sensequant.stages.helpers import Helpers, Order
from sensequant.storage import sha256_of
from sensequant.units import UnitRecord
from tasks import helping


def digests_of(folder: RunFolder) -> dict[str, str]:
    return {
        path.relative_to(folder.root).as_posix(): sha256_of(path) for path in folder.artifacts()
    }


def test_flow_and_inline_run_leave_the_same_bytes(finished: RunFolder, inline: RunFolder) -> None:
    """Prefect adds nothing to an artifact and takes nothing away."""
    assert digests_of(finished) == digests_of(inline)
    assert len(digests_of(finished)) > 70
    assert (finished.root / SUMS_NAME).read_bytes() == (inline.root / SUMS_NAME).read_bytes()
    assert read_manifest(finished).evidence_digest == read_manifest(inline).evidence_digest


def test_the_number_of_workers_changes_no_artifact(
    finished: RunFolder, folder: RunFolder, train: Callable[..., State[Any]]
) -> None:
    """One worker and four, in different homes, stand on the same evidence."""
    state = train(options=RunOptions(workers=4))

    assert state.name == "Completed"
    assert digests_of(folder) == digests_of(finished)
    assert (folder.root / SUMS_NAME).read_bytes() == (finished.root / SUMS_NAME).read_bytes()
    assert read_manifest(folder).evidence_digest == read_manifest(finished).evidence_digest


def test_helper_processes_change_no_artifact(
    finished: RunFolder,
    folder: RunFolder,
    train: Callable[..., State[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Windows that other processes train end with the bytes of those that threads train."""
    asked: list[Order] = []
    really = Helpers.do

    def counted(helpers: Helpers, order: Order) -> UnitRecord:
        asked.append(order)
        return really(helpers, order)

    monkeypatch.setattr(Helpers, "do", counted)
    monkeypatch.setattr(helping, "_LEAST_WINDOWS_OF_A_HELPER", 1)
    state = train(options=RunOptions(workers=2))

    assert state.name == "Completed"
    assert {order.kind for order in asked} == {"teacher", "student"}
    assert digests_of(folder) == digests_of(finished)
    assert read_manifest(folder).evidence_digest == read_manifest(finished).evidence_digest


def test_one_window_waits_while_as_many_as_workers_are_trained(
    train: Callable[..., State[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So whoever trains has the next one at once, and no more train side by side than was said."""
    asked: list[int] = []
    under_way: list[int] = []
    lock, n_asked, n_under_way = threading.Lock(), 0, 0
    really_do, really_obey = helping.Threads.do, Order.obey

    def do(trainer: helping.Threads, order: Order) -> UnitRecord:
        nonlocal n_asked
        with lock:
            n_asked += 1
            asked.append(n_asked)
        try:
            return really_do(trainer, order)
        finally:
            with lock:
                n_asked -= 1

    def obey(order: Order) -> UnitRecord:
        nonlocal n_under_way
        with lock:
            n_under_way += 1
            under_way.append(n_under_way)
        # Long enough for the next task to come and wait.
        time.sleep(0.05)
        try:
            return really_obey(order)
        finally:
            with lock:
                n_under_way -= 1

    monkeypatch.setattr(helping.Threads, "do", do)
    monkeypatch.setattr(Order, "obey", obey)
    state = train(options=RunOptions(workers=2, stages=tuple(Stage)[:2]))

    assert state.name == "Completed"
    assert (max(asked), max(under_way)) == (2 + helping.N_WAITING, 2)
