"""The chart on a real cluster: it carries mail, with the rights it has and no more, in all namespaces or in one."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scenario.cluster import OPERATOR_NAMESPACE, RELEASE, Local, install
from scenario.kube import wait_until
from testbed import generate
from testbed.handle import ClusterHandle

ROOT = Path(__file__).resolve().parents[2]
TEAM = "chart-tests"
OPERATOR = f"system:serviceaccount:{OPERATOR_NAMESPACE}:{RELEASE}"
OPERATOR_LABEL = "app.kubernetes.io/component=operator"
HELM_TEST_S = 330


def _helm(local: Local, *arguments: str, timeout_s: float = 240) -> str:
    done = subprocess.run(
        [str(local.cluster.tools / "helm"), *arguments],
        env=dict(local.kube.environment), capture_output=True, text=True, timeout=timeout_s, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout + done.stderr


def _may(local: Local, who: str, verb: str, resource: str, *, namespace: str = TEAM) -> bool:
    group, _, rest = resource.rpartition("/")
    plural, _, subresource = rest.partition(":")
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": who,
            "resourceAttributes": {
                "verb": verb,
                "group": group,
                "resource": plural,
                "subresource": subresource,
                "namespace": namespace,
            },
        },
    }
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    answer: dict[str, Any] = json.loads(local.kube.post_raw(path, json.dumps(review)))
    return bool(answer["status"]["allowed"])


def _namespace(name: str, level: str) -> dict[str, Any]:
    labels = {"pod-security.kubernetes.io/enforce": level}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


@pytest.fixture(scope="module")
def team(local: Local) -> Iterator[Local]:
    """The cluster with a namespace for a team's pools: it admits relays and nothing with more privileges.

    `helm test` makes its pool there, so that the operator's namespace could be a restricted one.
    """
    local.kube.apply(_namespace(TEAM, "baseline"))
    install(local, f"test.namespace={TEAM}")
    yield local
    install(local)
    local.kube.run("delete", "namespace", TEAM, "--wait=false")


def test_helm_test_sends_a_message_through_a_pool(team: Local) -> None:
    output = _helm(team, "test", RELEASE, "-n", OPERATOR_NAMESPACE, "--timeout", "5m", timeout_s=HELM_TEST_S)
    assert "message acknowledged with 250" in output
    assert "message arrived" in output


def test_all_pods_of_the_release_would_pass_pod_security_restricted(team: Local) -> None:
    label = ("label", "--dry-run=server", "--overwrite", "namespace", OPERATOR_NAMESPACE)
    done = subprocess.run(
        [str(team.kube.kubectl), *label, "pod-security.kubernetes.io/enforce=restricted"],
        env=dict(team.kube.environment), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "violate" not in done.stderr


def test_the_one_file_deployment_is_accepted(cluster: ClusterHandle, team: Local) -> None:
    file = str(ROOT / generate.DEPLOY_FILE)
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", file)


@pytest.mark.parametrize(
    ("verb", "resource"),
    [
        ("delete", "secrets"),
        ("update", "secrets"),
        ("create", "pods"),
        ("create", "pods:exec"),
        ("deletecollection", "pods"),
        ("create", "smtpfleet.io/smtppools"),
        ("update", "smtpfleet.io/smtppools"),
        ("delete", "smtpfleet.io/smtppools"),
        ("escalate", "rbac.authorization.k8s.io/roles"),
        ("bind", "rbac.authorization.k8s.io/roles"),
        ("create", "rbac.authorization.k8s.io/clusterroles"),
        ("impersonate", "serviceaccounts"),
        ("create", "serviceaccounts:token"),
        ("get", "nodes"),
    ],
)
def test_the_operator_may_not(team: Local, verb: str, resource: str) -> None:
    assert not _may(team, OPERATOR, verb, resource)


def test_the_operator_may_only_touch_its_own_lease(team: Local) -> None:
    assert not _may(team, OPERATOR, "update", "coordination.k8s.io/leases", namespace="kube-system")
    assert not _may(team, OPERATOR, "list", "coordination.k8s.io/leases", namespace=OPERATOR_NAMESPACE)


@pytest.mark.parametrize(
    ("role", "allowed", "refused"),
    [
        ("view", {"get", "list", "watch"}, {"create", "update", "patch", "delete"}),
        ("edit", {"get", "list", "watch", "create", "update", "patch", "delete"}, set()),
        ("admin", {"get", "list", "watch", "create", "update", "patch", "delete"}, set()),
    ],
)
def test_the_clusters_roles_include_pools(
    team: Local, role: str, allowed: set[str], refused: set[str]
) -> None:
    user = f"{role}-of-{TEAM}"
    team.kube.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": user, "namespace": TEAM},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        }
    )

    def other_than_allowed() -> str:
        verbs = {verb for verb in allowed | refused if _may(team, user, verb, "smtpfleet.io/smtppools")}
        return f"{verbs ^ allowed}" if verbs != allowed else ""

    wait_until(other_than_allowed, timeout_s=30)  # the API server knows of a binding a moment after it has it
    assert not _may(team, user, "patch", "smtpfleet.io/smtppools:status"), "status is the operator's"


@pytest.fixture
def alone(team: Local) -> Iterator[Local]:
    """The same while the operator for all namespaces rests: two operators must not care for one pool."""
    deployment = ("deployment", RELEASE, "-n", OPERATOR_NAMESPACE)
    team.kube.run("scale", *deployment, "--replicas=0")
    pods = ("pod", "-n", OPERATOR_NAMESPACE, "-l", f"app.kubernetes.io/instance={RELEASE},{OPERATOR_LABEL}")
    team.kube.run("wait", "--for=delete", *pods, "--timeout=60s")
    yield team
    team.kube.run("scale", *deployment, "--replicas=2")
    team.kube.run("rollout", "status", *deployment, "--timeout=120s", timeout_s=130)


def test_a_release_for_one_namespace_carries_mail_without_any_cluster_role(alone: Local) -> None:
    operators = f"{TEAM}-operator"
    alone.kube.apply(_namespace(operators, "restricted"))
    images = [f"images.{name}={alone.images[name]}" for name in ("operator", "relay", "balancer")]
    values = [f"watchNamespace={TEAM}", "crds.enabled=false", "replicas=1", *images]
    try:
        _helm(
            alone, "install", "team", str(ROOT / generate.CHART), "-n", operators, "--wait", "--timeout", "3m",
            *(word for value in values for word in ("--set", value)),
        )  # fmt: skip
        output = _helm(alone, "test", "team", "-n", operators, "--timeout", "5m", timeout_s=HELM_TEST_S)
        assert "message arrived" in output
        roles = alone.kube.get("clusterroles,clusterrolebindings", "-l", "app.kubernetes.io/instance=team")
        assert roles["items"] == []
        account = f"system:serviceaccount:{operators}:team-smtpfleet"
        assert not _may(alone, account, "list", "smtpfleet.io/smtppools", namespace="default")
        _helm(alone, "uninstall", "team", "-n", operators, "--wait")
    finally:
        alone.kube.run("delete", "namespace", operators, "--timeout=120s", timeout_s=130)
