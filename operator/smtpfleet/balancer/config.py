"""HAProxy's configuration as text: a pure function of the routing table.

Guarantees: equal tables give equal text; weights are in it, so a reload or a restart of HAProxy serves as before;
whatever the relays' checks say, some relay takes the connection (``backup`` copies that nothing checks).
"""

import hashlib
import zlib
from collections.abc import Mapping
from typing import Final

from smtpfleet.api import names
from smtpfleet.api.balancing import BalancingMethod
from smtpfleet.api.routing import RouteState, RoutingTable
from smtpfleet.api.submission import TlsMode
from smtpfleet.balancer import backups, bandwidth, clientlimit, entrance, sessions
from smtpfleet.balancer.place import Place
from smtpfleet.balancer.sessions import CHECK_AGAIN_MS, CHECK_TIMEOUT_MS, CONNECT_TIMEOUT_MS

BACKEND: Final = "relays"
UNCHECKED: Final = ".unchecked"
"""Ends the name of a relay's backup copy. No relay is called so: Kubernetes would not take the name of its Service."""
SCRIPTS: Final[Mapping[str, str]] = {
    "sessions.lua": sessions.SCRIPT,
    "clientlimit.lua": clientlimit.SCRIPT,
    "backups.lua": backups.SCRIPT,
}
"""What HAProxy may load, by the name of the file in the run directory."""

_BALANCE: Final[Mapping[BalancingMethod, tuple[str, ...]]] = {
    BalancingMethod.LEAST_CONNECTIONS: ("balance leastconn",),
    BalancingMethod.ROUND_ROBIN: ("balance roundrobin",),
    BalancingMethod.RANDOM: ("balance random(2)",),
    # Consistent: weights act at run time, and a relay less moves only its own clients.
    BalancingMethod.SOURCE_ADDRESS: ("balance source", "hash-type consistent"),
}
# A connection that is refused, or gets no answer in time, is redispatched at once; where there is nowhere else to go, a
# client rather waits for some seconds than is turned away: relays that start their smtpds anew answer late.
# A dead relay is seen by its refusal, a hung one by a check without a banner, which takes it out of the rotation; its
# sessions are closed by the script after the time of a second check: inter + timeout + fastinter + timeout in all.
# The check reads the banner only: that proves that an smtpd answers and costs one wake-up, so a busy machine does not
# fail it. A full disk is seen by the relay's agent, which says so by its agent check.
_TEMPLATE: Final = """\
global
    stats socket "${{{admin_socket}}}" mode 600 level admin expose-fd listeners
    maxconn 8000
    nbthread 2
    hard-stop-after 10m
    log stdout format raw local0 notice
{settings}{peers}
defaults
    mode tcp
    log global
    option dontlognull
    option redispatch 1
    retries 30
    timeout connect {connect_ms}ms
    timeout client 310s
    timeout server 310s
    timeout check {check_ms}ms
    timeout queue 2s

frontend health
    mode http
    timeout client 5s
    bind ":${{{health_port}}}"
    monitor-uri /healthz
    http-request use-service prometheus-exporter if {{ path /metrics }}

frontend submission
{entrance}    default_backend {backend}

backend {backend}
    {balance}
    option allbackups
    option tcp-check
    tcp-check connect port {check_port}
    tcp-check expect rstring ^220
    tcp-check send "QUIT\\r\\n"
    default-server send-proxy-v2 check port {check_port} inter 200ms fastinter {again_ms}ms fall 1 rise 2
    default-server observe layer4 error-limit 3 on-error fastinter
    default-server agent-check agent-port {agent_check_port} agent-inter 250ms agent-send "${{{health_port}}}\\n"
"""
_HERE: Final = Place()


def render(table: RoutingTable, place: Place = _HERE) -> str:
    """The whole file."""
    servers = "".join(
        f"    server {server} {address} weight {weight}{_options(server)}\n"
        for (server, weight), address in zip(weights(table).items(), _addresses(table), strict=True)
    )
    return _head(table, place) + servers + backups.sections(table, place)


