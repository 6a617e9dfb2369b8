"""Conversations with Postfix by Dovecot's authentication protocol, byte for byte."""

import asyncio
import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import bcrypt
import pytest

from mailcheck import sasl
from smtpfleet.api.routing import SubmissionAuthentication
from smtpfleet.relay.users.book import UserBook
from smtpfleet.relay.users.dovecot import (
    REASON,
    Continuation,
    Conversation,
    ProtocolError,
    Request,
    greeting,
    parse,
)
from smtpfleet.relay.users.judge import Judge
from smtpfleet.relay.users.mechanisms import Mechanism
from smtpfleet.relay.users.verifier import Verifier

pytestmark = pytest.mark.looptime

CANARY = "canary-of-the-test"
BCRYPT = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
USERS = {"alice": b"secret", "bob": BCRYPT.encode(), "broken": b"$6$a$b"}


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@dataclass
class Known:
    """What is known of the Secret."""

    content: dict[str, bytes] | None = None
    gone: bool = False

    def get(self, name: str) -> dict[str, bytes] | None:
        return self.content

    def missing(self, name: str) -> bool:
        return self.gone

    def error(self, name: str) -> str:
        return "Secret mail/users is missing" if self.gone else ""


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.said = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.said += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


@dataclass
class Smtpd:
    """One smtpd process that asks."""

    book: UserBook
    judge: Judge
    address: str = "192.0.2.1"
    wire: Wire = field(default_factory=Wire)
    number: int = 0

    def __post_init__(self) -> None:
        self.conversation = Conversation(self.judge, self.book, nonce=lambda: "server-nonce")
        self.conversation.connection_made(self.wire)
        self.tell("VERSION\t1\t0\nCPID\t4711\n")

    def tell(self, text: str) -> None:
        self.conversation.data_received(text.encode())

    async def answer(self, line: str) -> str:
        """What is said to one line; empty: nothing, for the connection has ended."""
        before = len(self.wire.said)
        self.tell(f"{line}\n")
        for _ in range(200):
            if len(self.wire.said) > before or self.wire.closed:
                break
            await asyncio.sleep(0.1)
        return self.wire.said[before:].decode().rstrip("\n")

    async def auth(self, mechanism: str, response: str | None = None, *, secured: bool = True) -> str:
        self.number += 1
        options = f"service=smtp\tnologin\tlip=10.0.0.9\trip={self.address}" + (
            "\tsecured" if secured else ""
        )
        resp = "" if response is None else f"\tresp={response}"
        return await self.answer(f"AUTH\t{self.number}\t{mechanism}\t{options}{resp}")

    async def cont(self, response: str) -> str:
        return await self.answer(f"CONT\t{self.number}\t{response}")

    async def plain(self, name: str, password: str) -> str:
        return await self.auth("PLAIN", b64(f"\0{name}\0{password}"))


Connect = Callable[..., Smtpd]


@pytest.fixture
def known() -> Known:
    return Known()


@pytest.fixture
async def book(known: Known) -> UserBook:
    made = UserBook(clock=lambda: 0.0)
    known.content = dict(await made.seal(USERS))
    made.update(SubmissionAuthentication(secret_name="users"), known)
    return made


@pytest.fixture
async def connect(book: UserBook) -> Connect:
    loop = asyncio.get_running_loop()
    judge = Judge(book, Verifier(clock=loop.time), clock=loop.time)
    return lambda **fields: Smtpd(book, judge, **fields)


def test_the_greeting_is_what_postfix_waits_for() -> None:
    assert greeting(pid=7, connection=3, cookie="abc").splitlines() == [
        "VERSION\t1\t1",
        "MECH\tPLAIN\tplaintext",
        "MECH\tLOGIN\tplaintext",
        "MECH\tSCRAM-SHA-256\tmutual-auth",
        "SPID\t7",
        "CUID\t3",
        "COOKIE\tabc",
        "DONE",
    ]


