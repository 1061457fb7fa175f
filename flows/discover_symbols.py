"""Look up at the vendor which code each symbol has, and what has changed since the last time."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from sensequant.ingestion.discoveries import DiscoveryRequest
from tasks.symbols import look_up_symbols

__all__ = ["discover_symbols"]


def _name_run() -> str:
    asked = DiscoveryRequest.model_validate(flow_run.get_parameters()["request"])
    return f"symbols of {asked.title} · {asked.source.kind}"


@flow(name="discover-symbols", flow_run_name=_name_run)
def discover_symbols(request: DiscoveryRequest = DiscoveryRequest()) -> State[Any]:
    """Read the vendor's list of today, map the symbols, and tell what is odd.

    Args:
        request: Symbols and vendor.
    """
    found = look_up_symbols(request)
    message = f"{found.n_mapped} of {found.n_symbols} symbols have a code"
    return Completed(message=message, data=found)
