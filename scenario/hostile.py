"""Clients that break the protocol or waste a relay's time: what each does, and how its session is to end.

The tests look at the answers, the benchmark at what others notice; docs/security.md shows both.
"""

from dataclasses import dataclass, replace
from typing import Final

from scenario.conversation import Conversation, Step, line

_BANNER: Final = Step()
_EHLO: Final = line("EHLO client.example.org")
_MAIL: Final = line("MAIL FROM:<s@example.com>")
_RCPT: Final = line("RCPT TO:<r@example.net>")
_OPEN: Final = (_BANNER, _EHLO)
_QUIT: Final = line("QUIT")
_ENVELOPE: Final = b"MAIL FROM:<s@example.com>\r\nRCPT TO:<r@example.net>\r\n"
_MESSAGE: Final = b"Subject: hostile\r\n\r\nx\r\n.\r\n"
_RECIPIENTS: Final = 1000
"""As many as Postfix takes by default (smtpd_recipient_limit)."""
_ERRORS: Final = 25
"""More than it suffers (smtpd_hard_error_limit: 20)."""


@dataclass(frozen=True, kw_only=True)
class Attack:
    """One hostile session.

    Attributes:
        ends: the codes of the last replies; none where they depend on how the octets were cut on their way.
        closes: the relay ends the session; None where that depends on the same.
    """

    title: str
    steps: tuple[Step, ...]
    ends: tuple[str, ...]
    closes: bool | None = False

    def on(self, host: str, port: int = 25, *, number: int = 0, patience_s: float = 60.0) -> Conversation:
        """The session with a pool; ``number`` tells several of a kind apart."""
        return Conversation(
            name=f"{self.title} | {number}", host=host, port=port, steps=self.steps, patience_s=patience_s
        )


def attacks(limit_bytes: int) -> tuple[Attack, ...]:
    """Every attack, on a pool that takes messages of ``limit_bytes``."""
    block = (b"x" * 76 + b"\r\n") * 840
    blocks = limit_bytes // len(block) + 1
    too_large = Step(send=block, times=blocks, replies=0)
    return (
        Attack(
            title="all commands before the first reply",
            steps=(
                _BANNER,
                Step(send=b"EHLO x\r\n" + _ENVELOPE + b"DATA\r\n" + _MESSAGE, replies=1),
                Step(replies=1),
            ),
            ends=("554",),
            closes=True,
        ),
        Attack(
            title="content before the reply to DATA",
            steps=(*_OPEN, _MAIL, _RCPT, Step(send=b"DATA\r\n" + _MESSAGE), Step(replies=1)),
            ends=("554",),
            closes=True,
        ),
        Attack(
            title="STARTTLS with commands behind it",
            steps=(
                *_OPEN,
                Step(send=b"STARTTLS\r\n" + _ENVELOPE + b"DATA\r\n" + _MESSAGE),
                Step(tls=True, replies=0),
                _QUIT,
            ),
            ends=("221",),
        ),
        Attack(
            title="SIZE beyond the limit",
            steps=(*_OPEN, line(f"MAIL FROM:<s@example.com> SIZE={limit_bytes + 1}"), _QUIT),
            ends=("552", "221"),
        ),
        Attack(
            title="content beyond the limit, undeclared",
            steps=(*_OPEN, _MAIL, _RCPT, line("DATA"), too_large, line("."), _QUIT),
            ends=("552", "221"),
        ),
        Attack(
            title="BDAT beyond the limit",
            steps=(
                *_OPEN,
                _MAIL,
                _RCPT,
                line(f"BDAT {blocks * len(block)} LAST", replies=0),
                replace(too_large, replies=1),
                _QUIT,
            ),
            ends=("552", "221"),
        ),
        Attack(
            title="1001 recipients",
            steps=(
                *_OPEN,
                _MAIL,
                *(line(f"RCPT TO:<r{n}@example.net>") for n in range(_RECIPIENTS + 1)),
                line("RSET"),
                _QUIT,
            ),
            ends=("452", "250", "221"),
        ),
        Attack(
            title="25 wrong commands",
            steps=(*_OPEN, *(line("WRONG") for _ in range(_ERRORS))),
            ends=("421",),
            closes=True,
        ),
        Attack(
            title="NOOP for ever",
            steps=(*_OPEN, *(line("NOOP") for _ in range(200))),
            ends=("421",),
            closes=True,
        ),
        Attack(
            title="HTTP",
            steps=(_BANNER, Step(send=b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"), Step()),
            ends=("221",),
            closes=True,
        ),
        Attack(
            title="octets that are no command",
            steps=(_BANNER, Step(send=bytes(range(128, 256)) + b"\r\n"), _QUIT),
            ends=("500", "221"),
        ),
        Attack(
            title="a command line of 100,000 octets",
            steps=(*_OPEN, Step(send=b"MAIL FROM:<" + b"x" * 100_000 + b">\r\n"), _QUIT),
            ends=(),
            closes=None,
        ),
    )


def slow() -> tuple[Attack, ...]:
    """Sessions that get nowhere, at each stage; the relay keeps them until its time-outs, longer than anybody waits."""
    forever = Step(replies=1)
    return (
        Attack(title="nothing after the connection", steps=(_BANNER, forever), ends=("220",)),
        Attack(
            title="EHLO, an octet a second",
            steps=(_BANNER, Step(send=b"EHLO " + b"x" * 100, drip_s=1.0)),
            ends=("220",),
        ),
        Attack(
            title="MAIL, an octet a second",
            steps=(*_OPEN, Step(send=b"MAIL FROM:<" + b"x" * 100, drip_s=1.0)),
            ends=("250",),
        ),
        Attack(
            title="content, an octet a second",
            steps=(*_OPEN, _MAIL, _RCPT, line("DATA"), Step(send=b"x" * 100, drip_s=1.0)),
            ends=("354",),
        ),
        Attack(
            title="a TLS handshake, an octet a second",
            steps=(*_OPEN, line("STARTTLS"), Step(send=b"\x16\x03\x01\x01\x00" + b"\0" * 95, drip_s=1.0)),
            ends=("220",),
        ),
        Attack(
            title="replies that are never read",
            steps=(*_OPEN, *(line("VRFY x", replies=0) for _ in range(500)), Step(pause_s=600)),
            ends=("250",),
        ),
    )
