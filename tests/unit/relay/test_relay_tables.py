"""Which routing table Postfix runs with."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path

import pytest

from smtpfleet.api.routing import RouteState, RoutingTable
from smtpfleet.feed.table import TableFollower
from smtpfleet.relay.rehearsal import RehearsalError
from smtpfleet.relay.tables import RETRY_S, AcceptedTable
from tests.unit.relay.goldens import table

BAD = {"smtp_connect_timeout": "soon"}
GOOD = {"smtp_connect_timeout": "5s"}


class Source:
    """A table source whose tables are put in by hand."""

    def __init__(self) -> None:
        self._texts: asyncio.Queue[str] = asyncio.Queue()

    def put(self, table: RoutingTable) -> None:
        self._texts.put_nowait(table.text)

    async def texts(self, *, namespace: str, name: str, key: str) -> AsyncGenerator[str | None]:
        assert (namespace, name, key) == ("mail", "outbound-routing", "routing.json")
        while True:
            yield await self._texts.get()


class Stage:
    """A relay's tables at work; ``refused`` says which parameters Postfix would complain about."""

    def __init__(self, directory: Path) -> None:
        self.source = Source()
        self.refused: list[dict[str, str]] = [BAD]
        self.rehearsed: list[dict[str, str]] = []
        self.decided = asyncio.Event()
        self.last_good = directory / "routing.last-good.json"
        self._follower = TableFollower(
            namespace="mail", name="outbound-routing", file=directory / "none.json", api=self.source
        )
        self.accepted = AcceptedTable(
            relay="outbound-relay-0",
            follower=self._follower,
            rehearse=self._rehearse,
            last_good=self.last_good,
            changed=self.decided.set,
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def _rehearse(self, table: RoutingTable) -> None:
        self.rehearsed.append(table.postfix)
        if table.postfix in self.refused:
            raise RehearsalError("bad time value or unit: soon")

    async def offer(self, offered: RoutingTable, *, until_error: bool = False) -> None:
        """Put a table in and wait for the decision."""
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._follower.run()),
                asyncio.create_task(self.accepted.run()),
            ]
        self.source.put(offered)
        while not self._is_decided(offered, until_error=until_error):
            self.decided.clear()
            await self.decided.wait()

    def _is_decided(self, offered: RoutingTable, *, until_error: bool) -> bool:
        if until_error:
            return self.accepted.refused_total > 0
        return self.accepted.current is not None and self.accepted.current.revision == offered.revision

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncGenerator[Stage]:
    made = Stage(tmp_path)
    yield made
    await made.close()


async def test_a_table_without_parameters_of_users_is_taken_as_it_is(stage: Stage) -> None:
    await stage.offer(table())
    assert (stage.rehearsed, stage.accepted.error) == ([], "")


async def test_new_parameters_are_rehearsed_once(stage: Stage) -> None:
    await stage.offer(table(postfix=GOOD))
    await stage.offer(table(postfix=GOOD, networks=("192.0.2.0/24",)))
    assert stage.rehearsed == [GOOD]


async def test_parameters_that_do_not_work_keep_the_last_good_table(stage: Stage) -> None:
    good = table()
    await stage.offer(good)
    await stage.offer(table(postfix=BAD), until_error=True)
    assert stage.accepted.current == good
    assert "bad time value" in stage.accepted.error
    assert stage.accepted.refused_total == 1


async def test_the_next_good_table_ends_the_error(stage: Stage) -> None:
    await stage.offer(table(postfix=BAD), until_error=True)
    await stage.offer(table(postfix=GOOD))
    assert stage.accepted.error == ""


async def test_a_refused_table_is_still_obeyed_about_intake(stage: Stage) -> None:
    await stage.offer(table())
    assert not stage.accepted.draining
    await stage.offer(table(postfix=BAD, state=RouteState.DRAINING), until_error=True)
    assert stage.accepted.draining


async def test_a_table_that_no_longer_lists_the_relay_does_not_open_it(stage: Stage) -> None:
    await stage.offer(table(state=RouteState.DRAINING))
    assert stage.accepted.draining
    await stage.offer(table(relay="outbound-relay-1"))
    assert stage.accepted.draining


async def test_a_relay_that_was_never_listed_serves(stage: Stage) -> None:
    await stage.offer(table(relay="outbound-relay-1"))
    assert not stage.accepted.draining


async def test_the_last_good_table_survives_a_restart_with_a_bad_one(tmp_path: Path) -> None:
    good = table(postfix=GOOD)
    before = Stage(tmp_path)
    await before.offer(good)
    await before.offer(table(postfix=BAD), until_error=True)  # by then the good one is written
    await before.close()
    after = Stage(tmp_path)
    await after.offer(table(postfix=BAD), until_error=True)
    await after.close()
    assert after.accepted.current == good


async def test_a_first_table_that_does_not_work_leaves_nothing_to_run_with(stage: Stage) -> None:
    await stage.offer(table(postfix=BAD), until_error=True)
    assert stage.accepted.current is None


@pytest.mark.looptime
async def test_a_refused_table_is_tried_again_later(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    await stage.offer(table(postfix=BAD), until_error=True)
    stage.refused = []
    await asyncio.sleep(RETRY_S + 1)
    await stage.close()
    assert stage.rehearsed == [BAD, BAD]


async def test_a_volume_that_cannot_be_written_keeps_no_table_from_use(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.last_good.mkdir()
    await stage.offer(table())
    await stage.close()
    assert stage.accepted.error == ""
