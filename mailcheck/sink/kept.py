"""The last few small messages as they came, octet by octet: to see what a relay really sends to the next server."""

import base64
import json
from collections import deque
from dataclasses import dataclass
from typing import Final

LARGEST: Final = 64 * 1024
"""Octets of the largest message that is kept; of others the digest tells enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptMessage:
    """One transaction.

    Attributes:
        id: its Message-ID, without angle brackets.
        mail: argument of MAIL: ``FROM:<a@example.com> BODY=8BITMIME``.
        rcpt: argument of each RCPT.
        wire: octets after 354, still dot-stuffed, with the line that ends them.
    """

    id: str
    mail: str
    rcpt: tuple[str, ...]
    wire: bytes

    @property
    def content(self) -> bytes:
        """The message itself: without dot-stuffing and without the line that ends it (RFC 5321, 4.5.2)."""
        return (b"\r\n" + self.wire[: -len(b".\r\n")]).replace(b"\r\n.", b"\r\n")[2:]


class Kept:
    """The last messages, ``limit`` of them; older ones are forgotten."""

    def __init__(self, limit: int = 0) -> None:
        self._messages: deque[KeptMessage] = deque(maxlen=limit)

    def add(self, message: KeptMessage) -> None:
        """Keep a message, unless it is large."""
        if len(message.wire) <= LARGEST:
            self._messages.append(message)

    def lines(self) -> bytes:
        """Every message that is kept, oldest first, as JSON lines; ``wire`` is base64."""
        return b"".join(_encoded(message) for message in self._messages)


def decode_kept(text: str) -> list[KeptMessage]:
    """Read what :meth:`Kept.lines` wrote."""
    found = [json.loads(line) for line in text.splitlines()]
    return [
        KeptMessage(
            id=fields["id"],
            mail=fields["mail"],
            rcpt=tuple(fields["rcpt"]),
            wire=base64.b64decode(fields["wire"]),
        )
        for fields in found
    ]


def _encoded(message: KeptMessage) -> bytes:
    fields = {
        "id": message.id,
        "mail": message.mail,
        "rcpt": message.rcpt,
        "wire": base64.b64encode(message.wire).decode(),
    }
    return json.dumps(fields).encode("ascii") + b"\n"
