"""Relays that send more slowly than mail comes: one alone gets less, and all together can do without none of them.

Slow is what Postfix is told to be: a delivery a second, so that mail waits in the queue manager and for no receiver.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from mailcheck.model import Attempt
from scenario.cluster import Local
from scenario.kube import wait_until
from scenario.stage import ONE_BALANCER, Stage
from tests.cluster import relays

logger = logging.getLogger(__name__)

RELAYS = 3
RATE = 30
SLOW = "default_destination_rate_delay"
A_SECOND = "1s"
OVERLOAD = 5
"""Messages a second: more than three such relays send, and far more than two."""
NO_PROBES = "check_client_access inline:{{10.0.0.0 = 550 5.7.1 no probes}}"
"""Refuses whom the probes claim to be, and nobody else."""


@contextmanager
def _pool(local: Local, **spec: Any) -> Iterator[Stage]:
    with Stage(
        kube=local.kube,
        namespace=f"slow-{uuid4().hex[:6]}",
        sink_image=local.images["sink"],
        shape=ONE_BALANCER,
    ) as stage:
        stage.pool(replicas=RELAYS, health=relays.HEALTH, **spec)
        wait_until(lambda: relays.all_are(stage, "Serving", "ProbesPassed"), timeout_s=90)
        yield stage


def _gets(stage: Stage, relay: str, weight: int) -> str:
    """Empty once the relay has this weight."""
    entry = relays.entries(stage)[relay]
    return "" if entry["weight"] == weight else f"{entry}"


@pytest.mark.thorough("test_domain_share.py has every sequence of loads")
def test_the_weight_of_a_relay_that_falls_behind_follows_what_it_sends_down_and_up(local: Local) -> None:
    earlier: list[Attempt] = []
    with _pool(local) as stage:
        victim = sorted(relays.entries(stage))[1]
        others = dict.fromkeys(relays.entries(stage), 100)
        relays.configure(stage, victim, SLOW, A_SECOND)
        with relays.under_load(stage, earlier, seconds=90, rate=RATE):
            for weight in (75, 50):
                took_s = wait_until(partial(_gets, stage, victim, weight), timeout_s=90)
                logger.info("weight %d after %.0f s: %s", weight, took_s, relays.entries(stage)[victim])
                entry = relays.entries(stage)[victim]
                assert (entry["state"], entry["reason"]) == ("Degraded", "FallsBehind")
                assert relays.weights(stage) == others | {victim: weight}
            assert relays.condition(stage, "ProbesHealthy")["status"] == "True"
            assert ("Warning", "FallsBehind") in relays.events(stage, victim)
            relays.configure(stage, victim, SLOW, "0s")
        took_s = wait_until(lambda: _gets(stage, victim, 75), timeout_s=180)
        logger.info("weight 75 again after %.0f s", took_s)


@pytest.mark.thorough("test_domain_assessment.py has every number of relays and loads")
def test_a_relay_that_fails_its_probes_stays_as_long_as_the_others_cannot_carry_the_load(
    local: Local,
) -> None:
    earlier: list[Attempt] = []
    with _pool(local, relay={"postfix": {SLOW: A_SECOND}}) as stage:
        victim = sorted(relays.entries(stage))[1]

        def needed() -> str:
            found = relays.condition(stage, "ProbesHealthy")
            return "" if found["reason"] == "NeededByLoad" else f"{found} {relays.entries(stage)}"

        with relays.under_load(stage, earlier, seconds=60, rate=OVERLOAD):
            time.sleep(15)  # until every relay is seen to be at its limit
            relays.configure(stage, victim, "smtpd_sender_restrictions", NO_PROBES)
            took_s = wait_until(needed, timeout_s=40)
            logger.info("needed after %.0f s: %s", took_s, relays.condition(stage, "ProbesHealthy"))
            assert relays.condition(stage, "ProbesHealthy")["status"] == "True"
            time.sleep(10)  # two intervals more
            entry = relays.entries(stage)[victim]
            assert (entry["state"], entry["reason"], entry["ejections"]) == ("Serving", "SenderRefused", 0)
            assert set(relays.weights(stage).values()) == {100}
            assert ("Warning", "NeededByLoad") in relays.events(stage, victim)
        wait_until(lambda: relays.in_state(stage, victim, "Ejected"), timeout_s=120)
        assert relays.condition(stage, "ProbesHealthy")["reason"] == "RelaysEjected"
