"""What the kernel says about this pod's network: clients' sessions, open ports, address families.

Asked of the kernel, because Postfix does not tell how many sessions it has and a connection that no process
has accepted yet counts as well.
"""

import ipaddress
import logging
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from smtpfleet.relay import sockdiag

logger = logging.getLogger(__name__)

_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)
_TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_LISTEN: Final = 0x0A
_IN_SESSION: Final = frozenset({0x01, 0x03, 0x08})
"""ESTABLISHED, SYN_RECV (about to be), CLOSE_WAIT (the peer has closed, smtpd still works on what it sent)."""
_DOCUMENTATION: Final = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses that stand for the rest of the world (RFC 5737, RFC 3849)."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The clients' ports at one moment."""

    sessions: int
    listening: frozenset[int]


class PortReader:
    """Sessions and listeners on some local ports, again and again.

    By netlink; where the kernel or a sandbox has none, from /proc from then on: to ask again each time may make the
    kernel look for a module each time.
    """

    def __init__(self, ports: Iterable[int]) -> None:
        self._ports = frozenset(ports)
        self._by_netlink = True

    def read(self) -> Ports:
        """What there is now."""
        if self._by_netlink:
            try:
                return read_sockets(self._ports)
            except OSError as error:
                self._by_netlink = False
                logger.warning("sessions are read from /proc", extra={"reason": str(error)})
        return read_tables(self._ports)


def read_sockets(ports: Iterable[int]) -> Ports:
    """What there is, by netlink.

    Raises:
        OSError: the kernel has no sock_diag, or does not let us ask.
    """
    states = {_LISTEN, *_IN_SESSION}
    return count((one for family in _FAMILIES for one in sockdiag.tcp_sockets(family, states)), ports)


def read_tables(ports: Iterable[int]) -> Ports:
    """The same from /proc/net/tcp and tcp6."""
    return count((one for table in _TABLES if table.exists() for one in parse(table.read_text())), ports)


def parse(table: str) -> list[tuple[int, int]]:
    """State and local port of each line of /proc/net/tcp or tcp6 (proc(5): state is column 4, local address 2)."""
    lines = [line.split(maxsplit=4) for line in table.splitlines()[1:]]
    return [(int(line[3], 16), int(line[1].rpartition(":")[2], 16)) for line in lines]


def count(sockets: Iterable[tuple[int, int]], ports: Iterable[int]) -> Ports:
    """What sockets of these states and local ports are to clients."""
    wanted = frozenset(ports)
    ours = [(state, port) for state, port in sockets if port in wanted]
    return Ports(
        sessions=sum(state in _IN_SESSION for state, _ in ours),
        listening=frozenset(port for state, port in ours if state == _LISTEN),
    )


def protocols(pod_address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> tuple[str, ...]:
    """Postfix's inet_protocols: the family of the pod's address, and the other if it leads anywhere.

    With a family that leads nowhere Postfix would try unreachable addresses of every receiver first.
    """
    own = f"ipv{pod_address.version}"
    reachable = {"ipv4": _leads_out(socket.AF_INET), "ipv6": _leads_out(socket.AF_INET6)}
    return tuple(name for name, out in reachable.items() if out or name == own)


def _leads_out(family: socket.AddressFamily) -> bool:
    """Whether there is a route to the rest of the world; connecting a UDP socket sends nothing."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((_DOCUMENTATION[family], 9))
    except OSError:
        return False
    return True
