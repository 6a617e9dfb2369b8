"""Decides when each pool is worked on: never twice at once, soon after a nudge, and in any case regularly.

Guarantees: a nudge during a run causes another run; many nudges cause one run; a key that fails is tried
again after a growing, jittered time, and nudges do not shorten it; every known key runs again after the
resync time; one slow key takes one worker only.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Done:
    """How a run ended well: when the key wants to run again at the latest, and whether it is gone for good."""

    again_s: float | None = None
    forget: bool = False


@dataclass(frozen=True, slots=True)
class Pace:
    """The queue's times, in seconds.

    Attributes:
        resync_s: after how long a key runs again without a nudge.
        settle_s: how long a nudge waits for more of them.
        backoff_first_s: the wait after a first failure; it doubles with each further one.
        backoff_most_s: the longest wait after a failure.
    """

    resync_s: float = 120.0
    settle_s: float = 0.1
    backoff_first_s: float = 0.5
    backoff_most_s: float = 30.0


class WorkQueue(Generic[Key]):
    """Runs ``process`` for keys.

    Args:
        process: works on one key. An exception means that it is to be tried again.
        workers: how many keys may be worked on at once.
        pace: the times.
        jitter: gives numbers from 0 to 1; they shorten resync and backoff by up to a quarter, so that many
            keys do not move in step.
    """

    def __init__(
        self,
        process: Callable[[Key], Awaitable[Done]],
        *,
        workers: int,
        pace: Pace,
        jitter: Callable[[], float],
    ) -> None:
        self._process, self._pace, self._jitter = process, pace, jitter
        self._slots = asyncio.Semaphore(workers)
        self._due: dict[Key, float] = {}
        self._not_before: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        self._running: dict[Key, float] = {}
        """Since when a run has not got on."""
        self._changed = asyncio.Event()

    @property
    def depth(self) -> int:
        """Keys that are due and not being worked on."""
        now = self._now()
        return sum(due <= now and key not in self._running for key, due in self._due.items())

    def nudge(self, key: Key, *, delay_s: float = 0.0) -> None:
        """Have the key run soon, or ``delay_s`` from now, unless it runs earlier anyway."""
        self._schedule(key, max(delay_s, self._pace.settle_s))

    def known(self) -> frozenset[Key]:
        """Every key that is waiting or running."""
        return frozenset(self._due) | frozenset(self._running)

    def goes_on(self, key: Key) -> None:
        """The key's run, if there is one, has got on: however long it lasts, it does not hang."""
        if key in self._running:
            self._running[key] = self._now()

    def stuck_s(self) -> float:
        """For how long the run that got on least has not got on.

        How long keys wait for a worker says nothing: many of them wait for long if each run ends in a timeout.
        """
        now = self._now()
        return max((now - since for since in self._running.values()), default=0.0)

    async def run(self) -> None:
        """Work until cancelled; runs that are under way are cancelled, too."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._changed.clear()
                key = self._next()
                if key is None:
                    await self._wait()
                    continue
                await self._slots.acquire()
                self._due.pop(key, None)
                self._running[key] = self._now()
                group.create_task(self._work(key), name=f"work on {key}")

    async def _work(self, key: Key) -> None:
        try:
            done = await self._process(key)
        except Exception as error:  # whatever is wrong with one key must not stop the others
            self._failed(key, error)
        else:
            self._succeeded(key, done)
        finally:
            self._running.pop(key, None)
            self._slots.release()
            self._changed.set()

    def _succeeded(self, key: Key, done: Done) -> None:
        self._failures.pop(key, None)
        self._not_before.pop(key, None)
        if done.forget:
            return
        resync_s = self._pace.resync_s * self._shortening()
        self._schedule(key, resync_s if done.again_s is None else min(done.again_s, resync_s))

    def _failed(self, key: Key, error: Exception) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        asked_s = float(getattr(error, "retry_after_s", 0.0))
        backoff_s = min(self._pace.backoff_first_s * 2 ** (min(failures, 32) - 1), self._pace.backoff_most_s)
        wait_s = max(asked_s, backoff_s * self._shortening())
        self._not_before[key] = self._now() + wait_s
        self._due.pop(key, None)  # a nudge during the run is served by the next one, which waits
        self._schedule(key, wait_s)

    def _schedule(self, key: Key, delay_s: float) -> None:
        due = max(self._now() + delay_s, self._not_before.get(key, 0.0))
        self._due[key] = min(due, self._due.get(key, due))
        self._changed.set()

    def _shortening(self) -> float:
        return 1.0 - self._jitter() / 4

    def _next(self) -> Key | None:
        now = self._now()
        ready = [(due, key) for key, due in self._due.items() if due <= now and key not in self._running]
        return min(ready, key=lambda item: item[0])[1] if ready else None

    async def _wait(self) -> None:
        waiting = [due for key, due in self._due.items() if key not in self._running]
        timeout = asyncio.timeout_at(min(waiting)) if waiting else asyncio.timeout(None)
        try:
            async with timeout:
                await self._changed.wait()
        except TimeoutError:
            return

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
