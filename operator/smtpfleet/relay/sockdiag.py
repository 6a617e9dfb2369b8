"""TCP sockets of this network namespace, asked of the kernel by netlink (sock_diag(7), as ``ss`` does).

/proc/net/tcp says the same, and costs the kernel as much time as its table of connections is long, which grows with the
memory of the machine, whatever the number of connections. Netlink goes through the same table, at a small part of that
(``python -m bench queuefacts`` measures both).
"""

import os
import socket
import struct
from collections.abc import Iterable, Iterator
from typing import Final

# linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h
_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_NLM_F_REQUEST: Final = 0x001
_NLM_F_DUMP: Final = 0x300
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_HEADER: Final = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_REQUEST: Final = struct.Struct("=BBBxI48x")  # family, protocol, extensions, states; inet_diag_sockid: any
_SOCKET: Final = struct.Struct("!xBxxH")  # inet_diag_msg: state, and the local port, which begins its sockid
_ERRNO: Final = struct.Struct("=i")
_LARGEST: Final = 1 << 16
"""The kernel sends at most half of it at a time."""


def tcp_sockets(family: socket.AddressFamily, states: Iterable[int]) -> Iterator[tuple[int, int]]:
    """State and local port of each socket in one of these states (net/tcp_states.h), listening ones included.

    Raises:
        OSError: the kernel has no sock_diag, or does not let us ask.
    """
    wanted = sum(1 << state for state in states)
    request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, wanted)
    header = _HEADER.pack(
        _HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST | _NLM_F_DUMP, 0, 0
    )
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
        kernel.send(header + request)
        over = False
        while not over:
            found, over = messages(kernel.recv(_LARGEST))
            yield from found


def messages(data: bytes) -> tuple[list[tuple[int, int]], bool]:
    """What one datagram says: state and local port of sockets, and whether it is the last.

    Raises:
        OSError: the kernel could not answer; the end of an answer says so as well.
    """
    found: list[tuple[int, int]] = []
    at = 0
    while at < len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        body = at + _HEADER.size
        if kind in {_NLMSG_ERROR, _NLMSG_DONE}:
            (number,) = _ERRNO.unpack_from(data, body)
            if number < 0:
                raise OSError(-number, os.strerror(-number))
            return found, True
        found.append(_SOCKET.unpack_from(data, body))
        at += (length + 3) & ~3
    return found, False
