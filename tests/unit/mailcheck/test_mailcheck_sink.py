"""The sink as its clients see it: SMTP on one port, its record and modes on the other."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiosmtplib
import pytest

from mailcheck.errors import MailcheckError, SinkRestartedError
from mailcheck.jsonl import decode_arrivals, read_arrivals
from mailcheck.model import Stage
from mailcheck.sink.mode import Kind, Mode
from mailcheck.sink.server import RunningSink, SinkSettings, run_sink
from mailcheck.sink_client import SinkClient
from tests.unit.mailcheck.peers import sink

ENVELOPE = "EHLO client", "MAIL FROM:<s@example.com>", "RCPT TO:<r@example.net>", "DATA"


class Dialogue:
    """A raw client: says lines, reads replies."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def with_sink(cls, running: RunningSink) -> "Dialogue":
        dialogue = cls(*await asyncio.open_connection("127.0.0.1", running.smtp_port))
        assert (await dialogue.reply()).startswith("220 ")
        return dialogue

    def send(self, text: str) -> None:
        self._writer.write(text.encode("utf-8", "surrogateescape"))

    async def reply(self) -> str:
        """The next reply's last line; empty at the end of the connection."""
        while True:
            line = (await self._reader.readline()).decode("ascii").rstrip()
            if line[3:4] != "-":
                return line

    async def everything_else(self) -> bytes:
        """What still comes after this side has said its last word."""
        self._writer.write_eof()
        return await self._reader.read()

    async def say(self, *lines: str) -> list[str]:
        replies = []
        for line in lines:
            self.send(line + "\r\n")
            replies.append((await self.reply())[:3])
        return replies

    async def hand_in(self, content: str) -> str:
        assert await self.say(*ENVELOPE) == ["250", "250", "250", "354"]
        self.send(content + "\r\n.\r\n")
        return (await self.reply())[:3]


@pytest.fixture
async def running() -> AsyncIterator[RunningSink]:
    async with sink() as (started, _):
        yield started


def ids(running: RunningSink) -> list[str]:
    return [json.loads(line)["id"] for line in running.record.lines(0, 100).splitlines()]


@pytest.mark.parametrize(
    ("header", "id_"),
    [
        ("Message-ID: <a@b>", "a@b"),
        ("message-id:<a@b>", "a@b"),
        ("Message-ID:\r\n <a@b>", "a@b"),
        ("Subject: x\r\nMessage-ID: <a@b>\r\nTo: y", "a@b"),
        ("X-Message-ID: <a@b>", ""),
        ("Message-ID:\r\nSubject: x", ""),
        ("Subject: x\r\n\r\nMessage-ID: <in@body>", ""),
    ],
)
async def test_the_message_id_is_taken_from_the_header_however_it_is_written(
    running: RunningSink, header: str, id_: str
) -> None:
    dialogue = await Dialogue.with_sink(running)
    assert await dialogue.hand_in(f"{header}\r\n\r\nbody") == "250"
    assert ids(running) == [id_]


async def test_a_client_of_another_make_gets_its_message_recorded_as_it_is(running: RunningSink) -> None:
    body = "A dot:\r\n.\r\n..two\r\nGrüße\r\n".encode()
    content = "Subject: Prüfung\r\nMessage-ID: <m>\r\n\r\n".encode() + body
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=running.smtp_port, start_tls=False) as client:
        await client.sendmail(
            "s@example.com",
            ["empfänger@example.net", "b@example.net"],
            content,
            mail_options=["SMTPUTF8", "BODY=8BITMIME"],
        )
    (arrival,) = decode_arrivals(running.record.lines(0, 10).decode("ascii").splitlines())
    assert arrival.digest == hashlib.sha256(body).hexdigest()
    assert (arrival.id, arrival.sender, arrival.size_bytes) == ("m", "s@example.com", len(content))
    assert arrival.recipients == ("empfänger@example.net", "b@example.net")


async def test_pipelined_commands_and_content_in_pieces_are_all_answered(running: RunningSink) -> None:
    dialogue = await Dialogue.with_sink(running)
    dialogue.send("\r\n".join(ENVELOPE) + "\r\n")
    assert [(await dialogue.reply())[:3] for _ in range(4)] == ["250", "250", "250", "354"]
    for piece in ("Message-ID: <m>\r\n\r\nbody\r", "\n.", "\r", "\nRSET\r\nQUIT\r\n"):
        dialogue.send(piece)
    assert [(await dialogue.reply())[:3] for _ in range(3)] == ["250", "250", "221"]
    assert await dialogue.reply() == ""
    assert ids(running) == ["m"]


