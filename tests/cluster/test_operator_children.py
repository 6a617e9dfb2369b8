"""A pool's objects on a real cluster: kept as they are to be, and nobody else's touched."""

import json
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from scenario.apiserver import KubeError
from scenario.cluster import Local
from scenario.kube import Object, wait_until
from tests.cluster.operators import WRITTEN, Space, no_operator, space

CHILDREN = [
    ("serviceaccount", "outbound-agent"),
    ("role", "outbound-agent"),
    ("rolebinding", "outbound-agent"),
    ("serviceaccount", "outbound-balancer"),
    ("role", "outbound-balancer"),
    ("rolebinding", "outbound-balancer"),
    ("networkpolicy", "outbound-relay"),
    ("networkpolicy", "outbound-balancer"),
    ("poddisruptionbudget", "outbound-relay"),
    ("poddisruptionbudget", "outbound-balancer"),
    ("service", "outbound"),
    ("service", "outbound-relay-0"),
    ("configmap", "outbound-routing"),
    ("deployment", "outbound-relay-0"),
    ("deployment", "outbound-balancer"),
]
CHANGES: list[tuple[str, str, Object]] = [
    ("serviceaccount", "outbound-agent", {"automountServiceAccountToken": True}),
    ("role", "outbound-agent", {"rules": []}),
    ("rolebinding", "outbound-agent", {"subjects": []}),
    ("serviceaccount", "outbound-balancer", {"automountServiceAccountToken": True}),
    ("role", "outbound-balancer", {"rules": []}),
    ("rolebinding", "outbound-balancer", {"subjects": []}),
    ("networkpolicy", "outbound-relay", {"spec": {"ingress": [{}]}}),
    ("networkpolicy", "outbound-balancer", {"spec": {"policyTypes": ["Ingress", "Egress"]}}),
    ("poddisruptionbudget", "outbound-relay", {"spec": {"maxUnavailable": 5}}),
    ("service", "outbound", {"spec": {"selector": {"smtpfleet.io/pool": "another"}}}),
    ("service", "outbound-relay-0", {"spec": {"publishNotReadyAddresses": False}}),
    ("service", "outbound", {"metadata": {"labels": {"smtpfleet.io/pool": None}}}),
    ("configmap", "outbound-routing", {"data": {"routing.json": "{}"}}),
    ("deployment", "outbound-relay-1", {"spec": {"replicas": 0}}),
    ("deployment", "outbound-balancer", {"spec": {"replicas": 5}}),
    ("persistentvolumeclaim", "outbound-relay-0", {"metadata": {"labels": {"smtpfleet.io/relay": None}}}),
]


@pytest.fixture(scope="module")
def mail(local: Local) -> Iterator[Space]:
    """A namespace with the pool ``outbound`` of two relays, ready."""
    with space(local.kube, f"operator-{uuid4().hex[:6]}") as found:
        found.apply_pool()
        found.wait_ready()
        yield found


def _content(thing: Object | None) -> Any:
    """What the operator decides of an object, as far as a test may change it."""
    if thing is None:
        return None
    spec = dict(thing.get("spec", {}))
    for chosen_by_the_server in ("clusterIP", "clusterIPs"):
        spec.pop(chosen_by_the_server, None)
    rest = [thing.get(key) for key in ("data", "rules", "subjects", "automountServiceAccountToken")]
    return thing["metadata"].get("labels"), spec, rest


def _wait_content(mail: Space, kind: str, name: str, wanted: Any) -> None:
    def seen() -> str:
        found = mail.find(kind, name)
        return "" if _content(found) == wanted else f"{kind} {name} is {json.dumps(found)}"

    wait_until(seen, timeout_s=60)


def test_an_idle_pool_causes_no_write_at_all(mail: Space) -> None:
    """The first test of this pool: what others do to relays is remembered in its status, and its end is a write."""
    mail.wait_ready()
    wait_until(mail.rests, timeout_s=60)
    # The controller of namespaces deletes what earlier tests had, one by one, and is counted with the operator.
    wait_until(lambda: _namespaces_that_go(mail), timeout_s=120)
    before, requests, status = mail.versions(), _write_requests(mail), mail.get("smtppool", "outbound")
    time.sleep(20)  # what is measured is that nothing happens in it
    assert mail.versions() == before, f"before: {status}, after: {mail.get('smtppool', 'outbound')}"
    assert _write_requests(mail) == requests


