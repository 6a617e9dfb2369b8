"""``spec.delivery``: where mail goes, under which protection, and with how many connections."""

import re
from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from smtpfleet.api.values import ApiModel, HostName, Period, SecretName, matching, rule, rules

DEFAULT_PORT: Final = 587
IMPLICIT_TLS_PORT: Final = 465
"""RFC 8314: here TLS begins with the first byte."""
MAX_ROUTES: Final = 64
_LABEL: Final = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_DOMAIN: Final = f"[.]?{_LABEL}([.]{_LABEL})*"
_ADDRESS: Final = "[0-9.]+"
_NO_DOMAIN: Final = (
    "not a mail domain: write lower-case letters, digits, hyphens and dots, such as partner.example, or"
    " .partner.example for every domain below it; an internationalised domain in its ASCII form (xn--...)"
)
_IN_CLEAR: Final = (
    "credentials never travel without TLS: write tls: Required or Verified, or take secretName out"
)
_NO_NAME: Final = (
    "Verified compares the certificate with the host's name: write the name that is in the certificate"
    " as host, not an address"
)
_IMPLICIT: Final = "port 465 begins with TLS: write tls: Required or Verified"
_ONE_DOMAIN: Final = "a route is for recipients or for senders: write either domain or senderDomain"
_NEEDS_HOST: Final = (
    "a route without host goes to the MX of the recipient, on port 25 and without credentials:"
    " write host, or take port and secretName out"
)
_MX_VERIFIED: Final = (
    "by MX there is no name to verify, for DNS could name any host: write host, or tls: Required"
)
_ORDER: Final = (
    "routes by senderDomain must stand after all routes by domain: Postfix looks at the recipient first,"
    " and the list is to be read as it works"
)
_POOL_ALONE: Final = "a pool brings its own host, port, TLS and credentials: write pool alone, or take it out"
_POOL_NAME: Final = "[a-z]([a-z0-9-]{0,38}[a-z0-9])?"
_NO_POOL: Final = (
    "not a name of a pool: write at most 40 lower-case letters, digits and hyphens, beginning with a letter"
)
_UNREACHED: Final = (
    "an earlier route has the same domain, so this one would never be used: take one of them out"
)


class DeliveryTls(StrEnum):
    """Whether mail to a server goes under TLS, and whether the server must prove its name."""

    NONE = "None"
    OPTIONAL = "Optional"
    REQUIRED = "Required"
    VERIFIED = "Verified"


_MANDATORY: Final = frozenset({DeliveryTls.REQUIRED, DeliveryTls.VERIFIED})
_TLS_DESCRIPTION: Final = (
    "Optional: TLS if the server offers it. Required: no mail without TLS, whoever the server is. Verified: the same,"
    " and the certificate must be for the host's name, of an authority of the system or of ca.crt in the Secret."
    " None: no TLS."
)
_CREDENTIALS_DESCRIPTION: Final = (
    "Secret in the pool's namespace with username and password (type kubernetes.io/basic-auth, or any), and perhaps"
    " ca.crt; needs tls Required or Verified. Changes are live; while it is missing or broken, mail waits."
)

MailDomain = Annotated[str, *matching(_DOMAIN, _NO_DOMAIN, longest=253, optional=True)]
"""A domain of mail addresses in ASCII, or with a leading dot every domain below it, or empty."""

PoolName = Annotated[str, *matching(_POOL_NAME, _NO_POOL, longest=40, optional=True)]
"""Name of an SmtpPool in the pool's namespace, or empty."""

_SERVER_RULES: Final = (
    rule("self.secretName == '' || self.tls in ['Required', 'Verified']", _IN_CLEAR, field_path=".tls"),
    rule(f"self.tls != 'Verified' || !self.host.matches('^{_ADDRESS}$')", _NO_NAME, field_path=".host"),
    rule(
        f"!has(self.port) || self.port != {IMPLICIT_TLS_PORT} || self.tls in ['Required', 'Verified']",
        _IMPLICIT,
        field_path=".tls",
    ),
)
_SMARTHOST_RULES: Final = rules(*_SERVER_RULES)
_ROUTE_RULES: Final = rules(
    *_SERVER_RULES,
    rule("(self.domain == '') != (self.senderDomain == '')", _ONE_DOMAIN),
    rule("self.host != '' || (!has(self.port) && self.secretName == '')", _NEEDS_HOST),
    rule("self.host != '' || self.tls != 'Verified'", _MX_VERIFIED, field_path=".tls"),
    rule(
        "self.pool == '' || (self.host == '' && !has(self.port) && self.secretName == '' && self.tls == 'Optional')",
        _POOL_ALONE,
        field_path=".pool",
    ),
)
_ROUTES_RULES: Final = rules(
    rule("self.map(r, r.domain == '').isSorted()", _ORDER),
    rule(
        "self.all(r, self.exists_one(o, o.domain == r.domain && o.senderDomain == r.senderDomain))",
        _UNREACHED,
    ),
)


