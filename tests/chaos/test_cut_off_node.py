"""A node is cut off: for a minute, and for so long that its relay is replaced and gives its queue up on return.

Judged by accounting; the times that it takes are logged (``--log-cli-level=INFO``).
"""

import logging
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest

from mailcheck.checker import check
from mailcheck.model import Attempt
from mailcheck.timeline import Fault, impacts, longest_gap, reasons
from scenario.cluster import Local
from scenario.kube import wait_until
from scenario.load import Load, Shape, run
from scenario.stage import Pod, Stage
from testbed.handle import ClusterHandle
from tests.cluster import relays
from tests.cluster.operators import Space

logger = logging.getLogger(__name__)

RELAYS = 2
RATE = 20
WAITING = 120
"""Messages of which the relay that is cut off has about half."""
MINUTE_S = 60
CONCURRENCY = 20
"""Deliveries at a time to the receiver, and so the most that a cut can repeat."""
SOON_S = 30
"""What waited on the node arrives in some seconds. Had it to wait until Postfix tries a next hop again that it takes
for dead, or a message that failed twice, it would take a minute at least."""
HEALTH = {
    "interval": "3s",
    "timeout": "2s",
    "unhealthyThreshold": 2,
    "healthyThreshold": 1,
    "ejectionTime": "10s",
    "slowStart": "0s",
    "replaceAfter": "70s",
}
"""The cluster needs up to a minute to notice that a node is lost; sooner, the relay would be restarted, in vain."""


@pytest.fixture
def stage(local: Local) -> Iterator[Stage]:
    namespace = f"cut-{uuid4().hex[:6]}"
    with Stage(kube=local.kube, namespace=namespace, sink_image=local.images["sink"]) as stage:
        stage.pool(replicas=RELAYS, health=HEALTH)
        yield stage


def _node_of_sink(stage: Stage) -> str:
    (pod,) = stage.kube.items("pods", "-n", stage.namespace, "-l", "app.kubernetes.io/name=sink")
    return str(pod["spec"]["nodeName"])


def _elsewhere(pods: list[Pod], node: str) -> Pod:
    return next(pod for pod in pods if pod.node != node)


def _waits(stage: Stage, pod: Pod) -> str:
    """Empty once mail waits on the relay, and nothing is under way there."""
    queue = stage.relay_status(pod.name)["queue"]
    return "" if queue["deferred"] and not queue["active"] + queue["incoming"] else f"{queue}"


def _stranded(stage: Stage, relay: str) -> str:
    """Empty once the relay is stranded and as many others as are wanted serve."""
    entries = Space(stage.kube, stage.namespace).entries()
    states = {name: entry["state"] for name, entry in entries.items()}
    others = [state for name, state in states.items() if name != relay]
    fits = states.get(relay) == "Stranded" and others == ["Serving"] * RELAYS
    return "" if fits else f"{entries}"


def _goes_on_without_its_operator(stage: Stage, relay: str) -> None:
    """One that is killed changes nothing of a relay that is stranded."""
    before = Space(stage.kube, stage.namespace).entries()[relay]
    holder = relays.kill_the_leader(stage)
    wait_until(lambda: relays.another_leads(stage, holder), timeout_s=60)
    time.sleep(5)  # more than an interval
    after = Space(stage.kube, stage.namespace).entries()
    assert after[relay] == before
    assert len(after) == RELAYS + 1


def _missing(stage: Stage, attempts: list[Attempt]) -> str:
    arrived = {arrival.id for arrival in stage.arrivals()}
    missing = sum(attempt.acknowledged and attempt.id not in arrived for attempt in attempts)
    return f"{missing} messages have not arrived" if missing else ""


def _gone(stage: Stage, relay: str) -> str:
    space = Space(stage.kube, stage.namespace)
    return "" if relay not in space.names("persistentvolumeclaims") else f"{space.entries()}"


