"""Prefect's messages in the server's memory: room for a burst of tasks, and what is kept of them.

Belongs here: how many messages may wait for a reader, which of them a reader can do without, and
when one that failed is read again. Does not belong here: what is in them, and brokers outside of
the server's process.

The server learns of task runs by three messages each, and drops what finds 10,000 waiting: after
5,000 short tasks with a log line each, 237 task runs were missing or not ended. `server.env` names
this module as the broker. A message takes about 3 KB while it waits.

The same three messages would be stored a second time as events, at a third of the server's time for
a task. The states of its task run say the same, with the same times; they are what every page
shows, but the feed of all events. Automations see every message as before.

A reader that fails, because another writer holds the database, would be given the message three
times more in a few milliseconds, and then never: an automation misses its event. It waits before
each, and longer every time.

Prefect's server loads this module by its name, and nothing else of this project: what else its
process needs is set up from here.
"""

import asyncio
from typing import Any

from prefect.server.utilities.messaging import memory
from prefect.server.utilities.messaging.memory import (
    Publisher,
    Subscription,
    Topic,
    break_topic,
    ephemeral_subscription,
)

from blocks import transactions

__all__ = ["N_WAITING", "Consumer", "Publisher", "break_topic", "ephemeral_subscription"]

N_WAITING = 100_000
"""Messages that may wait for one reader: about 33,000 tasks that end faster than it reads."""

_KEEPER_OF_EVENTS = "event-persister"
"""The group under which Prefect's service that stores events reads."""

_OF_TASK_RUNS = "prefect.task-run."

_FIRST_WAIT_SECONDS = 0.1
"""Time until a message that failed is read again; it doubles each time: 6 seconds in all."""

_N_MORE = 6
"""Times that it is read again before it is put aside, below the server's home in `dlq`."""

transactions.set_up()


class Consumer(memory.Consumer):
    """Reads a topic; what is published faster than it reads waits instead of being dropped."""

    def __init__(
        self,
        topic: str,
        subscription: Subscription | None = None,
        *,
        group: str | None = None,
        **options: Any,
    ) -> None:
        if subscription is None:
            kind = _WithoutTaskRuns if group == _KEEPER_OF_EVENTS else _Patient
            subscription = kind(Topic.by_name(topic), max_retries=_N_MORE)
            subscription.topic._subscriptions.append(subscription)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            # Its size is written into Prefect's class; nothing can be waiting in it yet.
            subscription._queue = asyncio.Queue(maxsize=N_WAITING)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        super().__init__(topic, subscription, **options)


class _Patient(Subscription):
    """Gives what failed to its reader again, a while later."""

    async def retry(self, message: memory.MemoryMessage) -> None:
        if message.retry_count < self.max_retries:
            await asyncio.sleep(_FIRST_WAIT_SECONDS * 2**message.retry_count)
        await super().retry(message)


class _WithoutTaskRuns(_Patient):
    """Receives all messages but those that tell a new state of a task run."""

    async def deliver(self, message: memory.MemoryMessage) -> None:
        if not str(message.attributes.get("event", "")).startswith(_OF_TASK_RUNS):
            await super().deliver(message)
