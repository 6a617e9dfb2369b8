"""Where canaries come back to: an LMTP server (RFC 2033) at a UNIX socket that only Postfix can open.

Guarantees: it takes whatever Postfix delivers to it, so that nothing of the kind stays in a queue or bounces; what it
keeps is the last canaries' ids, digests and times, in constant memory; it is no way out of the pod.
"""

import asyncio
import hashlib
import re
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from smtpfleet.api.agent_status import Canary, CanaryStatus
from smtpfleet.api.probes import CANARY_DOMAIN
from smtpfleet.relay.queuescan import arrival_s
from smtpfleet.relay.unixsocket import bind

KEPT: Final = 8
_LIMIT_BYTES: Final = 64 * 1024
"""A longer message is none of ours: it is taken, and forgotten."""
_ID: Final = re.compile(
    rb"^message-id: *<([0-9a-f]{32})@" + re.escape(CANARY_DOMAIN.encode()) + rb">", re.I | re.M
)
_RECEIVED: Final = re.compile(rb"\bid ([0-9A-Za-z]{11,32})\b")
_END: Final = b"\r\n.\r\n"


class Canaries:
    """The canaries that came back. ``clock``: seconds that only ever grow; ``now``: seconds since 1970."""

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, now: Callable[[], float] = time.time
    ) -> None:
        self._clock, self._now = clock, now
        self._since = clock()
        self._returned: deque[Canary] = deque(maxlen=KEPT)

    def status(self) -> CanaryStatus:
        """What ``/status`` says of them."""
        return CanaryStatus(
            up_s=round(self._clock() - self._since, 1), returned=tuple(reversed(self._returned))
        )

    def take(self, message: bytes) -> None:
        """A message that Postfix delivered; anything but a canary is forgotten."""
        header, _, body = message.partition(b"\r\n\r\n")
        found = _ID.search(header)
        if found is None:
            return
        self._returned.append(
            Canary(
                id=found[1].decode(),
                digest=hashlib.sha256(body).hexdigest(),
                queue_s=round(self._queue_s(header), 2),
            )
        )

    def _queue_s(self, header: bytes) -> float:
        """Since this relay's own Received line, the first of all, was written."""
        received = _RECEIVED.search(header)
        arrived = arrival_s(received[1].decode()) if received else None
        return max(0.0, self._now() - arrived) if arrived is not None else 0.0


async def serve(path: Path, canaries: Canaries, *, owner: tuple[int, int]) -> asyncio.Server:
    """Take canaries at a UNIX socket.

    Raises:
        OSError: the socket cannot be made.
    """
    loop = asyncio.get_running_loop()
    return await loop.create_unix_server(lambda: _Session(canaries.take), sock=bind(path, owner))


class _Session(asyncio.Protocol):
    """With one process of Postfix's LMTP client, which waits for each answer."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._buffer = b""
        self._content: bytearray | None = None
        self._recipients = 0
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        self._say("220 canary LMTP")

    def data_received(self, data: bytes) -> None:
        """Commands, or content."""
        self._buffer += data
        while self._buffer and (self._read_content() if self._content is not None else self._read_command()):
            pass
        if len(self._buffer) > _LIMIT_BYTES:
            self._close()

    def _read_command(self) -> bool:
        line, end, rest = self._buffer.partition(b"\r\n")
        if not end:
            return False
        self._buffer = rest
        self._obey(line[:4].upper())
        return True

    def _obey(self, verb: bytes) -> None:
        match verb:
            case b"LHLO":
                self._say("250-canary\r\n250 8BITMIME")
            case b"MAIL" | b"RSET":
                self._recipients = 0
                self._say("250 2.0.0 Ok")
            case b"RCPT":
                self._recipients += 1
                self._say("250 2.1.5 Ok")
            case b"DATA" if self._recipients:
                # As if a line ended before: content may be empty.
                self._content = bytearray(b"\r\n")
                self._say("354 Go on")
            case b"NOOP":
                self._say("250 2.0.0 Ok")
            case b"QUIT":
                self._say("221 2.0.0 Bye")
                self._close()
            case _:
                self._say("503 5.5.1 Not here")

    def _read_content(self) -> bool:
        assert self._content is not None
        searched = max(0, len(self._content) - len(_END))
        self._content += self._buffer
        self._buffer = b""
        end = self._content.find(_END, searched)
        if end < 0:
            # Its end may still come: the last bytes are enough to see it.
            if len(self._content) > 2 * _LIMIT_BYTES:
                del self._content[_LIMIT_BYTES : -len(_END)]
            return False
        content, self._buffer = bytes(self._content[2 : end + 2]), bytes(self._content[end + len(_END) :])
        self._content = None
        if len(content) < _LIMIT_BYTES:
            self._take(re.sub(rb"(?m)^\.", b"", content))
        for _ in range(self._recipients):
            self._say("250 2.0.0 Ok")
        return True

    def _say(self, answer: str) -> None:
        if self._transport is not None:
            self._transport.write(f"{answer}\r\n".encode())

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()
