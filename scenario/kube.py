"""What scenarios need of a cluster, whatever made it: kubectl for what a user does, the API server for what he sees."""

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scenario.apiserver import ApiServer, KubeError, server
from testbed.identity import CONTROL_PLANE

Object = dict[str, Any]
"""A Kubernetes object as JSON."""


class NotReachedError(Exception):
    """A state was not reached in time; the message says what was seen last."""


@dataclass(frozen=True, kw_only=True)
class Kube:
    """One cluster: ``kubectl`` and ``kubeconfig`` are paths; ``enter`` makes of a command line one that runs in the
    network of a machine of the cluster, as ``bin/in-cluster`` does: the control plane (``cp``) or a node."""

    kubectl: Path
    kubeconfig: Path
    enter: Callable[[Sequence[str], str], list[str]]

    @property
    def environment(self) -> Mapping[str, str]:
        """Environment for programs that talk to this cluster."""
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig)}

    def run(self, *arguments: str, stdin: str | None = None, timeout_s: float = 120) -> str:
        """Run kubectl and return what it printed.

        Raises:
            KubeError: kubectl failed.
        """
        done = subprocess.run(
            [str(self.kubectl), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=dict(self.environment),
            check=False,
        )
        if done.returncode:
            raise KubeError(done.stderr.strip() or done.stdout.strip())
        return done.stdout

    @property
    def server(self) -> ApiServer:
        """The API server, without kubectl."""
        return server(self.kubeconfig)

    def get(self, *arguments: str) -> Object:
        """What ``kubectl get … -o json`` prints, for the arguments that :meth:`ApiServer.get` knows.

        Raises:
            KubeError: the API server refused; NotFoundError: there is none.
        """
        return self.server.get(arguments)

    def items(self, *arguments: str) -> list[Object]:
        """The items of a list."""
        found: list[Object] = self.get(*arguments)["items"]
        return found

    def raw(self, path: str) -> str:
        """GET a path of the API server, such as a pod's port by its proxy."""
        return self.server.request("GET", path)

    def post_raw(self, path: str, body: str) -> str:
        """POST to a path of the API server."""
        return self.server.request("POST", path, body=body)

    def apply(self, *objects: Object) -> None:
        """Apply objects one after the other, on the server's side."""
        for thing in objects:
            self.server.apply(thing)

    def remove_namespace(self, name: str) -> None:
        """Remove a namespace of pools, which nobody waits for.

        Pods go first, without their time to leave: a namespace that still has pods is looked at again only after half
        of their grace period.
        """
        for word, grace_s in (("smtppools", None), ("deployments", None), ("pods", 1)):
            self.server.delete(word, "", namespace=name, grace_s=grace_s)
        self.server.delete("namespace", name)

    def inside(self, command: Sequence[str], *, source: str = CONTROL_PLANE) -> list[str]:
        """The command line that runs a program of this machine inside the cluster's network.

        ``source``: the machine whose address its connections come from.
        """
        return self.enter(command, source)


def wait_until(seen: Callable[[], str], *, timeout_s: float, interval_s: float = 0.0) -> float:
    """Wait until ``seen`` returns the empty text; return the seconds it took.

    Looks are ``interval_s`` apart; without it a quarter of a second, or half of one where it takes long.

    Raises:
        NotReachedError: not in time; with the last text.
    """
    begin = time.monotonic()
    while True:
        last = seen()
        passed = time.monotonic() - begin
        if not last:
            return passed
        if passed > timeout_s:
            raise NotReachedError(f"after {timeout_s:.0f} s: {last}")
        time.sleep(interval_s or min(0.5, 0.25 + passed / 20))
