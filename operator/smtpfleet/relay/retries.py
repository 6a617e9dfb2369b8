"""New tries for mail that waits for no good reason any more.

Guarantees: after a start, another next hop, other credentials or a time without network all mail is tried; after any
other reload only what was being delivered at that moment, so that no receiver sees its back-off cut short by a change
that it has no part in.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from queue import Empty, SimpleQueue
from typing import Final, Protocol

_PAUSES_S: Final = (1.0, 4.0, 10.0, 25.0)
"""Pauses before the tries of all mail.

The first: until the queue manager that was started anew hears it. The others: a delivery that is still under way keeps
its message locked, so Postfix puts that one off although it was flushed, and a connection to the old next hop is given
up only after smtp_connect_timeout (30 s).
"""
_HELD_PAUSE_S: Final = 2.0


class Tries(Protocol):
    """What is needed of Postfix."""

    async def flush(self) -> None:
        """Try all deferred mail now."""

    async def retry(self, queue_id: str) -> None:
        """Try one deferred message now."""


class Retries:
    """Each method answers at once; the tries follow, and end with :meth:`stop`.

    Args:
        held: ids of messages that Postfix puts off for minimal_backoff_time because a delivery holds them: those
            that were under way when the queue manager was started anew. There they lie even when they have arrived.
    """

    def __init__(self, postfix: Tries, held: "SimpleQueue[str]") -> None:
        self._postfix, self._held = postfix, held
        self._all: asyncio.Task[None] | None = None
        self._some: asyncio.Task[None] | None = None

    def everything(self) -> None:
        """Try all that waits, again and again for a while; a later call begins anew."""
        self._all = _instead_of(self._all, self._flush(_PAUSES_S))

    def once(self) -> None:
        """Try all that waits, as soon as a reload of this moment is through."""
        self._all = _instead_of(self._all, self._flush(_PAUSES_S[:1]))

    def tend(self) -> None:
        """To be called now and then: try what was held; one that is held still is told of again by Postfix."""
        if (self._some is None or self._some.done()) and not self._held.empty():
            self._some = _instead_of(None, self._try_held())

    def stop(self) -> None:
        """Nothing is tried any more."""
        for task in (self._all, self._some):
            if task is not None:
                task.cancel()

    async def _flush(self, pauses_s: Sequence[float]) -> None:
        for pause_s in pauses_s:
            await asyncio.sleep(pause_s)
            await self._postfix.flush()

    async def _try_held(self) -> None:
        await asyncio.sleep(_HELD_PAUSE_S)
        ids: set[str] = set()
        while True:
            try:
                ids.add(self._held.get_nowait())
            except Empty:
                break
        for queue_id in sorted(ids):
            await self._postfix.retry(queue_id)


def _instead_of(
    before: asyncio.Task[None] | None, attempts: Coroutine[None, None, None]
) -> asyncio.Task[None]:
    if before is not None:
        before.cancel()
    return asyncio.create_task(attempts, name="retries")
