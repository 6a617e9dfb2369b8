"""Asking the agents, in virtual time: everybody in turn, silence is no answer, and only news are told at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from smtpfleet.api.agent_status import (
    BalancerStatus,
    CertificateProblem,
    CertificateStatus,
    Intake,
    PostfixState,
    QueueCounts,
    RelayStatus,
)
from smtpfleet.controller.agents import CHANGES_S, AgentError, Agents, HttpAsker, Status, Target, open_session

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
        await asyncio.sleep(self.takes_s.get(target.relay, 0.0))
        if target.relay not in self.says:
            raise AgentError("silent")
        return self.says[target.relay]

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
    assert sorted({round(moment - 20) for moment, _ in fleet.asked if moment > 20}) == CLOSELY


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
    assert max(map(seconds.count, range(15))) <= 152, "something changes"
    assert max(map(seconds.count, range(20, 40))) <= 101


async def _answering(answer: web.Response, *, balancer: bool = False) -> Status:
    """Ask a real server on loopback that gives this answer."""

    async def handler(_: web.Request) -> web.Response:
        return answer

    app = web.Application()
    app.router.add_get("/status", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await (site := web.TCPSite(runner, "127.0.0.1", 0)).start()
    assert site._server is not None
    try:
        async with aiohttp.ClientSession() as session:
            target = Target("r0", "u", "127.0.0.1", balancer=balancer)
            return await HttpAsker(session, port=runner.addresses[0][1])(target)
    finally:
        await runner.cleanup()


async def test_an_agents_answer_is_read() -> None:
    text = RelayStatus(relay="r0", table_revision="abc").model_dump_json(by_alias=True)
    assert (await _answering(web.Response(text=text))).table_revision == "abc"


async def test_an_answer_may_come_in_pieces_and_connections_are_kept() -> None:
    text = RelayStatus(relay="r0", table_revision="abc").model_dump_json(by_alias=True).encode()
    clients: set[object] = set()

    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        clients.add(request.transport.get_extra_info("peername"))
        response = web.StreamResponse(headers={"Content-Length": str(len(text))})
        await response.prepare(request)
        for piece in (text[:10], text[10:]):
            await response.write(piece)
            for _ in range(20):  # the client runs in this loop too, and gets the piece meanwhile
                await asyncio.sleep(0)
        return response

    app = web.Application()
    app.router.add_get("/status", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with open_session() as session:
            ask = HttpAsker(session, port=runner.addresses[0][1])
            for _ in range(3):
                status = await ask(Target("r0", "u", "127.0.0.1"))
                assert isinstance(status, RelayStatus)
                assert status.table_revision == "abc"
    finally:
        await runner.cleanup()
    assert len(clients) == 1


@pytest.mark.parametrize(
    "answer",
    [
        {"text": "{}"},
        {"text": "not json"},
        {"text": "no", "status": 503},
        {"text": RelayStatus(relay="another").model_dump_json(by_alias=True)},
        {"status": 302, "headers": {"Location": "http://192.0.2.1/"}},
        {"text": "x" * 200_000},
    ],
)
async def test_anything_else_is_silence(answer: dict[str, object]) -> None:
    with pytest.raises(AgentError):
        await _answering(web.Response(**answer))  # type: ignore[arg-type] # given as they come


async def test_a_balancers_answer_is_read_and_only_its_own() -> None:
    text = BalancerStatus(balancer="r0", on_backups=True).model_dump_json(by_alias=True)
    answer = await _answering(web.Response(text=text), balancer=True)
    assert isinstance(answer, BalancerStatus)
    assert answer.on_backups
    other = BalancerStatus(balancer="another").model_dump_json(by_alias=True)
    with pytest.raises(AgentError):
        await _answering(web.Response(text=other), balancer=True)


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
