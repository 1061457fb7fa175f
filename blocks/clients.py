"""The client of the Prefect server, for those that know no Prefect.

Belongs here: opening one. Does not belong here: what is asked of it. Prefect reads its variables
when it is imported, so this module is imported only after they are set.
"""

from prefect.client.orchestration import SyncPrefectClient as Client
from prefect.client.orchestration import get_client

__all__ = ["Client", "open_client"]


def open_client() -> Client:
    """Return a client of the server that the environment names; the caller closes it."""
    return get_client(sync_client=True)
