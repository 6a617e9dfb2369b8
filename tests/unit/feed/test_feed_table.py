"""Following the routing table, in virtual time; the API server is played by a script of its answers."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from smtpfleet.api.routing import RoutingTable
from smtpfleet.feed.access import AccessError
from smtpfleet.feed.table import FILE_INTERVAL_S, PATIENCE_S, TableFollower
from tests.unit.balancer.goldens import table

pytestmark = pytest.mark.looptime
FULL, HALF, LOW = table(100), table(50), table(10)


@dataclass
class ScriptedApi:
    """Tells what is put in: a text, None for a missing object, or an error that ends the watch."""

    events: asyncio.Queue[str | AccessError | None] = field(default_factory=asyncio.Queue)
    tries: int = 0

    async def texts(self, *, namespace: str, name: str, key: str) -> AsyncGenerator[str | None]:
        assert (namespace, name, key) == ("mail", "outbound-routing", "routing.json")
        self.tries += 1
        while True:
            event = await self.events.get()
            if isinstance(event, AccessError):
                raise event
            yield event


class AbsentApi(ScriptedApi):
    """Refuses every connection."""

    async def texts(self, *, namespace: str, name: str, key: str) -> AsyncGenerator[str | None]:
        self.tries += 1
        if self.tries:
            raise AccessError("refused")
        yield None


@asynccontextmanager
async def following(file: Path, api: ScriptedApi | None) -> AsyncIterator[TableFollower]:
    follower = TableFollower(
        namespace="mail", name="outbound-routing", file=file, api=api, jitter=lambda: 1.0
    )
    task = asyncio.create_task(follower.run())
    try:
        yield follower
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def tell(api: ScriptedApi, event: RoutingTable | str | AccessError | None) -> None:
    api.events.put_nowait(event.text if isinstance(event, RoutingTable) else event)
    await asyncio.sleep(0.01)


def mount(file: Path, mounted: RoutingTable | str) -> None:
    file.write_bytes((mounted.text if isinstance(mounted, RoutingTable) else mounted).encode())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "routing.json"


async def test_the_api_servers_table_is_used_and_not_the_older_file(file: Path) -> None:
    mount(file, FULL)
    api = ScriptedApi()
    async with following(file, api) as follower:
        await tell(api, HALF)
        await asyncio.sleep(60)
        assert (follower.current, follower.error, follower.watching) == (HALF, "", True)


async def test_a_change_wakes_who_waits_for_it(file: Path) -> None:
    api = ScriptedApi()
    async with following(file, api) as follower:
        await tell(api, FULL)
        waiting = asyncio.create_task(follower.next(FULL.revision))
        await tell(api, FULL)
        assert not waiting.done()
        await tell(api, HALF)
        assert await waiting == HALF


async def test_the_file_is_used_at_once_when_the_api_server_refuses_at_the_start(file: Path) -> None:
    mount(file, FULL)
    async with following(file, AbsentApi()) as follower:
        await asyncio.sleep(0.01)
        assert (follower.current, follower.watching) == (FULL, False)


async def test_the_file_is_used_when_the_api_server_says_nothing_at_the_start(file: Path) -> None:
    mount(file, FULL)
    async with following(file, ScriptedApi()) as follower:
        await asyncio.sleep(PATIENCE_S - 0.1)
        assert follower.current is None
        await asyncio.sleep(0.2)
        assert follower.current == FULL


async def test_without_any_api_server_the_file_is_followed(file: Path) -> None:
    mount(file, FULL)
    async with following(file, None) as follower:
        await asyncio.sleep(1)
        mount(file, HALF)
        await asyncio.sleep(FILE_INTERVAL_S)
        assert follower.current == HALF


async def test_a_file_that_appears_late_is_used(file: Path) -> None:
    async with following(file, None) as follower:
        await asyncio.sleep(1)
        assert "routing.json" in follower.error
        mount(file, FULL)
        await asyncio.sleep(FILE_INTERVAL_S)
        assert (follower.current, follower.error) == (FULL, "")


async def test_while_the_watch_is_down_a_new_file_is_used(file: Path) -> None:
    mount(file, FULL)
    api = ScriptedApi()
    async with following(file, api) as follower:
        await tell(api, FULL)
        await tell(api, AccessError("gone"))
        mount(file, HALF)
        await asyncio.sleep(FILE_INTERVAL_S)
        assert follower.current == HALF


async def test_a_late_file_does_not_bring_back_what_the_api_server_has_replaced(file: Path) -> None:
    mount(file, FULL)
    api = ScriptedApi()
    async with following(file, api) as follower:
        await tell(api, FULL)
        await tell(api, HALF)
        await tell(api, AccessError("gone"))
        await asyncio.sleep(60)
        assert follower.current == HALF
        mount(file, LOW)
        await asyncio.sleep(FILE_INTERVAL_S)
        assert follower.current == LOW


async def test_a_late_file_is_known_again_whatever_line_ends_a_person_wrote(file: Path) -> None:
    by_hand = FULL.text.replace("\n", "\r\n")
    mount(file, by_hand)
    api = ScriptedApi()
    async with following(file, api) as follower:
        await tell(api, by_hand)
        await tell(api, HALF)
        await tell(api, AccessError("gone"))
        await asyncio.sleep(60)
        assert follower.current == HALF


async def test_the_api_server_may_go_back_to_an_earlier_table(file: Path) -> None:
    api = ScriptedApi()
    async with following(file, api) as follower:
        for given in (FULL, HALF, FULL):
            await tell(api, given)
        assert follower.current == FULL


@pytest.mark.parametrize("bad", ["", "{", json.dumps({"format": 9}), FULL.text.replace("10.96.0.1", "here")])
async def test_a_bad_table_leaves_the_last_good_one_and_says_why(file: Path, bad: str) -> None:
    api = ScriptedApi()
    async with following(file, api) as follower:
        await tell(api, FULL)
        await tell(api, bad)
        assert follower.current == FULL
        assert follower.error
        assert follower.errors_total == 1


async def test_the_same_bad_table_counts_once(file: Path) -> None:
    api = ScriptedApi()
    async with following(file, api) as follower:
        await tell(api, "{")
        await tell(api, "{")
        assert follower.errors_total == 1


async def test_a_good_table_ends_the_error(file: Path) -> None:
    api = ScriptedApi()
    async with following(file, api) as follower:
        await tell(api, FULL)
        await tell(api, "{")
        await tell(api, FULL)
        assert follower.error == ""


async def test_a_deleted_table_leaves_the_last_good_one_and_says_so(file: Path) -> None:
    api = ScriptedApi()
    async with following(file, api) as follower:
        await tell(api, FULL)
        await tell(api, None)
        assert follower.current == FULL
        assert "mail/outbound-routing" in follower.error


async def test_before_the_first_table_the_error_says_what_is_missing(file: Path) -> None:
    async with following(file, AbsentApi()) as follower:
        await asyncio.sleep(1)
        assert follower.current is None
        assert follower.error


async def test_an_absent_api_server_is_asked_ever_more_rarely_but_for_ever(file: Path) -> None:
    api = AbsentApi()
    async with following(file, api):
        await asyncio.sleep(60)
        first = api.tries
        await asyncio.sleep(600)
        assert 5 < first < 20
        assert 55 < api.tries - first < 65


async def test_a_watch_that_was_up_is_tried_again_soon(file: Path) -> None:
    api = ScriptedApi()
    async with following(file, api) as follower:
        await tell(api, FULL)
        await tell(api, AccessError("gone"))
        await asyncio.sleep(1)
        await tell(api, HALF)
        assert (api.tries, follower.current, follower.watching) == (2, HALF, True)


async def test_who_knows_that_the_network_is_back_ends_the_pause_and_nothing_else(file: Path) -> None:
    api = AbsentApi()
    async with following(file, api) as follower:
        await asyncio.sleep(60.1)
        before = api.tries
        follower.hurry()
        await asyncio.sleep(0.01)
        assert api.tries == before + 1
        await asyncio.sleep(600)
        assert api.tries - before < 65


async def test_a_hurry_while_the_watch_is_up_shortens_no_later_pause(file: Path) -> None:
    api = ScriptedApi()
    async with following(file, api) as follower:
        await tell(api, FULL)
        follower.hurry()
        await tell(api, AccessError("gone"))
        assert api.tries == 1


async def test_a_hurry_during_a_try_that_fails_saves_the_pause_after_it(file: Path) -> None:
    api = ScriptedApi()
    async with following(file, api) as follower:
        await tell(api, AccessError("away"))
        await asyncio.sleep(5)
        assert api.tries == 2
        follower.hurry()
        await tell(api, AccessError("a moment too early"))
        assert api.tries == 3
        await tell(api, FULL)
        assert follower.watching
