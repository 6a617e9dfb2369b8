"""A forwarder that notes what a client says in clear: whether it uses an extension that the relay offers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

_GATHER_S: Final = 0.05
"""A client that pipelines has said its next command by then; one that does not is waiting for a reply."""


class Recorder:
    """One connection's worth of notes.

    Attributes:
        said: the client's octets.
        pipelined: whether it said several commands before a reply.
    """

    def __init__(self) -> None:
        self.said = bytearray()
        self.pipelined = False
        self._in_content = False

    def note(self, octets: bytes) -> None:
        """Take what came between two replies."""
        self.said += octets
        if not self._in_content:
            self.pipelined = self.pipelined or octets.count(b"\r\n") > 1
            self._in_content = b"DATA\r\n" in octets.upper() or octets.upper().startswith(b"BDAT")


@contextlib.asynccontextmanager
async def recording(host: str, port: int) -> AsyncIterator[tuple[Recorder, int]]:
    """A port of the loopback address that leads to ``host:port``, and the notes of what goes through it."""
    recorder = Recorder()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        near, far = writer, (await asyncio.open_connection(host, port))
        try:
            await asyncio.gather(_up(recorder, reader, far[1]), _down(far[0], near))
        except OSError:
            pass  # one side has gone, and what was said is noted
        finally:
            near.close()
            far[1].close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield recorder, int(server.sockets[0].getsockname()[1])
    finally:
        server.close()


async def _up(recorder: Recorder, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while octets := await reader.read(65536):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GATHER_S):
                while len(octets) < 65536 and (more := await reader.read(65536)):
                    octets += more
        recorder.note(octets)
        writer.write(octets)
        await writer.drain()
    writer.write_eof()


async def _down(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while octets := await reader.read(65536):
        writer.write(octets)
        await writer.drain()
    writer.close()
