"""Messages are unique, survive SMTP's framing, and have the size asked for."""

import hashlib
from email import message_from_bytes, policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailcheck.errors import MailcheckError
from mailcheck.message import Composer, Message, MessageShape, split_content, stuff_dots
from mailcheck.proxy_header import encode_proxy_header

SHAPES = st.builds(
    MessageShape,
    size_bytes=st.integers(0, 3000),
    recipients=st.integers(1, 5),
    eight_bit=st.booleans(),
    smtputf8=st.booleans(),
    domains=st.sampled_from([("example.net",), ("example.net", "example.org")]),
)


def compose(shape: MessageShape, number: int = 7, run: str = "run") -> Message:
    return Composer(shape, run=run, date=1_700_000_000).compose(number)


def unstuffed(wire: bytes) -> bytes:
    """As a receiver does it, line by line (RFC 5321, 4.5.2)."""
    assert wire.endswith(b"\r\n.\r\n")
    lines = wire.removesuffix(b".\r\n").split(b"\r\n")
    return b"\r\n".join(line.removeprefix(b".") for line in lines)


@given(SHAPES)
def test_a_receiver_gets_back_the_body_of_the_digest(shape: MessageShape) -> None:
    message = compose(shape)
    content = unstuffed(message.wire)
    assert hashlib.sha256(split_content(content)[1]).hexdigest() == message.digest
    assert len(content) == message.size_bytes


@given(SHAPES)
def test_the_final_dot_is_the_only_line_that_ends_the_content_and_no_line_is_too_long(
    shape: MessageShape,
) -> None:
    wire = compose(shape).wire
    assert wire.count(b"\r\n.\r\n") == 1
    assert max(map(len, wire.split(b"\r\n"))) <= 80
    assert wire.replace(b"\r\n", b"").count(b"\r") == wire.replace(b"\r\n", b"").count(b"\n") == 0


@given(st.integers(1000, 5000), st.booleans())
def test_a_message_has_exactly_the_size_asked_for(size_bytes: int, eight_bit: bool) -> None:
    assert compose(MessageShape(size_bytes=size_bytes, eight_bit=eight_bit)).size_bytes == size_bytes


@given(SHAPES)
def test_a_mail_reader_understands_the_message(shape: MessageShape) -> None:
    message = compose(shape)
    read = message_from_bytes(unstuffed(message.wire), policy=policy.SMTPUTF8)
    assert read["message-id"] == f"<{message.id}>"
    assert read["subject"] == ("Prüfung" if shape.smtputf8 else "mailcheck")
    assert not read.defects
    assert read.get_content().rstrip().endswith(message.id)


def test_bodies_put_dot_stuffing_to_the_test() -> None:
    wire = compose(MessageShape(size_bytes=2000)).wire
    assert b"\r\n..\r\n" in wire
    assert b"\r\n..a line" in wire


def test_eight_bit_messages_have_octets_above_127_and_others_have_not() -> None:
    assert not compose(MessageShape(eight_bit=True, size_bytes=2000)).wire.isascii()
    assert compose(MessageShape(size_bytes=2000)).wire.isascii()


def test_no_two_messages_have_the_same_id_or_body() -> None:
    shape = MessageShape()
    messages = [compose(shape, n, run) for n in range(50) for run in ("a", "b")]
    assert len({m.id for m in messages}) == len({m.digest for m in messages}) == 100


def test_a_number_always_gives_the_same_message() -> None:
    assert compose(MessageShape()) == compose(MessageShape())


def test_recipients_differ_and_spread_over_the_domains() -> None:
    shape = MessageShape(recipients=4, domains=("example.net", "example.org"))
    recipients = compose(shape).recipients
    assert len(set(recipients)) == 4
    assert {r.partition("@")[2] for r in recipients} == {"example.net", "example.org"}


def test_a_message_for_nobody_is_refused() -> None:
    with pytest.raises(MailcheckError, match="recipient"):
        MessageShape(recipients=0)
    with pytest.raises(MailcheckError, match="recipient"):
        MessageShape(domains=())


@given(st.lists(st.sampled_from([b"", b".", b"..", b".a", b"a.", b"a"]), max_size=8))
def test_stuffing_is_undone_by_a_receiver(lines: list[bytes]) -> None:
    body = b"".join(line + b"\r\n" for line in lines)
    assert unstuffed(stuff_dots(body) + b"\r\n.\r\n") == body + b"\r\n"


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"A: b\r\n\r\nbody\r\n\r\nmore", (b"A: b", b"body\r\n\r\nmore")),
        (b"\r\nbody", (b"", b"body")),
        (b"A: b\r\n", (b"A: b\r\n", b"")),
        (b"", (b"", b"")),
    ],
)
def test_a_content_is_split_at_its_first_empty_line(content: bytes, parts: tuple[bytes, bytes]) -> None:
    assert split_content(content) == parts


def test_the_proxy_header_is_that_of_its_specification() -> None:
    header = encode_proxy_header(("192.0.2.1", 49152), ("198.51.100.2", 25))
    assert header.hex() == "0d0a0d0a000d0a515549540a2111000cc0000201c6336402c0000019"
    six = encode_proxy_header(("2001:db8::1", 1), ("2001:db8::2", 2))
    assert six[12:16].hex() == "21210024"
    assert len(six) == 16 + 36


def test_a_proxy_header_between_address_families_is_refused() -> None:
    with pytest.raises(MailcheckError, match="families"):
        encode_proxy_header(("192.0.2.1", 1), ("2001:db8::2", 2))
