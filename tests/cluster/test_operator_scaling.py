"""Fewer relays and other pods on a real cluster: no relay goes before its mail has gone."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest

from mailcheck.checker import check
from mailcheck.model import Attempt
from mailcheck.timeline import reasons
from scenario.cluster import Local
from scenario.kube import Object, wait_until
from scenario.load import Load, Shape, run
from scenario.stage import ONE_BALANCER, Stage
from tests.cluster import relays
from tests.cluster.operators import Space

COUNT = 40


@pytest.fixture(scope="module")
def stage(local: Local) -> Iterator[Stage]:
    """A sink, and a pool of two relays that deliver to it."""
    namespace = f"scaling-{uuid4().hex[:6]}"
    with Stage(
        kube=local.kube, namespace=namespace, sink_image=local.images["sink"], shape=ONE_BALANCER
    ) as stage:
        stage.pool(replicas=2)
        yield stage


def _entries(stage: Stage) -> dict[str, Object]:
    return Space(stage.kube, stage.namespace).entries()


def _status(stage: Stage) -> Object:
    found: Object = stage.kube.get("smtppool", "outbound", "-n", stage.namespace)["status"]
    return found


def _claims(stage: Stage) -> list[str]:
    return Space(stage.kube, stage.namespace).names("persistentvolumeclaims")


def _weights(stage: Stage, annotation: str) -> None:
    """Say something of all relays' weights: with 0 they get no mail from clients, and so none from siblings."""
    for relay in _entries(stage):
        stage.kube.run("annotate", "--overwrite", "deployment", relay, "-n", stage.namespace, annotation)


def _tempfailed(stage: Stage) -> list[Attempt]:
    """Hand in what the receiver refuses for now, and let no relay take more."""
    stage.sink_mode(mode="tempfail")
    attempts, _ = run(stage.kube, Shape(target=f"{stage.address()}:25", rate=50, count=COUNT))
    wait_until(lambda: _all_deferred(stage), timeout_s=60)
    _weights(stage, "smtpfleet.io/weight=0")
    return attempts


def _accepted(stage: Stage) -> None:
    """Let the receiver take it, and try all of it."""
    stage.sink_mode(mode="accept")
    for pod in stage.pods("relay"):
        stage.kube.run("exec", "-n", stage.namespace, pod.name, "--", "postqueue", "-f")


def test_a_surplus_relay_that_no_sibling_relieves_stays_until_its_mail_is_delivered(stage: Stage) -> None:
    attempts = _tempfailed(stage)
    stage.apply_pool(replicas=1)
    wait_until(lambda: _one_waits_with_mail(stage), timeout_s=60)
    assert len(_claims(stage)) == 2
    staying, leaving = _by_reason(stage)
    assert (staying["state"], staying["weight"]) == ("Serving", 0)
    assert leaving["deferred"] > 0
    status = _status(stage)
    assert (status["replicas"], status["desiredReplicas"]) == (2, 1)
    # Numbers of messages are written every 15 s at most.
    wait_until(lambda: "" if _status(stage)["deferred"] == COUNT else f"{_status(stage)}", timeout_s=60)

    _accepted(stage)
    wait_until(lambda: "" if _claims(stage) == [staying["name"]] else str(_claims(stage)), timeout_s=120)
    _weights(stage, "smtpfleet.io/weight-")
    stage.wait_ready()
    assert list(_entries(stage)) == [staying["name"]]
    verdict = check(attempts, stage.wait_drained(attempts))
    assert verdict.ok, verdict
    assert not verdict.duplicated


def _all_deferred(stage: Stage) -> str:
    queues = [stage.relay_status(pod.name)["queue"] for pod in stage.pods("relay")]
    deferred = [queue["deferred"] for queue in queues]
    return "" if sum(deferred) == COUNT and all(deferred) else f"deferred: {deferred}"


def _one_waits_with_mail(stage: Stage) -> str:
    leaving = [entry for entry in _entries(stage).values() if entry["reason"] == "HandOffBlocked"]
    waits = [entry for entry in leaving if entry["message"].startswith("no sibling takes mail")]
    return "" if waits and waits[0]["state"] == "Draining" else f"{_entries(stage)}"


def _by_reason(stage: Stage) -> tuple[Object, Object]:
    """The relay that stays and the one that leaves."""
    entries = sorted(_entries(stage).values(), key=lambda entry: entry["reason"] == "HandOffBlocked")
    return entries[0], entries[1]


@pytest.mark.thorough("tests/chaos scales again and again")
def test_a_relay_that_was_to_go_returns_when_it_is_wanted_again(stage: Stage) -> None:
    stage.apply_pool(replicas=2)
    stage.wait_ready()
    before = {pod.name: pod.uid for pod in stage.pods("relay")}
    attempts = _tempfailed(stage)
    stage.apply_pool(replicas=1)
    wait_until(lambda: _one_waits_with_mail(stage), timeout_s=60)
    stage.apply_pool(replicas=2)
    _weights(stage, "smtpfleet.io/weight-")
    stage.wait_ready()
    assert {pod.name: pod.uid for pod in stage.pods("relay")} == before
    wait_until(lambda: _all_open(stage), timeout_s=60)
    _accepted(stage)
    again, _ = run(stage.kube, Shape(target=f"{stage.address()}:25", rate=50, count=COUNT))
    arrivals = {arrival.id for arrival in stage.wait_drained([*attempts, *again])}
    assert {attempt.id for attempt in [*attempts, *again]} <= arrivals


