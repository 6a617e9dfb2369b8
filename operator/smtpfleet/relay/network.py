"""What the kernel says about this pod's network: clients' sessions, open ports, address families.

Read from /proc/net, because Postfix does not tell how many sessions it has and a connection that no process
has accepted yet counts as well.
"""

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

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


def read_ports(ports: Iterable[int]) -> Ports:
    """Sessions and listeners on these local ports."""
    return parse_ports((table.read_text() for table in _TABLES if table.exists()), frozenset(ports))


def parse_ports(tables: Iterable[str], ports: frozenset[int]) -> Ports:
    """The same from the text of /proc/net/tcp and tcp6 (proc(5): local address and state are columns 2 and 4)."""
    sessions = 0
    listening: set[int] = set()
    for table in tables:
        for line in table.splitlines()[1:]:
            columns = line.split(maxsplit=4)
            port = int(columns[1].rpartition(":")[2], 16)
            if port not in ports:
                continue
            state = int(columns[3], 16)
            if state == _LISTEN:
                listening.add(port)
            elif state in _IN_SESSION:
                sessions += 1
    return Ports(sessions, frozenset(listening))


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
