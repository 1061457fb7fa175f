"""Tasks that bring what is known beside the bars, from files or a service, and their page."""

from prefect import task

from blocks.credentials import newsapi_key
from blocks.environment import environment_now
from sensequant.context.files import ImportReport
from sensequant.context.headlines import HEADLINES
from sensequant.context.newsapi import NewsApiConfig, NewsQuestion, fetch_headlines
from sensequant.ingestion.context_imports import ContextImport, import_context
from sensequant.ingestion.places import context_store_at
from sensequant.market.sources.build import SourceConfig
from sensequant.records import Record
from tasks.artifacts import show_context_import
from tasks.telling import say, utc_now

__all__ = ["ContextImported", "ask_newsapi", "bring_context", "imported_of"]


class ContextImported(Record):
    """What an import did, as the flow run keeps it."""

    kind: str
    n_files: int
    n_symbols: int
    n_added: int
    n_corrected: int
    n_known: int
    n_refused: int
    reasons: dict[str, int]

    @property
    def headline(self) -> str:
        """What became of the rows, in a line."""
        return (
            f"{self.n_added} added, {self.n_corrected} corrected, {self.n_known} known already, "
            f"{self.n_refused} refused"
        )


@task(task_run_name="import {asked.kind}")
def bring_context(asked: ContextImport) -> ContextImported:
    """Bring files into the store, and show what was refused and why."""
    report = import_context(environment_now().home, asked, at=utc_now())
    return _shown(asked.stored_kind, report)


@task(task_run_name="ask NewsAPI")
def ask_newsapi(
    question: NewsQuestion, config: NewsApiConfig, block: str | None
) -> ContextImported:
    """Fetch headlines into the store of real context; the key is no parameter of a task."""
    report = fetch_headlines(
        context_store_at(environment_now().home, SourceConfig(kind="breeze")),
        question,
        key=newsapi_key(block),
        config=config,
        fetched_at=utc_now(),
    )
    return _shown(HEADLINES.name, report)


def _shown(kind: str, report: ImportReport) -> ContextImported:
    found = imported_of(kind, report)
    counts = found.model_dump(exclude={"schema_version", "reasons"})
    show_context_import(counts, report.refused)
    say("context imported", **counts)
    return found


def imported_of(kind: str, report: ImportReport) -> ContextImported:
    """Return the counts of an import."""
    counts = report.counts
    return ContextImported(
        kind=kind,
        n_files=report.n_files,
        n_symbols=len(report.symbols),
        n_added=counts.n_added,
        n_corrected=counts.n_corrected,
        n_known=counts.n_known,
        n_refused=report.refused.height,
        reasons=dict(report.refused["reason"].value_counts(sort=True).iter_rows()),
    )