def _all_open(stage: Stage) -> str:
    intakes = {pod.name: stage.relay_status(pod.name)["intake"] for pod in stage.pods("relay")}
    return "" if set(intakes.values()) == {"Open"} else str(intakes)


def test_another_image_rolls_through_one_relay_at_a_time_without_an_error(
    stage: Stage, local: Local, rate: int
) -> None:
    """While mail flows: first one that does not exist, which stops at the first relay, then one that does."""
    stage.apply_pool(replicas=3)
    stage.wait_ready()
    before = {pod.relay: pod.uid for pod in stage.pods("relay")}
    with _flawless(stage, rate=rate):
        stage.apply_pool(replicas=3, relay={"image": "localhost/smtpfleet-relay:missing"})
        wait_until(lambda: _lacks_its_image(stage), timeout_s=60)
        time.sleep(6)  # the operator looks again in the meantime
        changed = [pod.relay for pod in stage.pods("relay") if pod.uid != before[pod.relay]]
        assert changed == ["outbound-relay-0"]
        assert Space(stage.kube, stage.namespace).condition("Reconciling")["reason"] == "RollingOut"
        stage.apply_pool(replicas=3, relay={"image": _second_name(local)})
        wait_until(lambda: _all_replaced(stage, before), timeout_s=180)
        stage.wait_ready()
    assert {pod["spec"]["containers"][0]["image"] for pod in _pods(stage)} == {_second_name(local)}
    times = sorted(_ready_since(stage))
    created = sorted(_created(stage))
    # Each pod was made only after the one before was ready again.
    assert all(made >= ready for made, ready in zip(created[1:], times[:-1], strict=True))


@pytest.mark.thorough("test_domain_plan.py has its steps, and scaling and rolling are tested above")
def test_the_only_relay_of_a_pool_is_changed_by_another_one_without_an_error(
    stage: Stage, local: Local, rate: int
) -> None:
    """With mail in its queue, which the new one takes over; and one of an image that does not exist changes nothing."""
    stage.apply_pool(replicas=1)
    wait_until(lambda: "" if len(_claims(stage)) == 1 else str(_claims(stage)), timeout_s=120)
    (only,) = _claims(stage)
    stage.sink_mode(mode="tempfail", stage="rcpt", share=0.5)
    with _flawless(stage, rate=rate):
        stage.apply_pool(replicas=1, relay={"image": "localhost/smtpfleet-relay:missing"})
        wait_until(lambda: _lacks_its_image(stage), timeout_s=60)
        assert _entries(stage)[only]["state"] == "Serving"
        stage.apply_pool(replicas=1, relay={"image": _second_name(local)})
        pods: set[str] = set()
        wait_until(lambda: _succeeded(stage, only, pods), timeout_s=120)
        assert len(pods) == 1, "it was restarted although it left"
        stage.sink_mode(mode="accept")
        (now,) = _pods(stage)
        assert now["spec"]["containers"][0]["image"] == _second_name(local)
        stage.kube.run("exec", "-n", stage.namespace, now["metadata"]["name"], "--", "postqueue", "-f")


@contextmanager
def _flawless(stage: Stage, *, rate: int) -> Iterator[None]:
    """Mail all the time, of which every message is acknowledged at once, and arrives once."""
    count = int(rate * relays.MOST_S)
    load = Load.start(stage.kube, Shape(target=f"{stage.address()}:25", rate=rate, count=count))
    try:
        yield
    finally:
        attempts = load.enough()
    assert dict(reasons(attempts)) == {}
    ids = {attempt.id for attempt in attempts}
    verdict = check(attempts, [each for each in stage.wait_drained(attempts) if each.id in ids])
    assert verdict.ok, verdict
    assert not verdict.duplicated


def _second_name(local: Local) -> str:
    """Every image is in the nodes by two names."""
    return f"{local.images['relay'].rpartition(':')[0]}:dev"


def _lacks_its_image(stage: Stage) -> str:
    lacking = [entry for entry in _entries(stage).values() if "Image" in entry["message"]]
    return "" if lacking else f"{_entries(stage)}"


def _succeeded(stage: Stage, relay: str, seen: set[str]) -> str:
    """Empty once another relay is all there is; notes the uids of the pods that the first one had meanwhile."""
    seen |= {pod.uid for pod in stage.pods("relay") if pod.relay == relay}
    claims = _claims(stage)
    return "" if len(claims) == 1 and relay not in claims else f"{claims} {_entries(stage)}"


def _all_replaced(stage: Stage, before: dict[str, str]) -> str:
    now = {pod.relay: pod.uid for pod in stage.pods("relay")}
    old = [relay for relay, uid in before.items() if now.get(relay) == uid]
    return f"still to be replaced: {old}" if old or len(now) < len(before) else ""


def _pods(stage: Stage) -> list[Object]:
    selector = "smtpfleet.io/pool=outbound,app.kubernetes.io/component=relay"
    return stage.kube.items("pods", "-n", stage.namespace, "-l", selector)


def _created(stage: Stage) -> list[str]:
    return [pod["metadata"]["creationTimestamp"] for pod in _pods(stage)]


def _ready_since(stage: Stage) -> list[str]:
    found = []
    for pod in _pods(stage):
        found += [c["lastTransitionTime"] for c in pod["status"]["conditions"] if c["type"] == "Ready"]
    return found
