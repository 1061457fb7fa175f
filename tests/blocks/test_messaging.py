"""Facts about the server's messages: a burst waits, and Prefect finds what it looks for."""

import asyncio
import importlib
from pathlib import Path

import pytest
from prefect.server.utilities.messaging import (
    Message,
    StopConsumer,
    create_consumer,
    create_publisher,
)
from prefect.server.utilities.messaging.memory import Topic
from prefect.settings import PREFECT_MESSAGING_BROKER, temporary_settings

from blocks import messaging
from blocks.environment import server_settings

N_BURST = 25_000


def test_burst_is_read_to_its_last_message() -> None:
    """Two and a half times what Prefect's own queue holds, published before anything is read."""
    name = server_settings()["PREFECT_SERVER_EVENTS_MESSAGING_BROKER"]
    seen: list[str | bytes] = []

    async def read(message: Message) -> None:
        seen.append(message.data)
        if len(seen) == N_BURST:
            raise StopConsumer(ack=True)

    async def burst() -> None:
        # As the server makes it, from the name in its settings.
        consumer = create_consumer("a-burst", concurrency=1)
        assert isinstance(consumer, messaging.Consumer)
        async with create_publisher("a-burst") as publisher:
            for number in range(N_BURST):
                await publisher.publish_data(str(number).encode(), {})
        await asyncio.wait_for(consumer.run(read), timeout=60)
        await consumer.cleanup()

    with temporary_settings({PREFECT_MESSAGING_BROKER: name}):
        asyncio.run(burst())

    assert seen == [str(number).encode() for number in range(N_BURST)]
    assert Topic.by_name("a-burst")._subscriptions == []


def test_states_of_task_runs_reach_everybody_but_who_stores_events() -> None:
    """Read as Prefect's services ask for their messages."""
    told = ("prefect.task-run.Running", "prefect.flow-run.Running", "sensequant.candidate-ready")
    seen: dict[str, list[str]] = {}

    async def read(group: str) -> None:
        async def take(message: Message) -> None:
            name = message.attributes["event"]
            seen.setdefault(group, []).append(name)
            if name == told[-1]:
                raise StopConsumer(ack=True)

        consumer = create_consumer("told", group=group, name=group, read_batch_size=1)
        await published.wait()
        await asyncio.wait_for(consumer.run(take), timeout=60)
        await consumer.cleanup()

    async def tell() -> None:
        async with create_publisher("told") as publisher:
            for event in told:
                await publisher.publish_data(b"{}", {"event": event})
        published.set()

    async def both() -> None:
        reads = [
            asyncio.create_task(read(group)) for group in ("event-persister", "task-run-recorder")
        ]
        await asyncio.sleep(0)
        await tell()
        await asyncio.gather(*reads)

    published = asyncio.Event()
    with temporary_settings({PREFECT_MESSAGING_BROKER: "blocks.messaging"}):
        asyncio.run(both())

    assert seen == {"event-persister": list(told[1:]), "task-run-recorder": list(told)}


def test_message_that_failed_is_given_again_a_while_later_until_it_is_put_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each wait is twice as long as the one before: what held the reader up has time to pass."""
    waits: list[float] = []
    tries: list[str] = []

    async def wait(seconds: float) -> None:
        waits.append(seconds)

    async def fail(message: Message) -> None:
        tries.append(str(message.data))
        raise StopConsumer(ack=False)

    async def until_it_is_put_aside() -> None:
        consumer = create_consumer("failing", concurrency=1)
        assert isinstance(consumer, messaging.Consumer)
        consumer.subscription.dead_letter_queue_path = tmp_path
        async with create_publisher("failing") as publisher:
            await publisher.publish_data(b"{}", {"event": "sensequant.degraded"})
        monkeypatch.setattr(messaging.asyncio, "sleep", wait)
        while not any(tmp_path.iterdir()):  # noqa: ASYNC240 - no other task waits
            await consumer.run(fail)
        await consumer.cleanup()

    with temporary_settings({PREFECT_MESSAGING_BROKER: "blocks.messaging"}):
        asyncio.run(until_it_is_put_aside())

    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2]
    assert len(tries) == 1 + len(waits)
    (put_aside,) = tmp_path.iterdir()
    assert "sensequant.degraded" in put_aside.read_text("utf-8")


def test_broker_offers_what_prefect_asks_a_broker_for() -> None:
    """Prefect looks these four up by name."""
    module = importlib.import_module("blocks.messaging")

    for name in ("Publisher", "Consumer", "ephemeral_subscription", "break_topic"):
        assert callable(getattr(module, name))
