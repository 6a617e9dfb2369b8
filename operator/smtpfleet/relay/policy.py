"""The policy service that sends long sessions away while the relay drains.

A client that keeps its connection open for message after message would never leave by itself. smtpd asks here at
each MAIL; while draining, every message but a connection's first is answered 421, with nothing lost: the client
connects again and reaches another relay. The first is served, because the client chose this relay before the
balancers heard of the drain.

One connection to this service is one smtpd process, which serves one session after the other: two questions in
a row about the same client address and port are two messages of one session.
Protocol: Postfix's SMTPD_POLICY_README, name=value lines up to an empty one.
"""

import asyncio
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from smtpfleet.relay.unixsocket import bind

logger = logging.getLogger(__name__)

GO_ON: Final = "DUNNO"
LEAVE: Final = "421 4.3.2 This relay is being drained, please connect again"
_LIMIT_BYTES: Final = 64 * 1024
_ATTRIBUTE: Final = re.compile(rb"^([a-z_]+)=(.*)$", re.MULTILINE)

Answer = Callable[[bytes], str]
"""The action for one request (without its empty line)."""


@dataclass(frozen=True, slots=True)
class Client:
    """Who is connected to smtpd, as PROXY protocol told it."""

    address: str
    port: str


def parse(request: bytes) -> Client:
    """Whom one request (without its empty line) is about."""
    told = attributes(request, "client_address", "client_port")
    return Client(told["client_address"], told["client_port"])


def attributes(request: bytes, *names: str) -> dict[str, str]:
    """Some attributes of a request; empty: it does not have it."""
    told = {name.decode(): value.decode(errors="replace") for name, value in _ATTRIBUTE.findall(request)}
    return {name: told.get(name, "") for name in names}


def decide(client: Client, previous: Client | None, *, draining: bool) -> str:
    """The action for a message of ``client``; ``previous`` is whom the same smtpd asked about before."""
    return LEAVE if draining and client == previous else GO_ON


async def serve(path: Path, *, draining: Callable[[], bool], owner: tuple[int, int]) -> asyncio.Server:
    """Answer on a UNIX socket that only ``owner`` (user, group) may use.

    Raises:
        OSError: the socket cannot be made.
    """
    return await serve_answers(path, lambda: _Leaving(draining), owner=owner)


async def serve_answers(
    path: Path, answers: Callable[[], Answer], *, owner: tuple[int, int]
) -> asyncio.Server:
    """Answer on a UNIX socket that only ``owner`` may use; ``answers`` makes what answers one smtpd process.

    Raises:
        OSError: the socket cannot be made.
    """
    loop = asyncio.get_running_loop()
    return await loop.create_unix_server(lambda: _Conversation(answers()), sock=bind(path, owner))


class _Leaving:
    """Sends one smtpd's long sessions away."""

    def __init__(self, draining: Callable[[], bool]) -> None:
        self._draining = draining
        self._previous: Client | None = None

    def __call__(self, request: bytes) -> str:
        client, previous = parse(request), self._previous
        self._previous = client
        return decide(client, previous, draining=self._draining())


class _Conversation(asyncio.Protocol):
    """With one smtpd process."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._buffer = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """An smtpd process has its first message."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request that is complete."""
        assert self._transport is not None
        *requests, self._buffer = (self._buffer + data).split(b"\n\n")
        for request in requests:
            self._transport.write(f"action={self._answer(request)}\n\n".encode())
        if len(self._buffer) > _LIMIT_BYTES:
            logger.warning("a policy request is too long: connection closed, mail goes on")
            self._transport.close()
