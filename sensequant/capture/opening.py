"""From an open source to everything that a capture needs.

Belongs here: rooms of symbols, and the socket with the login of the source. Does not belong here:
opening the source (`sensequant.ingestion.opening`).
"""

from collections.abc import Sequence

from sensequant.capture.session import CaptureParts
from sensequant.context.store import ContextStore
from sensequant.errors import ConfigError, UnknownSymbolError
from sensequant.ingestion.context import IngestContext
from sensequant.market.sources.breeze.client import Timing
from sensequant.market.sources.breeze.config import BreezeConfig
from sensequant.market.sources.breeze.depth_socket import depth_room
from sensequant.market.sources.breeze.source import BreezeSource

__all__ = ["breeze_of", "capture_parts"]


def breeze_of(context: IngestContext) -> BreezeSource:
    """Return the vendor's source of a context.

    Raises
    ------
    ConfigError
        The source is another one, which has neither depth nor options.
    """
    if isinstance(context.source, BreezeSource):
        return context.source
    raise ConfigError(
        "source has no order books and no options to ask for",
        where="source.kind",
        expected="breeze or breeze-simulator",
        found=context.source.name,
        remedy="name another source, or import files",
    )


def capture_parts(
    context: IngestContext, store: ContextStore, symbols: Sequence[str], timing: Timing
) -> CaptureParts:
    """Return what a capture of these symbols works with; the socket is not open yet.

    Raises
    ------
    ConfigError
        The source is no vendor.
    UnknownSymbolError
        No symbol has a token.
    StopSourceError, RetryableError
        There is no login.
    """
    source = breeze_of(context)
    rooms, unknown = dict[str, str](), dict[str, UnknownSymbolError]()
    for symbol in symbols:
        try:
            rooms[depth_room(source.symbol_map.token(symbol))] = symbol
        except UnknownSymbolError as error:
            # A session does not come again; what the others say is not lost for one that is gone.
            unknown[symbol] = error
    if unknown and not rooms:
        raise next(iter(unknown.values()))
    proof = (source.config or BreezeConfig()).proof_stock_code
    return CaptureParts(
        socket=source.client.depth_socket(),
        prove=lambda: source.client.quotes(proof),
        symbols=rooms,
        unknown=tuple(unknown),
        source=source.name,
        store=store,
        calendar=context.calendar,
        timing=timing,
    )
