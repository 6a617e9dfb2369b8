"""Whole messages that the sink remembers: the last so many, and none unless asked."""

import base64

from mailcheck.sink.record import Record


def test_the_last_messages_are_remembered_byte_for_byte() -> None:
    record = Record(keep=2)
    for content in (b"one", b"two\r\n\x00", b"three"):
        record.keep(content)
    assert [base64.b64decode(line) for line in record.contents().splitlines()] == [b"two\r\n\x00", b"three"]


def test_none_is_unless_asked_for() -> None:
    record = Record()
    record.keep(b"one")
    assert record.contents() == b""
