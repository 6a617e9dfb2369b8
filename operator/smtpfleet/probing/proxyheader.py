"""The PROXY protocol's header, version 2 (haproxy.org, proxy-protocol.txt, 2.2), as the balancers send it."""

import ipaddress
import struct
from typing import Final

_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_VERSION_2_PROXY: Final = 0x21
_OVER_TCP: Final = {4: 0x11, 6: 0x21}


def proxy_header(*, client: str, client_port: int, server: str, server_port: int) -> bytes:
    """The header for a TCP connection of ``client`` to ``server``, both of one IP version.

    Raises:
        ValueError: no addresses, or of different versions.
    """
    source, destination = ipaddress.ip_address(client), ipaddress.ip_address(server)
    if source.version != destination.version:
        raise ValueError(f"{client} and {server} are of different IP versions")
    addresses = source.packed + destination.packed + struct.pack("!HH", client_port, server_port)
    return (
        _SIGNATURE
        + struct.pack("!BBH", _VERSION_2_PROXY, _OVER_TCP[source.version], len(addresses))
        + addresses
    )
