"""The local cluster does what tests rely on: faults are real and can be undone, and nothing of it outlives it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from testbed import settings
from testbed.errors import CommandError
from testbed.handle import ClusterHandle

NAMESPACE = "testbed"
# From the host: says what a connection gives, within seconds and not after the kernel's minutes.
CONNECT = "import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3)"


@pytest.fixture(scope="module")
def namespace(cluster: ClusterHandle) -> Iterator[ClusterHandle]:
    """The cluster with a namespace for the pods of these tests."""
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    yield cluster
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture
def other() -> Iterator[ClusterHandle]:
    """A second cluster beside that of the other tests."""
    handle = ClusterHandle.of_environment({**os.environ, "CLUSTER_NAME": "smtpfleet-other"})
    yield handle
    handle.testbed("down")


def pod(cluster: ClusterHandle, name: str, *, claim: str = "", **spec: Any) -> dict[str, Any]:
    """A pod that listens on port 8080, with a claim at /data."""
    container = {
        "name": "main",
        "image": cluster.images["sink"],
        "command": ["python3", "-m", "http.server", "8080"],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    volume = {"persistentVolumeClaim": {"claimName": claim}} if claim else {"emptyDir": {}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": name}},
        "spec": {
            "containers": [container],
            "volumes": [{"name": "data", **volume}],
            "terminationGracePeriodSeconds": 0,
            **spec,
        },
    }


def claim(name: str, storage_class: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "accessModes": ["ReadWriteOncePod"],
            "storageClassName": storage_class,
            "resources": {"requests": {"storage": "32Mi"}},
        },
    }


def wait_ready(cluster: ClusterHandle, name: str) -> None:
    cluster.kubectl("-n", NAMESPACE, "wait", "--for=condition=Ready", f"pod/{name}", "--timeout=120s")


def in_pod(cluster: ClusterHandle, name: str, script: str) -> str:
    return cluster.kubectl("-n", NAMESPACE, "exec", name, "--", "sh", "-c", script)


def eventually(holds: Callable[[], bool]) -> None:
    """Wait for something that the cluster does by itself; how long it takes is not what is tested."""
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline, "did not come true"
        time.sleep(0.2)


def succeeds(action: Callable[[], object]) -> bool:
    try:
        action()
    except CommandError:
        return False
    return True


def kubelet_answers(cluster: ClusterHandle, node: str) -> bool:
    """Whether the node can be reached over the cluster's network."""
    addresses = cluster.get("node", node)["status"]["addresses"]
    address = next(entry["address"] for entry in addresses if entry["type"] == "InternalIP")
    return succeeds(lambda: cluster.in_cluster([sys.executable, "-c", CONNECT, address, "10250"]))


def leftovers(cluster: ClusterHandle) -> list[str]:
    """Whatever of a cluster can still be seen on the machine: processes, mounts, control groups, files."""
    state = str(cluster.identity.state)
    found = [str(path) for path in (cluster.identity.state, cluster.kubeconfig) if path.exists()]
    found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if state in line]
    group = cluster.identity.cgroup.strip("/")
    # Not by a glob: groups of other clusters go while it looks into them.
    found += [f"{path}/{group}" for path, below, _ in os.walk("/sys/fs/cgroup") if group in below]
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            argv = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            found += [f"{process.name}: {' '.join(argv)}"] if any(state in word for word in argv) else []
    losetup = subprocess.run(
        ["losetup", "--list", "--json"], capture_output=True, text=True, check=True
    ).stdout
    devices = json.loads(losetup or '{"loopdevices": []}')["loopdevices"]
    return found + [device["name"] for device in devices if state in device["back-file"]]


def crash_start(cluster: ClusterHandle, *, once: str) -> None:
    """Start a cluster and kill the command as soon as that file of its state is there."""
    argv = [sys.executable, "-m", "testbed", "up", "--no-images"]
    with subprocess.Popen(argv, env=cluster.environment(), start_new_session=True) as starting:
        eventually((cluster.identity.state / once).exists)
        os.killpg(starting.pid, signal.SIGKILL)


