"""Turns: few begin at a time, the urgent first, and no place is lost or given twice."""

import asyncio
from collections.abc import Sequence

import looptime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpfleet.probing.turns import PLACE_S, Turns


class Crowd:
    """Who comes to the turns and when, in seconds of virtual time."""

    def __init__(self, places: int) -> None:
        self.turns = Turns(places)
        self.begun: list[tuple[float, str]] = []
        self.most = 0
        self._fresh: set[str] = set()

    async def come(self, name: str, *, takes_s: float = 0.0, urgent: bool = False) -> None:
        async with self.turns.turn(urgent=urgent):
            loop = asyncio.get_running_loop()
            self.begun.append((round(loop.time(), 2), name))
            self._fresh.add(name)
            self.most = max(self.most, len(self._fresh))
            loop.call_later(PLACE_S, self._fresh.discard, name)
            try:
                await asyncio.sleep(takes_s)
            finally:
                self._fresh.discard(name)

    def names(self) -> list[str]:
        return [name for _, name in self.begun]


@pytest.mark.looptime
async def test_those_who_find_no_place_wait_and_the_urgent_go_first() -> None:
    crowd = Crowd(1)
    await asyncio.gather(
        *(crowd.come(name, takes_s=0.2) for name in ("a", "b", "c")),
        crowd.come("urgent", takes_s=0.2, urgent=True),
    )
    assert crowd.begun == [(0.0, "a"), (0.2, "urgent"), (0.4, "b"), (0.6, "c")]


@pytest.mark.looptime
async def test_many_that_are_urgent_do_not_keep_all_others_waiting() -> None:
    crowd = Crowd(1)
    await asyncio.gather(
        *(crowd.come(name, takes_s=0.2, urgent=True) for name in ("u1", "u2", "u3", "u4")),
        *(crowd.come(name, takes_s=0.2) for name in ("a", "b")),
    )
    assert crowd.names() == ["u1", "u2", "a", "u3", "b", "u4"]


@pytest.mark.looptime
async def test_who_waits_for_somebody_else_keeps_its_place_for_a_second_only() -> None:
    crowd = Crowd(1)
    await asyncio.gather(*(crowd.come(name, takes_s=10.0) for name in ("a", "b", "c")))
    assert crowd.begun == [(0.0, "a"), (PLACE_S, "b"), (2 * PLACE_S, "c")]
    crowd.begun.clear()
    await asyncio.gather(*(crowd.come(name, takes_s=0.5) for name in ("d", "e")))
    assert crowd.begun == [(12.0, "d"), (12.5, "e")]  # no place was given back twice


@pytest.mark.looptime
@pytest.mark.parametrize("after_s", [0.1, 0.2])
async def test_who_is_cancelled_while_it_waits_or_as_its_turn_comes_keeps_nobody_waiting(
    after_s: float,
) -> None:
    crowd = Crowd(1)
    first = asyncio.create_task(crowd.come("a", takes_s=0.2))
    gives_up = asyncio.create_task(crowd.come("b"))
    last = asyncio.create_task(crowd.come("c"))
    asyncio.get_running_loop().call_later(after_s, gives_up.cancel)
    await asyncio.gather(first, gives_up, last, return_exceptions=True)
    assert [name for name in crowd.names() if name != "b"] == ["a", "c"]
    await crowd.come("d")
    assert crowd.names()[-1] == "d"


@pytest.mark.looptime
async def test_a_place_that_was_given_to_one_who_is_cancelled_goes_to_the_next() -> None:
    crowd = Crowd(1)

    async def go_first() -> None:
        await crowd.come("a", takes_s=0.2)
        gives_up.cancel()  # it has just been given the place, and does not know yet

    first = asyncio.create_task(go_first())
    gives_up = asyncio.create_task(crowd.come("b"))
    last = asyncio.create_task(crowd.come("c"))
    await asyncio.gather(first, gives_up, last, return_exceptions=True)
    assert gives_up.cancelled()
    assert crowd.names() == ["a", "c"]


_Visitor = st.tuples(st.floats(0, 5), st.floats(0, 3), st.booleans(), st.none() | st.floats(0, 5))


@given(places=st.integers(1, 4), visitors=st.lists(_Visitor, max_size=20))
def test_never_more_than_there_are_places_and_in_the_end_all_are_free(
    places: int, visitors: Sequence[tuple[float, float, bool, float | None]]
) -> None:
    async def visit() -> None:
        crowd = Crowd(places)

        async def come(number: int, at_s: float, takes_s: float, urgent: bool, until_s: float | None) -> None:
            await asyncio.sleep(at_s)
            async with asyncio.timeout(until_s):
                await crowd.come(str(number), takes_s=takes_s, urgent=urgent)

        await asyncio.gather(
            *(come(number, *visitor) for number, visitor in enumerate(visitors)), return_exceptions=True
        )
        assert crowd.most <= places
        crowd.begun.clear()
        await asyncio.gather(*(crowd.come(f"new-{number}", takes_s=0.5) for number in range(places + 1)))
        times = [at for at, _ in crowd.begun]
        assert times[:-1] == [times[0]] * places
        assert times[-1] == pytest.approx(times[0] + 0.5, abs=0.02)

    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
        runner.run(visit())
