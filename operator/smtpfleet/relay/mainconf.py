"""Postfix's main.cf and master.cf as text: a pure function of routing table, relay and phase.

Guarantees: equal input gives equal text; every parameter that decides who may relay is here and cannot be set
from ``relay.postfix``; no client is trusted but those of ``trustedNetworks``, not even the pod's own loopback;
nothing that a hand-off or a freeze once set outlives the next rendering.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, assert_never

from smtpfleet.api.delivery import Smarthost
from smtpfleet.api.routing import RoutingTable
from smtpfleet.relay import tlsconf
from smtpfleet.relay.services import DELIVERY_SERVICES, HEADER, master_cf, rehearsal_master_cf
from smtpfleet.relay.settings import Paths
from smtpfleet.relay.tlsconf import CLIENT_PORTS

MAIL_OWNER: Final = "postfix"
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
    milters: Sequence[str] = (),
) -> Configuration:
    """The configuration of one relay in one phase.

    ``chain``: file with key and certificate, if there is one; ``milters``: what signs the mail of clients.
    """
    parameters = overridable(table) | table.postfix | owned(table, host, phase, chain=chain)
    return Configuration(
        main_cf=_main_cf(parameters),
        master_cf=master_cf(size_limit_bytes=table.submission.message_size_limit_bytes, milters=milters),
    )


def _main_cf(parameters: Mapping[str, str]) -> str:
    return HEADER + "".join(f"{name} = {value}".rstrip() + "\n" for name, value in parameters.items())


def render_rehearsal(table: RoutingTable, host: Host, *, queue: Path, data: Path) -> Configuration:
    """The same for a Postfix that tries the parameters in a closed room.

    It has no port, a queue of its own, and cannot send: its next hop refuses connections, and its SMTP client
    is bound to the loopback address, whatever a parameter of the user wants.
    """
    parameters = overridable(table) | table.postfix | owned(table, host, Phase.OPEN)
    closed = {
        "queue_directory": str(queue),
        "data_directory": str(data),
        # Of its own, so that its complaints are its own.
        "maillog_file": "/dev/stdout",
        "inet_protocols": "ipv4",
        "mynetworks": "127.0.0.0/8",
        "smtpd_upstream_proxy_protocol": "",
        "smtpd_tls_security_level": "none",
        "smtpd_sender_restrictions": "",
        "message_size_limit": "65536",
        "queue_minfree": "0",
        "relayhost": "[127.0.0.1]:1",
        "smtp_fallback_relay": "",
        "smtp_bind_address": "127.0.0.1",
        "smtp_bind_address6": "::1",
    }
    return Configuration(main_cf=_main_cf(parameters | closed), master_cf=rehearsal_master_cf())


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
    }


def owned(table: RoutingTable, host: Host, phase: Phase, *, chain: Path | None = None) -> dict[str, str]:
    """What only the operator sets; every name is one of :mod:`smtpfleet.api.postfix_parameters`."""
    size_bytes = table.submission.message_size_limit_bytes
    return (
        {
            "compatibility_level": "3.9",
            "queue_directory": str(host.paths.queue),
            "data_directory": str(host.paths.data),
            "mail_owner": MAIL_OWNER,
            # By syslog, to the agent: why, says smtpfleet.relay.logpump.
            "maillog_file": "",
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
            "transport_maps": "",
            # Who may relay: the client that the balancer names, if it is in a trusted network; nobody else.
            "mynetworks": " ".join(map(_network, table.submission.trusted_networks)),
            "smtpd_relay_restrictions": "permit_mynetworks, reject",
            "smtpd_upstream_proxy_protocol": "haproxy",
            "smtpd_upstream_proxy_timeout": "5s",
            # Not delayed to RCPT: the agent is asked once a message, and a session it ends has lost nothing.
            "smtpd_delay_reject": "no",
            "smtpd_sender_restrictions": tlsconf.refusal(table.submission.tls, chain) or _policy(host.paths),
            # Limits per client belong to the balancers, which see the whole pool.
            "smtpd_client_connection_count_limit": "0",
            # RFC 5321 line ends and command order, without exceptions: against SMTP smuggling.
            "smtpd_forbid_bare_newline": "normalize",
            "smtpd_forbid_bare_newline_exclusions": "",
            "smtpd_forbid_unauth_pipelining": "yes",
            "message_size_limit": str(_queue_file_bytes(size_bytes)),
            "queue_minfree": str(minfree_bytes(table)),
            "relayhost": _relayhost(table.delivery.smarthost),
            # Only services that name a milter have one (master.cf); what it cannot sign is refused for now.
            "smtpd_milters": "",
            "non_smtpd_milters": "",
            "milter_default_action": "tempfail",
        }
        | tlsconf.parameters(table.submission.tls, chain)
        | _by_phase(phase, table, chain)
    )


def minfree_bytes(table: RoutingTable) -> int:
    """Room below which MAIL FROM gets 452: postconf(5) asks for 1.5 times the size limit."""
    return table.submission.message_size_limit_bytes * 3 // 2 + 1


def _by_phase(phase: Phase, table: RoutingTable, chain: Path | None) -> dict[str, str]:
    lifetime_s, deferred = table.delivery.queue_lifetime_s, ""
    closed: tuple[int, ...] = CLIENT_PORTS
    match phase:
        case Phase.OPEN:
            closed = tuple(port for port in CLIENT_PORTS if port not in tlsconf.open_ports(chain))
        case Phase.CLOSED:
            pass
        case Phase.FROZEN:
            deferred, lifetime_s = " ".join(DELIVERY_SERVICES), _FROZEN_LIFETIME_S
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


def _relayhost(smarthost: Smarthost | None) -> str:
    return f"[{smarthost.host}]:{smarthost.port}" if smarthost else ""


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
