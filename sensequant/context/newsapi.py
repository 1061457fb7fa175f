"""NewsAPI: headlines about companies from its service, by key, page by page.

Belongs here: the protocol: the key in a header, pages, limits, what is odd about an answer. Does
not belong here: which headlines can be used (`headline_files`), where the key comes from
(`blocks.credentials`).

The key stands in the header `X-Api-Key` and nowhere else: no address, no message and no record
holds it, and no redirection is followed, which could carry it elsewhere. A free account sees the
first hundred headlines of a question; what the service does not deliver beyond is a refused row
that says how many, so that nobody takes it for silence.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Self, cast
from urllib.parse import urlsplit

import httpx
import polars as pl
from pydantic import Field, SecretStr, model_validator

from sensequant.context.files import ImportReport, refusals
from sensequant.context.headline_files import judge_headlines
from sensequant.context.headlines import HEADLINES
from sensequant.context.store import ContextStore, WriteCounts
from sensequant.errors import (
    AuthInvalidError,
    BadRequestError,
    ConfigError,
    MalformedReplyError,
    MinuteLimitError,
    TransientSourceError,
)
from sensequant.market.symbols import validate_symbol
from sensequant.records import Config

__all__ = ["NewsApiConfig", "NewsQuestion", "fetch_headlines"]

_SOURCE = "newsapi"
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_REMOVED = "[Removed]"
_UNAUTHORISED, _TOO_MANY, _UPGRADE = 401, 429, 426
_MOST_BYTES = 8 * 1024 * 1024


class NewsApiConfig(Config):
    """Where the service is, and how patiently it is asked."""

    address: str = Field(
        default="https://newsapi.org/v2",
        description="Address of the service; without TLS only on this machine.",
    )
    page_size: int = Field(default=100, ge=1, le=100, description="Headlines of a page (a count).")
    max_pages: int = Field(default=20, ge=1, le=100, description="Pages of one question (a count).")
    timeout_seconds: float = Field(
        default=20.0, gt=0, le=120, description="Longest wait for an answer."
    )
    n_tries: int = Field(default=4, ge=1, le=10, description="Tries of a page (a count).")
    longest_wait_seconds: float = Field(
        default=60.0, ge=0, le=3600, description="Longest wait before the next try of a page."
    )

    @model_validator(mode="after")
    def _key_stays_hidden(self) -> Self:
        parts = urlsplit(self.address)
        is_safe = parts.scheme == "https" or (
            parts.scheme == "http" and parts.hostname in _LOOPBACK
        )
        if not is_safe or parts.username or parts.query:
            raise ConfigError(
                "address would show the key",
                where="address",
                expected="https://HOST/PATH, or http on this machine, with nothing secret in it",
                found=f"{parts.scheme}://{parts.hostname}",
                remedy="use the service's address with https",
            )
        return self


class NewsQuestion(Config):
    """Whose headlines of which days."""

    words: dict[str, str] = Field(
        min_length=1,
        description="Symbol to the words by which the service finds its company, as the service "
        'takes them: "Reliance Industries" in quotes for the phrase.',
    )
    start: date = Field(description="First day of publication, UTC.")
    end: date = Field(description="Last day of publication, UTC.")
    language: str = Field(default="en", pattern="^[a-z]{2}$", description="Language, two letters.")

    @model_validator(mode="after")
    def _is_a_question(self) -> Self:
        for symbol in self.words:
            validate_symbol(symbol)
        if self.start > self.end or not all(text.strip() for text in self.words.values()):
            raise ConfigError(
                "question has no answer",
                where="start, end, words",
                expected="start no later than end, and words for each symbol",
                found=f"{self.start} to {self.end}, {self.words}",
            )
        return self


@dataclass(frozen=True, slots=True)
class _Client:
    """What asks: the connection, the settings, and how it waits."""

    http: httpx.Client
    config: NewsApiConfig
    wait: Callable[[float], None]


def fetch_headlines(
    store: ContextStore,
    question: NewsQuestion,
    *,
    key: SecretStr,
    config: NewsApiConfig,
    fetched_at: datetime,
    wait: Callable[[float], None] = time.sleep,
) -> ImportReport:
    """Bring the headlines of some companies into a store, with what was refused.

    Parameters
    ----------
    store
        Where to.
    question, config
        Which headlines; where the service is.
    key
        Key of an account.
    fetched_at
        Aware time; nothing was published after it.
    wait
        Waits so many seconds.

    Returns
    -------
    ImportReport
        `n_files` counts pages.

    Raises
    ------
    AuthInvalidError
        The service does not know the key.
    MinuteLimitError
        It asks for more patience than the settings have.
    TransientSourceError, MalformedReplyError
        It does not answer, or no answer of it can be read.
    BadRequestError
        It refuses the question.
    """
    counts, refused, n_pages = WriteCounts(), list[pl.DataFrame](), 0
    is_encrypted = config.address.startswith("https:")
    with httpx.Client(
        headers={"X-Api-Key": key.get_secret_value()},
        timeout=config.timeout_seconds,
        follow_redirects=False,
        # A proxy that the environment names would read what is not encrypted.
        trust_env=is_encrypted,
    ) as http:
        client = _Client(http, config, wait)
        for symbol, words in question.words.items():
            pages = list(_pages(client, question, words))
            n_pages += len(pages)
            articles = [article for page in pages for article in page["articles"]]
            delivered = judge_headlines(
                _table(symbol, articles),
                source=_SOURCE,
                path=Path(symbol),
                imported_at=fetched_at,
                is_simulated=store.is_simulated,
            )
            missing = max([0, *(page["totalResults"] for page in pages)]) - len(articles)
            left = refusals(
                _left_out(symbol, missing),
                source=_SOURCE,
                path=Path(symbol),
                refused_at=fetched_at,
            )
            # What is here is kept, whatever becomes of the next question.
            counts += store.write(HEADLINES, delivered.rows, written_at=fetched_at)
            refused += [delivered.refused, left]
            store.refuse(HEADLINES, pl.concat(refused[-2:]))
    return ImportReport(n_pages, counts, pl.concat(refused), tuple(sorted(question.words)))


def _pages(client: _Client, question: NewsQuestion, words: str) -> Iterator[dict[str, Any]]:
    n_seen = 0
    for number in range(1, client.config.max_pages + 1):
        page = _page(client, question, words, number)
        if page is None:
            return
        yield page
        n_seen += len(page["articles"])
        if not page["articles"] or n_seen >= page["totalResults"]:
            return


def _page(
    client: _Client, question: NewsQuestion, words: str, number: int
) -> dict[str, Any] | None:
    """Return one page, None where the account sees no further."""
    asked = {
        "q": words,
        "from": question.start.isoformat(),
        "to": question.end.isoformat(),
        "language": question.language,
        "sortBy": "publishedAt",
        "pageSize": client.config.page_size,
        "page": number,
    }
    for left in reversed(range(client.config.n_tries)):
        failure, seconds = _try(client, asked)
        if not isinstance(failure, TransientSourceError | MinuteLimitError | MalformedReplyError):
            return failure
        if left == 0 or seconds > client.config.longest_wait_seconds:
            raise failure
        client.wait(seconds)
    raise AssertionError("at least one try")


_Answer = dict[str, Any] | TransientSourceError | MinuteLimitError | MalformedReplyError | None


def _try(client: _Client, asked: Mapping[str, Any]) -> tuple[_Answer, float]:
    """Return a page or what failed and may pass, and after how many seconds to ask again."""
    address = f"{client.config.address}/everything"
    try:
        reply = client.http.get(address, params=dict(asked))
    except httpx.HTTPError as error:
        return TransientSourceError(
            "news service does not answer", where=address, found=type(error).__name__
        ), 1.0
    said = _said(reply)
    code = str(said.get("code", ""))
    if reply.status_code == _UNAUTHORISED:
        raise AuthInvalidError(
            "news service does not know the key",
            where=address,
            expected="the key of an account",
            found=code or "401",
            remedy="save it in a block of type NewsAPI Key, or set NEWSAPI_KEY",
        )
    if reply.status_code == _TOO_MANY:
        seconds = _retry_after(reply)
        return MinuteLimitError(
            "news service counts too many questions",
            where=address,
            found=f"{code or 429}, asks to wait {seconds:.0f} seconds",
            remedy="ask again later",
        ), seconds
    if reply.status_code == _UPGRADE and asked["page"] > 1:
        return None, 0.0
    if reply.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
        return TransientSourceError(
            "news service fails", where=address, found=str(reply.status_code)
        ), 1.0
    if not reply.is_success:
        raise BadRequestError(
            "news service refuses the question",
            where=address,
            found=f"{reply.status_code} {code}".strip(),
            remedy="docs/context.md says what an account may ask for",
        )
    if not _is_page(said):
        return MalformedReplyError(
            "answer of the news service cannot be read",
            where=address,
            expected="status ok, totalResults and articles",
            found=f"{len(reply.content)} bytes of {reply.headers.get('content-type', 'nothing')}",
        ), 1.0
    return said, 0.0


def _said(reply: httpx.Response) -> dict[str, Any]:
    if len(reply.content) > _MOST_BYTES:
        return {}
    try:
        said: object = reply.json()
    except ValueError:
        return {}
    return cast("dict[str, Any]", said) if isinstance(said, dict) else {}


def _is_page(said: Mapping[str, Any]) -> bool:
    articles, total = said.get("articles"), said.get("totalResults")
    return (
        said.get("status") == "ok"
        and isinstance(total, int)
        and isinstance(articles, list)
        and all(isinstance(each, dict) for each in cast("list[object]", articles))
    )


def _retry_after(reply: httpx.Response) -> float:
    """Return how long the service asks to wait; a minute where it does not say."""
    text = reply.headers.get("retry-after", "")
    if text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 60.0
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())


def _table(symbol: str, articles: list[dict[str, Any]]) -> pl.DataFrame:
    """Return symbol, stamp and headline as text, as files give them."""
    rows = [(symbol, _word(each, "publishedAt"), _headline(each)) for each in articles]
    names = ("symbol", "stamp", "headline")
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")


def _headline(article: Mapping[str, Any]) -> str | None:
    title = _word(article, "title")
    return None if title == _REMOVED else title


def _word(article: Mapping[str, Any], name: str) -> str | None:
    value = article.get(name)
    return " ".join(value.split()) or None if isinstance(value, str) else None


def _left_out(symbol: str, n_missing: int) -> pl.DataFrame:
    rows = [(symbol, None, "not_delivered", f"{n_missing} headlines")] if n_missing > 0 else []
    names = ("symbol", "stamp", "reason", "detail")
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
