"""What the NetworkPolicy of balancers opens for counting clients, and only then."""

from typing import Any

from smtpfleet.api.names import PEER_PORTS
from smtpfleet.resources.policies import balancer_policy
from tests.unit.resources.goldens import pool


def _rules_of_peers(**submission: Any) -> list[dict[str, Any]]:
    given = {"trustedNetworks": ["10.0.0.0/8"]} | submission
    rules = balancer_policy(pool(submission=given))["spec"]["ingress"]
    return [rule for rule in rules if any(port["port"] in PEER_PORTS.values() for port in rule["ports"])]


def test_a_pool_without_a_limit_opens_no_port_for_counts() -> None:
    assert _rules_of_peers() == []


def test_counts_come_from_the_pools_own_balancers_only() -> None:
    (rule,) = _rules_of_peers(maxConnectionsPerClient=20)
    (source,) = rule["from"]
    labels = source["podSelector"]["matchLabels"]
    assert labels["smtpfleet.io/pool"] == "outbound"
    assert labels["app.kubernetes.io/component"] == "balancer"
    assert {port["port"] for port in rule["ports"]} == set(PEER_PORTS.values())
