"""Clients spoken by hand, against a server that does as a test wants."""

import asyncio
import sys
import time
from pathlib import Path

import pytest

from scenario.connections import Plan, connect
from scenario.conversation import Answer, Conversation, Step, converse, hold, line
from scenario.kube import Kube
from scenario.load import YIELDING, LoadError, run_inside
from tests.cluster.edge.smuggling import ENDS, Transfer, misread, smuggler
from tests.unit.mailcheck.peers import Script, answer, closed_port, peer, reset


async def _held(script: Script, *steps: Step, patience_s: float = 5.0) -> Answer:
    async with peer(script) as place:
        host, _, port = place.rpartition(":")
        return await converse(
            Conversation(name="x", host=host, port=int(port), steps=steps, patience_s=patience_s)
        )


async def test_every_reply_is_noted_by_its_last_line() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        await answer(reader, writer, "250-a\r\n250 b", "550 no")

    found = await _held(script, Step(), line("EHLO x"), line("MAIL"))
    assert (found.codes, found.replies[1], found.closed) == (("220", "250", "550"), "250 b", False)


async def test_a_server_that_hangs_up_is_told_from_one_that_is_silent() -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"421 go\r\n")
        await writer.drain()
        reset(writer)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        await reader.read()

    assert (await _held(cut, Step(), Step())).closed
    assert not (await _held(silent, Step(), Step(), patience_s=0.2)).closed


async def test_a_port_where_nobody_listens_is_a_closed_session() -> None:
    host, _, port = closed_port().rpartition(":")
    found = await converse(Conversation(name="x", host=host, port=int(port), steps=(Step(),)))
    assert (found.replies, found.closed) == ((), True)


async def test_octets_drip_one_by_one() -> None:
    moments: list[float] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1) not in (b"\n", b""):
            moments.append(time.monotonic())
        writer.write(b"250 ok\r\n")

    await _held(script, Step(send=b"abc\n", drip_s=0.01))
    assert len(set(moments)) == 3


async def test_octets_are_sent_as_often_as_a_step_says() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"%d octets\r\n" % len(await reader.readuntil(b"\n.\r\n")))

    found = await _held(script, Step(send=b"abc\n", times=5, replies=0), line("."))
    assert found.replies == ("23 octets",)


@pytest.mark.parametrize(
    ("wire", "wrong"),
    [
        (b"a\r\n.\r\n", ""),
        (b"a\r\n..\r\n.\r\n", ""),
        (b"a\nb\r\n.\r\n", "a CR, LF or NUL of its own"),
        (b"a\rb\r\n.\r\n", "a CR, LF or NUL of its own"),
        (b"a\0b\r\n.\r\n", "a CR, LF or NUL of its own"),
        (b"a\r\r\n.\r\n", "a CR, LF or NUL of its own"),
        (b"a\r\n.\r\nMAIL FROM:<x>\r\n.\r\n", "more than one end of data"),
        (b"x" * 1000 + b"\r\n.\r\n", "a line longer than 998 octets"),
    ],
)
def test_what_a_sloppy_server_could_misread_is_seen(wire: bytes, wrong: str) -> None:
    assert misread(wire) == wrong


@pytest.mark.parametrize("transfer", Transfer)
def test_each_smuggler_sends_its_end_of_data_as_it_is(transfer: Transfer) -> None:
    for end in ENDS:
        sent = b"".join(step.send for step in smuggler(end, transfer, "a@b"))
        assert b"outer" + end.octets + b"MAIL FROM:<admin@victim.example>" in sent


HERE = Kube(
    kubectl=Path("kubectl"),
    kubeconfig=Path("kubeconfig"),
    enter=lambda command, source: [*command, source] if command == ["echo"] else [*command],
)


def test_programs_are_run_where_the_cluster_is_and_one_that_fails_says_why() -> None:
    assert run_inside(HERE, [sys.executable, "-c", "print(input())"], said="Hello", timeout_s=30) == "Hello\n"
    niceness = [
        sys.executable,
        "-c",
        "import os; print(os.nice(0), os.sched_getscheduler(0) == os.SCHED_IDLE)",
    ]
    assert run_inside(HERE, [*YIELDING, *niceness], timeout_s=30) == "19 True\n"
    assert run_inside(HERE, ["echo"], source="n1", timeout_s=30) == "n1\n"
    with pytest.raises(LoadError, match="no such way"):
        run_inside(HERE, [sys.executable, "-c", "raise SystemExit('no such way')"], timeout_s=30)


async def test_conversations_and_connections_are_told_to_their_programs_and_heard_back() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"421 r0 busy\r\n")

    async with peer(script) as place:
        host, _, port = place.rpartition(":")
        said = Conversation(name="x", host=host, port=int(port), steps=(Step(),))
        answers = await asyncio.to_thread(hold, HERE, [said])
        (connection,) = await asyncio.to_thread(connect, HERE, Plan(target=place, clients=[""]))
    assert answers["x"].codes == ("421",)
    assert connection.code == 421
