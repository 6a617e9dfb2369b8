"""A relay's share of the connections that the whole pool may hold to one destination."""

from collections.abc import Sequence


def share(limit: int, relays: Sequence[str], relay: str) -> int:
    """How many of ``limit`` connections ``relay`` may hold: the parts of all add up to the limit, or are 1 each.

    Every relay of the table counts, for one that is drained delivers, too. A relay that is not listed (yet) counts
    itself in and takes the smallest part.
    """
    if relay in relays:
        least, remainder = divmod(limit, len(relays))
        return max(1, least + (relays.index(relay) < remainder))
    return max(1, limit // (len(relays) + 1))
