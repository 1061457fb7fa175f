"""What the vendor's SDK is handed in the place of parts of the process.

Belongs here: substitutes that need to know nothing of a session. Does not belong here: how they
are handed over, and the one for `requests`, which knows who asks (`sdk`).
"""

import importlib
import io
import logging
import zipfile
from datetime import UTC, datetime, tzinfo
from functools import cache
from types import SimpleNamespace
from typing import Any, Self

__all__ = [
    "Datetime",
    "Pandas",
    "Paths",
    "Silent",
    "empty_master",
    "nothing",
    "socket_library",
]


class Paths:
    """Stands for `os.path`: the folder of logs is there, so the SDK makes none."""

    @staticmethod
    def abspath(path: str) -> str:
        """Return the path as it is."""
        return path

    dirname = abspath

    @staticmethod
    def exists(_path: str) -> bool:
        """Return yes."""
        return True


class Silent:
    """A logger, a handler and a formatter that do nothing; the SDK logs whole replies."""

    def __init__(self, *_: object) -> None: ...

    def _nothing(self, *_: object) -> None: ...

    setLevel = addHandler = setFormatter = debug = info = error = _nothing  # noqa: N815


class Datetime(datetime):
    """Stands for the class of instants: without deprecated calls and without local zones."""

    # The SDK signs with it, and the deprecation would be an error where warnings are.
    @classmethod
    def utcnow(cls) -> Self:
        """Return the present instant, naive, in UTC."""
        return cls.now(UTC).replace(tzinfo=None)

    # Ticks would have the clock of the process, in the words of its language.
    @classmethod
    def fromtimestamp(cls, timestamp: float, tz: tzinfo | None = None) -> Self:
        """Return an instant in UTC, unless told."""
        return super().fromtimestamp(timestamp, tz or UTC)

    def strftime(self, format: str) -> str:  # noqa: A002 - the name that it has
        """Return a text; the one in the words of a language is that of ISO 8601."""
        return self.isoformat() if format == "%c" else super().strftime(format)


class Pandas:
    """Stands for the library, which takes half a second and 100 MB for a method not used here."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module("pandas"), name)


def empty_master(*_: object, **__: object) -> SimpleNamespace:
    """Return a list of securities without rows, in place of a download."""
    buffer = io.BytesIO()
    zipfile.ZipFile(buffer, "w").close()
    return SimpleNamespace(read=buffer.getvalue)


def nothing() -> None:
    """Do nothing."""


@cache
def socket_library() -> SimpleNamespace:
    """Return what stands for `socketio`: clients that leave the process and its order alone.

    The library's own client starts a thread for every message, so that a later tick may overtake
    an earlier one; sets a handler of Ctrl-C; and prints errors.
    """
    engineio: Any = importlib.import_module("engineio")
    socketio: Any = importlib.import_module("socketio")
    silent = logging.getLogger("sensequant.breeze.socket")
    silent.addHandler(logging.NullHandler())
    silent.propagate = False

    class InOrder(engineio.Client):
        def _trigger_event(self, *arguments: Any, **options: Any) -> Any:
            inherited: Any = engineio.Client._trigger_event  # noqa: SLF001
            return inherited(self, *arguments, **{**options, "run_async": False})

    class Client(socketio.Client):
        def __init__(self) -> None:
            super().__init__(  # pyright: ignore[reportUnknownMemberType]
                handle_sigint=False, logger=silent, engineio_logger=silent
            )

        def _engineio_client_class(self) -> type:
            return InOrder

    return SimpleNamespace(Client=Client, ClientNamespace=socketio.ClientNamespace)
