"""Commands about what is known beside the bars: books, headlines, macro series.

Belongs here: what can be typed, and which function answers. Does not belong here: the answers.
"""

import sys
from datetime import date
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter, validators

from sensequant.cli.data_arguments import SourceArguments, SymbolArguments, source_of
from sensequant.cli.output import console_for
from sensequant.cli.place import Place

__all__ = ["register_context_commands"]

_GROUP = "Context"
_Minutes = Annotated[float, Parameter(validator=validators.Number(gt=0, lte=1_440))]
_Seconds = Annotated[float, Parameter(validator=validators.Number(gte=0, lte=86_400))]

depth_app = App(name="depth", help="Order books of many levels.", group=_GROUP)
options_app = App(name="options", help="Option chains and what they imply.", group=_GROUP)
sentiment_app = App(name="sentiment", help="Headlines, scored.", group=_GROUP)
macro_app = App(name="macro", help="Indices, exchange rate, yield, gold.", group=_GROUP)
context_app = App(name="context", help="What is known beside the bars.", group=_GROUP)


def register_context_commands(app: App) -> None:
    """Add the commands about context to the command line."""
    app.command(depth_app)
    app.command(options_app)
    app.command(sentiment_app)
    app.command(macro_app)
    app.command(context_app)


@depth_app.command(name="import")
def import_depth(
    path: Path,
    /,
    *,
    symbol: str | None = None,
    delay_seconds: _Seconds = 0.0,
    source: SourceArguments | None = None,
    place: Place | None = None,
) -> None:
    """Bring files of order books; snapshots that cannot be used are kept with their reason.

    Parameters
    ----------
    path
        File or folder of CSV, plain or gzipped, or Parquet (docs/context.md says which columns).
    symbol
        Whose books; that with which a file's name begins when left out.
    delay_seconds
        How long after its time a snapshot was known.
    source
        simulated or breeze-simulator for invented books, all others are real.
    place
        Where data are.
    """
    _import("depth", place, source, path=path, symbol=symbol, delay_seconds=delay_seconds)


