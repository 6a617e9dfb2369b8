"""Faults under load: whatever happens, what was acknowledged arrives.

Judged by accounting alone; how long clients notice a fault is measured by ``make bench``.
"""

import logging
from collections.abc import Iterator
from uuid import uuid4

import pytest

from bench import failover
from mailcheck.checker import check
from mailcheck.model import Attempt
from mailcheck.timeline import reasons
from scenario.accounts import figures, of_this_run
from scenario.cluster import OPERATOR_NAMESPACE, Local
from scenario.kube import wait_until
from scenario.load import Shape, Step, run
from scenario.stage import Stage
from testbed.handle import ClusterHandle
from tests.cluster import relays

logger = logging.getLogger(__name__)
RELAYS = 3
SECONDS = 10
OUTAGE_S = 120


@pytest.fixture(scope="module")
def stage(local: Local) -> Iterator[Stage]:
    with Stage(
        kube=local.kube, namespace=f"chaos-{uuid4().hex[:6]}", sink_image=local.images["sink"]
    ) as stage:
        stage.pool(replicas=RELAYS, health=failover.HEALTH)
        yield stage


@pytest.fixture(scope="module")
def earlier() -> list[Attempt]:
    return []


def _under_load(stage: Stage, earlier: list[Attempt], steps: list[Step], *, rate: int) -> list[Attempt]:
    """Hand in under faults, wait until all queues are empty, and insist that nothing is missing."""
    count = rate * SECONDS
    attempts, made = run(stage.kube, Shape(target=f"{stage.address()}:25", rate=rate, count=count), steps)
    failover.settle(stage, relays=RELAYS)
    arrivals = of_this_run(stage.wait_drained(attempts, timeout_s=240), earlier)
    earlier.extend(attempts)
    found, verdict = figures(attempts, arrivals, made[:1])
    assert verdict.ok, (
        f"lost {verdict.lost[:5]}, unexpected {verdict.unexpected[:5]}, corrupted {verdict.corrupted[:5]}"
    )
    logger.info("%d errors of %d, last after %s s", found.errors, found.attempted, found.last_error_s)
    assert sum(a.acknowledged for a in attempts) > count / 2, dict(reasons(attempts))
    return attempts


@pytest.mark.parametrize("case", failover.CASES, ids=lambda case: case.name)
def test_nothing_is_lost_when(stage: Stage, earlier: list[Attempt], case: failover.Case, rate: int) -> None:
    failover.settle(stage, relays=RELAYS)
    attempts = _under_load(stage, earlier, case.steps(stage), rate=rate)
    if case.errors_at_most == 0.0:
        assert dict(reasons(attempts)) == {}


def test_nothing_is_lost_when_a_relay_is_killed_while_no_operator_runs(
    stage: Stage, earlier: list[Attempt], rate: int
) -> None:
    failover.settle(stage, relays=RELAYS)
    scale = ("scale", "deployment/smtpfleet", "-n", OPERATOR_NAMESPACE)
    stage.kube.run(*scale, "--replicas=0")
    try:
        _under_load(stage, earlier, failover.CASES[0].steps(stage), rate=rate)
    finally:
        stage.kube.run(*scale, "--replicas=2")


@pytest.mark.parametrize(
    "seconds",
    [
        SECONDS,
        pytest.param(
            OUTAGE_S,
            marks=pytest.mark.thorough("ten seconds show that mail flows, test_operator_process.py the rest"),
        ),
    ],
)
def test_mail_flows_while_the_api_server_is_stopped_and_the_operator_goes_on_afterwards(
    stage: Stage, earlier: list[Attempt], cluster: ClusterHandle, rate: int, seconds: int
) -> None:
    failover.settle(stage, relays=RELAYS)
    shape = Shape(target=f"{stage.address()}:25", rate=rate, count=rate * seconds)
    before = _operators(stage)
    cluster.api_server("pause")
    try:
        attempts, _ = run(stage.kube, shape)
    finally:
        cluster.api_server("resume")
    assert dict(reasons(attempts)) == {}
    failover.settle(stage, relays=RELAYS)
    _carries_out(stage, weight=70)
    _carries_out(stage, weight=100)
    assert _operators(stage) == before
    arrivals = of_this_run(stage.wait_drained(attempts), earlier)
    earlier.extend(attempts)
    assert check(attempts, arrivals).ok


def _operators(stage: Stage) -> set[tuple[str, int]]:
    """The operator's pods, and how often each of their containers was restarted."""
    pods = stage.kube.items("pods", "-n", OPERATOR_NAMESPACE, "-l", "app.kubernetes.io/component=operator")
    return {
        (pod["metadata"]["uid"], container["restartCount"])
        for pod in pods
        for container in pod["status"]["containerStatuses"]
    }


def _carries_out(stage: Stage, *, weight: int) -> None:
    """A bound that a person sets to a relay's weight reaches the routing table."""
    relay = stage.pods("relay")[0].relay
    stage.kube.run(
        "annotate", "deployment", relay, "-n", stage.namespace, "--overwrite",
        f"smtpfleet.io/weight={weight}",
    )  # fmt: skip

    def seen() -> str:
        found = relays.weights(stage)
        return "" if found[relay] == weight else f"{found}"

    wait_until(seen, timeout_s=60)
