"""Whether deliveries fail more often at one relay than at its siblings, beyond chance. Pure.

Relays need not have the same receivers: with balancing by client address, one of them may have all the mail to a
receiver that is down. So attempts are compared within groups of receivers only (the same domain is in the same group at
each relay), and the groups are put together as Cochran, Mantel and Haenszel do: the failures that a relay has, against
those that it would have if, in each group, they were spread over the attempts by chance; in standard deviations.

Attempts are not independent of each other (one message may have fifty recipients at one receiver), so far more
deviations are asked for than the 2.6 that make one false alarm in 200 with independent ones.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from smtpfleet.api.agent_status import ReceiverGroup


@dataclass(frozen=True, slots=True)
class Tally:
    """Attempts to deliver, and those of them that failed, by group of receivers."""

    tried: Mapping[int, int]
    failed: Mapping[int, int]

    @classmethod
    def of(cls, groups: Iterable[ReceiverGroup]) -> Self:
        """From what an agent tells; numbers that contradict each other are bounded."""
        known = list(groups)
        return cls(
            {each.group: max(0, each.tried) for each in known},
            {each.group: min(max(0, each.failed), max(0, each.tried)) for each in known},
        )

    def without(self, part: "Tally") -> "Tally":
        """What is left when a part of it is taken away."""
        return Tally(
            {group: count - part.tried.get(group, 0) for group, count in self.tried.items()},
            {group: count - part.failed.get(group, 0) for group, count in self.failed.items()},
        )

    @property
    def share(self) -> float:
        """Of all attempts, the share that failed; 0 without any."""
        tried = sum(self.tried.values())
        return sum(self.failed.values()) / tried if tried else 0.0


def together(tallies: Iterable[Tally]) -> Tally:
    """The sum."""
    tried: Counter[int] = Counter()
    failed: Counter[int] = Counter()
    for tally in tallies:
        tried.update(tally.tried)
        failed.update(tally.failed)
    return Tally(tried, failed)


@dataclass(frozen=True, slots=True)
class Difference:
    """Between a relay and its siblings, over the groups of receivers that both had attempts at.

    Attributes:
        tried: the relay's attempts in these groups.
        failed: those that failed.
        siblings_tried: the siblings' attempts in them.
        expected_share: of its attempts, the share that would fail if each group failed as it does for the siblings.
        deviations: standard deviations by which it has more failures than by chance.
    """

    tried: int
    failed: int
    siblings_tried: int
    expected_share: float
    deviations: float

    @property
    def share(self) -> float:
        """Of its attempts, the share that failed."""
        return self.failed / self.tried

    @property
    def excess(self) -> float:
        """By how much this share is greater than that of its siblings."""
        return self.share - self.expected_share


def difference(own: Tally, others: Tally) -> Difference | None:
    """Compare a relay with its siblings; None if they have no receivers in common."""
    common = [group for group, tried in own.tried.items() if tried > 0 and others.tried.get(group, 0) > 0]
    if not common:
        return None
    surplus = variance = expected = 0.0
    for group in common:
        tried, failed = own.tried[group], own.failed.get(group, 0)
        others_tried, others_failed = others.tried[group], others.failed.get(group, 0)
        all_tried, all_failed = tried + others_tried, failed + others_failed
        surplus += failed - tried * all_failed / all_tried
        variance += (
            tried * others_tried * all_failed * (all_tried - all_failed) / (all_tried**2 * (all_tried - 1))
        )
        expected += tried * others_failed / others_tried
    tried = sum(own.tried[group] for group in common)
    # Half an attempt less: counts are whole, the normal distribution is not.
    beyond = math.copysign(max(0.0, abs(surplus) - 0.5), surplus)
    return Difference(
        tried=tried,
        failed=sum(own.failed.get(group, 0) for group in common),
        siblings_tried=sum(others.tried[group] for group in common),
        expected_share=expected / tried,
        deviations=beyond / math.sqrt(variance) if variance > 0 else 0.0,
    )
