"""A relay's share of the connections that the whole pool may hold to one destination."""

from collections.abc import Callable, Sequence
from typing import Final

HELD_S: Final = 60.0
"""A part that may be larger stays so long as it was: nobody is harmed, a new one is a reload of Postfix, and a pool
that has become smaller often grows again.
"""


def share(limit: int, relays: Sequence[str], relay: str) -> int:
    """How many of ``limit`` connections ``relay`` may hold: the parts of all add up to the limit, or are 1 each.

    Every relay of the table counts, for one that is drained delivers, too. A relay that is not listed (yet) counts
    itself in and takes the smallest part.
    """
    if relay in relays:
        least, remainder = divmod(limit, len(relays))
        return max(1, least + (relays.index(relay) < remainder))
    return max(1, limit // (len(relays) + 1))


class HeldShare:
    """This relay's part over time. It falls at once. ``clock``: seconds that only ever grow."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._limit = self._part = 0
        self._until_s = 0.0

    def of(self, limit: int, relays: Sequence[str], relay: str) -> int:
        """The part that holds now; 0: there is no limit."""
        part, now_s = share(limit, relays, relay) if limit else 0, self._clock()
        if limit != self._limit or part <= self._part or now_s >= self._until_s:
            self._limit, self._part = limit, part
        if part == self._part:
            self._until_s = now_s + HELD_S
        return self._part
