"""Tasks about names: which code the vendor has for a symbol."""

from prefect import task

from blocks.environment import UNIVERSES_FOLDER, environment_now
from sensequant.ingestion.discoveries import (
    DiscoveryRequest,
    discover_symbols,
    write_discovery,
)
from sensequant.market.discovery import Discovery
from tasks.artifacts import show_discovery
from tasks.sources import intake_of
from tasks.telling import say, utc_now

__all__ = ["look_up_symbols"]


@task(task_run_name="look symbols up")
def look_up_symbols(request: DiscoveryRequest) -> Discovery:
    """Map the symbols by the vendor's list of today and keep what was found."""
    home = environment_now().home
    context = intake_of(request.source)
    found = discover_symbols(request, context, home=home, universes=UNIVERSES_FOLDER, now=utc_now())
    path = write_discovery(home / context.store_key, found)
    show_discovery(found)
    say("symbols looked up", mapped=found.n_mapped, symbols=found.n_symbols, record=str(path))
    return found
