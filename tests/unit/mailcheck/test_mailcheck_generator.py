"""What the generator says of a message, for each way in which a server can treat it."""

import asyncio

import pytest

from mailcheck.checker import check
from mailcheck.dialogue import ClientOptions, Timeouts
from mailcheck.message import MessageShape
from mailcheck.model import Attempt, Failure, Outcome, Stage
from mailcheck.sink.mode import Kind, Mode
from tests.unit.mailcheck.peers import (
    Script,
    answer,
    arrivals,
    closed_port,
    greet,
    one,
    peer,
    reset,
    sink,
    until_data,
    until_dot,
)

SHORT_S = 0.01
"""Only for a step that is never answered; the others have time enough on any machine."""

BOTH = pytest.mark.parametrize("pipelining", [False, True])


async def one_to(
    script: Script, *, shape: MessageShape | None = None, timeouts: Timeouts | None = None
) -> Attempt:
    async with peer(script) as target:
        return await one(target, shape=shape, client=ClientOptions(timeouts=timeouts or Timeouts()))


def ending(attempt: Attempt) -> tuple[Outcome, Stage, int | None, Failure | None]:
    return attempt.outcome, attempt.stage, attempt.code, attempt.failure


# --- acknowledged ------------------------------------------------------------------------------------------------


@BOTH
async def test_a_message_that_the_sink_takes_is_acknowledged_and_arrives_unchanged(pipelining: bool) -> None:
    async with sink() as (running, target):
        attempt = await one(target, client=ClientOptions(pipelining=pipelining))
        assert ending(attempt) == (Outcome.ACKNOWLEDGED, Stage.END_OF_DATA, None, None)
        assert attempt.planned <= attempt.start <= attempt.end
        assert check([attempt], arrivals(running)).ok


@BOTH
@pytest.mark.parametrize(
    "shape",
    [
        MessageShape(size_bytes=1),
        MessageShape(size_bytes=90_000),
        MessageShape(recipients=100),
        MessageShape(eight_bit=True),
        MessageShape(smtputf8=True),
        MessageShape(sender=""),
    ],
    ids=["smallest", "large", "100 recipients", "8-bit", "SMTPUTF8", "null sender"],
)
async def test_every_shape_of_message_arrives_unchanged(shape: MessageShape, pipelining: bool) -> None:
    async with sink() as (running, target):
        attempt = await one(target, shape=shape, client=ClientOptions(pipelining=pipelining))
        (arrival,) = arrivals(running)
        verdict = check([attempt], [arrival])
        assert verdict.ok
        assert verdict.delivered == shape.recipients
        assert arrival.sender == shape.sender
        assert arrival.helo == "client.mailcheck.invalid"


async def test_recipients_that_are_refused_beside_others_are_not_owed() -> None:
    async with sink() as (running, target):
        running.modes.set(Mode(kind=Kind.REJECT, stage=Stage.RCPT, share=0.5))
        attempt = await one(target, shape=MessageShape(recipients=4))
        assert attempt.acknowledged
        assert len(attempt.refused) == 2
        assert check([attempt], arrivals(running)).ok


async def test_a_connection_that_breaks_right_after_the_acknowledgement_changes_nothing() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await until_dot(reader, writer)
        writer.write(b"250 taken\r\n")
        writer.close()

    assert (await one_to(script)).acknowledged


# --- rejected ----------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.END_OF_DATA])
@pytest.mark.parametrize(("kind", "code"), [(Kind.TEMPFAIL, 451), (Kind.REJECT, 550)])
async def test_a_refusal_is_noted_with_its_stage_and_code(
    stage: Stage, kind: Kind, code: int, pipelining: bool
) -> None:
    async with sink() as (running, target):
        running.modes.set(Mode(kind=kind, stage=stage))
        attempt = await one(target, client=ClientOptions(pipelining=pipelining))
        assert ending(attempt) == (Outcome.REJECTED, stage, code, None)
        assert arrivals(running) == []


@pytest.mark.parametrize(("kind", "code"), [(Kind.TEMPFAIL, 421), (Kind.REJECT, 554)])
async def test_a_refusal_instead_of_the_banner_is_a_rejection(kind: Kind, code: int) -> None:
    async with sink() as (running, target):
        running.modes.set(Mode(kind=kind, stage=Stage.BANNER))
        assert ending(await one(target)) == (Outcome.REJECTED, Stage.BANNER, code, None)


async def test_421_in_the_middle_is_a_rejection_at_its_stage() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        await answer(reader, writer, "250 ok", "421 draining")
        writer.close()

    assert ending(await one_to(script)) == (Outcome.REJECTED, Stage.RCPT, 421, None)


async def test_421_to_one_of_several_recipients_ends_the_whole_message() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        await answer(reader, writer, "250 ok", "250 ok", "421 draining")
        writer.close()

    attempt = await one_to(script, shape=MessageShape(recipients=2))
    assert ending(attempt) == (Outcome.REJECTED, Stage.RCPT, 421, None)


# --- failed before the final dot had left ------------------------------------------------------------------------


async def test_a_port_where_nobody_listens_refuses() -> None:
    expected = (Outcome.FAILED_BEFORE, Stage.CONNECT, None, Failure.REFUSED)
    assert ending(await one(closed_port())) == expected


