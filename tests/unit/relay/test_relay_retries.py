"""When mail that waits is tried again."""

import asyncio
from queue import SimpleQueue

import pytest

from smtpfleet.relay.retries import Retries

pytestmark = pytest.mark.looptime


class _Postfix:
    """Notes what it is told, and when (seconds of virtual time)."""

    def __init__(self, held: "SimpleQueue[str]", *, locked_until_s: float = 0.0) -> None:
        self.told: list[tuple[float, str]] = []
        self._held, self._locked_until_s = held, locked_until_s

    async def flush(self) -> None:
        self.told.append((asyncio.get_running_loop().time(), "all"))

    async def retry(self, queue_id: str) -> None:
        now_s = asyncio.get_running_loop().time()
        self.told.append((now_s, queue_id))
        if now_s < self._locked_until_s:
            self._held.put(queue_id)


async def _tend(retries: Retries, *, seconds: int) -> None:
    for _ in range(seconds):
        retries.tend()
        await asyncio.sleep(1)


@pytest.fixture
def held() -> "SimpleQueue[str]":
    return SimpleQueue()


async def test_all_is_tried_until_the_last_connection_to_an_old_next_hop_is_given_up(
    held: "SimpleQueue[str]",
) -> None:
    postfix = _Postfix(held)
    Retries(postfix, held).everything()
    await asyncio.sleep(300)
    assert postfix.told == [(1, "all"), (5, "all"), (15, "all"), (40, "all")]


async def test_what_a_delivery_held_is_tried_soon_and_nothing_else(held: "SimpleQueue[str]") -> None:
    postfix = _Postfix(held)
    retries = Retries(postfix, held)
    for queue_id in ("B", "A", "B"):
        held.put(queue_id)
    await _tend(retries, seconds=300)
    assert [queue_id for _, queue_id in postfix.told] == ["A", "B"]
    assert all(at_s < 5 for at_s, _ in postfix.told)


async def test_what_is_held_still_is_tried_until_it_is_not(held: "SimpleQueue[str]") -> None:
    postfix = _Postfix(held, locked_until_s=20)
    retries = Retries(postfix, held)
    held.put("A")
    await _tend(retries, seconds=300)
    assert 5 <= len(postfix.told) <= 12
    assert 20 <= postfix.told[-1][0] < 25


async def test_nothing_is_tried_after_the_end(held: "SimpleQueue[str]") -> None:
    postfix = _Postfix(held)
    retries = Retries(postfix, held)
    held.put("A")
    retries.everything()
    retries.tend()
    retries.stop()
    await asyncio.sleep(300)
    assert postfix.told == []


async def test_once_is_once_and_in_place_of_what_was_to_come(held: "SimpleQueue[str]") -> None:
    postfix = _Postfix(held)
    retries = Retries(postfix, held)
    retries.everything()
    await asyncio.sleep(2)
    retries.once()
    await asyncio.sleep(300)
    assert postfix.told == [(1, "all"), (3, "all")]
