"""The chart as Helm renders it: secure pods, complete values, and a namespaced mode without cluster roles."""

import itertools
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from smtpfleet.api import names
from smtpfleet.api.pool import SmtpPoolSpec
from smtpfleet.controller.settings import from_environment
from smtpfleet.resources.policies import relay_policy
from smtpfleet.resources.pool import Images, Pool
from testbed import generate
from testbed.binaries import client_tools
from testbed.commands import run
from testbed.errors import CommandError

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / generate.CHART
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
SPEC = SmtpPoolSpec.model_validate({"submission": {"trustedNetworks": ["10.0.0.0/8"]}})
ONE_NAMESPACE = 'watchNamespace="mail"'

Object = dict[str, Any]


@cache
def _render(*values: str) -> list[Object]:
    text = generate.rendered_chart(CHART, values=values, tests=True)
    return [document for document in yaml.safe_load_all(text) if document]


def _one(kind: str, *values: str, name: str = "smtpfleet") -> Object:
    found = [
        thing for thing in _render(*values) if thing["kind"] == kind and thing["metadata"]["name"] == name
    ]
    assert len(found) == 1
    return found[0]


def _kinds(*values: str) -> set[str]:
    return {thing["kind"] for thing in _render(*values)}


def _pod_spec(name: str) -> Object:
    spec: Object = (
        _one("Deployment")["spec"]["template"]["spec"]
        if name == "operator"
        else _one("Pod", name="smtpfleet-test")["spec"]
    )
    return spec


def _environment(*values: str) -> dict[str, str]:
    container = _one("Deployment", *values)["spec"]["template"]["spec"]["containers"][0]
    return {entry["name"]: entry.get("value", "") for entry in container["env"]}


def test_helm_lint_has_nothing_to_say() -> None:
    run([str(client_tools() / "helm"), "lint", "--strict", "--quiet", str(CHART)])


@pytest.mark.parametrize("name", ["operator", "test"])
def test_pods_are_of_pod_security_restricted(name: str) -> None:
    spec = _pod_spec(name)
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert {kind for volume in spec["volumes"] for kind in volume} <= {"name", "emptyDir", "configMap"}
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@pytest.mark.parametrize("name", ["operator", "test"])
def test_pods_say_what_they_need_and_at_most_take(name: str) -> None:
    spec = _pod_spec(name)
    for container in spec["containers"]:
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert {"cpu", "memory"} <= set(container["resources"]["limits"])


def test_two_operators_on_different_nodes_survive_a_node_drain() -> None:
    deployment = _one("Deployment")
    assert deployment["spec"]["replicas"] == 2
    spread = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert {entry["topologyKey"] for entry in spread} == {
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    }
    budget = _one("PodDisruptionBudget")
    assert budget["spec"]["selector"] == deployment["spec"]["selector"]


def test_a_single_operator_has_no_budget_that_would_block_a_drain() -> None:
    assert "PodDisruptionBudget" not in _kinds("replicas=1")


