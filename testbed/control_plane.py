"""The control plane's machine: etcd, API server, controllers, scheduler, cluster DNS.

kube-proxy runs here as well, so that commands which run in this machine's network (`in-cluster`) reach Services while
any node is off or cut off. It borrows the first node's name: without one it would wait half a minute for its own node.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from testbed import addons, addresses
from testbed.machine import FORWARD_PACKETS, INSIDE, LISTENER, PROGRAMS, Daemon, Specification
from testbed.node import proxy_configuration

CONFIG = INSIDE
PKI = INSIDE / "pki"
_K8S = str(PROGRAMS / "k8s")
BRIDGE = "br0"


def specification(*, port: int, programs: Mapping[str, Path]) -> Specification:
    """What the control plane runs; the API server listens on `port` inside, too, so that one kubeconfig serves both."""
    return Specification(
        programs={name: str(path) for name, path in programs.items()},
        setup=_network(),
        cable=False,
        daemons=[
            Daemon(name="etcd", argv=_etcd()),
            Daemon(name="kube-apiserver", argv=_api_server(port)),
            Daemon(name="kube-controller-manager", argv=_controller_manager()),
            Daemon(name="kube-scheduler", argv=_scheduler()),
            Daemon(name="kube-proxy", argv=[_K8S, "kube-proxy", f"--config={CONFIG / 'kube-proxy.json'}"]),
            Daemon(name="coredns", argv=[str(PROGRAMS / "coredns"), "-conf", str(CONFIG / "Corefile")]),
            Daemon(name="api-forwarder", argv=_forwarder(port)),
        ],
    )


def _network() -> list[Sequence[str]]:
    address = f"{addresses.CONTROL_PLANE_ADDRESS}/{addresses.MACHINE_PREFIX}"
    return [
        FORWARD_PACKETS,
        ["ip", "link", "add", BRIDGE, "type", "bridge"],
        ["ip", "address", "add", address, "dev", BRIDGE],
        ["ip", "link", "set", BRIDGE, "up"],
        # Without a route, a connection to a Service fails before kube-proxy's rules see it.
        ["ip", "route", "add", addresses.SERVICE_RANGE, "dev", BRIDGE],
    ]


def _forwarder(port: int) -> list[str]:
    return [sys.executable, "-I", str(PROGRAMS / "api-forwarder"), LISTENER, str(port)]


def _etcd() -> list[str]:
    return [
        *(_K8S, "etcd", "--name=cp", "--data-dir=/var/lib/etcd"),
        "--unsafe-no-fsync",  # the cluster dies with the machine anyway, and starts in a second this way
        "--listen-client-urls=http://127.0.0.1:2379",
        "--advertise-client-urls=http://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--initial-advertise-peer-urls=http://127.0.0.1:2380",
        "--initial-cluster=cp=http://127.0.0.1:2380",
        "--auto-compaction-mode=periodic",
        "--auto-compaction-retention=10m",
        "--log-level=warn",
    ]


def _api_server(port: int) -> list[str]:
    issuer = f"https://kubernetes.default.svc.{addresses.CLUSTER_DOMAIN}"
    return [
        *(_K8S, "kube-apiserver", "--etcd-servers=http://127.0.0.1:2379"),
        f"--secure-port={port}",
        f"--advertise-address={addresses.CONTROL_PLANE_ADDRESS}",
        f"--service-cluster-ip-range={addresses.SERVICE_RANGE}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--token-auth-file={PKI / 'tokens.csv'}",
        f"--tls-cert-file={PKI / 'apiserver.crt'}",
        f"--tls-private-key-file={PKI / 'apiserver.key'}",
        f"--client-ca-file={PKI / 'ca.crt'}",
        f"--service-account-issuer={issuer}",
        f"--service-account-key-file={PKI / 'service-account.pub'}",
        f"--service-account-signing-key-file={PKI / 'service-account.key'}",
        # Otherwise `kubectl exec` and `logs` look the node's name up in the host's DNS.
        "--kubelet-preferred-address-types=InternalIP",
    ]


def _controller_manager() -> list[str]:
    config = CONFIG / "kube-controller-manager.kubeconfig"
    return [
        *(_K8S, "kube-controller-manager", f"--kubeconfig={config}"),
        *(f"--authentication-kubeconfig={config}", f"--authorization-kubeconfig={config}"),
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--use-service-account-credentials",
        f"--cluster-cidr={addresses.POD_RANGE}",
        f"--service-account-private-key-file={PKI / 'service-account.key'}",
        f"--root-ca-file={PKI / 'ca.crt'}",
        f"--cluster-signing-cert-file={PKI / 'ca.crt'}",
        f"--cluster-signing-key-file={PKI / 'ca.key'}",
    ]


def _scheduler() -> list[str]:
    config = CONFIG / "kube-scheduler.kubeconfig"
    return [
        *(
            _K8S,
            "kube-scheduler",
            f"--kubeconfig={config}",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
        ),
        *(f"--authentication-kubeconfig={config}", f"--authorization-kubeconfig={config}"),
    ]


def corefile() -> str:
    """Configuration of the cluster's DNS: Services, the mail domain's zone, and "no such name" for all else."""
    zones = INSIDE / "zones"
    return f"""\
{addresses.MAIL_DOMAIN}:53 {{
    bind {addresses.CONTROL_PLANE_ADDRESS}
    errors
    file {zones / addresses.MAIL_DOMAIN} {{
        reload 1s
    }}
}}
.:53 {{
    bind {addresses.CONTROL_PLANE_ADDRESS}
    errors
    health 127.0.0.1:8080
    cache 5
    kubernetes {addresses.CLUSTER_DOMAIN} in-addr.arpa {{
        kubeconfig {CONFIG / "admin.kubeconfig"}
        pods insecure
        ttl 5
    }}
    file {zones / "root"} .
}}
"""


def configure(directory: Path) -> None:
    """Write the configuration files of DNS and proxy."""
    (directory / "zones").mkdir(parents=True, exist_ok=True)
    (directory / "zones" / "root").write_text(addons.root_zone())
    if not (directory / "zones" / addresses.MAIL_DOMAIN).exists():
        addons.write_mail_zone(directory / "zones", "")
    (directory / "Corefile").write_text(corefile())
    (directory / "kube-proxy.json").write_text(json.dumps(proxy_configuration("n1"), indent=1))
