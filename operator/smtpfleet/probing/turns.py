"""Who may begin: few at a time, so that what is under way is not slowed by what could wait, and the urgent first.

All that is under way shares one processor. If everything that is due began at once, a process that has fallen behind
would do all of it late, and what it measures would be its own lateness. What waits for its turn is not measured.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

PLACE_S: Final = 1.0
"""Who takes longer waits for somebody else, and no longer keeps others from beginning."""

_Row = deque[asyncio.Future[None]]


class Turns:
    """Places for those that have just begun. ``places``: how many may hold one at a time."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._next: _Row = deque()
        self._after: _Row = deque()
        self._urgent, self._others = self._next, self._after

    @asynccontextmanager
    async def turn(self, *, urgent: bool) -> AsyncIterator[None]:
        """Wait for a place, which is given back at the end, but after ``PLACE_S`` at the latest.

        The urgent are at most one place behind, and take every second one: were they more than there is room for, they
        must not keep all others waiting.
        """
        await self._enter(self._urgent if urgent else self._others)
        left = False

        def leave() -> None:
            nonlocal left
            if not left:
                left = True
                self._leave()

        timer = asyncio.get_running_loop().call_later(PLACE_S, leave)
        try:
            yield
        finally:
            timer.cancel()
            leave()

    async def _enter(self, row: _Row) -> None:
        if self._free:
            self._free -= 1
            return
        waiter = asyncio.get_running_loop().create_future()
        row.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._leave()  # it had just got a place
            raise

    def _leave(self) -> None:
        """Give a place to the next that waits, of the two rows in turn."""
        for row in (self._next, self._after):
            while row:
                waiter = row.popleft()
                if not waiter.done():
                    waiter.set_result(None)
                    self._next, self._after = (
                        (self._others, self._urgent) if row is self._urgent else (self._urgent, self._others)
                    )
                    return
        self._free += 1