def test_probes_and_metrics_use_the_port_of_all_agents() -> None:
    container = _one("Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert container["ports"] == [{"name": "http", "containerPort": names.HTTP_PORT}]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] == "http"
    assert _one("Service", name="smtpfleet-metrics")["spec"]["ports"][0]["port"] == names.HTTP_PORT


def test_services_budgets_and_policies_do_not_select_the_tests_pod() -> None:
    labels = _one("Pod", name="smtpfleet-test")["metadata"]["labels"]
    selector = _one("Deployment")["spec"]["selector"]["matchLabels"]
    assert not selector.items() <= labels.items()


def test_the_operator_may_only_talk_to_dns_the_api_server_and_relays() -> None:
    egress = _one("NetworkPolicy")["spec"]["egress"]
    ports = [{(port["port"], port["protocol"]) for port in rule["ports"]} for rule in egress]
    agents_and_probes = {(names.HTTP_PORT, "TCP"), (names.SMTP_PORT, "TCP")}
    assert ports == [{(53, "UDP"), (53, "TCP")}, {(443, "TCP"), (6443, "TCP")}, agents_and_probes]
    [relays] = egress[2]["to"]
    assert relays["podSelector"]["matchLabels"] == {
        names.MANAGED_BY_LABEL: names.FIELD_MANAGER,
        names.COMPONENT_LABEL: names.COMPONENT_RELAY,
    }
    [own] = _one("NetworkPolicy", ONE_NAMESPACE)["spec"]["egress"][2]["to"]
    assert own["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "mail"}


def test_relays_admit_the_pods_of_the_chart() -> None:
    """The policy of a pool names the operator's pods by labels that the chart gives them."""
    images = Images(relay="relay", balancer="balancer")
    pool = Pool("outbound", "mail", "uid", SPEC, images, operator_namespace=generate.NAMESPACE)
    [peer] = relay_policy(pool)["spec"]["ingress"][-1]["from"]
    labels = _one("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert peer["podSelector"]["matchLabels"].items() <= labels.items()


def test_one_namespace_needs_no_cluster_role() -> None:
    assert not {"ClusterRole", "ClusterRoleBinding"} & _kinds(ONE_NAMESPACE)
    assert _one("Role", ONE_NAMESPACE)["metadata"]["namespace"] == "mail"
    assert _one("Role", ONE_NAMESPACE)["rules"] == _one("ClusterRole")["rules"]
    assert _environment(ONE_NAMESPACE)["WATCH_NAMESPACE"] == "mail"
    assert _environment()["WATCH_NAMESPACE"] == ""


def test_two_releases_in_one_namespace_have_a_lease_each() -> None:
    [_, rule] = _one("Role", name="smtpfleet-lease")["rules"]
    assert rule["resourceNames"] == [_environment()["LEASE_NAME"]] == ["smtpfleet"]


def test_the_environment_makes_a_working_operator() -> None:
    environment = _environment() | {"POD_NAME": "smtpfleet-0", "POD_NAMESPACE": generate.NAMESPACE}
    settings = from_environment(environment)
    assert settings.watch_namespace == ""
    assert settings.http_port == names.HTTP_PORT
    assert settings.relay_image.startswith("localhost/smtpfleet-relay:")
    assert settings.balancer_image.startswith("localhost/smtpfleet-balancer:")


def test_everything_but_what_is_cluster_wide_is_in_the_releases_namespace() -> None:
    cluster_wide = {"CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}
    for thing in _render():
        if thing["kind"] in cluster_wide:
            assert "namespace" not in thing["metadata"]
        else:
            assert thing["metadata"]["namespace"] == generate.NAMESPACE


def test_the_crd_can_come_from_elsewhere() -> None:
    assert "CustomResourceDefinition" not in _kinds("crds.enabled=false")


def test_images_are_named_by_registry_and_tag_or_as_a_whole() -> None:
    values = (
        'image.registry="registry.example.com/mail"',
        'image.tag="1.2"',
        'images.relay="relay@sha256:00"',
    )
    image = _one("Deployment", *values)["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == "registry.example.com/mail/smtpfleet-operator:1.2"
    assert _environment(*values)["RELAY_IMAGE"] == "relay@sha256:00"
    assert _environment(*values)["BALANCER_IMAGE"] == "registry.example.com/mail/smtpfleet-balancer:1.2"


def test_every_optional_setting_of_the_pods_arrives() -> None:
    values = (
        'priorityClassName="high"',
        'nodeSelector={"a":"b"}',
        'tolerations=[{"key":"a","operator":"Exists"}]',
        'affinity={"nodeAffinity":{}}',
        'podLabels={"team":"mail"}',
        'podAnnotations={"note":"x"}',
        'env={"WORKERS":"8"}',
        'image.pullSecrets=[{"name":"pull"}]',
        'serviceAccount.annotations={"who":"me"}',
    )
    template = _one("Deployment", *values)["spec"]["template"]
    assert template["spec"]["priorityClassName"] == "high"
    assert template["spec"]["nodeSelector"] == {"a": "b"}
    assert template["spec"]["tolerations"] == [{"key": "a", "operator": "Exists"}]
    assert template["spec"]["affinity"] == {"nodeAffinity": {}}
    assert template["spec"]["imagePullSecrets"] == [{"name": "pull"}]
    assert template["metadata"]["labels"]["team"] == "mail"
    assert template["metadata"]["annotations"]["note"] == "x"
    assert _environment(*values)["WORKERS"] == "8"
    assert _one("ServiceAccount", *values)["metadata"]["annotations"] == {"who": "me"}


def test_a_label_of_the_user_cannot_take_a_pod_away_from_its_deployment() -> None:
    deployment = _one("Deployment", 'podLabels={"app.kubernetes.io/name":"other"}')
    selector = deployment["spec"]["selector"]["matchLabels"]
    assert selector.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ('image.registri="x"', "registri"),
        ("unknown=1", "unknown"),
        ("replicas=6", "replicas"),
        ('replicas="two"', "replicas"),
        ('image.pullPolicy="Sometimes"', "pullPolicy"),
        ('watchNamespace="Mail"', "watchNamespace"),
        ('test.pool="a.b"', "pool"),
        ('test.sender="nobody"', "sender"),
        ('resources.limits={"cpu":"much"}', "cpu"),
        ('env={"WATCH_NAMESPACE":"x"}', "WATCH_NAMESPACE"),
        ("networkPolicy.apiServerPorts=[]", "apiServerPorts"),
    ],
)
def test_a_wrong_value_is_refused_by_name(value: str, words: str) -> None:
    with pytest.raises(CommandError, match=words):
        _render(value)


def _objects(schema: Object, path: str = "") -> Iterator[tuple[str, Object]]:
    if schema.get("type") == "object":
        yield path, schema
    for name, child in (schema.get("properties") or {}).items():
        yield from _objects(child, f"{path}.{name}")
    for name, child in (schema.get("definitions") or {}).items():
        yield from _objects(child, f"{path}#{name}")
    if isinstance(schema.get("items"), dict):
        yield from _objects(schema["items"], f"{path}[]")


# Parts of Kubernetes' own API, checked by the API server; and what Helm itself puts there.
OPEN = {".global", ".affinity", ".networkPolicy.metricsFrom[]"}


def test_the_schema_of_values_is_closed() -> None:
    for path, schema in _objects(SCHEMA):
        if path.rsplit(".", 1)[0] not in OPEN and path not in OPEN:
            assert schema.get("additionalProperties") is not None, path
            assert schema["additionalProperties"] is not True, path


def _leaves(values: Object, schema: Object, path: str = "") -> Iterator[tuple[str, bool]]:
    for name, value in values.items():
        known = schema.get("properties", {}).get(name)
        yield f"{path}.{name}", known is not None
        if isinstance(value, dict) and known and "properties" in known:
            yield from _leaves(value, known, f"{path}.{name}")


def test_the_schema_knows_every_value_and_has_no_other() -> None:
    assert [path for path, known in _leaves(VALUES, SCHEMA) if not known] == []
    assert set(SCHEMA["properties"]) - {"global"} == set(VALUES)


def test_every_value_has_a_comment() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    inside = re.compile(
        r" +(requests|limits|cpu|memory):|[a-zA-Z]+:$"
    )  # explained by what stands above or below
    for above, line in itertools.pairwise(lines):
        if re.match(r" *[a-zA-Z]+:", line) and not inside.match(line):
            assert above.lstrip().startswith("#"), line


def test_the_notes_name_a_pool_that_the_schema_accepts() -> None:
    notes = (CHART / "templates/NOTES.txt").read_text()
    manifest = re.search(r"  (apiVersion: smtpfleet.*?)  EOF", notes, re.DOTALL)
    assert manifest
    pool = yaml.safe_load(re.sub(r"^  ", "", manifest[1], flags=re.MULTILINE))
    assert pool["spec"]["submission"]["trustedNetworks"]
