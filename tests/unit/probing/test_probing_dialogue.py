"""One probe against responders on the loopback: how far it comes, what it says of each way to fail, and no message."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bench.responders import Behaviour, Responders
from smtpfleet.api.probes import ProbeResult, ProbeStage, ProbeTrouble
from smtpfleet.controller.selfsigned import make
from smtpfleet.probing.dialogue import Credentials, Profile, probe

NOW = datetime.now(UTC)
PROFILE = Profile(timeout_s=5.0, clients=("10.0.0.0", ""), tls=False)
ALL = [ProbeStage.CONNECT, ProbeStage.BANNER, ProbeStage.EHLO, ProbeStage.MAIL, ProbeStage.RCPT,
       ProbeStage.RSET, ProbeStage.QUIT]  # fmt: skip


@pytest.fixture
async def relay() -> AsyncIterator[Responders]:
    responders = Responders()
    yield responders
    responders.close()


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Callable[[timedelta], ssl.SSLContext]:
    """Makes a server's context with a certificate of a year that began so long ago."""

    def made(ago: timedelta) -> ssl.SSLContext:
        pair = make(["relay.example"], now=NOW - ago)
        file: Path = tmp_path_factory.mktemp("tls") / "chain.pem"
        file.write_bytes(pair.key + pair.certificate)
        result = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        result.load_cert_chain(file)
        return result

    return made


async def _probe(relay: Responders, profile: Profile = PROFILE, canary: bytes = b"") -> ProbeResult:
    port = await relay.listen()
    clock = asyncio.get_running_loop().time
    return await probe("127.0.0.1", replace(profile, port=port), canary, clock=clock)


async def test_a_relay_that_is_well_does_all_steps_and_gets_no_message(relay: Responders) -> None:
    result = await _probe(relay)
    assert (result.ok, result.stage, list(result.latency_s)) == (True, ProbeStage.QUIT, ALL)
    assert relay.commands == [
        "EHLO probe.smtpfleet.invalid",
        "MAIL FROM:<>",
        "RCPT TO:<probe@smtpfleet.invalid>",
        "RSET",
        "QUIT",
    ]
    assert 0 < result.took_s < 5


async def test_the_proxy_header_names_a_client_of_a_trusted_network(relay: Responders) -> None:
    await _probe(relay)
    assert relay.clients[0][16:20] == bytes([10, 0, 0, 0])


async def test_where_no_network_is_trusted_no_recipient_is_offered(relay: Responders) -> None:
    result = await _probe(relay, replace(PROFILE, clients=("", "fd00::")))
    assert result.ok
    assert ProbeStage.RCPT not in result.latency_s
    assert not [command for command in relay.commands if command.startswith("RCPT")]
    assert relay.clients[0][16:20] == bytes([192, 0, 2, 1])


async def test_tls_is_made_and_the_certificate_read_whoever_signed_it(
    relay: Responders, context: Callable[[timedelta], ssl.SSLContext]
) -> None:
    relay.usual = Behaviour(tls=context(timedelta(days=100)))
    result = await _probe(relay, replace(PROFILE, tls=True))
    assert result.ok, result
    assert ProbeStage.STARTTLS in result.latency_s
    assert result.not_after is not None
    assert abs(result.not_after - (NOW + timedelta(days=265))) < timedelta(hours=2)


async def test_an_expired_certificate_is_read_not_refused(
    relay: Responders, context: Callable[[timedelta], ssl.SSLContext]
) -> None:
    relay.usual = Behaviour(tls=context(timedelta(days=400)))
    result = await _probe(relay, replace(PROFILE, tls=True))
    assert result.ok
    assert result.not_after is not None
    assert result.not_after < NOW


@pytest.mark.parametrize(
    ("verb", "reply", "stage", "code", "enhanced", "text"),
    [
        ("BANNER", "421 4.3.2 Server busy", ProbeStage.BANNER, 421, "4.3.2", "Server busy"),
        ("BANNER", "554 no", ProbeStage.BANNER, 554, "", "no"),
        ("EHLO", "502 5.5.2 what?", ProbeStage.EHLO, 502, "5.5.2", "what?"),
        ("MAIL", "452 4.3.1 Insufficient system storage", ProbeStage.MAIL, 452, "4.3.1",
         "Insufficient system storage"),
        ("RCPT", "554 5.7.1 <probe@smtpfleet.invalid>: Relay access denied", ProbeStage.RCPT, 554, "5.7.1",
         "<probe>: Relay access denied"),
        ("RSET", "421 4.4.2 timeout", ProbeStage.RSET, 421, "4.4.2", "timeout"),
    ],
)  # fmt: skip
async def test_a_refusal_tells_step_codes_and_words(
    relay: Responders, verb: str, reply: str, stage: ProbeStage, code: int, enhanced: str, text: str
) -> None:
    relay.usual = Behaviour(replies={verb: reply})
    result = await _probe(relay)
    assert (result.stage, result.trouble) == (stage, ProbeTrouble.REFUSED)
    assert (result.code, result.enhanced, result.text) == (code, enhanced, text)
    assert list(result.latency_s)[-1] is stage


