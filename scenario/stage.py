"""The stage: a namespace with a recording receiver and a pool that delivers to it.

Used by demo, tests and benchmarks, so that each says only what it does to the fleet. Whoever sets a stage removes
it (``with``); a stage never touches another namespace.
"""

import base64
import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from mailcheck.checker import fully_drained
from mailcheck.jsonl import decode_arrivals
from mailcheck.model import Arrival, Attempt
from mailcheck.sink.kept import KeptMessage, decode_kept
from scenario.apiserver import KubeError, NotFoundError
from scenario.kube import Kube, Object, wait_until
from scenario.load import ROOT

CLUSTER_NETWORKS: Final = ("10.0.0.0/8", "172.16.0.0/12")
"""Pods and nodes of local clusters: from where scenarios hand in mail."""
ONE_BALANCER: Final[Mapping[str, Mapping[str, Any]]] = {"balancing": {"replicas": 1}}
"""For scenarios of relays: every balancer is four containers."""
SINK: Final = "sink"
SINK_PORT: Final = 2525
CONTROL_PORT: Final = 8026
_KEPT: Final = 1000
_EMPTY_LOOKS: Final = 12
"""So often in a row every queue must be seen empty: a message on its way between two directories is in neither."""
_FRESH_LOOKS: Final = 6
"""The same where nobody says what is to arrive: an agent's count may be older than the last message."""


@dataclass(frozen=True, kw_only=True)
class Pod:
    """What scenarios need to know of a pod."""

    name: str
    node: str
    address: str
    ready: bool
    uid: str
    relay: str = ""


