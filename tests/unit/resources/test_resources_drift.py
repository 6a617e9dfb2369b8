"""Drift: every change of what the operator sets is noticed, and nothing else is."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpfleet.api.names import APPLIED_ANNOTATION
from smtpfleet.resources import policies, relay, routing
from smtpfleet.resources.drift import Drift, drift, is_stamped, stamped
from smtpfleet.resources.pool import Object
from tests.unit.resources.goldens import OBJECTS, pool, table

CLAIM = relay.relay_claim(pool(), "outbound-relay-0", owned=False, size="1Gi", storage_class="")
DEPLOYMENT = relay.relay_deployment(pool(), "outbound-relay-0", ephemeral=False)
SERVICE = relay.relay_service(pool(), "outbound-relay-0")
POLICY = policies.relay_policy(pool())
TABLE = routing.routing_config_map(pool(), table(pool()))


def _live(wanted: Object) -> Any:
    """The object as the API server has it after it was applied."""
    live = json.loads(json.dumps(stamped(wanted)))
    live["metadata"] |= {
        "uid": "u",
        "resourceVersion": "5",
        "generation": 1,
        "managedFields": [{"manager": "x"}],
    }
    live["status"] = {"observedGeneration": 1}
    return live


@pytest.mark.parametrize("name", OBJECTS)
def test_what_was_applied_shows_no_drift(name: str) -> None:
    assert drift(OBJECTS[name](), _live(OBJECTS[name]())) is Drift.NONE


def test_what_the_server_fills_in_is_no_drift() -> None:
    live = _live(SERVICE)
    live["spec"] |= {"clusterIP": "10.96.0.1", "sessionAffinity": "None", "ipFamilies": ["IPv4"]}
    assert drift(SERVICE, live) is Drift.NONE
    live = _live(DEPLOYMENT)
    container = live["spec"]["template"]["spec"]["containers"][0]
    container |= {"imagePullPolicy": "IfNotPresent", "terminationMessagePath": "/dev/termination-log"}
    container["livenessProbe"]["httpGet"]["scheme"] = "HTTP"
    live["spec"]["template"]["spec"] |= {"dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler"}
    assert drift(DEPLOYMENT, live) is Drift.NONE


def test_what_the_server_fills_in_of_a_token_volume_is_no_drift() -> None:
    balancers = OBJECTS["balancer-deployment"]()
    live = _live(balancers)
    volumes = live["spec"]["template"]["spec"]["volumes"]
    (projected,) = (volume["projected"] for volume in volumes if "projected" in volume)
    projected["defaultMode"] = 420
    token, _, pod = projected["sources"]
    token["serviceAccountToken"].setdefault("expirationSeconds", 3600)
    pod["downwardAPI"]["items"][0]["fieldRef"].setdefault("apiVersion", "v1")
    assert drift(balancers, live) is Drift.NONE


def test_foreign_labels_annotations_and_sidecars_are_no_drift() -> None:
    live = _live(DEPLOYMENT)
    live["metadata"]["labels"]["team"] = "post"
    live["metadata"]["annotations"]["note"] = "hands off"
    live["spec"]["template"]["spec"]["containers"].append({"name": "side", "image": "x"})
    assert drift(DEPLOYMENT, live) is Drift.NONE


def test_quantities_are_compared_by_what_they_mean() -> None:
    live = _live(CLAIM)
    live["spec"]["resources"]["requests"]["storage"] = "1024Mi"
    assert drift(CLAIM, live) is Drift.NONE
    live["spec"]["resources"]["requests"]["storage"] = "1025Mi"
    assert drift(CLAIM, live) is Drift.OBJECT


def test_a_changed_template_is_told_from_other_changes() -> None:
    live = _live(DEPLOYMENT)
    live["spec"]["replicas"] = 0
    assert drift(DEPLOYMENT, live) is Drift.OBJECT
    live = _live(DEPLOYMENT)
    live["spec"]["template"]["spec"]["containers"][0]["image"] = "evil:1"
    assert drift(DEPLOYMENT, live) is Drift.TEMPLATE


def test_a_template_field_that_is_no_longer_set_is_noticed_by_the_stamp() -> None:
    earlier = relay.relay_deployment(
        pool(relay={"priorityClassName": "important"}), "outbound-relay-0", ephemeral=False
    )
    assert drift(DEPLOYMENT, _live(earlier)) is Drift.TEMPLATE


def test_an_object_field_that_is_no_longer_set_is_noticed_by_the_stamp() -> None:
    earlier = copy.deepcopy(SERVICE)
    earlier["spec"]["externalName"] = "x"
    assert drift(SERVICE, _live(earlier)) is Drift.OBJECT
    assert not is_stamped(SERVICE, _live(earlier))


def test_a_lost_stamp_alone_restarts_nothing() -> None:
    live = _live(DEPLOYMENT)
    del live["metadata"]["annotations"][APPLIED_ANNOTATION]
    assert drift(DEPLOYMENT, live) is Drift.OBJECT


@pytest.mark.parametrize(
    "peers",
    [
        [{"podSelector": {}, "namespaceSelector": {}}],
        [{"namespaceSelector": {}, "podSelector": POLICY["spec"]["podSelector"]}],
    ],
)
def test_a_network_policy_that_was_opened_is_noticed(peers: Any) -> None:
    live = _live(POLICY)
    live["spec"]["ingress"][0]["from"] = peers
    assert drift(POLICY, live) is Drift.OBJECT


def test_another_rule_or_port_in_a_network_policy_is_noticed() -> None:
    live = _live(POLICY)
    live["spec"]["ingress"].append({})
    assert drift(POLICY, live) is Drift.OBJECT
    live = _live(POLICY)
    live["spec"]["ingress"][1]["ports"].append({"protocol": "TCP", "port": 25})
    assert drift(POLICY, live) is Drift.OBJECT


def test_a_selector_that_got_another_label_is_noticed() -> None:
    live = _live(SERVICE)
    live["spec"]["selector"]["extra"] = "x"
    assert drift(SERVICE, live) is Drift.OBJECT


def test_a_changed_routing_table_is_noticed() -> None:
    live = _live(TABLE)
    live["data"]["routing.json"] = "{}"
    assert drift(TABLE, live) is Drift.OBJECT
    assert is_stamped(TABLE, live)


def _leaves(thing: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items: Any = ()
    if isinstance(thing, dict):
        items = thing.items()
    elif isinstance(thing, list):
        items = enumerate(thing)
    if not items:
        yield path
    for key, value in items:
        yield from _leaves(value, (*path, key))


def _cases() -> list[tuple[str, tuple[Any, ...]]]:
    return [(name, path) for name, build in OBJECTS.items() for path in _leaves(build())]


def _parent(thing: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        thing = thing[key]
    return thing


@given(st.sampled_from(_cases()), st.booleans())
def test_any_field_that_is_changed_or_removed_is_noticed(
    case: tuple[str, tuple[Any, ...]], remove: bool
) -> None:
    name, path = case
    wanted, live = OBJECTS[name](), _live(OBJECTS[name]())
    parent = _parent(live, path)
    empty = parent[path[-1]] in ({}, [])
    if remove:
        del parent[path[-1]]
    else:
        parent[path[-1]] = "something else"
    expected_none = (
        remove and empty and "ingress" not in path
    )  # an empty map says nothing where maps are merged
    assert (drift(wanted, live) is Drift.NONE) == expected_none


@given(st.sampled_from(sorted(OBJECTS)), st.text(min_size=1), st.integers())
def test_any_field_that_somebody_adds_beside_ours_survives(name: str, key: str, value: int) -> None:
    wanted, live = OBJECTS[name](), _live(OBJECTS[name]())
    live["metadata"]["labels"][f"x/{key}"] = value
    live[f"x{key}"] = value
    if "spec" in live:
        live["spec"][f"x{key}"] = value
    assert drift(wanted, live) is Drift.NONE
