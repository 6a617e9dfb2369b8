"""A sink that plays a provider: STARTTLS, users, and how many sessions it had at a time."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import aiosmtplib
import pytest

from mailcheck.errors import MailcheckError
from mailcheck.jsonl import decode_arrivals
from mailcheck.sink.security import TlsFiles, authenticate, read_users
from mailcheck.sink.server import RunningSink, SinkSettings, run_sink
from mailcheck.sink_client import SinkClient
from smtpfleet.controller.selfsigned import make

MESSAGE = b"Message-ID: <m@example>\r\n\r\nx\r\n"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    directory = tmp_path_factory.mktemp("tls")
    pair = make(["localhost"], now=datetime.now(UTC))
    files = TlsFiles(directory / "tls.crt", directory / "tls.key")
    files.certificate.write_bytes(pair.certificate)
    files.key.write_bytes(pair.key)
    return files


@pytest.fixture
async def provider(files: TlsFiles, tmp_path: Path) -> AsyncIterator[RunningSink]:
    users = tmp_path / "users"
    users.write_text("jane:pass:word\n")
    settings = SinkSettings(listen=("127.0.0.1", 0), control=("127.0.0.1", 0), tls=files, users_path=users)
    async with run_sink(settings) as running:
        yield running


def _client(running: RunningSink) -> aiosmtplib.SMTP:
    return aiosmtplib.SMTP(
        hostname="127.0.0.1", port=running.smtp_port, start_tls=False, validate_certs=False
    )


async def _until_all_have_gone(running: RunningSink) -> None:
    async with asyncio.timeout(5):
        while running.record.open_sessions:  # noqa: ASYNC110 - the sink tells nobody when a session ends
            await asyncio.sleep(0)


@pytest.mark.parametrize("mechanism", ["plain", "login"])
async def test_mail_after_starttls_and_auth_is_recorded_with_both(
    provider: RunningSink, mechanism: str
) -> None:
    async with _client(provider) as client:
        await client.starttls(validate_certs=False)
        await getattr(client, f"auth_{mechanism}")("jane", "pass:word")
        await client.sendmail("a@b.example", ["c@d.example"], MESSAGE)
    arrival = decode_arrivals(provider.record.lines(0, 9).decode().splitlines())[0]
    assert (arrival.tls, arrival.user) == ("TLSv1.3", "jane")
    assert provider.record.counters["logins"] == 1


async def test_without_auth_no_mail_is_taken(provider: RunningSink) -> None:
    async with _client(provider) as client:
        await client.starttls(validate_certs=False)
        with pytest.raises(aiosmtplib.SMTPException, match="Authentication required"):
            await client.sendmail("a@b.example", ["c@d.example"], MESSAGE)


async def test_a_wrong_password_is_refused_and_may_be_tried_again(provider: RunningSink) -> None:
    async with _client(provider) as client:
        await client.starttls(validate_certs=False)
        with pytest.raises(aiosmtplib.SMTPAuthenticationError):
            await client.auth_plain("jane", "other")
        await client.auth_plain("jane", "pass:word")
    assert provider.record.counters["failedLogins"] == 1


async def test_auth_is_neither_offered_nor_taken_in_clear(provider: RunningSink) -> None:
    async with _client(provider) as client:
        reply = await client.ehlo()
        assert "STARTTLS" in reply.message
        assert "AUTH" not in reply.message
        assert (await client.execute_command(b"AUTH", b"PLAIN", b"AGEAYg==")).code == 503


async def test_commands_that_came_with_starttls_in_clear_are_not_believed(provider: RunningSink) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", provider.smtp_port)
    await reader.readline()
    writer.write(b"EHLO client\r\nSTARTTLS\r\nEHLO injected\r\nMAIL FROM:<evil@example.com>\r\n")
    while not (await reader.readline()).startswith(b"220 "):
        pass
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    await writer.start_tls(context)
    writer.write(b"RCPT TO:<c@d.example>\r\n")
    assert (await reader.readline()).startswith(b"503 ")
    writer.close()


async def test_a_client_that_breaks_the_handshake_off_leaves_no_session(provider: RunningSink) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", provider.smtp_port)
    await reader.readline()
    writer.write(b"STARTTLS\r\n")
    await reader.readline()
    writer.write(b"this is no TLS\r\n")
    await reader.read()
    writer.close()
    await _until_all_have_gone(provider)
    assert provider.record.counters["failedHandshakes"] == 1


async def test_a_sink_without_tls_offers_none() -> None:
    settings = SinkSettings(listen=("127.0.0.1", 0), control=("127.0.0.1", 0))
    async with run_sink(settings) as running, _client(running) as client:
        assert "STARTTLS" not in (await client.ehlo()).message
        assert (await client.execute_command(b"STARTTLS")).code == 502


async def test_the_most_sessions_at_a_time_are_counted_since_the_mode_was_set() -> None:
    async with run_sink(SinkSettings(listen=("127.0.0.1", 0), control=("127.0.0.1", 0))) as running:
        control = SinkClient("127.0.0.1", running.control_port)
        async with _client(running) as one, _client(running) as two, _client(running):
            await one.ehlo()
            await two.ehlo()
        await _until_all_have_gone(running)
        assert (await control.counters())["peakSessions"] == 2
        await control.set_mode("accept")
        async with _client(running) as one:
            await one.ehlo()
            counters = await control.counters()
        assert (counters["openSessions"], counters["peakSessions"]) == (1, 1)


def test_nonsense_in_auth_is_a_failed_login() -> None:
    dialogue = authenticate({"a": "b"}, b"PLAIN =not-base64=")
    with pytest.raises(StopIteration) as end:
        next(dialogue)
    assert end.value.value is None


def test_an_initial_response_saves_a_step() -> None:
    response = base64.b64encode(b"\0a\0b")
    with pytest.raises(StopIteration) as end:
        next(authenticate({"a": "b"}, b"PLAIN " + response))
    assert end.value.value == "a"


def test_another_mechanism_is_named_as_such() -> None:
    with pytest.raises(ValueError, match="mechanism"):
        next(authenticate({}, b"CRAM-MD5"))


def test_files_that_are_of_no_use_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(MailcheckError, match="cannot read the users"):
        read_users(tmp_path / "none")
    with pytest.raises(MailcheckError, match="cannot use the certificate"):
        TlsFiles(tmp_path / "none", tmp_path / "none").context()
