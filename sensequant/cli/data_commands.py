"""Commands about bars: ingest, coverage, export, symbols, actions, the simulator of the vendor.

Belongs here: what can be typed, and which function answers. Does not belong here: the answers.
"""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter, validators

from sensequant.cli.data_arguments import (
    BarsArguments,
    ExportArguments,
    SourceArguments,
    SymbolArguments,
    discovery_of,
    request_of,
    source_of,
)
from sensequant.cli.output import console_for
from sensequant.cli.place import Place

__all__ = ["register_data_commands"]

_GROUP = "Bars"
_Port = Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))]

symbols_app = App(
    name="symbols",
    help="What the vendor and the exchange call a company, and when.",
    group=_GROUP,
)
actions_app = App(name="actions", help="Splits, bonuses, demergers, dividends.", group=_GROUP)


def register_data_commands(app: App) -> None:
    """Add the commands about bars to the command line."""
    app.command(ingest, group=_GROUP)
    app.command(coverage, group=_GROUP)
    app.command(preflight, group=_GROUP)
    app.command(export, group=_GROUP)
    app.command(symbols_app)
    app.command(actions_app)
    app.command(breeze_simulator, name="breeze-simulator", group="Machine")


def ingest(
    bars: BarsArguments | None = None,
    source: SourceArguments | None = None,
    *,
    force: Annotated[bool, Parameter(negative="")] = False,
    incremental: Annotated[bool, Parameter(negative="")] = False,
    place: Place | None = None,
    verbose: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Fetch the bars that are missing, chunk by chunk, then cross-check and audit them.

    Parameters
    ----------
    bars
        Which bars.
    source
        Where they come from.
    force
        Fetch every session again, whatever the ledger knows.
    incremental
        Begin after the last final session of each symbol and interval.
    place
        Where data and server are.
    verbose
        Show Prefect's log instead of progress bars.
    """
    from sensequant.cli.asking import build_model  # noqa: PLC0415
    from sensequant.cli.ingest import start_backfill  # noqa: PLC0415
    from sensequant.ingestion.request import BackfillOptions  # noqa: PLC0415

    request = request_of(bars, source)
    fields = {"force": force, "incremental": incremental}
    options = build_model(BackfillOptions, fields, where="options")
    return start_backfill(request, options, (place or Place()).environment(), is_verbose=verbose)


def coverage(
    bars: BarsArguments | None = None,
    source: SourceArguments | None = None,
    *,
    json: Annotated[bool, Parameter(negative="")] = False,
    place: Place | None = None,
) -> None:
    """Say of every session whether its bars are here, and if not, why; write the page of it.

    Parameters
    ----------
    bars
        Which bars; with no symbols, all that are stored.
    source
        Where they came from.
    json
        Print the whole audit as one JSON object.
    place
        Where data are.
    """
    from sensequant.cli.coverage import print_coverage  # noqa: PLC0415

    request = request_of(bars, source)
    home = (place or Place()).environment().home
    print_coverage(console_for(sys.stdout), request, home, is_json=json)


def preflight(
    bars: BarsArguments | None = None,
    source: SourceArguments | None = None,
    *,
    place: Place | None = None,
) -> int:
    """Say which symbols and windows a run would leave out, and why, before anything runs.

    Exits with 1 if nothing would be left to train on.

    Parameters
    ----------
    bars
        Which symbols, from when to when; windows are cut by the default settings.
    source
        Where their bars came from.
    place
        Where data are.
    """
    from sensequant.cli.coverage import print_preflight  # noqa: PLC0415

    request = request_of(bars, source)
    home = (place or Place()).environment().home
    return 0 if print_preflight(console_for(sys.stdout), request, home) else 1


def export(
    target: Path,
    /,
    bars: BarsArguments | None = None,
    source: SourceArguments | None = None,
    form: ExportArguments | None = None,
    *,
    place: Place | None = None,
) -> None:
    """Write stored bars to CSV or Parquet.

    Parameters
    ----------
    target
        Folder of the files, or with --one-file the file.
    bars
        Which bars.
    source
        Where they came from.
    form
        What the files are like.
    place
        Where data are.
    """
    from sensequant.cli.coverage import print_export  # noqa: PLC0415

    request = request_of(bars, source)
    asked = form or ExportArguments()
    print_export(
        console_for(sys.stdout),
        request,
        (place or Place()).environment().home,
        target=target,
        prices="adjusted" if asked.adjusted else "raw",
        file_format="parquet" if asked.parquet else "csv",
        final_only=asked.final_only,
        is_one_file=asked.one_file,
        overwrite=asked.overwrite,
    )


@symbols_app.command(name="discover")
def discover_symbols(
    symbols: SymbolArguments | None = None,
    source: SourceArguments | None = None,
    *,
    place: Place | None = None,
    verbose: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Look up the vendor's code of every symbol, and what has changed since the last time.

    Parameters
    ----------
    symbols
        Which symbols; with none, all of the vendor's list.
    source
        breeze, or breeze-simulator (the default).
    place
        Where data and server are.
    verbose
        Show Prefect's log.
    """
    from sensequant.cli.ingest import start_discovery  # noqa: PLC0415

    env = (place or Place()).environment()
    return start_discovery(discovery_of(symbols, source), env, is_verbose=verbose)


@symbols_app.command(name="import")
def import_symbols(
    *,
    changes: Path | None = None,
    listings: Path | None = None,
    sectors: Path | None = None,
    source: SourceArguments | None = None,
    place: Place | None = None,
) -> None:
    """Keep NSE's lists of changed symbols and of sectors, or a list of listings of one's own.

    Parameters
    ----------
    changes
        CSV or Parquet with old, new, date.
    listings
        CSV or Parquet with symbol, kind (listed, delisted, suspended, trade_to_trade), start, end,
        evidence.
    sectors
        CSV or Parquet with symbol and sector, or Industry, as in NSE's list of an index.
    source
        Source to whose bars the listings belong.
    place
        Where data are.
    """
    from sensequant.cli.coverage import print_imports  # noqa: PLC0415

    home = (place or Place()).environment().home
    config = source_of(source, default="breeze")
    print_imports(
        console_for(sys.stdout), home, config, changes=changes, listings=listings, sectors=sectors
    )


@actions_app.command(name="import")
def import_actions(
    path: Path,
    /,
    *,
    source: SourceArguments | None = None,
    place: Place | None = None,
) -> None:
    """Bring NSE's list of corporate actions to the bars of a source.

    Parameters
    ----------
    path
        CSV or Parquet as NSE hands it out.
    source
        Source to whose bars they belong; breeze when left out.
    place
        Where data are.
    """
    from sensequant.cli.coverage import print_imports  # noqa: PLC0415

    home = (place or Place()).environment().home
    config = source_of(source, default="breeze")
    print_imports(console_for(sys.stdout), home, config, actions=path)


@actions_app.command(name="check")
def check_actions(
    bars: BarsArguments | None = None,
    source: SourceArguments | None = None,
    *,
    place: Place | None = None,
) -> int:
    """Show moves over a night that no known action explains; exit with 1 if there is one.

    Nothing is corrected: whoever has looked one up writes it into confirmed_actions.csv.

    Parameters
    ----------
    bars
        Which symbols; with none, all that are stored.
    source
        Where their bars came from.
    place
        Where data are.
    """
    from sensequant.cli.coverage import print_jumps  # noqa: PLC0415

    home = (place or Place()).environment().home
    return 0 if print_jumps(console_for(sys.stdout), request_of(bars, source), home) else 1


def breeze_simulator(
    *,
    data: Path | None = None,
    port: _Port = 8790,
    stream_port: _Port = 8791,
    fault: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    unlimited: Annotated[bool, Parameter(negative="")] = False,
    place: Place | None = None,
) -> None:
    """Serve the Breeze API on this machine, to the vendor's own SDK, until Ctrl-C.

    Runs with --source breeze-simulator and the same market find it by themselves.

    Parameters
    ----------
    data
        Folder of real bars to serve; the simulated market when left out.
    port
        Port of login, history, quotes and option chain, on loopback.
    stream_port
        Port of the socket of market depth, on loopback.
    fault
        A switch: name or name:key=value,…; may be repeated (docs/breeze_simulator.md).
    unlimited
        Lift the limits of calls per minute and day.
    place
        Where runs look for it.
    """
    from sensequant.cli.simulator import serve_simulator  # noqa: PLC0415

    source = source_of(SourceArguments(source="breeze-simulator", data=data))
    serve_simulator(
        console_for(sys.stdout),
        source,
        (place or Place()).environment().home,
        ports=(port, stream_port),
        faults=fault,
        is_unlimited=unlimited,
    )