@depth_app.command(name="capture")
def capture_depth(
    *,
    symbols: SymbolArguments | None = None,
    minutes: _Minutes | None = None,
    set_: Annotated[tuple[str, ...], Parameter(name="--set")] = (),
    source: SourceArguments | None = None,
    place: Place | None = None,
    verbose: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Listen to the order books of the running session, five levels each, to the close.

    Started before the open, it waits for it. Exits with 1 if the vendor ended it, or ticks were
    lost for want of room.

    Parameters
    ----------
    symbols
        Whose books.
    minutes
        How long; to the close when left out.
    set_
        A setting of the capture, as silence_seconds=30.
    source
        breeze, or breeze-simulator.
    place
        Where data and server are.
    verbose
        Show Prefect's log instead of progress bars.
    """
    from sensequant.cli.live_context import capture_request, start_capture  # noqa: PLC0415

    chosen = source_of(source, default="breeze")
    asked = capture_request(symbols or SymbolArguments(), minutes, set_, chosen)
    return start_capture(asked, (place or Place()).environment(), is_verbose=verbose)


@options_app.command(name="snapshot")
def snapshot_options(
    *,
    symbols: str = "NIFTY",
    expiry: str | None = None,
    rate: Annotated[float, Parameter(validator=validators.Number(gte=-0.05, lte=0.5))] = 0.065,
    dividend: Annotated[float, Parameter(validator=validators.Number(gte=0, lte=0.5))] = 0.0,
    source: SourceArguments | None = None,
    place: Place | None = None,
    verbose: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Keep what the option chains say now, with the volatility that each price implies.

    Exits with 1 if no contract was stored in an open session.

    Parameters
    ----------
    symbols
        Underlyings, separated by commas: NIFTY,RELIANCE.
    expiry
        Dates at which contracts end, separated by commas; those that the vendor lists for three
        months when left out.
    rate
        Rate of interest in a year, a fraction.
    dividend
        Rate of dividends in a year, a fraction.
    source
        breeze, or breeze-simulator.
    place
        Where data and server are.
    verbose
        Show Prefect's log instead of progress bars.
    """
    from sensequant.cli.live_context import snapshot_request, start_snapshot  # noqa: PLC0415

    chosen = source_of(source, default="breeze")
    asked = snapshot_request(symbols, expiry, {"rate": rate, "dividend": dividend}, chosen)
    return start_snapshot(asked, (place or Place()).environment(), is_verbose=verbose)


@sentiment_app.command(name="import")
def import_headlines(
    path: Path,
    /,
    *,
    symbol: str | None = None,
    source: SourceArguments | None = None,
    place: Place | None = None,
) -> None:
    """Bring dated headlines; what cannot be used is kept with its reason.

    Parameters
    ----------
    path
        File or folder of CSV, plain or gzipped, Parquet, or RSS (docs/context.md says which
        columns).
    symbol
        Whom they are about; as the rows or the file's name say when left out.
    source
        simulated or breeze-simulator for invented headlines, all others are real.
    place
        Where data are.
    """
    _import("sentiment", place, source, path=path, symbol=symbol)


@sentiment_app.command(name="fetch")
def fetch_headlines(
    *,
    query: Annotated[tuple[str, ...], Parameter(negative="")],
    start: date,
    end: date,
    language: str = "en",
    block: str | None = None,
    settings: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
    place: Place | None = None,
) -> None:
    """Fetch headlines from NewsAPI; what cannot be used is kept with its reason.

    The key is that of NEWSAPI_KEY or of a Prefect block, and is sent as a header alone.

    Parameters
    ----------
    query
        SYMBOL=WORDS: whose headlines, and by which words the service finds them; may be repeated.
    start, end
        First and last day of publication, UTC.
    language
        Two letters.
    block
        Prefect block that holds the key; NEWSAPI_KEY, or the block newsapi, when left out.
    settings
        One setting of the service: n_tries=2; may be repeated.
    place
        Where data are.
    """
    from sensequant.cli.context import print_fetched  # noqa: PLC0415

    env = (place or Place()).environment()
    print_fetched(
        console_for(sys.stdout),
        env.home,
        {"words": query, "start": start, "end": end, "language": language},
        block=block,
        settings=settings,
    )


@macro_app.command(name="import")
def import_macro(
    path: Path,
    /,
    *,
    series: str | None = None,
    source: SourceArguments | None = None,
    place: Place | None = None,
) -> None:
    """Bring macro series: indices, exchange rate, yield, gold; holes and refusals are kept.

    Parameters
    ----------
    path
        File or folder of CSV, plain or gzipped, or Parquet (docs/context.md says which columns).
    series
        Which series a file holds that does not say so: USDINR, IN10Y, GOLD, or an index.
    source
        simulated or breeze-simulator for invented values, all others are real.
    place
        Where data are.
    """
    _import("macro", place, source, path=path, symbol=series)


@macro_app.command(name="bars")
def import_index_bars(*, source: SourceArguments | None = None, place: Place | None = None) -> None:
    """Take the stored daily bars of indices as macro series, each known at its close.

    Parameters
    ----------
    source
        Whose bars.
    place
        Where data are.
    """
    _import("index_bars", place, source)


def _import(
    kind: str, place: Place | None, source: SourceArguments | None, **fields: object
) -> None:
    from sensequant.cli.asking import build_model  # noqa: PLC0415
    from sensequant.cli.context import print_import  # noqa: PLC0415
    from sensequant.ingestion.context_imports import ContextImport  # noqa: PLC0415

    given = {"kind": kind, "source": source_of(source, default="breeze"), **fields}
    asked = build_model(ContextImport, given, where="import")
    print_import(console_for(sys.stdout), (place or Place()).environment().home, asked)


@context_app.command(name="coverage")
def coverage(
    *,
    json: Annotated[bool, Parameter(negative="")] = False,
    source: SourceArguments | None = None,
    place: Place | None = None,
) -> None:
    """Say what is known beside the bars: kinds, symbols, dates, corrections, refused rows.

    Parameters
    ----------
    json
        Print a list of JSON objects, one for each kind and symbol.
    source
        simulated or breeze-simulator for what belongs to invented bars.
    place
        Where data are.
    """
    from sensequant.cli.context import print_context  # noqa: PLC0415

    home = (place or Place()).environment().home
    print_context(console_for(sys.stdout), home, source_of(source, default="breeze"), is_json=json)
