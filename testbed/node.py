"""A node's machine: containerd, kubelet, kube-proxy, volume provisioner, and the configuration files that they read.

The settings are those that a node needs which is neither a virtual machine nor a container: see the comments.
"""

import json
import sys
from pathlib import Path

from testbed import addresses, volume_provisioner
from testbed.addresses import NodeNet
from testbed.machine import FORWARD_PACKETS, INSIDE, PROGRAMS, Daemon, Specification

CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
IMAGE_STORE = Path("var/lib/containerd")
"""In the node's directory, and below the root that it sees."""
_K8S = str(PROGRAMS / "k8s")
_PROVISIONER = (sys.executable, "-I", str(PROGRAMS / "volume-provisioner"))


def specification(*, net: NodeNet, k8s: Path) -> Specification:
    """What the node runs once it is plugged in."""
    return Specification(
        programs={"k8s": str(k8s), "volume-provisioner": str(Path(volume_provisioner.__file__))},
        setup=[FORWARD_PACKETS, [*_PROVISIONER, "mount"]],
        cable=True,
        daemons=[
            Daemon(name="containerd", argv=["containerd", "--config", str(INSIDE / "containerd.toml")]),
            Daemon(name="kubelet", argv=_kubelet(net)),
            Daemon(name="kube-proxy", argv=[_K8S, "kube-proxy", f"--config={INSIDE / 'kube-proxy.json'}"]),
            Daemon(
                name="volume-provisioner",
                argv=[*_PROVISIONER, str(INSIDE / "volume-provisioner.kubeconfig"), f"n{net.index}"],
            ),
        ],
    )


def _kubelet(net: NodeNet) -> list[str]:
    return [
        *(
            _K8S,
            "kubelet",
            f"--config={INSIDE / 'kubelet.json'}",
            f"--kubeconfig={INSIDE / 'kubelet.kubeconfig'}",
        ),
        *(f"--hostname-override=n{net.index}", f"--node-ip={net.address}"),
        f"--node-labels=topology.kubernetes.io/zone=zone-{net.index},topology.kubernetes.io/region=local",
    ]


def configure(directory: Path, *, net: NodeNet, pause_image: str) -> None:
    """Write the node's configuration files, except its kubeconfigs."""
    (directory / "cni").mkdir(exist_ok=True)
    (directory / "containerd.toml").write_text(_containerd(pause_image))
    (directory / "kubelet.json").write_text(json.dumps(_kubelet_configuration(), indent=1))
    (directory / "kube-proxy.json").write_text(json.dumps(proxy_configuration(f"n{net.index}"), indent=1))
    (directory / "cni" / "10-pods.conflist").write_text(json.dumps(_pod_network(net), indent=1))
    # A pod's sandbox fails without this file, and the host's would name servers that cannot be reached from here.
    (directory / "resolv.conf").write_text("")


def _containerd(pause_image: str) -> str:
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""version = 2
root = "/{IMAGE_STORE}"
state = "/run/containerd"
[grpc]
  address = "{CONTAINERD_SOCKET}"
[{cri}]
  sandbox_image = "{pause_image}"
  # Where CAP_SYS_RESOURCE is missing, every sandbox would die on the attempt to lower its OOM score.
  restrict_oom_score_adj = true
[{cri}.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[{cri}.containerd.runtimes.runc.options]
  SystemdCgroup = false
[{cri}.cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "{INSIDE / "cni"}"
"""


def _pod_network(net: NodeNet) -> dict[str, object]:
    """Point-to-point links: with a bridge, pods of one node would answer each other past the node's Service rules."""
    ranges = [[{"subnet": net.pod_range}]]
    ipam = {
        "type": "host-local",
        "ranges": ranges,
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": "/run/cni-ipam",
    }
    return {
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {"type": "ptp", "ipMasq": False, "ipam": ipam},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _kubelet_configuration() -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        # The API server reaches the kubelet inside the cluster's own network only: no client certificate is needed.
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "clusterDomain": addresses.CLUSTER_DOMAIN,
        "clusterDNS": [addresses.DNS_SERVICE_ADDRESS],
        "resolvConf": str(INSIDE / "resolv.conf"),
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "failCgroupV1": False,
        "failSwapOn": False,
        # The node shares the machine's disk: it must neither evict pods nor remove images because others fill it.
        "evictionHard": {},
        "imageGCHighThresholdPercent": 100,
        "oomScoreAdj": 0,
        "maxPods": 200,
        # Tests kill the same container again and again; each time it would wait longer, minutes in the end.
        "crashLoopBackOff": {"maxContainerRestartPeriod": "5s"},
    }


def proxy_configuration(hostname: str) -> dict[str, object]:
    """Configuration of kube-proxy; the control plane's needs the same."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": str(INSIDE / "kube-proxy.kubeconfig")},
        "clusterCIDR": addresses.POD_RANGE,
        "hostnameOverride": hostname,
        "oomScoreAdj": 0,
        # The limits of connection tracking belong to the whole machine, not to this network namespace.
        "conntrack": {"maxPerCore": 0, "min": 0},
    }
