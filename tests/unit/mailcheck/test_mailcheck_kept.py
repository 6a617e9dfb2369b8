"""What the sink was sent, octet by octet."""

import asyncio

from mailcheck.sink.kept import LARGEST, Kept, KeptMessage, decode_kept
from mailcheck.sink.server import SinkSettings, run_sink

MESSAGE = KeptMessage(
    id="a@b", mail="FROM:<s@example.com> BODY=8BITMIME", rcpt=("TO:<r@example.net>",), wire=b"\r\n.\r\n"
)


def _message(number: int, wire: bytes = b"x") -> KeptMessage:
    return KeptMessage(id=str(number), mail="", rcpt=(), wire=wire)


def test_what_was_kept_reads_back_as_it_was() -> None:
    kept = Kept(2)
    odd = KeptMessage(id="é", mail="FROM:<\udcff>", rcpt=(), wire=bytes(range(256)))
    kept.add(MESSAGE)
    kept.add(odd)
    assert decode_kept(kept.lines().decode()) == [MESSAGE, odd]


def test_only_the_last_are_kept() -> None:
    kept = Kept(3)
    for number in range(5):
        kept.add(_message(number))
    assert [message.id for message in decode_kept(kept.lines().decode())] == ["2", "3", "4"]


def test_a_large_message_is_not_kept() -> None:
    kept = Kept(3)
    kept.add(_message(1, b"x" * (LARGEST + 1)))
    assert kept.lines() == b""


def test_nothing_is_kept_unless_it_is_asked_for() -> None:
    kept = Kept()
    kept.add(MESSAGE)
    assert kept.lines() == b""


async def test_the_sink_keeps_the_octets_between_354_and_the_end_with_the_arguments_of_the_envelope() -> None:
    settings = SinkSettings(listen=("127.0.0.1", 0), control=("127.0.0.1", 0), keep=5)
    async with run_sink(settings) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.smtp_port)
        wire = b"Message-ID: <a@b>\r\n\r\n..\r\nbare\nLF and \rCR\0\r\n.\r\n"
        said = b"EHLO x\r\nMAIL FROM:<s@example.com> RET=HDRS\r\nRCPT TO:<r@example.net> NOTIFY=NEVER\r\nDATA\r\n"
        writer.write(said + wire + b"QUIT\r\n")
        await reader.read()
        writer.close()
        _, _, body = await _get(running.control_port, "/messages")
    assert decode_kept(body) == [
        KeptMessage(
            id="a@b",
            mail="FROM:<s@example.com> RET=HDRS",
            rcpt=("TO:<r@example.net> NOTIFY=NEVER",),
            wire=wire,
        )
    ]


async def _get(port: int, path: str) -> tuple[str, str, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    return answer.partition("\r\n\r\n")


def test_the_content_has_neither_dot_stuffing_nor_the_line_that_ends_it() -> None:
    message = KeptMessage(id="a", mail="", rcpt=(), wire=b"..first\r\n.. \r\nno . change\r\n.\r\n")
    assert message.content == b".first\r\n. \r\nno . change\r\n"
