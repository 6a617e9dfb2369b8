"""Sessions of probes that log in: hidden while they are well, from an address that no client has."""

import pytest

from smtpfleet.relay.logreader import LogReader

SMTPD = "Oct  4 12:00:00 r postfix/smtpd[7]: "
PROBE = "unknown[10.0.0.0]"
CLIENT = "unknown[10.0.0.1]"
WELL = [
    "4jZp: client={}, sasl_method=PLAIN, sasl_username=probe;outbound",
    "disconnect from {} ehlo=2 starttls=1 auth=1 mail=1 rcpt=1 rset=1 quit=1 commands=8",
]


def reader() -> LogReader:
    made = LogReader(mask_addresses=True)
    made.leave_out(frozenset({"10.0.0.0"}))
    return made


@pytest.mark.parametrize("text", WELL)
def test_a_session_that_logs_in_leaves_no_line_and_a_clients_does(text: str) -> None:
    assert reader().read(SMTPD + text.format(PROBE)) is None
    assert reader().read(SMTPD + text.format(CLIENT)) is not None


@pytest.mark.parametrize(
    "text",
    [
        f"4jZp: client={PROBE}, sasl_method=PLAIN, sasl_username=jane",
        f"4jZp: client={PROBE}, sasl_method=PLAIN, sasl_username=pool;news",
        f"4jZp: client={PROBE}, sasl_method=PLAIN, sasl_username=probe;outbound, sasl_sender=jane@example.com",
        f"disconnect from {PROBE} ehlo=2 starttls=1 auth=0/1 quit=1 commands=4/5",
        f"disconnect from {PROBE} ehlo=2 starttls=1 auth=1 mail=1 rcpt=1 data=1 quit=1 commands=8",
        f"disconnect from {PROBE} ehlo=2 starttls=1 auth=1 mail=1 rcpt=1 data=0/1 quit=1 commands=7/8",
        f"warning: {PROBE}: SASL PLAIN authentication failed: , sasl_username=probe;outbound",
    ],
)
def test_another_users_name_and_what_was_refused_are_passed_on(text: str) -> None:
    assert reader().read(SMTPD + text) is not None


def test_a_canary_of_a_probe_that_logs_in_leaves_no_line_and_two_do() -> None:
    begun = "disconnect from {} ehlo=2 starttls=1 auth=1 mail={n} rcpt={n} data=1 rset=1 quit=1 commands=11"
    assert reader().read(SMTPD + begun.format(PROBE, n=2)) is None
    assert reader().read(SMTPD + begun.format(PROBE, n=3)) is not None


def test_a_message_of_that_user_is_told_with_its_client() -> None:
    read = reader()
    assert read.read(SMTPD + WELL[0].format(PROBE)) is None
    told = read.read("Oct  4 12:00:00 r postfix/cleanup[8]: 4jZp: message-id=<a@b.example>")
    assert told is not None
    assert told.text == f"4jZp: message-id=<a@b.example>, client={PROBE}"
