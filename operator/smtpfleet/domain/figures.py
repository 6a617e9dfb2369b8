"""Numbers, names and times as a status shows them: short, and steady enough not to be written all the time."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

NAMED: Final = 5
"""So many a message names: relays, or users that are refused."""


def two_digits(count: int) -> int:
    """``count`` rounded to two significant digits: 1234 is 1200, 99 is 99. Never 0 unless nothing is there."""
    if count < 100:
        return count
    unit: int = 10 ** (len(str(count)) - 2)
    return (count + unit // 2) // unit * unit


def listing(names: Iterable[str]) -> str:
    """At most so many names, and how many more there are."""
    ordered = list(names)
    more = f" and {len(ordered) - NAMED} more" if len(ordered) > NAMED else ""
    return ", ".join(ordered[:NAMED]) + more


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with whole seconds, as Kubernetes writes times."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
