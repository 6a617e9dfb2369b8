"""Turns clients away as they connect, when all they did from their address was to guess passwords.

What guessing costs a relay is not the password any more, which nobody looks at, but the TLS handshake before it. So
smtpd asks here at each connection. Guarantees: nobody of a trusted network is turned away, nor anybody from whose
address a user has logged in lately; when the agent does not answer, everybody is let in.
"""

import ipaddress
from collections.abc import Callable
from functools import lru_cache

from smtpfleet.api.routing import RoutingTable
from smtpfleet.relay.policy import GO_ON, attributes

SHUT = "421 4.7.0 Too many failed log-ins from this address, try again later"


class Door:
    """Use :meth:`answer` for each connection.

    Args:
        table: the routing table in use.
        guesses: whether nothing but failed log-ins comes from an address.
    """

    def __init__(self, table: Callable[[], RoutingTable | None], guesses: Callable[[str], bool]) -> None:
        self._table, self._guesses = table, guesses

    def answer(self, request: bytes) -> str:
        """The action for one request of smtpd's."""
        address = attributes(request, "client_address")["client_address"]
        return SHUT if self._guesses(address) and not self._is_trusted(address) else GO_ON

    def _is_trusted(self, address: str) -> bool:
        table = self._table()
        if table is None:
            return True
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in _networks(table.submission.trusted_networks))


@lru_cache(maxsize=1)
def _networks(networks: tuple[str, ...]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(map(ipaddress.ip_network, networks))
