"""The folder of a calibration, doing what is missing in it, and writing what it says.

Belongs here: names of files, what is there already, one world in a process of its own. Does not
belong here: the world (`calibration.worlds`), the counts (`calibration.summary`).

One folder holds all worlds of one law, one method and one version of the code; the numbers of
worlds do not matter to it, so that more can be asked for later. A record is written whole when
its world is done: whoever is killed loses the worlds under way and no other.
"""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path

from sensequant.calibration.oracle import EDGES_BPS, EdgeWorth, edge_for, price_edge
from sensequant.calibration.page import CHART_NAME, render_calibration
from sensequant.calibration.request import CalibrationRequest
from sensequant.calibration.summary import CalibrationSummary, summarise, world_table
from sensequant.calibration.worlds import (
    Truth,
    World,
    WorldRecord,
    planned,
    try_world,
)
from sensequant.errors import ConfigError
from sensequant.records import code_version, digest_of
from sensequant.storage import (
    json_bytes,
    locked,
    read_json,
    remove_unfinished,
    table_bytes,
    write_json,
    write_together,
)

__all__ = [
    "Calibration",
    "close_calibration",
    "do_world",
    "do_world_apart",
    "do_worth",
    "do_worth_apart",
    "open_calibration",
]

_N_DIGITS = 12
_LIBRARIES = "sensequant.calibration.libraries"


@dataclass(frozen=True)
class Calibration:
    """A calibration on disk.

    Parameters
    ----------
    home
        Root of all data at rest.
    request
        What is asked.
    """

    home: Path
    request: CalibrationRequest

    @property
    def root(self) -> Path:
        """Folder of everything that belongs to it."""
        asked = {**self.request.same_but_counts(), "code": code_version()}
        return self.home / "calibrations" / digest_of(asked)[:_N_DIGITS]

    @property
    def work(self) -> Path:
        """Folder of the homes of worlds under way; empty when nothing is."""
        return self.root / "work"

    @cached_property
    def worlds(self) -> dict[str, World]:
        """All worlds of the request by name."""
        return {world.name: world for world in planned(self.request)}

    def record(self, name: str) -> Path:
        """Return the file of a world's record."""
        return self.root / "worlds" / f"{name}.json"

    def worth(self, edge_bps: float) -> Path:
        """Return the file that says what an edge is worth to an oracle."""
        return self.root / "edges" / f"{edge_bps:g}.json"

    @property
    def missing(self) -> list[str]:
        """Names of the worlds that have no record, in order."""
        return [name for name in self.worlds if not self.record(name).exists()]

    @property
    def missing_worths(self) -> list[float]:
        """Edges whose worth is asked for and not known, in basis points."""
        if all(each.truth is Truth.NOTHING for each in self.worlds.values()):
            return []
        return [edge for edge in EDGES_BPS if not self.worth(edge).exists()]

    def records(self) -> list[WorldRecord]:
        """Return the records that are there of the worlds asked for, in order."""
        return [
            WorldRecord.model_validate(read_json(path))
            for name in self.worlds
            if (path := self.record(name)).exists()
        ]

    def worths(self) -> list[EdgeWorth]:
        """Return what each measured edge is worth, ascending."""
        return [
            EdgeWorth.model_validate(read_json(path))
            for edge in EDGES_BPS
            if (path := self.worth(edge)).exists()
        ]


def open_calibration(home: Path, request: CalibrationRequest) -> Calibration:
    """Make the folder of a calibration, or find it with what is done already."""
    calibration = Calibration(home, request)
    write_json(
        calibration.root / "request.json",
        {**request.same_but_counts(), "code_version": code_version()},
    )
    return calibration


def do_worth(calibration: Calibration, edge_bps: float) -> None:
    """Measure what an edge is worth, unless that is known."""
    path = calibration.worth(edge_bps)
    with locked(path):
        remove_unfinished(path.parent, path.name)
        if not path.exists():
            write_json(path, price_edge(calibration.request, edge_bps))


def do_world(calibration: Calibration, name: str, *, universes: Path) -> WorldRecord:
    """Do a world and write its record, unless it is there.

    Parameters
    ----------
    calibration
        Where.
    name
        Which world.
    universes
        Folder of the dated lists of symbols.

    Raises
    ------
    ConfigError
        The request has no such world, or its edge is not to be had.
    SenseQuantError
        A stage cannot do its work.
    """
    world = calibration.worlds.get(name)
    if world is None:
        raise ConfigError(
            "world is not planned",
            where=str(calibration.root),
            expected="a world of the request",
            found=repr(name),
        )
    path = calibration.record(name)
    with locked(path):
        remove_unfinished(path.parent, path.name)
        if not path.exists():
            record = try_world(
                calibration.request,
                world,
                edge_bps=_edge_of(calibration, world),
                work=calibration.work,
                universes=universes,
            )
            write_json(path, record)
    return WorldRecord.model_validate(read_json(path))


def do_worth_apart(calibration: Calibration, edge_bps: float) -> None:
    """Measure what an edge is worth in a process of its own."""
    with _process() as pool:
        pool.submit(do_worth, calibration, edge_bps).result()


def do_world_apart(calibration: Calibration, name: str, *, universes: Path) -> WorldRecord:
    """Do a world in a process of its own, which begins with nothing in its memory."""
    with _process() as pool:
        return pool.submit(do_world, calibration, name, universes=universes).result()


def close_calibration(calibration: Calibration) -> CalibrationSummary:
    """Write what the worlds that are done say together: JSON, table, page and chart."""
    # Loads what draws charts, which no world needs.
    from sensequant.reports.power_chart import power_chart  # noqa: PLC0415

    records = calibration.records()
    summary = summarise(calibration.request, records, calibration.worths())
    root = calibration.root
    chart = power_chart(summary.walks, summary.levels)
    write_together(
        {
            root / "worlds.parquet": table_bytes(world_table(records)),
            root / CHART_NAME: chart.encode(),
            root / "calibration.md": render_calibration(summary).encode(),
            root / "calibration.json": json_bytes(summary),
        }
    )
    return summary


def _process() -> ProcessPoolExecutor:
    # It begins as a copy of one that has loaded the libraries of all stages and done nothing else:
    # loading them anew would be a sixth of a small world.
    context = get_context("forkserver")
    context.set_forkserver_preload([_LIBRARIES])
    return ProcessPoolExecutor(1, mp_context=context)


def _edge_of(calibration: Calibration, world: World) -> float:
    if world.oracle_sharpe_asked is None:
        return 0.0
    return edge_for(world.oracle_sharpe_asked, calibration.worths())
