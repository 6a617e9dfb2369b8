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
import os
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

GO_ON: Final = "DUNNO"
LEAVE: Final = "421 4.3.2 This relay is being drained, please connect again"
_LIMIT_BYTES: Final = 64 * 1024
_ADDRESS: Final = re.compile(rb"^client_address=(.*)$", re.MULTILINE)
_PORT: Final = re.compile(rb"^client_port=(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Client:
    """Who is connected to smtpd, as PROXY protocol told it."""

    address: str
    port: str


def parse(request: bytes) -> Client:
    """Whom one request (without its empty line) is about."""
    address = _ADDRESS.search(request)
    port = _PORT.search(request)
    return Client(
        address[1].decode(errors="replace") if address else "",
        port[1].decode(errors="replace") if port else "",
    )


def decide(client: Client, previous: Client | None, *, draining: bool) -> str:
    """The action for a message of ``client``; ``previous`` is whom the same smtpd asked about before."""
    return LEAVE if draining and client == previous else GO_ON


async def serve(path: Path, *, draining: Callable[[], bool], owner: tuple[int, int]) -> asyncio.Server:
    """Answer on a UNIX socket that only ``owner`` (user, group) may use.

    Raises:
        OSError: the socket cannot be made.
    """
    loop = asyncio.get_running_loop()
    return await loop.create_unix_server(lambda: _Conversation(draining), sock=_bind(path, owner))


class _Conversation(asyncio.Protocol):
    """With one smtpd process."""

    def __init__(self, draining: Callable[[], bool]) -> None:
        self._draining = draining
        self._previous: Client | None = None
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
            client = parse(request)
            action = decide(client, self._previous, draining=self._draining())
            self._previous = client
            self._transport.write(f"action={action}\n\n".encode())
        if len(self._buffer) > _LIMIT_BYTES:
            logger.warning("a policy request is too long: connection closed, mail goes on")
            self._transport.close()


def _bind(path: Path, owner: tuple[int, int]) -> socket.socket:
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    bound.bind(str(path))
    path.chmod(0o600)
    os.chown(path, *owner)
    return bound