async def test_only_a_dot_between_full_line_ends_ends_the_content(running: RunningSink) -> None:
    dialogue = await Dialogue.with_sink(running)
    assert await dialogue.hand_in("Message-ID: <m>\r\n\r\na\n.\nMAIL FROM:<x>\r\n.\n\r\nb") == "250"
    assert ids(running) == ["m"]


async def test_an_empty_content_is_a_message_without_id(running: RunningSink) -> None:
    dialogue = await Dialogue.with_sink(running)
    await dialogue.say(*ENVELOPE)
    assert await dialogue.say(".") == ["250"]
    assert ids(running) == [""]


@pytest.mark.parametrize(
    ("lines", "codes"),
    [
        (["MAIL FROM:<a@b>"], ["503"]),
        (["HELO c", "RCPT TO:<a@b>"], ["250", "503"]),
        (["HELO c", "MAIL FROM:<a@b>", "MAIL FROM:<a@b>"], ["250", "250", "503"]),
        (["HELO c", "MAIL FROM:<a@b>", "DATA"], ["250", "250", "554"]),
        (["HELO c", "MAIL a@b"], ["250", "501"]),
        (["HELO c", "MAIL FROM:<a@b> SIZE=999999999"], ["250", "552"]),
        (["HELO c", "MAIL FROM:<a@b>", "RSET", "RCPT TO:<a@b>"], ["250", "250", "250", "503"]),
        (["NOOP", "noop", "STARTTLS", "x" * 5000], ["250", "250", "502", "421"]),
    ],
)
async def test_commands_out_of_order_or_unknown_are_refused(
    running: RunningSink, lines: list[str], codes: list[str]
) -> None:
    dialogue = await Dialogue.with_sink(running)
    assert await dialogue.say(*lines) == codes


async def test_a_content_above_the_limit_is_refused_and_the_session_goes_on(running: RunningSink) -> None:
    dialogue = await Dialogue.with_sink(running)
    assert await dialogue.hand_in("Message-ID: <big>\r\n\r\n" + "x\r\n" * 60_000) == "552"
    assert await dialogue.hand_in("Message-ID: <small>\r\n\r\nx") == "250"
    assert ids(running) == ["small"]


async def test_a_stalled_session_is_never_answered_again_not_even_in_another_mode(
    running: RunningSink,
) -> None:
    dialogue = await Dialogue.with_sink(running)
    running.modes.set(Mode(kind=Kind.STALL, stage=Stage.MAIL))
    assert await dialogue.say("EHLO c") == ["250"]
    dialogue.send("MAIL FROM:<a@b>\r\n")
    other = await Dialogue.with_sink(running)
    assert await other.say("NOOP") == ["250"]
    running.modes.set(Mode())
    dialogue.send("NOOP\r\n")
    assert await other.hand_in("Message-ID: <m>\r\n\r\nx") == "250"
    assert running.record.counters["stalled"] == 1
    assert await dialogue.everything_else() == b""


async def test_a_delayed_answer_comes_with_those_of_the_commands_behind_it(running: RunningSink) -> None:
    running.modes.set(Mode(kind=Kind.DELAY, delay_s=0.01))
    dialogue = await Dialogue.with_sink(running)
    assert await dialogue.say(*ENVELOPE) == ["250", "250", "250", "354"]
    dialogue.send("Message-ID: <m>\r\n\r\nx\r\n.\r\nNOOP\r\nQUIT\r\n")
    assert [(await dialogue.reply())[:3] for _ in range(3)] == ["250", "250", "221"]
    assert ids(running) == ["m"]


async def test_a_record_file_has_every_arrival_before_it_is_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "arrivals.jsonl"
    async with sink(path) as (running, _):
        dialogue = await Dialogue.with_sink(running)
        for number in range(3):
            assert await dialogue.hand_in(f"Message-ID: <m{number}>\r\n\r\nx") == "250"
            assert [a.id for a in read_arrivals(path)] == [f"m{n}" for n in range(number + 1)]


async def test_a_sink_that_cannot_record_any_more_acknowledges_nothing_and_ends() -> None:
    async with sink(Path("/dev/full")) as (running, _):
        dialogue = await Dialogue.with_sink(running)
        assert await dialogue.hand_in("Message-ID: <m>\r\n\r\nx") == "421"
        assert len(running.record) == 0
        with pytest.raises(MailcheckError, match="record"):
            await running.failed


