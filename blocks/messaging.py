"""Prefect's messages in the server's memory, with room for a burst of tasks.

Belongs here: how many messages may wait for a reader. Does not belong here: what is in them, and
brokers outside of the server's process.

The server learns of task runs by three messages each, and drops what finds 10,000 waiting: after
5,000 short tasks with a log line each, 237 task runs were missing or not ended. `server.env` names
this module as the broker. A message takes about 3 KB while it waits.
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

__all__ = ["N_WAITING", "Consumer", "Publisher", "break_topic", "ephemeral_subscription"]

N_WAITING = 100_000
"""Messages that may wait for one reader: about 33,000 tasks that end faster than it reads."""


class Consumer(memory.Consumer):
    """Reads a topic; what is published faster than it reads waits instead of being dropped."""

    def __init__(
        self, topic: str, subscription: Subscription | None = None, **options: Any
    ) -> None:
        if subscription is None:
            subscription = Topic.by_name(topic).subscribe()
            # Its size is written into Prefect's class; nothing can be waiting in it yet.
            subscription._queue = asyncio.Queue(maxsize=N_WAITING)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        super().__init__(topic, subscription, **options)
