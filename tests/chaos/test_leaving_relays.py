"""Relays leave and come under load while things are killed: whatever was acknowledged arrives.

A round fills the queue of one relay with mail that its receiver refuses for now, lets the receiver refuse half of what
comes later, takes that relay away, and kills something every two seconds: the relay that leaves, one that takes over,
the operator, a balancer. The seed is in the name of each round.
"""

import logging
import os
import random
import time
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from bench import failover
from mailcheck.checker import check
from mailcheck.model import Attempt
from mailcheck.timeline import reasons
from scenario import faults
from scenario.accounts import of_this_run
from scenario.apiserver import KubeError
from scenario.cluster import OPERATOR_NAMESPACE, Local
from scenario.kube import wait_until
from scenario.load import Load, Shape, run
from scenario.stage import Pod, Stage
from tests.cluster import relays
from tests.cluster.operators import Space

RELAYS = 3
ROUNDS = 10
KILLS = 5
EVERY_S = 2.0
WAITING_S = 15
"""So many seconds' messages wait, most of them in the relay that leaves: 1,500 at the full rate."""
CONCURRENCY = 20
"""Deliveries at a time to the receiver, and so the most that one kill can repeat."""
logger = logging.getLogger(__name__)
SEED = int(os.environ.get("SMTPFLEET_CHAOS_SEED", "0"))


@pytest.fixture(scope="module")
def stage(local: Local) -> Iterator[Stage]:
    namespace = f"leaving-{uuid4().hex[:6]}"
    with Stage(kube=local.kube, namespace=namespace, sink_image=local.images["sink"]) as stage:
        stage.pool(replicas=RELAYS, health={"slowStart": "0s"})
        yield stage


@pytest.fixture(scope="module")
def earlier() -> list[Attempt]:
    return []


def _scale(stage: Stage, replicas: int) -> None:
    stage.kube.run("scale", "smtppool/outbound", "-n", stage.namespace, f"--replicas={replicas}")


def _count(stage: Stage, wanted: int) -> str:
    claims = Space(stage.kube, stage.namespace).names("persistentvolumeclaims")
    return "" if len(claims) == wanted else f"{claims} {Space(stage.kube, stage.namespace).entries()}"


def _leaves(stage: Stage, pod: Pod) -> bool:
    entry = Space(stage.kube, stage.namespace).entries().get(pod.relay, {})
    return entry.get("reason") in {"Surplus", "HandingOff", "HandOffBlocked"}


def _kill(stage: Stage, pods: list[Pod], container: str, chance: random.Random) -> None:
    if not pods:
        raise LookupError(f"no pod of a {container} there")
    pod = chance.choice(pods)
    faults.kill(
        faults.find_container(stage.kube, namespace=stage.namespace, pod=pod.name, container=container)
    )


def _victims(stage: Stage, chance: random.Random) -> dict[str, Callable[[], None]]:
    def relay(*, leaving: bool) -> None:
        found = [pod for pod in stage.pods("relay") if _leaves(stage, pod) is leaving]
        _kill(stage, found, "relay", chance)

    def operator() -> None:
        pods = stage.kube.items(
            "pods", "-n", OPERATOR_NAMESPACE, "-l", "app.kubernetes.io/component=operator"
        )
        name = chance.choice(pods)["metadata"]["name"]
        faults.delete_pod(stage.kube, namespace=OPERATOR_NAMESPACE, pod=name, force=True)

    return {
        "leaving relay": lambda: relay(leaving=True),
        "taking relay": lambda: relay(leaving=False),
        "operator": operator,
        "balancer": lambda: _kill(stage, stage.pods("balancer"), "haproxy", chance),
    }


def _kill_something(stage: Stage, chance: random.Random) -> str:
    """What was killed; what has no process at that moment is passed over."""
    victims = sorted(_victims(stage, chance).items())
    for name, act in chance.sample(victims, len(victims)):
        try:
            act()
        except (KubeError, LookupError, ProcessLookupError):
            continue
        return name
    raise AssertionError("nothing is there to be killed")