@pytest.mark.parametrize(
    ("replies", "stage"),
    [((), Stage.MAIL), (("250 ok",), Stage.RCPT), (("250 ok", "250 ok"), Stage.DATA)],
)
@pytest.mark.parametrize(("how", "failure"), [("reset", Failure.RESET), ("close", Failure.EOF)])
async def test_a_connection_cut_in_the_envelope_failed_before(
    replies: tuple[str, ...], stage: Stage, how: str, failure: Failure
) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        await answer(reader, writer, *replies)
        await reader.readline()
        reset(writer) if how == "reset" else writer.close()

    assert ending(await one_to(script)) == (Outcome.FAILED_BEFORE, stage, None, failure)


async def test_a_connection_cut_without_a_banner_failed_before() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    assert ending(await one_to(script)) == (Outcome.FAILED_BEFORE, Stage.BANNER, None, Failure.EOF)


async def test_a_banner_that_never_comes_is_a_timeout() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    attempt = await one_to(script, timeouts=Timeouts(reply_s=SHORT_S))
    assert ending(attempt) == (Outcome.FAILED_BEFORE, Stage.BANNER, None, Failure.TIMEOUT)


async def test_an_answer_that_is_not_smtp_is_a_failure() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()

    assert ending(await one_to(script)) == (Outcome.FAILED_BEFORE, Stage.BANNER, None, Failure.PROTOCOL)


@pytest.mark.parametrize("shape", [MessageShape(eight_bit=True), MessageShape(smtputf8=True)])
async def test_a_message_that_the_server_has_no_extension_for_is_not_sent(shape: MessageShape) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)

    attempt = await one_to(script, shape=shape)
    assert ending(attempt) == (Outcome.FAILED_BEFORE, Stage.EHLO, None, Failure.UNSUPPORTED)


HUGE = MessageShape(size_bytes=32 * 1024 * 1024)
"""More than the kernel buffers between two processes, so its end stays here while the peer does not read."""


async def test_content_that_cannot_leave_in_time_failed_before() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await until_data(reader, writer)
        assert isinstance(writer.transport, asyncio.Transport)
        writer.transport.pause_reading()
        await asyncio.get_running_loop().create_future()

    attempt = await one_to(script, shape=HUGE, timeouts=Timeouts(content_s=SHORT_S))
    assert ending(attempt) == (Outcome.FAILED_BEFORE, Stage.CONTENT, None, Failure.TIMEOUT)


async def test_a_reset_while_content_is_still_leaving_failed_before() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await until_data(reader, writer)
        await reader.readexactly(1)
        reset(writer)

    attempt = await one_to(script, shape=HUGE)
    assert ending(attempt) == (Outcome.FAILED_BEFORE, Stage.CONTENT, None, Failure.RESET)


async def test_a_server_that_stops_answering_but_goes_on_reading_never_gets_the_rest() -> None:
    """It has closed its half: what is still here must not follow after it was counted as not sent."""
    received = bytearray()
    all_read = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await until_data(reader, writer)
        received.extend(await reader.readexactly(1))
        writer.write_eof()
        try:
            while data := await reader.read(1 << 16):
                received.extend(data)
        finally:
            all_read.set()

    attempt = await one_to(script, shape=HUGE)
    assert ending(attempt) == (Outcome.FAILED_BEFORE, Stage.CONTENT, None, Failure.EOF)
    await all_read.wait()
    assert not received.endswith(b"\r\n.\r\n")


async def test_a_refusal_in_the_middle_of_the_content_is_a_rejection_and_ends_the_content() -> None:
    received = bytearray()
    all_read = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await until_data(reader, writer)
        await reader.readexactly(1)
        writer.write(b"421 shutting down\r\n")
        writer.write_eof()
        while data := await reader.read(
            1 << 16
        ):  # a close with unread input would be a reset, ahead of the reply
            received.extend(data)
        all_read.set()

    assert ending(await one_to(script, shape=HUGE)) == (Outcome.REJECTED, Stage.CONTENT, 421, None)
    await all_read.wait()
    assert not received.endswith(b"\r\n.\r\n")


# --- indeterminate -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("how", "failure"), [("reset", Failure.RESET), ("close", Failure.EOF)])
async def test_a_connection_cut_after_the_final_dot_is_indeterminate(how: str, failure: Failure) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await until_dot(reader, writer)
        reset(writer) if how == "reset" else writer.close()

    assert ending(await one_to(script)) == (Outcome.INDETERMINATE, Stage.END_OF_DATA, None, failure)


async def test_a_final_dot_that_is_never_answered_is_indeterminate() -> None:
    async with sink() as (running, target):
        running.modes.set(Mode(kind=Kind.STALL, stage=Stage.END_OF_DATA))
        attempt = await one(target, client=ClientOptions(timeouts=Timeouts(end_of_data_s=SHORT_S)))
        assert ending(attempt) == (Outcome.INDETERMINATE, Stage.END_OF_DATA, None, Failure.TIMEOUT)
        assert arrivals(running) == []


async def test_a_final_dot_that_is_answered_too_late_is_indeterminate_and_recovered() -> None:
    async with sink() as (running, target):
        running.modes.set(Mode(kind=Kind.DELAY, delay_s=3600))
        attempt = await one(target, client=ClientOptions(timeouts=Timeouts(end_of_data_s=SHORT_S)))
        assert attempt.outcome is Outcome.INDETERMINATE
        assert len(check([attempt], arrivals(running)).recovered) == 1
