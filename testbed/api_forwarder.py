"""The way from the host to the API server: accepts on a socket of the host, connects inside the control plane.

Run as a daemon of the control plane. A socket belongs to the network namespace in which it was made, so the listening
socket, inherited from the host, takes connections of the host while this process lives with the API server; it ends
with the control plane and leaves nothing on the host.

Arguments: number of the inherited listening socket, port of the API server on 127.0.0.1.
"""

import asyncio
import contextlib
import socket
import sys

CHUNK_BYTES = 1 << 16


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Copy until the source ends, then pass the end on: `kubectl exec` relies on half-closed connections."""
    with contextlib.suppress(OSError):
        while chunk := await source.read(CHUNK_BYTES):
            sink.write(chunk)
            await sink.drain()
        sink.write_eof()


async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """Join one accepted connection with one to the API server; refuse it by closing when there is none."""
    try:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        writer.close()
        return
    await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))
    inner_writer.close()
    writer.close()


async def serve(listener: socket.socket, port: int) -> None:
    """Serve until the control plane ends."""
    server = await asyncio.start_server(lambda reader, writer: forward(reader, writer, port), sock=listener)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])))
