"""What the log says of mail that siblings are given: counted apart from deliveries, and why it stays."""

import pytest

from smtpfleet.relay.handedover import HandedOver
from smtpfleet.relay.logreader import LogReader
from smtpfleet.relay.outcomes import outcome

CLIENT = "postfix/handoff/smtp"
TO = "4fxTs50qK0z1x: to=<r@example.net>, relay=10.96.0.2[10.96.0.2]:10025, delay=0.1, delays=0/0/0/0.1"
SENT = f"{TO}, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 4fxTs60qK0z1y)"
FULL = (
    f"{TO}, dsn=4.3.1, status=deferred (host 10.96.0.2[10.96.0.2] said: 452 4.3.1 Insufficient system storage"
    " (in reply to MAIL FROM command))"
)


def _read(handed_over: HandedOver, program: str, text: str) -> bool:
    return handed_over.read(program, text, outcome(program, text))


def test_a_message_that_a_sibling_took_is_counted_and_is_no_delivery() -> None:
    reader = LogReader(mask_addresses=True)
    line = reader.read(f"<22>Nov 26 10:00:00 {CLIENT}[17]: {SENT}")
    assert line is not None
    assert (reader.handed_over.count, dict(reader.deliveries)) == (1, {})
    reader.read(f"<22>Nov 26 10:00:00 postfix/smtp[17]: {SENT}")
    assert (reader.handed_over.count, dict(reader.deliveries)) == (1, {"sent": 1})


@pytest.mark.parametrize(
    ("why", "expected"),
    [
        (FULL, "its siblings take nothing now (452 4.3.1)"),
        (
            f"{TO}, dsn=4.4.1, status=deferred (connect to 10.96.0.2[10.96.0.2]:10025: Connection refused)",
            "its siblings cannot be reached",
        ),
        (
            f"{TO}, dsn=4.4.1, status=deferred (lost connection with 10.96.0.2[10.96.0.2] while sending MAIL FROM)",
            "its siblings cannot be reached",
        ),
        (
            f"{TO}, dsn=4.4.1, status=deferred (Server certificate not verified)",
            "its siblings take nothing now",
        ),
    ],
)
def test_why_it_stays_is_told_without_the_siblings_own_words(why: str, expected: str) -> None:
    handed_over = HandedOver()
    _read(handed_over, CLIENT, why)
    assert handed_over.why == expected
    _read(handed_over, CLIENT, SENT)
    assert handed_over.why == ""


def test_messages_that_siblings_hand_over_are_counted() -> None:
    handed_over = HandedOver()
    text = "4fxTs60qK0z1y: client=unknown[10.244.0.7], orig_queue_id=4fxTs50qK0z1x, orig_client=app[10.0.0.9]"
    assert not _read(handed_over, "postfix/taken/smtpd", text)
    _read(handed_over, "postfix/smtpd", text)
    _read(handed_over, "postfix/taken/smtpd", "connect from unknown[10.244.0.7]")
    _read(
        handed_over,
        "postfix/taken/smtpd",
        'NOQUEUE: reject: RCPT from x[10.244.0.7]: 452; to=<"4f: client="@y>',
    )
    assert handed_over.taken == 1


def test_an_address_cannot_forge_that_a_sibling_took_it() -> None:
    handed_over = HandedOver()
    _read(handed_over, CLIENT, FULL.replace("<r@", '<"r, status=sent (250"@'))
    assert (handed_over.count, handed_over.why) == (0, "its siblings take nothing now (452 4.3.1)")


def test_lines_of_others_are_none_of_it() -> None:
    assert not _read(HandedOver(), "postfix/smtp-0123456789/smtp", SENT)
    assert _read(HandedOver(), CLIENT, "warning: something")
