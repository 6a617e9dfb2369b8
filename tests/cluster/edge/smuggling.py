"""Ends of data that only some servers take for one, and what a relay makes of each, as docs/security.md shows it."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from scenario.conversation import Step, line

REFUSED: Final = "550"
TAKEN: Final = "250"
_SENDER: Final = "s@example.com"
_PREFIX: Final = "smuggled-"


@dataclass(frozen=True, kw_only=True)
class End:
    """``octets`` stand between the two messages; ``code`` answers the real end of data."""

    title: str
    octets: bytes
    code: str = TAKEN


ENDS: Final = (
    End(title="`LF . LF`", octets=b"\n.\n"),
    End(title="`LF . CRLF`", octets=b"\n.\r\n"),
    End(title="`CRLF . LF`", octets=b"\r\n.\n"),
    End(title="`CR . CR`", octets=b"\r.\r"),
    End(title="`CRLF . CR`", octets=b"\r\n.\r"),
    End(title="`CR . CRLF`", octets=b"\r.\r\n"),
    End(title="`CR . LF`", octets=b"\r.\n"),
    End(title="`LF . CR`", octets=b"\n.\r"),
    End(title="`CRLF . CR CRLF`", octets=b"\r\n.\r\r\n"),
    End(title="`CR CRLF . CR CRLF`", octets=b"\r\r\n.\r\r\n"),
    End(title="`CR CR . CR CR`", octets=b"\r\r.\r\r"),
    End(title="`CRLF NUL . CRLF`", octets=b"\r\n\0.\r\n", code=REFUSED),
    End(title="`CRLF . NUL CRLF`", octets=b"\r\n.\0\r\n", code=REFUSED),
    End(title="`LF NUL . LF`", octets=b"\n\0.\n", code=REFUSED),
    End(title="`CRLF . FF CRLF`", octets=b"\r\n.\x0c\r\n"),
    End(title="`CRLF VT . CRLF`", octets=b"\r\n\x0b.\r\n"),
    End(title="`CRLF . 0x85 CRLF`", octets=b"\r\n.\x85\r\n"),
    End(title="`CRLF .. CRLF`", octets=b"\r\n..\r\n"),
    End(title="`CRLF .` after 998 octets", octets=b"\r\n" + b"x" * 998 + b".\r\n"),
    End(title="`.` as octet 2049 of a line", octets=b"\r\n" + b"x" * 2048 + b".\r\n"),
    End(title="`. CR` as octets 2048 and 2049", octets=b"\r\n" + b"x" * 2047 + b".\r.\r\n"),
    End(title="a line of 40,000 octets", octets=b"\r\n" + b"x." * 20_000 + b"\r\n"),
)


class Transfer(StrEnum):
    """How content is handed over."""

    DATA = "DATA"
    PIPELINED = "DATA, pipelined"
    BDAT = "BDAT"


def smuggler(end: End, transfer: Transfer, message_id: str) -> tuple[Step, ...]:
    """Steps after EHLO: one message whose body holds another one's commands."""
    content = b"".join(
        (
            f"Message-ID: <{message_id}>\r\nSubject: outer\r\n\r\nouter".encode(),
            end.octets,
            b"MAIL FROM:<admin@victim.example>\r\nRCPT TO:<v@example.net>\r\nDATA\r\n",
            f"Message-ID: <{_PREFIX}{message_id}>\r\nSubject: inner\r\n\r\ninner\r\n".encode(),
        )
    )
    envelope = (line(f"MAIL FROM:<{_SENDER}>"), line("RCPT TO:<r@example.net>"))
    match transfer:
        case Transfer.DATA:
            return (*envelope, line("DATA"), Step(send=content + b".\r\n"), line("QUIT"))
        case Transfer.PIPELINED:
            commands = b"".join(step.send for step in envelope) + b"DATA\r\n"
            return (Step(send=commands, replies=3), Step(send=content + b".\r\nQUIT\r\n", replies=2))
        case Transfer.BDAT:
            return (*envelope, Step(send=b"BDAT %d LAST\r\n" % len(content) + content), line("QUIT"))


def misread(wire: bytes) -> str:
    """What in the octets that the next server was sent a sloppy one could misread; empty if nothing.

    The outer message's own end is the only ``CRLF . CRLF``, and there is no CR, LF or NUL that is not part of a CRLF.
    """
    if re.search(rb"\r(?!\n)|(?<!\r)\n|\0", wire):
        return "a CR, LF or NUL of its own"
    if wire.count(b"\r\n.\r\n") != 1 or not wire.endswith(b"\r\n.\r\n"):
        return "more than one end of data"
    if any(len(text) > 998 + 1 for text in wire.split(b"\r\n")):  # a fold adds a space
        return "a line longer than 998 octets"
    return ""


def smuggled(message_id: str) -> bool:
    """Whether a message is the inner one of another."""
    return message_id.startswith(_PREFIX)
