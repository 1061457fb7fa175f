"""Facts about processes that train for another one."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from sensequant.errors import HelperDiedError, RecordError
from sensequant.records import SkipReason
from sensequant.runs import Stage
from sensequant.stages.context import Run, RunSettings
from sensequant.stages.helpers import Helpers, Order
from sensequant.stages.training import WindowSkippedError
from sensequant.storage import sha256_of
from sensequant.windows import Window

PATIENCE_SECONDS = 30.0
UP_TO_STUDENTS = tuple(Stage)[:3]


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, settings: RunSettings, execute: Callable[..., Run]
) -> Run:
    """Return a run whose windows tests here may train again."""
    return execute(tmp_path_factory.mktemp("helpers"), settings, stages=UP_TO_STUDENTS)


@pytest.fixture
def helpers() -> Iterator[Helpers]:
    """Return one helper; it is gone at the end."""
    one = Helpers(1)
    yield one
    one.close()


def order_of(run: Run, window: Window, kind: Any = "teacher") -> Order:
    return Order(
        kind=kind,
        home=run.folder.home,
        run_id=run.folder.run_id,
        symbol=window.symbol,
        window=window.short,
    )


def windows_of(run: Run, *, is_skipped: bool) -> list[Window]:
    return [each.window for each in run.windows if (each.skip is not None) == is_skipped]


def digests_below(folder: Path) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("kind", ["teacher", "student"])
def test_a_helper_trains_to_the_same_bytes_and_record(
    trained: Run, helpers: Helpers, kind: str
) -> None:
    """What it leaves is what this process leaves."""
    window = windows_of(trained, is_skipped=False)[0]
    order = order_of(trained, window, kind)
    folder = getattr(trained.folder, kind)(window.label)
    here = order.obey()
    expected = digests_below(folder)
    shutil.rmtree(folder)

    assert helpers.do(order) == here
    assert digests_below(folder) == expected


def test_a_skip_comes_back_as_one(trained: Run, helpers: Helpers) -> None:
    """Type, reason and every part of the message are those that the training raised."""
    order = order_of(trained, windows_of(trained, is_skipped=True)[0])
    with pytest.raises(WindowSkippedError) as here:
        order.obey()
    with pytest.raises(WindowSkippedError) as there:
        helpers.do(order)

    assert str(there.value) == str(here.value)
    assert there.value.reason == here.value.reason
    assert there.value.reason in set(SkipReason)
    assert "train_window" in there.value.__notes__[0]


def test_a_failure_comes_back_as_one(trained: Run, helpers: Helpers) -> None:
    """A window that nobody planned is an error of the request, there as here."""
    window = windows_of(trained, is_skipped=False)[0]
    order = order_of(trained, window).model_copy(update={"window": "2001-01-01..2001-02-01"})

    with pytest.raises(RecordError, match="window is not planned"):
        helpers.do(order)


def _is_helper(child: psutil.Process) -> bool:
    try:
        return "helpers" in " ".join(child.cmdline())
    except psutil.NoSuchProcess:
        # One that another test left, dead but not yet waited for.
        return False


def test_a_helper_that_is_killed_is_replaced(trained: Run, helpers: Helpers) -> None:
    """Its window is left to do and says what happened; the next one is trained."""
    order = order_of(trained, windows_of(trained, is_skipped=False)[0])
    expected = helpers.do(order)
    (process,) = (child for child in psutil.Process().children() if _is_helper(child))
    process.send_signal(signal.SIGKILL)

    with pytest.raises(HelperDiedError, match="exit code -9"):
        helpers.do(order)
    assert helpers.do(order) == expected


def test_no_helper_outlives_the_process_that_it_helps() -> None:
    """Neither one that waits for an order nor one that would still begin."""
    program = (
        "import sys, time; from sensequant.stages.helpers import Helpers; Helpers(2); "
        "print('up', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        children = psutil.Process(parent.pid).children()
        os.kill(parent.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=PATIENCE_SECONDS)

    assert len(children) == 2
    assert alive == []
