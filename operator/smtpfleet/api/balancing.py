"""``spec.balancing``: how connections reach the balancers, and how they are spread over the relays."""

import ipaddress
import re
from collections.abc import Collection
from enum import StrEnum
from typing import Annotated, Final

from pydantic import AfterValidator, Field, StringConstraints, field_validator

from smtpfleet.api.values import ApiModel, HostName, TrustedNetwork, rule, rules

PRIVATE_NETWORKS: Final = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
"""Addresses that no host of the Internet has (RFC 1918, RFC 4193)."""


class BalancingMethod(StrEnum):
    """How a balancer chooses among relays; weights apply to all of them."""

    LEAST_CONNECTIONS = "LeastConnections"
    ROUND_ROBIN = "RoundRobin"
    RANDOM = "Random"
    SOURCE_ADDRESS = "SourceAddress"


class Backup(ApiModel):
    """An SMTP server that takes connections while no relay is available."""

    host: HostName = Field(
        min_length=1,
        description="Name or IPv4 address. <service>.<namespace>.svc is a Service of this cluster; other names are"
        " taken as full names.",
    )
    port: int = Field(default=25, ge=1, le=65535, description="Where clients of ports 25 and 587 are led to.")
    submissions_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="Where clients of port 465 are led to, who begin with TLS. 0: this backup is not for them.",
    )
    proxy_protocol: bool = Field(
        default=False,
        description="Tell the backup by a PROXY v2 header who the client is. It must expect one on every connection.",
    )


class ServiceType(StrEnum):
    """Kind of the pool's Service (core/v1 Service)."""

    CLUSTER_IP = "ClusterIP"
    NODE_PORT = "NodePort"
    LOAD_BALANCER = "LoadBalancer"


class ExternalTrafficPolicy(StrEnum):
    """Whether connections from outside keep the client's address (core/v1 Service)."""

    LOCAL = "Local"
    CLUSTER = "Cluster"


def _check_network(value: str) -> str:
    ipaddress.ip_network(value, strict=False)
    if "/" not in value:
        raise ValueError(f"{value!r} is {_NO_NETWORK}")
    return value


_NO_NETWORK: Final = "not a network: write an address and a prefix length, such as 192.0.2.0/24"
Network = Annotated[
    str,
    StringConstraints(max_length=43),
    AfterValidator(_check_network),
    Field(json_schema_extra=rules(rule("isCIDR(self)", _NO_NETWORK))),
]
"""Any CIDR: who may connect is a smaller matter than who may relay."""

_KEY: Final = "([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_ANNOTATION_RULES: Final = rules(
    rule(
        f"self.all(k, k.matches('^{_KEY}$'))",
        "not a key of an annotation: write a name, or a DNS name, a slash and a name",
    ),
    rule(
        "!self.exists(k, k.startsWith('smtpfleet.io/'))",
        "annotations that begin with smtpfleet.io/ belong to the operator",
    ),
)


class PoolService(ApiModel):
    """The Service that clients connect to."""

    type: ServiceType = Field(
        default=ServiceType.CLUSTER_IP,
        description="ClusterIP: for clients in the cluster. NodePort, LoadBalancer: for others, too.",
    )
    annotations: dict[str, Annotated[str, StringConstraints(max_length=1024)]] = Field(
        default_factory=dict,
        max_length=32,
        description="Annotations of the Service, such as those that tell a cloud what balancer to make.",
        json_schema_extra=_ANNOTATION_RULES,
    )
    external_traffic_policy: ExternalTrafficPolicy = Field(
        default=ExternalTrafficPolicy.LOCAL,
        description="Local: connections from outside keep the client's address. Cluster: they show a node's address"
        " instead. Without a meaning for the type ClusterIP.",
    )
    load_balancer_source_ranges: tuple[Network, ...] = Field(
        default=(),
        max_length=64,
        description="Networks (CIDR) whose hosts the load balancer lets in. Empty: all.",
    )
    load_balancer_class: str = Field(
        default="",
        max_length=253,
        description="Which implementation makes the load balancer. Empty: the default.",
    )

    @field_validator("annotations")
    @classmethod
    def _keys(cls, value: dict[str, str]) -> dict[str, str]:
        for key in value:
            if not re.fullmatch(_KEY, key) or key.startswith("smtpfleet.io/"):
                raise ValueError(f"{key!r} is no annotation that a user may set")
        return value


