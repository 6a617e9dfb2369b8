"""What the operator has seen of one pool, in the terms its decisions need: no Kubernetes objects here."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, TypeVar

from smtpfleet.api.agent_status import RelayStatus
from smtpfleet.api.pool import SmtpPoolSpec
from smtpfleet.api.probes import CanaryReport, ProbeResult
from smtpfleet.api.routing import BalancerPeer, RoutingTable
from smtpfleet.api.status import SmtpPoolStatus
from smtpfleet.domain.load import Load
from smtpfleet.domain.neighbours import Neighbour

Told = TypeVar("Told")
_NO_TIME: Final = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Deployment:
    """A Deployment of relays (``wanted`` is 1) or balancers.

    Attributes:
        ready: replicas that are ready, of whatever template.
        current: its controller has seen the last change, and all its replicas are of the current template.
        outdated: its pod template is not what the spec asks for now.
    """

    wanted: int = 1
    ready: int = 0
    current: bool = False
    outdated: bool = False

    @property
    def settled(self) -> bool:
        """Whether the current template is all that runs, and every replica of it is ready."""
        return self.current and self.ready >= self.wanted


@dataclass(frozen=True, slots=True)
class Claim:
    """A relay's claim. ``bound``: it has (or is about to have) a volume, so there may be mail on it."""

    bound: bool = True
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of a relay. ``running``: its containers were started, so its agent may answer.

    ``created`` is in whole seconds, as the API server tells it. ``zone`` is its node's, where the API server copies
    ``topology.kubernetes.io/zone`` from nodes to pods (Kubernetes 1.35 and later), else empty.
    """

    uid: str
    node: str = ""
    zone: str = ""
    address: str = ""
    running: bool = False
    ready: bool = False
    leaving: bool = False
    trouble: str = ""
    """Why it does not run, in the scheduler's or the kubelet's words."""
    created: datetime = _NO_TIME


@dataclass(frozen=True, slots=True)
class AgentReport:
    """The last answer of a relay's agent. ``pod_uid`` says which pod's; ``age_s`` how long ago.

    ``load`` is what the last answers together tell; None: they are too few, or of an older agent.
    """

    status: RelayStatus
    pod_uid: str
    age_s: float
    load: Load | None = None


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """One probe of a relay's present pod; how long ago it began and ended."""

    result: ProbeResult
    began_s: float
    ended_s: float


class Wish(StrEnum):
    """What a person asked of a relay by annotation."""

    NONE = "None"
    DRAIN = "Drain"


@dataclass(frozen=True, slots=True)
class Relay:
    """One relay, as far as anything of it exists. ``address`` is its Service's."""

    name: str
    number: int
    deployment: Deployment | None = None
    claim: Claim | None = None
    service: bool = False
    address: str = ""
    pods: tuple[Pod, ...] = ()
    agent: AgentReport | None = None
    probes: tuple[ProbeReport, ...] = ()
    """The last probes of its present pod, the newest first."""
    canaries: tuple[CanaryReport, ...] = ()
    """The last canaries that its present pod took, the newest first."""
    unprobed_s: float | None = None
    """Seconds without a probe's result, although it is to be probed; None: it is not to be."""
    passed_s: float | None = None
    """How long ago the last probe began that it passed, counted or not; None: none has."""
    ephemeral: bool = False
    wish: Wish = Wish.NONE
    weight_bound: int = 100
    paused: bool = False

    @property
    def pod(self) -> Pod | None:
        """The pod that is the relay now: one that stays before one that goes."""
        return min(self.pods, key=lambda pod: (pod.leaving, not pod.ready, not pod.running), default=None)

    @property
    def ready(self) -> bool:
        """Whether its pod takes mail, as the kubelet sees it."""
        return self.pod is not None and self.pod.ready and not self.pod.leaving

    @property
    def doomed(self) -> bool:
        """Its volume goes when its pod goes: it must take no more mail, whoever deleted the claim."""
        return self.claim is not None and self.claim.leaving

    @property
    def exists(self) -> bool:
        """Whether it has, or may have, a queue: what is left of a removed relay does not count."""
        return self.deployment is not None or (self.claim is not None and not self.claim.leaving)


@dataclass(frozen=True, slots=True)
class Pool:
    """An SmtpPool and what belongs to it."""

    name: str
    namespace: str
    generation: int
    spec: SmtpPoolSpec
    paused: bool = False
    relays: tuple[Relay, ...] = ()
    balancer: Deployment | None = None
    balancer_pods: tuple[BalancerPeer, ...] = ()
    """The balancers' pods that have an address, by name; those that leave still have sessions."""
    on_backups: bool = False
    """A balancer says that no relay is available and a backup takes the connections."""
    neighbours: tuple[Neighbour, ...] = ()
    """The other pools of the namespace, by name."""
    table: RoutingTable | None = None
    """The routing table that the agents can read now."""
    previous: SmtpPoolStatus = field(default_factory=SmtpPoolStatus)
    deleted_at: datetime | None = None
    """When somebody deleted it; None: nobody has."""
    seen_at: datetime = _NO_TIME
    """The time of day when all this was seen."""

    def told(self, of: Callable[[RelayStatus], Told | None]) -> list[tuple[str, Told]]:
        """What the relays' agents say ``of`` something, each with the relay's name; those that do not are left out."""
        answers = ((relay.name, relay.agent.status) for relay in self.relays if relay.exists and relay.agent)
        return [(name, told) for name, status in answers if (told := of(status)) is not None]
