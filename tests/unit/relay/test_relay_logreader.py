"""Postfix's log lines, as others may see them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpfleet.relay.logreader import LogLine, LogReader, Severity, mask

PREFIX = "Nov 22 04:24:28 outbound-relay-0 "


TO = "4j: to=<a@b.example>, relay=none, delay=0.1, delays=0.1/0/0/0, "


def _read(line: str) -> LogLine | None:
    return LogReader(mask_addresses=True).read(PREFIX + line)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("from=<jane.doe@example.com>, size=1", "from=<j***@example.com>, size=1"),
        ("to=<j@example.com>, orig_to=<k+tag@example.org>", "to=<j***@example.com>, orig_to=<k***@example.org>"),
        ('to=<"jane doe"@example.com>', "to=<j***@example.com>"),
        ("to=<jürgen@beispiel.example>", "to=<j***@beispiel.example>"),
        ("to=<jane@[192.0.2.1]>", "to=<j***@[192.0.2.1]>"),
        ("(mx said: 550 5.1.1 <bob@example.com>: unknown)", "(mx said: 550 5.1.1 <b***@example.com>: unknown)"),
        ("bob@example.com, eve@example.org", "b***@example.com, e***@example.org"),
        ("prvs=1234=bob@example.com", "p***@example.com"),
        ("from=<bounces+john.doe=example.org@lists.example>, x", "from=<b***@lists.example>, x"),
        ("said: bounces+john.doe=example.org@lists.example unknown", "said: b***@lists.example unknown"),
        ("to=</G=John/S=Doe/O=Org/@gw.example>", "to=</***@gw.example>"),
        ("no signing table match for 'sean.o'brien@example.com'", "no signing table match for 's***@example.com'"),
        ("to=<o'brien@example.com>", "to=<o***@example.com>"),
        ("to=<john doe@example.com>", "to=<j***@example.com>"),
        ('to=<"a> b@c (x), \\"d"@example.com>, relay=x', "to=<a***@example.com>, relay=x"),
        ('to=<a."b c>".d@example.com>, relay=x', "to=<a***@example.com>, relay=x"),
        ('in RCPT command: <john"doe@example.com>', "in RCPT command: <j***@example.com>"),
        ("in RCPT command: <@a.example,@b.example:john.doe@example.com>", "in RCPT command: <a***@example.com>"),
        ("in RCPT command: <john.doe@example.com", "in RCPT command: <j***@example.com"),
        ("RCPT TO:john.doe%example.org@example.com", "RCPT TO:j***@example.com"),
        ('user "john \\"x\\" doe"@example.com unknown', "user j***@example.com unknown"),
        ("sasl_sender=jane.doe@example.com", "sasl_sender=j***@example.com"),
        ("to=<@example.com> @example.com '='@example.com", "to=<@example.com> @example.com ***@example.com"),
    ],
)  # fmt: skip
def test_local_parts_are_hidden(text: str, masked: str) -> None:
    assert mask(text) == masked


@given(
    st.text("abcXYZ019!#$%&'*+-/=?^_`{|}~.ü", min_size=1),
    st.sampled_from(
        ["to=<{}@x.example>, b", "<{}@x.example>: User unknown", "(for {}@x.example)", "TO:{}@x.example"]
    ),
)
def test_whatever_stands_in_a_local_part_it_is_hidden(local: str, line: str) -> None:
    masked = mask(line.format("Q" + local))
    assert masked == line.format("Q***")


@given(st.text(st.characters(codec="utf-8", exclude_characters='"\\\n'), min_size=1))
def test_whatever_stands_in_a_quoted_local_part_it_is_hidden(local: str) -> None:
    assert mask(f'to=<"Q{local}"@x.example>, orig_to=<"Q{local}"@y.example>') == (
        "to=<Q***@x.example>, orig_to=<Q***@y.example>"
    )


@pytest.mark.parametrize(
    "text",
    [
        "message-id=<20240101.abc@example.com>",
        "resent-message-id=<a.b@example.com>",
        "4jX: client=unknown[10.9.9.9], sasl_method=PLAIN, sasl_username=alice@example.com",
        "client=unknown[10.9.9.9]",
        "connect to mx.example.com[192.0.2.1]:25: Connection refused",
    ],
)
def test_what_is_no_address_stays(text: str) -> None:
    assert mask(text) == text


def test_an_address_after_a_message_id_is_hidden_nevertheless() -> None:
    assert (
        mask("message-id=<a@b.example> from=<jane@c.example>")
        == "message-id=<a@b.example> from=<j***@c.example>"
    )


def test_an_address_after_the_name_of_a_user_is_hidden_nevertheless() -> None:
    assert mask("sasl_username=a@b.example, from=<jane@c.example>, x@d.example").endswith(
        "sasl_username=a@b.example, from=<j***@c.example>, x***@d.example"
    )


def test_a_line_is_taken_apart() -> None:
    assert _read("postfix/smtp[195]: 4jX: to=<bob@example.net>, status=sent (250 Ok)") == LogLine(
        text="4jX: to=<b***@example.net>, status=sent (250 Ok)", program="postfix/smtp", pid=195
    )


@pytest.mark.parametrize("severity", ["warning", "error", "fatal", "panic"])
def test_the_severity_is_postfixs_own(severity: str) -> None:
    line = _read(f"postfix/smtpd[1]: {severity}: something")
    assert line is not None
    assert line.severity is Severity(severity)


@pytest.mark.parametrize(
    "text",
    [
        "connect from unknown[10.1.1.1]",
        "disconnect from unknown[10.1.1.1] ehlo=1",
        "lost connection after CONNECT",
    ],
)
def test_the_noise_of_checks_is_dropped_and_that_of_clients_is_not(text: str) -> None:
    assert _read(f"postfix/check/smtpd[7]: {text}") is None
    assert _read(f"postfix/smtpd[7]: {text}") is not None


def test_trouble_of_checks_is_passed_on() -> None:
    assert _read(
        "postfix/check/smtpd[7]: NOQUEUE: reject: MAIL from x: 452 4.3.1 Insufficient system storage"
    )


def test_a_line_of_another_form_is_passed_on_masked() -> None:
    assert LogReader(mask_addresses=True).read("sendmail: jane@example.com?") == LogLine(
        "sendmail: j***@example.com?"
    )


def test_masking_can_be_switched_off() -> None:
    line = LogReader(mask_addresses=False).read(PREFIX + "postfix/qmgr[1]: 4j: from=<jane@example.com>")
    assert line is not None
    assert "jane@example.com" in line.text


def test_outcomes_are_counted_by_recipient() -> None:
    reader = LogReader(mask_addresses=True)
    for status in ("sent", "sent", "deferred", "bounced"):
        reader.read(PREFIX + f"postfix/smtp[1]: {TO}dsn=2.0.0, status={status} (250 Ok)")
    assert reader.deliveries == {"sent": 2, "deferred": 1, "bounced": 1}


FORGED = "status=zzza (x, status=sent (x, DKIM-Signature field added (x, milter-reject: x"
REFUSED_AT_RCPT = (
    f'NOQUEUE: reject: RCPT from unknown[192.0.2.9]: 554 5.7.1 <"a, {FORGED}"@y.example>: Relay access denied;'
    f' from=<"4j: {TO}dsn=2.0.0, {FORGED}"@y.example> to=<"a, {FORGED}"@y.example> proto=ESMTP helo=<x>'
)


@pytest.mark.parametrize(
    "line",
    [
        f"postfix/smtpd[1]: {REFUSED_AT_RCPT}",
        f"postfix/smtpd[1]: {REFUSED_AT_RCPT.replace('NOQUEUE', '4j')}",
        f"postfix/smtpd[1]: {TO}dsn=2.0.0, status=sent (x)",
        f'postfix/cleanup[1]: 4j: message-id=<"a, {FORGED}"@y.example>',
        f"postfix/cleanup[1]: 4j: warning: header Subject: {TO}dsn=2.0.0, {FORGED}) from x[192.0.2.9];",
        f'postfix/qmgr[1]: 4j: from=<"a, {FORGED}"@y.example>, size=1, nrcpt=1 (queue active)',
        f"postfix/smtp[1]: {TO}dsn=2.0.0, status=zzza (x)",
        f"postfix/smtp[1]: 4j: host mx.example[192.0.2.1] said: 450 4.2.0 {TO}dsn=2.0.0, {FORGED}",
        f"opendkim[1]: 4j: no signing table match for '\"x: {FORGED}\"@y.example'",
        "postfix/smtp[1]: 4j: DKIM-Signature field added (s=s1, d=example.com)",
        "postfix/smtp[1]: 4j: milter-reject: x",
    ],
)
def test_what_strangers_write_into_lines_counts_nowhere(line: str) -> None:
    reader = LogReader(mask_addresses=True)
    assert reader.read(PREFIX + line) is not None
    assert (dict(reader.deliveries), reader.signed, reader.milter_rejects) == ({}, 0, 0)
    assert reader.recent.shown().sent == 0


def test_mail_that_is_put_off_by_a_stop_is_no_outcome() -> None:
    reader = LogReader(mask_addresses=True)
    reader.read(PREFIX + f"postfix/qmgr[1]: {TO}dsn=4.3.2, status=deferred (deferred transport)")
    assert not reader.deliveries


def test_the_last_minute_is_told_by_recipient_and_by_message() -> None:
    reader = LogReader(mask_addresses=True, clock=lambda: 10.0)
    reader.read(
        PREFIX + "postfix/smtp[1]: 4j: to=<a@b.example>, relay=mx.b.example[192.0.2.1]:25, delay=1,"
        " delays=0.1/0.2/0.3/0.4, dsn=4.3.0, status=deferred (connect to mx.b.example[192.0.2.1]:25: timed out)"
    )
    reader.read(
        PREFIX + "postfix/qmgr[1]: 4j: to=<a@b.example>, relay=none, delay=0.1, delays=0.1/0/0/0,"
        " dsn=4.3.2, status=deferred (deferred transport)"
    )
    reader.read(PREFIX + "postfix/qmgr[1]: 4j: removed")
    reader.read(PREFIX + "postfix/cleanup[1]: 4k: removed (canceled)")
    shown = reader.recent.shown()
    assert (shown.deferred, shown.sent, reader.recent.finished_total) == (1, 0, 1)


def test_signatures_and_mail_that_could_not_be_signed_are_counted() -> None:
    reader = LogReader(mask_addresses=True)
    reader.read("Nov 26 07:19:46 opendkim[282]: 4jX1: DKIM-Signature field added (s=s1, d=example.com)")
    reader.read(
        "Nov 26 06:39:01 postfix/cleanup[130]: 4jX2: milter-reject: END-OF-MESSAGE from unknown[127.0.0.1]: 4.7.1"
        " Service unavailable - try again later; from=<a@b.example> to=<x@dest.test> proto=ESMTP helo=<c>"
    )
    assert (reader.signed, reader.milter_rejects) == (1, 1)
    reader.read(
        PREFIX + "postfix/smtpd[130]: NOQUEUE: milter-reject: CONNECT from unknown[192.0.2.9]:"
        " 451 4.7.1 Service unavailable - try again later; proto=SMTP"
    )
    assert (reader.signed, reader.milter_rejects) == (1, 2)


PROBE = "unknown[10.0.0.0]"
CLIENT = "unknown[10.0.0.1]"
SESSION = [
    "connect from {}",
    "Anonymous TLS connection established from {}: TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)",
    "disconnect from {} ehlo=2 starttls=1 mail=1 rcpt=1 rset=1 quit=1 commands=7",
]


@pytest.mark.parametrize("text", SESSION)
def test_a_probe_that_passes_leaves_no_line_and_a_client_of_the_same_network_does(text: str) -> None:
    reader = LogReader(mask_addresses=True)
    reader.leave_out(frozenset({"10.0.0.0", "fd00::"}))
    assert reader.read(PREFIX + "postfix/smtpd[7]: " + text.format(PROBE)) is None
    assert reader.read(PREFIX + "postfix/smtpd[7]: " + text.format("unknown[fd00::]")) is None
    assert reader.read(PREFIX + "postfix/smtpd[7]: " + text.format(CLIENT)) is not None
    assert reader.read(PREFIX + "postfix/qmgr[7]: " + text.format(PROBE)) is not None


@pytest.mark.parametrize(
    "text",
    [
        f"NOQUEUE: reject: MAIL from {PROBE}: 452 4.3.1 Insufficient system storage; helo=<probe.smtpfleet.invalid>",
        f"disconnect from {PROBE} ehlo=1 mail=0/1 quit=1 commands=2/3",
        f"disconnect from {PROBE} ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5",
        f"4j: client={PROBE}, sasl_method=PLAIN, sasl_username=jane",
        f"lost connection after EHLO from {PROBE}",
        "disconnect from unknown[10.0.0.0",
    ],
)
def test_what_goes_wrong_in_a_probe_and_every_message_is_passed_on(text: str) -> None:
    reader = LogReader(mask_addresses=True)
    reader.leave_out(frozenset({"10.0.0.0"}))
    assert reader.read(PREFIX + "postfix/smtpd[7]: " + text) is not None


def _probed() -> LogReader:
    reader = LogReader(mask_addresses=True)
    reader.leave_out(frozenset({"10.0.0.0"}))
    assert reader.read(PREFIX + f"postfix/smtpd[7]: 4jZp: client={PROBE}") is None
    return reader


def test_the_queue_file_that_a_probe_begins_and_gives_up_leaves_no_line() -> None:
    reader = _probed()
    assert reader.read(PREFIX + "postfix/cleanup[8]: 4jZp: removed (canceled)") is None
    assert reader.read(PREFIX + "postfix/cleanup[8]: 4jZq: removed (canceled)") is not None


def test_a_message_of_that_client_is_told_with_its_client() -> None:
    reader = _probed()
    line = reader.read(PREFIX + "postfix/cleanup[8]: 4jZp: message-id=<a@b.example>")
    assert line is not None
    assert line.text == f"4jZp: message-id=<a@b.example>, client={PROBE}"
    again = reader.read(PREFIX + "postfix/qmgr[9]: 4jZp: removed")
    assert again is not None
    assert again.text == "4jZp: removed"


def test_queue_files_that_are_never_heard_of_again_are_forgotten() -> None:
    reader = _probed()
    for number in range(1000):
        reader.read(PREFIX + f"postfix/smtpd[7]: 4j{number}: client={PROBE}")
    assert len(reader._begun) <= 100


def test_a_message_that_is_put_off_because_a_delivery_holds_it_is_told() -> None:
    reader = LogReader(mask_addresses=True)
    reader.read(PREFIX + "postfix/qmgr[7]: 4jXabc: skipped, still being delivered")
    reader.read(PREFIX + "postfix/smtp[8]: 4jXabd: skipped, still being delivered")
    reader.read(PREFIX + "postfix/qmgr[7]: 4jXabe: removed")
    assert reader.held.get_nowait() == "4jXabc"
    assert reader.held.empty()


CANARY_ID = "4dL0tB1lYfz4xk"
CANARY_LINES = [
    f"postfix/smtpd[7]: connect from {PROBE}",
    f"postfix/smtpd[7]: 4dL0tB0000z4xk: client={PROBE}",
    "postfix/cleanup[8]: 4dL0tB0000z4xk: removed (canceled)",
    f"postfix/smtpd[7]: {CANARY_ID}: client={PROBE}",
    f"postfix/cleanup[8]: {CANARY_ID}: message-id=<{'ab' * 16}@canary.smtpfleet.invalid>",
    f"opendkim[5]: {CANARY_ID}: no signing table match for 'canary@canary.smtpfleet.invalid'",
    f"postfix/qmgr[9]: {CANARY_ID}: from=<>, size=2600, nrcpt=1 (queue active)",
    f"postfix/smtpd[7]: disconnect from {PROBE} ehlo=2 starttls=1 mail=2 rcpt=2 data=1 rset=1 quit=1 commands=10",
    f"postfix/lmtp[10]: {CANARY_ID}: to=<canary@canary.smtpfleet.invalid>, relay=r.mail[/run/smtpfleet/canary.sock],"
    " delay=0.03, delays=0.01/0.01/0/0.01, dsn=2.0.0, status=sent (250 2.0.0 Ok)",
    f"postfix/qmgr[9]: {CANARY_ID}: removed",
]


def _leaving_out() -> LogReader:
    reader = LogReader(mask_addresses=True)
    reader.leave_out(frozenset({"10.0.0.0"}))
    return reader


def test_a_canary_leaves_no_line_and_counts_nowhere() -> None:
    reader = _leaving_out()
    for _ in range(2):
        assert [reader.read(PREFIX + text) for text in CANARY_LINES] == [None] * len(CANARY_LINES)
    assert (dict(reader.deliveries), reader.recent.finished_total, reader.recent.shown().sent) == ({}, 0, 0)
    # Its id may come again, for another message.
    assert reader.read(PREFIX + f"postfix/qmgr[9]: {CANARY_ID}: removed") is not None


@given(st.permutations(CANARY_LINES[3:]))
def test_in_whatever_order_its_lines_come_a_canary_counts_nowhere_and_its_client_is_not_told(
    lines: list[str],
) -> None:
    reader = _leaving_out()
    told = [line for text in lines if (line := reader.read(PREFIX + text))]
    reader.read(PREFIX + "postfix/qmgr[9]: 4dL0tB2222z4xk: removed")
    assert (dict(reader.deliveries), reader.recent.finished_total, reader.recent.shown().sent) == ({}, 1, 0)
    assert not [line for line in told if "10.0.0.0" in line.text]


def test_a_canary_that_waits_is_told_of_and_counts_nowhere() -> None:
    reader = _leaving_out()
    for text in CANARY_LINES[:-2]:
        reader.read(PREFIX + text)
    waits = CANARY_LINES[-2].replace("status=sent (250 2.0.0 Ok)", "status=deferred (connect to x: refused)")
    assert reader.read(PREFIX + waits) is not None
    assert (dict(reader.deliveries), reader.recent.shown().deferred) == ({}, 0)


@pytest.mark.parametrize("status", ["bounced", "sent"])
def test_a_receivers_reply_makes_no_canary_of_a_message(status: str) -> None:
    reader = _leaving_out()
    reply = "550 x: to=<canary@canary.smtpfleet.invalid>, x, status=sent (x)"
    for program in ("smtp", "lmtp"):
        line = (
            f"postfix/{program}[3]: 4dL0tB2222z4xk: to=<a@example.com>, relay=mx[192.0.2.1]:25, delay=1,"
            f" delays=0/0/0/1, dsn=2.0.0, status={status} ({reply})"
        )
        assert reader.read(PREFIX + line) is not None
    reader.read(PREFIX + "postfix/qmgr[9]: 4dL0tB2222z4xk: removed")
    assert (dict(reader.deliveries), reader.recent.finished_total) == ({status: 2}, 1)


def test_a_canary_comes_back_by_lmtp_alone() -> None:
    reader = _leaving_out()
    assert reader.read(PREFIX + CANARY_LINES[-2].replace("postfix/lmtp", "postfix/smtp")) is not None
    reader.read(PREFIX + f"postfix/qmgr[9]: {CANARY_ID}: removed")
    assert (dict(reader.deliveries), reader.recent.finished_total) == ({}, 1)


def test_what_a_client_hands_in_is_no_canary_whatever_it_is_called() -> None:
    reader = _leaving_out()
    lines = [text.replace(PROBE, CLIENT) for text in CANARY_LINES if "canary@" not in text]
    assert all(
        reader.read(PREFIX + text) is not None for text in lines if "4dL0tB0000z4xk: removed" not in text
    )
    assert reader.recent.finished_total == 1


def test_a_message_that_a_probes_address_hands_in_is_told_of_unless_it_is_a_canary() -> None:
    reader = _leaving_out()
    reader.read(PREFIX + CANARY_LINES[3])
    told = reader.read(PREFIX + f"postfix/cleanup[8]: {CANARY_ID}: message-id=<1@example.com>")
    assert told is not None
    assert f"client={PROBE}" in told.text


@pytest.mark.parametrize(
    "counts", ["mail=1/2 rcpt=1 data=1", "mail=2 rcpt=1 data=0/1", "mail=3 rcpt=2 data=2"]
)
def test_a_session_with_a_canary_and_something_else_is_told_of(counts: str) -> None:
    reader = _leaving_out()
    for text in CANARY_LINES[3:5]:
        reader.read(PREFIX + text)
    assert (
        reader.read(PREFIX + f"postfix/smtpd[7]: disconnect from {PROBE} ehlo=1 {counts} commands=5")
        is not None
    )
