"""Wrong log-ins at a fixed rate: ``python -m bench.guesser HOST:PORT RATE ADDRESSES``, until a line is read.

Each is a connection of its own with STARTTLS, from one of so many client addresses (PROXY header), for the user that
others log in as, with another password each time. Prints how many were answered.
"""

import asyncio
import itertools
import sys

from mailcheck.dialogue import ClientOptions, NotAcknowledgedError, Session, Timeouts, Tls
from mailcheck.model import Stage
from mailcheck.sasl import Credentials
from mailcheck.targets import Target, resolve

USER = "bench"


async def main(target: str, rate: float, addresses: int) -> int:
    """Guess until standard input says something; returns how many guesses were answered."""
    (resolved,) = await resolve([target])
    loop, answered = asyncio.get_running_loop(), 0
    stopped = loop.run_in_executor(None, sys.stdin.readline)

    async def one(number: int) -> None:
        nonlocal answered
        is_answered = await _guess(resolved, number, f"198.51.100.{number % addresses + 1}")
        answered += is_answered

    begin, tasks = loop.time(), set[asyncio.Task[None]]()
    for number in itertools.count():
        await asyncio.sleep(max(0.0, begin + number / rate - loop.time()))
        if stopped.done():
            break
        task = asyncio.create_task(one(number))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    if tasks:
        await asyncio.wait(tasks)
    return answered


async def _guess(target: Target, number: int, address: str) -> bool:
    options = ClientOptions(
        proxy_header=True,
        proxy_source=address,
        tls=Tls.STARTTLS,
        credentials=Credentials(name=USER, password=f"guess-{number}"),
        timeouts=Timeouts.uniform(20.0),
    )
    session = Session(target, options)
    try:
        await session.open()
    except NotAcknowledgedError as error:
        session.abort()
        return (error.stage, error.code) in {(Stage.AUTH, 454), (Stage.AUTH, 535), (Stage.BANNER, 421)}
    raise SystemExit("a guess was right")


if __name__ == "__main__":
    where, rate_text, addresses_text = sys.argv[1:]
    print(asyncio.run(main(where, float(rate_text), int(addresses_text))))
