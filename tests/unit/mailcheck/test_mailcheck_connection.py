"""What has left the process: the fact on which "failed before" and "indeterminate" are told apart."""

import socket
import struct
from collections.abc import Iterator

import pytest

from mailcheck.connection import ClientConnection, ConnectionFailedError
from mailcheck.model import Failure

PATIENT_S = 10.0


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


async def connected(listener: socket.socket) -> tuple[ClientConnection, socket.socket]:
    """A connection, and its other end as a plain socket that does nothing by itself."""
    connection = await ClientConnection.connect(*listener.getsockname(), timeout_s=PATIENT_S)
    other_end, _ = listener.accept()
    return connection, other_end


async def test_all_that_is_not_called_unsent_reaches_the_other_side(listener: socket.socket) -> None:
    connection, other_end = await connected(listener)
    chunk = b"x" * 20_000
    sent = 0
    while not connection.unsent:  # ends when the kernel's buffers are full
        sent += len(chunk)
        connection.write(chunk)
    connection.abort()
    await connection.closed
    received = 0
    with other_end:
        while data := other_end.recv(1 << 20):
            received += len(data)
    assert sent - len(chunk) <= received < sent


async def test_what_the_kernel_did_not_take_is_unsent_until_the_other_side_reads(
    listener: socket.socket,
) -> None:
    connection, other_end = await connected(listener)
    with other_end:
        while not connection.unsent:
            connection.write(b"x" * 1_000_000)
        other_end.setblocking(False)
        with pytest.raises(ConnectionFailedError) as caught:
            await connection.flush(0.01)
        assert caught.value.failure is Failure.TIMEOUT
        assert connection.unsent
        other_end.setblocking(True)
        for _ in range(1000):
            other_end.recv(1 << 20)
            try:
                await connection.flush(0.01)
                break
            except ConnectionFailedError:
                continue
        assert not connection.unsent
    connection.abort()


async def test_a_write_that_fails_at_once_is_unsent(listener: socket.socket) -> None:
    connection, other_end = await connected(listener)
    other_end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    other_end.close()  # with a reset, which this side's loop has had no turn to notice
    connection.write(b"DATA")
    assert connection.unsent
    with pytest.raises(ConnectionFailedError) as caught:
        await connection.flush(PATIENT_S)
    assert caught.value.failure is Failure.RESET


async def test_replies_that_came_before_the_end_are_still_handed_out(listener: socket.socket) -> None:
    connection, other_end = await connected(listener)
    with other_end:
        other_end.sendall(b"250-first\r\n250 second\r\n421 third\r\n")
    await connection.closed
    assert (await connection.reply(PATIENT_S)).lines == (b"250-first", b"250 second")
    assert (await connection.reply(PATIENT_S)).code == 421
    with pytest.raises(ConnectionFailedError) as caught:
        await connection.reply(PATIENT_S)
    assert caught.value.failure is Failure.EOF


@pytest.mark.parametrize("garbage", [b"HELLO\r\n", b"99 x\r\n", b"250+x\r\n", b"\r\n", b"x" * 100_000])
async def test_what_is_no_reply_is_a_protocol_failure(listener: socket.socket, garbage: bytes) -> None:
    connection, other_end = await connected(listener)
    with other_end:
        other_end.sendall(garbage)
        with pytest.raises(ConnectionFailedError) as caught:
            await connection.reply(PATIENT_S)
        assert caught.value.failure is Failure.PROTOCOL
    connection.abort()
