"""Messages that can be recognised and whose bodies can be compared after any number of relays.

Relays add header lines, so the digest covers the body alone, after removal of SMTP's dot-stuffing. A body ends with the
message's own id, so that no two are equal; it holds lines that begin with dots, so that stuffing is put to the test; no
line is longer than 78 octets, so that no relay has to break it.
"""

import hashlib
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from typing import Protocol

from mailcheck.errors import MailcheckError

_LINES = (
    "The quick brown fox jumps over the lazy dog, and no relay may alter it.",
    ".a line that begins with a dot",
    "..and one that begins with two, then one that is a dot alone:",
    ".",
    "0123456789 abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "",
)
_LINES_8BIT = ("Größe, naïve façade, Ελληνικά, кириллица, 日本語", ".é", *_LINES)


@dataclass(frozen=True, kw_only=True)
class MessageShape:
    """What all messages of a run look like."""

    size_bytes: int = 2000
    """Header and body as they go over the wire before dot-stuffing; not less than the header and the line of the id."""
    recipients: int = 1
    eight_bit: bool = False
    """A body with octets above 127, sent with BODY=8BITMIME."""
    smtputf8: bool = False
    """Non-ASCII local parts and subject as well (RFC 6531)."""
    sender: str = "sender@example.com"
    """Envelope sender; empty for the null sender, which no bounce can answer."""
    domains: tuple[str, ...] = ("example.net",)
    """Domains of the recipients, in turn."""

    def __post_init__(self) -> None:
        if self.recipients < 1 or not self.domains:
            raise MailcheckError("a message needs at least one recipient and one recipient domain")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message, ready to be sent."""

    id: str
    digest: str
    sender: str
    recipients: tuple[str, ...]
    size_bytes: int
    """For MAIL's SIZE parameter."""
    eight_bit: bool
    smtputf8: bool
    wire: bytes
    """Dot-stuffed content with the final dot."""


class Composer:
    """Makes the messages of one run; what they have in common is worked out once."""

    def __init__(self, shape: MessageShape, *, run: str, date: float) -> None:
        self._shape = shape
        self._run = run
        self._date = formatdate(date)

    def compose(self, number: int) -> Message:
        """The message of a number: always the same one, and never equal to that of another number or run."""
        message_id = f"{self._run}.{number:08d}@mailcheck.invalid"
        recipients = self._recipients(number)
        header = self._header(message_id, recipients[0])
        last_line = f"{message_id}\r\n".encode("ascii")
        shape = self._shape
        filler = _filler(shape.size_bytes - len(header) - len(last_line), shape.eight_bit or shape.smtputf8)
        digest = filler.digest.copy()
        digest.update(last_line)
        return Message(
            id=message_id,
            digest=digest.hexdigest(),
            sender=shape.sender,
            recipients=recipients,
            size_bytes=len(header) + filler.size_bytes + len(last_line),
            eight_bit=shape.eight_bit,
            smtputf8=shape.smtputf8,
            wire=b"".join((header, filler.stuffed, last_line, b".\r\n")),
        )

    def _recipients(self, number: int) -> tuple[str, ...]:
        local, domains = "empfänger" if self._shape.smtputf8 else "recipient", self._shape.domains
        return tuple(
            f"{local}-{k}@{domains[(number + k) % len(domains)]}" for k in range(self._shape.recipients)
        )

    def _header(self, message_id: str, first_recipient: str) -> bytes:
        shape = self._shape
        lines = (
            f"Date: {self._date}",
            f"From: <{shape.sender or 'sender@example.com'}>",
            f"To: <{first_recipient}>",
            f"Message-ID: <{message_id}>",
            f"Subject: {'Prüfung' if shape.smtputf8 else 'mailcheck'}",
            "MIME-Version: 1.0",
            "Content-Type: text/plain; charset=utf-8",
            f"Content-Transfer-Encoding: {'8bit' if shape.eight_bit or shape.smtputf8 else '7bit'}",
            "",
            "",
        )
        return "\r\n".join(lines).encode()


class _Digest(Protocol):
    def copy(self) -> "_Digest": ...
    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


@dataclass(frozen=True, slots=True)
class _Filler:
    size_bytes: int
    stuffed: bytes
    digest: _Digest


@lru_cache(maxsize=4)
def _filler(size_bytes: int, eight_bit: bool) -> _Filler:
    """Whole lines of exactly so many bytes (none, if fewer than a line end), stuffed and digested once."""
    if size_bytes < 2:
        return _Filler(0, b"", hashlib.sha256())
    block = ("\r\n".join(_LINES_8BIT if eight_bit else _LINES) + "\r\n").encode()
    cut = (block * (size_bytes // len(block) + 1))[: size_bytes - 2]
    whole = cut.decode("utf-8", "ignore").removesuffix("\r").encode()
    body = whole.ljust(size_bytes - 2, b"x") + b"\r\n"
    return _Filler(len(body), stuff_dots(body), hashlib.sha256(body))


def stuff_dots(body: bytes) -> bytes:
    """Double the dot at the beginning of each line (RFC 5321, 4.5.2)."""
    return (b"\r\n" + body).replace(b"\r\n.", b"\r\n..")[2:]


def split_content(content: bytes) -> tuple[bytes, bytes]:
    """Header and body, without the empty line between them; content without such a line is all header."""
    header, _, body = (b"\r\n" + content).partition(b"\r\n\r\n")
    return header[2:], body
