"""The objects of a pool: golden files for their form, sentences for what must be true of any of them."""

from dataclasses import replace
from typing import Any

import pytest

from smtpfleet.api import names
from smtpfleet.feed.access import SERVICE_ACCOUNT
from smtpfleet.resources import access, balancer, certificate, policies, relay
from smtpfleet.resources.marks import is_ours, is_predecessors
from smtpfleet.resources.pool import Object
from smtpfleet.resources.pool_service import pool_service
from tests.unit.resources.goldens import FILES, OBJECTS, pool, text

BASELINE = {
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
    "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}  # fmt: skip
"""Capabilities that Pod Security "baseline" lets a container add."""
WITH_PODS = [name for name in OBJECTS if "deployment" in name]


@pytest.mark.parametrize("name", OBJECTS)
def test_the_object_is_as_in_its_golden_file(name: str) -> None:
    assert text(OBJECTS[name]()) == (FILES / f"{name}.json").read_text()


def test_there_is_no_golden_file_without_an_object() -> None:
    assert {path.stem for path in FILES.glob("*.json")} == set(OBJECTS)


@pytest.mark.parametrize("name", OBJECTS)
def test_every_object_is_found_by_label(name: str) -> None:
    labels = OBJECTS[name]()["metadata"]["labels"]
    assert labels[names.MANAGED_BY_LABEL] == "smtpfleet"
    assert labels[names.POOL_LABEL] == "outbound"


@pytest.mark.parametrize("name", OBJECTS)
def test_every_object_but_a_kept_claim_goes_with_its_pool(name: str) -> None:
    owners = OBJECTS[name]()["metadata"].get("ownerReferences", [])
    assert [owner["uid"] for owner in owners] == ([] if name == "relay-claim" else [pool().uid])


@pytest.mark.parametrize("name", OBJECTS)
def test_every_object_is_recognised_as_the_pools_own(name: str) -> None:
    assert is_ours("outbound", pool().uid, OBJECTS[name]())


def _containers(deployment: Object) -> list[dict[str, Any]]:
    spec = deployment["spec"]["template"]["spec"]
    return [*spec.get("initContainers", []), *spec["containers"]]


@pytest.mark.parametrize("name", WITH_PODS)
def test_no_container_can_gain_privileges_or_write_to_its_image(name: str) -> None:
    for container in _containers(OBJECTS[name]()):
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"]["drop"] == ["ALL"]
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert set(security["capabilities"].get("add", ())) <= BASELINE


def test_balancers_add_no_capability_and_are_never_root() -> None:
    deployment = OBJECTS["balancer-deployment"]()
    assert deployment["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"] is True
    assert all(
        "add" not in container["securityContext"]["capabilities"] for container in _containers(deployment)
    )
    assert all("runAsUser" not in container["securityContext"] for container in _containers(deployment))


def test_a_relays_queue_files_are_never_given_to_a_group() -> None:
    assert "fsGroup" not in OBJECTS["relay-deployment"]()["spec"]["template"]["spec"]["securityContext"]


def test_nothing_of_the_routing_table_is_in_a_pod_template() -> None:
    plain = relay.relay_deployment(pool(), "outbound-relay-0", ephemeral=False)
    live = {
        "submission": {
            "trustedNetworks": ["192.168.0.0/16"],
            "messageSizeLimit": "5Mi",
            "hostname": "a.example",
        },
        "delivery": {"queueLifetime": "1d", "smarthost": {"host": "smtp.example"}},
        "relay": {"postfix": {"smtp_tls_loglevel": "1"}},
        "replicas": 7,
    }
    assert relay.relay_deployment(pool(**live), "outbound-relay-0", ephemeral=False) == plain
    changed = pool(**live, balancing={"method": "RoundRobin"})
    assert balancer.balancer_deployment(changed) == balancer.balancer_deployment(pool())


def test_the_death_of_a_balancers_agent_does_not_take_the_pod_out_of_the_service() -> None:
    agent = next(c for c in _containers(OBJECTS["balancer-deployment"]()) if c["name"] == "agent")
    assert "readinessProbe" not in agent
    assert "startupProbe" not in agent


def test_a_limit_without_a_request_is_not_undercut_by_a_default_request() -> None:
    made = relay.relay_deployment(
        pool(relay={"resources": {"limits": {"cpu": "50m"}}}), "outbound-relay-0", ephemeral=False
    )
    resources = made["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert resources == {"requests": {"memory": "128Mi"}, "limits": {"cpu": "50m"}}


def _claim(**metadata: Any) -> Object:
    labels = {names.POOL_LABEL: "outbound", names.MANAGED_BY_LABEL: "smtpfleet"}
    return {"kind": "PersistentVolumeClaim", "metadata": {"labels": labels} | metadata}


def _owner(uid: str, *, controller: bool = True) -> dict[str, Any]:
    return {"uid": uid, "controller": controller}


def test_a_claim_that_an_earlier_pool_of_the_name_left_is_adopted() -> None:
    assert is_ours("outbound", "new-uid", _claim())


def test_a_claim_that_another_controller_owns_is_not() -> None:
    assert not is_ours("outbound", "new-uid", _claim(ownerReferences=[_owner("old-uid")]))


def test_a_claim_of_another_pool_or_of_nobody_is_not() -> None:
    assert not is_ours("other", "new-uid", _claim())
    assert not is_ours("outbound", "new-uid", _claim(labels={}))


@pytest.mark.parametrize("kind", ["Service", "Deployment", "ConfigMap"])
def test_labels_alone_make_nothing_else_ours(kind: str) -> None:
    assert not is_ours("outbound", "uid", _claim() | {"kind": kind})


def test_what_a_deleted_pool_of_the_name_owned_is_neither_ours_nor_a_strangers() -> None:
    owner = _owner("old-uid") | {"apiVersion": names.API_VERSION, "kind": names.KIND, "name": "outbound"}
    left = _claim(ownerReferences=[owner])
    assert is_predecessors("outbound", left)
    assert not is_ours("outbound", "new-uid", left)
    assert not is_predecessors("other", left)
    assert not is_predecessors("outbound", _claim(ownerReferences=[owner | {"kind": "Deployment"}]))
    assert not is_predecessors("outbound", _claim())


def test_an_owner_that_does_not_control_does_not_count() -> None:
    thing = _claim(ownerReferences=[_owner("uid", controller=False)]) | {"kind": "Service"}
    assert not is_ours("outbound", "uid", thing)


def test_relays_may_read_exactly_the_secrets_that_the_spec_names() -> None:
    def names_of(**tls: str) -> list[str]:
        submission = {"trustedNetworks": ["10.0.0.0/8"], "tls": tls}
        rules = access.relay_access(pool(submission=submission))[1]["rules"]
        return [name for rule in rules if rule["resources"] == ["secrets"] for name in rule["resourceNames"]]

    own = "outbound-hand-off"
    assert names_of() == [own, "outbound-tls"]
    assert names_of(secretName="of-cert-manager") == ["of-cert-manager", own]
    assert names_of(mode="None", secretName="of-cert-manager") == [own]


def test_balancers_may_read_the_routing_table_and_no_secret_whatever_the_spec_names() -> None:
    submission = {"trustedNetworks": ["10.0.0.0/8"], "tls": {"secretName": "of-cert-manager"}}
    account, role, binding = access.balancer_access(replace(pool(submission=submission), senders=("news",)))
    rule = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["outbound-routing"]}
    assert role["rules"] == [rule | {"verbs": ["get", "list", "watch"]}]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert [subject["name"] for subject in binding["subjects"]] == [account["metadata"]["name"]]
    spec = balancer.balancer_deployment(pool())["spec"]["template"]["spec"]
    assert spec["serviceAccountName"] == account["metadata"]["name"]


def test_only_the_agent_of_a_balancer_has_a_token() -> None:
    deployment = balancer.balancer_deployment(pool())
    spec = deployment["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    (volume,) = (volume["name"] for volume in spec["volumes"] if "projected" in volume)
    mounts = {
        (container["name"], mount["mountPath"])
        for container in _containers(deployment)
        for mount in container["volumeMounts"]
        if mount["name"] == volume
    }
    assert mounts == {("agent", str(SERVICE_ACCOUNT))}


def test_nothing_runs_beside_a_relays_agent_for_its_token_is_in_every_container_of_the_pod() -> None:
    assert [container["name"] for container in _containers(OBJECTS["relay-deployment"]())] == ["relay"]


@pytest.mark.parametrize(("mode", "ports"), [("None", [25, 587]), ("Optional", [25, 587, 465])])
def test_the_pool_has_port_465_unless_there_is_no_tls(mode: str, ports: list[int]) -> None:
    submission = {"trustedNetworks": ["10.0.0.0/8"], "tls": {"mode": mode}}
    found = pool_service(pool(submission=submission))["spec"]["ports"]
    assert [port["port"] for port in found] == ports


def test_a_change_of_tls_replaces_no_pod() -> None:
    other = pool(submission={"trustedNetworks": ["10.0.0.0/8"], "tls": {"mode": "None", "secretName": "x"}})
    assert balancer.balancer_deployment(other) == balancer.balancer_deployment(pool())
    assert relay.relay_deployment(other, "r", ephemeral=False) == relay.relay_deployment(
        pool(), "r", ephemeral=False
    )


def test_a_stored_pair_is_read_back_and_a_broken_one_is_none() -> None:
    pair = certificate.Pair(certificate=b"c", key=b"k")
    secret = certificate.certificate_secret(pool(), pair)
    assert certificate.stored_pair(secret) == pair
    assert "k" not in repr(pair).removeprefix("Pair")
    for broken in (None, {}, {"data": {"tls.crt": "eA=="}}, {"data": {"tls.crt": "%", "tls.key": "eA=="}}):
        assert certificate.stored_pair(broken) is None


def test_the_certificate_has_every_name_of_the_pool_the_public_one_first() -> None:
    named = pool(submission={"trustedNetworks": ["10.0.0.0/8"], "hostname": "relay.example.com"})
    service = ("outbound.mail.svc", "outbound.mail.svc.cluster.local", "outbound.mail", "outbound")
    assert certificate.subject_names(pool()) == service
    assert certificate.subject_names(named) == ("relay.example.com", *service)


def test_besides_the_balancers_only_the_operators_pods_reach_the_relays_smtp_port() -> None:
    rule = policies.relay_policy(pool())["spec"]["ingress"][-1]
    [peer] = rule["from"]
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "smtpfleet-system"}
    assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "operator"
    assert [port["port"] for port in rule["ports"]] == [names.SMTP_PORT]
    without = policies.relay_policy(replace(pool(), operator_namespace=""))
    assert without["spec"]["ingress"] == policies.relay_policy(pool())["spec"]["ingress"][:-1]
