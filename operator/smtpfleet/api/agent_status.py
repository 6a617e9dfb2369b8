"""What agents answer to ``GET /status``: read by the operator, the command line and tests."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel


class _StatusModel(BaseModel):
    # An operator reads answers of older and newer agents: unknown fields are ignored, new ones have defaults.
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")


def _unknown_as(word: StrEnum) -> BeforeValidator:
    """Takes what only a newer agent says for ``word``, which is the least that it can mean."""
    known = tuple(type(word))
    return BeforeValidator(lambda said: said if said in known else word)


class Intake(StrEnum):
    """Whether a relay takes mail. Closed is a promise: no listener for clients is open any more."""

    OPEN = "Open"
    DRAINING = "Draining"
    CLOSED = "Closed"


class PostfixState(StrEnum):
    """What the relay's Postfix does."""

    STARTING = "Starting"
    RUNNING = "Running"
    STOPPING = "Stopping"
    STOPPED = "Stopped"


class QueueCounts(_StatusModel):
    """Messages by queue directory. ``incoming`` counts complete files only, ``receiving`` the others."""

    maildrop: int = 0
    incoming: int = 0
    receiving: int = 0
    active: int = 0
    deferred: int = 0
    hold: int = 0
    corrupt: int = 0

    @property
    def backlog(self) -> int:
        """Messages that are ready to be sent now."""
        return self.maildrop + self.incoming + self.active

    @property
    def total(self) -> int:
        """Every message that would be lost with the volume, half-received ones not counted."""
        return self.backlog + self.deferred + self.hold + self.corrupt


class CertificateProblem(StrEnum):
    """Why the certificate that the spec names is not served, or not believed by clients."""

    NONE = ""
    UNKNOWN = "Unknown"
    MISSING = "Missing"
    INVALID = "Invalid"
    EXPIRED = "Expired"


class UsersProblem(StrEnum):
    """Why the users of the Secret that the spec names cannot log in."""

    NONE = ""
    UNKNOWN = "Unknown"
    MISSING = "Missing"
    EMPTY = "Empty"
    OTHER = "Other"


class CertificateStatus(_StatusModel):
    """The certificate that a relay serves (without ``fingerprint``: none), and what is wrong with the Secret's."""

    secret: str = ""
    fingerprint: str = ""
    not_before: datetime | None = None
    not_after: datetime | None = None
    problem: Annotated[CertificateProblem, _unknown_as(CertificateProblem.INVALID)] = CertificateProblem.NONE
    error: str = ""


class RefusedUser(_StatusModel):
    """An entry of the Secret that cannot be read: its key and why, never its content."""

    key: str
    reason: str


class UsersStatus(_StatusModel):
    """Users that a relay knows, and what is wrong with their Secret. ``refused`` names the first ones only."""

    secret: str = ""
    users: int = 0
    refused: tuple[RefusedUser, ...] = ()
    refused_total: int = 0
    problem: Annotated[UsersProblem, _unknown_as(UsersProblem.OTHER)] = UsersProblem.NONE
    error: str = ""


class NextHopProblem(StrEnum):
    """Why mail to a next hop waits, or goes with what was good before."""

    UNKNOWN = "Unknown"
    MISSING = "Missing"
    INVALID = "Invalid"
    REFUSED = "Refused"


class NextHopTrouble(_StatusModel):
    """What is wrong with a next hop. ``waiting``: no mail goes there until it is mended."""

    next_hop: str
    problem: Annotated[NextHopProblem, _unknown_as(NextHopProblem.INVALID)]
    error: str = ""
    waiting: bool = False


class DeliveryStatus(_StatusModel):
    """Next hops that are not as the spec asks; none: all are."""

    troubles: tuple[NextHopTrouble, ...] = ()


class SigningProblem(StrEnum):
    """Why the key in a Secret is not used."""

    NONE = ""
    UNKNOWN = "Unknown"
    MISSING = "Missing"
    INVALID = "Invalid"


class SigningKeyStatus(_StatusModel):
    """A DKIM key as a relay has it. ``record`` is the TXT record of the key in use; empty: there is none."""

    domain: str
    selector: str
    secret: str = ""
    algorithm: str = ""
    bits: int = 0
    record: str = ""
    signs: bool = False
    problem: Annotated[SigningProblem, _unknown_as(SigningProblem.INVALID)] = SigningProblem.NONE
    error: str = ""


class SigningStatus(_StatusModel):
    """DKIM at a relay. ``trouble``: why no message can be signed now, so that mail is refused for now (451)."""

    keys: tuple[SigningKeyStatus, ...] = ()
    trouble: str = ""


RECEIVER_GROUPS: Final = 64
"""Receivers' domains are told apart by so many groups: enough to compare siblings, and no domain is named."""


class DeferralReason(StrEnum):
    """Why a recipient was deferred."""

    CONNECT_FAILED = "ConnectFailed"
    DNS_FAILED = "DnsFailed"
    TLS_FAILED = "TlsFailed"
    LOGIN_FAILED = "LoginFailed"
    CONNECTION_LOST = "ConnectionLost"
    REMOTE_TEMPORARY = "RemoteTemporary"
    """The receiver's reply begins with 4."""
    REMOTE_REFUSED = "RemoteRefused"
    """It begins with 5, and another server of the receiver may say otherwise."""
    SUSPENDED = "Suspended"
    """Not tried: what was tried just before at the same host had failed."""
    OTHER = "Other"


