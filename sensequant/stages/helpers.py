"""Processes that train for the process that keeps the units of a stage.

Belongs here: the order that is handed over, the answer, and the process on either side of them.
Does not belong here: whose units are handed over (`tasks.helping`), and the training itself.

A fit of a hundred rows takes and gives back the interpreter's lock at each of its rounds, hundreds
of thousands of times in a stage; between threads, that waiting costs half of the time. A helper has
an interpreter of its own. Orders and answers are JSON; what was trained lies in the run's folder. A
helper ends when the process that started it has no more orders, or is gone.
"""

import builtins
import contextlib
import ctypes
import gc
import queue
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal, Self

from pydantic import Field

from sensequant.errors import HelperDiedError, SenseQuantError, rebuild_error
from sensequant.records import Record
from sensequant.runs import RunFolder
from sensequant.stages.context import Run, load_run
from sensequant.stages.distillation import train_student_of
from sensequant.stages.training import train_window
from sensequant.units import UnitRecord

__all__ = ["Helpers", "Order", "serve"]

_WORK: dict[str, Callable[[Run, str, str], UnitRecord]] = {
    "teacher": train_window,
    "student": train_student_of,
}
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux


class Order(Record):
    """A window to train on."""

    kind: Literal["teacher", "student"]
    home: Path
    run_id: str
    symbol: str
    window: str

    def obey(self) -> UnitRecord:
        """Train in this process.

        Raises
        ------
        Exception
            As `training.train_window` or `distillation.train_student_of`.
        """
        run = load_run(RunFolder(self.home, self.run_id))
        return _WORK[self.kind](run, self.symbol, self.window)


class _Failure(Record):
    """An error as it goes from one process to another."""

    type_name: str
    message: str
    fields: dict[str, str] = Field(default_factory=dict)
    traceback: str

    @classmethod
    def of(cls, error: Exception) -> Self:
        fields = vars(error) if isinstance(error, SenseQuantError) else {}
        return cls(
            type_name=type(error).__name__,
            message=error.what if isinstance(error, SenseQuantError) else str(error),
            fields={name: value for name, value in fields.items() if isinstance(value, str)},
            traceback="".join(traceback.format_exception(error)),
        )

    def as_error(self) -> Exception:
        """Return an error of the same type, where that is ours or the interpreter's."""
        own = _own_errors(SenseQuantError).get(self.type_name)
        if own is None:
            error = _builtin_error(self.type_name, self.message)
        else:
            error = rebuild_error(own, self.message, dict(self.fields))
        error.add_note(f"In the process that trained:\n{self.traceback}")
        return error


class _Answer(Record):
    record: UnitRecord | None = None
    failure: _Failure | None = None


class Helpers:
    """Some processes that train, each of them one window at a time; any thread may ask.

    Parameters
    ----------
    n_helpers
        How many, at least 1; as many windows as that are trained side by side.
    """

    def __init__(self, n_helpers: int) -> None:
        self._idle: queue.SimpleQueue[_Helper] = queue.SimpleQueue()
        self._all = [_Helper() for _ in range(n_helpers)]
        for helper in self._all:
            self._idle.put(helper)

    def do(self, order: Order) -> UnitRecord:
        """Let the next helper that is free train, and return its record.

        Raises
        ------
        HelperDiedError
            The process was killed; another one has taken its place, and the window is left to do.
        Exception
            What the training raised.
        """
        helper = self._idle.get()
        try:
            answer = helper.ask(order)
        finally:
            self._idle.put(helper)
        if answer.failure is not None:
            raise answer.failure.as_error()
        if answer.record is None:
            raise AssertionError
        return answer.record

    def close(self) -> None:
        """End all of them, side by side."""
        for helper in self._all:
            helper.dismiss()
        for helper in self._all:
            helper.close()


class _Helper:
    """One process, started again where it has died."""

    def __init__(self) -> None:
        self._start()

    def ask(self, order: Order) -> _Answer:
        try:
            self._pipe.send_bytes(order.model_dump_json().encode())
            return _Answer.model_validate_json(self._pipe.recv_bytes())
        except (EOFError, OSError) as error:
            self.close()
            code = self._process.returncode
            self._start()
            raise HelperDiedError(
                "the process that trained is gone",
                where=f"{order.kind} {order.symbol} {order.window}",
                expected="an answer",
                found=f"exit code {code}",
                remedy="see whether the machine ran out of memory, then retry the run",
            ) from error

    def dismiss(self) -> None:
        self._pipe.close()

    def close(self) -> None:
        self.dismiss()
        self._process.wait()

    def _start(self) -> None:
        self._pipe, others = Pipe()
        with others:
            number = others.fileno()
            # Several at once share the cores; each of them asks for tables of a hundred rows.
            call = (
                "import os; os.environ.setdefault('POLARS_MAX_THREADS', '1'); "
                f"from sensequant.stages.helpers import serve; serve({number})"
            )
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, and our own words
                [sys.executable, "-c", call], stdin=subprocess.DEVNULL, pass_fds=[number]
            )


def serve(descriptor: int) -> None:
    """Train what is asked for on the other end of a pipe, until it is closed."""
    # Ctrl-C reaches the whole group of processes; the one that asks decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    # What is loaded by now stays; looking through all of it for garbage again and again is waste.
    gc.freeze()
    with Connection(descriptor) as pipe, contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            order = Order.model_validate_json(pipe.recv_bytes())
            pipe.send_bytes(_answer(order).model_dump_json().encode())


def _answer(order: Order) -> _Answer:
    try:
        return _Answer(record=order.obey())
    except Exception as error:  # noqa: BLE001 - it is raised again where the unit belongs
        return _Answer(failure=_Failure.of(error))


def _builtin_error(name: str, message: str) -> Exception:
    known = getattr(builtins, name, None)
    if isinstance(known, type) and issubclass(known, Exception):
        return known(message)
    return RuntimeError(f"{name}: {message}")


def _own_errors(base: type[SenseQuantError]) -> dict[str, type[SenseQuantError]]:
    found = {base.__name__: base}
    for each in base.__subclasses__():
        found |= _own_errors(each)
    return found
