"""What is usual among a relay's siblings. Pure."""

from bisect import bisect_left
from collections.abc import Mapping


class OthersMedian:
    """Medians of all values but one. Sorted once, for pools are large."""

    def __init__(self, values: Mapping[str, float]) -> None:
        self._values = dict(values)
        self._sorted = sorted(self._values.values())

    def without(self, name: str) -> float | None:
        """The median of the values of all others; None if there is no other."""
        own, count = self._values.get(name), len(self._sorted)
        skipped = count if own is None else bisect_left(self._sorted, own)
        others = count - (own is not None)
        if not others:
            return None
        middle = ((others - 1) // 2, others // 2)
        return sum(self._sorted[place + (place >= skipped)] for place in middle) / 2
