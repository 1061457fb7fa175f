"""The options that every command has: where data and server are.

Belongs here: these options. Does not belong here: what they mean (`blocks.environment`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from blocks.environment import Environment, read_environment

__all__ = ["Machine", "Place"]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Place:
    """Where data and server are.

    Parameters
    ----------
    home
        Root of all data; SENSEQUANT_HOME or ./data when left out.
    port
        Port of the Prefect server; SENSEQUANT_PORT or 4200 when left out.
    debug
        Show the traceback of an error.
    """

    home: Path | None = None
    port: int | None = None
    debug: Annotated[bool, Parameter(negative="")] = False

    def environment(self, *, workers: int | None = None) -> Environment:
        """Return the environment with these options in place of its variables."""
        return read_environment(home=self.home, port=self.port, workers=workers)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Machine(Place):
    """What else a machine is told that serves the work pools.

    Parameters
    ----------
    gpus
        GPUs, each a work pool; SENSEQUANT_GPUS, or those that are found, when left out.
    notify
        Prefect block that is told of failures and decisions, as type/name; SENSEQUANT_NOTIFY, or
        nobody, when left out.
    """

    gpus: int | None = None
    notify: str | None = None

    def environment(
        self, *, workers: int | None = None, host: str | None = None, database: str | None = None
    ) -> Environment:
        """Return the environment with these options in place of its variables."""
        return read_environment(
            home=self.home,
            host=host,
            port=self.port,
            workers=workers,
            gpus=self.gpus,
            database=database,
            notify=self.notify,
        )
