"""Open-loop load: messages leave at fixed moments, whether or not the earlier ones have been answered.

A closed loop slows down with its target and so hides an outage; here a target that hangs for a second has as many
clients waiting as the rate brings in a second. What the generator itself is late is recorded with each attempt.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine

from mailcheck.errors import MailcheckError
from mailcheck.model import Attempt
from mailcheck.submit import EpochClock, Load, Sessions, Submitter, all_or_unusable
from mailcheck.targets import resolve


async def generate(
    load: Load,
    *,
    rate: float,
    count: int,
    reuse: int = 0,
    on_attempt: Callable[[Attempt], None] | None = None,
    rng: random.Random | None = None,
    enough: asyncio.Event | None = None,
) -> list[Attempt]:
    """Hand in ``count`` messages at ``rate`` per second, without retries, and return what became of each.

    Args:
        load: what is handed in, where and how.
        rate: messages per second.
        count: messages.
        reuse: so many connections are kept and used in turn; 0 means a new connection for each message. A message for
            which no kept connection is free starts late, which its attempt shows.
        on_attempt: called with each attempt as soon as its outcome is known.
        rng: chooses the target, if the load says random.
        enough: once it is set, no more messages are begun.

    Raises:
        MailcheckError: the load makes no sense, a target cannot be resolved, or this process ran out of resources.
    """
    if rate <= 0 or count < 1 or reuse < 0:
        raise MailcheckError("rate and count must be positive, and reuse not negative")
    targets = await resolve(load.targets)
    clock = EpochClock()
    sessions = Sessions(load, targets, keep=reuse, rng=rng or random.Random())
    submitter = Submitter(load, sessions, clock)
    attempts: list[Attempt] = []

    async def one(number: int, planned: float) -> None:
        attempt = await submitter.submit(number, planned=planned)
        attempts.append(attempt)
        if on_attempt is not None:
            on_attempt(attempt)

    try:
        await on_schedule(one, rate=rate, count=count, clock=clock, enough=enough)
    finally:
        await sessions.close()
    return sorted(attempts, key=lambda a: a.planned)


async def on_schedule(
    send: Callable[[int, float], Coroutine[None, None, None]],
    *,
    rate: float,
    count: int,
    clock: EpochClock,
    enough: asyncio.Event | None = None,
) -> None:
    """Start ``send(number, planned)`` at each planned moment, never waiting for an earlier one; return after the last.

    A moment that was missed is made up for at once, so that the number of messages and the mean rate stay as asked.
    Raises MailcheckError, after cancelling the others, if one of them does.
    """
    begin = clock.now()
    async with all_or_unusable() as tasks:
        for number in range(count):
            planned = begin + number / rate
            await clock.sleep_until(planned)
            if enough is not None and enough.is_set():
                return
            tasks.create_task(send(number, planned))
