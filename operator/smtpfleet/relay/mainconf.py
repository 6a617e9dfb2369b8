"""Postfix's main.cf and master.cf as text: a pure function of routing table, relay and phase.

Guarantees: equal input gives equal text; every parameter that decides who may relay is here and cannot be set
from ``relay.postfix``; no client is trusted but those of ``trustedNetworks``, not even the pod's own loopback;
nothing that a hand-off or a freeze once set outlives the next rendering.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final, assert_never

from smtpfleet.api.delivery import DeliveryTls
from smtpfleet.api.names import HAND_OFF_PORT, probe_user
from smtpfleet.api.probes import canary_clients
from smtpfleet.api.routing import RoutingTable
from smtpfleet.relay import canaryconf, handoffconf, senders, sessionconf, tlsconf
from smtpfleet.relay.nexthop import Credentials, NextHop, service
from smtpfleet.relay.services import DELIVERY_SERVICES, HEADER, master_cf, rehearsal_master_cf
from smtpfleet.relay.settings import Paths
from smtpfleet.relay.tlsconf import CLIENT_PORTS
from smtpfleet.relay.users import conf
from smtpfleet.relay.ways import BY_MX_ALONE, Ways
from smtpfleet.relay.ways import parameters as deliver

MAIL_OWNER: Final = "postfix"
PORTS: Final = (*CLIENT_PORTS, HAND_OFF_PORT)
"""Every port by which mail comes in."""
REHEARSAL_SERVICE: Final = "smtp-rehearsal"
REHEARSAL_RECIPIENT: Final = "next-hop@example.invalid"
"""Mail to it goes by the service above; all other mail of a rehearsal by the plain one."""
_REHEARSED: Final = NextHop("localhost", 1, DeliveryTls.VERIFIED, "rehearsal")
_FROZEN_LIFETIME_S: Final = 100 * 86400
"""While deliveries are frozen no message may be given up for its age."""


class Phase(StrEnum):
    """What Postfix does with mail: take and deliver it, only deliver it, or neither (right before its end)."""

    OPEN = "open"
    CLOSED = "closed"
    FROZEN = "frozen"


@dataclass(frozen=True, slots=True)
class Configuration:
    """The two files of a config_directory."""

    main_cf: str
    master_cf: str


@dataclass(frozen=True, slots=True)
class Host:
    """What this relay is called and how it reaches the network.

    Attributes:
        name: unique in the cluster; Received headers carry it, and loops are found by it.
        protocols: of Postfix's inet_protocols: ``ipv4``, ``ipv6``.
    """

    name: str
    protocols: tuple[str, ...]
    paths: Paths


def render(
    table: RoutingTable,
    host: Host,
    phase: Phase,
    *,
    chain: Path | None = None,
    scram: bool = False,
    ways: Ways = BY_MX_ALONE,
    milters: Sequence[str] = (),
    door: handoffconf.Identity | None = None,
) -> Configuration:
    """The configuration of one relay in one phase.

    Args:
        chain: file with key and certificate, if there is one.
        scram: whether every user can log in by SCRAM.
        ways: where mail goes; by MX, if nothing else is said.
        milters: what signs the mail of clients.
        door: by which certificate siblings may hand over their queues here; None: they may not.
    """
    sets = owned(table, host, phase, chain=chain, scram=scram, ways=ways)
    parameters = overridable(table) | table.postfix | sets
    if has_users(table):
        parameters = conf.with_door(parameters, host.paths)
    return Configuration(
        main_cf=_main_cf(parameters),
        master_cf=master_cf(
            size_limit_bytes=table.submission.message_size_limit_bytes,
            any_family=bool(table.balancing.proxy_protocol_sources),
            users=has_users(table),
            milters=milters,
            implicit_options=_pool_options(table, host, chain),
            hand_off=handoffconf.listener(door, minfree_bytes=2 * minfree_bytes(table)) if door else (),
            services=ways.services,
        ),
    )


def probing_user(table: RoutingTable) -> str:
    """The user that probes are; empty: they do not log in."""
    return probe_user(table.pool) if has_users(table) and table.submission.probe_secret_name else ""


def has_users(table: RoutingTable) -> bool:
    """Whether somebody may log in to this pool."""
    return bool(table.submission.authentication.secret_name)


def _pool_options(table: RoutingTable, host: Host, chain: Path | None) -> tuple[str, ...]:
    if has_users(table) or not table.submission.pools:
        return ()
    return conf.pool_options(
        conf.relay_restrictions(users=True), _sender_restrictions(table, host, chain, users=True)
    )


def _sender_restrictions(table: RoutingTable, host: Host, chain: Path | None, *, users: bool) -> str:
    return tlsconf.refusal(table.submission.tls, chain) or _restrictions(
        _policy(host.paths),
        senders.restriction(
            (*table.submission.allowed_sender_domains, *table.submission.unicode_sender_domains)
        ),
        # Last: it counts messages.
        conf.sender_restriction(users=users),
    )


def _main_cf(parameters: Mapping[str, str]) -> str:
    return HEADER + "".join(f"{name} = {value}".rstrip() + "\n" for name, value in parameters.items())


def render_rehearsal(
    table: RoutingTable, host: Host, *, queue: Path, data: Path, login: Path
) -> Configuration:
    """The same for a Postfix that tries the parameters in a closed room.

    It has no port, a queue of its own, and cannot send: no route is in it, its next hops refuse connections, and its
    SMTP clients are bound to the loopback address, whatever a parameter of the user wants. A client with everything
    that a next hop may have is tried as well as the plain one. ``login``: a texthash map.
    """
    parameters = overridable(table) | table.postfix | owned(table, host, Phase.OPEN)
    full = replace(service(_REHEARSED, Credentials(login)), name=REHEARSAL_SERVICE)
    closed = {
        "queue_directory": str(queue),
        "data_directory": str(data),
        # Of its own, so that its complaints are its own.
        "maillog_file": "/dev/stdout",
        "inet_protocols": "ipv4",
        "mynetworks": "127.0.0.0/8",
        "smtpd_upstream_proxy_protocol": "",
        "smtpd_tls_security_level": "none",
        "smtpd_sasl_auth_enable": "no",
        "smtpd_relay_restrictions": "permit_mynetworks, reject",
        "smtpd_sender_restrictions": "",
        "message_size_limit": "65536",
        "queue_minfree": "0",
        "default_transport": "smtp:[127.0.0.1]:1",
        "transport_maps": f"inline:{{{{{REHEARSAL_RECIPIENT} = {REHEARSAL_SERVICE}:[127.0.0.1]:1}}}}",
        "smtp_fallback_relay": "",
        "smtp_bind_address": "127.0.0.1",
        "smtp_bind_address6": "::1",
    }
    return Configuration(main_cf=_main_cf(parameters | closed), master_cf=rehearsal_master_cf(full))


def overridable(table: RoutingTable) -> dict[str, str]:
    """Our defaults that ``relay.postfix`` may change."""
    return {
        "myorigin": table.hostname,
        "smtpd_banner": f"{table.hostname} ESMTP",
        "smtputf8_enable": "yes",
        "biff": "no",
        "disable_vrfy_command": "yes",
        # Messages pass as they came: headers of clients are never rewritten or added to.
        "local_header_rewrite_clients": "",
        "append_dot_mydomain": "no",
        # Undeliverable bounces end here instead of becoming mail to a postmaster who may not exist.
        "notify_classes": "",
        "smtpd_peername_lookup": "no",
        "smtp_tls_security_level": "may",
        # Where TLS is required; opportunistic TLS is better than none in any version.
        "smtp_tls_mandatory_protocols": ">=TLSv1.2",
        # Names of Services (relay.mail.svc) need the pod's search list, which DNS alone does not use.
        "smtp_host_lookup": "dns, native",
        # A next hop that was away for a moment is tried again soon; retries of older mail stay rare.
        "minimal_backoff_time": "60s",
        "queue_run_delay": "60s",
        # A daemon that crashed is started again soon, not after Postfix's 60 s.
        "service_throttle_time": "1s",
        # The DKIM signer is in the same pod: one that hangs is found out, and the client tries another relay.
        "milter_connect_timeout": "5s",
        "milter_command_timeout": "10s",
        "milter_content_timeout": "60s",
    } | sessionconf.OVERRIDABLE


def owned(
    table: RoutingTable,
    host: Host,
    phase: Phase,
    *,
    chain: Path | None = None,
    scram: bool = False,
    ways: Ways = BY_MX_ALONE,
) -> dict[str, str]:
    """What only the operator sets; every name is one of :mod:`smtpfleet.api.postfix_parameters`."""
    size_bytes, users = table.submission.message_size_limit_bytes, has_users(table)
    return (
        {
            "compatibility_level": "3.9",
            "queue_directory": str(host.paths.queue),
            "data_directory": str(host.paths.data),
            "mail_owner": MAIL_OWNER,
            # By syslog, to the agent: why, says smtpfleet.relay.logpump.
            "maillog_file": "",
            # Quoted where it needs quotes: in another form an address can look like the rest of its line.
            "info_log_address_format": "external",
            "enable_long_queue_ids": "yes",
            "authorized_submit_users": "root",
            "myhostname": host.name,
            "smtp_helo_name": table.hostname,
            "inet_interfaces": "all",
            "inet_protocols": ", ".join(host.protocols),
            # No mail is for this machine.
            "mydestination": "",
            "local_transport": "error:5.1.1 this relay has no mailboxes",
            "local_recipient_maps": "",
            "alias_maps": "",
            "alias_database": "",
            "relay_domains": "",
            "virtual_alias_domains": "",
            "virtual_alias_maps": "",
            # Who may relay: the client that the balancer names, if it is in a trusted network, and users; nobody else.
            "mynetworks": " ".join(map(_network, table.submission.trusted_networks)),
            "smtpd_relay_restrictions": conf.relay_restrictions(users=users, probe=probing_user(table)),
            "smtpd_restriction_classes": canaryconf.CLASS,
            canaryconf.CLASS: canaryconf.clients(canary_clients(table.submission.trusted_networks)),
            "smtpd_upstream_proxy_protocol": "haproxy",
            "smtpd_upstream_proxy_timeout": "5s",
            # Not delayed to RCPT: the agent is asked once a message, and a session it ends has lost nothing.
            "smtpd_delay_reject": "no",
            "smtpd_sender_restrictions": _sender_restrictions(table, host, chain, users=users),
            "message_size_limit": str(_queue_file_bytes(size_bytes)),
            "queue_minfree": str(minfree_bytes(table)),
            # Only services that name a milter have one (master.cf); what it cannot sign is refused for now.
            "smtpd_milters": "",
            "non_smtpd_milters": "",
            "milter_default_action": "tempfail",
        }
        | deliver(ways, canaryconf.route(host.paths))
        | sessionconf.OWNED
        | tlsconf.parameters(table.submission.tls, chain)
        | conf.parameters(
            host.paths,
            users=users,
            scram=scram,
            pools=bool(table.submission.pools),
            probe=probing_user(table),
        )
        | _by_phase(phase, table, chain, ways)
    )


def open_ports(table: RoutingTable, chain: Path | None) -> tuple[int, ...]:
    """Ports that listen while the relay takes mail."""
    return tlsconf.open_ports(chain, users=has_users(table))


def minfree_bytes(table: RoutingTable) -> int:
    """Room below which MAIL FROM gets 452: postconf(5) asks for 1.5 times the size limit."""
    return table.submission.message_size_limit_bytes * 3 // 2 + 1


def _by_phase(phase: Phase, table: RoutingTable, chain: Path | None, ways: Ways) -> dict[str, str]:
    lifetime_s, deferred = table.delivery.queue_lifetime_s, ""
    closed: tuple[int, ...] = PORTS
    match phase:
        case Phase.OPEN:
            closed = tuple(port for port in CLIENT_PORTS if port not in open_ports(table, chain))
        case Phase.CLOSED:
            pass
        case Phase.FROZEN:
            names = (*DELIVERY_SERVICES, *(service.name for service in ways.services))
            deferred, lifetime_s = " ".join(names), _FROZEN_LIFETIME_S
        case _:
            assert_never(phase)
    disabled = " ".join(f"{port}.inet" for port in closed)
    return {
        "maximal_queue_lifetime": f"{lifetime_s}s",
        "bounce_queue_lifetime": f"{lifetime_s}s",
        "master_service_disable": disabled,
        "defer_transports": deferred,
    }


def _network(cidr: str) -> str:
    """A network as postconf(5) wants it: IPv6 addresses in brackets."""
    address, _, length = cidr.partition("/")
    return f"[{address}]/{length}" if ":" in address else cidr


def _restrictions(*entries: str) -> str:
    return ", ".join(entry for entry in entries if entry)


def _policy(paths: Paths) -> str:
    """Mail goes on when the agent does not answer: it only ever speeds sessions out."""
    options = "timeout=1s, try_limit=1, default_action=DUNNO"
    return f"check_policy_service {{ unix:{paths.policy_socket}, {options} }}"


def _queue_file_bytes(size_limit_bytes: int) -> int:
    """Room for a message of the largest size as a queue file.

    Outside smtpd, message_size_limit bounds the file with its envelope and record headers (cleanup sets it as file
    size limit): up to a byte for each 128 of text, and a thousand recipients of at most a kilobyte each.
    """
    return size_limit_bytes + size_limit_bytes // 64 + 2 * 2**20