def structure(table: RoutingTable, place: Place = _HERE) -> str:
    """Digest of all that needs a reload when it changes: everything but the weights."""
    servers = " ".join(f"{relay.name}={relay.address}" for relay in table.relays)
    return hashlib.sha256(f"{settings(table, place)}{servers}".encode()).hexdigest()


def settings(table: RoutingTable, place: Place = _HERE) -> str:
    """All that has no part in which relays there are."""
    return _head(table, place) + backups.sections(table, place)


def weights(table: RoutingTable) -> dict[str, int]:
    """Weight of each server of the backend: the relays, then their unchecked copies.

    A copy weighs what its relay does, so that mail does not go to a relay that drains while others serve. The copy of a
    relay that is out, but does not drain, has the least weight: it is the last resort where checks fail for the others.
    If all of them drain, the copies weigh the same: a pool that is being emptied rather takes mail than refuses it.
    """
    relays = {relay.name: relay.weight for relay in table.relays}
    last = {relay.name: int(relay.state is RouteState.SERVING) for relay in table.relays}
    copies = {name: weight or last[name] for name, weight in relays.items()}
    if not any(copies.values()):
        copies = dict.fromkeys(relays, 1)
    return relays | {f"{name}{UNCHECKED}": weight for name, weight in copies.items()}


def _head(table: RoutingTable, place: Place) -> str:
    counted = clientlimit.limited(table) and bool(place.pod)
    scripts = ["sessions.lua"]
    scripts += ["clientlimit.lua"] if counted else []
    scripts += ["backups.lua"] if table.balancing.backups else []
    return _TEMPLATE.format(
        admin_socket=names.ADMIN_SOCKET_VARIABLE,
        settings=_indented(
            *(f"lua-load {names.BALANCER_RUN_DIRECTORY}/{script}" for script in scripts),
            *(clientlimit.settings(place) if counted else ()),
        ),
        peers=f"\n{clientlimit.HEAD}\n{_indented(*clientlimit.members(table, place))}" if counted else "",
        connect_ms=CONNECT_TIMEOUT_MS,
        check_ms=CHECK_TIMEOUT_MS,
        again_ms=CHECK_AGAIN_MS,
        health_port=names.HEALTH_PORT_VARIABLE,
        entrance=_indented(
            *(f"bind :{port}{entrance.bind_options(table, port)}" for port in _ports(table)),
            *entrance.rules(table),
            *(clientlimit.rules(table, place) if counted else ()),
            *bandwidth.rules(table),
            *backups.choice(table),
        ),
        check_port=names.CHECK_PORT,
        agent_check_port=names.AGENT_CHECK_PORT,
        backend=BACKEND,
        balance="\n    ".join(_BALANCE[table.method]),
    )


def _ports(table: RoutingTable) -> tuple[int, ...]:
    """TLS passes through: the relays end it, behind the PROXY header."""
    plain = (names.SMTP_PORT, names.SUBMISSION_PORT)
    return plain if table.submission.tls.mode is TlsMode.NONE else (*plain, names.SUBMISSIONS_PORT)


def _indented(*lines: str) -> str:
    return "".join(f"    {line}\n" for line in lines)


def _addresses(table: RoutingTable) -> list[str]:
    """IPv6 in brackets: without a port, HAProxy takes its last group for one. Relays first, then the copies."""
    found = [f"[{relay.address}]" if ":" in relay.address else relay.address for relay in table.relays]
    return found + found


def _options(server: str) -> str:
    if server.endswith(UNCHECKED):
        return " backup no-check no-agent-check"
    # Consistent hashing places a server by its id. By its place in the table, a relay less would move all clients.
    return f" id {1 + zlib.crc32(server.encode()) % (2**31 - 2)}"
