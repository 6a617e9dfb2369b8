"""Queues on a real cluster: what a relay cannot deliver its siblings take over, and nothing is lost or repeated."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from mailcheck.checker import check
from scenario.cluster import Local
from scenario.conversation import hold
from scenario.kube import Object, wait_until
from scenario.load import Load, Shape, run
from scenario.stage import Stage
from tests.cluster.edge import hand_off
from tests.cluster.operators import Space

WAITING = 600
"""Messages that the receiver does not take from the relay that leaves."""
LOAD = Shape(target="", rate=60, count=1800)


@pytest.fixture(scope="module")
def stage(local: Local) -> Iterator[Stage]:
    """A sink, and a pool of one relay, whose queue gets long before the others come."""
    namespace = f"handoff-{uuid4().hex[:6]}"
    with Stage(kube=local.kube, namespace=namespace, sink_image=local.images["sink"]) as stage:
        stage.pool(replicas=1)
        yield stage


def _space(stage: Stage) -> Space:
    return Space(stage.kube, stage.namespace)


def _relays(stage: Stage) -> list[str]:
    return _space(stage).names("persistentvolumeclaims")


def _entry(stage: Stage, relay: str) -> Object:
    return _space(stage).entries().get(relay, {})


def _queue(stage: Stage, relay: str) -> Object:
    pod = next(pod for pod in stage.pods("relay") if pod.relay == relay)
    found: Object = stage.relay_status(pod.name)["queue"]
    return found


def _gone(stage: Stage, relay: str) -> str:
    return "" if relay not in _relays(stage) else f"{_entry(stage, relay)} {_queue(stage, relay)}"


def _drain(stage: Stage, relay: str, value: str = "=true") -> None:
    stage.kube.run("annotate", "deployment", relay, "-n", stage.namespace, f"smtpfleet.io/drain{value}")


def test_a_relay_whose_mail_nobody_takes_hands_it_over_and_goes(stage: Stage) -> None:
    """Under load, with one message on hold, which only a person may touch."""
    leaving = "outbound-relay-0"
    pod = stage.pods("relay")[0]
    stage.sink_mode(mode="tempfail", client=pod.address)
    waiting, _ = run(stage.kube, Shape(target=f"{stage.address()}:25", rate=150, count=WAITING))
    wait_until(lambda: _deferred(stage, leaving, WAITING), timeout_s=60)
    held = _first_queue_id(stage, pod.name)
    stage.kube.run("exec", "-n", stage.namespace, pod.name, "--", "postsuper", "-h", held)
    stage.apply_pool(replicas=3)
    stage.wait_ready()
    _drain(stage, leaving)  # so that this one is chosen
    shape = Shape(target=f"{stage.address()}:25", rate=LOAD.rate, count=LOAD.count)
    load = Load.start(stage.kube, shape)
    try:
        stage.apply_pool(replicas=2)
        took_s = wait_until(lambda: _only_held(stage, leaving), timeout_s=120)
        print(f"handed over after {took_s:.1f} s")
        _strangers_may_not_hand_over(stage, "outbound-relay-1")
    finally:
        attempts = load.finish()
    assert {attempt.reason for attempt in attempts if not attempt.acknowledged} == set()
    assert leaving in _relays(stage)
    stage.kube.run("exec", "-n", stage.namespace, pod.name, "--", "postsuper", "-H", held)
    took_s = wait_until(lambda: _gone(stage, leaving), timeout_s=120)
    print(f"gone after {took_s:.1f} s")
    stage.wait_ready()
    verdict = check([*waiting, *attempts], stage.wait_drained([*waiting, *attempts]))
    assert verdict.ok, verdict
    assert not verdict.duplicated
    events = stage.kube.items("events.events.k8s.io", "-n", stage.namespace)
    assert {"HandingOff", "Removed"} <= {event["reason"] for event in events}


def _deferred(stage: Stage, relay: str, count: int) -> str:
    queue = _queue(stage, relay)
    return "" if queue["deferred"] == count else f"{queue}"


def _first_queue_id(stage: Stage, pod: str) -> str:
    listed = stage.kube.run("exec", "-n", stage.namespace, pod, "--", "postqueue", "-p")
    return next(line.split()[0].rstrip("*!") for line in listed.splitlines()[1:] if line[:1].isalnum())


def _only_held(stage: Stage, relay: str) -> str:
    queue, entry = _queue(stage, relay), _entry(stage, relay)
    rest = sum(queue[name] for name in ("maildrop", "incoming", "active", "deferred"))
    return "" if (rest, queue["hold"]) == (0, 1) and "on hold" in entry["message"] else f"{queue} {entry}"


def _strangers_may_not_hand_over(stage: Stage, relay: str) -> None:
    """Node and network let them through here: Postfix itself refuses them."""
    address = stage.address(relay)
    conversations = [attempt.to(address) for attempt in hand_off.ATTEMPTS]
    answers = hold(stage.kube, conversations, source="n1")
    found = {attempt.title: answers[attempt.title].codes for attempt in hand_off.ATTEMPTS}
    assert found == {attempt.title: attempt.codes for attempt in hand_off.ATTEMPTS}