@pytest.mark.thorough("the next test removes a crashed start")
def test_a_crashed_start_is_resumed_beside_another_cluster_and_removed_without_a_trace(
    cluster: ClusterHandle, other: ClusterHandle
) -> None:
    crash_start(other, once="n1/machine.json")
    other.testbed("up", "--no-images")
    other.kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=60s")
    known = settings.load(other.identity)
    assert known is not None
    other.testbed("down")
    assert leftovers(other) == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", known.port), timeout=3)
    assert cluster.kubectl("get", "--raw", "/readyz") == "ok"


def test_down_removes_what_a_crashed_start_left(other: ClusterHandle) -> None:
    crash_start(other, once="cp/machine.json")
    other.testbed("down")
    assert leftovers(other) == []


def status(cluster: ClusterHandle) -> tuple[int, dict[str, str]]:
    """Exit status of `status`, and what it says about each machine."""
    argv = [sys.executable, "-m", "testbed", "status"]
    shown = subprocess.run(argv, env=cluster.environment(), capture_output=True, text=True, check=False)
    lines = [line.split(maxsplit=1) for line in shown.stdout.splitlines()]
    return shown.returncode, {machine: state.strip() for machine, state in lines}


def test_a_node_that_lost_its_power_comes_back_with_its_volumes(namespace: ClusterHandle) -> None:
    cluster = namespace
    cluster.apply(claim("kept", "local-path-sized"), pod(cluster, "kept", claim="kept"))
    wait_ready(cluster, "kept")
    in_pod(cluster, "kept", "echo content >/data/file; sync")
    node = cluster.get("pod", "kept", "-n", NAMESPACE)["spec"]["nodeName"]
    started = cluster.get("pod", "kept", "-n", NAMESPACE)["status"]["containerStatuses"][0]["containerID"]
    cluster.node("stop", node)
    assert not kubelet_answers(cluster, node)
    assert status(cluster) == (1, {"cp": "up", "n1": "up", "n2": "up", node: "DOWN"})
    cluster.node("start", node)

    def runs_anew() -> bool:
        (status,) = cluster.get("pod", "kept", "-n", NAMESPACE)["status"]["containerStatuses"]
        return bool(status["ready"] and status["containerID"] != started)

    eventually(runs_anew)
    assert in_pod(cluster, "kept", "cat /data/file") == "content\n"


def test_a_node_that_is_cut_off_is_reached_by_nobody_until_it_is_connected(cluster: ClusterHandle) -> None:
    cluster.node("cut", "n2")
    try:
        assert not kubelet_answers(cluster, "n2")
        assert kubelet_answers(cluster, "n1")
    finally:
        cluster.node("connect", "n2")
    eventually(lambda: kubelet_answers(cluster, "n2"))


def test_up_undoes_every_fault(cluster: ClusterHandle) -> None:
    cluster.node("cut", "n1")
    cluster.api_server("pause")
    assert status(cluster)[1]["n1"] == "cut off: DOWN"
    cluster.repair()
    assert status(cluster) == (0, {"cp": "up", "n1": "up", "n2": "up"})
    eventually(lambda: kubelet_answers(cluster, "n1"))


def test_a_paused_api_server_answers_nothing_until_it_is_resumed(cluster: ClusterHandle) -> None:
    cluster.api_server("pause")
    try:
        assert not succeeds(lambda: cluster.kubectl("get", "--raw", "/livez", "--request-timeout=3s"))
    finally:
        cluster.api_server("resume")
    assert cluster.kubectl("get", "--raw", "/livez") == "ok"


def test_a_filled_volume_takes_no_byte_until_it_is_freed(namespace: ClusterHandle) -> None:
    cluster = namespace
    cluster.apply(claim("full", "local-path-sized"), pod(cluster, "full", claim="full"))
    wait_ready(cluster, "full")
    write = "head -c 100000 /dev/zero >/data/file"
    cluster.volume("fill", f"{NAMESPACE}/full")
    with pytest.raises(CommandError, match="No space left on device"):
        in_pod(cluster, "full", write)
    cluster.volume("free", f"{NAMESPACE}/full")
    in_pod(cluster, "full", write)


