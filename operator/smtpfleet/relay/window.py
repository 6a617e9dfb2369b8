"""What a relay's deliveries came to in the last minute: a ring of slots of a few seconds, in constant memory.

Guarantees: may be told of outcomes in one thread and asked in another; what is older than the window counts no more,
to within one slot; a delay's median is exact to within a fifth, for delays are counted by their order of magnitude.
"""

import math
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from smtpfleet.api.agent_status import (
    Deferral,
    DeferralReason,
    DeferralStage,
    Delays,
    Deliveries,
    ReceiverGroup,
)
from smtpfleet.relay.outcomes import Outcome

SPAN_S: Final = 60.0
_SLOTS: Final = 12
_SLOT_S: Final = SPAN_S / _SLOTS
_LEAST_S: Final = 0.01
"""Postfix writes delays that are shorter as 0 or with one digit; nobody needs to tell them apart."""
_STEPS_PER_DOUBLING: Final = 2
_BUCKETS: Final = 48
"""The last one holds everything above a day."""
_PARTS: Final = 4


@dataclass(slots=True)
class _Slot:
    number: int = -1
    """Which slot since the clock's zero."""
    outcomes: Counter[str] = field(default_factory=Counter)
    finished: int = 0
    delays: tuple[Counter[int], ...] = field(default_factory=lambda: tuple(Counter() for _ in range(_PARTS)))
    deferrals: Counter[tuple[DeferralReason, DeferralStage]] = field(default_factory=Counter)
    tried: Counter[int] = field(default_factory=Counter)
    failed: Counter[int] = field(default_factory=Counter)


class Window:
    """Feed it by :meth:`add` and :meth:`finished`, ask by :meth:`shown`. ``clock``: seconds that only ever grow."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since = self._last = clock()
        self._slots = [_Slot() for _ in range(_SLOTS)]
        self._lock = threading.Lock()
        self._deferrals: Counter[tuple[DeferralReason, DeferralStage]] = Counter()
        """Recipients deferred since the start."""
        self.finished_total = 0
        """Messages that left the queue since the start."""

    def add(self, outcome: Outcome) -> None:
        """One recipient's outcome."""
        with self._lock:
            slot = self._slot()
            self._last = self._clock()
            slot.outcomes[outcome.status] += 1
            if outcome.reason is not None:
                slot.deferrals[outcome.reason, outcome.stage] += 1
                self._deferrals[outcome.reason, outcome.stage] += 1
            if not outcome.tried:
                return
            slot.tried[outcome.receiver] += 1
            slot.failed[outcome.receiver] += outcome.status != "sent"
            for counts, delay_s in zip(slot.delays, outcome.delays_s, strict=True):
                counts[_bucket(delay_s)] += 1

    def finished(self) -> None:
        """A message left the queue: each of its recipients has it, or its sender has been told."""
        with self._lock:
            self._slot().finished += 1
            self.finished_total += 1

    def deferred(self) -> dict[tuple[DeferralReason, DeferralStage], int]:
        """Recipients deferred since the start, by reason and step."""
        with self._lock:
            return dict(self._deferrals)

    def shown(self) -> Deliveries:
        """The figures of the window that ends now."""
        with self._lock:
            now = self._clock()
            newest = int(now // _SLOT_S)
            begin = max(self._since, (newest - _SLOTS + 1) * _SLOT_S)
            seconds = max(now - begin, 0.0)
            slots = [slot for slot in self._slots if slot.number > newest - _SLOTS]
            outcomes = _sum(slot.outcomes for slot in slots)
            deferrals = _sum(slot.deferrals for slot in slots)
            tried, failed = _sum(slot.tried for slot in slots), _sum(slot.failed for slot in slots)
            finished, total = sum(slot.finished for slot in slots), self.finished_total
            medians = [_median_s(_sum(slot.delays[part] for slot in slots)) for part in range(_PARTS)]
        return Deliveries(
            seconds=round(seconds, 1),
            sent=outcomes["sent"],
            deferred=outcomes["deferred"],
            bounced=outcomes["bounced"],
            idle_s=round(now - self._last, 1),
            messages_per_s=round(finished / seconds, 2) if seconds else 0.0,
            finished=total,
            delays=Delays(a=medians[0], b=medians[1], c=medians[2], d=medians[3]),
            deferrals=tuple(
                Deferral(reason=reason, stage=stage, recipients=count)
                for (reason, stage), count in deferrals.most_common()
            ),
            receivers=tuple(
                ReceiverGroup(group=group, tried=count, failed=failed[group])
                for group, count in sorted(tried.items())
            ),
        )

    def _slot(self) -> _Slot:
        number = int(self._clock() // _SLOT_S)
        place = number % _SLOTS
        if self._slots[place].number != number:
            self._slots[place] = _Slot(number)
        return self._slots[place]


def _sum(counters: Iterable[Counter[Any]]) -> Counter[Any]:
    total: Counter[Any] = Counter()
    for counter in counters:
        total.update(counter)
    return total


def _bucket(delay_s: float) -> int:
    if delay_s < _LEAST_S:
        return 0
    return min(1 + int(_STEPS_PER_DOUBLING * math.log2(delay_s / _LEAST_S)), _BUCKETS - 1)


def _median_s(buckets: Counter[int]) -> float:
    """The middle of the bucket in which the median lies; 0 without any delay."""
    total = buckets.total()
    below = 0
    for bucket in sorted(buckets):
        below += buckets[bucket]
        if 2 * below >= total:
            middle_s = _LEAST_S * 2 ** ((bucket - 0.5) / _STEPS_PER_DOUBLING)
            return float(f"{middle_s:.2g}") if bucket else 0.0
    return 0.0