def test_a_request_of_postfix_is_read() -> None:
    line = "AUTH\t5\tplain\tservice=smtp\tnologin\tlip=10.0.0.9\trip=2001:db8::1\tsecured\tresp=AGEAYg=="
    request = parse(line)
    assert request == Request("5", Mechanism.PLAIN, "2001:db8::1", secured=True, response=b"\0a\0b")
    assert "AGEA" not in repr(request)
    assert parse("CONT\t5\tYWJj") == Continuation("5", b"abc")
    assert parse("CPID\t12") is None
    assert parse("VERSION\t1\t0") is None


@pytest.mark.parametrize("resp", ["", "="])
def test_an_empty_initial_response_is_empty(resp: str) -> None:
    request = parse(f"AUTH\t5\tLOGIN\tsecured\tresp={resp}")
    assert isinstance(request, Request)
    assert request.response == b""


@pytest.mark.parametrize(
    "line",
    ["VERSION\t2\t0", "AUTH\tx\tPLAIN", "AUTH\t1", "CONT\t1", "CONT\t1\t!!!", "AUTH\t1\tPLAIN\tresp=!"],
)
def test_what_postfix_never_says_is_refused(line: str) -> None:
    with pytest.raises(ProtocolError):
        parse(line)


@pytest.mark.parametrize("name", ["alice", "bob"])
async def test_plain_with_an_initial_response(connect: Connect, name: str) -> None:
    smtpd = connect()
    assert await smtpd.plain(name, "secret") == f"OK\t1\tuser={name}"
    assert await smtpd.plain(name, "wrong") == f"FAIL\t2\tuser={name}\treason={REASON}"


async def test_plain_that_is_asked_for(connect: Connect) -> None:
    smtpd = connect()
    assert await smtpd.auth("PLAIN") == "CONT\t1\t"
    assert await smtpd.cont(b64("alice\0alice\0secret")) == "OK\t1\tuser=alice"


async def test_login_with_and_without_an_initial_response(connect: Connect) -> None:
    smtpd = connect()
    assert await smtpd.auth("LOGIN") == f"CONT\t1\t{b64('Username:')}"
    assert await smtpd.cont(b64("alice")) == f"CONT\t1\t{b64('Password:')}"
    assert await smtpd.cont(b64("secret")) == "OK\t1\tuser=alice"
    assert await smtpd.auth("LOGIN", b64("alice")) == f"CONT\t2\t{b64('Password:')}"
    assert await smtpd.cont(b64("wrong")) == f"FAIL\t2\tuser=alice\treason={REASON}"


async def _scram(smtpd: Smtpd, name: str, password: str) -> str:
    client = sasl.exchange(
        sasl.Credentials(name=name, password=password, mechanism=sasl.Mechanism.SCRAM_SHA_256)
    )
    said = await smtpd.auth("SCRAM-SHA-256", base64.b64encode(next(client) or b"").decode())
    while said.startswith("CONT\t"):
        response = client.send(base64.b64decode(said.split("\t")[2]))
        said = await smtpd.cont(base64.b64encode(response or b"").decode())
    return said


async def test_scram_proves_both_sides(connect: Connect) -> None:
    assert await _scram(connect(), "alice", "secret") == "OK\t1\tuser=alice"
    assert await _scram(connect(), "alice", "wrong") == f"FAIL\t1\tuser=alice\treason={REASON}"


@pytest.mark.parametrize("name", ["bob", "nobody"])
async def test_scram_fails_for_whoever_has_no_keys_as_for_a_wrong_password(
    connect: Connect, name: str
) -> None:
    said = await _scram(connect(), name, "secret")
    assert re.sub("\tuser=bob", "", said) == f"FAIL\t1\treason={REASON}"


async def test_a_name_that_nobody_has_is_not_told_for_it_may_be_a_password(connect: Connect) -> None:
    smtpd = connect()
    assert await smtpd.plain(CANARY, "secret") == f"FAIL\t1\treason={REASON}"
    assert CANARY.encode() not in smtpd.wire.said


@pytest.mark.parametrize(
    "message", ["", "alice", "alice\0secret", "bob\0alice\0secret", "\0alice\0", "\0\0secret", "\0a\0b\0c"]
)
async def test_what_is_no_plain_message_fails(connect: Connect, message: str) -> None:
    said = await connect().auth("PLAIN", b64(message))
    assert said == "FAIL\t1\treason=the client does not speak PLAIN"


