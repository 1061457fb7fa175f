"""Bring what is known beside the bars: order books, headlines, macro series."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from sensequant.ingestion.context_imports import ContextImport
from tasks.context_imports import bring_context

__all__ = ["import_context"]


def _name_run() -> str:
    asked = ContextImport.model_validate(flow_run.get_parameters()["request"])
    return f"import {asked.kind} · {asked.path or asked.source.kind}"


@flow(name="import-context", flow_run_name=_name_run)
def import_context(request: ContextImport) -> State[Any]:
    """Bring files of order books, headlines or macro series; keep what was refused with its reason.

    Args:
        request: What, from where, and to which store.
    """
    found = bring_context(request)
    return Completed(message=found.headline, data=found)
