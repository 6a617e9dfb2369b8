"""Agent, file and two HAProxys together, in virtual time: whatever fails for whom, in the end both serve the newest."""

import asyncio
import random
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from smtpfleet.api.routing import RoutingTable
from smtpfleet.balancer.agent import REFUSED_AGAIN_S, Agent
from smtpfleet.balancer.config import BACKEND, weights
from smtpfleet.balancer.files import Files
from smtpfleet.balancer.place import Place
from smtpfleet.balancer.runtime import (
    ConfigurationRefusedError,
    Haproxy,
    Haproxys,
    RuntimeCallError,
    Server,
)
from tests.unit.balancer.goldens import table

TABLES = [
    table(*of) for of in ((100,), (40,), (100, 100), (100, 0), (30, 100), (100, 100, 100), (0, 50, 100))
]


@dataclass(frozen=True, slots=True)
class Simulated(Haproxy):
    """Serves what it has loaded; ``trouble`` is how its next calls end, and whether it has acted nevertheless."""

    files: Files = field(compare=False)
    serves: dict[str, int] = field(default_factory=dict, compare=False)
    trouble: list[tuple[Exception, bool]] = field(default_factory=list, compare=False)
    reloads: list[str] = field(default_factory=list, compare=False)

    async def servers(self, backend: str = BACKEND) -> tuple[Server, ...]:
        return tuple(
            Server(name=name, status="UP", weight=of, sessions=0) for name, of in self.serves.items()
        )

    async def set_weights(self, weights: dict[str, int]) -> None:
        failure, acts = self.trouble[0] if self.trouble else (None, True)
        if acts:
            self.serves.update({name: of for name, of in weights.items() if name in self.serves})
        if failure or not weights.keys() <= self.serves.keys():
            raise RuntimeCallError("away, or no such server")

    async def reload(self) -> None:
        failure, acts = self.trouble[0] if self.trouble else (None, True)
        self.reloads.append(self.files.read())
        if acts:
            self.start()
        if failure:
            raise failure

    def start(self) -> None:
        """As the kubelet does: with the file as it is now."""
        found = re.findall(r"^    server (outbound-\S+) \S+ weight (\d+)", self.files.read(), re.MULTILINE)
        self.serves.clear()
        self.serves.update({name: int(weight) for name, weight in found})


@dataclass
class Newest:
    """The newest table only, as :class:`smtpfleet.feed.table.TableFollower` has it."""

    error: str = ""
    current: RoutingTable = TABLES[0]
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def next(self, after: str) -> RoutingTable:
        async with self.changed:
            await self.changed.wait_for(lambda: self.current.revision != after)
            return self.current

    async def become(self, current: RoutingTable) -> None:
        async with self.changed:
            self.current = current
            self.changed.notify_all()


def _trouble(dice: random.Random) -> tuple[Exception, bool]:
    return dice.choice(
        [
            (RuntimeCallError("away"), False),
            (RuntimeCallError("no answer, but it acted"), True),
            (ConfigurationRefusedError("no memory"), False),
        ]
    )


def _befalls(member: Simulated, dice: random.Random) -> None:
    match dice.randrange(4):
        case 0 | 1:
            member.trouble[:] = [] if member.trouble else [_trouble(dice)]
        case 2:
            member.start()


@pytest.mark.looptime
@pytest.mark.parametrize("seed", range(40))
async def test_when_all_is_well_again_both_serve_the_newest_table(tmp_path: Path, seed: int) -> None:
    dice, files, newest = random.Random(seed), Files(tmp_path), Newest()
    members = [Simulated(tmp_path / name, tmp_path / name, files) for name in ("1", "2")]
    agent = Agent(place=Place(), runtime=Haproxys(members), files=files, tables=newest)
    following = asyncio.create_task(agent.follow())
    for _ in range(30):
        await newest.become(dice.choice(TABLES))
        await asyncio.sleep(dice.choice((0.0, 0.3, 1.5, 5.0)))
        _befalls(dice.choice(members), dice)
    for member in members:
        member.trouble.clear()
    await asyncio.sleep(REFUSED_AGAIN_S + 10)
    assert agent.status().table_revision == newest.current.revision
    assert [member.serves for member in members] == [weights(newest.current)] * 2
    for member in members:
        member.start()
        assert member.serves == weights(newest.current)
    following.cancel()


@pytest.mark.looptime
async def test_while_one_is_away_the_other_follows_and_is_not_reloaded_again_and_again(
    tmp_path: Path,
) -> None:
    files, newest = Files(tmp_path), Newest()
    first, second = (Simulated(tmp_path / name, tmp_path / name, files) for name in ("1", "2"))
    agent = Agent(place=Place(), runtime=Haproxys([first, second]), files=files, tables=newest)
    following = asyncio.create_task(agent.follow())
    await asyncio.sleep(5)
    first.trouble.append((RuntimeCallError("crashes"), False))
    for table_of_then in TABLES[1:]:
        await newest.become(table_of_then)
        await asyncio.sleep(30)
        assert second.serves == weights(table_of_then)
    assert len(second.reloads) <= len(TABLES)
    following.cancel()
