"""Whom probes claim to be: an address of a trusted network that no host has, where there is one."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpfleet.api.probes import STRANGERS, nobodys_addresses, probe_client


@pytest.mark.parametrize(
    ("trusted", "version", "client"),
    [
        (["10.0.0.0/8"], 4, "10.0.0.0"),
        (["10.0.0.0/8"], 6, ""),
        (["10.1.2.3/32", "192.168.0.0/16"], 4, "192.168.0.0"),
        (["10.1.2.3/32"], 4, "10.1.2.3"),
        (["fd00::/8", "10.0.0.0/8"], 6, "fd00::"),
        (["2001:db8::7/128", "2001:db8:1::/48"], 6, "2001:db8:1::"),
        ([], 4, ""),
    ],
)
def test_a_probe_is_a_client_of_a_trusted_network(trusted: list[str], version: int, client: str) -> None:
    assert probe_client(trusted, version) == client


def test_a_single_trusted_host_is_never_left_out_of_the_log() -> None:
    assert nobodys_addresses(["10.1.2.3/32"]) == frozenset(STRANGERS.values())
    assert nobodys_addresses(["10.0.0.0/8", "10.0.0.0/32"]) == frozenset(STRANGERS.values())
    assert "10.0.0.0" in nobodys_addresses(["10.0.0.0/8", "10.1.2.3/32"])


networks = st.integers(8, 32).flatmap(
    lambda length: st.integers(0, 2**32 - 1).map(
        lambda bits: str(ipaddress.ip_network((bits, length), strict=False))
    )
)


@given(st.lists(networks, min_size=1, max_size=5))
def test_the_client_is_always_permitted(trusted: list[str]) -> None:
    client = ipaddress.ip_address(probe_client(trusted, 4))
    assert any(client in ipaddress.ip_network(network) for network in trusted)
