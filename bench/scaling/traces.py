"""What pools are asked to do: messages a second, and how the receiver is, by the second.

Arrivals are Poisson around the curve (rounded from a normal distribution where there are many), by a seed.
"""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from bench.scaling.relays import Receiver

HOUR: Final = 3600
_WELL: Final = Receiver()
_SLOW: Final = Receiver(latency_s=0.3)
_OUT: Final = Receiver(out=True)


@dataclass(frozen=True)
class Trace:
    """A course of events."""

    name: str
    text: str
    seconds: int
    per_s: Callable[[int], float]
    receiver: Callable[[int], Receiver] = lambda _: _WELL

    def play(self, seed: int) -> Iterator[tuple[int, Receiver]]:
        """Arrivals and receiver of each second."""
        random_ = random.Random(f"{self.name} {seed}")
        for second in range(self.seconds):
            yield _poisson(random_, self.per_s(second)), self.receiver(second)


def _poisson(random_: random.Random, mean: float) -> int:
    return max(0, round(random_.gauss(mean, math.sqrt(mean))))


def _within(begin: int, length: int, receiver: Receiver) -> Callable[[int], Receiver]:
    return lambda second: receiver if begin <= second < begin + length else _WELL


TRACES: Final = (
    Trace("steady", "250/s", HOUR, lambda _: 250.0),
    Trace(
        "burst",
        "50/s, and 500/s for 60 s every 15 min",
        HOUR,
        lambda s: 500.0 if 300 <= s % 900 < 360 else 50.0,
    ),
    Trace(
        "slow receiver",
        "100/s, the receiver takes 0.3 s a message for 5 min",
        HOUR,
        lambda _: 100.0,
        _within(600, 300, _SLOW),
    ),
    Trace(
        "receiver outage",
        "100/s, the receiver answers 451 for 15 min",
        2 * HOUR,
        lambda _: 100.0,
        _within(600, 900, _OUT),
    ),
    Trace(
        "daily curve",
        "20/s at night to 400/s at noon",
        24 * HOUR,
        lambda s: 20 + 380 * math.sin(math.pi * s / (24 * HOUR)) ** 4,
    ),
)