@dataclass(kw_only=True)
class Stage:
    """One namespace with a sink and pools; a context manager that removes it all.

    ``shape`` holds fields of every pool of the stage, such as :data:`ONE_BALANCER`, beneath what a call says.
    """

    kube: Kube
    namespace: str
    sink_image: str
    shape: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    pools: list[str] = field(default_factory=list)
    _reached: set[str] = field(default_factory=set, init=False, repr=False)

    def __enter__(self) -> Self:
        """Create namespace and sink and wait for the sink; an earlier stage of this name has to be gone first."""
        wait_until(self._earlier_is_gone, timeout_s=150)
        self.kube.apply(_namespace(self.namespace))
        self.add_sink(SINK)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the namespace, which nobody waits for."""
        self.kube.remove_namespace(self.namespace)

    def _earlier_is_gone(self) -> str:
        try:
            metadata = self.kube.get("namespace", self.namespace)["metadata"]
        except NotFoundError:
            return ""
        return f"{self.namespace} is being deleted" if "deletionTimestamp" in metadata else ""

    def pool(self, name: str = "outbound", **spec: Any) -> float:
        """Apply a pool that delivers to the sink, wait for Ready=True, and return the seconds from one to the other."""
        begin = time.monotonic()
        self.apply_pool(name, **spec)
        applied_s = time.monotonic() - begin
        return applied_s + self.wait_ready(name)

    def apply_pool(self, name: str = "outbound", **spec: Any) -> None:
        """Apply a pool that delivers to the sink; ``spec`` adds to or replaces top-level fields."""
        address = self.address(SINK)
        body: Object = {
            "submission": {"trustedNetworks": list(CLUSTER_NETWORKS)},
            "delivery": {"smarthost": {"host": address, "port": 25}},
        } | spec
        for key, values in self.shape.items():
            body[key] = {**values, **body.get(key, {})}
        self.kube.apply(
            {
                "apiVersion": "smtpfleet.io/v1alpha1",
                "kind": "SmtpPool",
                "metadata": {"name": name, "namespace": self.namespace},
                "spec": body,
            }
        )
        if name not in self.pools:
            self.pools.append(name)

    def apply_secret(self, name: str, data: Mapping[str, bytes], *, kind: str = "Opaque") -> None:
        """Apply a Secret with exactly these entries; ``kind`` is its type."""
        self.kube.apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "namespace": self.namespace},
                "type": kind,
                "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
            }
        )

    def wait_ready(self, name: str = "outbound", *, timeout_s: float = 120) -> float:
        """Wait until the pool's Ready condition is True for its present generation; returns the seconds it took.

        A new pool's Service is waited for as well, which the cluster tells its nodes of a moment later.
        """

        def seen() -> str:
            found = self.kube.get("smtppool", name, "-n", self.namespace)
            conditions = found.get("status", {}).get("conditions", [])
            ready = next((c for c in conditions if c["type"] == "Ready"), None)
            if ready is None:
                return "no condition Ready"
            if ready["observedGeneration"] != found["metadata"]["generation"]:
                return "the operator has not seen this generation"
            return "" if ready["status"] == "True" else f"{ready['reason']}: {ready['message']}"

        took_s = wait_until(seen, timeout_s=timeout_s)
        self._wait_reachable(name)
        return took_s

    def _wait_reachable(self, name: str) -> None:
        service = self.kube.get("service", name, "-n", self.namespace)
        if service["metadata"]["uid"] in self._reached:
            return
        place = f"/dev/tcp/{service['spec']['clusterIP']}/{service['spec']['ports'][0]['port']}"
        script = 'until (exec 3<>"$0") 2>/dev/null; do sleep 0.1; done'
        subprocess.run(self.kube.inside(["timeout", "30", "bash", "-c", script, place]), cwd=ROOT, check=True)
        self._reached.add(service["metadata"]["uid"])

    def pods(self, component: str, pool: str = "outbound") -> list[Pod]:
        """The pods of a component (``relay`` or ``balancer``), by name."""
        found = self.kube.items(
            "pods", "-n", self.namespace,
            "-l", f"smtpfleet.io/pool={pool},app.kubernetes.io/component={component}",
        )  # fmt: skip
        return sorted((_pod(item) for item in found), key=lambda pod: pod.name)

    def address(self, service: str = "outbound") -> str:
        """ClusterIP of a Service."""
        found: str = self.kube.get("service", service, "-n", self.namespace)["spec"]["clusterIP"]
        return found

    def relay_status(self, pod: str) -> Object:
        """What a relay's agent answers to ``GET /status``."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}:8080/proxy/status"
        found: Object = json.loads(self.kube.raw(path))
        return found

    def balancer_status(self, pod: str) -> Object:
        """What a balancer's agent answers to ``GET /status``."""
        return self.relay_status(pod)

    def arrivals(self, *, sink: str = SINK) -> list[Arrival]:
        """Everything that a sink has recorded."""
        return decode_arrivals(self.kube.raw(self._control(sink, "arrivals")).splitlines())

    def kept(self) -> list[KeptMessage]:
        """The last small messages, octet by octet as the sink was sent them."""
        return decode_kept(self.kube.raw(self._control(SINK, "messages")))

    def sink_mode(self, *, sink: str = SINK, **mode: Any) -> None:
        """Switch a sink, as ``python -m mailcheck sink`` documents ``POST /mode``."""
        self.kube.post_raw(self._control(sink, "mode"), json.dumps(mode))

    def sink_counters(self, *, sink: str = SINK) -> Object:
        """A sink's counters, as ``python -m mailcheck sink`` documents ``GET /counters``."""
        found: Object = json.loads(self.kube.raw(self._control(sink, "counters")))
        return found

    def add_sink(self, name: str, *flags: str, secret: str = "") -> None:
        """One more sink with flags of its own; ``secret`` is mounted at ``/etc/sink``."""
        self.kube.apply(*_sink(self.namespace, self.sink_image, name, flags, secret))
        self._wait_for_sink(name)

    def _wait_for_sink(self, name: str) -> None:
        def seen() -> str:
            found = self.kube.get("deployment", name, "-n", self.namespace)
            status = found.get("status", {})
            if status.get("observedGeneration") != found["metadata"]["generation"]:
                return "its deployment has not been seen"
            counts = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")]
            return "" if counts == [1, 1, 1] else f"{status}"

        wait_until(seen, timeout_s=120)

    def _control(self, sink: str, what: str) -> str:
        return f"/api/v1/namespaces/{self.namespace}/services/{sink}:control/proxy/{what}"

    def queued(self, pool: str = "outbound") -> int:
        """Messages in the queues of all relays, as their agents count them now.

        Raises:
            KubeError: an agent does not answer.
        """
        total = 0
        for pod in self.pods("relay", pool):
            queue = self.relay_status(pod.name)["queue"]
            total += sum(queue[name] for name in ("maildrop", "incoming", "active", "deferred", "hold"))
        return total

    def wait_drained(self, attempts: Sequence[Attempt], *, timeout_s: float = 120) -> list[Arrival]:
        """Wait until every queue is empty and return what arrived.

        Queues that stay empty while something is missing end the wait, too: then the accounting says what.

        Raises:
            NotReachedError: a queue is not empty in time, or an agent does not answer.
        """
        empty_looks = 0

        def seen() -> str:
            nonlocal empty_looks
            try:
                queued = sum(self.queued(pool) for pool in self.pools)
            except KubeError as error:
                return f"a relay's agent does not answer: {error}"
            empty_looks = 0 if queued else empty_looks + 1
            if queued:
                return f"{queued} messages are queued"
            if empty_looks >= (_EMPTY_LOOKS if attempts else _FRESH_LOOKS):
                return ""
            if attempts and fully_drained(attempts, self.arrivals(), queued=queued):
                return ""
            return "the queues are empty, but not everything has arrived"

        wait_until(seen, timeout_s=timeout_s, interval_s=0.5)
        return self.arrivals()


