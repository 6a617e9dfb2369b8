"""Durations, sizes, networks and host names as Python sees them; tests/cluster/test_api.py asks the API server."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from smtpfleet.api.values import (
    HostName,
    Period,
    Size,
    TrustedNetwork,
    bandwidth_bytes,
    duration_seconds,
    size_bytes,
)

NETWORK: TypeAdapter[str] = TypeAdapter(TrustedNetwork)
PERIOD: TypeAdapter[str] = TypeAdapter(Period)
SIZE: TypeAdapter[str] = TypeAdapter(Size)
HOST: TypeAdapter[str] = TypeAdapter(HostName)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30),
        ("10m", 600),
        ("5d", 432_000),
        ("1h30m", 5400),
        ("1d2h3m4s", 93_784),
        ("0s", 0),
    ],
)
def test_a_duration_is_the_sum_of_its_parts(text: str, seconds: float) -> None:
    assert duration_seconds(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "5", "s", "5 d", "5 days", "-1s", "1.5h", "1w", "5D", "10m1h", "1s1s", "\u0665s", "5s\n", "10000d"],
)
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="such as 30s, 10m or 5d"):
        duration_seconds(text)


def test_every_duration_fits_into_the_31_bits_that_postfix_has() -> None:
    assert duration_seconds("9999d99999h999999m99999999s999999999ms") < 2**31


@pytest.mark.parametrize("text", ["0s", "999ms", "0d0h", "0m1ms"])
def test_a_period_is_at_least_one_second(text: str) -> None:
    with pytest.raises(ValidationError, match="at least 1s"):
        PERIOD.validate_python(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("1000000", 10**6),
        ("1k", 1000),
        ("25Mi", 25 * 2**20),
        ("1Gi", 2**30),
        ("2T", 2 * 10**12),
        ("3Ti", 3 * 2**40),
    ],
)
def test_a_size_is_its_number_times_its_unit(text: str, size: int) -> None:
    assert size_bytes(text) == size


@pytest.mark.parametrize(
    "text", ["", "0", "0Mi", "-1", "1.5Gi", "1GB", "1 Gi", "Mi", "1K", "1m", "1Gi\n", "1e3"]
)
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="such as 25Mi or 1Gi"):
        size_bytes(text)


@pytest.mark.parametrize(("text", "bandwidth"), [("0", 0), ("1Mi", 2**20), ("100Mi", 100 * 2**20)])
def test_a_bandwidth_is_none_or_a_number_of_mebibytes(text: str, bandwidth: int) -> None:
    assert bandwidth_bytes(text) == bandwidth


@pytest.mark.parametrize("text", ["", "8", "0Mi", "101Mi", "8M", "1Gi", "8Mi\n", "-1Mi", "08Mi"])
def test_what_is_no_bandwidth_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="write 1Mi to 100Mi, or 0 for no limit"):
        bandwidth_bytes(text)


def test_every_size_fits_into_63_bits() -> None:
    assert size_bytes("999999Ti") < 2**63
    assert size_bytes("9" * 15) < 2**63


@pytest.mark.parametrize(
    "network",
    ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "2a00::/16", "fc00::/7", "fd00::/8", "2001:db8::1/128"],
)
def test_a_network_of_ones_own_is_trusted(network: str) -> None:
    assert NETWORK.validate_python(network) == network


@pytest.mark.parametrize(
    "network",
    ["0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "10.0.0.0/7", "::/0", "2000::/3", "fc00::/6", "f000::/4"],
)
def test_much_of_the_internet_is_not_trusted(network: str) -> None:
    with pytest.raises(ValidationError, match=r"open relay|host bits"):
        NETWORK.validate_python(network)


@pytest.mark.parametrize(
    "network",
    [
        "::ffff:0:0/96",
        "::ffff:10.0.0.0/104",
        "::/16",
        "::/96",
        "2002::/16",
        "2002:a00::/24",
        "2001::/32",
        "2001::/20",
        "64:ff9b::/96",
        "64:ff9b::/48",
    ],
)
def test_ranges_that_stand_for_all_of_ipv4_are_not_trusted(network: str) -> None:
    with pytest.raises(ValidationError, match="open relay"):
        NETWORK.validate_python(network)


@pytest.mark.parametrize(
    "network",
    [
        "10.1.2.3/8",
        "10.0.0.0",
        "10.0.0.0/33",
        "10.0.0.0/",
        "/8",
        "nonsense",
        "10.0.0.0/255.0.0.0",
        "fe80::%1/64",
        "",
    ],
)
def test_what_is_no_network_is_refused(network: str) -> None:
    with pytest.raises(ValidationError):
        NETWORK.validate_python(network)


@given(st.ip_addresses(v=4), st.integers(0, 32))
def test_an_ipv4_network_is_trusted_exactly_if_it_is_slash_8_or_narrower(
    address: ipaddress.IPv4Address, length: int
) -> None:
    network = str(ipaddress.ip_network(f"{address}/{length}", strict=False))
    if length >= 8:
        assert NETWORK.validate_python(network) == network
    else:
        with pytest.raises(ValidationError):
            NETWORK.validate_python(network)


@pytest.mark.parametrize(
    "host", ["", "relay", "relay.example.com", "192.0.2.1", "a-b.c", "xn--e1afmkfd.example"]
)
def test_a_host_name_is_letters_digits_hyphens_and_dots(host: str) -> None:
    assert HOST.validate_python(host) == host


@pytest.mark.parametrize(
    "host", ["a_b", "-a", "a-", "a..b", ".", "a.", "a b", "a\n", "[::1]", "a;b", "$myhostname"]
)
def test_what_is_no_host_name_is_refused(host: str) -> None:
    with pytest.raises(ValidationError, match=r"such as relay\.example\.com"):
        HOST.validate_python(host)


@given(st.text(max_size=16))
def test_no_text_breaks_the_checks_in_another_way_than_a_refusal(text: str) -> None:
    for adapter in (NETWORK, PERIOD, SIZE, HOST):
        try:
            accepted = adapter.validate_python(text)
        except ValidationError:
            continue
        assert accepted == text
        assert "\n" not in accepted


@pytest.mark.parametrize("unit", ["", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"])
def test_every_unit_that_the_api_server_lets_through_is_understood(unit: str) -> None:
    powers = {"": 1, "k": 1000, "K": 1024}
    factor = powers.get(unit[:1], 0) or (1024 if unit.endswith("i") else 1000) ** ("kMGT".index(unit[0]) + 1)
    assert size_bytes(f"64{unit}") == 64 * factor
