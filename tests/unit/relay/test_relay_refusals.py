"""What the log says of credentials that a server refuses."""

import pytest

from smtpfleet.relay.outcomes import outcome
from smtpfleet.relay.refusals import Refusals

HEAD = (
    "4dKZ8x0b3Xz1: to=<jane@example.net>, relay=smtp.provider.example[192.0.2.1]:587, delay=0.4,"
    " delays=0/0/0.3/0.1, dsn=4.7.8, "
)
REFUSED = (
    f"{HEAD}status=deferred (SASL authentication failed; server smtp.provider.example[192.0.2.1] said:"
    " 535 5.7.8 Wrong user name or password)"
)
SENT = f"{HEAD}status=sent (250 2.0.0 Ok)"
SERVICE = "smtp-0123456789"
OTHER = "smtp-9876543210"


def after(*lines: str, then: str = "", program: str = f"postfix/{OTHER}/smtp") -> dict[str, str]:
    """What is known after these lines of one service, and ``then`` one of another program."""
    refusals = Refusals()
    for line in lines:
        _read(refusals, f"postfix/{SERVICE}/smtp", line)
    _read(refusals, program, then)
    return dict(refusals.current)


def _read(refusals: Refusals, program: str, line: str) -> None:
    if (found := outcome(program, line)) is not None:
        refusals.read(program, found)


def test_a_refusal_is_known_by_service_and_code() -> None:
    assert after(REFUSED) == {SERVICE: "535"}


def test_without_a_reply_there_is_no_code() -> None:
    line = (
        f"{HEAD}status=deferred (SASL authentication failed; cannot authenticate to server x: no mechanism)"
    )
    assert after(line) == {SERVICE: ""}


def test_a_delivery_ends_it() -> None:
    assert after(REFUSED, SENT) == {}


def test_an_address_ends_nothing() -> None:
    assert after(REFUSED, REFUSED.replace("<jane@", '<"a, status=sent (250"@')) == {SERVICE: "535"}


@pytest.mark.parametrize(
    "line",
    [
        f"{HEAD}status=deferred (host smtp.provider.example[192.0.2.1] said: 451 4.3.0 Later)",
        f"{HEAD}status=bounced (host smtp.provider.example[192.0.2.1] said: 550 5.1.1 Nobody)",
        "4dKZ8x0b3Xz1: to=<j@example.net>, relay=none, delay=0, delays=0/0/0/0, dsn=4.3.0, status=deferred (no route)",
        "connect from unknown[192.0.2.7]",
    ],
)
def test_other_outcomes_change_nothing(line: str) -> None:
    assert after(line) == {}
    assert after(REFUSED, line) == {SERVICE: "535"}


@pytest.mark.parametrize("program", [f"postfix/{OTHER}/smtp", "postfix/smtp", "postfix/qmgr"])
def test_another_account_of_the_same_server_is_another_matter(program: str) -> None:
    assert after(REFUSED, then=SENT, program=program) == {SERVICE: "535"}


def test_other_credentials_deserve_a_new_judgement() -> None:
    refusals = Refusals()
    _read(refusals, f"postfix/{SERVICE}/smtp", REFUSED)
    refusals.forget(SERVICE)
    assert not refusals.current


def test_nothing_but_services_and_codes_is_kept() -> None:
    assert "example.net" not in str(after(REFUSED))