def test_a_volume_that_shares_the_machines_disk_is_never_filled(namespace: ClusterHandle) -> None:
    cluster = namespace
    cluster.apply(claim("shared", "local-path"), pod(cluster, "shared", claim="shared"))
    wait_ready(cluster, "shared")
    with pytest.raises(subprocess.CalledProcessError):
        cluster.volume("fill", "shared")
    in_pod(cluster, "shared", "echo content >/data/file")


def test_a_claim_of_one_pod_is_not_given_to_a_second(namespace: ClusterHandle) -> None:
    cluster = namespace
    cluster.apply(claim("one", "local-path"), pod(cluster, "first", claim="one"))
    wait_ready(cluster, "first")
    cluster.apply(pod(cluster, "second", claim="one"))

    def refused() -> bool:
        conditions = cluster.get("pod", "second", "-n", NAMESPACE)["status"].get("conditions", [])
        return any("ReadWriteOncePod" in condition.get("message", "") for condition in conditions)

    eventually(refused)


def test_an_eviction_respects_the_disruption_budget(namespace: ClusterHandle) -> None:
    cluster = namespace
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "main", "namespace": NAMESPACE},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "only"}}},
    }
    cluster.apply(budget, pod(cluster, "only"))
    wait_ready(cluster, "only")
    eventually(
        lambda: cluster.get("pdb", "main", "-n", NAMESPACE).get("status", {}).get("currentHealthy") == 1
    )
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": "only", "namespace": NAMESPACE},
    }
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/only/eviction"
    with pytest.raises(CommandError, match="disruption budget"):
        cluster.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))


def test_pod_security_is_enforced_where_a_namespace_asks_for_it(namespace: ClusterHandle) -> None:
    cluster = namespace
    strict = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": strict}}
    )
    try:
        with pytest.raises(CommandError, match="violates PodSecurity"):
            cluster.apply(pod(cluster, "lax"))
    finally:
        cluster.kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce-")


def test_pods_and_the_host_find_the_records_of_the_mail_domain_and_no_others(
    namespace: ClusterHandle,
) -> None:
    cluster = namespace
    cluster.apply(pod(cluster, "asks"))
    wait_ready(cluster, "asks")
    cluster.mail_zone("@ MX 10 mx1\nmx1 A 10.9.8.7\n")
    look_up = ["getent", "hosts", "mx1.mail.test"]
    eventually(lambda: succeeds(lambda: cluster.in_cluster(look_up)))
    assert in_pod(cluster, "asks", "getent hosts mx1.mail.test").split()[0] == "10.9.8.7"
    assert not succeeds(lambda: cluster.in_cluster(["getent", "hosts", "mx1.elsewhere.example"]))


def test_a_command_of_the_host_reaches_services_by_name_from_everywhere(namespace: ClusterHandle) -> None:
    cluster = namespace
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "main", "namespace": NAMESPACE},
        "spec": {"selector": {"app": "serves"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    cluster.apply(service, pod(cluster, "serves"))
    wait_ready(cluster, "serves")
    argv = [sys.executable, "-c", CONNECT, f"main.{NAMESPACE}", "80"]
    for source in ("cp", "n1", "n2"):
        reach = partial(cluster.in_cluster, argv, source=source)
        eventually(partial(succeeds, reach))


def test_a_command_in_the_cluster_gets_input_and_its_exit_status_back(cluster: ClusterHandle) -> None:
    assert cluster.in_cluster(["cat"], stdin="text") == "text"
    with pytest.raises(CommandError) as failure:
        cluster.in_cluster(["sh", "-c", "exit 42"])
    assert failure.value.returncode == 42


def test_metrics_of_the_api_server_can_be_read(cluster: ClusterHandle) -> None:
    assert "apiserver_request_total" in cluster.kubectl("get", "--raw", "/metrics")
