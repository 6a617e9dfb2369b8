"""``spec.submission``: who may hand in mail, and how."""

from enum import StrEnum

from pydantic import Field

from smtpfleet.api.values import ApiModel, HostName, SecretName, Size, TrustedNetwork


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
