"""The open loop's schedule, in virtual time."""

import asyncio

import pytest

from mailcheck.errors import GeneratorExhaustedError
from mailcheck.generator import on_schedule
from mailcheck.submit import EpochClock

pytestmark = pytest.mark.looptime


async def test_messages_start_on_time_however_long_the_earlier_ones_take() -> None:
    clock = EpochClock()
    begin = clock.now()
    started: list[float] = []
    planned_at: list[float] = []

    async def send(number: int, planned: float) -> None:
        started.append(clock.now() - begin)
        planned_at.append(planned - begin)
        await clock.sleep_until(clock.now() + 100)

    await on_schedule(send, rate=10, count=5, clock=clock)
    expected = pytest.approx([0, 0.1, 0.2, 0.3, 0.4], abs=1e-3)
    assert started == expected
    assert planned_at == expected
    assert clock.now() - begin == pytest.approx(100.4, abs=1e-3)


async def test_a_generator_that_was_held_up_makes_up_for_it_at_once_and_keeps_the_plan() -> None:
    lags: list[float] = []
    held_up_s = iter([0.0, 1.0])

    class HeldUp(EpochClock):
        """The wait for the second message takes a second longer."""

        async def sleep_until(self, moment: float) -> None:
            await super().sleep_until(moment + next(held_up_s, 0.0))

    clock = HeldUp()
    begin = clock.now()

    async def send(number: int, planned: float) -> None:
        lags.append(clock.now() - planned)

    await on_schedule(send, rate=10, count=20, clock=clock)
    assert lags == pytest.approx([0, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, *[0] * 9], abs=1e-3)
    assert clock.now() - begin == pytest.approx(1.9, abs=1e-3)


async def test_the_first_exhaustion_ends_the_run_and_cancels_what_is_in_flight() -> None:
    cancelled: list[int] = []

    async def send(number: int, planned: float) -> None:
        if number == 2:
            raise GeneratorExhaustedError("no ports")
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cancelled.append(number)

    with pytest.raises(GeneratorExhaustedError, match="no ports"):
        await on_schedule(send, rate=10, count=100, clock=EpochClock())
    assert sorted(cancelled) == [0, 1]
