"""Attempts to hand mail to a relay by the port of its siblings, and the answer to each that docs/security.md shows."""

from dataclasses import dataclass
from typing import Final

from scenario.conversation import Conversation, Step, line
from smtpfleet.api import names
from tests.cluster.edge.open_relay import MAIL, RCPT

_EHLO: Final = line("EHLO outbound-relay-1.mail")
_CLEAR: Final = (Step(), _EHLO)
_TLS: Final = (*_CLEAR, line("STARTTLS"), Step(tls=True, replies=0), _EHLO)
_OPENED: Final = ("220", "250")
_UNDER_TLS: Final = ("220", "250", "220", "250")


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """``steps`` and the ``codes`` of all replies."""

    title: str
    steps: tuple[Step, ...]
    codes: tuple[str, ...]

    def to(self, host: str) -> Conversation:
        """The conversation with one relay."""
        return Conversation(name=self.title, host=host, port=names.HAND_OFF_PORT, steps=self.steps)


def _tls(title: str, *pairs: tuple[str, str]) -> Attempt:
    lines, codes = zip(*pairs, strict=True)
    return Attempt(title=title, steps=(*_TLS, *map(line, lines)), codes=(*_UNDER_TLS, *codes))


ATTEMPTS: Final = (
    Attempt(
        title="in clear",
        steps=(*_CLEAR, line(MAIL), line(RCPT), line("DATA")),
        codes=(*_OPENED, "530", "530", "530"),
    ),
    Attempt(
        title="a PROXY header, then in clear",
        steps=(Step(), line("PROXY TCP4 10.0.0.1 10.0.0.1 40000 25"), _EHLO, line(MAIL)),
        codes=("220", "500", "250", "530"),
    ),
    _tls("TLS without a certificate", (MAIL, "250"), (RCPT, "554"), ("DATA", "554")),
    _tls("the same, to `postmaster`", (MAIL, "250"), ("RCPT TO:<postmaster>", "250"), ("DATA", "554")),
    _tls("the same, with `BDAT`", (MAIL, "250"), ("RCPT TO:<postmaster>", "250"), ("BDAT 0 LAST", "554")),
    _tls("the null sender", ("MAIL FROM:<>", "250"), (RCPT, "554"), ("DATA", "554")),
    _tls(
        "`XFORWARD` of a sibling's message",
        ("XFORWARD NAME=client ADDR=10.0.0.1", "250"),
        ("XFORWARD IDENT=4fxTs50qK0z1x", "250"),
        (MAIL, "250"),
        (RCPT, "554"),
        ("DATA", "554"),
    ),
    _tls("`XCLIENT`", ("XCLIENT ADDR=127.0.0.1", "550"), (MAIL, "250"), (RCPT, "554"), ("DATA", "554")),
    _tls("`AUTH`", ("AUTH PLAIN AGEAYg==", "503"), (MAIL, "250"), (RCPT, "554"), ("DATA", "554")),
)  # fmt: skip