def _pod(item: Object) -> Pod:
    conditions = item["status"].get("conditions", [])
    return Pod(
        name=item["metadata"]["name"],
        node=item["spec"].get("nodeName", ""),
        address=item["status"].get("podIP", ""),
        ready=any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
        and "deletionTimestamp" not in item["metadata"],
        uid=item["metadata"]["uid"],
        relay=item["metadata"]["labels"].get("smtpfleet.io/relay", ""),
    )


def _namespace(name: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "baseline"}},
    }


def _sink(namespace: str, image: str, name: str, flags: Sequence[str], secret: str) -> list[Object]:
    labels = {"app.kubernetes.io/name": name}
    mounts, volumes = (
        [{"name": "tmp", "mountPath": "/tmp"}],
        [{"name": "tmp", "emptyDir": {"medium": "Memory"}}],
    )
    if secret:
        mounts.append({"name": "secret", "mountPath": "/etc/sink"})
        volumes.append({"name": "secret", "secret": {"secretName": secret}})
    container = {
        "name": "sink",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": [
            "--listen",
            f"0.0.0.0:{SINK_PORT}",
            "--control",
            f"0.0.0.0:{CONTROL_PORT}",
            "--record",
            "/tmp/arrivals",
            "--keep",
            str(_KEPT),
            *flags,
        ],
        "ports": [{"containerPort": SINK_PORT}, {"containerPort": CONTROL_PORT}],
        "readinessProbe": {"tcpSocket": {"port": SINK_PORT}, "periodSeconds": 1},
        "volumeMounts": mounts,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65534,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "seccompProfile": {"type": "RuntimeDefault"},
            "capabilities": {"drop": ["ALL"]},
        },
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "strategy": {"type": "Recreate"},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "containers": [container],
                    "volumes": volumes,
                    "automountServiceAccountToken": False,
                    "terminationGracePeriodSeconds": 1,
                },
            },
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "selector": labels,
            "ports": [
                {"name": "smtp", "port": 25, "targetPort": SINK_PORT},
                {"name": "control", "port": CONTROL_PORT, "targetPort": CONTROL_PORT},
            ],
        },
    }
    return [deployment, service]
