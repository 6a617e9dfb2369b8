"""An API server that is played by a script of its answers."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping

from smtpfleet.feed.access import AccessError

Event = Mapping[str, bytes] | AccessError | None


class ScriptedSecrets:
    """Tells of each Secret what is put in: content, None for a missing one, or an error that ends the watch."""

    def __init__(self) -> None:
        self.tries: dict[str, int] = defaultdict(int)
        self.open: set[str] = set()
        self._events: dict[str, asyncio.Queue[Event]] = defaultdict(asyncio.Queue)

    async def tell(self, name: str, event: Event) -> None:
        """Say something about a Secret, and let it be heard."""
        self._events[name].put_nowait(event)
        await asyncio.sleep(0.01)

    async def secret(self, *, namespace: str, name: str) -> AsyncGenerator[Mapping[str, bytes] | None]:
        """One watch."""
        assert namespace == "mail"
        self.tries[name] += 1
        self.open.add(name)
        try:
            while True:
                event = await self._events[name].get()
                if isinstance(event, AccessError):
                    raise event
                yield event
        finally:
            self.open.discard(name)
