"""Ticks: what is due at about the same time begins together, and nothing later than it should."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpfleet.probing.ticks import TICK_S, sleep_until, tick


@given(st.floats(0, 1e7))
def test_a_tick_is_never_later_and_less_than_one_tick_earlier(at_s: float) -> None:
    assert at_s - TICK_S < tick(at_s) + 1e-6
    assert tick(at_s) <= at_s + 1e-6


@given(st.integers(0, 10**8))
def test_a_tick_stays_what_it_is(number: int) -> None:
    assert tick(number * TICK_S) == number * TICK_S


@pytest.mark.looptime
async def test_sleepers_of_one_tick_wake_together() -> None:
    clock = asyncio.get_running_loop().time
    woken: list[float] = []

    async def sleep(at_s: float) -> None:
        await sleep_until(at_s, clock)
        woken.append(round(clock(), 3))

    await asyncio.gather(*(sleep(at_s) for at_s in (0.05, 0.3, 0.31, 0.399, 0.4)))
    assert woken == [0.0, 0.3, 0.3, 0.3, 0.4]
    await sleep(0.2)  # it has passed
    assert woken[-1] == 0.4
