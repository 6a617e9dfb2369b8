"""Counting a client's connections over all HAProxys of a pool: who tells whom, and what a rule adds up."""

import re

import pytest

from smtpfleet.api.routing import BalancerPeer, BalancingTable
from smtpfleet.balancer import clientlimit
from smtpfleet.balancer.config import render, structure
from smtpfleet.balancer.place import Place
from tests.unit.balancer.goldens import BEHIND_PROXY, HERE, PEERS, table

LIMITED = table(100, balancing=PEERS, limit=20)


def _peers(text: str) -> dict[str, str]:
    return dict(re.findall(r"^    peer (\S+) (\S+)$", text, re.MULTILINE))


def _added(rules: tuple[str, ...]) -> list[str]:
    return re.findall(r"table_gpt0\(balancers/(\S+?)\)", " ".join(rules))


def test_a_pool_without_a_limit_pays_nothing() -> None:
    assert render(table(100, balancing=PEERS), HERE) == render(table(100))


def test_every_haproxy_of_every_balancer_is_a_peer_with_a_table_of_its_own() -> None:
    text = render(LIMITED, HERE)
    assert _peers(text) == {
        "outbound-balancer-1.8404": "10.244.1.5:8414",
        "outbound-balancer-1.8405": "10.244.1.5:8415",
        "outbound-balancer-2.8404": "[fd00::6]:8414",
        "outbound-balancer-2.8405": "[fd00::6]:8415",
    }
    tables = re.findall(r"^    table (\S+) .*store conn_cur,gpt0,gpc0$", text, re.MULTILINE)
    assert tables == list(_peers(text))


def test_a_balancer_that_the_table_does_not_list_yet_counts_for_itself_and_with_its_twin() -> None:
    new = Place(pod="outbound-balancer-9", address="10.244.2.9")
    text = render(LIMITED, new)
    assert _peers(text)["outbound-balancer-9.8405"] == "10.244.2.9:8415"
    assert len(_peers(text)) == 6


@pytest.mark.parametrize(("branch", "twin"), [("if", "8405"), ("else", "8404")])
def test_each_of_the_twins_adds_the_other_one_and_not_itself(branch: str, twin: str) -> None:
    rules = " ".join(clientlimit.rules(table(100, limit=20), HERE))
    before, after = re.split(r"\.else", rules)
    found = {"if": before, "else": after}[branch]
    assert _added((found,)) == [f"outbound-balancer-1.{twin}"]


def test_every_other_balancer_is_added_once() -> None:
    added = _added(clientlimit.rules(LIMITED, HERE))
    assert sorted(added) == [
        "outbound-balancer-1.8404",
        "outbound-balancer-1.8405",
        "outbound-balancer-2.8404",
        "outbound-balancer-2.8405",
    ]


def test_a_refused_connection_is_counted_nowhere() -> None:
    counting = [rule for rule in clientlimit.rules(LIMITED, HERE) if "sc0_" in rule or "track-sc0" in rule]
    assert all(rule.endswith("unless too_many") for rule in counting if rule.startswith("tcp-request"))


def test_a_session_is_counted_off_also_when_nothing_was_sent_in_it() -> None:
    assert "no option dontlognull" in clientlimit.rules(LIMITED, HERE)


def test_a_client_in_clear_is_answered_and_one_that_begins_with_tls_is_not() -> None:
    assert clientlimit.rules(LIMITED, HERE)[-2:] == (
        "tcp-request content reject if too_many { dst_port 2465 }",
        "tcp-request content use-service lua.refuse if too_many",
    )


def test_the_client_of_the_header_is_counted_and_the_outer_balancers_checks_are_not() -> None:
    behind = BalancingTable(proxy_protocol_sources=BEHIND_PROXY.proxy_protocol_sources, peers=PEERS.peers)
    text = render(table(100, balancing=behind, limit=20), HERE)
    assert text.index("tcp-request session accept if nobody_told") < text.index("set-var(sess.open)")


def test_another_balancer_is_a_reason_to_reload_only_where_clients_are_counted() -> None:
    more = BalancingTable(peers=(*PEERS.peers, BalancerPeer(name="outbound-balancer-3", address="10.0.0.3")))
    assert structure(table(100, balancing=PEERS), HERE) == structure(table(100, balancing=more), HERE)
    assert structure(LIMITED, HERE) != structure(table(100, balancing=more, limit=20), HERE)
