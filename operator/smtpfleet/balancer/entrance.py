"""Connections that come through an outer balancer, which tells the client's address by a PROXY header.

Guarantees: a header is believed only from the sources that the table lists, and everybody else is refused before a
byte of his is read; a connection from a source must begin with a header, and has five seconds for it; the port that
the header names decides nothing, for it is the outer balancer's; a header that names no client (the outer
balancer's own checks) opens a session that is in no trusted network.
"""

import ipaddress
from typing import Final

from smtpfleet.api.names import SMTP_PORT, SUBMISSION_PORT, SUBMISSIONS_PORT
from smtpfleet.api.routing import RoutingTable

HEADER_S: Final = 5
"""Time for a PROXY header, which an outer balancer sends at once."""
NOBODY: Final = "0.0.0.0"
"""An address that no client has."""
_PORTS: Final = (SMTP_PORT, SUBMISSION_PORT, SUBMISSIONS_PORT)


def expects_header(table: RoutingTable) -> bool:
    """Whether clients come through an outer balancer."""
    return bool(table.balancing.proxy_protocol_sources)


def bind_options(table: RoutingTable, port: int) -> str:
    """What is added to a ``bind``: a number by which rules know the port that was really connected to."""
    return f" id {port}" if expects_header(table) else ""


def rules(table: RoutingTable) -> tuple[str, ...]:
    """Lines of the frontend, to stand before any rule that looks at the client's address."""
    if not expects_header(table):
        return ()
    return (
        f"timeout client-hs {HEADER_S}s",
        f"acl outer_balancer src {' '.join(table.balancing.proxy_protocol_sources)}",
        "tcp-request connection reject unless outer_balancer",
        "tcp-request connection expect-proxy layer4",
        *(
            f"tcp-request session set-dst-port int({port}) if {{ so_id {port} }}"
            for port in _PORTS  # a server without a port is connected to on this one
        ),
        "tcp-request session set-var-fmt(sess.connected) %[fc_src]:%[fc_src_port]",
        "tcp-request session set-var-fmt(sess.told) %[src]:%[src_port]",
        "acl nobody_told var(sess.told),strcmp(sess.connected) eq 0",
        *_unnamed(table),
    )


def _unnamed(table: RoutingTable) -> tuple[str, ...]:
    """A session without a client: let in as nobody, for the outer balancer's checks want to see a banner."""
    nobody = ipaddress.ip_address(NOBODY)
    if any(nobody in ipaddress.ip_network(network) for network in table.submission.trusted_networks):
        return ("tcp-request session reject if nobody_told",)
    return (
        f"tcp-request session set-src ipv4({NOBODY}) if nobody_told",
        "tcp-request session accept if nobody_told",
    )
