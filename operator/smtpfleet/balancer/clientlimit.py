"""``submission.maxConnectionsPerClient``: connections of one client, counted over all HAProxys of a pool.

Each HAProxy counts in a table of its own and tells the others by HAProxy's peers protocol; a new connection is
compared with the sum. HAProxy does not take ``conn_cur`` from peers (since 2.5), so what is told is: gpt0, the
connections that a client had open when it opened the last one, and gpc0, those closed since then. Absolute numbers, so
a HAProxy that was started anew corrects what the others remember of the one before with the client's next connection.

Guarantees: what is not known counts as nothing, so a balancer that is new, alone or cannot be reached makes the limit
looser, never tighter; what a dead HAProxy left behind is forgotten after :data:`FORGET`; a refused connection
reaches no relay, is told to nobody, and does not count; pools without a limit have none of this.
"""

from collections.abc import Iterator
from typing import Final

from smtpfleet.api.names import HAPROXY_HEALTH_PORTS, HEALTH_PORT_VARIABLE, PEER_PORTS, SUBMISSIONS_PORT
from smtpfleet.api.routing import BalancerPeer, RoutingTable
from smtpfleet.balancer.bandwidth import CLIENT, CLIENTS
from smtpfleet.balancer.place import Place

FORGET: Final = "10m"
"""A session without news for so long counts only where it is open."""
_PEERS: Final = "balancers"
HEAD: Final = f"peers {_PEERS}"
SCRIPT: Final = """\
-- Answers a client that has too many connections.
core.register_service("refuse", "tcp", function(applet)
  applet:send("421 4.7.0 Too many connections from your address, try again later\\r\\n")
end)
"""
"""What HAProxy loads with ``lua-load``."""


def limited(table: RoutingTable) -> bool:
    """Whether connections are counted."""
    return table.submission.max_connections_per_client > 0


def settings(place: Place) -> tuple[str, ...]:
    """Lines of the section ``global``. Both HAProxys of a pod load one file: the environment tells each who it is."""
    return (f'localpeer "{_name(place.pod, f"${{{HEALTH_PORT_VARIABLE}}}")}"',)


def members(table: RoutingTable, place: Place) -> tuple[str, ...]:
    """Lines of the section :data:`HEAD`: the peers, each with its table."""
    found = [(pod, name) for pod in _pods(table, place) for name in HAPROXY_HEALTH_PORTS]
    stored = f"type ipv6 size {CLIENTS} expire {FORGET} store conn_cur,gpt0,gpc0"
    return (
        *(f"peer {_member(pod, name)} {_address(pod)}:{PEER_PORTS[name]}" for pod, name in found),
        *(f"table {_member(pod, name)} {stored}" for pod, name in found),
    )


def rules(table: RoutingTable, place: Place) -> tuple[str, ...]:
    """Lines of the frontend."""
    mine = _table(_name(place.pod, f"${{{HEALTH_PORT_VARIABLE}}}"))
    limit = table.submission.max_connections_per_client
    others = [pod for pod in _pods(table, place) if pod.name != place.pod]
    here = BalancerPeer(name=place.pod, address=place.address)
    one, two = HAPROXY_HEALTH_PORTS
    return (
        "no option dontlognull",
        # Evaluated when a session ends, whoever ends it; the line itself is below the level of the log.
        'log-format "%B %[sc0_inc_gpc0]"',
        f'tcp-request session set-var(sess.open) "{CLIENT},table_conn_cur({mine})"',
        f'.if streq("${{{HEALTH_PORT_VARIABLE}}}","{HAPROXY_HEALTH_PORTS[one]}")',
        *_add(_member(here, two)),
        ".else",
        *_add(_member(here, one)),
        ".endif",
        *(line for pod in others for name in HAPROXY_HEALTH_PORTS for line in _add(_member(pod, name))),
        f"acl too_many var(sess.open) -m int ge {limit}",
        f'tcp-request session track-sc0 {CLIENT} table "{mine}" unless too_many',
        "tcp-request session sc-set-gpt0(0) sc0_conn_cur unless too_many",
        "tcp-request session set-var(sess.closed) sc0_clr_gpc0 unless too_many",
        # Who begins with TLS would not understand an answer in clear.
        f"tcp-request content reject if too_many {{ dst_port {SUBMISSIONS_PORT} }}",
        "tcp-request content use-service lua.refuse if too_many",
    )


def _add(member: str) -> Iterator[str]:
    yield f"tcp-request session set-var(sess.closed) {CLIENT},table_gpc0({_table(member)})"
    yield (
        f"tcp-request session set-var(sess.open)"
        f" {CLIENT},table_gpt0({_table(member)}),sub(sess.closed),add(sess.open)"
    )


def _pods(table: RoutingTable, place: Place) -> list[BalancerPeer]:
    """The balancers of the table, and this one, which may be so new that the table does not list it yet."""
    known = {peer.name: peer for peer in table.balancing.peers}
    known[place.pod] = BalancerPeer(name=place.pod, address=place.address)
    return [known[name] for name in sorted(known)]


def _member(pod: BalancerPeer, haproxy: str) -> str:
    return _name(pod.name, str(HAPROXY_HEALTH_PORTS[haproxy]))


def _name(pod: str, number: str) -> str:
    return f"{pod}.{number}"


def _table(member: str) -> str:
    return f"{_PEERS}/{member}"


def _address(pod: BalancerPeer) -> str:
    return f"[{pod.address}]" if ":" in pod.address else pod.address
