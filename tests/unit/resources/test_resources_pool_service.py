"""The pool's Service: what it asks for by type, and what of it belongs to the cluster."""

import copy
from typing import Any

import pytest

from smtpfleet.resources.drift import Drift, drift, stamped
from smtpfleet.resources.pool import Object
from smtpfleet.resources.pool_service import pool_service
from tests.unit.resources.goldens import pool


def _service(**fields: Any) -> Object:
    return pool_service(pool(balancing={"service": fields}))


OUTSIDE = {
    "type": "LoadBalancer",
    "annotations": {"example.net/size": "small"},
    "loadBalancerSourceRanges": ["192.0.2.0/24"],
    "loadBalancerClass": "example.net/lb",
}


def test_a_pool_that_says_nothing_has_what_it_always_had() -> None:
    found = pool_service(pool())
    assert set(found["spec"]) == {"type", "selector", "ports"}
    assert found["spec"]["type"] == "ClusterIP"
    assert "annotations" not in found["metadata"]


def test_a_policy_of_outside_traffic_is_sent_only_where_there_is_such_traffic() -> None:
    assert "externalTrafficPolicy" not in _service(externalTrafficPolicy="Cluster")["spec"]
    assert _service(type="NodePort")["spec"]["externalTrafficPolicy"] == "Local"


def test_a_load_balancer_has_all_that_was_asked() -> None:
    found = _service(**OUTSIDE)
    assert found["metadata"]["annotations"] == {"example.net/size": "small"}
    assert found["spec"]["loadBalancerSourceRanges"] == ["192.0.2.0/24"]
    assert found["spec"]["loadBalancerClass"] == "example.net/lb"


def _live(wanted: Object) -> Object:
    """As a cluster with a load balancer fills it in."""
    live = copy.deepcopy(stamped(wanted))
    live["metadata"]["finalizers"] = ["service.kubernetes.io/load-balancer-cleanup"]
    live["metadata"]["annotations"]["cloud.example/id"] = "1"
    live["spec"] |= {
        "clusterIP": "10.96.0.9",
        "clusterIPs": ["10.96.0.9"],
        "allocateLoadBalancerNodePorts": True,
        "healthCheckNodePort": 30001,
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
    }
    for number, port in enumerate(live["spec"]["ports"]):
        port["nodePort"] = 31000 + number
    live["status"] = {"loadBalancer": {"ingress": [{"ip": "198.51.100.7"}]}}
    return live


def test_what_the_cluster_fills_in_is_left_alone() -> None:
    assert drift(_service(**OUTSIDE), _live(_service(**OUTSIDE))) is Drift.NONE


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("type", "NodePort"),
        ("externalTrafficPolicy", "Cluster"),
        ("loadBalancerSourceRanges", ["0.0.0.0/0"]),
        ("loadBalancerSourceRanges", None),
        ("loadBalancerClass", "other"),
    ],
)
def test_what_somebody_changed_is_put_back(field: str, value: object) -> None:
    live = _live(_service(**OUTSIDE))
    live["spec"][field] = value
    assert drift(_service(**OUTSIDE), live) is Drift.OBJECT


def test_an_annotation_that_is_no_longer_asked_for_is_noticed() -> None:
    live = _live(_service(**OUTSIDE))
    assert drift(_service(**(OUTSIDE | {"annotations": {}})), live) is Drift.OBJECT
