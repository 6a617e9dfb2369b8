"""The cluster that CLUSTER_NAME means, and the operator in it."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from scenario.kube import Kube
from scenario.load import ROOT
from testbed.chosen import provider
from testbed.identity import Cluster, from_environment

OPERATOR_NAMESPACE: Final = "smtpfleet-system"
RELEASE: Final = "smtpfleet"


@dataclass(frozen=True, kw_only=True)
class Local:
    """A running cluster and the images that were loaded into it, by target."""

    cluster: Cluster
    kube: Kube
    images: Mapping[str, str]


def current(cluster: Cluster | None = None) -> Local:
    """A cluster that is up with its images; that of the environment by default."""
    cluster = cluster or from_environment()
    images = json.loads((cluster.state / "images.json").read_text())
    chosen = provider(cluster)
    kube = Kube(
        kubectl=cluster.tools / "kubectl",
        kubeconfig=cluster.kubeconfig,
        enter=lambda command, source: chosen.command(command, source=source),
    )
    return Local(cluster=cluster, kube=kube, images=images)


def install(local: Local, *values: str) -> None:
    """Install or upgrade the chart with this checkout's images and wait until the operator runs."""
    images = [f"--set=images.{name}={local.images[name]}" for name in ("operator", "relay", "balancer")]
    subprocess.run(
        [
            str(local.cluster.tools / "helm"), "upgrade", "--install", RELEASE, str(ROOT / "charts" / "smtpfleet"),
            "--namespace", OPERATOR_NAMESPACE, "--create-namespace", "--wait", "--timeout", "3m",
            *images, *(f"--set={value}" for value in values),
        ],
        env=dict(local.kube.environment), check=True, timeout=240, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def main() -> None:
    """``make install``."""
    install(current())
    print(f"the operator runs in namespace {OPERATOR_NAMESPACE}")


if __name__ == "__main__":
    main()
