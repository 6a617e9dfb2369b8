"""The address plan inside a cluster. It can be the same in every cluster: see `testbed.identity`."""

from dataclasses import dataclass

CONTROL_PLANE_ADDRESS = "172.30.0.1"
MACHINE_PREFIX = 24
POD_RANGE = "10.244.0.0/16"
SERVICE_RANGE = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
DNS_SERVICE_ADDRESS = "10.96.0.10"
CLUSTER_DOMAIN = "cluster.local"
MAIL_DOMAIN = "mail.test"


@dataclass(frozen=True)
class NodeNet:
    """What the n-th node (from 1) has: its address, its pods' range, its link in the control plane's bridge."""

    index: int

    @property
    def address(self) -> str:
        """The node's own address."""
        return f"172.30.0.{10 + self.index}"

    @property
    def pod_range(self) -> str:
        """Addresses of the node's pods."""
        return f"10.244.{self.index}.0/24"

    @property
    def link(self) -> str:
        """Name of the node's cable at the control plane's end."""
        return f"to-n{self.index}"
