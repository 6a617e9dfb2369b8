"""The PROXY protocol, version 2, as a balancer sends it: needed to hand in mail to a relay without a balancer.

Layout: "The PROXY protocol", section 2.2 (haproxy.org/download/3.0/doc/proxy-protocol.txt).
"""

from ipaddress import ip_address

from mailcheck.errors import MailcheckError

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_VERSION_2_PROXY = 0x21
_TCP_OVER = {4: 0x11, 6: 0x21}


def encode_proxy_header(source: tuple[str, int], destination: tuple[str, int]) -> bytes:
    """The binary header for one TCP connection.

    Raises MailcheckError for what is no address, and for addresses of different families.
    """
    try:
        from_address, to_address = ip_address(source[0]), ip_address(destination[0])
    except ValueError as error:
        raise MailcheckError(f"cannot make a PROXY header: {error}") from error
    if from_address.version != to_address.version:
        raise MailcheckError(f"{source[0]} and {destination[0]} are of different address families")
    addresses = from_address.packed + to_address.packed
    ports = source[1].to_bytes(2, "big") + destination[1].to_bytes(2, "big")
    body = addresses + ports
    head = bytes((_VERSION_2_PROXY, _TCP_OVER[from_address.version]))
    return _SIGNATURE + head + len(body).to_bytes(2, "big") + body
