"""What the agent does with tables, in virtual time; HAProxy is played by a script of its answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpfleet.api.balancing import BalancingMethod
from smtpfleet.api.routing import RoutingTable
from smtpfleet.balancer.agent import GATHER_S, REFUSED_AGAIN_S, STALLED_S, Agent
from smtpfleet.balancer.config import BACKEND, render
from smtpfleet.balancer.files import Files
from smtpfleet.balancer.metrics import registry
from smtpfleet.balancer.place import Place
from smtpfleet.balancer.runtime import ConfigurationRefusedError, RuntimeCallError, Server
from tests.unit.balancer.goldens import BACKUPS, table

pytestmark = pytest.mark.looptime
ROUND_ROBIN = BalancingMethod.ROUND_ROBIN


@dataclass
class ScriptedHaproxy:
    """Does what it is told, unless ``failures`` says how the next calls end."""

    files: Files
    calls: list[str] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    relay: str = "UP"
    backup: str = "UP"

    async def servers(self, backend: str = BACKEND) -> tuple[Server, ...]:
        if backend != BACKEND:
            return (Server(name="backup-1", status=self.backup, weight=1, sessions=0),)
        return (
            Server(name="outbound-relay-0", status=self.relay, weight=100, sessions=2),
            Server(name="outbound-relay-0.unchecked", status="no check", weight=100, sessions=0),
        )

    async def set_weights(self, weights: dict[str, int]) -> None:
        self._call(f"weights {weights}")

    async def reload(self, text: str) -> None:
        assert text == self.files.read()
        self._call("reload")

    def _call(self, text: str) -> None:
        self.calls.append(text)
        if self.failures:
            raise self.failures.pop(0)


@dataclass
class Tables:
    """Tables as they come."""

    queue: asyncio.Queue[RoutingTable] = field(default_factory=asyncio.Queue)
    error: str = ""

    async def next(self, after: str) -> RoutingTable:
        return await self.queue.get()


@dataclass
class Stage:
    agent: Agent
    haproxy: ScriptedHaproxy
    tables: Tables
    files: Files

    async def give(self, given: RoutingTable) -> None:
        self.tables.queue.put_nowait(given)
        await asyncio.sleep(5)


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[Stage]:
    files, tables = Files(directory), Tables()
    haproxy = ScriptedHaproxy(files)
    loop = asyncio.get_running_loop()
    agent = Agent(place=Place(), runtime=haproxy, files=files, tables=tables, clock=loop.time)
    work = [asyncio.create_task(agent.follow()), asyncio.create_task(agent.watch())]
    try:
        yield Stage(agent, haproxy, tables, files)
    finally:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)


async def test_the_first_table_is_written_and_loaded(tmp_path: Path) -> None:
    async with running(tmp_path) as stage:
        await stage.give(table(100))
        assert stage.haproxy.calls == ["reload"]
        assert stage.files.read() == render(table(100))
        assert stage.agent.status().table_revision == table(100).revision


async def test_a_change_of_weight_needs_no_reload_and_stands_in_the_file(tmp_path: Path) -> None:
    async with running(tmp_path) as stage:
        await stage.give(table(100, 100))
        await stage.give(table(100, 30))
        assert stage.haproxy.calls[1:] == [
            "weights {'outbound-relay-1': 30, 'outbound-relay-1.unchecked': 30}"
        ]
        assert stage.files.read() == render(table(100, 30))


@pytest.mark.parametrize("second", [table(100), table(100, 100, method=ROUND_ROBIN)])
async def test_another_set_of_relays_or_method_is_reloaded(tmp_path: Path, second: RoutingTable) -> None:
    async with running(tmp_path) as stage:
        await stage.give(table(100, 100))
        await stage.give(second)
        assert stage.haproxy.calls == ["reload", "reload"]


async def test_changes_that_come_together_are_one_reload_and_weights_do_not_wait_for_it(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as stage:
        await stage.give(table(100, 100))
        for coming in (table(100, 0, 100), table(100, 0, 100, 100), table(90, 0, 100, 100)):
            stage.tables.queue.put_nowait(coming)
        await asyncio.sleep(GATHER_S / 2)
        drained = "weights {'outbound-relay-1': 0, 'outbound-relay-1.unchecked': 0}"
        lowered = "weights {'outbound-relay-0': 90, 'outbound-relay-0.unchecked': 90}"
        assert stage.haproxy.calls[1:] == [drained, lowered]
        await asyncio.sleep(5)
        assert stage.haproxy.calls[3:] == ["reload"]
        assert stage.files.read() == render(table(90, 0, 100, 100))


async def test_other_settings_wait_for_nothing_also_where_there_are_other_relays(tmp_path: Path) -> None:
    async with running(tmp_path) as stage:
        await stage.give(table(100, 100))
        stage.tables.queue.put_nowait(table(100, 100, 100, method=ROUND_ROBIN))
        await asyncio.sleep(GATHER_S / 2)
        assert stage.haproxy.calls[1:] == ["reload"]
        assert stage.files.read() == render(table(100, 100, 100, method=ROUND_ROBIN))


async def test_a_change_that_is_taken_back_in_time_needs_no_reload_and_leaves_no_weight_behind(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as stage:
        await stage.give(table(100, 100))
        stage.tables.queue.put_nowait(table(100, 0, 100))
        await stage.give(table(100, 100))
        assert stage.haproxy.calls[1:] == [
            "weights {'outbound-relay-1': 0, 'outbound-relay-1.unchecked': 0}",
            "weights {'outbound-relay-1': 100, 'outbound-relay-1.unchecked': 100}",
        ]
        assert stage.files.is_loaded(render(table(100, 100)))


async def test_an_agent_that_ends_while_haproxy_is_ahead_of_the_file_is_followed_by_a_reload(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as stage:
        await stage.give(table(100, 100))
        stage.tables.queue.put_nowait(table(100, 0, 100))
        await asyncio.sleep(GATHER_S / 2)
    async with running(tmp_path) as stage:
        await stage.give(table(100, 100))
        assert stage.haproxy.calls == ["reload"]


async def test_weights_that_cannot_be_told_are_in_what_is_loaded(tmp_path: Path) -> None:
    async with running(tmp_path) as stage:
        await stage.give(table(100, 100))
        stage.haproxy.failures = [RuntimeCallError("away")]
        await stage.give(table(100, 0, 100))
        assert stage.haproxy.calls[2:] == ["reload"]
        assert stage.files.read() == render(table(100, 0, 100))
        assert stage.agent.status().table_revision == table(100, 0, 100).revision


@given(st.from_regex(r"outbound-balancer-[a-z0-9]{9}-[a-z0-9]{5}", fullmatch=True))
def test_every_balancer_has_a_moment_of_its_own(pod: str) -> None:
    assert 0 <= Place(pod).share < 1
    assert Place(pod).share != Place(f"{pod}x").share


async def test_an_agent_that_starts_anew_leaves_haproxy_alone(tmp_path: Path) -> None:
    async with running(tmp_path) as stage:
        await stage.give(table(100))
    async with running(tmp_path) as stage:
        await stage.give(table(100))
        assert stage.haproxy.calls == []
        assert stage.agent.status().table_revision == table(100).revision


async def test_a_table_that_came_while_the_agent_was_away_is_loaded(tmp_path: Path) -> None:
    async with running(tmp_path) as stage:
        await stage.give(table(100))
    async with running(tmp_path) as stage:
        await stage.give(table(40))
        assert stage.haproxy.calls == ["reload"]


async def test_haproxy_is_told_again_until_it_answers(tmp_path: Path) -> None:
    async with running(tmp_path) as stage:
        stage.haproxy.failures = [RuntimeCallError("starting")] * 3
        await stage.give(table(100))
        assert stage.haproxy.calls == ["reload"] * 4
        assert stage.agent.ready() == ""


AWAY = [RuntimeCallError("one is away")] * 1000


async def test_while_one_haproxy_cannot_be_told_newer_tables_are_taken(tmp_path: Path) -> None:
    async with running(tmp_path) as stage:
        await stage.give(table(100, 100))
        stage.haproxy.failures = list(AWAY)
        await stage.give(table(100, 100, 100))
        assert stage.files.read() == render(table(100, 100, 100))
        await stage.give(table(100, 0, 100))
        assert stage.files.read() == render(table(100, 0, 100))
        stage.haproxy.calls.clear()
        stage.haproxy.failures = []
        await asyncio.sleep(5)
        assert stage.haproxy.calls == ["reload"]
        assert stage.agent.status().table_revision == table(100, 0, 100).revision


async def test_a_weight_that_only_some_were_told_is_told_again_when_it_is_taken_back(tmp_path: Path) -> None:
    async with running(tmp_path) as stage:
        await stage.give(table(100, 100))
        stage.haproxy.failures = list(AWAY)
        await stage.give(table(100, 30))
        stage.haproxy.failures = []
        stage.haproxy.calls.clear()
        stage.tables.queue.put_nowait(table(100, 100))
        await asyncio.sleep(0.1)
        back = "weights {'outbound-relay-1': 100, 'outbound-relay-1.unchecked': 100}"
        assert stage.haproxy.calls[-1:] == [back]
        await asyncio.sleep(5)
        assert stage.haproxy.calls[-1:] == [back]
        assert stage.agent.status().table_revision == table(100, 100).revision


async def test_servers_that_only_some_loaded_are_replaced_by_a_reload_even_if_the_old_ones_are_wanted(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as stage:
        await stage.give(table(100, 100))
        stage.haproxy.failures = list(AWAY)
        await stage.give(table(100, 100, 100))
        stage.haproxy.failures = []
        stage.tables.queue.put_nowait(table(100, 100))
        await asyncio.sleep(0.1)
        stage.haproxy.calls.clear()
        await asyncio.sleep(5)
        assert stage.haproxy.calls == ["reload"]


async def test_an_agent_that_ends_after_a_reload_that_only_some_made_is_followed_by_one(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as stage:
        await stage.give(table(100))
        stage.haproxy.failures = list(AWAY)
        await stage.give(table(100, 100))
    async with running(tmp_path) as stage:
        await stage.give(table(100))
        assert stage.haproxy.calls == ["reload"]


async def test_the_file_after_a_refusal_is_the_newest_that_was_accepted_not_one_that_was_only_written(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as stage:
        await stage.give(table(100))
        stage.haproxy.failures = list(AWAY)
        await stage.give(table(40))  # other weights cannot be refused
        await stage.give(table(100, 100))
        stage.haproxy.failures = [ConfigurationRefusedError("line 3")] * 10
        await stage.give(table(100, 100, 100))
        assert stage.agent.ready() == "line 3"
        assert stage.files.read() == render(table(40))


async def test_a_refused_table_leaves_the_last_good_file_and_says_so(tmp_path: Path) -> None:
    async with running(tmp_path) as stage:
        await stage.give(table(100))
        stage.haproxy.failures = [ConfigurationRefusedError("line 3")]
        await stage.give(table(100, method=ROUND_ROBIN))
        assert stage.files.read() == render(table(100))
        status = stage.agent.status()
        assert (status.table_revision, status.table_error) == (table(100).revision, "line 3")
        assert stage.agent.ready() == "line 3"


async def test_a_good_table_after_a_refused_one_is_taken(tmp_path: Path) -> None:
    async with running(tmp_path) as stage:
        await stage.give(table(100))
        stage.haproxy.failures = [ConfigurationRefusedError("line 3")]
        await stage.give(table(100, method=ROUND_ROBIN))
        await stage.give(table(50))
        assert (stage.agent.status().table_error, stage.agent.ready()) == ("", "")


async def test_a_refused_table_is_tried_again_after_a_while_and_taken_if_the_reason_has_passed(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as stage:
        await stage.give(table(100))
        stage.haproxy.failures = [ConfigurationRefusedError("no memory")] * 2
        await stage.give(table(100, 100))
        assert stage.haproxy.calls == ["reload"] * 2
        await asyncio.sleep(REFUSED_AGAIN_S)
        assert stage.haproxy.calls == ["reload"] * 3
        assert (stage.files.read(), stage.agent.ready()) == (render(table(100)), "no memory")
        assert stage.agent.counters.refused_tables == 1
        await asyncio.sleep(REFUSED_AGAIN_S)
        assert stage.haproxy.calls == ["reload"] * 4
        assert (stage.files.read(), stage.agent.ready()) == (render(table(100, 100)), "")
        await asyncio.sleep(2 * REFUSED_AGAIN_S)
        assert stage.haproxy.calls == ["reload"] * 4


async def test_status_lists_relays_and_not_their_copies(tmp_path: Path) -> None:
    async with running(tmp_path) as stage:
        await stage.give(table(100))
        (server,) = stage.agent.status().servers
        assert (server.name, server.state, server.weight, server.sessions) == (
            "outbound-relay-0",
            "UP",
            100,
            2,
        )


async def test_the_feeds_error_shows_in_the_status(tmp_path: Path) -> None:
    async with running(tmp_path) as stage:
        stage.tables.error = "format: Input should be 1"
        assert stage.agent.status().table_error == "format: Input should be 1"


async def test_an_agent_that_no_longer_looks_at_haproxy_is_unhealthy(tmp_path: Path) -> None:
    async with running(tmp_path) as stage:
        await asyncio.sleep(STALLED_S * 2)
        assert stage.agent.healthy() == ""
        agent = stage.agent
    await asyncio.sleep(STALLED_S * 2)
    assert "last looked at" in agent.healthy()


async def test_metrics_tell_the_revision_and_each_relay(tmp_path: Path) -> None:
    async with running(tmp_path) as stage:
        await stage.give(table(100))
        found = registry(stage.agent)
        revision = {"revision": table(100).revision}
        assert found.get_sample_value("smtpfleet_balancer_table_info", revision) == 1
        assert found.get_sample_value("smtpfleet_balancer_reloads_total") == 1
        relay = {"relay": "outbound-relay-0"}
        assert found.get_sample_value("smtpfleet_balancer_relay_sessions", relay) == 2


@pytest.mark.parametrize(
    ("relay", "backup", "in_use"),
    [
        ("UP", "UP", False),
        ("DOWN", "UP", True),
        ("DRAIN", "UP", True),
        ("DOWN", "DOWN", False),
        ("DOWN", "MAINT (resolution)", False),
    ],
)
async def test_backups_are_in_use_when_no_relay_is_available_and_one_of_them_answers(
    tmp_path: Path, relay: str, backup: str, in_use: bool
) -> None:
    async with running(tmp_path) as stage:
        stage.haproxy.relay, stage.haproxy.backup = relay, backup
        await stage.give(table(100, balancing=BACKUPS))
        status = stage.agent.status()
        assert [server.name for server in status.backups] == ["backup-1"]
        assert status.on_backups is in_use
        assert registry(stage.agent).get_sample_value("smtpfleet_balancer_on_backups") == in_use


async def test_without_backups_nobody_is_asked_of_them(tmp_path: Path) -> None:
    async with running(tmp_path) as stage:
        stage.haproxy.relay = "DOWN"
        await stage.give(table(100))
        assert (stage.agent.status().backups, stage.agent.status().on_backups) == ((), False)
