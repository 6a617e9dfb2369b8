"""What is decided when a cluster is first brought up, and holds until it is taken down: `cluster.json`.

Later commands need not be given it again, and cannot contradict it.
"""

import json
from dataclasses import asdict, dataclass

from testbed.access import write_whole
from testbed.errors import TestbedError
from testbed.identity import Cluster


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Kind of the cluster (native, kind, current), number of nodes, port on 127.0.0.1 (0: not ours to choose)."""

    kind: str
    nodes: int
    port: int


def load(cluster: Cluster) -> Settings | None:
    """The settings of a cluster that has been brought up; None when it has not."""
    try:
        text = (cluster.state / "cluster.json").read_text()
    except FileNotFoundError:
        return None
    return Settings(**json.loads(text))


def save(cluster: Cluster, settings: Settings) -> None:
    """Remember the settings."""
    cluster.state.mkdir(parents=True, exist_ok=True)
    write_whole(cluster.state / "cluster.json", json.dumps(asdict(settings)) + "\n")


def settle(cluster: Cluster, *, nodes: str) -> Cluster:
    """The cluster with the number of nodes that it has; `nodes` is what the caller asked for, or empty."""
    settings = load(cluster)
    if settings is None:
        return cluster
    if nodes and int(nodes) != settings.nodes:
        raise TestbedError(
            f"Cluster {cluster.name} has {settings.nodes} nodes, not {nodes}: take it down before you change that."
        )
    return Cluster(name=cluster.name, checkout=cluster.checkout, nodes=settings.nodes)