@pytest.mark.parametrize("seed", [SEED * 100 + number for number in range(ROUNDS)])
def test_a_relay_that_leaves_loses_nothing_whatever_is_killed(
    stage: Stage, earlier: list[Attempt], seed: int, rate: int
) -> None:
    chance = random.Random(seed)
    _scale(stage, RELAYS)
    failover.settle(stage, relays=RELAYS)
    leaving = chance.choice(sorted(relays.entries(stage)))
    waiting = _fill(stage, leaving, rate * WAITING_S)
    stage.sink_mode(mode="tempfail", stage="rcpt", share=0.5)
    load = Load.start(stage.kube, Shape(target=f"{stage.address()}:25", rate=rate, count=rate * 20))
    killed = []
    try:
        time.sleep(4)
        _annotate(stage, leaving, "smtpfleet.io/drain=true")  # so that this one is chosen
        _scale(stage, RELAYS - 1)
        for _ in range(KILLS):
            time.sleep(EVERY_S)
            killed.append(_kill_something(stage, chance))
        stage.sink_mode(mode="accept")
    finally:
        attempts = load.finish()
    logger.info("seed %d: %s leaves, killed: %s", seed, leaving, killed)
    _settle(stage, [*waiting, *attempts], earlier, count=RELAYS - 1, duplicates=CONCURRENCY * len(killed))
    assert leaving not in relays.entries(stage)


def _fill(stage: Stage, relay: str, count: int) -> list[Attempt]:
    """Let so many messages wait, most of them in one relay."""
    stage.sink_mode(mode="tempfail")
    others = [name for name in relays.entries(stage) if name != relay]
    for name in others:
        _annotate(stage, name, "smtpfleet.io/weight=0")
    wait_until(lambda: "".join(relays.balancers_weigh(stage, name, 0) for name in others), timeout_s=30)
    attempts, _ = run(stage.kube, Shape(target=f"{stage.address()}:25", rate=150, count=count))
    for name in others:
        _annotate(stage, name, "smtpfleet.io/weight-")
    wait_until(
        lambda: "" if all(relays.weights(stage).values()) else f"{relays.weights(stage)}", timeout_s=30
    )
    count = sum(attempt.acknowledged for attempt in attempts)
    wait_until(lambda: _deferred(stage, relay, count), timeout_s=60)
    return attempts


def _deferred(stage: Stage, relay: str, count: int) -> str:
    """Empty once all wait, some of them there: the others are the last resort, and so may get some."""
    found = {pod.relay: stage.relay_status(pod.name)["queue"]["deferred"] for pod in stage.pods("relay")}
    return "" if sum(found.values()) >= count and found[relay] > count / 10 else f"{found}"


def _annotate(stage: Stage, relay: str, what: str) -> None:
    stage.kube.run("annotate", "--overwrite", "deployment", relay, "-n", stage.namespace, what)


def _settle(
    stage: Stage, attempts: list[Attempt], earlier: list[Attempt], *, count: int, duplicates: int
) -> None:
    """Wait until the relay is gone and every queue is empty, and account for all."""
    known = list(earlier)
    earlier.extend(attempts)  # whatever comes of them: they are no later round's
    wait_until(lambda: _count(stage, count), timeout_s=240)
    failover.settle(stage, relays=count)
    for pod in stage.pods("relay"):
        stage.kube.run("exec", "-n", stage.namespace, pod.name, "--", "postqueue", "-f")
    arrivals = of_this_run(stage.wait_drained(attempts, timeout_s=240), known)
    verdict = check(attempts, arrivals)
    assert verdict.ok, f"lost {verdict.lost[:5]}, unexpected {verdict.unexpected[:5]}"
    logger.info("%d of %d messages came more than once", verdict.extra_copies, len(attempts))
    assert verdict.extra_copies <= duplicates


def test_a_pool_that_is_scaled_again_and_again_without_waiting_loses_nothing(
    stage: Stage, earlier: list[Attempt], rate: int
) -> None:
    """5, 2, 5, 1: a choice that is not carried out yet is taken back, and made anew."""
    stage.sink_mode(mode="tempfail", stage="rcpt", share=0.5)
    load = Load.start(stage.kube, Shape(target=f"{stage.address()}:25", rate=rate, count=rate * 50))
    try:
        for replicas in (5, 2, 5, 1):
            _scale(stage, replicas)
            time.sleep(10)
        stage.sink_mode(mode="accept")
    finally:
        attempts = load.finish()
    _settle(stage, attempts, earlier, count=1, duplicates=0)
    assert dict(reasons(attempts)) == {}
