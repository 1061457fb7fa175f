"""Facts about the flows that bring context: headlines from a service, and two imports at once."""

import json
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import date, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from prefect.client.schemas.objects import State

from blocks.credentials import NewsApiKey
from flows.fetch_headlines import fetch_headlines
from flows.import_context import import_context
from sensequant.context.headlines import HEADLINES
from sensequant.context.newsapi import NewsApiConfig, NewsQuestion
from sensequant.context.sessions import KINDS
from sensequant.context.store import ContextStore
from sensequant.errors import AuthInvalidError, ConfigError
from sensequant.ingestion.context_imports import ContextImport
from sensequant.ingestion.places import context_store_at
from sensequant.market.sources.build import SourceConfig
from tests.sensequant.context.newsapi_service import KEY, Service, article, serving

Ask = Callable[..., list[dict[str, Any]]]
Eventually = Callable[[Callable[[], Any]], Any]

QUESTION = NewsQuestion(words={"AAA": '"Triple A"'}, start=date(2024, 1, 1), end=date(2024, 1, 31))


def execute(flow: Any, *asked: Any, **named: Any) -> State[Any]:
    # The decorator types `return_state` away where the flow itself returns a state.
    return cast("Callable[..., State[Any]]", flow)(*asked, **named, return_state=True)


@pytest.fixture
def service() -> Generator[Service]:
    """Return a running service with three headlines, of which one says nothing."""
    found = Service()
    found.articles = [article(1), article(2), article(3, title="[Removed]")]
    with serving(found):
        yield found


@pytest.fixture
def config(service: Service) -> NewsApiConfig:
    """Return where the service is."""
    return NewsApiConfig(address=f"http://127.0.0.1:{service.port}/v2", page_size=2)


def store_at(home: Path) -> ContextStore:
    return context_store_at(home, SourceConfig(kind="breeze"))


def test_headlines_are_fetched_by_the_key_of_a_block(
    home: Path, service: Service, config: NewsApiConfig, ask: Ask, eventually: Eventually
) -> None:
    """They reach the store, the page says what became of them, the key stands nowhere."""
    NewsApiKey(api_key=cast("Any", KEY)).save("of-a-test", overwrite=True)

    state = execute(fetch_headlines, QUESTION, config, block="of-a-test")
    again = execute(fetch_headlines, QUESTION, config, block="of-a-test")

    words = "2 added, 0 corrected, 0 known already, 1 refused"
    assert (state.name, state.message) == ("Completed", words)
    assert state.result().reasons == {"no_headline": 1}
    assert again.message == "0 added, 0 corrected, 2 known already, 1 refused"
    assert store_at(home).read(HEADLINES, "AAA")["headline"].to_list() == [
        "Profit rises 1",
        "Profit rises 2",
    ]
    assert [asked["page"] for asked in service.asked] == ["1", "2"] * 2
    assert set(service.keys) == {KEY}
    flow_run_id = str(state.state_details.flow_run_id)
    of_run = {"flow_run_id": {"any_": [flow_run_id]}}

    def shown() -> list[dict[str, Any]]:
        kept = ask("artifacts", artifacts=of_run)
        pages = {"context-import", "context-refused"}
        return kept if pages <= {each["key"] for each in kept} else []

    kept = eventually(shown)
    (run,) = ask("flow_runs", flow_runs={"id": {"any_": [flow_run_id]}})
    assert run["name"] == "headlines of 1 symbols · 2024-01-01 to 2024-01-31"
    tasks = eventually(lambda: ask("task_runs", flow_runs={"id": {"any_": [flow_run_id]}}))
    assert KEY not in json.dumps([kept, run, tasks, ask("logs", logs=of_run)])


def test_without_the_right_key_a_run_fails_with_the_reason(
    home: Path, config: NewsApiConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block that is not there, a key that the service does not know: nothing is stored."""
    lost = execute(fetch_headlines, QUESTION, config, block="nosuch")
    monkeypatch.setenv("NEWSAPI_KEY", "another")
    wrong = execute(fetch_headlines, QUESTION, config)

    for state, error in ((lost, ConfigError), (wrong, AuthInvalidError)):
        assert state.is_failed()
        with pytest.raises(error):
            state.result()
    assert store_at(home).symbols(HEADLINES) == ()


def rows_of(kind: str, place: int, n_rows: int) -> list[str]:
    """Return a file of n rows that one of two imports brings, the last of them unreadable."""
    days = [date(2024, 1, 1) + timedelta(days=2 * number + place) for number in range(n_rows)]
    headers = {
        "depth": "timestamp,bbq1,bbp1,bsq1,bsp1",
        "sentiment": "date,headline",
        "macro": "date,value,series",
    }
    cells: dict[str, Callable[[int, str], str]] = {
        "depth": lambda n, _: (
            f"2024-01-01 10:{n % 60:02}:{2 * (n // 60) + place:02},{n + 1},9,1,11"
        ),
        "sentiment": lambda n, day: f"{day},Profit rises {n}",
        "macro": lambda n, day: f"{day},{80 + n / 100},USDINR",
    }
    rows = [cells[kind](number, str(day)) for number, day in enumerate(days)]
    return [headers[kind], *rows, cells[kind](0, f"soon{place}").replace("2024", f"soon{place} ")]


@pytest.mark.parametrize("kind", ["depth", "sentiment", "macro"])
def test_two_imports_at_once_lose_nothing(home: Path, tmp_path: Path, kind: Any) -> None:
    """Files of one symbol, whose rows belong into the same file of the store, at the same time."""
    n_rows, n_files = 40, 3
    asked: list[ContextImport] = []
    for place in (0, 1):
        folder = tmp_path / f"import_{place}"
        folder.mkdir()
        header, *rows = rows_of(kind, place, n_rows * n_files)
        for number in range(n_files):
            part = [header, *rows[number::n_files]]
            (folder / f"AAA_{number}.csv").write_text("\n".join(part))
        asked.append(ContextImport(kind=kind, path=folder))

    with ThreadPoolExecutor(2) as pool:
        begun = [pool.submit(copy_context().run, execute, import_context, each) for each in asked]
        states = [each.result() for each in begun]

    assert [state.name for state in states] == ["Completed"] * 2
    n_added = sum(state.result().n_added for state in states)
    (covered,) = store_at(home).coverage(KINDS).filter(n_corrections=0, n_rows=n_added).to_dicts()
    assert covered["n_rows"] == 2 * n_rows * n_files
    stored = next(each for each in KINDS if each.name == covered["kind"])
    reasons = store_at(home).refused(stored)
    assert reasons.filter(reason="unreadable_time").height == 2