def _check_server(host: str, port: int, tls: DeliveryTls, secret_name: str) -> None:
    if secret_name and tls not in _MANDATORY:
        raise ValueError(_IN_CLEAR)
    if tls is DeliveryTls.VERIFIED and re.fullmatch(_ADDRESS, host):
        raise ValueError(_NO_NAME)
    if port == IMPLICIT_TLS_PORT and tls not in _MANDATORY:
        raise ValueError(_IMPLICIT)


class Smarthost(ApiModel):
    """A server that takes all mail of the pool."""

    model_config = ApiModel.model_config | {"json_schema_extra": _SMARTHOST_RULES}

    host: HostName = Field(
        min_length=1, description="Name or IPv4 address; its A record is used, never its MX."
    )
    port: int = Field(
        default=DEFAULT_PORT,
        ge=1,
        le=65535,
        description="TCP port. On 465 TLS begins with the first byte, elsewhere with STARTTLS.",
    )
    tls: DeliveryTls = Field(default=DeliveryTls.OPTIONAL, description=_TLS_DESCRIPTION)
    secret_name: SecretName = Field(default="", description=_CREDENTIALS_DESCRIPTION)

    @model_validator(mode="after")
    def _works(self) -> Self:
        _check_server(self.host, self.port, self.tls, self.secret_name)
        return self


class Route(ApiModel):
    """An exception, for the mail to or from a domain."""

    model_config = ApiModel.model_config | {"json_schema_extra": _ROUTE_RULES}

    domain: MailDomain = Field(
        default="",
        description="Mail to this domain takes the route; .partner.example means every domain below partner.example,"
        " and not that domain itself.",
    )
    sender_domain: MailDomain = Field(
        default="", description="The same by the domain of the envelope sender. Such routes stand last."
    )
    host: HostName = Field(
        default="",
        description="Name or IPv4 address; its A record is used, never its MX. Empty: the MX of the recipient.",
    )
    port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="TCP port of the host, 587 if nothing is written. On 465 TLS begins with the first byte.",
    )
    tls: DeliveryTls = Field(default=DeliveryTls.OPTIONAL, description=_TLS_DESCRIPTION)
    secret_name: SecretName = Field(default="", description=_CREDENTIALS_DESCRIPTION)
    pool: PoolName = Field(
        default="",
        description="SmtpPool in the same namespace that takes the mail instead of a host. The operator gives this"
        " pool a login there. While there is no such pool, or it takes no TLS, mail waits.",
    )

    @model_validator(mode="after")
    def _works(self) -> Self:
        if bool(self.domain) is bool(self.sender_domain):
            raise ValueError(_ONE_DOMAIN)
        if self.pool and (self.host or self.port or self.secret_name or self.tls is not DeliveryTls.OPTIONAL):
            raise ValueError(_POOL_ALONE)
        if not self.host and (self.port is not None or self.secret_name):
            raise ValueError(_NEEDS_HOST)
        if not self.host and self.tls is DeliveryTls.VERIFIED:
            raise ValueError(_MX_VERIFIED)
        _check_server(self.host, self.port or DEFAULT_PORT, self.tls, self.secret_name)
        return self


class Delivery(ApiModel):
    """Where mail goes."""

    smarthost: Smarthost | None = Field(
        default=None, description="Server that takes all mail. None: the MX of each recipient."
    )
    routes: tuple[Route, ...] = Field(
        default=(),
        max_length=MAX_ROUTES,
        description="Exceptions by recipient domain, then by sender domain; the first that matches holds.",
        json_schema_extra=_ROUTES_RULES,
    )
    max_connections_per_destination: int = Field(
        default=20,
        ge=1,
        le=10000,
        description="Most deliveries at a time of the whole pool to one destination (a smarthost, the host of a route,"
        " or a recipient domain by MX): divided among the relays, and at least 1 for each of them.",
    )
    queue_lifetime: Period = Field(
        default="5d",
        description="How long delivery is tried before the sender gets a bounce"
        " (maximal_queue_lifetime and bounce_queue_lifetime of Postfix).",
    )

    @model_validator(mode="after")
    def _routes_are_read_as_they_work(self) -> Self:
        by_sender = [bool(route.sender_domain) for route in self.routes]
        if by_sender != sorted(by_sender):
            raise ValueError(_ORDER)
        domains = [(route.domain, route.sender_domain) for route in self.routes]
        if len(set(domains)) != len(domains):
            raise ValueError(_UNREACHED)
        return self
