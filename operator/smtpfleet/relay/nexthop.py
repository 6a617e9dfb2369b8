"""A next hop as a service of Postfix's own: an SMTP client with its TLS level, certificate authorities and credentials.

One service for each combination, because Postfix finds credentials and TLS levels by the next hop's name, and two
routes may go to one provider with different accounts. The name is made of what the service is for, so a message that
was routed before a change can never meet the credentials of another server.

Guarantees: credentials are only in a service that insists on TLS, and only for that host and port; nothing that is set
in ``relay.postfix`` weakens a service with a host of its own.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from smtpfleet.api.delivery import DEFAULT_PORT, IMPLICIT_TLS_PORT, DeliveryTls, Route, Smarthost
from smtpfleet.relay.refusals import PREFIX

BY_MX: Final = "smtp"
"""The service that delivers by MX, with the TLS level of main.cf."""
SYSTEM_AUTHORITIES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
_LEVELS: Final = {
    DeliveryTls.NONE: "none",
    DeliveryTls.OPTIONAL: "may",
    DeliveryTls.REQUIRED: "encrypt",
    DeliveryTls.VERIFIED: "secure",
}
_MECHANISMS: Final = "SCRAM-SHA-512, SCRAM-SHA-256, SCRAM-SHA-1, PLAIN, LOGIN"
_SETUP_IS_WRONG: Final = (
    r"{/^5(\.[0-9.]+ .* said: 530[ -].*)$$/ 4$$1}",
    r"{/^5(\.4\.[0-9]+ (Host or domain name not found|unable to look up host).*)$$/ 4$$1}",
)
"""530 asks for TLS or credentials (RFC 3207, RFC 4954), and a host of the spec that has no address is a typo or not
there yet: the fault of the setup, so mail waits until it is mended."""
_NOT_LOGGED_IN: Final = r"{/^5(\.7\.1 .* said: 55[04][ -]5\.7\.1 .*(Relay a|: A)ccess denied.*)$$/ 4$$1}"
"""What Postfix tells who has not logged in: it offers no AUTH now, although the spec says that it does."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Files in memory with what a Secret has: ``login`` for texthash, ``authorities`` in PEM."""

    login: Path | None = None
    authorities: Path | None = None


@dataclass(frozen=True, slots=True)
class NextHop:
    """Where mail goes and how. No ``host``: to the MX of each recipient."""

    host: str = ""
    port: int = 0
    tls: DeliveryTls = DeliveryTls.OPTIONAL
    secret: str = ""

    @property
    def service(self) -> str:
        """Name of its service in master.cf: equal for equal next hops. No parameter name can contain it."""
        if self == NextHop():
            return BY_MX
        text = f"{self.host.lower()} {self.port} {self.tls} {self.secret}"
        return f"{BY_MX}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"

    @property
    def destination(self) -> str:
        """As Postfix writes a host whose MX is not asked for; empty by MX."""
        return f"[{self.host}]:{self.port}" if self.host else ""

    @property
    def transport(self) -> str:
        """What a map or ``default_transport`` says to mean it."""
        return f"{self.service}:{self.destination}"

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.host}:{self.port}" if self.host else "MX"


@dataclass(frozen=True, slots=True)
class Service:
    """A line of master.cf with its options, in ``-o``'s form; ``destination`` is what counts its connections."""

    name: str
    destination: str
    options: tuple[str, ...]
    processes: int | None = None
    """How many at a time; None: as many as Postfix allows each service."""


def next_hop(server: Smarthost | Route) -> NextHop:
    """The next hop of a smarthost or a route."""
    port = (server.port or DEFAULT_PORT) if server.host else 0
    return NextHop(host=server.host.lower(), port=port, tls=server.tls, secret=server.secret_name)


def service(hop: NextHop, credentials: Credentials) -> Service:
    """The service of a next hop."""
    options = [
        f"syslog_name={PREFIX}{hop.service}",
        f"smtp_tls_security_level={_LEVELS[hop.tls]}",
        "smtp_tls_policy_maps=",
    ]
    if hop.host:
        setup = [*_SETUP_IS_WRONG, *([_NOT_LOGGED_IN] if credentials.login else [])]
        options += [
            "smtp_fallback_relay=",
            f"{{ smtp_delivery_status_filter = regexp:{{{', '.join(setup)}}} }}",
        ]
    if hop.port == IMPLICIT_TLS_PORT:
        options.append("smtp_tls_wrappermode=yes")
    if hop.tls is DeliveryTls.VERIFIED:
        options += [
            f"smtp_tls_secure_cert_match={hop.host}",
            f"smtp_tls_CAfile={credentials.authorities or SYSTEM_AUTHORITIES}",
            "smtp_tls_CApath=",
        ]
    if credentials.login:
        options += _login(credentials.login)
    return Service(hop.service, hop.destination, tuple(options))


def _login(file: Path) -> Iterable[str]:
    return (
        "smtp_sasl_auth_enable=yes",
        f"smtp_sasl_password_maps=texthash:{file}",
        f"{{ smtp_sasl_mechanism_filter = {_MECHANISMS} }}",
        "smtp_sasl_tls_security_options=noanonymous",
        # What is said under TLS is never logged, whatever relay.postfix wants.
        "smtp_tls_loglevel=1",
        "debug_peer_list=",
        "smtp_tls_connection_reuse=no",
    )
