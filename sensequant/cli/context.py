"""Imports of context, and what there is of it, on the terminal.

Belongs here: printing. Does not belong here: reading and judging files (`sensequant.context`), and
which importer takes them (`ingestion.context_imports`).
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from blocks.credentials import newsapi_key
from sensequant.cli.asking import build_model, nested_settings
from sensequant.cli.output import print_facts, print_table
from sensequant.context.files import ImportReport
from sensequant.context.headlines import HEADLINES
from sensequant.context.newsapi import NewsApiConfig, NewsQuestion, fetch_headlines
from sensequant.context.sessions import KINDS
from sensequant.errors import ConfigError
from sensequant.ingestion.context_imports import ContextImport, import_context
from sensequant.ingestion.places import context_store_at
from sensequant.market.sources.build import SourceConfig

__all__ = ["print_context", "print_fetched", "print_import"]

_COLUMNS = ("kind", "symbol", "rows", "corrections", "dates", "first", "last", "from", "refused")


def print_import(console: Console, home: Path, asked: ContextImport) -> None:
    """Bring files, or bars of indices, and print what became of their rows.

    Raises
    ------
    ConfigError, InvalidContextError, MissingBarsError
        There is no such file, it is none of its kind, or no index is stored.
    """
    _print_report(console, import_context(home, asked, at=datetime.now(UTC)), asked.stored_kind)


def print_fetched(
    console: Console,
    home: Path,
    given: dict[str, Any],
    *,
    block: str | None,
    settings: Sequence[str],
) -> None:
    """Fetch headlines from NewsAPI and print what became of them.

    Raises
    ------
    ConfigError
        The question is none, or there is no key.
    SourceError
        The service does not answer it.
    """
    words = dict(_words_of(each) for each in given["words"])
    question = build_model(NewsQuestion, given | {"words": words}, where="question")
    config = build_model(NewsApiConfig, nested_settings(settings, {}), where="settings")
    report = fetch_headlines(
        context_store_at(home, SourceConfig(kind="breeze")),
        question,
        key=newsapi_key(block),
        config=config,
        fetched_at=datetime.now(UTC),
    )
    _print_report(console, report, HEADLINES.name)


def _words_of(text: str) -> tuple[str, str]:
    symbol, separator, words = text.partition("=")
    if not separator:
        raise ConfigError(
            "query does not say whose headlines it asks for",
            where="--query",
            expected="SYMBOL=WORDS",
            found=text,
            remedy="write RELIANCE=Reliance, for example",
        )
    return symbol, words


def print_context(console: Console, home: Path, source: SourceConfig, *, is_json: bool) -> None:
    """Print what exists for which symbols and dates."""
    table = context_store_at(home, source).coverage(KINDS)
    if is_json:
        console.file.write(json.dumps(table.to_dicts(), indent=2, default=str) + "\n")
        return
    if table.is_empty():
        print_facts(console, [("context", "none stored")])
        return
    rows = table.drop("is_simulated").iter_rows()
    print_table(console, _COLUMNS, [["" if it is None else str(it) for it in row] for row in rows])
    if table["is_simulated"].any():
        print_facts(console, [("mark", "simulated: all of it is invented")])


def _print_report(console: Console, report: ImportReport, kind: str) -> None:
    counts = report.counts
    added = (
        f"{counts.n_added} added, {counts.n_corrected} corrected, {counts.n_known} known already"
    )
    shown = 5
    whose = ", ".join(report.symbols[:shown])
    more = len(report.symbols) - shown
    print_facts(
        console,
        [
            ("files", str(report.n_files)),
            ("symbols", whose if more <= 0 else f"{whose} and {more} more"),
            (kind, added),
            ("refused", str(report.refused.height)),
        ],
    )
    reasons = report.refused["reason"].value_counts(sort=True)
    print_facts(console, [(f"  {reason}", str(n)) for reason, n in reasons.iter_rows()])
