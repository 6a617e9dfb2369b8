"""One entry of the Secret with users: how it is written, and how it is kept.

    the password, or its hash
    name: alice@example.com                        (further lines, each of them optional)
    senders: alice@example.com, @lists.example.com
    messagesPerMinute: 60

Guarantees: a password in clear is replaced by its SCRAM-SHA-256 key before anything keeps the entry (:func:`sealed`);
what cannot be read is replaced by the reason; no reason tells a part of an entry.
"""

import re
from dataclasses import dataclass
from typing import Final

from smtpfleet.relay.users.hashes import MIN_ITERATIONS, Hash, HashError, ScramKey, parse, scram_key
from smtpfleet.relay.users.saslprep import prepared

ITERATIONS: Final = MIN_ITERATIONS
"""Of passwords that the Secret has in clear: whoever reads the agent's memory would rather read the Secret. So the
least of RFC 7677 is enough, and ten thousand users take half a minute, not an hour."""
NULL_SENDER: Final = "<>"
MAX_NAME: Final = 100
"""Postfix logs so much of a name."""
_REFUSED: Final = "!"
"""Begins what is kept of an entry that cannot be read; no kept credential begins so."""
_NAME: Final = re.compile(r"[^\s,;<>\"\\\x00-\x20\x7f]{1,100}")
_FIELD: Final = re.compile(r"(name|senders|messagesPerMinute)\s*:\s*(\S.*)")
_SENDER: Final = re.compile(r"<>|[^\s@<>,]*@[^\s@<>,]+")
_MOST_SENDERS: Final = 1000
_MOST_MESSAGES: Final = 1_000_000


class EntryError(ValueError):
    """The entry cannot be used; the message says why, for people, without any of its content."""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who may log in.

    Attributes:
        senders: envelope senders in lower case: addresses, ``@domain`` for all of a domain, ``<>``; None: any.
        messages_per_minute: for the whole pool; None: any number.
    """

    name: str
    hash: Hash
    senders: frozenset[str] | None = None
    messages_per_minute: int | None = None

    @property
    def scram(self) -> bool:
        """Whether the user can log in by SCRAM: the server needs the keys for it."""
        return isinstance(self.hash, ScramKey)

    def may_send_as(self, sender: str) -> bool:
        """Whether the user may use an envelope sender; empty: the null sender."""
        if self.senders is None:
            return True
        address = sender.lower() or NULL_SENDER
        return address in self.senders or f"@{address.rpartition('@')[2]}" in self.senders


def sealed(key: str, value: bytes, *, salt: bytes) -> bytes:
    """The entry as it may be kept. Slow where it holds a password, so for a thread."""
    try:
        credential, *fields = _lines(value)
        found = parse(credential) or scram_key(_password(credential), salt=salt, iterations=ITERATIONS)
        _user(key, found, fields)
    except (EntryError, HashError) as error:
        return f"{_REFUSED}{error}".encode()
    kept = str(found) if isinstance(found, ScramKey) else credential
    return "\n".join([kept, *fields]).encode()


def opened(key: str, kept: bytes) -> User:
    """The user of an entry that was sealed.

    Raises:
        EntryError: it could not be read.
    """
    text = kept.decode(errors="replace")
    if text.startswith(_REFUSED):
        raise EntryError(text.removeprefix(_REFUSED))
    credential, *fields = text.split("\n")
    try:
        found = parse(credential)
    except HashError as error:
        raise EntryError(str(error)) from None
    if found is None:
        raise EntryError("it was not kept as it should be")
    return _user(key, found, fields)


def _lines(value: bytes) -> list[str]:
    """The credential and the lines of fields; an end of line after the last one is no matter."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise EntryError("it is not UTF-8") from None
    first, *rest = text.replace("\r\n", "\n").split("\n")
    return [first, *(line.strip() for line in rest if line.strip())]


def _password(text: str) -> str:
    if not text:
        raise EntryError("the first line is empty: write the password or its hash there")
    if text != text.strip():
        raise EntryError("the password begins or ends with a space")
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise EntryError("the password has a control character")
    return text


def _user(key: str, found: Hash, fields: list[str]) -> User:
    given: dict[str, str] = {}
    for number, line in enumerate(fields, start=1):
        match = _FIELD.fullmatch(line)
        if match is None:
            raise EntryError(
                f"field {number} after the password is none of name, senders and messagesPerMinute,"
                " written as a name, a colon and a value"
            )
        if match[1] in given:
            raise EntryError(f"{match[1]} is given twice")
        given[match[1]] = match[2]
    name = prepared(given.get("name", key))
    if not _NAME.fullmatch(name):
        raise EntryError(
            f"the name is not 1 to {MAX_NAME} characters without spaces, commas, quotes and brackets"
        )
    limit = given.get("messagesPerMinute")
    return User(
        name=name,
        hash=found,
        senders=_senders(given["senders"]) if "senders" in given else None,
        messages_per_minute=_limit(limit) if limit is not None else None,
    )


def _senders(text: str) -> frozenset[str]:
    found = [sender for sender in re.split(r"[\s,]+", text) if sender]
    if len(found) > _MOST_SENDERS:
        raise EntryError(f"senders has more than {_MOST_SENDERS} addresses: name the domains")
    if not all(map(_SENDER.fullmatch, found)):
        raise EntryError("senders has something that is no address, no @domain and not <>")
    return frozenset(sender.lower() for sender in found)


def _limit(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,7}", text) or not 1 <= int(text) <= _MOST_MESSAGES:
        raise EntryError(f"messagesPerMinute is not a whole number from 1 to {_MOST_MESSAGES}")
    return int(text)
