"""All configuration files of a native cluster; written at every `up`, so that a crash half-way leaves no gap.

What is secret is made once and kept: certificates and tokens.
"""

from dataclasses import dataclass
from pathlib import Path

from testbed import access, certificates, control_plane, node
from testbed.addresses import CONTROL_PLANE_ADDRESS, NodeNet
from testbed.identity import CONTROL_PLANE, Cluster


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What every kubeconfig of a cluster is made from."""

    cluster: str
    port: int
    authority: bytes
    tokens: dict[str, str]

    def write(self, path: Path, *, user: str, host: str = "127.0.0.1") -> None:
        """Write a kubeconfig for a user."""
        text = access.kubeconfig(
            server=f"https://{host}:{self.port}",
            authority=self.authority,
            user=user,
            token=self.tokens[user],
            name=self.cluster,
        )
        access.write_private(path, text)


def write(cluster: Cluster, *, port: int, pause_image: str) -> None:
    """Write the files of the control plane, of all nodes and of the user."""
    directory = cluster.machine_dir(CONTROL_PLANE)
    certificates.make(directory / "pki")
    credentials = Credentials(
        cluster=cluster.name,
        port=port,
        authority=(directory / "pki" / "ca.crt").read_bytes(),
        tokens=access.make_tokens(directory / "pki" / "tokens.csv", cluster.node_names),
    )
    credentials.write(cluster.kubeconfig, user=access.ADMIN)
    credentials.write(directory / "admin.kubeconfig", user=access.ADMIN)
    for component in ("kube-controller-manager", "kube-scheduler", "kube-proxy"):
        credentials.write(directory / f"{component}.kubeconfig", user=f"system:{component}")
    control_plane.configure(directory)
    for index, name in enumerate(cluster.node_names, start=1):
        place = cluster.machine_dir(name)
        place.mkdir(exist_ok=True)
        node.configure(place, net=NodeNet(index), pause_image=pause_image)
        credentials.write(
            place / "kubelet.kubeconfig", user=f"system:node:{name}", host=CONTROL_PLANE_ADDRESS
        )
        credentials.write(
            place / "kube-proxy.kubeconfig", user="system:kube-proxy", host=CONTROL_PLANE_ADDRESS
        )
        credentials.write(
            place / "volume-provisioner.kubeconfig", user=access.ADMIN, host=CONTROL_PLANE_ADDRESS
        )
