"""The operator under test: the one in the cluster, scaled and asked, or own processes of it that can be killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from scenario.apiserver import KubeError, NotFoundError
from scenario.cluster import OPERATOR_NAMESPACE, RELEASE, Local
from scenario.kube import Kube, Object, wait_until
from scenario.load import ROOT

WRITTEN: Final = (
    "smtppools", "deployments", "services", "configmaps", "secrets", "persistentvolumeclaims", "serviceaccounts",
    "roles", "rolebindings", "poddisruptionbudgets", "networkpolicies",
)  # fmt: skip
"""Resources that the operator writes."""


@dataclass(frozen=True)
class Space:
    """A namespace with pools, and what is asked of it."""

    kube: Kube
    namespace: str

    def apply_pool(self, name: str = "outbound", *, metadata: Object | None = None, **spec: Any) -> None:
        """Apply a pool; ``spec`` adds to or replaces top-level fields."""
        self.kube.apply(self.manifest(name, metadata=metadata, **spec))

    def manifest(self, name: str = "outbound", *, metadata: Object | None = None, **spec: Any) -> Object:
        """A pool as a user writes it, without slow starts: no test waits for weights to rise but those about it."""
        return {
            "apiVersion": "smtpfleet.io/v1alpha1",
            "kind": "SmtpPool",
            "metadata": {"name": name, "namespace": self.namespace} | (metadata or {}),
            "spec": {"submission": {"trustedNetworks": ["10.0.0.0/8"]}, "health": {"slowStart": "0s"}} | spec,
        }

    def run(self, verb: str, *arguments: str, stdin: str | None = None) -> str:
        """kubectl in this namespace."""
        return self.kube.run(verb, "-n", self.namespace, *arguments, stdin=stdin)

    def find(self, kind: str, name: str) -> Object | None:
        """The object, or None."""
        try:
            return self.get(kind, name)
        except NotFoundError:
            return None

    def get(self, kind: str, name: str) -> Object:
        """The object; it must be there."""
        return self.kube.get(kind, name, "-n", self.namespace)

    def names(self, kind: str) -> list[str]:
        """Names of all pool objects of a kind."""
        found = self.kube.items(kind, "-n", self.namespace, "-l", "app.kubernetes.io/managed-by=smtpfleet")
        return sorted(thing["metadata"]["name"] for thing in found)

    def versions(self) -> dict[str, str]:
        """resourceVersion of everything that the operator writes, by kind and name."""
        found = self.kube.items(",".join(WRITTEN), "-n", self.namespace)
        return {
            f"{thing['kind']}/{thing['metadata']['name']}": thing["metadata"]["resourceVersion"]
            for thing in found
        }

    def rests(self) -> str:
        """Empty when all relays serve, no outage is remembered, and nothing has been written for three seconds."""
        entries = self.entries().values()
        if any(entry["reason"] != "ProbesPassed" for entry in entries):
            return "not every relay was probed often enough yet"
        if remembered := [entry for entry in entries if "outage" in entry or entry["ejections"]]:
            return f"an outage is still remembered, and its end will be written: {remembered}"
        before = self.versions()
        time.sleep(3)
        return "" if self.versions() == before else "the cluster has not come to rest"

    def condition(self, kind: str, name: str = "outbound") -> Object:
        """A condition of a pool; empty if it is not there."""
        status = self.get("smtppool", name).get("status", {})
        return next((dict(c) for c in status.get("conditions", ()) if c["type"] == kind), {})

    def wait_condition(
        self, kind: str, status: str, *, reason: str = "", name: str = "outbound", timeout_s: float = 120
    ) -> Object:
        """Wait for a condition of the pool's present generation, and return it."""

        def seen() -> str:
            generation = self.get("smtppool", name)["metadata"]["generation"]
            found = self.condition(kind, name)
            fits = found.get("status") == status and reason in {"", found.get("reason")}
            return "" if fits and found["observedGeneration"] == generation else f"{kind}: {found}"

        wait_until(seen, timeout_s=timeout_s)
        return self.condition(kind, name)

    def wait_ready(self, name: str = "outbound", *, timeout_s: float = 180) -> None:
        """Wait until the pool is ready and nothing is under way."""
        self.wait_condition("Ready", "True", name=name, timeout_s=timeout_s)
        self.wait_condition("Reconciling", "False", name=name, timeout_s=timeout_s)

    def entries(self, name: str = "outbound") -> dict[str, Object]:
        """The relays of the status, by name."""
        relays = self.get("smtppool", name).get("status", {}).get("relays", ())
        return {entry["name"]: dict(entry) for entry in relays}


