"""Asking the agents, in virtual time: everybody in turn, silence is no answer, and only news are told at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from smtpfleet.api.agent_status import (
    BalancerStatus,
    CertificateProblem,
    CertificateStatus,
    Intake,
    PostfixState,
    QueueCounts,
    RelayStatus,
)
from smtpfleet.controller.agents import CHANGES_S, AgentError, Agents, Status, Target

KEY = ("mail", "outbound")
ONE, TWO = Target("r0", "uid-0", "10.0.0.1"), Target("r1", "uid-1", "10.0.0.2")


class Fleet:
    """Agents that answer what ``says`` holds; those that are missing there are silent."""

    def __init__(self, *names: str) -> None:
        self.says: dict[str, Status] = {name: RelayStatus(relay=name) for name in names}
        self.asked: list[tuple[float, str]] = []
        self.told: list[tuple[float, bool]] = []
        self.takes_s: dict[str, float] = {}
        self.agents = Agents(self._ask, changed=self._changed, clock=asyncio.get_running_loop().time)

    async def _ask(self, target: Target) -> Status:
        self.asked.append((self._now(), target.relay))
        said = self.says.get(target.relay)
        await asyncio.sleep(self.takes_s.get(target.relay, 0.0))
        if said is None:
            raise AgentError("silent")
        return said

    def _changed(self, key: tuple[str, str], more_than_numbers: bool) -> None:
        assert key == KEY
        self.told.append((self._now(), more_than_numbers))

    @staticmethod
    def _now() -> float:
        return round(asyncio.get_running_loop().time(), 2)


@asynccontextmanager
async def asking(fleet: Fleet) -> AsyncIterator[None]:
    task = asyncio.create_task(fleet.agents.run())
    yield
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.looptime
async def test_a_new_relay_is_asked_before_a_decision_is_made_and_that_is_no_news() -> None:
    fleet = Fleet("r0")
    await fleet.agents.follow(KEY, [ONE])
    report = fleet.agents.report(KEY, "r0")
    assert report is not None
    assert (report.status.relay, report.pod_uid, report.age_s) == ("r0", "uid-0", 0.0)
    assert fleet.told == []


@pytest.mark.looptime
async def test_everybody_is_asked_every_five_seconds_spread_over_the_round() -> None:
    fleet = Fleet("r0", "r1")
    await fleet.agents.follow(KEY, [ONE, TWO])
    await asyncio.sleep(CHANGES_S)  # nothing changes any more
    fleet.asked.clear()
    async with asking(fleet):
        await asyncio.sleep(9.9)
    assert fleet.asked == [(15.0, "r0"), (17.5, "r1"), (20.0, "r0"), (22.5, "r1")]


CLOSELY = [*range(1, 16), 20]


@pytest.mark.looptime
@pytest.mark.parametrize("change", ["another pod", "the operator's own", "an agent's news"])
async def test_a_pool_in_which_something_changes_is_asked_every_second_for_a_while(change: str) -> None:
    fleet = Fleet("r0")
    await fleet.agents.follow(KEY, [ONE])
    async with asking(fleet):
        await asyncio.sleep(20)
        if change == "another pod":
            await fleet.agents.follow(KEY, [Target("r0", "uid-9", "10.0.0.9")])
        elif change == "the operator's own":
            fleet.agents.changes(KEY)
        else:
            fleet.says["r0"] = RelayStatus(relay="r0", intake=Intake.CLOSED)
        await asyncio.sleep(22)
    seen = [round(moment - 20) for moment, _ in fleet.asked if moment > 20]
    assert sorted(set(seen)) == CLOSELY
    assert len(seen) <= len(CLOSELY) + 3  # in three of these seconds it is its turn anyway


@pytest.mark.looptime
async def test_no_agent_is_asked_again_before_it_has_answered_and_it_keeps_no_other_waiting() -> None:
    fleet = Fleet("r0", "r1")
    await fleet.agents.follow(KEY, [ONE, TWO])
    fleet.takes_s["r0"] = 2.75
    fleet.asked.clear()
    async with asking(fleet):
        await asyncio.sleep(9.9)
    assert [moment for moment, relay in fleet.asked if relay == "r0"] == [0.0, 3.0, 6.0, 9.0]
    assert {round(moment + 0.5) for moment, relay in fleet.asked if relay == "r1"} == set(range(1, 11))


@pytest.mark.looptime
async def test_an_agent_that_falls_silent_keeps_its_last_answer_which_grows_old() -> None:
    fleet = Fleet("r0")
    await fleet.agents.follow(KEY, [ONE])
    fleet.says.clear()
    async with asking(fleet):
        await asyncio.sleep(22)
    report = fleet.agents.report(KEY, "r0")
    assert report is not None
    assert report.age_s == pytest.approx(22, abs=0.1)
    assert fleet.told == []


@pytest.mark.looptime
async def test_that_an_agent_is_silent_for_long_is_told_once_and_that_it_is_back_too() -> None:
    fleet = Fleet("r0")
    await fleet.agents.follow(KEY, [ONE])
    fleet.says.clear()
    async with asking(fleet):
        await asyncio.sleep(120)
        assert fleet.told == [(35.0, True)]
        fleet.says["r0"] = RelayStatus(relay="r0", intake=Intake.CLOSED)
        await asyncio.sleep(5)
        fleet.says.clear()
        await asyncio.sleep(60)
    assert fleet.told[1:] == [(120.0, True), (155.0, True)]


@pytest.mark.looptime
async def test_nothing_is_kept_of_pods_that_fell_silent_and_were_replaced_long_ago() -> None:
    fleet = Fleet("r0")
    await fleet.agents.follow(KEY, [ONE])
    fleet.says.clear()
    async with asking(fleet):
        await asyncio.sleep(120)
        await fleet.agents.follow(KEY, [TWO])
        assert fleet.agents.report(KEY, "r0") is not None
        await asyncio.sleep(300)
        await fleet.agents.follow(KEY, [TWO])
    assert fleet.agents.report(KEY, "r0") is None
    assert fleet.agents._silent == set()


@pytest.mark.looptime
async def test_a_closed_intake_is_told_at_once_and_a_number_as_a_number() -> None:
    fleet = Fleet("r0")
    await fleet.agents.follow(KEY, [ONE])
    async with asking(fleet):
        await asyncio.sleep(1)
        fleet.says["r0"] = RelayStatus(relay="r0", queue=QueueCounts(active=5))
        await asyncio.sleep(2)
        assert fleet.told == [(1.0, False)]
        fleet.says["r0"] = RelayStatus(relay="r0", queue=QueueCounts(active=7))
        await asyncio.sleep(2)
        assert fleet.told[1:] == [(3.0, False)]
        fleet.says["r0"] = RelayStatus(relay="r0", intake=Intake.CLOSED, queue=QueueCounts(active=7))
        await asyncio.sleep(2)
        assert fleet.told[2:] == [(5.0, True)]
        fleet.says["r0"] = RelayStatus(relay="r0", intake=Intake.CLOSED)
        await asyncio.sleep(2)
        assert fleet.told[3:] == [(7.0, True)]  # a removal depends on it
        await asyncio.sleep(20)
        assert len(fleet.told) == 4


@pytest.mark.looptime
@pytest.mark.parametrize(
    "news",
    [
        {"table_revision": "2"},
        {"table_error": "no such key"},
        {"incarnation": "another"},
        {"postfix": PostfixState.RUNNING},
        {"certificate": CertificateStatus(problem=CertificateProblem.INVALID, error="another key")},
    ],
    ids=lambda news: next(iter(news)),
)
async def test_whatever_is_no_number_is_told_at_once(news: dict[str, Any]) -> None:
    fleet = Fleet("r0")
    await fleet.agents.follow(KEY, [ONE])
    fleet.says["r0"] = RelayStatus(relay="r0", **news)
    async with asking(fleet):
        await asyncio.sleep(20)
    assert fleet.told == [(0.0, True)]


@pytest.mark.looptime
@pytest.mark.parametrize(
    "number", [{"sessions": 7}, {"oldest_active_s": 3.5}], ids=lambda news: next(iter(news))
)
async def test_numbers_that_no_status_shows_are_no_news(number: dict[str, Any]) -> None:
    fleet = Fleet("r0")
    await fleet.agents.follow(KEY, [ONE])
    fleet.says["r0"] = RelayStatus(relay="r0", **number)
    async with asking(fleet):
        await asyncio.sleep(20)
    assert fleet.told == []


@pytest.mark.looptime
async def test_a_number_that_looks_the_same_in_two_digits_is_no_news() -> None:
    fleet = Fleet("r0")
    fleet.says["r0"] = RelayStatus(relay="r0", queue=QueueCounts(active=1234))
    await fleet.agents.follow(KEY, [ONE])
    fleet.says["r0"] = RelayStatus(relay="r0", queue=QueueCounts(active=1235))
    async with asking(fleet):
        await asyncio.sleep(6)
    assert fleet.told == []


@pytest.mark.looptime
async def test_the_answer_of_a_pod_that_was_replaced_meanwhile_does_not_count() -> None:
    fleet = Fleet("r0")
    started, go_on = asyncio.Event(), asyncio.Event()

    async def slow(target: Target) -> RelayStatus:
        if target is ONE:
            started.set()
            await go_on.wait()
        return RelayStatus(relay="r0", incarnation=target.pod_uid)

    fleet.agents._ask = slow
    first = asyncio.create_task(fleet.agents.follow(KEY, [ONE]))
    await started.wait()
    await fleet.agents.follow(KEY, [Target("r0", "uid-9", "10.0.0.9")])
    go_on.set()
    await first
    report = fleet.agents.report(KEY, "r0")
    assert report is not None
    assert (report.pod_uid, report.status.incarnation) == ("uid-9", "uid-9")


@pytest.mark.looptime
async def test_a_relay_without_a_pod_is_remembered_for_a_while_and_then_forgotten() -> None:
    fleet = Fleet("r0", "r1")
    await fleet.agents.follow(KEY, [ONE, TWO])
    await fleet.agents.follow(KEY, [TWO])
    assert fleet.agents.report(KEY, "r0") is not None
    await asyncio.sleep(600)
    await fleet.agents.follow(KEY, [TWO])
    assert fleet.agents.report(KEY, "r0") is None
    assert fleet.agents.report(KEY, "r1") is not None


@pytest.mark.looptime
async def test_a_pool_that_is_gone_is_forgotten_at_once() -> None:
    fleet = Fleet("r0", "r1")
    await fleet.agents.follow(KEY, [ONE, TWO])
    fleet.agents.forget(KEY)
    assert fleet.agents.report(KEY, "r0") is None
    assert fleet.agents.report(KEY, "r1") is None


@pytest.mark.looptime
async def test_a_very_large_fleet_is_asked_more_slowly_and_not_all_at_once() -> None:
    targets = [Target(f"r{number}", "u", "10.0.0.1") for number in range(1000)]
    fleet = Fleet(*(target.relay for target in targets))
    await fleet.agents.follow(KEY, targets)
    fleet.asked.clear()
    async with asking(fleet):
        await asyncio.sleep(39.99)
    seconds = [int(moment) for moment, _ in fleet.asked]
    assert {99, 100, 101} >= {seconds.count(second) for second in range(40)}


@pytest.mark.looptime
async def test_of_many_pools_that_change_some_are_asked_closely_and_no_other_less_often() -> None:
    pools = {("mail", f"p{number}"): [f"p{number}-r{r}" for r in range(20)] for number in range(4)}
    fleet = Fleet(*(relay for relays in pools.values() for relay in relays))
    for key, relays in pools.items():
        await fleet.agents.follow(key, [Target(relay, "u", "10.0.0.1") for relay in relays])
    fleet.asked.clear()
    async with asking(fleet):
        await asyncio.sleep(9.99)
    counts = [sum(name.startswith(f"{key[1]}-") for _, name in fleet.asked) / 20 for key in pools]
    assert [round(count) for count in counts] == [12, 12, 2, 2]


@pytest.mark.looptime
async def test_the_older_of_two_answers_that_cross_does_not_count() -> None:
    """A relay that went and came back while the first question was under way."""
    fleet = Fleet("r0")
    fleet.takes_s["r0"] = 2.0
    slow = asyncio.create_task(fleet.agents.follow(KEY, [ONE]))
    await asyncio.sleep(0.5)
    fleet.takes_s["r0"] = 0.0
    fleet.says["r0"] = RelayStatus(relay="r0", queue=QueueCounts(active=1))
    await fleet.agents.follow(KEY, [])
    await fleet.agents.follow(KEY, [ONE])
    await slow
    report = fleet.agents.report(KEY, "r0")
    assert report is not None
    assert (report.status.queue.active, report.age_s) == (1, 1.5)


@pytest.mark.looptime
async def test_that_backups_are_in_use_is_told_at_once_and_forgotten_with_the_balancer() -> None:
    balancer = Target("b0", "uid", "10.0.0.9", balancer=True)
    fleet = Fleet()
    fleet.says["b0"] = BalancerStatus(balancer="b0")
    await fleet.agents.follow(KEY, [balancer])
    assert not fleet.agents.on_backups(KEY)
    assert fleet.agents.report(KEY, "b0") is None
    async with asking(fleet):
        fleet.says["b0"] = BalancerStatus(balancer="b0", on_backups=True)
        await asyncio.sleep(5.1)
        assert fleet.agents.on_backups(KEY)
        assert [more for _, more in fleet.told] == [True]
        await fleet.agents.follow(KEY, [])
        assert not fleet.agents.on_backups(KEY)


@pytest.mark.looptime
async def test_what_a_silent_balancer_said_last_counts_no_longer() -> None:
    fleet = Fleet()
    fleet.says["b0"] = BalancerStatus(balancer="b0", on_backups=True)
    await fleet.agents.follow(KEY, [Target("b0", "uid", "10.0.0.9", balancer=True)])
    fleet.says.clear()
    async with asking(fleet):
        await asyncio.sleep(40)
    assert not fleet.agents.on_backups(KEY)
