"""What a client may use of SMTP, and the message that puts each of these to the test.

The accounting compares bodies, so everything that has to arrive unchanged is in the body.
"""

import hashlib
import time
from dataclasses import dataclass
from email.utils import formatdate
from enum import StrEnum
from typing import Final

from mailcheck.message import split_content
from mailcheck.model import Attempt, Outcome, Stage


class Feature(StrEnum):
    """A row of the table."""

    DOTS = "dot-stuffing"
    LONG_LINES = "lines of 998 octets"
    LARGE = "a message of 4 MiB"
    EIGHT_BIT = "8BITMIME"
    SMTPUTF8 = "SMTPUTF8"
    DSN = "DSN"
    PIPELINING = "PIPELINING"
    CHUNKING = "CHUNKING"
    VERIFICATION = "refuses another CA's certificate"
    PLAIN = "logs in by PLAIN"
    LOGIN = "logs in by LOGIN"
    SCRAM = "logs in by SCRAM-SHA-256"


EXTENSIONS: Final = {
    Feature.EIGHT_BIT: b"BODY=8BITMIME",
    Feature.SMTPUTF8: b" SMTPUTF8",
    Feature.DSN: b" NOTIFY=",
    Feature.CHUNKING: b"\r\nBDAT ",
}
"""What a client that uses the extension is seen to say."""

MECHANISMS: Final = {Feature.PLAIN: "PLAIN", Feature.LOGIN: "LOGIN", Feature.SCRAM: "SCRAM-SHA-256"}
"""How a user logs in; all other rows are handed in from a trusted network, without a password."""

_LARGE_BYTES: Final = 4 * 2**20
_TEXT: Final = "The quick brown fox jumps over the lazy dog, and no relay may alter it."
_BODIES: Final = {
    Feature.DOTS: [".", "..", "...", ".a", "", ".", "MAIL FROM:<smuggled@example.com>", "..b", " .", "."],
    Feature.LONG_LINES: ["x" * 998, "." * 998, _TEXT],
    Feature.LARGE: [f"{number:07} {_TEXT}" for number in range(_LARGE_BYTES // (len(_TEXT) + 10))],
    Feature.EIGHT_BIT: ["Größe, naïve façade, Ελληνικά, кириллица, 日本語", ".é"],
    Feature.SMTPUTF8: ["Größe, naïve façade, Ελληνικά, кириллица, 日本語"],
}


@dataclass(frozen=True, kw_only=True)
class Letter:
    """One message as a client is given it: ``content`` is without dot-stuffing, with CRLF."""

    id: str
    sender: str
    recipient: str
    content: bytes

    def attempt(self, *, taken: bool, target: str) -> Attempt:
        """What became of it, for the accounting."""
        now = time.time()
        return Attempt(
            id=self.id,
            digest=hashlib.sha256(split_content(self.content)[1]).hexdigest(),
            recipients=(self.recipient,),
            planned=now,
            start=now,
            end=now,
            outcome=Outcome.ACKNOWLEDGED if taken else Outcome.FAILED_BEFORE,
            stage=Stage.END_OF_DATA if taken else Stage.CONNECT,
            target=target,
        )


def letter(feature: Feature, message_id: str) -> Letter:
    """The message for a feature; equal arguments give equal messages but for the date."""
    international = feature is Feature.SMTPUTF8
    sender, recipient = ("sénder", "empfänger") if international else ("sender", "recipient")
    eight_bit = international or feature is Feature.EIGHT_BIT
    lines = [
        f"Date: {formatdate(time.time())}",
        "From: <sender@example.com>",
        "To: <recipient@example.net>",
        f"Message-ID: <{message_id}>",
        f"Subject: {'Prüfung' if international else 'conformance'}",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Transfer-Encoding: {'8bit' if eight_bit else '7bit'}",
        "",
        *_BODIES.get(feature, [_TEXT]),
        message_id,
        "",
    ]
    return Letter(
        id=message_id,
        sender=f"{sender}@example.com",
        recipient=f"{recipient}@example.net",
        content="\r\n".join(lines).encode(),
    )
