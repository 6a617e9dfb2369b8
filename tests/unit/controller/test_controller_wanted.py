"""From a plan to objects: all of them, in order, and claims as the API server accepts them."""

from typing import Any

from smtpfleet.controller.facts import Children, pool_facts
from smtpfleet.controller.wanted import Live, Made, Wanted, wanted
from smtpfleet.domain.plan import plan
from smtpfleet.resources.certificate import Pair
from smtpfleet.resources.login import Login
from smtpfleet.resources.pool import Object, Pool
from tests.unit.controller import objects
from tests.unit.controller.objects import POOL, children, claim, deployment
from tests.unit.resources.goldens import pool

EMPTY: dict[str, list[Any]] = {"Deployment": [], "ConfigMap": []}


def _wanted(seen: Children, of: Pool = POOL) -> tuple[Wanted, ...]:
    live: Live = {
        (thing["kind"], thing["metadata"]["name"]): thing for things in seen.values() for thing in things
    }
    return wanted(of, plan(pool_facts(of, objects.stored(of), seen, lambda _: None)), live)


def _names(found: tuple[Wanted, ...]) -> list[str]:
    return ["/".join(thing.identity) for thing in found]


def _claim(found: tuple[Wanted, ...]) -> Object:
    return next(thing.body for thing in found if thing.identity[0] == "PersistentVolumeClaim")


def test_a_new_pool_gets_everything_but_pods_until_relays_have_addresses() -> None:
    assert _names(_wanted(EMPTY)) == [
        "ServiceAccount/outbound-agent",
        "Role/outbound-agent",
        "RoleBinding/outbound-agent",
        "ServiceAccount/outbound-balancer",
        "Role/outbound-balancer",
        "RoleBinding/outbound-balancer",
        "NetworkPolicy/outbound-relay",
        "NetworkPolicy/outbound-balancer",
        "PodDisruptionBudget/outbound-relay",
        "PodDisruptionBudget/outbound-balancer",
        "Service/outbound",
        "Service/outbound-relay-0",
        "PersistentVolumeClaim/outbound-relay-0",
        "Service/outbound-relay-1",
        "PersistentVolumeClaim/outbound-relay-1",
        "ConfigMap/outbound-routing",
    ]


def test_then_come_the_relays_and_last_the_balancers() -> None:
    found = _names(_wanted(children(0, 1)))
    assert found[-4:] == [
        "ConfigMap/outbound-routing",
        "Deployment/outbound-relay-0",
        "Deployment/outbound-relay-1",
        "Deployment/outbound-balancer",
    ]


def test_the_certificate_is_there_before_the_table_that_names_it() -> None:
    planned = plan(pool_facts(POOL, objects.stored(POOL), EMPTY, lambda _: None))
    found = _names(wanted(POOL, planned, {}, Made(pair=Pair(certificate=b"c", key=b"k"))))
    assert found[-2:] == ["Secret/outbound-tls", "ConfigMap/outbound-routing"]


def test_logins_are_there_before_the_table_that_names_them() -> None:
    planned = plan(pool_facts(POOL, objects.stored(POOL), EMPTY, lambda _: None))
    logins = {
        "outbound-login": Login("pool;outbound", "p" * 43),
        "outbound-probe": Login("probe;outbound", "q" * 43),
    }
    found = _names(wanted(POOL, planned, {}, Made(logins=logins)))
    assert found[-3:] == ["Secret/outbound-login", "Secret/outbound-probe", "ConfigMap/outbound-routing"]


def test_a_template_that_has_to_wait_is_marked() -> None:
    newer = pool(relay={"image": "example.net/relay:2"})
    found = _wanted(children(0, 1), newer)
    allowed = {thing.identity[1]: thing.template for thing in found if thing.identity[0] == "Deployment"}
    assert allowed == {"outbound-relay-0": True, "outbound-relay-1": False, "outbound-balancer": True}


def test_a_claim_that_exists_keeps_its_class_and_grows_but_never_shrinks() -> None:
    seen = children(0, 1)
    spec = _claim(_wanted(seen))["spec"]
    assert (spec["storageClassName"], spec["resources"]["requests"]["storage"]) == ("local-path", "1Gi")
    larger = pool(relay={"storage": {"size": "5Gi"}})
    assert _claim(_wanted(seen, larger))["spec"]["resources"]["requests"]["storage"] == "5Gi"
    smaller = pool(relay={"storage": {"size": "100Mi", "storageClassName": "fast"}})
    spec = _claim(_wanted(seen, smaller))["spec"]
    assert (spec["storageClassName"], spec["resources"]["requests"]["storage"]) == ("local-path", "1Gi")


def test_claims_and_only_claims_follow_the_deletion_policy() -> None:
    kept, gone = _wanted(children(0, 1)), _wanted(children(0, 1), pool(deletionPolicy="Delete"))
    assert "ownerReferences" not in _claim(kept)["metadata"]
    assert _claim(gone)["metadata"]["ownerReferences"][0]["uid"] == POOL.uid
    others = [thing.body for thing in kept if thing.identity[0] != "PersistentVolumeClaim"]
    assert all(body["metadata"]["ownerReferences"] for body in others)


def test_a_claim_that_an_earlier_pool_left_gets_a_relay_again() -> None:
    left = {
        "PersistentVolumeClaim": [claim(4)],
        "Deployment": [],
        "ConfigMap": [],
        "Service": [objects.service(4)],
    }
    assert "Deployment/outbound-relay-4" in _names(_wanted(left))


def test_an_ephemeral_relay_wants_no_claim() -> None:
    seen = children(0, Deployment=[deployment(0, ephemeral=True)], PersistentVolumeClaim=[])
    found = _names(_wanted(seen, pool(replicas=1)))
    assert "Deployment/outbound-relay-0" in found
    assert not any("PersistentVolumeClaim" in name for name in found)
