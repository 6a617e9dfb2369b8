"""``submission.maxBandwidthPerClient``: how fast one client's sessions may send through one HAProxy.

Nobody is refused: HAProxy reads later from a client that is too fast, and TCP tells the client to wait. All sessions of
a client share the limit; what some leave, the others use.

Guarantees: a client gets its limit, however many idle sessions it has; sessions of other clients are not touched; a
client that the table has no room for is not limited.
"""

from typing import Final

from smtpfleet.api.routing import RoutingTable

CLIENT: Final = "src,ipmask(32,64)"
"""Whoever has one IPv6 address has the 2^64 of its network."""
CLIENTS: Final = "20k"
"""Clients that a table remembers: more than one HAProxy can have connections (maxconn), and at most some 4 MB."""
PERIOD_S: Final = 2
"""Within a period a client may catch up what it left, so a large message now and then does not wait. It has all of it
at once after a silence: the longer, the longer the burst that others notice. And HAProxy paces from the beginning of
each period: the shorter, the more ordinary messages it delays. Decision 37 has what was measured."""
_FILTER: Final = "client-bandwidth"


def rules(table: RoutingTable) -> tuple[str, ...]:
    """Lines of the frontend."""
    bytes_per_s = table.submission.max_bandwidth_per_client_bytes
    if not bytes_per_s:
        return ()
    return (
        f"stick-table type ipv6 size {CLIENTS} expire 1m store bytes_in_rate({PERIOD_S}s)",
        f"filter bwlim-in {_FILTER} key {CLIENT} limit {bytes_per_s * PERIOD_S}",
        f"tcp-request content set-bandwidth-limit {_FILTER}",
    )
