"""The options of the commands about bars, as they are typed.

Belongs here: names of options, their help, and the request that they mean. Does not belong here:
what a request means (`sensequant.ingestion`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

if TYPE_CHECKING:
    from sensequant.ingestion.discoveries import DiscoveryRequest
    from sensequant.ingestion.request import BackfillRequest
    from sensequant.market.selection import SymbolSelection
    from sensequant.market.sources.build import SourceConfig, SourceKind

__all__ = [
    "BarsArguments",
    "ExportArguments",
    "SourceArguments",
    "SymbolArguments",
    "discovery_of",
    "request_of",
    "source_of",
    "symbols_of",
]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class SourceArguments:
    """Where bars come from.

    Parameters
    ----------
    source
        simulated, files (with --data), breeze-simulator or breeze.
    data
        Folder of files; with breeze-simulator, the real bars that it serves.
    actions
        NSE's list of corporate actions.
    calls_per_minute
        Requests in any 60 seconds; with breeze-simulator, the vendor's limits hold then too.
    calls_per_day
        Requests in a day of India.
    block
        Name of the Prefect block with the credentials.
    """

    source: str | None = None
    data: Path | None = None
    actions: Path | None = None
    calls_per_minute: int | None = None
    calls_per_day: int | None = None
    block: str | None = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class SymbolArguments:
    """Which symbols.

    Parameters
    ----------
    symbols
        NSE tickers, separated by commas: RELIANCE,TCS.
    universe
        Name of a dated list of symbols: nifty100, metals_etfs, pilot, or all.
    symbols_file
        File with one ticker per line.
    """

    symbols: str | None = None
    universe: str | None = None
    symbols_file: Path | None = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class BarsArguments(SymbolArguments):
    """Which bars.

    Parameters
    ----------
    interval
        Lengths of bars, separated by commas: 1day,30minute,5minute,1minute.
    start
        First session; 2022-01-01 when left out.
    end
        Last session; the last one that has closed when left out.
    compare_with
        Second source, files or breeze, whose stored daily bars these are held against.
    """

    interval: Annotated[str, Parameter(name=["--interval", "--intervals"])] = "1day"
    start: str | None = None
    end: str | None = None
    compare_with: str | None = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ExportArguments:
    """What exported files are like.

    Parameters
    ----------
    adjusted
        Without the jumps of splits and bonuses.
    parquet
        Parquet in place of CSV.
    final_only
        Leave out bars that may still change.
    one_file
        All symbols in one file.
    overwrite
        Replace files that are there.
    """

    adjusted: Annotated[bool, Parameter(negative="")] = False
    parquet: Annotated[bool, Parameter(negative="")] = False
    final_only: Annotated[bool, Parameter(negative="")] = False
    one_file: Annotated[bool, Parameter(negative="")] = False
    overwrite: Annotated[bool, Parameter(negative="")] = False


def source_of(
    arguments: SourceArguments | None, *, default: "SourceKind | None" = None
) -> "SourceConfig":
    """Return the source that the arguments describe; of the kind `default` where they name none.

    Raises
    ------
    ConfigError
        A setting is wrong or belongs to another kind of source.
    """
    from sensequant.cli.asking import build_model  # noqa: PLC0415
    from sensequant.market.sources.build import SourceConfig  # noqa: PLC0415

    given = arguments or SourceArguments()
    pace = _given(calls_per_minute=given.calls_per_minute, calls_per_day=given.calls_per_day)
    fields = _given(
        kind=given.source or default or (None if given.data is None else "files"),
        # A worker in another working folder must find the same files.
        folder=_absolute(given.data),
        actions_path=_absolute(given.actions),
        breeze=pace or None,
        credentials_block=given.block,
    )
    return build_model(SourceConfig, fields, where="source")


def request_of(bars: BarsArguments | None, source: SourceArguments | None) -> "BackfillRequest":
    """Return the request that the arguments describe.

    Raises
    ------
    ConfigError
        An argument is wrong or contradicts another one.
    """
    from sensequant.cli.asking import build_model  # noqa: PLC0415
    from sensequant.ingestion.request import BackfillRequest  # noqa: PLC0415

    asked = bars or BarsArguments()
    fields = _given(
        intervals=[name.strip() for name in asked.interval.split(",")],
        start=asked.start,
        end=asked.end,
        compare_with=asked.compare_with,
    )
    fields |= {**_symbol_fields(asked), "source": source_of(source)}
    return build_model(BackfillRequest, fields, where="request")


def discovery_of(
    symbols: SymbolArguments | None, source: SourceArguments | None
) -> "DiscoveryRequest":
    """Return the request to look symbols up that the arguments describe.

    Raises
    ------
    ConfigError
        An argument is wrong or contradicts another one.
    """
    from sensequant.cli.asking import build_model  # noqa: PLC0415
    from sensequant.ingestion.discoveries import DiscoveryRequest  # noqa: PLC0415

    fields = _symbol_fields(symbols or SymbolArguments())
    fields["source"] = source_of(source, default="breeze-simulator")
    return build_model(DiscoveryRequest, fields, where="request")


def symbols_of(symbols: SymbolArguments | None) -> "SymbolSelection":
    """Return the selection of symbols that the arguments describe.

    Raises
    ------
    ConfigError
        A symbol is malformed, or symbols are named in more than one way.
    """
    from sensequant.cli.asking import build_model  # noqa: PLC0415
    from sensequant.market.selection import SymbolSelection  # noqa: PLC0415

    fields = _symbol_fields(symbols or SymbolArguments())
    return build_model(SymbolSelection, fields, where="symbols")


def _symbol_fields(asked: SymbolArguments) -> dict[str, Any]:
    from sensequant.market.symbols import parse_symbols  # noqa: PLC0415

    return _given(
        symbols=None if asked.symbols is None else parse_symbols(asked.symbols),
        universe=asked.universe,
        symbols_file=_absolute(asked.symbols_file),
    )


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.expanduser().absolute()


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