def _namespaces_that_go(mail: Space) -> str:
    going = [one for one in mail.kube.items("namespaces") if "deletionTimestamp" in one["metadata"]]
    return " ".join(one["metadata"]["name"] for one in going)


def _write_requests(mail: Space) -> dict[str, float]:
    """Requests of the API server that write what the operator writes, by resource and verb."""
    found: dict[str, float] = {}
    for line in mail.kube.raw("/metrics").splitlines():
        if not line.startswith("apiserver_request_total{"):
            continue
        labels = dict(part.split("=", 1) for part in line[24 : line.rindex("}")].split('",') if "=" in part)
        verb, resource = labels["verb"].strip('"'), labels["resource"].strip('"')
        group = labels["group"].strip('"')
        ours = resource in WRITTEN or (resource == "events" and group == "events.k8s.io")
        if ours and verb in {"APPLY", "PATCH", "POST", "PUT", "DELETE", "DELETECOLLECTION"}:
            key = f"{verb} {group}/{resource}"
            found[key] = found.get(key, 0.0) + float(line.rsplit(" ", 1)[1])
    return found


def test_every_child_that_is_deleted_is_back(mail: Space) -> None:
    mail.wait_ready()
    before = {child: mail.get(*child) for child in CHILDREN}
    for child in CHILDREN:
        mail.run("delete", *child, "--wait=false")

    def seen() -> str:
        found = {child: mail.find(*child) for child in CHILDREN}
        old = [
            child
            for child, thing in found.items()
            if thing is None or thing["metadata"]["uid"] == before[child]["metadata"]["uid"]
        ]
        return f"not back: {old}" if old else ""

    wait_until(seen, timeout_s=60)
    mail.wait_ready()
    for child in CHILDREN:
        if child != ("configmap", "outbound-routing"):  # the addresses in it may be new ones
            assert _content(mail.get(*child)) == _content(before[child])


def test_every_child_that_is_changed_is_put_right(mail: Space) -> None:
    mail.wait_ready()
    before = {(kind, name): _content(mail.get(kind, name)) for kind, name, _ in CHANGES}
    for kind, name, change in CHANGES:
        mail.run("patch", kind, name, "--type=merge", "-p", json.dumps(change))

    def seen() -> str:
        wrong = [child for child in before if _content(mail.find(*child)) != before[child]]
        return f"not put right: {wrong}" if wrong else ""

    wait_until(seen, timeout_s=60)


def test_what_others_add_to_a_child_survives(mail: Space) -> None:
    mail.wait_ready()
    added = {"metadata": {"labels": {"team": "post"}, "annotations": {"example.net/note": "x"}}}
    mail.run("patch", "service", "outbound", "--type=merge", "-p", json.dumps(added))
    mail.run("patch", "service", "outbound", "--type=merge", "-p", '{"spec":{"sessionAffinity":"ClientIP"}}')
    mail.run("patch", "service", "outbound", "--type=json", "-p", '[{"op":"remove","path":"/spec/ports/0"}]')

    def seen() -> str:
        return "" if len(mail.get("service", "outbound")["spec"]["ports"]) == 3 else "the port is missing"

    wait_until(seen, timeout_s=60)
    found = mail.get("service", "outbound")
    assert found["metadata"]["labels"]["team"] == "post"
    assert found["metadata"]["annotations"]["example.net/note"] == "x"
    assert found["spec"]["sessionAffinity"] == "ClientIP"


def test_a_hand_changed_pod_template_is_put_right_and_the_pool_recovers(mail: Space) -> None:
    mail.wait_ready()
    image = mail.get("deployment", "outbound-relay-1")["spec"]["template"]["spec"]["containers"][0]["image"]
    mail.run("set", "image", "deployment/outbound-relay-1", "relay=localhost/nothing:0")

    def seen() -> str:
        found = mail.get("deployment", "outbound-relay-1")["spec"]["template"]["spec"]["containers"][0][
            "image"
        ]
        return "" if found == image else f"the image is {found}"

    wait_until(seen, timeout_s=60)
    mail.wait_ready()


