"""The line that HAProxy's agent check reads, 4 times a second: ``ready`` or ``drain``.

It is the fast way out of the pool: a relay that is being stopped by anyone gets no new connection from the
moment the balancers have read ``drain``, long before the operator could have told them.
"""

import asyncio
from collections.abc import Callable
from typing import Final

READY: Final = b"ready\n"
DRAIN: Final = b"drain\n"
_RECENT_S: Final = 2.0
"""A balancer that has not polled for so long (8 polls) is gone, or does not count on this relay."""


class Polls:
    """Which balancers poll, and what each heard last. One balancer is one client address."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, bool]] = {}

    def record(self, peer: str, *, at_s: float, drain: bool) -> None:
        """Note an answer; ``at_s`` by any clock that does not go back."""
        self._last = {known: poll for known, poll in self._last.items() if at_s - poll[0] < _RECENT_S}
        self._last[peer] = (at_s, drain)

    def told(self, *, now_s: float) -> bool:
        """Whether every balancer that still polls has heard ``drain``; true when none does."""
        return all(drain for at_s, drain in self._last.values() if now_s - at_s < _RECENT_S)


class _Answer(asyncio.Protocol):
    def __init__(self, draining: Callable[[], bool], polls: Polls, clock: Callable[[], float]) -> None:
        self._draining, self._polls, self._clock = draining, polls, clock

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say it and hang up; a poll asks nothing."""
        assert isinstance(transport, asyncio.WriteTransport)
        drain = self._draining()
        transport.write(DRAIN if drain else READY)
        peer = transport.get_extra_info("peername")
        if peer is not None:
            self._polls.record(str(peer[0]), at_s=self._clock(), drain=drain)
        transport.close()


async def serve(
    *,
    port: int,
    draining: Callable[[], bool],
    polls: Polls,
    clock: Callable[[], float],
    host: str | None = None,
) -> asyncio.Server:
    """Answer every connection with one line and close it.

    Raises:
        OSError: the port is taken.
    """
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: _Answer(draining, polls, clock), host, port)
