"""The options of `sensequant run`, `predict`, `backtest` and `calibrate-verdict`, as typed.

Belongs here: names of options and their help. Does not belong here: what they mean (`cli.asking`),
so that the help does not wait for the libraries that know.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

__all__ = ["BacktestArguments", "CalibrationArguments", "PredictArguments", "RunArguments"]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RunArguments:
    """Which data, which method, and how to execute it.

    Parameters
    ----------
    symbols
        NSE tickers, separated by commas: RELIANCE,TCS.
    universe
        Name of a dated list of symbols: nifty100.
    symbols_file
        File with one ticker per line.
    start
        First session that a window may hold.
    end
        Last session that a window may hold.
    source
        Where bars come from: simulated, files (with --data), breeze-simulator or breeze.
    data
        Folder of the files; with breeze-simulator, the real bars that it serves.
    index_data
        Folder of the index files; looked for beside the data when left out.
    workers
        Units that run side by side; the number of cores when left out.
    runner
        Dask cluster that does the windows and crises, as dask://HOST:PORT of its scheduler; threads
        of this machine when left out.
    gpu_pools
        Work pools, one per GPU, that share the windows: gpu-0,gpu-1; this process alone when left
        out.
    pool_start_seconds
        Time that such a pool has to begin its windows before others take them.
    skip_fetch
        Use the bars that are already stored.
    stages
        Stages to execute, separated by commas; all eight when left out.
    config
        YAML or JSON file of settings.
    set
        One setting: teacher.booster.num_leaves=31; may be repeated.
    seed
        Seed of everything that draws at random.
    run
        An existing run to execute --stages of, with its own request and settings.
    resume
        A run that failed or was killed: do what is left of it, its own stages, nothing twice.
    """

    symbols: str | None = None
    universe: str | None = None
    symbols_file: Path | None = None
    start: str | None = None
    end: str | None = None
    source: str | None = None
    data: Path | None = None
    index_data: Path | None = None
    workers: int | None = None
    runner: str | None = None
    gpu_pools: str | None = None
    pool_start_seconds: int | None = None
    skip_fetch: Annotated[bool, Parameter(negative="")] = False
    stages: str | None = None
    config: Path | None = None
    set: Annotated[tuple[str, ...], Parameter(negative="")] = ()
    seed: int | None = None
    run: str | None = None
    resume: str | None = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class PredictArguments:
    """Which student scores which bars.

    Parameters
    ----------
    run
        The run whose students score, latest when left out; its bars come from the store that it was
        ingested into.
    env
        The environment whose model scores, in place of a run: staging or production.
    student
        A student's file from elsewhere, in place of those of the run; it is tried out in a process
        of its own before it is loaded here.
    sha256
        Digest that the file must have.
    symbols
        NSE tickers, separated by commas; all symbols of the run when left out.
    start
        First session to score; the last stored one when left out.
    end
        Last session to score; the last stored one when left out.
    output
        File to write the scores to: .parquet or .csv.
    """

    run: str | None = None
    env: Literal["staging", "production"] | None = None
    student: Path | None = None
    sha256: str | None = None
    symbols: str | None = None
    start: str | None = None
    end: str | None = None
    output: Path | None = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class BacktestArguments:
    """What is traded, from when to when, and by which settings.

    Parameters
    ----------
    run
        The run whose scores are traded; latest when left out.
    start
        First session; 2022-01-01 when left out.
    end
        Last session; the last stored one when left out.
    interval
        Length of the bars; 1day, or for intraday 1minute, when left out.
    set
        One setting: strategy.stop_frac=0.05, portfolio.position_frac=0.2, costs.slippage_bps=10,
        with scores backtest.threshold=0.6; may be repeated.
    output
        Folder for the tables: equity, exposure, positions, trades, round trips.
    """

    run: str | None = None
    start: str | None = None
    end: str | None = None
    interval: str | None = None
    set: Annotated[tuple[str, ...], Parameter(negative="")] = ()
    output: Path | None = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class CalibrationArguments:
    """How many worlds of which kind, under which method.

    Parameters
    ----------
    universes
        Worlds of random walks, each a universe of stocks of its own; 200 when left out.
    edge_universes
        Worlds for each planted edge, 0 for none; 40 when left out.
    oracle_sharpe
        Edges to plant, separated by commas, each by the yearly net Sharpe ratio of an oracle that
        knows it; 0,1,2,3,4,5 when left out.
    symbols
        Stocks of a world; 50 when left out.
    years
        Length of the range of each run; 3 when left out.
    seed
        Seed of all worlds.
    set
        One setting: walk.tail_degrees_of_freedom=4, config.labels.horizon_sessions=5; may be
        repeated.
    workers
        Worlds that run side by side; the number of cores when left out.
    """

    universes: int | None = None
    edge_universes: int | None = None
    oracle_sharpe: str | None = None
    symbols: int | None = None
    years: int | None = None
    seed: int | None = None
    set: Annotated[tuple[str, ...], Parameter(negative="")] = ()
    workers: int | None = None