def test_a_claim_that_is_deleted_costs_no_mail_its_relay_is_drained_and_another_takes_its_place(
    mail: Space,
) -> None:
    mail.wait_ready()
    before = {name: mail.get("persistentvolumeclaim", name) for name in mail.names("persistentvolumeclaim")}
    victim = sorted(before)[0]
    mail.run("delete", "persistentvolumeclaim", victim, "--wait=false")

    def seen() -> str:
        found = mail.find("persistentvolumeclaim", victim)
        gone = found is None or found["metadata"]["uid"] != before[victim]["metadata"]["uid"]
        return "" if gone and len(mail.entries()) == 2 else f"relays: {mail.entries()}"

    wait_until(seen, timeout_s=120)
    mail.wait_ready()
    assert all(entry["state"] == "Serving" for entry in mail.entries().values())


def test_children_deleted_and_changed_while_no_operator_runs_are_put_right_when_one_is_back(
    mail: Space,
) -> None:
    mail.wait_ready()
    relay = mail.names("deployment")[-1]
    policy = _content(mail.get("networkpolicy", "outbound-relay"))
    with no_operator(mail.kube):
        mail.run("delete", "deployment", relay)
        mail.run("delete", "poddisruptionbudget", "outbound-relay")
        mail.run(
            "patch", "networkpolicy", "outbound-relay", "--type=merge", "-p", '{"spec":{"ingress":[{}]}}'
        )
    _wait_content(mail, "networkpolicy", "outbound-relay", policy)
    wait_until(
        lambda: "" if mail.find("poddisruptionbudget", "outbound-relay") else "no budget", timeout_s=60
    )
    mail.wait_ready()
    assert relay in mail.names("deployment")


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("service", marks=pytest.mark.thorough("one kind shows it")),
        pytest.param("configmap", marks=pytest.mark.thorough("one kind shows it")),
        "deployment",
    ],
)
def test_an_object_of_somebody_else_is_never_taken_over_and_the_rest_goes_on(mail: Space, kind: str) -> None:
    name, foreign = f"taken-{kind}", _foreign(kind)
    mail.kube.apply(foreign | {"metadata": foreign["metadata"] | {"namespace": mail.namespace}})
    before = mail.get(kind, foreign["metadata"]["name"])
    mail.apply_pool(name, replicas=1, balancing={"replicas": 1})
    stalled = mail.wait_condition("Stalled", "True", reason="NameConflict", name=name)
    assert foreign["metadata"]["name"] in stalled["message"]
    assert mail.condition("Ready", name)["status"] == "False"
    assert mail.find("networkpolicy", f"{name}-relay") is not None
    after = mail.get(kind, foreign["metadata"]["name"])
    assert (after["metadata"]["uid"], after["spec" if "spec" in after else "data"]) == (
        before["metadata"]["uid"],
        before["spec" if "spec" in before else "data"],
    )
    assert "ownerReferences" not in after["metadata"]
    mail.run("delete", kind, foreign["metadata"]["name"])
    mail.wait_ready(name)
    mail.run("delete", "smtppool", name)


def _foreign(kind: str) -> Object:
    """An object of the name that the pool ``taken-<kind>`` needs for its own."""
    labels = {"app": "somebody-elses"}
    if kind == "service":
        spec: Object = {"ports": [{"port": 25}], "selector": labels}
        return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "taken-service"}, "spec": spec}
    if kind == "configmap":
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "taken-configmap-routing"},
            "data": {"a": "b"},
        }
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "a", "image": "localhost/a:0"}]},
    }
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    metadata = {"name": "taken-deployment-relay-0"}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def test_a_paused_pool_is_left_alone_but_watched(mail: Space) -> None:
    mail.apply_pool("resting", replicas=1, balancing={"replicas": 1})
    mail.wait_ready("resting")
    mail.run("annotate", "smtppool", "resting", "smtpfleet.io/paused=true")
    mail.wait_condition("Paused", "True", name="resting")
    mail.run("delete", "poddisruptionbudget", "resting-relay")
    mail.run("scale", "smtppool", "resting", "--replicas=2")
    # The status shows that the operator has looked at the pool after both changes.
    mail.wait_condition("Paused", "True", name="resting")
    assert mail.find("poddisruptionbudget", "resting-relay") is None
    assert list(mail.entries("resting")) == ["resting-relay-0"]
    mail.run("annotate", "smtppool", "resting", "smtpfleet.io/paused-")
    mail.wait_condition("Paused", "False", name="resting")
    mail.wait_ready("resting")
    assert mail.find("poddisruptionbudget", "resting-relay") is not None
    mail.run("delete", "smtppool", "resting")


