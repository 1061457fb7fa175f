"""NewsAPI over the wire, from a server on this machine: pages, limits, faults, and the key."""

import logging
from collections.abc import Callable, Generator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from sensequant.cli.app import main
from sensequant.context.files import ImportReport
from sensequant.context.headlines import HEADLINES
from sensequant.context.newsapi import NewsApiConfig, NewsQuestion, fetch_headlines
from sensequant.context.store import ContextStore, WriteCounts
from sensequant.errors import (
    AuthInvalidError,
    BadRequestError,
    MalformedReplyError,
    MinuteLimitError,
    SenseQuantError,
    TransientSourceError,
)
from tests.sensequant.context.newsapi_service import KEY, Reply, Service, article, serving

AT = datetime(2024, 2, 1, tzinfo=UTC)
NO_HEADERS: dict[str, str] = {}
NO_ARTICLES: list[Any] = []


@pytest.fixture
def service() -> Generator[Service]:
    """Return a running service without articles."""
    found = Service()
    with serving(found):
        yield found


@pytest.fixture
def store(tmp_path: Path) -> ContextStore:
    """Return an empty store of real context."""
    return ContextStore(tmp_path, is_simulated=False)


@pytest.fixture
def waits() -> list[float]:
    """Return the waits of the client, which pass at once."""
    return []


@pytest.fixture
def fetch(service: Service, store: ContextStore, waits: list[float]) -> Callable[..., ImportReport]:
    """Return what asks the service: settings by name."""

    def fetch(key: str = KEY, words: str = '"Reliance"', **settings: Any) -> ImportReport:
        config = NewsApiConfig(address=f"http://127.0.0.1:{service.port}/v2", **settings)
        question = NewsQuestion(
            words={"RELIANCE": words}, start=date(2024, 1, 1), end=date(2024, 1, 31)
        )
        return fetch_headlines(
            store,
            question,
            key=SecretStr(key),
            config=config,
            fetched_at=AT,
            wait=waits.append,
        )

    return fetch


def test_pages_are_followed_to_the_end(
    service: Service, fetch: Callable[..., ImportReport], store: ContextStore
) -> None:
    """Every page is asked for once, with the key in its header and nowhere else."""
    service.articles = [article(number) for number in range(25)]

    report = fetch(page_size=10)

    assert (report.n_files, report.counts) == (3, WriteCounts(n_added=25))
    assert [asked["page"] for asked in service.asked] == ["1", "2", "3"]
    assert service.asked[0]["q"] == '"Reliance"'
    assert (service.asked[0]["from"], service.asked[0]["to"]) == ("2024-01-01", "2024-01-31")
    assert service.keys == [KEY] * 3
    rows = store.read(HEADLINES, "RELIANCE")
    assert rows["source"].unique().to_list() == ["newsapi"]
    assert rows["known_at"].min() == datetime(2024, 1, 1, 10, tzinfo=UTC)
    assert rows["known_at"].equals(rows["at"])
    assert fetch(page_size=10).counts == WriteCounts(n_known=25)


def test_headlines_that_cannot_be_used_have_their_reasons(
    service: Service, fetch: Callable[..., ImportReport], store: ContextStore
) -> None:
    """Duplicates over pages, days to come, removed articles and broken fields are told apart."""
    service.articles = [
        article(1),
        article(1, source={"name": "Other"}, title="Profit rises 1 - Other"),
        article(2, publishedAt="2024-03-01T10:00:00Z"),
        article(3, title="[Removed]"),
        article(4, title=None),
        article(5, publishedAt="yesterday"),
        article(6, publishedAt=7),
        article(7, publishedAt="2024-01-05"),
    ]

    report = fetch(page_size=1)

    assert report.refused["reason"].to_list() == [
        "duplicate", "in_the_future", "no_headline", "no_headline", "unreadable_time",
        "unreadable_time",
    ]  # fmt: skip
    rows = store.read(HEADLINES, "RELIANCE").sort("at")
    assert rows["has_time"].to_list() == [True, False]
    # A date alone is known when it has ended in India, and so for the next session.
    assert rows["known_at"][1] == datetime(2024, 1, 5, 18, 30, tzinfo=UTC)


def test_what_an_account_does_not_see_is_no_silence(
    service: Service, fetch: Callable[..., ImportReport]
) -> None:
    """The limit of a free account ends the paging; how many are missing is kept."""
    service.articles = [article(number) for number in range(25)]
    service.most = 10

    report = fetch(page_size=10)

    assert report.counts.n_added == 10
    assert report.refused.select("reason", "detail").rows() == [("not_delivered", "15 headlines")]


