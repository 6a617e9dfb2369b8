"""PROXY headers of an outer balancer: whom they are believed from, and what they cannot decide."""

import pytest

from smtpfleet.balancer import entrance
from smtpfleet.balancer.config import render, structure
from tests.unit.balancer.goldens import BEHIND_PROXY, table

RULES = entrance.rules(table(100, balancing=BEHIND_PROXY))


def test_a_pool_without_an_outer_balancer_has_no_rule_and_takes_no_header() -> None:
    assert entrance.rules(table(100)) == ()
    assert "proxy" not in render(table(100)).replace("send-proxy-v2", "")


def test_whoever_is_not_listed_is_refused_before_his_header_is_read() -> None:
    refused = RULES.index("tcp-request connection reject unless outer_balancer")
    assert "acl outer_balancer src 192.0.2.0/28 fd00::/8" in RULES[:refused]
    assert RULES[refused + 1] == "tcp-request connection expect-proxy layer4"


def test_a_header_has_a_time_limit() -> None:
    assert f"timeout client-hs {entrance.HEADER_S}s" in RULES


@pytest.mark.parametrize("port", [2525, 2587, 2465])
def test_a_relay_is_connected_to_on_the_port_the_outer_balancer_came_in_by(port: int) -> None:
    assert f"tcp-request session set-dst-port int({port}) if {{ so_id {port} }}" in RULES
    assert f"    bind :{port} id {port}\n" in render(table(100, balancing=BEHIND_PROXY))


def test_who_is_told_of_no_client_is_nobody() -> None:
    assert "tcp-request session set-src ipv4(0.0.0.0) if nobody_told" in RULES


def test_where_nobodys_address_is_trusted_a_header_without_a_client_is_refused() -> None:
    rules = entrance.rules(table(100, balancing=BEHIND_PROXY, trusted="0.0.0.0/8"))
    assert rules[-1] == "tcp-request session reject if nobody_told"
    assert not any("set-src" in rule for rule in rules)


def test_other_sources_are_a_reason_to_reload() -> None:
    assert structure(table(100)) != structure(table(100, balancing=BEHIND_PROXY))
