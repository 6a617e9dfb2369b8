"""The routing table: who is listed, with what weight, and that nothing else changes it."""

from dataclasses import replace
from typing import Any

import pytest

from smtpfleet.api.routing import BalancerPeer, HandOffTable, RouteState, parse_table
from smtpfleet.domain.facts import Claim, Wish
from smtpfleet.domain.table import routing_table
from tests.unit.domain.samples import pod, pool, relay, table

NAME = "outbound-relay"


def test_every_relay_with_an_address_is_listed_by_number_with_full_weight() -> None:
    routes = table(pool([relay(10), relay(2)])).relays
    assert [(route.name, route.weight, route.state) for route in routes] == [
        ("outbound-relay-2", 100, RouteState.SERVING),
        ("outbound-relay-10", 100, RouteState.SERVING),
    ]


def test_a_relay_without_an_address_is_not_listed() -> None:
    assert not table(pool([relay(0, address="")])).relays


def test_a_relay_that_is_not_ready_keeps_its_weight_because_balancers_judge_faster() -> None:
    broken = relay(0, pods=(pod("outbound-relay-0", ready=False),))
    assert table(pool([broken])) == table(pool([relay(0)]))


def test_a_relay_whose_deployment_is_gone_keeps_its_place_while_its_claim_is_there() -> None:
    assert table(pool([relay(0, deployment=None, pods=())])) == table(pool([relay(0)]))


def test_leaving_and_drained_relays_get_nothing() -> None:
    seen = pool([relay(0), relay(1, wish=Wish.DRAIN), relay(2)])
    routes = table(seen, "outbound-relay-0").relays
    assert [(route.weight, route.state) for route in routes] == [
        (0, RouteState.DRAINING),
        (0, RouteState.DRAINING),
        (100, RouteState.SERVING),
    ]


def test_a_weight_by_hand_is_the_upper_bound() -> None:
    assert table(pool([relay(0, weight_bound=30)])).relays[0].weight == 30


def test_what_is_left_of_a_removed_relay_is_drained_until_its_pod_is_gone() -> None:
    last = relay(0, deployment=None, claim=Claim(leaving=True))
    assert table(pool([last])).relays[0].state is RouteState.DRAINING
    assert not table(pool([replace(last, pods=())])).relays


def test_a_paused_relay_keeps_its_place_in_the_table_whatever_is_asked() -> None:
    before = table(pool([relay(0), relay(1)]))
    seen = pool([relay(0, paused=True, wish=Wish.DRAIN, weight_bound=5), relay(1)], table=before)
    assert table(seen) == before


def test_the_same_pool_gives_the_same_bytes() -> None:
    fields = {"postfix": {"b_parameter": "2", "a_parameter": "1"}}
    one = table(pool([relay(0), relay(1)], spec_fields={"relay": fields}))
    other = table(
        pool(
            [relay(1), relay(0)], spec_fields={"relay": {"postfix": {"a_parameter": "1", "b_parameter": "2"}}}
        )
    )
    assert one.text == other.text


def test_the_spec_is_carried_over_in_the_agents_units() -> None:
    fields = {
        "submission": {"trustedNetworks": ["10.0.0.0/8"], "messageSizeLimit": "10Mi"},
        "delivery": {"queueLifetime": "1d12h", "smarthost": {"host": "smtp.example", "port": 2525}},
        "balancing": {"method": "RoundRobin"},
    }
    made = table(pool([relay(0)], spec_fields=fields))
    assert made.submission.message_size_limit_bytes == 10 * 2**20
    assert made.delivery.queue_lifetime_s == 129600
    assert made.delivery.smarthost is not None
    assert made.delivery.max_connections_per_destination == 20
    assert (made.hostname, made.method) == ("outbound.mail.svc", "RoundRobin")


PEERS = (BalancerPeer(name="outbound-balancer-a", address="10.244.1.5"),)


def test_balancers_know_of_each_other_only_where_they_count_clients_together() -> None:
    limited = {"submission": {"trustedNetworks": ["10.0.0.0/8"], "maxConnectionsPerClient": 20}}
    assert table(pool([relay(0)], balancer_pods=PEERS)) == table(pool([relay(0)]))
    found = table(pool([relay(0)], balancer_pods=PEERS, spec_fields=limited))
    assert (found.submission.max_connections_per_client, found.balancing.peers) == (20, PEERS)


def test_headers_are_believed_from_private_networks_unless_the_pool_says_from_where() -> None:
    told = {"acceptProxyProtocol": True}
    assert table(pool([relay(0)])).balancing.proxy_protocol_sources == ()
    assert (
        "10.0.0.0/8"
        in table(pool([relay(0)], spec_fields={"balancing": told})).balancing.proxy_protocol_sources
    )
    narrow = told | {"proxyProtocolSources": ["192.0.2.0/28"]}
    found = table(pool([relay(0)], spec_fields={"balancing": narrow}))
    assert found.balancing.proxy_protocol_sources == ("192.0.2.0/28",)


