"""What came of deliveries, by the lines that Postfix's delivery agents log."""

import pytest

from smtpfleet.api.agent_status import RECEIVER_GROUPS, DeferralReason, DeferralStage
from smtpfleet.relay.outcomes import Outcome, outcome, receiver_group

HOST = "mx.example.net[192.0.2.1]"


def _line(why: str, *, status: str = "deferred", to: str = "<bob@example.net>", more: str = "") -> str:
    return (
        f"4dKZ8x0b3Xz1: to={to}, {more}relay={HOST}:25, delay=3.4, delays=0.02/1.1/0.5/1.8, dsn=4.0.0,"
        f" status={status} ({why})"
    )


def _of(text: str, program: str = "postfix/smtp") -> Outcome:
    found = outcome(program, text)
    assert found is not None
    return found


def test_a_delivery_has_its_delays_and_the_group_of_its_receiver() -> None:
    assert _of(_line("250 2.0.0 Ok", status="sent")) == Outcome(
        status="sent",
        tried=True,
        delays_s=(0.02, 1.1, 0.5, 1.8),
        receiver=receiver_group("x@example.net"),
        why="250 2.0.0 Ok)",
    )


@pytest.mark.parametrize(
    ("why", "reason", "stage"),
    [
        (f"connect to {HOST}:25: Connection refused", "ConnectFailed", "connect"),
        ("Host or domain name not found. Name service error for name=a type=MX: Host not found, try again",
         "DnsFailed", "lookup"),
        (f"host {HOST} refused to talk to me: 421 4.7.0 Blocked", "RemoteTemporary", "greeting"),
        (f"host {HOST} refused to talk to me: 554 5.7.1 Blocked", "RemoteRefused", "greeting"),
        (f"host {HOST} said: 451 4.3.0 Later (in reply to MAIL FROM command)", "RemoteTemporary", "mail"),
        (f"host {HOST} said: 450 4.2.0 Greylisted (in reply to RCPT TO command)", "RemoteTemporary", "rcpt"),
        (f"host {HOST} said: 451 4.3.0 (in reply to MAIL FROM command) (in reply to end of DATA command)",
         "RemoteTemporary", "data"),
        (f"lost connection with {HOST} while receiving the initial server greeting", "ConnectionLost", "greeting"),
        (f"lost connection with {HOST} while performing the EHLO handshake", "ConnectionLost", "ehlo"),
        (f"conversation with {HOST} timed out while sending RCPT TO", "ConnectionLost", "rcpt"),
        (f"lost connection with {HOST} while sending end of data -- message may be sent more than once",
         "ConnectionLost", "data"),
        ("Cannot start TLS: handshake failure", "TlsFailed", "tls"),
        (f"TLS is required, but was not offered by host {HOST}", "TlsFailed", "tls"),
        ("Server certificate not trusted", "TlsFailed", "tls"),
        (f"SASL authentication failed; server {HOST} said: 535 5.7.8 No", "LoginFailed", "login"),
        ("mail transport unavailable", "Other", ""),
    ],
)  # fmt: skip
def test_a_deferral_has_its_reason_and_step(why: str, reason: str, stage: str) -> None:
    found = _of(_line(why))
    assert (found.reason, found.stage) == (DeferralReason(reason), DeferralStage(stage))
    assert found.tried


@pytest.mark.parametrize("program", ["postfix/error", "postfix/retry", "postfix/qmgr", "postfix/smtp"])
def test_what_was_put_off_without_a_try_says_nothing_of_the_receiver(program: str) -> None:
    found = _of(_line(f"delivery temporarily suspended: connect to {HOST}:25: timed out"), program)
    assert (found.reason, found.tried) == (DeferralReason.SUSPENDED, False)


def test_a_bounce_has_no_reason_to_wait() -> None:
    found = _of(_line(f"host {HOST} said: 550 5.1.1 Nobody (in reply to RCPT TO command)", status="bounced"))
    assert (found.status, found.reason, found.tried) == ("bounced", None, True)


@pytest.mark.parametrize(
    "text",
    [
        "4dKZ8x0b3Xz1: removed",
        "4dKZ8x0b3Xz1: from=<a@b.example>, size=1, nrcpt=1 (queue active)",
        "4dKZ8x0b3Xz1: from=<a@b.example>, status=expired, returned to sender",
        f"connect to {HOST}:25: Connection refused",
        _line("250 2.0.0 Ok", status="zzza"),
        _line("250 2.0.0 Ok", status="sent").replace("0.02/", "0.0.2/"),
        _line("250 2.0.0 Ok", status="sent").replace("0.02/", "./"),
        "NOQUEUE: reject: " + _line("250 2.0.0 Ok", status="sent"),
    ],
)
def test_other_lines_are_none(text: str) -> None:
    assert outcome("postfix/smtp", text) is None


@pytest.mark.parametrize(
    ("to", "more"),
    [
        ('<"a>, relay=x, delay=1, delays=9/9/9/9, dsn=2.0.0, status=sent (x"@example.net>', ""),
        (r'<"a\">, relay=x, delay=1, delays=9/9/9/9, dsn=2.0.0, status=sent (x"@example.net>', ""),
        ("<bob@example.net>", 'orig_to=<"a>, status=sent (b"@c.example>, '),
        ("<bob@EXAMPLE.net>", "orig_to=<bob>, "),
    ],
)
def test_an_address_cannot_forge_an_outcome(to: str, more: str) -> None:
    found = _of(_line("connect to x: , status=sent (250 ok)", to=to, more=more))
    assert (found.status, found.delays_s) == ("deferred", (0.02, 1.1, 0.5, 1.8))
    assert found.receiver == receiver_group("bob@example.net")


def test_who_delivers_nothing_tells_of_no_outcome() -> None:
    assert outcome("postfix/smtpd", _line("250 2.0.0 Ok", status="sent")) is None


def test_receivers_are_told_apart_and_never_named() -> None:
    groups = {receiver_group(f"a@d{number}.example") for number in range(500)}
    assert groups <= set(range(RECEIVER_GROUPS))
    assert len(groups) > RECEIVER_GROUPS / 2
