"""Which cluster a command is about, and where everything of it lies.

A cluster is a name in a checkout. Every name that is visible outside the cluster's own namespaces (state directory,
control group, port on the loopback device, kind cluster) is derived from that pair, so clusters of different names or
of different checkouts never meet. Addresses are the same in all clusters: they exist only in the clusters' own network
namespaces, which have no way out.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import TestbedError

DEFAULT_NAME = "smtpfleet"
CONTROL_PLANE = "cp"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?")
_FIRST_PORT = 20000
_PORTS = 10000


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster's name and the checkout it belongs to; paths and names follow from them."""

    name: str
    checkout: Path
    nodes: int = 2

    @property
    def home(self) -> Path:
        """What users look for: kubeconfig, bin/ and the state of each cluster of this checkout."""
        return self.checkout / ".cluster"

    @property
    def state(self) -> Path:
        """Everything of this cluster; `down` removes it."""
        return self.home / self.name

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, good on the host and inside `in-cluster`."""
        return (self.home if self.name == DEFAULT_NAME else self.state) / "kubeconfig"

    @property
    def tools(self) -> Path:
        """Where kubectl and helm are linked."""
        return self.home / "bin"

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits that tell this cluster from all others of the machine."""
        return hashlib.sha256(f"{self.checkout}\0{self.name}".encode()).hexdigest()[:8]

    @property
    def cgroup(self) -> str:
        """Path of the control group below which all containers of the cluster are."""
        return f"/smtpfleet-{self.digest}"

    @property
    def kind_name(self) -> str:
        """Name of the cluster when kind makes it: kind's names are global to a Docker engine."""
        return f"{self.name}-{self.digest}"

    @property
    def preferred_port(self) -> int:
        """Where the search for a free port of 127.0.0.1 begins; below the usual ephemeral ports."""
        return _FIRST_PORT + int(self.digest, 16) % _PORTS

    @property
    def node_names(self) -> tuple[str, ...]:
        """The worker nodes: n1, n2, …"""
        return tuple(f"n{index}" for index in range(1, self.nodes + 1))

    def machine_dir(self, machine: str) -> Path:
        """State of the control plane (`cp`) or of a node."""
        return self.state / machine


def checkout_of_this_file() -> Path:
    """The repository that this package is part of."""
    return Path(__file__).resolve().parent.parent


def from_environment(environ: Mapping[str, str] = os.environ, *, checkout: Path | None = None) -> Cluster:
    """The cluster that CLUSTER_NAME and CLUSTER_NODES mean; raises TestbedError when they cannot be used."""
    name = environ.get("CLUSTER_NAME") or DEFAULT_NAME
    if not _NAME.fullmatch(name) or name in {"bin", "kubeconfig"}:
        raise TestbedError(
            f"CLUSTER_NAME={name!r} cannot be used: take at most 30 lower-case letters, digits and inner hyphens."
        )
    nodes = environ.get("CLUSTER_NODES") or "2"
    if not nodes.isdecimal() or not 1 <= int(nodes) <= 20:
        raise TestbedError(f"CLUSTER_NODES={nodes!r} cannot be used: take a number from 1 to 20.")
    return Cluster(name=name, checkout=checkout or checkout_of_this_file(), nodes=int(nodes))
