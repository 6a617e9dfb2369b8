"""A node is drained with half of a pool's relays on it, under load: the budget holds, and nothing is lost.

The volumes of a local cluster cannot leave their node. So the relay that is evicted first waits for its node, the
budget keeps the other ones where they are, and ``kubectl drain`` gives up: it ends only where volumes can move.
"""

from collections import Counter
from uuid import uuid4

from bench import failover
from mailcheck.checker import check
from mailcheck.timeline import reasons
from scenario.apiserver import KubeError
from scenario.cluster import Local
from scenario.kube import wait_until
from scenario.load import Load, Shape
from scenario.stage import Stage

RELAYS = 4
SECONDS = 30
DRAIN_S = 15


def test_a_drained_node_costs_no_message_and_never_more_than_one_relay(local: Local, rate: int) -> None:
    namespace = f"drained-{uuid4().hex[:6]}"
    with Stage(kube=local.kube, namespace=namespace, sink_image=local.images["sink"]) as stage:
        stage.pool(replicas=RELAYS, health={"slowStart": "0s"})
        failover.settle(stage, relays=RELAYS)
        nodes = Counter(pod.node for pod in stage.pods("relay"))
        node, there = nodes.most_common(1)[0]
        assert there >= RELAYS / 2, nodes
        load = Load.start(local.kube, Shape(target=f"{stage.address()}:25", rate=rate, count=rate * SECONDS))
        try:
            said = _drain(stage, node)
            assert "would violate the pod's disruption budget" in said, said
            assert sum(pod.ready for pod in stage.pods("relay")) == RELAYS - 1
            wait_until(lambda: _balancers(stage, node), timeout_s=60)
        finally:
            local.kube.run("uncordon", node)
            attempts = load.finish()
        failover.settle(stage, relays=RELAYS)
        verdict = check(attempts, stage.wait_drained(attempts))
    assert verdict.ok, verdict
    assert not verdict.duplicated
    assert dict(reasons(attempts)) == {}


def _drain(stage: Stage, node: str) -> str:
    """Evict the pool's pods as ``kubectl drain`` does, for a while; returns why it did not end."""
    try:
        stage.kube.run(
            "drain", node, "--pod-selector=smtpfleet.io/pool=outbound", "--ignore-daemonsets",
            "--delete-emptydir-data", f"--timeout={DRAIN_S}s",
        )  # fmt: skip
    except KubeError as error:
        return str(error)
    return ""


def _balancers(stage: Stage, node: str) -> str:
    """Empty once every balancer serves from another node."""
    pods = stage.pods("balancer")
    gone = [pod for pod in pods if pod.node != node and pod.ready]
    return "" if len(gone) == 2 else f"{pods}"