def test_backups_and_senders_are_carried_over() -> None:
    fields = {
        "submission": {"trustedNetworks": ["10.0.0.0/8"], "allowedSenderDomains": ["example.com"]},
        "balancing": {"backups": [{"host": "smtp.provider.example", "submissionsPort": 465}]},
    }
    found = table(pool([relay(0)], spec_fields=fields))
    assert found.submission.allowed_sender_domains == ("example.com",)
    (backup,) = found.balancing.backups
    assert (backup.host, backup.port, backup.submissions_port) == ("smtp.provider.example", 25, 465)
    assert parse_table(found.text) == found


def test_domains_that_sign_or_may_send_get_their_other_form() -> None:
    listed = ["example.com", "XN--Strae-OQA.de", ".xn--strae-oqa.de"]
    fields = {
        "submission": {"trustedNetworks": ["10.0.0.0/8"], "allowedSenderDomains": listed},
        "dkim": [
            {"domain": domain, "selector": "s1", "secretName": "key"}
            for domain in ("xn--strae-oqa.de", "example.com")
        ],
    }
    made = table(pool([relay(0)], spec_fields=fields))
    assert made.submission.allowed_sender_domains == tuple(listed)
    assert made.submission.unicode_sender_domains == ("straße.de", ".straße.de")
    assert [route.unicode_domain for route in made.signing] == ["straße.de", ""]
    assert parse_table(made.text) == made


def test_routes_keep_their_order_and_get_the_other_form_of_their_domain() -> None:
    routes = [
        {"domain": "xn--bcher-kva.example", "host": "a.example", "port": 25},
        {"domain": "b.example"},
        {"senderDomain": ".xn--bcher-kva.example", "host": "c.example"},
    ]
    made = table(pool([relay(0)], spec_fields={"delivery": {"routes": routes}})).delivery.routes
    assert [(route.domain or route.sender_domain, route.unicode_domain) for route in made] == [
        ("xn--bcher-kva.example", "b\u00fccher.example"),
        ("b.example", ""),
        (".xn--bcher-kva.example", ".b\u00fccher.example"),
    ]
    assert [(route.host, route.port) for route in made] == [
        ("a.example", 25),
        ("", None),
        ("c.example", None),
    ]


def test_weights_of_health_hold_up_to_the_bound_and_do_not_drain() -> None:
    seen = pool([relay(0), relay(1, weight_bound=30), relay(2)])
    shown = routing_table(seen, leaving=(), weights={"outbound-relay-0": 0, "outbound-relay-1": 50})
    assert [(route.weight, route.state) for route in shown.relays] == [
        (0, RouteState.SERVING),
        (30, RouteState.SERVING),
        (100, RouteState.SERVING),
    ]


def test_a_relay_that_leaves_hands_off_to_those_that_get_mail() -> None:
    found = routing_table(pool([relay(0), relay(1), relay(2)]), leaving=[f"{NAME}-1"], weights={})
    assert [route.hand_off for route in found.relays] == [False, True, False]
    assert found.hand_off.takers == (f"{NAME}-0", f"{NAME}-2")
    assert found.hand_off.secret_name == "outbound-hand-off"
    assert "outbound-hand-off" in found.secrets


def test_while_nobody_leaves_nobody_takes_and_nobody_follows_that_secret() -> None:
    found = routing_table(pool([relay(0), relay(1)]), leaving=(), weights={})
    assert found.hand_off == HandOffTable()
    assert "outbound-hand-off" not in found.secrets


def test_two_that_leave_at_once_give_to_those_that_stay() -> None:
    found = routing_table(
        pool([relay(0), relay(1), relay(2)]), leaving=[f"{NAME}-1", f"{NAME}-2"], weights={}
    )
    assert found.hand_off.takers == (f"{NAME}-0",)


@pytest.mark.parametrize(
    ("other", "weights"),
    [({}, {f"{NAME}-0": 0}), ({"wish": Wish.DRAIN}, {}), ({"weight_bound": 0}, {})],
)
def test_a_relay_that_is_out_or_drained_by_hand_takes_nothing(
    other: dict[str, Any], weights: dict[str, int]
) -> None:
    found = routing_table(pool([relay(0, **other), relay(1)]), leaving=[f"{NAME}-1"], weights=weights)
    assert found.hand_off == HandOffTable()
    assert [route.hand_off for route in found.relays] == [False, True]


def test_a_relay_that_a_person_drains_keeps_its_queue() -> None:
    found = routing_table(pool([relay(0), relay(1, wish=Wish.DRAIN)]), leaving=(), weights={})
    assert not any(route.hand_off for route in found.relays)
