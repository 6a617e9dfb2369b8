"""The API as the real API server enforces it: what is stored, what is refused with which words, what kubectl shows."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from scenario.apiserver import KubeError, server
from smtpfleet.api import crd, names
from smtpfleet.api.pool import SmtpPoolSpec
from smtpfleet.api.postfix_parameters import OWNED
from testbed import generate
from testbed.errors import CommandError
from testbed.handle import ClusterHandle
from tests.cluster.manifests import BAD, EVERYTHING, TRUSTED, relay, routes, trusting

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "api-tests"
POOLS = f"/apis/{names.API_VERSION}/namespaces/{NAMESPACE}/smtppools"


def _pool(spec: dict[str, Any], name: str = "outbound") -> dict[str, Any]:
    # Paused: an operator that runs in this cluster must not act on what these tests store.
    metadata = {"name": name, "namespace": NAMESPACE, "annotations": {names.PAUSED_ANNOTATION: "true"}}
    return {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": metadata, "spec": spec}


def _documented(page: str) -> dict[str, Any]:
    """The spec of the first manifest of a page of the documentation."""
    block = (ROOT / "docs" / page).read_text().split("```yaml\n")[1].split("```")[0]
    spec: dict[str, Any] = yaml.safe_load(block)["spec"]
    return spec


@pytest.fixture(scope="module")
def api(cluster: ClusterHandle) -> Iterator[ClusterHandle]:
    """The cluster with the CRD and a namespace of these tests."""
    definition = crd.crd()
    # Marks by which Helm takes over what is there already: other tests install the chart into the same cluster.
    definition["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "Helm"}
    definition["metadata"]["annotations"] = {
        "meta.helm.sh/release-name": generate.RELEASE,
        "meta.helm.sh/release-namespace": generate.NAMESPACE,
    }
    cluster.apply(definition, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    cluster.kubectl("wait", "--for=condition=Established", f"crd/{crd.CRD_NAME}", "--timeout=60s")
    # These tests write statuses themselves; an operator that earlier tests installed would write its own.
    operator = ("deployment", "-n", generate.NAMESPACE, "-l", "app.kubernetes.io/component=operator")
    installed = cluster.get(*operator)["items"]
    if installed:
        cluster.kubectl("scale", *operator, "--replicas=0")
        cluster.kubectl("wait", "pod", *operator[1:], "--for=delete", "--timeout=60s")
    yield cluster
    if installed:
        cluster.kubectl("scale", *operator, f"--replicas={installed[0]['spec']['replicas']}")
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture
def stored(api: ClusterHandle) -> Iterator[ClusterHandle]:
    """The same with the smallest pool in it."""
    server(api.kubeconfig).request("POST", POOLS, body=json.dumps(_pool(TRUSTED)))
    yield api
    server(api.kubeconfig).request("DELETE", f"{POOLS}/outbound")


def _create(api: ClusterHandle, manifest: dict[str, Any]) -> dict[str, Any]:
    """What the API server would store, if ``kubectl create`` asked for it."""
    path = f"{POOLS}?dryRun=All&fieldValidation=Strict"
    created: dict[str, Any] = json.loads(
        server(api.kubeconfig).request("POST", path, body=json.dumps(manifest))
    )
    return created


def _refusal(api: ClusterHandle, manifest: dict[str, Any]) -> str:
    with pytest.raises(KubeError) as refused:
        _create(api, manifest)
    return str(refused.value)


def _change(api: ClusterHandle, patch: dict[str, Any]) -> dict[str, Any]:
    """What the API server would store after a change of the spec."""
    changed: dict[str, Any] = json.loads(_patch(api, "outbound?dryRun=All", {"spec": patch}))
    return changed


def _patch(api: ClusterHandle, place: str, patch: dict[str, Any]) -> str:
    content = "application/merge-patch+json"
    return server(api.kubeconfig).request(
        "PATCH", f"{POOLS}/{place}", body=json.dumps(patch), content=content
    )


def test_the_api_server_accepts_the_definition_without_a_complaint(api: ClusterHandle) -> None:
    found = api.get("crd", crd.CRD_NAME)
    conditions = {entry["type"]: entry["status"] for entry in found["status"]["conditions"]}
    assert conditions["NamesAccepted"] == conditions["Established"] == "True"
    assert "NonStructuralSchema" not in conditions


def test_the_definition_is_stored_as_it_is_written(api: ClusterHandle) -> None:
    # Otherwise two appliers of the same file (Helm, kubectl, a GitOps tool) would conflict.
    assert api.get("crd", crd.CRD_NAME)["spec"]["versions"] == crd.crd()["spec"]["versions"]


@pytest.mark.parametrize(
    "spec",
    [TRUSTED, EVERYTHING, _documented("scaling.md")],
    ids=["smallest", "everything", "docs/scaling.md"],
)
def test_what_is_stored_is_what_the_models_say(api: ClusterHandle, spec: dict[str, Any]) -> None:
    stored = _create(api, _pool(spec))["spec"]
    models = SmtpPoolSpec.model_validate(spec)
    assert SmtpPoolSpec.model_validate(stored) == models
    dump = models.model_dump(mode="json", by_alias=True, exclude_none=True)
    dump["relay"]["resources"] = stored["relay"]["resources"]  # a whole number stays one in the store
    assert stored == dump


@pytest.mark.parametrize("case", BAD)
def test_a_bad_manifest_is_refused_with_words_that_help(api: ClusterHandle, case: str) -> None:
    spec, words = BAD[case]
    assert words in _refusal(api, _pool(spec))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a" * 41, "at most 40"),
        ("mail.outbound", "letters, digits and hyphens"),
        ("1st", "begin with a letter"),
    ],
)
def test_a_name_that_its_services_could_not_have_is_refused(
    api: ClusterHandle, name: str, words: str
) -> None:
    assert words in _refusal(api, _pool(TRUSTED, name))


def test_the_longest_name_is_accepted(api: ClusterHandle) -> None:
    assert _create(api, _pool(TRUSTED, "a" * 40))["metadata"]["name"] == "a" * 40


def test_every_parameter_of_the_operator_is_refused_by_its_name(api: ClusterHandle) -> None:
    # In the order of the alphabet, in groups: the message names one of the offenders.
    owned = sorted(OWNED)
    for group in (owned[start : start + 60] for start in range(0, len(owned), 60)):
        refusal = _refusal(api, _pool(relay(postfix=dict.fromkeys(group, "x"))))
        assert any(f"the main.cf parameter {name} itself" in refusal for name in group)


@pytest.mark.parametrize(
    "spec",
    [
        trusting("10.0.0.0/8", "192.0.2.7/32", "2a00::/16", "fc00::/7", "2001:db8::1/128"),
        relay(storage={"size": "1Mi", "ephemeral": True}),
        relay(resources={"requests": {"cpu": 2}}),
        relay(postfix={"mynetworks_of_mine": "x", "header_checks": "regexp:/dev/null"}),
        {**TRUSTED, "delivery": {"queueLifetime": "1h30m"}},
        {"submission": {"authentication": {"secretName": "outbound-users"}}},
        {**TRUSTED, "delivery": {"smarthost": {"host": "192.0.2.1"}}},
        routes(
            *({"domain": f"{number:03}.{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 50}"} for number in range(64))
        ),
    ],
)
def test_a_good_manifest_is_accepted(api: ClusterHandle, spec: dict[str, Any]) -> None:
    assert SmtpPoolSpec.model_validate(_create(api, _pool(spec))["spec"]) == SmtpPoolSpec.model_validate(spec)


def _examples() -> list[tuple[str, dict[str, Any]]]:
    """Every pool that stands in a document."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [
        (page.name, document)
        for page in pages
        for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
        for document in yaml.safe_load_all(block)
        if isinstance(document, dict) and document.get("kind") == names.KIND
    ]


