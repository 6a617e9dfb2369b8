"""Pools that size themselves, for minutes: a receiver that is slow or refuses adds no relay, a burst does.

The same decisions in a minute stand in tests/cluster/test_autoscaling.py, all sequences of loads in
tests/unit/domain/test_domain_autoscaling_always.py.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest

from mailcheck.model import Attempt
from scenario.accounts import figures
from scenario.cluster import Local
from scenario.kube import Object, wait_until
from scenario.load import Load, Shape
from scenario.stage import Stage
from tests.cluster import relays

logger = logging.getLogger(__name__)
AUTOSCALING: dict[str, Any] = {"minReplicas": 2, "maxReplicas": 5}
OUTAGE_S = 300
SLOW_S = 0.3
BURST = 3000
BURST_RATE = 200
TOOK_S = 0.05
"""How long the receiver of the burst takes: one delivery at a time is then what limits a relay."""
DRAIN_S = 60
"""``targetDrainTime`` by default."""


@contextmanager
def _stage(local: Local) -> Iterator[Stage]:
    namespace = f"receivers-{uuid4().hex[:6]}"
    with Stage(kube=local.kube, namespace=namespace, sink_image=local.images["sink"]) as stage:
        yield stage


def _status(stage: Stage) -> Object:
    found: Object = stage.kube.get("smtppool", "outbound", "-n", stage.namespace)["status"]
    return found


def _account(stage: Stage, attempts: list[Attempt], *, timeout_s: float) -> float:
    """Wait until all queues are empty and account for all; returns when the last message arrived (time.time())."""
    arrivals = stage.wait_drained(attempts, timeout_s=timeout_s)
    found, verdict = figures(attempts, arrivals)
    logger.info("%s", found.as_json())
    assert verdict.ok, f"lost {verdict.lost[:5]}, unexpected {verdict.unexpected[:5]}"
    assert not verdict.duplicated
    assert found.errors == 0
    return max(arrival.time for arrival in arrivals)


@pytest.mark.thorough("test_autoscaling.py has a receiver that refuses for a minute")
@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ({"mode": "delay", "seconds": SLOW_S}, "ReceiverSlow"),
        ({"mode": "tempfail"}, "ReceiverRefuses"),
    ],
    ids=["slow", "refuses"],
)
def test_no_relay_is_added_for_a_receiver(local: Local, mode: dict[str, Any], reason: str, rate: int) -> None:
    sizes, reasons = set(), set()
    with _stage(local) as stage:
        stage.pool(autoscaling=AUTOSCALING)
        load = Load.start(
            stage.kube, Shape(target=f"{stage.address()}:25", rate=rate, count=rate * 2 * OUTAGE_S)
        )
        try:
            load.last(5)
            stage.sink_mode(**mode)
            end = time.monotonic() + OUTAGE_S
            while time.monotonic() < end:
                time.sleep(5)
                sizes.add(_status(stage)["replicas"])
                reasons.add(relays.condition(stage, "ScalingActive")["reason"])
            waiting = stage.queued()
            stage.sink_mode(mode="accept")
            began = time.time()
            load.last(OUTAGE_S + 15)
        finally:
            attempts = load.enough()
        # What was put off for the last time just before the end sleeps as long as it is old.
        gone = _account(stage, attempts, timeout_s=2 * OUTAGE_S)
        logger.info("%d waited, gone %.0f s after the end", waiting, gone - began)
        sizes.add(_status(stage)["replicas"])
    assert sizes == {AUTOSCALING["minReplicas"]}
    assert reason in reasons
    assert "RelaysAreTheLimit" not in reasons


@pytest.mark.thorough("test_autoscaling.py has a smaller burst")
def test_a_burst_adds_relays_and_is_gone_in_time(local: Local) -> None:
    scaling = AUTOSCALING | {"scaleDown": {"stabilizationWindow": "30s", "period": "5s"}}
    with _stage(local) as stage:
        smarthost = {"host": stage.address("sink"), "port": 25}
        stage.pool(
            autoscaling=scaling,
            health={"slowStart": "0s"},
            delivery={"smarthost": smarthost, "maxConnectionsPerDestination": 1},
        )
        stage.sink_mode(mode="delay", seconds=TOOK_S)
        load = Load.start(stage.kube, Shape(target=f"{stage.address()}:25", rate=BURST_RATE, count=BURST))
        began = time.time()
        try:
            wait_until(
                lambda: "" if _status(stage)["replicas"] > AUTOSCALING["minReplicas"] else "none was added",
                timeout_s=30,
            )
            added_s = time.time() - began
        finally:
            attempts = load.finish()
        stage.wait_ready()
        ready_s = time.time() - began
        largest = _status(stage)["replicas"]
        gone_s = _account(stage, attempts, timeout_s=4 * DRAIN_S) - began
        logger.info(
            "relays added after %.0f s, %d ready after %.0f s, backlog gone %.0f s later",
            added_s, largest, ready_s, gone_s - ready_s,
        )  # fmt: skip
        wait_until(
            lambda: "" if _status(stage)["replicas"] == AUTOSCALING["minReplicas"] else f"{_status(stage)}",
            timeout_s=240,
        )
        _account(stage, attempts, timeout_s=DRAIN_S)