async def test_without_tls_or_with_another_mechanism_nothing_is_looked_at(connect: Connect) -> None:
    smtpd = connect()
    for mechanism, secured in (("PLAIN", False), ("CRAM-MD5", True)):
        said = await smtpd.auth(mechanism, b64("\0alice\0secret"), secured=secured)
        assert re.fullmatch(r"FAIL\t\d\treason=this mechanism is not offered here", said)


async def test_an_entry_that_cannot_be_read_makes_the_client_come_back_later(connect: Connect) -> None:
    smtpd = connect()
    assert await smtpd.plain("broken", "$6$a$b") == ""
    assert smtpd.wire.closed
    assert await _scram(connect(), "broken", "secret") == ""


async def test_without_the_secret_everybody_comes_back_later(
    connect: Connect, known: Known, book: UserBook
) -> None:
    known.content, known.gone = None, True
    book.update(SubmissionAuthentication(secret_name="users"), known)
    for name in ("alice", "nobody"):
        smtpd = connect()
        assert await smtpd.plain(name, "secret") == ""
        assert smtpd.wire.closed


async def test_who_guesses_is_told_to_come_back_later_and_others_log_in(connect: Connect) -> None:
    said = [await connect().plain("alice", f"guess {number}") for number in range(30)]
    assert said.count("") >= 15
    assert await connect(address="192.0.2.2").plain("alice", "secret") == "OK\t1\tuser=alice"


async def test_a_failure_takes_a_second_whoever_was_named(connect: Connect) -> None:
    loop = asyncio.get_running_loop()
    for name in ("alice", "nobody"):
        began_s = loop.time()
        await connect().plain(name, "wrong")
        assert 1.0 <= loop.time() - began_s <= 1.3


async def test_fifty_connections_of_one_program_are_one_attempt(connect: Connect) -> None:
    said = await asyncio.gather(*(connect().plain("bob", "secret") for _ in range(50)))
    assert set(said) == {"OK\t1\tuser=bob"}


async def test_a_session_that_gives_up_begins_anew(connect: Connect) -> None:
    smtpd = connect()
    await smtpd.auth("LOGIN")
    assert await smtpd.plain("alice", "secret") == "OK\t2\tuser=alice"


@pytest.mark.parametrize("text", ["CONT\t1\tYWJj\n", "AUTH\tx\n", "VERSION\t9\t0\n", "x" * 20_000])
async def test_whoever_speaks_another_protocol_is_cut_off(connect: Connect, text: str) -> None:
    smtpd = connect()
    smtpd.tell(text)
    assert smtpd.wire.closed


async def test_a_line_may_come_in_pieces(connect: Connect) -> None:
    smtpd = connect()
    line = f"AUTH\t1\tPLAIN\tsecured\trip=192.0.2.1\tresp={b64(chr(0) + 'alice' + chr(0) + 'secret')}"
    for character in line:
        smtpd.tell(character)
    assert await smtpd.answer("") == "OK\t1\tuser=alice"


async def test_no_log_line_has_a_password(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    smtpd = connect()
    await smtpd.plain("alice", CANARY)
    smtpd.tell(f"AUTH\t9\t{CANARY}\tresp={CANARY}!\n")
    assert CANARY not in caplog.text


async def test_the_same_wrong_password_again_is_no_guess_until_the_users_change(
    connect: Connect, book: UserBook, known: Known
) -> None:
    said = [await connect().plain("alice", "old") for _ in range(30)]
    assert set(said) == {f"FAIL\t1\tuser=alice\treason={REASON}"}
    assert await connect().plain("alice", "secret") == "OK\t1\tuser=alice"
    known.content = dict(await book.seal({"alice": b"old"}))
    book.update(SubmissionAuthentication(secret_name="users"), known)
    smtpd = connect()
    smtpd.judge.forget()
    assert await smtpd.plain("alice", "old") == "OK\t1\tuser=alice"