async def test_tls_that_is_refused_or_missing_or_broken_is_told_apart(
    relay: Responders, context: Callable[[timedelta], ssl.SSLContext]
) -> None:
    profile = replace(PROFILE, tls=True)
    missing = await _probe(relay, profile)
    assert (missing.stage, missing.trouble) == (ProbeStage.STARTTLS, ProbeTrouble.TLS)
    tls = context(timedelta(days=1))
    relay.usual = Behaviour(tls=tls, replies={"STAR": "454 4.7.0 TLS not available"})
    refused = await _probe(relay, profile)
    assert (refused.stage, refused.code, refused.enhanced) == (ProbeStage.STARTTLS, 454, "4.7.0")
    relay.usual = Behaviour(tls=tls, replies={"STAR": "220 ready, but it is no TLS that follows\r\nno TLS"})
    broken = await _probe(relay, replace(profile, timeout_s=0.2))
    assert (broken.stage, broken.ok) == (ProbeStage.STARTTLS, False)


@pytest.mark.parametrize("verb", ["BANNER", "EHLO", "MAIL", "RCPT", "RSET"])
async def test_a_connection_that_is_closed_or_silent_at_any_step_ends_the_probe(
    relay: Responders, verb: str
) -> None:
    relay.usual = Behaviour(replies={verb: ""})
    closed = await _probe(relay)
    assert (closed.stage.value.upper()[:4], closed.trouble) == (verb[:4].upper(), ProbeTrouble.CLOSED)
    relay.usual = Behaviour(replies={verb: None})
    silent = await _probe(relay, replace(PROFILE, timeout_s=0.1))
    assert (silent.stage, silent.trouble) == (closed.stage, ProbeTrouble.TIMEOUT)
    assert silent.latency_s[silent.stage] > 0


@pytest.mark.parametrize("reply", ["", None, "500 never"])
async def test_a_farewell_that_fails_is_no_trouble(relay: Responders, reply: str | None) -> None:
    relay.usual = Behaviour(replies={"QUIT": reply})
    assert (await _probe(relay, replace(PROFILE, timeout_s=0.5))).ok


async def test_a_delayed_banner_shows_in_its_step(relay: Responders) -> None:
    relay.usual = Behaviour(banner_delay_s=0.05)
    result = await _probe(relay)
    assert result.ok
    assert max(result.latency_s, key=result.latency_s.__getitem__) is ProbeStage.BANNER


async def test_a_port_that_nobody_listens_on_is_unreachable(relay: Responders) -> None:
    port = await relay.listen()
    relay.close()
    result = await probe("127.0.0.1", replace(PROFILE, port=port), clock=asyncio.get_running_loop().time)
    assert (result.stage, result.trouble) == (ProbeStage.CONNECT, ProbeTrouble.UNREACHABLE)
    assert "refused" in result.text.lower()


async def test_an_answer_that_is_no_smtp_is_a_refusal_without_a_code(relay: Responders) -> None:
    relay.usual = Behaviour(replies={"BANNER": "HTTP/1.1 400 Bad Request"})
    result = await _probe(relay)
    assert (result.stage, result.ok, result.code) == (ProbeStage.BANNER, False, 0)


async def test_a_probe_leaves_no_connection_open(relay: Responders) -> None:
    relay.usual = Behaviour(replies={"MAIL": None})
    await _probe(relay, replace(PROFILE, timeout_s=0.1))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


CANARY = b"Subject: canary\r\n\r\n.dot\r\n"


async def test_a_canary_is_handed_in_after_everything_else(relay: Responders) -> None:
    result = await _probe(relay, canary=CANARY)
    assert (result.ok, result.handed_in, result.stage) == (True, True, ProbeStage.QUIT)
    assert relay.commands[3:] == [
        "RSET",
        "MAIL FROM:<>",
        "RCPT TO:<canary@canary.smtpfleet.invalid>",
        "DATA",
        "QUIT",
    ]
    assert relay.content == [b"Subject: canary", b"", b"..dot"]
    assert ProbeStage.DATA in result.latency_s