def _of_the_minute(
    stage: Stage, cluster: ClusterHandle, victim: Pod
) -> tuple[list[Attempt], list[Attempt], float, float]:
    """Cut the node off for a minute, with clients on both sides; their messages, and when it began and ended.

    Those on the node hand in mail for half of it, to the balancer that is there, and it cannot be delivered.
    """
    at_home, outside = (
        next(pod for pod in stage.pods("balancer") if (pod.node == victim.node) is inside)
        for inside in (True, False)
    )
    shape = Shape(target=f"{outside.address}:2525", rate=RATE, count=RATE * (MINUTE_S + 20))
    load = Load.start(stage.kube, shape)
    try:
        time.sleep(5)
        cluster.node("cut", victim.node)
        cut_at = time.time()
        shape = Shape(target=f"{at_home.address}:2525", rate=RATE, count=RATE * MINUTE_S // 2)
        inside = Load.start(stage.kube, shape, source=victim.node).finish()
        time.sleep(max(0.0, cut_at + MINUTE_S - time.time()))
    finally:
        cluster.node("connect", victim.node)
        connected_at = time.time()
        attempts = load.finish()
    return attempts, inside, cut_at, connected_at


@pytest.mark.thorough(
    "test_relay_isolation.py has what tells a relay that its network is back, in made-up time"
)
def test_what_waited_on_a_node_that_was_cut_off_for_a_minute_is_delivered_at_once(
    stage: Stage, cluster: ClusterHandle
) -> None:
    """Although Postfix there takes the next hop for dead, and lets mail sleep that has failed."""
    wait_until(lambda: relays.all_are(stage, "Serving", "ProbesPassed"), timeout_s=60)
    victim = _elsewhere(stage.pods("relay"), _node_of_sink(stage))
    outside, inside, cut_at, connected_at = _of_the_minute(stage, cluster, victim)
    assert sum(attempt.acknowledged for attempt in inside) > len(inside) * 0.9, dict(reasons(inside))
    wait_until(lambda: _missing(stage, [*outside, *inside]), timeout_s=SOON_S)
    arrivals = stage.arrivals()
    late = [arrival.time - connected_at for arrival in arrivals if arrival.id in {a.id for a in inside}]
    (impact,) = impacts(outside, [Fault(name="cut", time=cut_at)])
    verdict = check([*outside, *inside], stage.wait_drained([*outside, *inside]))
    logger.info(
        "%d messages waited there, the last arrived %.1f s after the return; errors of %d others: %s, the last %s s"
        " after the cut; longest gap %s; %d copies",
        len(late), max(late), len(outside), dict(reasons(outside)), impact.last_error_s, longest_gap(outside),
        verdict.extra_copies,
    )  # fmt: skip
    assert min(late) > 0
    assert verdict.ok, f"lost {verdict.lost[:5]}, unexpected {verdict.unexpected[:5]}"
    assert verdict.extra_copies <= CONCURRENCY
    assert "Replacing" not in {reason for _, reason in relays.events(stage, victim.relay)}


@pytest.mark.thorough(
    "test_probing.py replaces a relay, which hands its queue over; test_domain_remedies.py has those that are stranded"
)
def test_a_relay_of_a_node_that_is_cut_off_is_replaced_and_hands_its_queue_over_on_return(
    stage: Stage, cluster: ClusterHandle
) -> None:
    sink_node = _node_of_sink(stage)
    victim = _elsewhere(stage.pods("relay"), sink_node)
    survivor = next(pod for pod in stage.pods("balancer") if pod.node != victim.node)
    stage.sink_mode(mode="tempfail", client=victim.address)
    waiting, _ = run(stage.kube, Shape(target=f"{stage.address()}:25", rate=60, count=WAITING))
    wait_until(lambda: _waits(stage, victim), timeout_s=60)
    # A client whose connections reach the balancer that is left.
    load = Load.start(stage.kube, Shape(target=f"{survivor.address}:2525", rate=RATE, count=RATE * 60))
    try:
        time.sleep(2)
        cluster.node("cut", victim.node)
        cut_at = time.monotonic()
        wait_until(lambda: _stranded(stage, victim.relay), timeout_s=240)
        logger.info("stranded and replaced %.0f s after the cut", time.monotonic() - cut_at)
        pods = [pod for pod in stage.pods("relay") if pod.relay != victim.relay]
        assert {pod.node for pod in pods} == {sink_node}
        assert Space(stage.kube, stage.namespace).condition("QueueHealthy")["reason"] == "QueueKept"
        assert Space(stage.kube, stage.namespace).condition("Available")["status"] == "True"
        assert _gone(stage, victim.relay) != ""
        _goes_on_without_its_operator(stage, victim.relay)
    finally:
        attempts = load.finish()
        stage.sink_mode(mode="accept")
        cluster.node("connect", victim.node)
    connected_at = time.monotonic()
    everything = [*waiting, *attempts]
    wait_until(lambda: _missing(stage, everything), timeout_s=180)
    logger.info("everything arrived %.0f s after the return", time.monotonic() - connected_at)
    wait_until(lambda: _gone(stage, victim.relay), timeout_s=180)
    logger.info("the relay was gone %.0f s after the return", time.monotonic() - connected_at)
    verdict = check(everything, stage.wait_drained(everything))
    assert verdict.ok, f"lost {verdict.lost[:5]}, unexpected {verdict.unexpected[:5]}"
    errors = [attempt for attempt in attempts if not attempt.acknowledged]
    logger.info("%d errors of %d, %d copies", len(errors), len(attempts), verdict.extra_copies)
    events = {event["reason"] for event in stage.kube.items("events.events.k8s.io", "-n", stage.namespace)}
    assert {"Replacing", "Stranded", "Removed"} <= events
    assert "Restarting" not in events
