"""What becomes of mail when its pool is deleted, by each policy, and the restore drill: only the volumes are left."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from mailcheck.checker import check
from mailcheck.model import Attempt
from scenario.accounts import of_this_run
from scenario.cluster import Local
from scenario.kube import Object, wait_until
from scenario.load import Shape, run
from scenario.stage import ONE_BALANCER, Stage
from tests.cluster.operators import Space

COUNT = 30
FINALIZER = "smtpfleet.io/drain"


@pytest.fixture(scope="module")
def stage(local: Local) -> Iterator[Stage]:
    namespace = f"deletion-{uuid4().hex[:6]}"
    with Stage(
        kube=local.kube, namespace=namespace, sink_image=local.images["sink"], shape=ONE_BALANCER
    ) as stage:
        yield stage


@pytest.fixture(scope="module")
def earlier() -> list[Attempt]:
    return []


def _space(stage: Stage) -> Space:
    return Space(stage.kube, stage.namespace)


def _finalizers(stage: Stage) -> list[str]:
    found: list[str] = _space(stage).get("smtppool", "outbound")["metadata"].get("finalizers", [])
    return found


def _with_mail(stage: Stage, **spec: Any) -> list[Attempt]:
    """A pool of two relays with mail that the receiver refuses for now."""
    stage.pool(replicas=2, **spec)
    stage.sink_mode(mode="tempfail")
    attempts, _ = run(stage.kube, Shape(target=f"{stage.address()}:25", rate=30, count=COUNT))
    wait_until(lambda: "" if stage.queued() == COUNT else f"{stage.queued()} queued", timeout_s=60)
    return attempts


def _delete(stage: Stage) -> None:
    stage.kube.run("delete", "smtppool", "outbound", "-n", stage.namespace, "--wait=false")


def _only_claims_left(stage: Stage) -> str:
    space = _space(stage)
    found = [
        name for kind in ("smtppools", "deployments", "services", "configmaps") for name in space.names(kind)
    ]
    pods = [pod.name for kind in ("relay", "balancer") for pod in stage.pods(kind)]
    return f"{found} {pods}" if found or pods or space.find("smtppool", "outbound") else ""


def _claims(stage: Stage) -> list[str]:
    return _space(stage).names("persistentvolumeclaims")


def _events(stage: Stage, reason: str) -> list[Object]:
    found = stage.kube.items("events.events.k8s.io", "-n", stage.namespace)
    return [event for event in found if event["reason"] == reason]


def _restored(stage: Stage, attempts: list[Attempt], earlier: list[Attempt]) -> None:
    """Apply the pool anew: all that was acknowledged arrives, once."""
    stage.sink_mode(mode="accept")
    stage.pool(replicas=2)
    verdict = check(attempts, of_this_run(stage.wait_drained(attempts), earlier))
    earlier.extend(attempts)
    assert verdict.ok, verdict
    assert not verdict.duplicated


def test_the_volumes_of_a_retained_pool_deliver_their_mail_in_a_new_one(
    stage: Stage, earlier: list[Attempt]
) -> None:
    attempts = _with_mail(stage, deletionPolicy="Retain")
    assert _finalizers(stage) == []
    _delete(stage)
    wait_until(lambda: _only_claims_left(stage), timeout_s=120)
    assert len(_claims(stage)) == 2
    _restored(stage, attempts, earlier)


def test_a_pool_that_drains_goes_when_its_mail_has_gone_and_leaves_nothing(
    stage: Stage, earlier: list[Attempt]
) -> None:
    attempts = _with_mail(stage, deletionPolicy="Drain")
    wait_until(lambda: "" if _finalizers(stage) == [FINALIZER] else str(_finalizers(stage)), timeout_s=30)
    _delete(stage)
    _space(stage).wait_condition("Reconciling", "True", reason="Deleting")
    stage.sink_mode(mode="accept")
    for pod in stage.pods("relay"):
        stage.kube.run("exec", "-n", stage.namespace, pod.name, "--", "postqueue", "-f")
    wait_until(lambda: _only_claims_left(stage), timeout_s=120)
    wait_until(lambda: str(_claims(stage)) if _claims(stage) else "", timeout_s=60)
    verdict = check(attempts, of_this_run(stage.arrivals(), earlier))
    earlier.extend(attempts)
    assert verdict.ok, verdict
    assert not verdict.duplicated


@pytest.mark.thorough("volumes that are kept are restored by the test of Retain")
def test_what_is_not_delivered_in_time_stays_on_its_volumes_and_is_told(
    stage: Stage, earlier: list[Attempt]
) -> None:
    attempts = _with_mail(stage, deletionPolicy="Drain", drainTimeout="10s")
    _delete(stage)
    wait_until(lambda: _only_claims_left(stage), timeout_s=120)
    assert len(_claims(stage)) == 2
    told = [event["note"] for event in _events(stage, "QueueKept")]
    assert len(told) == 1, told
    assert "outbound-relay-0 (" in told[0]
    _restored(stage, attempts, earlier)


def test_a_pool_that_drains_can_be_told_to_go_at_once(stage: Stage) -> None:
    """By another policy, while it waits: first its claims get an owner, then it goes, and they with it."""
    _with_mail(stage, deletionPolicy="Drain")
    _delete(stage)
    _space(stage).wait_condition("Reconciling", "True", reason="Deleting")
    stage.apply_pool(replicas=2, deletionPolicy="Delete")
    wait_until(lambda: _only_claims_left(stage), timeout_s=120)
    wait_until(lambda: str(_claims(stage)) if _claims(stage) else "", timeout_s=60)
    assert [event["note"] for event in _events(stage, "Removed") if "go with it" in event["note"]]