async def test_content_that_is_refused_is_a_failed_probe(relay: Responders) -> None:
    relay.usual = Behaviour(replies={"END": "451 4.3.0 queue file write error"})
    result = await _probe(relay, canary=CANARY)
    assert (result.stage, result.trouble, result.code) == (ProbeStage.DATA, ProbeTrouble.REFUSED, 451)
    assert not result.handed_in


@pytest.mark.parametrize("reply", ["554 5.7.1 Access denied", "450 4.1.2 Domain not found"])
async def test_a_relay_that_refuses_only_the_canarys_address_is_not_to_blame(
    relay: Responders, reply: str
) -> None:
    relay.refused = {"RCPT TO:<canary@canary.smtpfleet.invalid>": reply}
    result = await _probe(relay, canary=CANARY)
    assert (result.ok, result.handed_in) == (True, False)
    assert "DATA" not in relay.commands


async def test_no_canary_is_handed_in_where_no_recipient_is_offered(relay: Responders) -> None:
    result = await _probe(relay, replace(PROFILE, clients=("", "")), CANARY)
    assert (result.ok, result.handed_in, relay.content) == (True, False, [])


LOGIN = Credentials("probe;outbound", "password-of-the-test")
PLAIN = base64.b64encode(b"\0probe;outbound\0password-of-the-test").decode()
STRANGER = replace(PROFILE, clients=("", ""), tls=True, login=LOGIN)


async def test_a_probe_logs_in_under_tls_and_is_then_offered_a_recipient_without_a_trusted_network(
    relay: Responders, context: Callable[[timedelta], ssl.SSLContext]
) -> None:
    relay.usual = Behaviour(tls=context(timedelta(days=1)), replies={"AUTH": "235 2.7.0 ok"})
    result = await _probe(relay, STRANGER, CANARY)
    assert (result.ok, result.stage, result.handed_in) == (True, ProbeStage.QUIT, False)
    assert relay.commands == [
        "EHLO probe.smtpfleet.invalid",
        "STARTTLS",
        "EHLO probe.smtpfleet.invalid",
        f"AUTH PLAIN {PLAIN}",
        "MAIL FROM:<>",
        "RCPT TO:<probe@smtpfleet.invalid>",
        "RSET",
        "QUIT",
    ]
    assert [*result.latency_s][3:6] == [ProbeStage.STARTTLS, ProbeStage.AUTH, ProbeStage.MAIL]


async def test_a_probe_without_a_login_sends_none(
    relay: Responders, context: Callable[[timedelta], ssl.SSLContext]
) -> None:
    relay.usual = Behaviour(tls=context(timedelta(days=1)))
    result = await _probe(relay, STRANGER.of("outbound-relay-0"))
    assert result.ok
    assert ProbeStage.AUTH not in result.latency_s
    assert not [command for command in relay.commands if command.startswith(("AUTH", "RCPT"))]


@pytest.mark.parametrize(
    ("reply", "code", "enhanced"),
    [
        ("535 5.7.8 Error: authentication failed", 535, "5.7.8"),
        ("503 5.5.1 Error: authentication not enabled", 503, "5.5.1"),
        ("454 4.7.0 Temporary authentication failure", 454, "4.7.0"),
        (f"535 5.7.8 no {PLAIN} nor password-of-the-test", 535, "5.7.8"),
    ],
)
async def test_a_login_that_is_refused_is_told_without_the_password(
    relay: Responders, context: Callable[[timedelta], ssl.SSLContext], reply: str, code: int, enhanced: str
) -> None:
    relay.usual = Behaviour(tls=context(timedelta(days=1)), replies={"AUTH": reply})
    result = await _probe(relay, STRANGER)
    assert (result.stage, result.trouble) == (ProbeStage.AUTH, ProbeTrouble.REFUSED)
    assert (result.code, result.enhanced) == (code, enhanced)
    assert not [command for command in relay.commands if command.startswith("MAIL")]
    assert LOGIN.password not in repr(result)
    assert PLAIN not in repr(result)


def test_a_password_is_in_no_representation() -> None:
    assert LOGIN.password not in repr(STRANGER) + str(LOGIN)


def test_only_relays_that_know_the_user_are_logged_in_to() -> None:
    profile = replace(STRANGER, knows=frozenset({"outbound-relay-0"}))
    assert profile.of("outbound-relay-0") is profile
    assert profile.of("outbound-relay-1") == replace(profile, login=None)
    assert replace(profile, login=None).of("outbound-relay-0").login is None
