"""A client under TLS that logs in: what it says, and how each failure shows."""

import asyncio
import base64
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mailcheck.connection import ClientConnection
from mailcheck.dialogue import ClientOptions, Timeouts, Tls
from mailcheck.errors import MailcheckError
from mailcheck.generator import generate
from mailcheck.model import Attempt, Failure, Outcome, Stage
from mailcheck.sasl import Credentials, Mechanism, SaslError, command, exchange, parse_credentials
from mailcheck.submit import Load
from tests.unit.mailcheck.peers import Script, answer, greet, peer
from tests.unit.relay.pairs import pair

USER = Credentials(name="alice", password="secret")
PATIENT_S = 10.0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    file: Path = tmp_path_factory.mktemp("tls") / "chain.pem"
    made = pair()
    file.write_bytes(made.key + made.certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


async def one_to(script: Script, **options: object) -> Attempt:
    client = ClientOptions(timeouts=Timeouts.uniform(PATIENT_S), **options)  # type: ignore[arg-type] # by name
    async with peer(script) as target:
        (attempt,) = await generate(Load(targets=(target,), client=client), rate=1000, count=1)
    return attempt


def how(attempt: Attempt) -> tuple[Stage, int | None, Failure | None]:
    return attempt.stage, attempt.code, attempt.failure


def taking(context: ssl.SSLContext, *, tls: Tls, auth: tuple[str, ...], heard: list[bytes]) -> Script:
    """A server that upgrades, answers AUTH with these replies, and takes one message."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if tls is Tls.STARTTLS:
            writer.write(b"220 peer\r\n")
            await answer(reader, writer, "250-peer\r\n250 STARTTLS", "220 go on")
        await writer.start_tls(context)
        if tls is Tls.IMPLICIT:
            writer.write(b"220 peer\r\n")
        await answer(reader, writer, "250-peer\r\n250 AUTH PLAIN LOGIN SCRAM-SHA-256")
        for reply in auth:
            heard.append((await reader.readline()).strip())
            writer.write(reply.encode() + b"\r\n")
        await answer(reader, writer, "250 ok", "250 ok", "354 go on")
        heard.append(await reader.readuntil(b"\r\n.\r\n"))
        writer.write(b"250 taken\r\n")

    return script


@pytest.mark.parametrize("tls", [Tls.STARTTLS, Tls.IMPLICIT])
async def test_a_message_is_handed_in_under_tls_by_a_user(certificate: ssl.SSLContext, tls: Tls) -> None:
    heard: list[bytes] = []
    script = taking(certificate, tls=tls, auth=("235 come in",), heard=heard)
    attempt = await one_to(script, tls=tls, credentials=USER)
    assert attempt.outcome is Outcome.ACKNOWLEDGED
    assert heard[0] == b"AUTH PLAIN " + base64.b64encode(b"\0alice\0secret")


async def test_login_answers_two_questions(certificate: ssl.SSLContext) -> None:
    heard: list[bytes] = []
    script = taking(
        certificate,
        tls=Tls.STARTTLS,
        auth=("334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "235 come in"),
        heard=heard,
    )
    login = Credentials(name="alice", password="secret", mechanism=Mechanism.LOGIN)
    attempt = await one_to(script, tls=Tls.STARTTLS, credentials=login)
    assert attempt.outcome is Outcome.ACKNOWLEDGED
    assert heard[:3] == [b"AUTH LOGIN", base64.b64encode(b"alice"), base64.b64encode(b"secret")]


@pytest.mark.parametrize("code", [454, 535])
async def test_a_refused_login_is_named_by_its_code(certificate: ssl.SSLContext, code: int) -> None:
    script = taking(certificate, tls=Tls.STARTTLS, auth=(f"{code} no",), heard=[])
    attempt = await one_to(script, tls=Tls.STARTTLS, credentials=USER)
    assert (attempt.outcome, how(attempt)) == (Outcome.REJECTED, (Stage.AUTH, code, None))


async def test_a_server_that_never_knew_the_password_is_found_out(certificate: ssl.SSLContext) -> None:
    scram = Credentials(name="alice", password="secret", mechanism=Mechanism.SCRAM_SHA_256)
    script = taking(
        certificate, tls=Tls.STARTTLS, auth=("334 " + base64.b64encode(b"r=x,s=,i=1").decode(),), heard=[]
    )
    attempt = await one_to(script, tls=Tls.STARTTLS, credentials=scram)
    assert how(attempt) == (Stage.AUTH, None, Failure.PROTOCOL)


@pytest.mark.parametrize(
    ("options", "stage"),
    [({"tls": Tls.STARTTLS}, Stage.STARTTLS), ({"credentials": USER}, Stage.AUTH)],
)
async def test_what_is_not_offered_is_not_tried(options: dict[str, object], stage: Stage) -> None:
    assert how(await one_to(greet, **options)) == (stage, None, Failure.UNSUPPORTED)


async def test_a_handshake_that_fails_is_a_failure_of_tls() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 peer\r\n")
        await answer(reader, writer, "250-peer\r\n250 STARTTLS", "220 go on")
        await reader.read(1)
        writer.write(b"this is no handshake\r\n")

    assert how(await one_to(script, tls=Tls.STARTTLS)) == (Stage.STARTTLS, None, Failure.TLS)


async def test_what_the_kernel_did_not_take_is_unsent_under_tls_too(certificate: ssl.SSLContext) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = await ClientConnection.connect(*listener.getsockname(), timeout_s=PATIENT_S)
        plain, _ = listener.accept()
    begin: Callable[[], ssl.SSLSocket] = lambda: certificate.wrap_socket(plain, server_side=True)  # noqa: E731
    shaking = asyncio.get_running_loop().run_in_executor(None, begin)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    await connection.start_tls(context, timeout_s=PATIENT_S)
    other_end, sent = await shaking, 0
    assert connection.encrypted
    while not connection.unsent:  # ends when the kernel's buffers are full
        connection.write(b"x" * 100_000)
        sent += 100_000
        await asyncio.sleep(0)
    received = 0

    def read() -> None:
        nonlocal received
        while received < sent:
            received += len(other_end.recv(1 << 20))

    reading = threading.Thread(target=read)
    reading.start()
    await connection.flush(PATIENT_S)
    assert not connection.unsent
    await asyncio.to_thread(reading.join)
    assert received == sent
    connection.abort()
    other_end.close()


def test_an_initial_response_that_is_empty_is_an_equals_sign() -> None:
    assert command(b"", Mechanism.PLAIN) == "AUTH PLAIN ="
    assert command(None, Mechanism.LOGIN) == "AUTH LOGIN"


def test_credentials_are_read_and_not_shown() -> None:
    credentials = parse_credentials("alice:sec:ret", Mechanism.PLAIN)
    assert (credentials.name, credentials.password) == ("alice", "sec:ret")
    assert "sec" not in repr(credentials)
    for text in ("alice", ":secret", "alice:"):
        with pytest.raises(MailcheckError):
            parse_credentials(text, Mechanism.PLAIN)


def test_a_challenge_for_another_client_is_refused() -> None:
    client = exchange(Credentials(name="a", password="b", mechanism=Mechanism.SCRAM_SHA_256), nonce="mine")
    next(client)
    with pytest.raises(SaslError):
        client.send(b"r=other,s=c2FsdA==,i=4096")
