"""Relays are judged by what becomes of their mail: one that its receivers refuse alone goes, all of them stay.

In a pool of its own, for what was delivered in the last minute speaks for a relay, and what was not, against it.
"""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from scenario.cluster import Local
from scenario.kube import wait_until
from scenario.stage import ONE_BALANCER, Stage
from tests.cluster import relays


@pytest.fixture(scope="module")
def stage(local: Local) -> Iterator[Stage]:
    namespace = f"deliveries-{uuid4().hex[:6]}"
    with Stage(
        kube=local.kube, namespace=namespace, sink_image=local.images["sink"], shape=ONE_BALANCER
    ) as stage:
        stage.pool(replicas=3, health=relays.HEALTH)
        wait_until(lambda: relays.all_are(stage, "Serving", "ProbesPassed"), timeout_s=60)
        yield stage


def test_a_receiver_that_refuses_all_is_told_of_and_one_relay_that_it_refuses_alone_stands_out(
    stage: Stage, rate: int
) -> None:
    victim = sorted(relays.entries(stage))[0]

    def receivers_fail() -> str:
        found = relays.condition(stage, "DeliveryReady")
        return "" if found["reason"] == "ReceiversFail" else f"{found}"

    with relays.under_load(stage, [], seconds=10, rate=rate):
        stage.sink_mode(mode="tempfail")
        try:
            wait_until(receivers_fail, timeout_s=75)
            assert relays.blamed(stage, "Deliver") == set()
            stage.sink_mode(mode="tempfail", client=relays.address(stage, victim))
            wait_until(lambda: _is_told_apart(stage, victim), timeout_s=60)
            first = relays.entries(stage)[victim]
            assert first["message"].endswith("mostly RemoteTemporary (rcpt)")
            # Where nearly all failed before as well, that is certain at once.
            expected = {"Degraded": ("DeliveriesWorse", 50), "Ejected": ("DeliveriesFail", 0)}
            assert (first["reason"], first["weight"]) == expected[first["state"]]
            wait_until(lambda: relays.in_state(stage, victim, "Ejected"), timeout_s=60)
            assert relays.entries(stage)[victim]["reason"] == "DeliveriesFail"
            assert relays.blamed(stage, "Deliver") == {victim}
        finally:
            stage.sink_mode(mode="accept")
        for pod in stage.pods("relay"):
            relays.execute(stage, pod.relay, "postqueue", "-f")


def _is_told_apart(stage: Stage, relay: str) -> str:
    entry = relays.entries(stage)[relay]
    return "" if entry["reason"].startswith("Deliveries") else f"{entry}"
