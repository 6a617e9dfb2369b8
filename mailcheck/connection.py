"""One SMTP connection from the client's side, reduced to what a measurement needs.

Written by hand because the outcome of a failed message hangs on one fact that no SMTP library tells: whether the final
dot was still in this process when the connection failed. The transport's write buffer is therefore given no slack
(high-water mark 0): "writing is paused" then means exactly "the last octet has not been handed to the kernel".
"""

import asyncio
import errno
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from mailcheck.errors import GeneratorExhaustedError
from mailcheck.model import Failure

_MAX_PENDING_INPUT = 64 * 1024
_LINGER_S = 1.0
_LOOK_S = 0.002

_FAILURES = {
    errno.ECONNREFUSED: Failure.REFUSED,
    errno.ECONNRESET: Failure.RESET,
    errno.ECONNABORTED: Failure.RESET,
    errno.EPIPE: Failure.RESET,
    errno.ETIMEDOUT: Failure.TIMEOUT,
}
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM}


@dataclass(frozen=True, slots=True)
class Reply:
    """One complete reply."""

    code: int
    lines: tuple[bytes, ...]

    @property
    def positive(self) -> bool:
        """Whether the code is 2xx."""
        return 200 <= self.code < 300


class ConnectionFailedError(Exception):
    """The connection cannot be used any more; all replies that came before have been handed out."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


class ClientConnection(asyncio.Protocol):
    """Writes at once, hands out replies in order, and knows whether everything written has left the process."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        """What is written to."""
        self._encrypted: asyncio.Transport
        """What hands it to the kernel: the same, unless TLS has begun."""
        self._input = bytearray()
        self._lines: list[bytes] = []
        self._replies: deque[Reply] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._failure: Failure | None = None
        self._unsent = False
        self._abort_timer: asyncio.TimerHandle | None = None
        self.closed: asyncio.Future[None] = self._loop.create_future()
        """Done when the socket is gone."""

    @classmethod
    async def connect(cls, host: str, port: int, *, timeout_s: float) -> "ClientConnection":
        """Open a connection to a numeric address.

        Raises:
            ConnectionFailedError: the target refused or did not answer.
            GeneratorExhaustedError: this process or host has no resources left.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_s):
                _, connection = await loop.create_connection(cls, host, port)
        except OSError as error:
            raise _classified(error) from error
        return connection

    @property
    def usable(self) -> bool:
        """Whether nothing speaks against a further command: open, and no unasked reply (such as 421) waits."""
        return self._failure is None and not self._replies and not self._transport.is_closing()

    @property
    def unsent(self) -> bool:
        """Whether part of what was written has not been handed to the kernel."""
        return self._unsent or self._encrypted.get_write_buffer_size() > 0

    @property
    def encrypted(self) -> bool:
        """Whether TLS has begun."""
        return self._transport is not self._encrypted

    async def start_tls(self, context: ssl.SSLContext, *, timeout_s: float) -> None:
        """Go on under TLS.

        Raises:
            ConnectionFailedError: the handshake failed.
        """
        try:
            async with asyncio.timeout(timeout_s):
                secured = await self._loop.start_tls(self._transport, self, context)
        except TimeoutError:
            raise ConnectionFailedError(Failure.TIMEOUT) from None
        except OSError:  # ssl.SSLError is one
            raise ConnectionFailedError(Failure.TLS) from None
        if secured is None:
            raise ConnectionFailedError(self._failure or Failure.TLS)
        self._transport = secured
        self._transport.set_write_buffer_limits(high=1, low=0)

    @property
    def addresses(self) -> tuple[tuple[str, int], tuple[str, int]]:
        """Address and port of this end and of the other."""
        own, peer = (self._transport.get_extra_info(name) for name in ("sockname", "peername"))
        return (own[0], own[1]), (peer[0], peer[1])

    def write(self, data: bytes) -> None:
        """Hand data to the kernel, as far as it takes it now; ``flush`` waits for the rest."""
        if not self._transport.is_closing():
            self._transport.write(data)
        if self._transport.is_closing():  # also when the write itself has just failed
            self._unsent = True

    async def flush(self, timeout_s: float) -> None:
        """Wait until everything written has left the process.

        Raises ConnectionFailedError; ``unsent`` then tells whether it did leave.
        """
        await self._until(lambda: not self._unsent, timeout_s)
        if self.encrypted:
            await self._until_encrypted_left(timeout_s)

    async def reply(self, timeout_s: float) -> Reply:
        """The next reply; one that came before the connection failed is still handed out."""
        await self._until(lambda: bool(self._replies), timeout_s)
        return self._replies.popleft()

    def take_reply(self) -> Reply | None:
        """A reply that is there already."""
        return self._replies.popleft() if self._replies else None

    def quit(self) -> None:
        """Say goodbye and let the server close first, so that its end, not ours, keeps the port in TIME_WAIT."""
        self.write(b"QUIT\r\n")
        if not self.closed.done():
            self._abort_timer = self._loop.call_later(_LINGER_S, self.abort)

    def abort(self) -> None:
        """Close at once; nothing that is still unsent will leave."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Give the write buffer no slack."""
        self._transport = self._encrypted = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=0)

    def pause_writing(self) -> None:
        """The kernel has not taken everything."""
        self._unsent = True

    def resume_writing(self) -> None:
        """The kernel has taken everything now."""
        self._unsent = False
        self._wake()

    def data_received(self, data: bytes) -> None:
        """Sort input into replies."""
        self._input += data
        try:
            self._parse()
        except ValueError:
            self._fail(Failure.PROTOCOL)
        self._wake()

    def eof_received(self) -> None:
        """The other side will say no more. The transport goes on sending; whoever waits decides about that."""
        self._fail(Failure.EOF)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        failure = _FAILURES.get(exc.errno or 0, Failure.RESET) if isinstance(exc, OSError) else Failure.EOF
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        self._fail(failure)
        self.closed.set_result(None)

    def _parse(self) -> None:
        *lines, rest = bytes(self._input).split(b"\r\n")
        for line in lines:
            self._lines.append(line)
            code = int(line[:3]) if line[:3].isdigit() else 0
            if not 200 <= code < 600 or line[3:4] not in (b"", b" ", b"-"):
                raise ValueError("not an SMTP reply")
            if line[3:4] != b"-":
                self._replies.append(Reply(code, tuple(self._lines)))
                self._lines = []
        self._input = bytearray(rest)
        if len(rest) + sum(map(len, self._lines)) > _MAX_PENDING_INPUT:
            raise ValueError("a reply without end")

    async def _until(self, condition: Callable[[], bool], timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    if self._failure is not None:
                        raise ConnectionFailedError(self._failure)
                    self._waiter = self._loop.create_future()
                    await self._waiter
        except TimeoutError:
            raise ConnectionFailedError(Failure.TIMEOUT) from None

    async def _until_encrypted_left(self, timeout_s: float) -> None:
        """TLS has handed everything on; the transport below it tells nobody when the kernel has taken it all."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._encrypted.get_write_buffer_size():
                    if self._failure is not None:
                        raise ConnectionFailedError(self._failure)
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            raise ConnectionFailedError(Failure.TIMEOUT) from None

    def _fail(self, failure: Failure) -> None:
        self._failure = self._failure or failure
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _classified(error: OSError) -> ConnectionFailedError | GeneratorExhaustedError:
    if error.errno in _EXHAUSTED:
        return GeneratorExhaustedError(
            f"cannot open a further connection: {error.strerror}; "
            "raise the limit of open files, or lower the rate (a closed connection keeps its port for a minute)"
        )
    if isinstance(error, TimeoutError):
        return ConnectionFailedError(Failure.TIMEOUT)
    return ConnectionFailedError(_FAILURES.get(error.errno or 0, Failure.UNREACHABLE))
