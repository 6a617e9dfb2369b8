"""The routing table: what the operator tells the agents of one pool, in one ConfigMap.

Guarantees: a table that parses is complete and safe to act on; the operator writes one text for equal content; who
reads the same text reports the same ``revision``, whatever it knows of what is in it; an agent of format 1 reads every
later table of format 1, because fields are only ever added (agents ignore those they do not know).
"""

import hashlib
import ipaddress
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.alias_generators import to_camel

from smtpfleet.api.balancing import Backup, BalancingMethod
from smtpfleet.api.delivery import PoolName, Route, Smarthost
from smtpfleet.api.postfix_parameters import is_owned, is_parameter_name
from smtpfleet.api.sender_domains import SenderDomain
from smtpfleet.api.submission import TlsMode
from smtpfleet.api.values import HostName, SecretName, TrustedNetwork


class TableError(ValueError):
    """The text is no routing table of a format this agent knows; the message says why."""


class RouteState(StrEnum):
    """What the operator wants of a relay. It is about intake only: a relay always delivers what it has."""

    SERVING = "Serving"
    DRAINING = "Draining"


class _TableModel(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")


def _one_line(value: str) -> str:
    if any(character in value for character in "\r\n\0"):
        raise ValueError("must be one line")
    return value


OneLine = Annotated[str, AfterValidator(_one_line)]


def _in_a_pattern(value: str) -> str:
    if any(character.isascii() and not (character.isalnum() or character in ".-") for character in value):
        raise ValueError("no domain")
    if not value.isprintable():
        raise ValueError("no domain")
    return value


UnicodeDomain = Annotated[str, AfterValidator(_in_a_pattern)]
"""A domain as people write it; empty: it is the same in ASCII."""


class RelayRoute(_TableModel):
    """One relay. ``weight`` is relative, 0 to 100; 0 gives it no new connection."""

    name: OneLine = Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
    address: str
    weight: int = Field(ge=0, le=100)
    state: RouteState = RouteState.SERVING
    hand_off: bool = False
    """Whether it gives its queue to the takers, once it has no session and listens no more."""

    @field_validator("address")
    @classmethod
    def _is_address(cls, value: str) -> str:
        return str(ipaddress.ip_address(value))


class SubmissionTls(_TableModel):
    """TLS of clients. A table without it is of an operator that knew none."""

    mode: TlsMode = TlsMode.NONE
    secret_name: SecretName = ""


class SubmissionAuthentication(_TableModel):
    """Users: the Secret that has them. Empty, or a table without it: there are none."""

    secret_name: SecretName = ""


class SubmissionTable(_TableModel):
    """Who may hand in mail."""

    trusted_networks: tuple[TrustedNetwork, ...]
    message_size_limit_bytes: int = Field(gt=0)
    tls: SubmissionTls = SubmissionTls()
    authentication: SubmissionAuthentication = SubmissionAuthentication()
    allowed_sender_domains: tuple[SenderDomain, ...] = ()
    """None: any sender."""
    unicode_sender_domains: tuple[UnicodeDomain, ...] = ()
    """The other forms of those that are internationalised."""
    max_connections_per_client: int = Field(default=0, ge=0)
    """0: no limit."""
    max_bandwidth_per_client_bytes: int = Field(default=0, ge=0)
    """A second, through one HAProxy. 0, or a table without it: no limit."""
    pools: tuple[PoolName, ...] = ()
    """Pools of the namespace whose routes lead here: each may log in."""
    probe_secret_name: SecretName = ""
    """The Secret with the login of the operator's probes. Empty: they do not log in."""


class BackupRoute(Backup):
    """A backup of the spec in the table: an agent ignores what a later operator says about it."""

    model_config = Backup.model_config | {"extra": "ignore", "from_attributes": True}


class BalancerPeer(_TableModel):
    """A balancer's pod, for the other balancers of the pool."""

    name: OneLine = Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
    address: str

    @field_validator("address")
    @classmethod
    def _is_address(cls, value: str) -> str:
        return str(ipaddress.ip_address(value))


class BalancingTable(_TableModel):
    """What the balancers do besides choosing relays. A table without it is of an operator that knew none of this."""

    proxy_protocol_sources: tuple[TrustedNetwork, ...] = ()
    """None: clients send no PROXY header."""
    backups: tuple[BackupRoute, ...] = ()
    peers: tuple[BalancerPeer, ...] = ()
    """The balancers, where they have something to tell each other; else none."""


class SmarthostRoute(Smarthost):
    """The spec's smarthost in the table: an agent ignores what a later operator says about it."""

    # from_attributes: a Smarthost of the spec is taken as it is.
    model_config = Smarthost.model_config | {"extra": "ignore", "from_attributes": True}


class DomainRoute(Route):
    """A route of the spec in the table, with the other form of an internationalised domain."""

    model_config = Route.model_config | {"extra": "ignore", "from_attributes": True}

    unicode_domain: UnicodeDomain = ""
    waits: OneLine = ""
    """Why mail has to wait here. A route to another pool is one to its host and port, with this pool's login."""


class DeliveryTable(_TableModel):
    """Where mail goes. No smarthost means the MX of each recipient."""

    smarthost: SmarthostRoute | None = None
    queue_lifetime_s: int = Field(gt=0)
    routes: tuple[DomainRoute, ...] = ()
    max_connections_per_destination: int = Field(default=0, ge=0)
    """Of the whole pool. 0: the operator knew no such limit, and each relay has Postfix's own."""


class HandOffTable(_TableModel):
    """Who takes the queues of relays that leave. A table without takers: nobody leaves, or nobody can take."""

    secret_name: SecretName = ""
    """The Secret with the certificate by which the relays of the pool know each other."""
    takers: tuple[OneLine, ...] = ()
    """Names of relays."""


class SigningRoute(_TableModel):
    """A DKIM key: whose mail it signs, and the Secret that holds it."""

    domain: OneLine = Field(pattern=r"^[a-z0-9.-]+$")
    selector: OneLine = Field(pattern=r"^[a-z0-9.-]+$")
    secret_name: Annotated[SecretName, Field(min_length=1)]
    unicode_domain: UnicodeDomain = ""


class RoutingTable(_TableModel):
    """Everything the agents of one pool act on."""

    format: Literal[1] = 1
    pool: OneLine
    namespace: OneLine
    hostname: HostName = Field(min_length=1)
    method: BalancingMethod
    submission: SubmissionTable
    delivery: DeliveryTable
    postfix: dict[str, OneLine] = Field(default_factory=dict)
    relays: tuple[RelayRoute, ...] = ()
    secrets: tuple[Annotated[SecretName, Field(min_length=1)], ...] = ()
    """Every Secret that a relay's agent may read and is to follow."""
    balancing: BalancingTable = BalancingTable()
    signing: tuple[SigningRoute, ...] = ()
    """DKIM keys; of those of one domain and algorithm the first one that works signs."""
    hand_off: HandOffTable = HandOffTable()

    @field_validator("postfix")
    @classmethod
    def _safe_parameters(cls, value: dict[str, str]) -> dict[str, str]:
        if owned := sorted(parameter for parameter in value if is_owned(parameter)):
            raise ValueError(f"set by the operator itself: {', '.join(owned)}")
        if misnamed := sorted(parameter for parameter in value if not is_parameter_name(parameter)):
            raise ValueError(f"no main.cf parameters: {misnamed}")
        return dict(sorted(value.items()))  # equal content, equal text

    @field_validator("relays")
    @classmethod
    def _unique_names(cls, value: tuple[RelayRoute, ...]) -> tuple[RelayRoute, ...]:
        if len({relay.name for relay in value}) != len(value):
            raise ValueError("two relays of one name")
        return value

    @cached_property
    def text(self) -> str:
        """The ConfigMap's value: of a table that was read, the text as it was; else canonical JSON, one form for equal
        content.
        """
        return self.model_dump_json(by_alias=True, exclude_none=True, indent=1) + "\n"

    @cached_property
    def revision(self) -> str:
        """Twelve hex digits of the text: what agents report as applied."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:12]

    def relay(self, name: str) -> RelayRoute | None:
        """The entry of one relay, or None if the table does not (or no longer) list it."""
        return next((relay for relay in self.relays if relay.name == name), None)


def parse_table(text: str) -> RoutingTable:
    """Read a table as an agent found it.

    It keeps its text: written anew, it would lack what a later operator says, and have another revision.

    Raises:
        TableError: not JSON, another format, or a value that is not safe to act on.
    """
    try:
        table = RoutingTable.model_validate_json(text)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'table'}: {problem['msg']}" for problem in error.errors()
        )
        raise TableError(problems) from error
    vars(table)["text"] = text  # where a cached property keeps its value
    return table