def test_annotations_on_a_relay_drain_weigh_and_pause_it(mail: Space) -> None:
    mail.wait_ready()
    first, second = sorted(mail.entries())

    def wait_entry(name: str, **wanted: Any) -> None:
        def seen() -> str:
            entry = mail.entries()[name]
            return "" if wanted.items() <= entry.items() else str(entry)

        wait_until(seen, timeout_s=60)

    mail.run("annotate", "deployment", first, "smtpfleet.io/drain=true")
    mail.run("annotate", "deployment", second, "smtpfleet.io/weight=30")
    wait_entry(first, state="Draining", reason="DrainRequested", weight=0)
    wait_entry(second, state="Serving", weight=30)
    mail.run("annotate", "deployment", first, "smtpfleet.io/drain-", "smtpfleet.io/paused=true")
    wait_entry(first, message="takes no mail, delivers what it has; paused by annotation", weight=0)
    mail.run("annotate", "deployment", first, "smtpfleet.io/paused-")
    mail.run("annotate", "deployment", second, "smtpfleet.io/weight-")
    wait_entry(first, state="Serving", weight=100)
    wait_entry(second, state="Serving", weight=100)


def test_tools_that_compare_see_no_drift_of_the_pool(mail: Space) -> None:
    mail.wait_ready()
    manifest = json.dumps(mail.manifest())
    mail.kube.run("apply", "-f", "-", stdin=manifest)
    mail.wait_ready()
    assert mail.kube.run("diff", "-f", "-", stdin=manifest) == ""
    metadata = mail.get("smtppool", "outbound")["metadata"]
    assert "finalizers" not in metadata
    assert "labels" not in metadata
    assert list(metadata["annotations"]) == ["kubectl.kubernetes.io/last-applied-configuration"]


def test_a_stored_spec_that_this_release_does_not_know_is_told_and_what_runs_stays(mail: Space) -> None:
    """As after a rollback: a later release's definition has let a field in that this operator cannot act on."""
    mail.wait_ready()
    versions = mail.versions()
    path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/future"
    field = [{"op": "add", "path": path, "value": {"type": "string"}}]
    # As Helm: a change by another manager would keep the next release from being applied.
    patch = ("patch", "crd", "smtppools.smtpfleet.io", "--field-manager=helm", "--type=json", "-p")
    mail.kube.run(*patch, json.dumps(field))
    try:
        wait_until(lambda: _stores_future(mail), timeout_s=60)
        stalled = mail.wait_condition("Stalled", "True", reason="InvalidSpec")
        assert "future" in stalled["message"]
        assert mail.condition("Ready")["reason"] == "InvalidSpec"
        pool = "SmtpPool/outbound"
        assert mail.versions() | {pool: ""} == versions | {pool: ""}
        mail.run("patch", "smtppool", "outbound", "--type=merge", "-p", '{"spec":{"future":null}}')
        mail.wait_ready()
    finally:
        mail.kube.run(*patch, json.dumps([{"op": "remove", "path": path}]))


def _stores_future(mail: Space) -> str:
    mail.run("patch", "smtppool", "outbound", "--type=merge", "-p", '{"spec":{"future":"x"}}')
    stored = mail.get("smtppool", "outbound")["spec"]
    return "" if "future" in stored else "the API server does not know the field yet"


def test_a_manifest_that_nobody_could_use_never_reaches_the_operator(mail: Space) -> None:
    with pytest.raises(KubeError, match="nobody may hand in mail"):
        mail.apply_pool("wrong", submission={"trustedNetworks": []})
