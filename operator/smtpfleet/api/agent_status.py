"""What agents answer to ``GET /status``: read by the operator, the command line and tests."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel


class _StatusModel(BaseModel):
    # An operator reads answers of older and newer agents: unknown fields are ignored, new ones have defaults.
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")


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


def _known(problem: Any) -> Any:
    """A newer agent's word that this release does not know means that something is wrong with the pair."""
    return problem if problem in set(CertificateProblem) else CertificateProblem.INVALID


def _known_of_users(problem: Any) -> Any:
    """The same for users."""
    return problem if problem in set(UsersProblem) else UsersProblem.OTHER


class CertificateStatus(_StatusModel):
    """The certificate that a relay serves (without ``fingerprint``: none), and what is wrong with the Secret's."""

    secret: str = ""
    fingerprint: str = ""
    not_before: datetime | None = None
    not_after: datetime | None = None
    problem: Annotated[CertificateProblem, BeforeValidator(_known)] = CertificateProblem.NONE
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
    problem: Annotated[UsersProblem, BeforeValidator(_known_of_users)] = UsersProblem.NONE
    error: str = ""


class NextHopProblem(StrEnum):
    """Why mail to a next hop waits, or goes with what was good before."""

    UNKNOWN = "Unknown"
    MISSING = "Missing"
    INVALID = "Invalid"
    REFUSED = "Refused"


def _known_trouble(problem: Any) -> Any:
    """A newer agent's word that this release does not know means that something is wrong."""
    return problem if problem in set(NextHopProblem) else NextHopProblem.INVALID


class NextHopTrouble(_StatusModel):
    """What is wrong with a next hop. ``waiting``: no mail goes there until it is mended."""

    next_hop: str
    problem: Annotated[NextHopProblem, BeforeValidator(_known_trouble)]
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


def _known_signing(problem: Any) -> Any:
    return problem if problem in set(SigningProblem) else SigningProblem.INVALID


class SigningKeyStatus(_StatusModel):
    """A DKIM key as a relay has it. ``record`` is the TXT record of the key in use; empty: there is none."""

    domain: str
    selector: str
    secret: str = ""
    algorithm: str = ""
    bits: int = 0
    record: str = ""
    signs: bool = False
    problem: Annotated[SigningProblem, BeforeValidator(_known_signing)] = SigningProblem.NONE
    error: str = ""


class SigningStatus(_StatusModel):
    """DKIM at a relay. ``trouble``: why no message can be signed now, so that mail is refused for now (451)."""

    keys: tuple[SigningKeyStatus, ...] = ()
    trouble: str = ""


class HandOffStage(StrEnum):
    """What a relay that gives its queue to its siblings does now."""

    DELIVERING = "Delivering"
    HANDING_OFF = "HandingOff"
    BLOCKED = "Blocked"


def _known_stage(stage: Any) -> Any:
    """A newer agent's word that this release does not know says at least that mail is delivered."""
    return stage if stage in set(HandOffStage) else HandOffStage.DELIVERING


class HandOffStatus(_StatusModel):
    """How far the hand-off is. Delivering, and Blocked (``why``): mail goes its ordinary ways meanwhile."""

    stage: Annotated[HandOffStage, BeforeValidator(_known_stage)]
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
    certificate: CertificateStatus | None = None
    """None: this relay serves no TLS, because the mode is None or its agent is older."""
    users: UsersStatus | None = None
    """None: this relay has no users, because the spec names none or its agent is older."""
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
