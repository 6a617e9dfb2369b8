"""When the kubelet is to restart the operator, and when not."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from smtpfleet.controller.election import Elector, Timing
from smtpfleet.controller.health import Health
from smtpfleet.controller.ledger import WatchLedger
from smtpfleet.controller.metrics import Metrics
from tests.unit.controller.leases import Shelf, View

pytestmark = pytest.mark.looptime
THING = {"metadata": {"uid": "u", "resourceVersion": "1"}}


class Parts:
    """A process whose parts do what a test says."""

    def __init__(self, *, stuck_s: Callable[[], float] = lambda: 0.0) -> None:
        clock = asyncio.get_running_loop().time
        self.view = View(Shelf())
        self.elector = Elector(
            self.view, identity="a", timing=Timing(), jitter=lambda: 0.0,
            now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
        )  # fmt: skip
        self.ledger = WatchLedger(clock)
        self.metrics = Metrics()
        self.health = Health(
            elector=self.elector, ledger=self.ledger, metrics=self.metrics,
            stuck_s=stuck_s, pools=lambda: 3, depth=lambda: 1,
        )  # fmt: skip


async def test_one_that_stands_by_is_healthy_and_ready() -> None:
    first = Parts()
    await first.elector.acquire()
    second = Parts()
    second.view.shelf = first.view.shelf
    waiting = asyncio.create_task(second.elector.acquire())
    await asyncio.sleep(10)
    assert (second.health.healthy(), second.health.ready()) == ("", "")
    waiting.cancel()


async def test_an_outage_of_the_api_server_makes_nobody_unhealthy() -> None:
    parts = Parts()
    await parts.elector.acquire()
    holding = asyncio.create_task(parts.elector.hold())
    parts.view.hangs = True
    for _ in range(100):
        await asyncio.sleep(3)
        assert parts.health.healthy() == ""
    assert not parts.elector.leading
    holding.cancel()


async def test_an_election_that_does_not_go_on_is_unhealthy() -> None:
    parts = Parts()
    await parts.elector.acquire()
    await asyncio.sleep(31)
    assert "lease" in parts.health.healthy()


async def test_work_that_is_stuck_is_unhealthy() -> None:
    assert "stuck" in Parts(stuck_s=lambda: 121.0).health.healthy()
    assert Parts(stuck_s=lambda: 119.0).health.healthy() == ""


async def test_a_watch_that_owes_a_change_for_long_is_unhealthy_and_named() -> None:
    parts = Parts()
    holding = asyncio.create_task(parts.elector.acquire())
    parts.ledger.listed(("Service", "mail", "outbound"), [THING])
    await asyncio.sleep(25)
    assert parts.health.healthy() == ""
    await parts.elector.acquire()
    await asyncio.sleep(25)
    renewing = asyncio.create_task(parts.elector.hold())
    await asyncio.sleep(60)
    assert parts.health.healthy() == "the watch of Service is dead"
    for task in (holding, renewing):
        task.cancel()


async def test_what_a_person_and_prometheus_want_to_know_is_shown() -> None:
    parts = Parts()
    await parts.elector.acquire()
    parts.ledger.watched(kind="Pod", uid="u", version="1", deleted=False)
    parts.ledger.listed(("Pod", "mail", "outbound"), [{"metadata": {"uid": "u", "resourceVersion": "2"}}])
    measuring = asyncio.create_task(parts.health.measure())
    await asyncio.sleep(5.1)
    registry = parts.metrics.registry
    assert registry.get_sample_value("smtpfleet_operator_leader") == 1
    assert registry.get_sample_value("smtpfleet_operator_pools") == 3
    assert registry.get_sample_value("smtpfleet_operator_queue_depth") == 1
    behind_s = registry.get_sample_value("smtpfleet_operator_watch_behind_seconds", {"kind": "Pod"})
    assert behind_s == pytest.approx(5, abs=0.2)
    status = parts.health.status()
    assert (status.leading, status.pools, set(status.watches_behind)) == (True, 3, {"Pod"})
    measuring.cancel()