# --- the control port --------------------------------------------------------------------------------------------


def control(running: RunningSink) -> SinkClient:
    return SinkClient("127.0.0.1", running.control_port)


async def test_arrivals_are_read_piece_by_piece(running: RunningSink) -> None:
    dialogue, client = await Dialogue.with_sink(running), control(running)
    seen: list[str] = []
    for number in range(3):
        assert [a.id for a in await client.arrivals()] == seen
        await dialogue.hand_in(f"Message-ID: <m{number}>\r\n\r\nx")
        seen.append(f"m{number}")
    assert [a.id for a in await client.arrivals()] == seen


async def test_a_sink_that_has_forgotten_is_noticed(running: RunningSink) -> None:
    client = control(running)
    await client.arrivals()
    running.record.run = "another life"
    with pytest.raises(SinkRestartedError):
        await client.arrivals()


async def test_counters_tell_who_delivered_and_what_was_refused(running: RunningSink) -> None:
    dialogue, client = await Dialogue.with_sink(running), control(running)
    await dialogue.hand_in("Message-ID: <m>\r\n\r\nx")
    await client.set_mode("tempfail", stage="mail")
    assert await dialogue.say("MAIL FROM:<a@b>") == ["451"]
    counters = await client.counters()
    assert counters == {
        "run": running.record.run,
        "arrivals": 1,
        "byClient": {"127.0.0.1": 1},
        "openSessions": 1,
        "peakSessions": 1,
        "connections": 1,
        "tempfailed": 1,
    }


async def test_a_mode_that_makes_no_sense_is_refused_with_a_reason_and_changes_nothing(
    running: RunningSink,
) -> None:
    client = control(running)
    await client.set_mode("reject", share=0.5)
    with pytest.raises(MailcheckError, match="tempfail"):
        await client.set_mode("sleep")
    assert running.modes.mode == Mode(kind=Kind.REJECT, stage=Stage.RCPT, share=0.5)


async def request(running: RunningSink, text: str) -> tuple[str, str]:
    """Status line and body of a raw request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.control_port)
    writer.write(text.encode("ascii"))
    head, _, body = (await reader.read()).decode("ascii").partition("\r\n\r\n")
    writer.close()
    return head.split("\r\n")[0], body


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("GET /healthz HTTP/1.1\r\n\r\n", "200 OK"),
        ("GET /mode HTTP/1.1\r\nHost: sink\r\n\r\n", "200 OK"),
        ("GET /nothing HTTP/1.1\r\n\r\n", "404 Not Found"),
        ("POST /arrivals HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
        ("GET /arrivals?offset=x HTTP/1.1\r\n\r\n", "400 Bad Request"),
        ("POST /mode HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", "400 Bad Request"),
        ("POST /mode HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", "400 Bad Request"),
        ("POST /mode HTTP/1.1\r\nContent-Length: x\r\n\r\n", "400 Bad Request"),
        ("nonsense\r\n\r\n", "400 Bad Request"),
    ],
)
async def test_requests_get_the_status_that_http_has_for_them(
    running: RunningSink, text: str, status: str
) -> None:
    assert (await request(running, text))[0] == f"HTTP/1.1 {status}"


async def test_a_limit_bounds_the_answer_and_names_the_next_offset(running: RunningSink) -> None:
    dialogue = await Dialogue.with_sink(running)
    for number in range(5):
        await dialogue.hand_in(f"Message-ID: <m{number}>\r\n\r\nx")
    _, body = await request(running, "GET /arrivals?offset=1&limit=2 HTTP/1.1\r\n\r\n")
    assert [json.loads(line)["id"] for line in body.splitlines()] == ["m1", "m2"]


async def test_a_body_may_come_in_chunks(running: RunningSink) -> None:
    body = '7\r\n{"mode"\r\nc\r\n: "stall"  }\r\n0\r\n\r\n'
    text = f"POST /mode HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
    status, _ = await request(running, text)
    assert status == "HTTP/1.1 200 OK"
    assert running.modes.mode.kind is Kind.STALL


async def test_a_control_port_that_is_gone_is_said_plainly() -> None:
    async with sink() as (running, _):
        client = control(running)
    with pytest.raises(MailcheckError, match="control port"):
        await client.counters()


async def test_a_port_that_is_taken_is_said_plainly(running: RunningSink) -> None:
    taken = SinkSettings(listen=("127.0.0.1", running.smtp_port), control=("127.0.0.1", 0))
    with pytest.raises(MailcheckError, match="listen"):
        async with run_sink(taken):
            pass
