"""Fetch headlines about companies from NewsAPI."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from sensequant.context.newsapi import NewsApiConfig, NewsQuestion
from tasks.context_imports import ask_newsapi

__all__ = ["fetch_headlines"]


def _name_run() -> str:
    asked = NewsQuestion.model_validate(flow_run.get_parameters()["question"])
    return f"headlines of {len(asked.words)} symbols · {asked.start} to {asked.end}"


@flow(name="fetch-headlines", flow_run_name=_name_run)
def fetch_headlines(
    question: NewsQuestion, config: NewsApiConfig = NewsApiConfig(), block: str | None = None
) -> State[Any]:
    """Fetch headlines by the key of a block or of the environment, and keep what was refused.

    Args:
        question: Whose headlines, of which days.
        config: Where the service is, and how patiently it is asked.
        block: Block of type NewsAPI Key; NEWSAPI_KEY or the block `newsapi` where none is named.
    """
    found = ask_newsapi(question, config, block)
    return Completed(message=found.headline, data=found)
