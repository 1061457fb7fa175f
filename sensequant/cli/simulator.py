"""The simulator of the vendor on a terminal: start, where it is, end.

Belongs here: its life as a program. Does not belong here: what it serves
(`sensequant.breeze_simulator`).
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

from rich.console import Console

from sensequant.breeze_simulator.access import simulated_login
from sensequant.breeze_simulator.faults import parse_fault
from sensequant.breeze_simulator.limits import UNLIMITED, Limits
from sensequant.breeze_simulator.server import BreezeSimulator, Ports
from sensequant.cli.output import print_facts
from sensequant.ingestion.places import market_digest
from sensequant.ingestion.simulators import announce_simulator, feed_of
from sensequant.market.sources.build import SourceConfig

__all__ = ["serve_simulator"]


def serve_simulator(
    console: Console,
    source: SourceConfig,
    home: Path,
    *,
    ports: tuple[int, int],
    faults: Iterable[str],
    is_unlimited: bool,
    until: Event | None = None,
) -> None:
    """Serve until Ctrl-C, and tell runs below `home` where.

    Parameters
    ----------
    console
        Where to print.
    source
        Market to serve.
    home
        Where runs look for it.
    ports
        Of HTTP and of the socket.
    faults
        Switches as text (`breeze_simulator.faults.parse_fault`).
    is_unlimited
        Whether the limits of calls are lifted.
    until
        Ends it when set; None: Ctrl-C alone.

    Raises
    ------
    ConfigError
        A port is taken, a fault is unknown, or there are no bars to serve.
    """
    simulator = BreezeSimulator(
        feed_of(source),
        clock=lambda: datetime.now(UTC),
        login=simulated_login(int(datetime.now(UTC).timestamp())),
        faults=[parse_fault(text) for text in faults],
        limits=UNLIMITED if is_unlimited else Limits(),
        ports=Ports(http=ports[0], stream=ports[1]),
    )
    with simulator:
        file = announce_simulator(home, simulator, market_digest=market_digest(source))
        told = file.read_bytes()
        facts = [
            ("simulated vendor", "Breeze API; its bars are marked as simulated"),
            ("v1", simulator.endpoints.v1),
            ("v2", simulator.endpoints.v2),
            ("stream", simulator.endpoints.stream),
            ("symbols", str(len(simulator.market.symbols()))),
            ("runs find it by", str(file)),
            ("stop", "Ctrl-C"),
        ]
        print_facts(console, facts)
        try:
            (until or Event()).wait()
        finally:
            # A simulator that was started later may have put its own there.
            if file.exists() and file.read_bytes() == told:
                file.unlink()
