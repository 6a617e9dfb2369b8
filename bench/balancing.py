"""How connections are split over relays of different weights, by each method.

The benchmark is the outer balancer of a pool of its own: it tells any client address it likes. Which relay answered is
in the reply to EHLO. Each of the two balancers has two HAProxys with a turn of their own, and the kernel chooses one.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from scenario.connections import Connection, Plan, addresses, connect, relays_of
from scenario.kube import wait_until
from scenario.stage import CLUSTER_NETWORKS, Stage

POOL: Final = "split"
CONNECTIONS: Final = 10_000
CLIENTS: Final = 1_000
WEIGHTS: Final[Mapping[str, int]] = {f"{POOL}-relay-0": 100, f"{POOL}-relay-1": 50, f"{POOL}-relay-2": 10}
OVERLAPPING: Final[Mapping[str, Any]] = {"at_once": 64, "hold_s": 0.2}
_CLIENT: Final = "192.0.2.9"


@dataclass(kw_only=True)
class Split:
    """Shares of connections by relay (0 to 1), one entry a run."""

    method: str
    shares: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in WEIGHTS})

    def add(self, connections: Sequence[Connection]) -> None:
        """Count one run."""
        found = Counter(connection.relay for connection in connections)
        for name in WEIGHTS:
            self.shares[name].append(found[name] / len(connections))


@dataclass(kw_only=True)
class Affinity:
    """Of clients by their address, one entry a run: who had more than one relay, and who moved when one was drained."""

    unfaithful: list[int] = field(default_factory=list)
    moved_needlessly: list[int] = field(default_factory=list)
    moved: list[int] = field(default_factory=list)


def measure(stage: Stage, *, runs: int) -> tuple[list[Split], Affinity]:
    """Every method, ``runs`` times, in turn."""
    splits = [Split(method=m) for m in ("RoundRobin", "LeastConnections", "Random", "SourceAddress")]
    affinity = Affinity()
    _apply(stage, splits[0].method)
    stage.wait_ready(POOL)
    for name, weight in WEIGHTS.items():
        _annotate(stage, name, f"smtpfleet.io/weight={weight}")
    for number in range(runs):
        for split in splits:
            _apply(stage, split.method)
            _wait_applied(stage, split.method, WEIGHTS)
            by_address = split.method == "SourceAddress"
            found = _many(stage, split.method)
            split.add(found)
            if by_address:
                _drain_one(stage, found, affinity)
            shares = ", ".join(f"{values[-1]:.1%}" for values in split.shares.values())
            print(f"  run {number + 1}/{runs} {split.method}: {shares}", flush=True)
    return splits, affinity


def _many(stage: Stage, method: str) -> list[Connection]:
    many = addresses(CLIENTS) * (CONNECTIONS // CLIENTS)
    clients = many if method == "SourceAddress" else [_CLIENT] * CONNECTIONS
    how = {} if method in {"RoundRobin", "SourceAddress"} else OVERLAPPING
    return connect(stage.kube, Plan(target=f"{stage.address(POOL)}:25", clients=clients, **how))


def _drain_one(stage: Stage, before: Sequence[Connection], affinity: Affinity) -> None:
    """Take the second relay out, look where its clients went, and bring it back."""
    leaving = list(WEIGHTS)[1]
    _annotate(stage, leaving, "smtpfleet.io/drain=true")
    _wait_applied(stage, "SourceAddress", {**WEIGHTS, leaving: 0})
    target = f"{stage.address(POOL)}:25"
    after = relays_of(connect(stage.kube, Plan(target=target, clients=addresses(CLIENTS))))
    known = relays_of(before)
    affinity.unfaithful.append(sum(len(relays) > 1 for relays in known.values()))
    affinity.moved.append(sum(after[client] != relays for client, relays in known.items()))
    affinity.moved_needlessly.append(
        sum(after[client] != relays for client, relays in known.items() if leaving not in relays)
    )
    _annotate(stage, leaving, "smtpfleet.io/drain-")


def _apply(stage: Stage, method: str) -> None:
    outer = {"acceptProxyProtocol": True, "proxyProtocolSources": list(CLUSTER_NETWORKS)}
    stage.apply_pool(
        POOL,
        replicas=len(WEIGHTS),
        submission={"trustedNetworks": ["192.0.2.0/24"]},
        balancing={"method": method, **outer},
    )


def _annotate(stage: Stage, relay: str, mark: str) -> None:
    stage.kube.run("annotate", "deployment", relay, "-n", stage.namespace, "--overwrite", mark)


def _wait_applied(stage: Stage, method: str, weights: Mapping[str, int]) -> None:
    """Until every balancer balances so, with these weights, and sees every relay that has one."""

    def seen() -> str:
        text = stage.kube.get("configmap", f"{POOL}-routing", "-n", stage.namespace)["data"]["routing.json"]
        if f'"method": "{method}"' not in text.replace('"method":"', '"method": "'):
            return "the routing table is an old one"
        stati = [stage.balancer_status(pod.name) for pod in stage.pods("balancer", POOL)]
        revisions = {status["tableRevision"] for status in stati}
        revisions |= {stage.relay_status(pod.name)["tableRevision"] for pod in stage.pods("relay", POOL)}
        if len(revisions) != 1:
            return f"agents work by {revisions}"
        for status in stati:
            found = {s["name"]: s["weight"] if s["state"] == "UP" else 0 for s in status["servers"]}
            if found != dict(weights):
                return f"a balancer weighs {found}"
        return ""

    wait_until(seen, timeout_s=120)