@pytest.mark.parametrize(("page", "example"), _examples())
def test_the_examples_of_the_documents_are_accepted(
    api: ClusterHandle, page: str, example: dict[str, Any]
) -> None:
    assert _create(api, _pool(example["spec"], example["metadata"]["name"]))["kind"] == example["kind"], page


def test_an_unknown_field_is_warned_of_and_dropped_without_strict_validation(api: ClusterHandle) -> None:
    manifest = json.dumps(_pool({**TRUSTED, "replica": 3}))
    tool = [str(api.identity.tools / "kubectl"), f"--kubeconfig={api.kubeconfig}"]
    done = subprocess.run(
        [*tool, "create", "--dry-run=server", "--validate=warn", "-o", "json", "-f", "-"],
        input=manifest, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert 'unknown field "spec.replica"' in done.stderr
    assert "replica" not in json.loads(done.stdout)["spec"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"relay": {"storage": {"storageClassName": "fast"}}}, "storageClassName cannot be changed"),
        ({"relay": {"storage": {"ephemeral": True}}}, "ephemeral cannot be changed"),
    ],
)
def test_what_would_leave_queues_behind_cannot_be_changed(
    stored: ClusterHandle, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(KubeError) as refused:
        _change(stored, change)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    "size", ["2Gi", "500Mi"], ids=["larger", "smaller: a way back where volumes cannot grow"]
)
def test_everything_else_can_be_changed(stored: ClusterHandle, size: str) -> None:
    change = {**EVERYTHING, "relay": {**EVERYTHING["relay"], "storage": {"size": size}}}
    assert _change(stored, change)["spec"]["relay"]["storage"]["size"] == size