class Balancing(ApiModel):
    """How connections reach the balancers, and how they are spread over the relays."""

    method: BalancingMethod = Field(
        default=BalancingMethod.LEAST_CONNECTIONS,
        description="LeastConnections: fewest open sessions, best when a relay hangs. RoundRobin: in turn."
        " Random: two at random, the less busy of them. SourceAddress: the same client address to the same"
        " relay. Weights apply to all of them.",
    )
    replicas: int = Field(default=2, ge=1, le=20, description="Number of balancer pods.")
    accept_proxy_protocol: bool = Field(
        default=False,
        description="Clients come through an outer balancer that tells their addresses by a PROXY header (v1 or v2)."
        " Connections without a header are then refused.",
    )
    proxy_protocol_sources: tuple[TrustedNetwork, ...] = Field(
        default=PRIVATE_NETWORKS,
        min_length=1,
        max_length=64,
        description="Networks (CIDR) of the outer balancer, with acceptProxyProtocol: whoever connects from there is"
        " believed whatever client address it tells. Connections from elsewhere are refused.",
    )
    backups: tuple[Backup, ...] = Field(
        default=(),
        max_length=8,
        description="SMTP servers that take connections while no relay is available: the first of them that answers.",
    )
    service: PoolService = Field(
        default_factory=PoolService, description="The Service that clients connect to."
    )


_SERVICE: Final = "self.balancing.service"
_BEFORE: Final = "oldSelf.balancing.service"
_HIDDEN_CLIENTS: Final = (
    "externalTrafficPolicy: Cluster hides who the client is, so with trustedNetworks everybody who reaches the Service"
    " could relay: use Local, or set acceptProxyProtocol and an outer balancer that sends the PROXY header"
)
SERVICE_RULES: Final = (
    rule(
        f"{_SERVICE}.type == 'ClusterIP' || {_SERVICE}.externalTrafficPolicy == 'Local'"
        " || self.balancing.acceptProxyProtocol || size(self.submission.trustedNetworks) == 0",
        _HIDDEN_CLIENTS,
        field_path=".balancing.service.externalTrafficPolicy",
    ),
    rule(
        f"size({_SERVICE}.loadBalancerSourceRanges) == 0 || {_SERVICE}.type == 'LoadBalancer'",
        "loadBalancerSourceRanges has a meaning for the type LoadBalancer only",
        field_path=".balancing.service.loadBalancerSourceRanges",
    ),
    rule(
        f"{_SERVICE}.loadBalancerClass == '' || {_SERVICE}.type == 'LoadBalancer'",
        "loadBalancerClass has a meaning for the type LoadBalancer only",
        field_path=".balancing.service.loadBalancerClass",
    ),
    rule(
        f"{_SERVICE}.type != 'LoadBalancer' || {_BEFORE}.type != 'LoadBalancer'"
        f" || {_SERVICE}.loadBalancerClass == {_BEFORE}.loadBalancerClass",
        "loadBalancerClass cannot be changed while the type is LoadBalancer: change the type first",
        field_path=".balancing.service.loadBalancerClass",
    ),
)
"""Rules of the whole spec: the first needs the trusted networks, and an object with a default cannot have its own."""


def check_clients_are_seen(balancing: Balancing, trusted_networks: Collection[str]) -> None:
    """Refuse a Service that would make everybody look like a node of the cluster, where that is enough to relay.

    Raises:
        ValueError: it would; the message says what to do instead.
    """
    service = balancing.service
    outside = service.type is not ServiceType.CLUSTER_IP
    hidden = outside and service.external_traffic_policy is ExternalTrafficPolicy.CLUSTER
    if hidden and trusted_networks and not balancing.accept_proxy_protocol:
        raise ValueError(_HIDDEN_CLIENTS)
