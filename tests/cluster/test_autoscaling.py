"""Pools that follow their queues on a real cluster: relays that are too small are joined by others, receivers add none.

Two pools get the same burst at the same time. The relays of the one are the limit: each makes one delivery at a time,
which takes some hundredths of a second. The receiver of the other refuses for now.
"""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from mailcheck.checker import check
from scenario.cluster import Local
from scenario.kube import Object, wait_until
from scenario.load import Load, Shape
from scenario.stage import Stage

COUNT = 600
RATE = 100
SCALING: dict[str, Any] = {
    "minReplicas": 1,
    "maxReplicas": 3,
    "targetDrainTime": "10s",
    "scaleDown": {"stabilizationWindow": "3s", "period": "1s"},
}
SHAPE: dict[str, Any] = {
    "autoscaling": SCALING,
    "balancing": {"replicas": 1},
    "health": {"slowStart": "0s"},
}
TOOK_S = 0.03


@pytest.fixture(scope="module")
def stage(local: Local) -> Iterator[Stage]:
    """A receiver that takes a moment for each message, one that refuses, and a pool that delivers to each."""
    namespace = f"autoscaling-{uuid4().hex[:6]}"
    with Stage(kube=local.kube, namespace=namespace, sink_image=local.images["sink"]) as stage:
        stage.add_sink("refusing")
        stage.sink_mode(mode="delay", seconds=TOOK_S)
        stage.sink_mode(sink="refusing", mode="tempfail")
        for pool, receiver in (("refused", "refusing"), ("small", "sink")):
            smarthost = {"host": stage.address(receiver), "port": 25}
            stage.apply_pool(
                pool, **SHAPE, delivery={"smarthost": smarthost, "maxConnectionsPerDestination": 1}
            )
        stage.wait_ready("refused")
        stage.wait_ready("small")
        yield stage


def _status(stage: Stage, pool: str) -> Object:
    found: Object = stage.kube.get("smtppool", pool, "-n", stage.namespace)["status"]
    return found


def _scaling(status: Object) -> tuple[str, str]:
    """Reasons of ScalingActive and ScalingLimited."""
    reasons = {condition["type"]: condition["reason"] for condition in status["conditions"]}
    return reasons["ScalingActive"], reasons["ScalingLimited"]


def _events(stage: Stage, pool: str) -> dict[str, str]:
    """Messages of the pool's Events, by reason."""
    events = stage.kube.items("events.events.k8s.io", "-n", stage.namespace)
    return {event["reason"]: event["note"] for event in events if event["regarding"]["name"] == pool}


def _shrunk(stage: Stage) -> str:
    status = _status(stage, "small")
    sizes = (status["desiredReplicas"], status["replicas"])
    return "" if sizes == (1, 1) else f"{sizes}, {_scaling(status)}"


def test_a_pool_grows_for_its_own_backlog_and_not_for_a_receivers(stage: Stage) -> None:
    shapes = {pool: Shape(target=f"{stage.address(pool)}:25", rate=RATE, count=COUNT) for pool in stage.pools}
    loads = {pool: Load.start(stage.kube, shape) for pool, shape in shapes.items()}
    wait_until(lambda: "" if _status(stage, "small")["replicas"] > 1 else "no relay was added", timeout_s=60)
    attempts = {pool: load.finish() for pool, load in loads.items()}
    wait_until(lambda: _refused(stage), timeout_s=60)
    assert _status(stage, "refused")["replicas"] == 1
    stage.sink_mode(sink="refusing", mode="accept")
    wait_until(lambda: _flushed(stage, "refused"), timeout_s=60, interval_s=2)
    arrivals = stage.wait_drained(attempts["small"])
    wait_until(lambda: _shrunk(stage), timeout_s=120)
    for pool, arrived in (("small", arrivals), ("refused", stage.arrivals(sink="refusing"))):
        verdict = check(attempts[pool], arrived)
        assert verdict.ok, (pool, verdict)
        assert not verdict.duplicated
    assert "relays themselves" in _events(stage, "small")["ScalingUp"]
    assert "ScalingDown" in _events(stage, "small")
    assert "put it off" in _events(stage, "refused")["ReceiverRefuses"]


def _flushed(stage: Stage, pool: str) -> str:
    """Empty once nothing waits: a delivery that was under way keeps its message from a flush."""
    for pod in stage.pods("relay", pool):
        if pod.ready:
            stage.kube.run("exec", "-n", stage.namespace, pod.name, "--", "postqueue", "-f")
    return f"{queued} messages are queued" if (queued := stage.queued(pool)) else ""


def _refused(stage: Stage) -> str:
    found = _scaling(_status(stage, "refused"))
    return "" if found == ("ReceiverRefuses", "ReceiverRefuses") else str(found)
