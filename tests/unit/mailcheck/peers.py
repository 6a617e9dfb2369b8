"""SMTP servers that break in one exact place, a running sink, and what is handed in."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from mailcheck.dialogue import ClientOptions
from mailcheck.generator import generate
from mailcheck.jsonl import decode_arrivals
from mailcheck.message import MessageShape
from mailcheck.model import Arrival, Attempt
from mailcheck.sink.server import RunningSink, SinkSettings, run_sink
from mailcheck.submit import Load

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def peer(script: Script) -> AsyncIterator[str]:
    """A server that runs the script on each connection; yields its HOST:PORT."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(reader, writer)
            await reader.read(1)  # QUIT, or the end
        except ConnectionError:
            pass  # the script has broken the connection itself, or the client has
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@asynccontextmanager
async def sink(record: Path | None = None) -> AsyncIterator[tuple[RunningSink, str]]:
    """A sink on loopback, and its HOST:PORT."""
    settings = SinkSettings(
        listen=("127.0.0.1", 0), control=("127.0.0.1", 0), record_path=record, size_limit_bytes=100_000
    )
    async with run_sink(settings) as running:
        yield running, f"127.0.0.1:{running.smtp_port}"


def closed_port() -> str:
    """HOST:PORT where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *replies: str) -> None:
    """Read one line before each reply; a reply before any line is the banner's."""
    for reply in replies:
        await reader.readline()
        writer.write(reply.encode() + b"\r\n")


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Banner and EHLO."""
    writer.write(b"220 peer\r\n")
    await answer(reader, writer, "250 peer")


async def until_data(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Everything up to and including 354, for one recipient."""
    await greet(reader, writer)
    await answer(reader, writer, "250 ok", "250 ok", "354 go on")


async def until_dot(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Everything up to the final dot, which is left unanswered."""
    await until_data(reader, writer)
    await reader.readuntil(b"\r\n.\r\n")


def reset(writer: asyncio.StreamWriter) -> None:
    """End the connection with RST instead of FIN."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def load(*targets: str, shape: MessageShape | None = None, client: ClientOptions | None = None) -> Load:
    return Load(targets=targets, shape=shape or MessageShape(), client=client or ClientOptions())


async def one(
    target: str, *, shape: MessageShape | None = None, client: ClientOptions | None = None
) -> Attempt:
    (attempt,) = await generate(load(target, shape=shape, client=client), rate=1000, count=1)
    return attempt


def arrivals(running: RunningSink) -> list[Arrival]:
    return decode_arrivals(running.record.lines(0, 10_000).decode("ascii").splitlines())
