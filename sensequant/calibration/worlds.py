"""One world: the whole pipeline on a market whose truth is known, and what its gates said.

Belongs here: which worlds there are, doing one, and its record. Does not belong here: what all
of them say together (`calibration.summary`), the order of the work (`calibration.work`).

A world follows from the request's seed, law and method, and from its own name; neither from the
others nor from how many there are. So more worlds can be added to those that are there.
"""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from pydantic import Field

from sensequant.calibration.oracle import oracle_sharpe
from sensequant.calibration.request import CalibrationRequest
from sensequant.calibration.throwaway import judged_apart, throwaway_home
from sensequant.records import Finite, Record, derive_seed
from sensequant.release.gates import Decision, Gate, GateOutcome, Verdict
from sensequant.stages.context import Run, RunSettings
from sensequant.stages.evidence import read_summary
from sensequant.storage import read_table

__all__ = ["GateSaid", "Truth", "World", "WorldRecord", "planned", "try_world"]


class Truth(StrEnum):
    """What there is to find."""

    NOTHING = "nothing"
    EDGE = "edge"


class World(Record):
    """A market to be: its name, its seed, and what is planted in it."""

    name: str = Field(pattern=r"^(walk|oracle_[0-9.]+)_[0-9]{4,}$")
    truth: Truth
    seed: int
    oracle_sharpe_asked: Finite | None = None
    """Yearly net Sharpe ratio that the planted edge is worth over many markets."""


class GateSaid(Record):
    """What one gate said of one world."""

    name: str
    outcome: GateOutcome
    observed: Finite | None
    lower: Finite | None
    upper: Finite | None
    limit: Finite


class WorldRecord(Record):
    """What the pipeline made of one world; a function of request, code and name."""

    world: World
    edge_bps: Finite
    decision: Decision
    gates: tuple[GateSaid, ...]
    auc: Finite | None
    net_sharpe: Finite | None
    oracle_sharpe: Finite | None
    """What the oracle earned in this very world, on the sessions and stocks of the students."""
    detectable_sharpe: Finite | None
    n_scored_sessions: int
    n_windows: int
    code_version: str

    @property
    def is_approved(self) -> bool:
        """Whether every gate passed."""
        return self.decision is Decision.APPROVE


def planned(request: CalibrationRequest) -> list[World]:
    """Return all worlds of a request: first those without anything to find, then by edge."""
    return [*_walks(request), *_edges(request)]


def try_world(
    request: CalibrationRequest,
    world: World,
    *,
    edge_bps: float,
    work: Path,
    universes: Path,
) -> WorldRecord:
    """Run the pipeline on one world, in a home that is removed afterwards.

    Parameters
    ----------
    request
        Law and method.
    world
        One of `planned`.
    edge_bps
        The edge to plant, in basis points per session.
    work
        Folder of throwaway homes.
    universes
        Folder of the dated lists of symbols.

    Raises
    ------
    SenseQuantError
        A stage cannot do its work.
    """
    market = request.market(seed=world.seed, edge_bps=edge_bps)
    settings = RunSettings(request=request.run_request(market), config=request.config)
    with throwaway_home(work, world.name) as home:
        run, verdict = judged_apart(home, settings, universes=universes)
        return _recorded(run, verdict, world, edge_bps=edge_bps)


def _walks(request: CalibrationRequest) -> Iterator[World]:
    for number in range(request.n_worlds):
        seed = derive_seed(request.seed, "walk", str(number))
        yield World(name=f"walk_{number:04d}", truth=Truth.NOTHING, seed=seed)


def _edges(request: CalibrationRequest) -> Iterator[World]:
    for sharpe in request.oracle_sharpes:
        for number in range(request.n_edge_worlds):
            yield World(
                name=f"oracle_{sharpe:g}_{number:04d}",
                truth=Truth.EDGE,
                seed=derive_seed(request.seed, "edge", f"{sharpe:g}", str(number)),
                oracle_sharpe_asked=sharpe,
            )


def _recorded(run: Run, verdict: Verdict, world: World, *, edge_bps: float) -> WorldRecord:
    summary = read_summary(run)
    bars = run.bars
    scored = read_table(run.folder.predictions).drop_nulls("score")
    return WorldRecord(
        world=world,
        edge_bps=edge_bps,
        decision=verdict.decision,
        gates=tuple(_said(gate) for gate in verdict.gates),
        auc=summary.classification.auc.value,
        net_sharpe=summary.strategy.net_sharpe.value,
        oracle_sharpe=oracle_sharpe(bars, scored, run.config),
        detectable_sharpe=verdict.detectable_sharpe,
        n_scored_sessions=scored["session"].n_unique(),
        n_windows=summary.n_windows,
        code_version=run.record.code_version,
    )


def _said(gate: Gate) -> GateSaid:
    return GateSaid.model_validate(gate.model_dump(include=set(GateSaid.model_fields)))