class DeferralStage(StrEnum):
    """In which step of the delivery."""

    NONE = ""
    LOOKUP = "lookup"
    CONNECT = "connect"
    GREETING = "greeting"
    EHLO = "ehlo"
    TLS = "tls"
    LOGIN = "login"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"


class Delays(_StatusModel):
    """Medians of Postfix's four delays, in seconds, over the attempts at which a receiver was asked.

    ``a``: from arrival to the last time that the queue manager took it up; ``b``: in the queue manager; ``c``: until
    connected, with DNS, TLS and greeting; ``d``: the transmission. ``b`` high with ``c`` and ``d`` low is a relay
    that is too small, with ``c`` or ``d`` high a slow receiver.
    """

    a: float = 0.0
    b: float = 0.0
    c: float = 0.0
    d: float = 0.0


class Deferral(_StatusModel):
    """Recipients deferred for one reason in one step."""

    reason: Annotated[DeferralReason, _unknown_as(DeferralReason.OTHER)]
    stage: Annotated[DeferralStage, _unknown_as(DeferralStage.NONE)] = DeferralStage.NONE
    recipients: int = 0


class ReceiverGroup(_StatusModel):
    """Attempts by group of receivers: how many there were, and how many of them failed (deferred or bounced)."""

    group: int
    tried: int = 0
    failed: int = 0


class Deliveries(_StatusModel):
    """What became of deliveries in the last minute (``seconds``: less after a start).

    ``sent``, ``deferred`` and ``bounced`` count recipients; ``messages_per_s``: messages that left the queue, because
    each recipient has them or their sender was told. ``finished`` counts these since the agent's start.
    """

    seconds: float = 0.0
    sent: int = 0
    deferred: int = 0
    bounced: int = 0
    idle_s: float = 0.0
    """Seconds since the last outcome of any recipient, or since the start."""
    messages_per_s: float = 0.0
    finished: int = 0
    delays: Delays = Delays()
    deferrals: tuple[Deferral, ...] = ()
    receivers: tuple[ReceiverGroup, ...] = ()


class QueueVolume(_StatusModel):
    """Room on the volume that the queue is on, as Postfix can use it."""

    free_bytes: int = 0
    free_inodes: int = 0


class Canary(_StatusModel):
    """A canary that came back: its digest (SHA-256 of the body, hexadecimal), and how long it was in the queue."""

    id: str
    digest: str
    queue_s: float = 0.0


class CanaryStatus(_StatusModel):
    """The last canaries that came back, the newest first. What came more than ``up_s`` ago is not known."""

    up_s: float = 0.0
    returned: tuple[Canary, ...] = ()


class HandOffStage(StrEnum):
    """What a relay that gives its queue to its siblings does now."""

    DELIVERING = "Delivering"
    HANDING_OFF = "HandingOff"
    BLOCKED = "Blocked"


class HandOffStatus(_StatusModel):
    """How far the hand-off is. Delivering, and Blocked (``why``): mail goes its ordinary ways meanwhile."""

    stage: Annotated[HandOffStage, _unknown_as(HandOffStage.DELIVERING)]
    why: str = ""


class RelayStatus(_StatusModel):
    """A relay's answer."""

    relay: str
    incarnation: str = ""
    table_revision: str = ""
    table_error: str = ""
    intake: Intake = Intake.OPEN
    intake_revision: str = ""
    """Of the table that the intake follows: the newest, also one that is refused. Empty: an older agent."""
    postfix: PostfixState = PostfixState.STARTING
    queue: QueueCounts = Field(default_factory=QueueCounts)
    sessions: int = 0
    oldest_active_s: float = 0.0
    oldest_incoming_s: float = 0.0
    """For how long the queue manager has left a complete message in ``incoming``."""
    postfix_restarts: int = 0
    """How often Postfix ended unasked."""
    volume: QueueVolume | None = None
    """None: it was not looked at yet, or its agent is older."""
    storage_low: bool = False
    """Whether there is so little room that balancers are told to send clients to siblings."""
    deliveries: Deliveries | None = None
    """None: its agent is older."""
    canary: CanaryStatus | None = None
    """None: its agent is older, and no canary may be sent."""
    certificate: CertificateStatus | None = None
    """None: this relay serves no TLS, because the mode is None or its agent is older."""
    users: UsersStatus | None = None
    """None: this relay has no users, because the spec names none or its agent is older."""
    probe_login: bool = False
    """Whether the operator's probes can log in: their Secret has been read."""
    delivery: DeliveryStatus | None = None
    """None: it has no routing table yet, or its agent is older."""
    signing: SigningStatus | None = None
    """None: this relay signs nothing, because the pool lists no key or its agent is older."""
    hand_off: HandOffStatus | None = None
    """None: this relay keeps its queue, or its agent is older."""


class ServerStatus(_StatusModel):
    """One relay as a balancer's HAProxy sees it; ``state`` in HAProxy's words (UP, DOWN, DRAIN, MAINT …)."""

    name: str
    state: str
    weight: int
    sessions: int = 0


class BalancerStatus(_StatusModel):
    """A balancer's answer."""

    balancer: str
    table_revision: str = ""
    table_error: str = ""
    servers: tuple[ServerStatus, ...] = ()
    backups: tuple[ServerStatus, ...] = ()
    on_backups: bool = False
    """No relay is available, and a backup takes the connections."""
