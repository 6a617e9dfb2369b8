"""The line that HAProxy's agent check reads, 4 times a second: ``ready`` or ``drain``.

It is the fast way out of the pool: a relay that is being stopped by anyone gets no new connection from the
moment the balancers have read ``drain``, long before the operator could have told them.

A balancer is two HAProxys at one address, each of which polls for itself and says which of the two it is (agent-send).
"""

import asyncio
from collections.abc import Callable
from typing import Final

READY: Final = b"ready\n"
DRAIN: Final = b"drain\n"
_RECENT_S: Final = 2.0
"""A HAProxy that has not polled for so long (8 polls) is gone, or does not count on this relay."""
_NAMELESS_S: Final = 0.05
"""One of an earlier release says nothing, and is answered after so long."""
_NAME_BYTES: Final = 16


class Polls:
    """Which HAProxys poll, by address and name, and what each heard last.

    They must be told apart: the answer to one would hide that its twin, late on a busy node, still sends clients here.
    ``heard`` is told the address of each that polls.
    """

    def __init__(self, heard: Callable[[str], None] = lambda _: None) -> None:
        self._heard = heard
        self._last: dict[tuple[str, bytes], tuple[float, bool]] = {}

    def record(self, peer: tuple[str, bytes], *, at_s: float, drain: bool) -> None:
        """Note an answer; ``at_s`` by any clock that does not go back."""
        self._last = {known: poll for known, poll in self._last.items() if at_s - poll[0] < _RECENT_S}
        self._last[peer] = (at_s, drain)
        self._heard(peer[0])

    def told(self, *, now_s: float) -> bool:
        """Whether every HAProxy that still polls has heard ``drain``; true when none does."""
        return all(drain for at_s, drain in self._last.values() if now_s - at_s < _RECENT_S)


class _Answer(asyncio.Protocol):
    def __init__(self, draining: Callable[[], bool], polls: Polls, clock: Callable[[], float]) -> None:
        self._draining, self._polls, self._clock = draining, polls, clock
        self._transport: asyncio.Transport | None = None
        self._nameless: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the name."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._nameless = asyncio.get_running_loop().call_later(_NAMELESS_S, self._answer, b"")

    def data_received(self, data: bytes) -> None:
        """The name is here."""
        self._answer(data.strip()[:_NAME_BYTES])

    def connection_lost(self, _: Exception | None) -> None:
        """Answer nobody."""
        if self._nameless is not None:
            self._nameless.cancel()

    def _answer(self, name: bytes) -> None:
        """Say it and hang up."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        drain = self._draining()
        transport.write(DRAIN if drain else READY)
        peer = transport.get_extra_info("peername")
        if peer is not None:
            self._polls.record((str(peer[0]), name), at_s=self._clock(), drain=drain)
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
