"""A relay is killed every twenty seconds for three minutes under load: it is out for longer and longer, then replaced.

The kubelet starts it again, later each time, so some kills find nothing to kill. The times that it takes are logged
(``--log-cli-level=INFO``).
"""

import itertools
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from uuid import uuid4

import pytest

from mailcheck.checker import check
from mailcheck.timeline import reasons
from scenario import faults
from scenario.apiserver import KubeError
from scenario.cluster import Local
from scenario.kube import Object, wait_until
from scenario.load import Load, Shape
from scenario.stage import Stage
from tests.cluster import relays

logger = logging.getLogger(__name__)

RELAYS = 3
EVERY_S = 20
KILLS = 10
EJECTION_S = 20
"""Never served for, between two kills: so all are of one outage."""
HEALTH = relays.HEALTH | {"ejectionTime": f"{EJECTION_S}s", "replaceAfter": "130s"}
PER_EJECTION = 5
"""Changes of a relay's weight that one ejection may make: out, and back in four steps."""
CONCURRENCY = 20
"""Deliveries at a time to the receiver, and so the most that one kill can repeat."""


@dataclass
class Watcher:
    """What became of one relay, looked at several times a second."""

    stage: Stage
    relay: str
    states: list[Object] = field(default_factory=list)
    """Its entries of the status, each with another ``state`` or ``since`` than the one before."""
    weights: list[int] = field(default_factory=list)
    """Its weights in the routing table, each another than the one before."""

    def look(self) -> None:
        """Once."""
        entry = relays.entries(self.stage).get(self.relay)
        weight = relays.weights(self.stage).get(self.relay)
        if entry and (not self.states or _moment(self.states[-1]) != _moment(entry)):
            self.states.append(entry)
        if weight is not None and self.weights[-1:] != [weight]:
            self.weights.append(weight)

    def ejections(self) -> list[float]:
        """How long each ejection took that ended by itself, and not by replacement, in seconds.

        By the status's own times, which are whole seconds.
        """
        return [
            (_since(after) - _since(entry)).total_seconds()
            for entry, after in itertools.pairwise(self.states)
            if entry["state"] == "Ejected" and after["reason"] == "Readmitted"
        ]


def _since(entry: Object) -> datetime:
    return datetime.fromisoformat(entry["since"])


def _moment(entry: Object) -> tuple[str, str]:
    return entry["state"], entry["since"]


@contextmanager
def _watched(stage: Stage, relay: str) -> Iterator[Watcher]:
    watcher, over = Watcher(stage, relay), threading.Event()

    def watch() -> None:
        while not over.wait(0.3):
            try:
                watcher.look()
            except KubeError:
                continue  # the API server is busy for a moment

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield watcher
    finally:
        over.set()
        thread.join()


@pytest.fixture
def stage(local: Local) -> Iterator[Stage]:
    namespace = f"flapping-{uuid4().hex[:6]}"
    with Stage(kube=local.kube, namespace=namespace, sink_image=local.images["sink"]) as stage:
        stage.pool(replicas=RELAYS, health=HEALTH)
        wait_until(lambda: relays.all_are(stage, "Serving", "ProbesPassed"), timeout_s=90)
        yield stage


def _kill(stage: Stage, relay: str) -> bool:
    """Whether there was something to kill."""
    pod = next((pod for pod in stage.pods("relay") if pod.relay == relay), None)
    if pod is None:
        return False
    try:
        container = faults.find_container(
            stage.kube, namespace=stage.namespace, pod=pod.name, container="relay"
        )
        faults.kill(container)
    except (KubeError, LookupError, ProcessLookupError):
        return False
    return True


@pytest.mark.thorough("test_domain_remedies.py has a relay that comes and goes, in made-up time")
def test_a_relay_that_is_killed_again_and_again_is_out_for_longer_and_longer_and_then_replaced(
    stage: Stage, rate: int
) -> None:
    victim = sorted(relays.entries(stage))[1]
    load = Load.start(
        stage.kube, Shape(target=f"{stage.address()}:25", rate=rate, count=rate * EVERY_S * KILLS)
    )
    killed = 0
    with _watched(stage, victim) as watcher:
        try:
            for number in range(KILLS):
                time.sleep(max(0.0, load.began + 3 + number * EVERY_S - time.time()))
                killed += _kill(stage, victim)
                assert relays.condition(stage, "Available")["status"] == "True"
            wait_until(lambda: relays.replaced(stage, victim, RELAYS), timeout_s=180)
        finally:
            attempts = load.finish()
    verdict = check(attempts, stage.wait_drained(attempts))
    logger.info(
        "%d kills; out for %s s; weights %s; %d of %d not taken (%s); %d copies",
        killed, watcher.ejections(), watcher.weights, sum(not a.acknowledged for a in attempts),
        len(attempts), dict(reasons(attempts)), verdict.extra_copies,
    )  # fmt: skip
    logger.info("states: %s", [(e["state"], e["reason"], e["since"][11:19]) for e in watcher.states])
    assert verdict.ok, f"lost {verdict.lost[:5]}, unexpected {verdict.unexpected[:5]}"
    assert verdict.extra_copies <= CONCURRENCY * killed
    ejections = [entry["ejections"] for entry in watcher.states if entry["state"] == "Ejected"]
    assert ejections == list(range(1, len(ejections) + 1))
    assert len(ejections) >= 2
    for number, seconds in enumerate(watcher.ejections(), 1):
        assert seconds >= EJECTION_S * number - 1
    changes = sum(a != b for a, b in itertools.pairwise(watcher.weights))
    assert changes <= PER_EJECTION * (len(ejections) + 1)
    assert {reason for _, reason in relays.events(stage, victim)} >= {"PodFlaps", "Replacing", "Removed"}
    assert sorted(relays.entries(stage)) == [f"outbound-relay-{number}" for number in (0, 2, 3)]
