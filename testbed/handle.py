"""A cluster as tests and benchmarks see it: one object to run commands on it and to break it.

It runs the same command line that people use, so that what tests rely on is what the documentation describes.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.commands import run
from testbed.identity import Cluster, from_environment


@dataclass(frozen=True)
class ClusterHandle:
    """A cluster that is, or can be brought, up."""

    identity: Cluster
    environ: Mapping[str, str]

    @classmethod
    def of_environment(cls, environ: Mapping[str, str]) -> "ClusterHandle":
        """The cluster that CLUSTER_NAME and CLUSTER mean in this environment."""
        return cls(from_environment(environ), environ)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; good on the host and in `in_cluster`."""
        return self.identity.kubeconfig

    @property
    def images(self) -> Mapping[str, str]:
        """Reference of each image of this checkout that the nodes hold, by target: operator, relay, balancer, sink."""
        loaded: dict[str, str] = json.loads((self.identity.state / "images.json").read_text())
        return loaded

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Run kubectl as administrator and return its output; raises CommandError."""
        tool = str(self.identity.tools / "kubectl")
        return run([tool, f"--kubeconfig={self.kubeconfig}", *arguments], stdin=stdin.encode())

    def get(self, *arguments: str) -> Any:
        """Run `kubectl get … -o json` and return the parsed answer."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def apply(self, *manifests: Mapping[str, Any]) -> None:
        """Apply objects on the server's side."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(items))

    def in_cluster(
        self, argv: Sequence[str], *, source: str = "cp", stdin: str = "", timeout_s: float = 600
    ) -> str:
        """Run a command of the host in the cluster's network and return its output; `source`: cp or a node."""
        return run(
            self.in_cluster_command(argv, source=source),
            stdin=stdin.encode(),
            env=self.environment(),
            timeout_s=timeout_s,
        )

    def in_cluster_command(self, argv: Sequence[str], *, source: str = "cp") -> list[str]:
        """The command line of `in_cluster`, for a test that runs it in the background with `environment()`."""
        return [sys.executable, "-m", "testbed", "exec", "--from", source, "--", *argv]

    def environment(self) -> dict[str, str]:
        """Environment for `in_cluster_command` and for any command of the test bed."""
        checkout = str(self.identity.checkout)
        path = os.pathsep.join(part for part in (checkout, self.environ.get("PYTHONPATH")) if part)
        return {**self.environ, "CLUSTER_NAME": self.identity.name, "PYTHONPATH": path}

    def up(self) -> None:
        """Bring the cluster up with this checkout's images."""
        self.testbed("up")

    def repair(self) -> None:
        """Undo every fault: resume the API server, start and reconnect nodes."""
        self.testbed("up", "--no-images")

    def testbed(self, *arguments: str, stdin: str = "") -> str:
        """Run `python -m testbed …` for this cluster; its progress goes to this process's standard error."""
        done = subprocess.run(
            [sys.executable, "-m", "testbed", *arguments],
            input=stdin,
            stdout=subprocess.PIPE,
            env=self.environment(),
            text=True,
            check=True,
        )
        return done.stdout

    def node(self, action: str, name: str) -> None:
        """Action on a node: stop, start, cut, connect."""
        self.testbed("node", action, name)

    def api_server(self, action: str) -> None:
        """Action on the API server: pause, resume."""
        self.testbed("apiserver", action)

    def volume(self, action: str, claim: str) -> None:
        """Action on a claim of class local-path-sized, as name or namespace/name: fill, free."""
        self.testbed("volume", action, claim)

    def mail_zone(self, records: str) -> None:
        """Replace the records of mail.test (names relative to it); answered within about a second."""
        self.testbed("dns", stdin=records)