def test_kubectl_knows_the_short_name_and_the_category(stored: ClusterHandle) -> None:
    for word in ("smtp", "smtppool", "smtppools", "mail"):
        assert (
            stored.kubectl("get", word, "-n", NAMESPACE, "-o", "name") == "smtppool.smtpfleet.io/outbound\n"
        )


def _report(api: ClusterHandle) -> None:
    condition = {"observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"}
    status = {
        "replicas": 2,
        "readyOfDesired": "1/2",
        "backlog": 12,
        "deferred": 3,
        "endpoint": "outbound.api-tests.svc:587",
        "selector": "smtpfleet.io/pool=outbound,app.kubernetes.io/component=relay",
        "conditions": [
            {
                "type": "Ready",
                "status": "False",
                "reason": "RelaysNotReady",
                "message": "one is missing",
                **condition,
            }
        ],
    }
    _patch(api, "outbound/status", {"status": status})


def test_kubectl_get_shows_the_pool_at_a_glance(stored: ClusterHandle) -> None:
    _report(stored)
    header, row = stored.kubectl("get", "smtp", "-n", NAMESPACE).splitlines()
    assert header.split() == ["NAME", "READY", "RELAYS", "BACKLOG", "DEFERRED", "REASON", "AGE"]
    assert row.split()[:6] == ["outbound", "False", "1/2", "12", "3", "RelaysNotReady"]
    wide = stored.kubectl("get", "smtp", "-n", NAMESPACE, "-o", "wide")
    assert "outbound.api-tests.svc:587   LeastConnections   one is missing" in wide


def test_the_status_is_written_apart_from_the_spec(stored: ClusterHandle) -> None:
    _report(stored)
    pool = stored.get("smtp", "outbound", "-n", NAMESPACE)
    assert pool["status"]["backlog"] == 12
    assert pool["metadata"]["generation"] == 1


def test_kubectl_scale_sets_the_number_of_relays(stored: ClusterHandle) -> None:
    _report(stored)
    stored.kubectl("scale", "smtp/outbound", "-n", NAMESPACE, "--current-replicas=2", "--replicas=5")
    assert stored.get("smtp", "outbound", "-n", NAMESPACE)["spec"]["replicas"] == 5


def test_the_scale_subresource_has_what_an_autoscaler_needs(stored: ClusterHandle) -> None:
    _report(stored)
    path = f"/apis/{names.API_VERSION}/namespaces/{NAMESPACE}/smtppools/outbound/scale"
    scale = json.loads(stored.kubectl("get", "--raw", path))
    assert scale["spec"]["replicas"] == 2
    assert scale["status"] == {
        "replicas": 2,
        "selector": "smtpfleet.io/pool=outbound,app.kubernetes.io/component=relay",
    }


def test_scaling_out_of_bounds_is_refused(stored: ClusterHandle) -> None:
    with pytest.raises(CommandError, match="less than or equal to 200"):
        stored.kubectl("scale", "smtp/outbound", "-n", NAMESPACE, "--replicas=201")


def test_a_pool_that_is_sized_by_its_queues_is_not_scaled_by_others(stored: ClusterHandle) -> None:
    _patch(stored, "outbound", {"spec": {"autoscaling": {"maxReplicas": 4}}})
    with pytest.raises(CommandError, match="replicas and autoscaling do not go together"):
        stored.kubectl("scale", "smtp/outbound", "-n", NAMESPACE, "--replicas=3")


@pytest.mark.parametrize(
    "field",
    ["", ".spec.submission.trustedNetworks", ".spec.relay.postfix", ".spec.balancing.method", ".status"],
)
def test_kubectl_explain_describes_fields(api: ClusterHandle, field: str) -> None:
    text = api.kubectl("explain", f"smtppool{field}")
    assert "DESCRIPTION:" in text
    assert "<empty>" not in text


def test_kubectl_explain_lists_every_field(api: ClusterHandle) -> None:
    text = api.kubectl("explain", "smtppool.spec", "--recursive")
    for field in (
        "trustedNetworks",
        "queueLifetime",
        "storageClassName",
        "priorityClassName",
        "deletionPolicy",
    ):
        assert field in text
