"""How much of its weight a relay gets that sends more slowly than its siblings, as on a slow disk. Pure.

The share of a relay whose ready mail grows far beyond its siblings', because the relay itself is the limit, falls by a
step; when that mail is gone, it rises again by a step after a while, to see whether the relay is faster. Each fall in a
row doubles that while, so a relay that is slow for good, under a load that is steady, settles and is tried less and
less often.

Guarantees: between two changes there are 30 s at least, for rates are measured over 15 s; the share is never less than
a tenth; without facts nothing changes; the worse a relay does, the lower its share.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from smtpfleet.api.reasons import Reason
from smtpfleet.domain.findings import Finding
from smtpfleet.domain.load import Limit, Load

STEPS: Final = (10, 25, 50, 75, 100)
"""Percent of its weight. Few, for each change is a write of the routing table."""
FULL: Final = STEPS[-1]
LEAST: Final = 100
"""So many ready messages are worth nothing more than a look."""
RATIO: Final = 5.0
"""A relay must have so many times as many as its siblings' median."""
DRAIN_S: Final = 60.0
"""What waits, and is gone in this time at the rates of now, needs no help: as ``autoscaling.targetDrainTime``."""
SETTLED_S: Final = 30.0
RISE_S: Final = 60.0
"""After the first fall."""
LONGEST_S: Final = 3600.0
"""Between two trials of a relay that is slow for good. A full share for as long ends the row."""


@dataclass(frozen=True, slots=True)
class Share:
    """Percent of its weight that a relay gets since ``since``, and how often that fell in a row."""

    percent: int
    since: datetime
    falls: int

    @property
    def rise_s(self) -> float:
        """For how long it stays before it may rise; a full one: until it is forgotten."""
        return LONGEST_S if self.percent == FULL else min(LONGEST_S, RISE_S * 2.0 ** (self.falls - 1))

    @property
    def finding(self) -> Finding | None:
        """What is told of it."""
        if self.percent == FULL:
            return None
        message = "sends more slowly than mail comes, and its siblings do not: it gets less while that is so"
        return Finding(Reason.FALLS_BEHIND, message, self.percent)


def follow(share: Share | None, load: Load | None, siblings: float | None, now: datetime) -> Share | None:
    """The share of a relay that gets mail; None: all, for long.

    ``siblings`` is the median of the messages that are ready to be sent at each of them; None: nothing is known.
    """
    if load is None or siblings is None:
        return share
    far = load.backlog >= max(LEAST, RATIO * siblings)
    if far and _falls_behind(load):
        return _lower(share, now)
    if share is None or far or now - share.since < timedelta(seconds=share.rise_s):
        return share
    if share.percent == FULL:
        return None
    return Share(next(step for step in STEPS if step > share.percent), now, share.falls)


def _falls_behind(load: Load) -> bool:
    """Whether the relay itself is the limit, and what waits there grows, or shrinks too slowly."""
    shrinking_per_s = load.per_s - load.taken_per_s
    return load.busy and load.limit is Limit.RELAY and load.backlog > DRAIN_S * shrinking_per_s


def _lower(share: Share | None, now: datetime) -> Share | None:
    if share is None:
        return Share(STEPS[-2], now, 1)
    if now - share.since < timedelta(seconds=SETTLED_S):
        return share
    below = [step for step in STEPS if step < share.percent]
    return Share(below[-1], now, share.falls + 1) if below else share
