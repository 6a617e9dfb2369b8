"""The PROXY header, byte by byte as its specification has it."""

import pytest

from smtpfleet.probing.proxyheader import proxy_header

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")


def test_ipv4() -> None:
    header = proxy_header(client="10.0.0.0", client_port=4000, server="10.244.1.7", server_port=2525)
    assert header == SIGNATURE + bytes.fromhex("2111000c 0a000000 0af40107 0fa0 09dd")


def test_ipv6() -> None:
    header = proxy_header(client="fd00::", client_port=4000, server="fd01::7", server_port=2525)
    addresses = "fd00" + "00" * 14 + "fd01" + "00" * 13 + "07"
    assert header == SIGNATURE + bytes.fromhex(f"21210024 {addresses} 0fa0 09dd")


def test_addresses_of_two_versions_make_no_header() -> None:
    with pytest.raises(ValueError, match="different IP versions"):
        proxy_header(client="10.0.0.0", client_port=1, server="fd01::7", server_port=2)
