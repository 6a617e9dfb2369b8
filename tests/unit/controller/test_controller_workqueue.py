"""The work queue in virtual time: when keys run, and that one never runs twice at once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from smtpfleet.cluster.errors import UnavailableError
from smtpfleet.controller.workqueue import Done, Pace, WorkQueue

pytestmark = pytest.mark.looptime

PACE = Pace(resync_s=100, settle_s=0.1, backoff_first_s=1, backoff_most_s=8)
Work = Callable[[str], Awaitable[Done]]


def _now() -> float:
    return round(asyncio.get_running_loop().time(), 3)


class Recorder:
    """Work that takes ``takes_s`` and ends as ``outcome`` says; ``runs`` are its starts."""

    def __init__(self, outcome: Callable[[int], Done] = lambda _: Done(), *, takes_s: float = 0.0) -> None:
        self.runs: list[tuple[float, str]] = []
        self.running = 0
        self.most = 0
        self._outcome, self._takes_s = outcome, takes_s

    async def __call__(self, key: str) -> Done:
        self.runs.append((_now(), key))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(self._takes_s)
            return self._outcome(len(self.runs))
        finally:
            self.running -= 1

    @property
    def times(self) -> list[float]:
        """When runs started."""
        return [moment for moment, _ in self.runs]


@asynccontextmanager
async def working(
    work: Work, *, workers: int = 2, jitter: float = 0.0, pace: Pace = PACE
) -> AsyncIterator[WorkQueue[str]]:
    queue = WorkQueue(work, workers=workers, pace=pace, jitter=lambda: jitter)
    task = asyncio.create_task(queue.run())
    try:
        yield queue
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_nudge_runs_the_key_after_it_has_settled() -> None:
    work = Recorder()
    async with working(work) as queue:
        queue.nudge("a")
        await asyncio.sleep(5)
    assert work.runs == [(0.1, "a")]


async def test_many_nudges_are_one_run() -> None:
    work = Recorder()
    async with working(work) as queue:
        for _ in range(50):
            queue.nudge("a")
        await asyncio.sleep(5)
    assert len(work.runs) == 1


async def test_nudges_during_a_run_are_one_more_run_after_it() -> None:
    work = Recorder(takes_s=3)
    async with working(work) as queue:
        queue.nudge("a")
        await asyncio.sleep(1)
        queue.nudge("a")
        queue.nudge("a")
        await asyncio.sleep(10)
    assert work.times == [0.1, 3.1]
    assert work.most == 1


async def test_a_delayed_nudge_waits_and_an_earlier_one_wins() -> None:
    work = Recorder()
    async with working(work) as queue:
        queue.nudge("a", delay_s=20)
        queue.nudge("a", delay_s=30)
        queue.nudge("b", delay_s=20)
        queue.nudge("b")
        await asyncio.sleep(25)
    assert work.runs == [(0.1, "b"), (20.0, "a")]


async def test_a_key_runs_again_after_the_resync_time_for_ever() -> None:
    work = Recorder()
    async with working(work) as queue:
        queue.nudge("a")
        await asyncio.sleep(350)
    assert work.times == [0.1, 100.1, 200.1, 300.1]


async def test_jitter_only_makes_a_resync_come_earlier() -> None:
    work = Recorder()
    async with working(work, jitter=1.0) as queue:
        queue.nudge("a")
        await asyncio.sleep(100)
    assert work.times == [0.1, 75.1]


async def test_a_run_may_ask_to_run_again_sooner() -> None:
    work = Recorder(lambda count: Done(again_s=7 if count == 1 else None))
    async with working(work) as queue:
        queue.nudge("a")
        await asyncio.sleep(50)
    assert work.times == [0.1, 7.1]


async def test_a_key_that_is_gone_is_forgotten() -> None:
    work = Recorder(lambda _: Done(forget=True))
    async with working(work) as queue:
        queue.nudge("a")
        await asyncio.sleep(500)
        assert queue.known() == frozenset()
    assert len(work.runs) == 1


def _failing_until(good: int) -> Callable[[int], Done]:
    def outcome(count: int) -> Done:
        if count < good:
            raise RuntimeError("not yet")
        return Done()

    return outcome


async def test_a_failure_is_tried_again_after_a_doubling_wait_up_to_the_longest() -> None:
    work = Recorder(_failing_until(7))
    async with working(work) as queue:
        queue.nudge("a")
        await asyncio.sleep(60)
    gaps = [round(after - before, 3) for before, after in zip(work.times, work.times[1:], strict=False)]
    assert gaps == [1, 2, 4, 8, 8, 8]


async def test_a_success_ends_the_growth_of_waits() -> None:
    failures = iter([True, True, False, True, False])

    def outcome(_: int) -> Done:
        if next(failures, False):
            raise RuntimeError("not yet")
        return Done(again_s=20)

    work = Recorder(outcome)
    async with working(work) as queue:
        queue.nudge("a")
        await asyncio.sleep(30)
    assert work.times == [0.1, 1.1, 3.1, 23.1, 24.1]


async def test_nudges_do_not_shorten_the_wait_after_a_failure() -> None:
    work = Recorder(_failing_until(4))
    async with working(work) as queue:
        for _ in range(100):
            queue.nudge("a")
            await asyncio.sleep(0.05)
    assert work.times == [0.1, 1.1, 3.1]


async def test_a_server_that_asks_to_wait_is_obeyed() -> None:
    def outcome(count: int) -> Done:
        if count == 1:
            raise UnavailableError("busy", retry_after_s=30)
        return Done()

    work = Recorder(outcome)
    async with working(work) as queue:
        queue.nudge("a")
        await asyncio.sleep(40)
    assert work.times == [0.1, 30.1]


async def test_a_nudge_during_a_run_that_fails_does_not_shorten_the_wait_either() -> None:
    def outcome(count: int) -> Done:
        if count == 1:
            raise UnavailableError("busy", retry_after_s=5)
        return Done()

    work = Recorder(outcome, takes_s=3)
    async with working(work) as queue:
        queue.nudge("a")
        await asyncio.sleep(1)
        queue.nudge("a")
        await asyncio.sleep(20)
    assert work.times == [0.1, 8.1]


async def test_no_more_keys_run_at_once_than_there_are_workers_and_all_get_their_turn() -> None:
    work = Recorder(takes_s=1)
    async with working(work, workers=2) as queue:
        for key in "abcde":
            queue.nudge(key)
        await asyncio.sleep(10)
    assert work.most == 2
    assert sorted(key for _, key in work.runs) == list("abcde")


async def test_one_key_that_hangs_stops_neither_others_nor_goes_unnoticed() -> None:
    finished: list[str] = []

    async def work(key: str) -> Done:
        if key == "hangs":
            await asyncio.Event().wait()
        finished.append(key)
        return Done()

    async with working(work, workers=2) as queue:
        queue.nudge("hangs")
        queue.nudge("fine")
        await asyncio.sleep(60)
        assert queue.stuck_s() == pytest.approx(59.9, abs=0.2)
    assert finished == ["fine"]


async def test_keys_that_wait_for_a_worker_are_counted() -> None:
    work = Recorder(takes_s=50)
    async with working(work, workers=1) as queue:
        queue.nudge("a")
        queue.nudge("b")
        await asyncio.sleep(20)
        assert queue.depth == 1


async def test_an_api_server_that_answers_nothing_makes_nothing_stuck_however_many_keys_wait() -> None:
    """Each run ends after the timeout of its first call; a restart would not help, and would end the holder."""

    async def work(_: str) -> Done:
        await asyncio.sleep(10)
        raise UnavailableError("no answer")

    async with working(work, workers=4) as queue:
        for number in range(100):
            queue.nudge(f"pool-{number}")
        for _ in range(600):
            await asyncio.sleep(1)
            assert queue.stuck_s() <= 10


async def test_a_long_run_is_not_stuck_while_it_goes_on() -> None:
    hangs = asyncio.Event()

    async def work(key: str) -> Done:
        for _ in range(300):
            await asyncio.sleep(1)
            queue.goes_on(key)
        await hangs.wait()
        return Done()

    async with working(work) as queue:
        queue.nudge("a")
        for _ in range(290):
            await asyncio.sleep(1)
            assert queue.stuck_s() <= 1
        await asyncio.sleep(60)
        assert queue.stuck_s() == pytest.approx(49.9, abs=0.2)
        hangs.set()
        await asyncio.sleep(1)
        queue.goes_on("a")
        assert queue.stuck_s() == 0.0


async def test_an_idle_queue_is_not_stuck() -> None:
    work = Recorder()
    async with working(work) as queue:
        assert queue.stuck_s() == 0.0
        queue.nudge("a")
        await asyncio.sleep(90)
        assert queue.stuck_s() == 0.0
        assert queue.depth == 0
        assert queue.known() == {"a"}