@pytest.mark.parametrize(
    ("reply", "wait"),
    [
        ((429, {"status": "error", "code": "rateLimited"}, {"Retry-After": "7"}), 7.0),
        ((429, {"status": "error", "code": "rateLimited"}, NO_HEADERS), 60.0),
        ((429, b"", {"Retry-After": "Mon, 01 Jan 2001 00:00:00 GMT"}), 0.0),
        ((500, b"<html>", NO_HEADERS), 1.0),
        ((200, b"<html>", NO_HEADERS), 1.0),
        ((200, {"status": "ok", "totalResults": 1, "articles": [1]}, NO_HEADERS), 1.0),
        ((200, {"status": "ok", "articles": NO_ARTICLES}, NO_HEADERS), 1.0),
    ],
    ids=["limit", "limit without a time", "limit that has passed", "outage", "html", "odd", "cut"],
)
def test_what_may_pass_is_tried_again(
    service: Service,
    fetch: Callable[..., ImportReport],
    waits: list[float],
    reply: Reply,
    wait: float,
) -> None:
    """One fault costs a wait, as long as the service asks for."""
    service.articles = [article(1)]
    service.first = [reply]

    assert fetch().counts.n_added == 1
    assert waits == [wait]


@pytest.mark.parametrize(
    ("reply", "error", "n_asked"),
    [
        ((401, {"status": "error", "code": "apiKeyInvalid"}, NO_HEADERS), AuthInvalidError, 1),
        ((400, {"status": "error", "code": "parameterInvalid"}, NO_HEADERS), BadRequestError, 1),
        ((426, {"status": "error", "code": "parameterInvalid"}, NO_HEADERS), BadRequestError, 1),
        ((302, b"", {"Location": "http://127.0.0.1:9/"}), BadRequestError, 1),
        ((429, {"code": "rateLimited"}, {"Retry-After": "3601"}), MinuteLimitError, 1),
        ((429, {"code": "rateLimited"}, {"Retry-After": "1"}), MinuteLimitError, 2),
        ((503, b"", NO_HEADERS), TransientSourceError, 2),
        ((200, b"[1, 2]", NO_HEADERS), MalformedReplyError, 2),
    ],
    ids=["key", "question", "history", "redirection", "long", "limit", "outage", "no object"],
)
def test_what_does_not_pass_is_told(
    service: Service,
    fetch: Callable[..., ImportReport],
    caplog: pytest.LogCaptureFixture,
    reply: Reply,
    error: type[SenseQuantError],
    n_asked: int,
) -> None:
    """The error has its kind, the tries their limit; no message and no log line holds the key."""
    caplog.set_level(logging.DEBUG)
    service.first = [reply] * 5

    with pytest.raises(error) as raised:
        fetch(n_tries=2)

    assert len(service.asked) == n_asked
    assert KEY not in f"{raised.value} {raised.value!r} {caplog.text}"


def test_a_service_that_is_not_there_is_told(
    service: Service, fetch: Callable[..., ImportReport], waits: list[float]
) -> None:
    """No answer is no empty answer."""
    service.port = 9

    with pytest.raises(TransientSourceError, match="does not answer"):
        fetch(n_tries=3)
    assert len(waits) == 2


def test_each_setting_of_the_service_acts(
    service: Service, fetch: Callable[..., ImportReport]
) -> None:
    """Pages end at their limit; the longest wait is kept; silence ends."""
    service.articles = [article(number) for number in range(25)]
    assert fetch(page_size=5, max_pages=2).counts.n_added == 10
    service.first = [(429, b"", {"Retry-After": "7"})]
    with pytest.raises(MinuteLimitError):
        fetch(longest_wait_seconds=6)
    service.silence.clear()
    with pytest.raises(TransientSourceError):
        fetch(timeout_seconds=0.05, n_tries=1)
    service.silence.set()


@pytest.mark.parametrize(
    "address", ["http://news.example/v2", "https://me:secret@news.example", "ftp://news.example"]
)
def test_an_address_that_would_show_the_key_is_refused(address: str) -> None:
    """Without TLS only this machine is asked."""
    with pytest.raises(ValidationError, match="would show the key"):
        NewsApiConfig(address=address)


def test_the_command_fetches_by_the_key_of_the_environment(
    service: Service,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Counts are printed, the key is not."""
    service.articles = [article(1), article(2, title=None)]
    monkeypatch.setenv("NEWSAPI_KEY", KEY)
    words = [
        "sentiment", "fetch", "--query", "RELIANCE=Reliance", "--start", "2024-01-01",
        "--end", "2024-01-31", "--home", str(tmp_path / "home"),
    ]  # fmt: skip

    assert main([*words, "--set", f"address=http://127.0.0.1:{service.port}/v2"]) == 0
    printed = capsys.readouterr()

    assert "headlines: 1 added" in printed.out
    assert "no_headline: 1" in printed.out
    assert service.asked[0]["q"] == "Reliance"
    assert service.asked[0]["language"] == "en"
    assert KEY not in printed.out + printed.err
    assert main([*words, "--query", "TCS"]) == 2
    assert "whose headlines" in capsys.readouterr().err
