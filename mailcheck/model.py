"""The two records that the accounting compares: attempts (what a client was told) and arrivals (what the sink got).

Times are seconds since the epoch, so that records of several processes, and the moments of injected faults, lie on one
axis. Recipients are part of both records because a relay may split one message into several deliveries: what is owed is
a pair of message and recipient, not a message.
"""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """What a client knows about its message in the end."""

    ACKNOWLEDGED = "acknowledged"
    """A positive answer to the final dot: the receiver has taken responsibility (RFC 5321, 6.1)."""
    REJECTED = "rejected"
    """A 4xx or 5xx answer at any stage, also to the final dot."""
    FAILED_BEFORE = "failed-before"
    """The connection failed while the final dot was still in this process: the message cannot have been taken."""
    INDETERMINATE = "indeterminate"
    """The connection failed after the final dot was handed to the kernel: taken or not, nobody can tell."""


class Stage(StrEnum):
    """The step of the SMTP dialogue that decided an outcome."""

    CONNECT = "connect"
    BANNER = "banner"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    """The command and the handshake after it, or the handshake that comes first."""
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    CONTENT = "content"
    """After 354, before the final dot has left."""
    END_OF_DATA = "end-of-data"
    """After the final dot has left."""


class Failure(StrEnum):
    """How a connection failed."""

    REFUSED = "refused"
    RESET = "reset"
    EOF = "eof"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    PROTOCOL = "protocol"
    """An answer that is not SMTP, or not possible at this stage."""
    UNSUPPORTED = "unsupported"
    """The server does not offer an extension that the message or the client needs."""
    TLS = "tls"
    """The handshake failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One message that a generator tried to hand in, once."""

    id: str
    """Message-ID without angle brackets, unique over all runs."""
    digest: str
    """SHA-256 of the body, hexadecimal."""
    recipients: tuple[str, ...]
    planned: float
    """When the schedule wanted it sent."""
    start: float
    """When work on it began; ``start - planned`` is the generator's own lateness."""
    end: float
    """When its outcome was known."""
    outcome: Outcome
    stage: Stage
    code: int | None = None
    """The reply code that decided, if a reply did."""
    failure: Failure | None = None
    """How the connection failed, if that decided."""
    refused: tuple[str, ...] = ()
    """Recipients that were refused though the message was acknowledged for the others."""
    target: str = ""

    @property
    def acknowledged(self) -> bool:
        """Whether the receiver took responsibility."""
        return self.outcome is Outcome.ACKNOWLEDGED

    @property
    def owed(self) -> tuple[str, ...]:
        """The recipients for which the message was acknowledged."""
        if not self.acknowledged:
            return ()
        return tuple(r for r in self.recipients if r not in self.refused) if self.refused else self.recipients

    @property
    def reason(self) -> str:
        """Stage and reply code or kind of failure, for tables: ``rcpt 451``, ``end-of-data timeout``."""
        return f"{self.stage} {self.failure or self.code or ''}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One message that the sink took, as received in one transaction."""

    id: str
    """Message-ID without angle brackets; empty if the message had none."""
    digest: str
    sender: str
    recipients: tuple[str, ...]
    size_bytes: int
    time: float
    """When its final dot was received."""
    client: str
    """Address of the host that delivered it."""
    helo: str
    tls: str = ""
    """Version of TLS that it came under, such as TLSv1.3; empty: in clear."""
    user: str = ""
    """Who authenticated, if anybody did."""
