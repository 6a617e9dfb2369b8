"""``spec.submission``: who may hand in mail, and how."""

from enum import StrEnum

from pydantic import Field

from smtpfleet.api.sender_domains import SenderDomain
from smtpfleet.api.values import ApiModel, Bandwidth, HostName, SecretName, Size, TrustedNetwork


class TlsMode(StrEnum):
    """Whether clients may, or must, submit under TLS."""

    NONE = "None"
    OPTIONAL = "Optional"
    REQUIRED = "Required"


class Tls(ApiModel):
    """TLS of submission."""

    mode: TlsMode = Field(
        default=TlsMode.OPTIONAL,
        description="Optional: STARTTLS on ports 25 and 587, TLS from the first byte on port 465. Required: the same,"
        " and no mail without TLS. None: no TLS, no port 465.",
    )
    secret_name: SecretName = Field(
        default="",
        description="Secret of the type kubernetes.io/tls in the pool's namespace; changes are live."
        " Empty: the operator makes a self-signed certificate, <pool>-tls, and renews it in time.",
    )


class Authentication(ApiModel):
    """Users of submission."""

    secret_name: SecretName = Field(
        default="",
        description="Secret in the pool's namespace with one key a user; the value is a password or its hash (scrypt,"
        " bcrypt, SCRAM-SHA-256); changes are live. Users log in under TLS from any network, and port 587 is never"
        " without TLS then. Empty: no users.",
    )


class Submission(ApiModel):
    """Who may hand in mail, and how."""

    hostname: HostName = Field(
        default="",
        description="Public name of the pool: banner and HELO name. Empty: <pool>.<namespace>.svc.",
    )
    trusted_networks: tuple[TrustedNetwork, ...] = Field(
        default=(),
        max_length=64,
        description="Networks (CIDR) whose hosts may relay without a password."
        " Narrower than /8 (IPv4) or /16 (IPv6).",
    )
    message_size_limit: Size = Field(
        default="25Mi", description="Largest message accepted, as RFC 1870 SIZE counts it."
    )
    tls: Tls = Field(default_factory=Tls, description="TLS of submission.")
    authentication: Authentication = Field(
        default_factory=Authentication, description="Users who may hand in mail with a password."
    )
    allowed_sender_domains: tuple[SenderDomain, ...] = Field(
        default=(),
        max_length=128,
        description="Domains of envelope senders that are taken, from everybody: example.com for itself, .example.com"
        " for all domains below it. Bounces (the empty sender) always are. Empty: any sender of a permitted client.",
    )
    max_connections_per_client: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="Connections that one client address (IPv6: one /64 network) may have open at a time, for the"
        " whole pool. 0: no limit.",
    )
    max_bandwidth_per_client: Bandwidth = Field(
        default="8Mi",
        description="Bytes a second that the sessions of one client address (IPv6: one /64 network) may send together"
        " through one HAProxy, of which a balancer has two, on average over two seconds; what comes faster waits."
        " 1Mi to 100Mi. 0: no limit.",
    )
