"""Closed-loop load: a number of clients that each send the next message when the last one is answered.

It finds out how much a target takes, as a ratio to another target measured in the same run. It says nothing about
outages; ``mailcheck.generator`` does.
"""

import itertools
import random
from dataclasses import dataclass

from mailcheck.errors import MailcheckError
from mailcheck.model import Attempt
from mailcheck.submit import EpochClock, Load, Sessions, Submitter, all_or_unusable
from mailcheck.targets import resolve


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """What the target took."""

    clients: int
    seconds: float
    """From the first start to the last outcome."""
    attempts: tuple[Attempt, ...]

    @property
    def accepted_per_s(self) -> float:
        """Acknowledged messages per second."""
        return sum(a.acknowledged for a in self.attempts) / self.seconds


async def closed_loop(
    load: Load, *, clients: int, seconds: float, reuse: bool = False, rng: random.Random | None = None
) -> Throughput:
    """Let clients send as fast as they are answered, and begin nothing new after so many seconds.

    Args:
        load: what is handed in, where and how.
        clients: messages in flight at any time.
        seconds: how long new messages are begun.
        reuse: each client keeps its connection, instead of a new one for each message.
        rng: chooses the target, if the load says random.

    Raises:
        MailcheckError: the load makes no sense, a target cannot be resolved, or this process ran out of resources.
    """
    if clients < 1 or seconds <= 0:
        raise MailcheckError("clients and seconds must be positive")
    targets = await resolve(load.targets)
    clock = EpochClock()
    sessions = Sessions(load, targets, keep=clients if reuse else 0, rng=rng or random.Random())
    submitter = Submitter(load, sessions, clock)
    numbers = itertools.count()
    attempts: list[Attempt] = []
    begin = clock.now()

    async def client() -> None:
        while (now := clock.now()) < begin + seconds:
            attempts.append(await submitter.submit(next(numbers), planned=now))

    try:
        async with all_or_unusable() as tasks:
            for _ in range(clients):
                tasks.create_task(client())
    finally:
        await sessions.close()
    attempts.sort(key=lambda a: a.start)
    return Throughput(clients=clients, seconds=max(a.end for a in attempts) - begin, attempts=tuple(attempts))