@contextmanager
def space(kube: Kube, namespace: str) -> Iterator[Space]:
    """A namespace that enforces Pod Security "baseline"; it is deleted afterwards, which nobody waits for."""
    labels = {"pod-security.kubernetes.io/enforce": "baseline"}
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}})
    try:
        yield Space(kube, namespace)
    finally:
        kube.remove_namespace(namespace)


@contextmanager
def no_operator(kube: Kube) -> Iterator[None]:
    """While no operator of the chart runs in the cluster."""
    _scale(kube, 0)
    try:
        yield
    finally:
        _scale(kube, 2)


def _scale(kube: Kube, replicas: int) -> None:
    target = ("deployment", RELEASE, "-n", OPERATOR_NAMESPACE)
    kube.run("scale", *target, f"--replicas={replicas}")
    kube.run("rollout", "status", *target, "--timeout=120s", timeout_s=130)

    def seen() -> str:
        pods = kube.items("pods", "-n", OPERATOR_NAMESPACE, "-l", "app.kubernetes.io/component=operator")
        return "" if len(pods) == replicas else f"{len(pods)} operators"

    wait_until(seen, timeout_s=60)


@dataclass
class Process:
    """One operator as a process of this machine, inside the cluster's network.

    It works on one namespace and competes for a Lease of that namespace.
    """

    local: Local
    namespace: str
    name: str
    log: Path
    port: int
    _process: subprocess.Popen[bytes] | None = None
    _output: IO[bytes] | None = field(default=None, repr=False)

    def __enter__(self) -> Self:
        """Start it."""
        python = [sys.executable, "-m", "smtpfleet.controller"]
        self._output = self.log.open("ab")
        self._process = subprocess.Popen(
            self.local.kube.inside(python), stdout=self._output, stderr=self._output, env=self._environment()
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it, if it still runs, in order, so that the next one need not wait for the Lease."""
        assert self._process is not None
        assert self._output is not None
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(30)
        self._output.close()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, timeout_s: float = 60) -> int:
        """Wait for its end and return the exit code."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def leads(self) -> bool:
        """Whether the Lease names it."""
        return self.holder().startswith(f"{self.name}_")

    def holder(self) -> str:
        """Whom the Lease names."""
        try:
            lease = self.local.kube.get("lease", "smtpfleet-operator", "-n", self.namespace)
        except KubeError:
            return ""
        return str(lease["spec"].get("holderIdentity") or "")

    def wait_leading(self, timeout_s: float = 60) -> float:
        """Wait until it leads; returns the seconds it took."""
        return wait_until(
            lambda: "" if self.leads() else f"the lease is held by {self.holder()!r}", timeout_s=timeout_s
        )

    def says(self, message: str) -> list[Object]:
        """Its log lines with this message."""
        lines = (json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{"))
        return [line for line in lines if line["message"] == message]

    def seconds_between(self, first: str, last: str) -> float:
        """Seconds between the last log lines with two messages."""
        begin, end = (datetime.fromisoformat(self.says(text)[-1]["time"]) for text in (first, last))
        return (end - begin).total_seconds()

    def resident_mb(self) -> float:
        """Its resident memory."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def ask(self, path: str) -> str:
        """GET a path of its HTTP port."""
        command = ["curl", "-sS", "--max-time", "5", f"http://127.0.0.1:{self.port}{path}"]
        done = subprocess.run(
            self.local.kube.inside(command),
            env=self._environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def _environment(self) -> dict[str, str]:
        images = self.local.images
        own = {
            "POD_NAME": self.name,
            "POD_NAMESPACE": self.namespace,
            "WATCH_NAMESPACE": self.namespace,
            "RELAY_IMAGE": images["relay"],
            "BALANCER_IMAGE": images["balancer"],
            "HTTP_PORT": str(self.port),
            "PYTHONPATH": f"{ROOT / 'operator'}{os.pathsep}{ROOT}",
        }
        return {**self.local.kube.environment, **own}
