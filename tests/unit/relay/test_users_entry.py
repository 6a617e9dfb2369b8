"""An entry of the Secret: one line in the simple case, fields after it, and reasons that tell nothing of it."""

import pytest

from smtpfleet.relay.users.entry import EntryError, User, opened, sealed
from smtpfleet.relay.users.hashes import ScramKey, scram_key, verify

SCRAM = str(scram_key("secret", salt=b"salt", iterations=4096))
BCRYPT = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"


def read(text: str | bytes, key: str = "alice") -> User:
    value = text if isinstance(text, bytes) else text.encode()
    return opened(key, sealed(key, value, salt=b"salt"))


@pytest.mark.parametrize("text", ["secret", "secret\n", "secret\r\n", "secret\n\n"])
def test_a_line_is_a_password_whatever_ends_it(text: str) -> None:
    user = read(text)
    assert (user.name, user.senders, user.messages_per_minute) == ("alice", None, None)
    assert verify(user.hash, "secret")
    assert user.scram


def test_a_password_is_kept_as_a_key_only() -> None:
    kept = sealed("alice", b"secret\nmessagesPerMinute: 5\n", salt=b"salt")
    assert b"secret" not in kept
    assert kept.decode().split("\n") == [SCRAM, "messagesPerMinute: 5"]


def test_what_is_sealed_can_be_sealed_no_further() -> None:
    kept = sealed("alice", b"secret", salt=b"salt")
    assert sealed("alice", kept, salt=b"other") == kept


@pytest.mark.parametrize(("text", "scram"), [(SCRAM, True), (BCRYPT, False)])
def test_a_hash_is_kept_as_it_is(text: str, scram: bool) -> None:
    user = read(text)
    assert user.scram is scram
    assert isinstance(user.hash, ScramKey) is scram


def test_fields_follow_in_any_order() -> None:
    user = read(
        "secret\nmessagesPerMinute: 60\nsenders: Alice@Example.com, @lists.example.com <>\nname: alice@example.com"
    )
    assert user.name == "alice@example.com"
    assert user.senders == frozenset({"alice@example.com", "@lists.example.com", "<>"})
    assert user.messages_per_minute == 60


@pytest.mark.parametrize(
    ("sender", "may"),
    [
        ("alice@example.com", True),
        ("Alice@EXAMPLE.com", True),
        ("any@lists.example.com", True),
        ("any@sub.lists.example.com", False),
        ("alice@example.com.evil.example", False),
        ("bob@example.com", False),
        ("", False),
        ("alice", False),
    ],
)
def test_a_user_with_senders_sends_as_those_only(sender: str, may: bool) -> None:
    assert read("secret\nsenders: alice@example.com, @lists.example.com").may_send_as(sender) is may
    assert read("secret").may_send_as(sender)


def test_the_null_sender_must_be_listed() -> None:
    assert read("secret\nsenders: <>").may_send_as("")


BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "the first line is empty"),
    "only fields": (b"\nname: bob", "the first line is empty"),
    "spaces": (b" canary", "begins or ends with a space"),
    "spaces at the end": (b"canary \n", "begins or ends with a space"),
    "a tab": (b"can\tary", "control character"),
    "NUL": (b"can\0ary", "control character"),
    "no UTF-8": (b"\xffcanary", "not UTF-8"),
    "unknown hash": (b"$6$canary$canary", "a hash of another kind"),
    "unknown field": (b"secret\ncanary: 1", "field 1 after the password"),
    "no field": (b"secret\nname: bob\ncanary", "field 2 after the password"),
    "field without value": (b"secret\nsenders:", "field 1 after the password"),
    "field twice": (b"secret\nname: canary\nname: canary", "name is given twice"),
    "name with a space": (b"secret\nname: the canary", "the name is not 1 to 100 characters"),
    "long name": (b"secret\nname: " + b"canary" * 20, "the name is not 1 to 100 characters"),
    "sender without at": (b"secret\nsenders: canary", "no address, no @domain"),
    "too many senders": (b"secret\nsenders: " + b"canary@a.b " * 1001, "more than 1000"),
    "no number": (b"secret\nmessagesPerMinute: canary", "not a whole number"),
    "zero": (b"secret\nmessagesPerMinute: 0", "not a whole number"),
    "too many": (b"secret\nmessagesPerMinute: 9999999", "not a whole number"),
    "dear hash": (b"$2b$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "cost of the bcrypt"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_an_entry_that_cannot_be_read_says_why_and_nothing_else(name: str) -> None:
    value, words = BAD[name]
    kept = sealed("alice", value, salt=b"salt")
    assert b"canary" not in kept
    with pytest.raises(EntryError, match=words):
        opened("alice", kept)


@pytest.mark.parametrize("kept", [b"secret", b"", b"$6$a$b"])
def test_what_was_never_sealed_is_not_used(kept: bytes) -> None:
    with pytest.raises(EntryError):
        opened("alice", kept)


def test_a_password_that_begins_like_a_refusal_is_a_password() -> None:
    assert verify(read("!canary").hash, "!canary")
