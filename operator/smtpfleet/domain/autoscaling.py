"""How many relays a pool is to have by what its queues say. Pure: the same facts and memory give the same size.

The algorithm, once a cycle:

1. **What is needed.** Where relays are themselves what mail waits for, the *least* number of relays is the larger of
   two: what arrives each second, and what waits spread over ``targetDrainTime`` (but no more of it than may come
   again), divided by what one relay sends each second; and those that are there, with as many more as send what arrives
   beyond what these have time for. Mail that waits for slow or refusing receivers counts for nothing. What arrives,
   divided by the same rate, and one relay more so that one may fail, is the *most*: more are not needed.
2. **Windows.** The size grows only to the smallest *least* of the window of ``scaleUp``, and shrinks only to the
   largest *most* of that of ``scaleDown``. Between the two it stays, and as long as its size may be what the same load
   asked for when it read a tenth higher, so a steady load never moves it.
3. **Steps.** ``maxStep`` relays a ``period``; and between the bounds.

Guarantees: the size is within the bounds; without facts it stays; it does not shrink while facts of a relay are
missing, while ready mail waits for receivers, or while a relay is leaving. What has to be remembered is small and
changes seldom, for it stands in the status: so another operator goes on where this one stopped.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from smtpfleet.api.autoscaling import Autoscaling
from smtpfleet.api.reasons import Reason
from smtpfleet.api.values import duration_seconds
from smtpfleet.domain.figures import two_digits
from smtpfleet.domain.load import (
    MINUTE_S,
    PUT_OFF,
    TOLERANCE,
    Limit,
    Load,
    arriving_per_s,
    limited_rate,
    refuse,
    slow_ones,
)
from smtpfleet.domain.scaling_memory import Memory

SPARE_FROM: Final = 0.5
"""From this part of one relay's rate on, the load needs a relay that may fail; below, ``minReplicas`` says what is
to be there."""
NOISE: Final = 0.1
"""A steady load reads up to so much of itself higher or lower: as the tolerance of a HorizontalPodAutoscaler."""
STEADY: Final = 0.2
"""A rate that is measured anew within this part of the one remembered is the same, unless a relay at its limit shows
that it can do more."""
MEASURED_FOR_S: Final = 86400.0
"""How long a measured rate is believed: longer than from one day's peak to the next is not needed."""
LOOK_S: Final = 5.0
"""What only waits for time, or for facts, is looked at again after this time."""
FADING_S: Final = 15.0
"""So is a pool that may shrink once the last minute's mail is forgotten: while none comes, nothing else causes it."""
_WAITING: Final = frozenset({Reason.STABILIZING, Reason.STEP_LIMITED})
_CHANGING: Final = frozenset({Reason.QUEUE_UNKNOWN, Reason.RELAYS_ARE_THE_LIMIT, Reason.RECEIVER_REFUSES})
_REMEASURED_S: Final = 3600.0
"""A rate that is still the same is noted so often, so that an overload that lasts is not written all the time."""


@dataclass(frozen=True, slots=True)
class Pace:
    """``scaleUp`` or ``scaleDown`` in seconds."""

    window_s: float
    max_step: int
    period_s: float


@dataclass(frozen=True, slots=True)
class Rules:
    """``spec.autoscaling`` in numbers."""

    least: int
    most: int
    drain_s: float
    up: Pace
    down: Pace

    @classmethod
    def of(cls, spec: Autoscaling) -> "Rules":
        """The rules of a spec."""
        up, down = spec.scale_up, spec.scale_down
        return cls(
            least=spec.min_replicas,
            most=spec.max_replicas,
            drain_s=duration_seconds(spec.target_drain_time),
            up=Pace(duration_seconds(up.stabilization_window), up.max_step, duration_seconds(up.period)),
            down=Pace(
                duration_seconds(down.stabilization_window), down.max_step, duration_seconds(down.period)
            ),
        )

    def bounded(self, size: int) -> int:
        """The nearest size within the bounds."""
        return min(max(size, self.least), self.most)


@dataclass(frozen=True, slots=True)
class Sight:
    """What is seen of a pool.

    Attributes:
        size: relays that were aimed at until now.
        loads: of the relays that take mail, by name.
        ejected: of those that are ejected. What comes to them comes to the others next; what keeps mail in them, such
            as an address that receivers block, is no sign of the pool.
        silent: relays that should say how they are, and do not.
        partial: something is missing to the picture of those that take mail.
        out: relays that are ejected, or drained by hand, so that the load needs others in their places.
        leaving: a relay is on its way out.
        refused: receivers were said to put most mail off when this was looked at last.
    """

    size: int
    loads: Mapping[str, Load] = field(default_factory=dict)
    ejected: Mapping[str, Load] = field(default_factory=dict)
    silent: tuple[str, ...] = ()
    partial: bool = False
    out: int = 0
    leaving: bool = False
    refused: bool = False

    @property
    def arrivals(self) -> Collection[Load]:
        """Where mail arrived that the pool has to carry."""
        return [*self.loads.values(), *self.ejected.values()]


@dataclass(frozen=True, slots=True)
class Advice:
    """What the load asks for: at least so many relays, and no more than so many; and why."""

    least: int
    most: int
    why: Reason
    troubles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sizing:
    """How many relays there are to be, and what to remember.

    ``why`` is what the queues say; ``bound`` what keeps the size from following it, None: nothing does. ``troubles``
    are names for it: why receivers put mail off, the most frequent reason first, or relays that are silent. ``fading``:
    by time alone fewer relays may be needed.
    """

    size: int
    memory: Memory
    why: Reason
    bound: Reason | None = None
    troubles: tuple[str, ...] = ()
    fading: bool = False

    @property
    def again_s(self) -> float | None:
        """When to look again, as time alone may change something; None: not for its sake."""
        if self.bound in _WAITING or self.why in _CHANGING:
            return LOOK_S
        return FADING_S if self.fading else None


def sizing(rules: Rules, memory: Memory, sight: Sight, now: datetime) -> Sizing:
    """Decide the size of a pool."""
    size = rules.bounded(sight.size)
    if not sight.loads:
        return Sizing(size, memory, Reason.QUEUE_UNKNOWN, troubles=sight.silent)
    memory = _measured(memory, sight, now)
    advice = _advice(rules, memory.rate, sight, size)
    up, down = rules.up.window_s, rules.down.window_s
    least, most = rules.bounded(advice.least), rules.bounded(advice.most)
    memory = replace(
        memory,
        up=memory.up.advise(least, window_s=up, staying=min, size=size, now=now),
        down=memory.down.advise(most, window_s=down, staying=max, size=size, now=now),
    )
    if advice.least > size:
        return _up(rules, memory, size, advice, now)
    decided = _down(rules, memory, size, advice, now, leaving=sight.leaving)
    fading = decided.size > rules.least and any(load.taken for load in sight.arrivals)
    return replace(decided, fading=fading)


def _measured(memory: Memory, sight: Sight, now: datetime) -> Memory:
    """Remember what one relay sends at most, if that shows now. It does not where only relays that are slow themselves
    are at their limit: those get less of what arrives (:mod:`smtpfleet.domain.share`).
    """
    if memory.measured and (now - memory.measured).total_seconds() > MEASURED_FOR_S:
        memory = replace(memory, rate=0, measured=None)
    loads = sight.loads.values()
    limited = None if slow_ones(loads) else limited_rate(loads)
    fastest = max(load.per_s for load in loads)
    if limited is not None:
        # Much holds a relay back, such as a receiver that was slow a moment ago; nothing makes it faster than it is.
        rate, more = two_digits(max(1, round(limited))), NOISE
    elif memory.rate and fastest > memory.rate:
        rate, more = two_digits(round(fastest)), STEADY
    else:
        return memory
    if not -STEADY * memory.rate <= rate - memory.rate <= more * memory.rate:
        return replace(memory, rate=rate, measured=now)
    age_s = (now - memory.measured).total_seconds() if memory.measured else math.inf
    return replace(memory, measured=now) if age_s > _REMEASURED_S else memory


def _advice(rules: Rules, rate: int, sight: Sight, size: int) -> Advice:
    loads = sight.loads.values()
    limits = {load.limit for load in loads}
    waiting = any(load.waiting for load in loads)
    least = _needed(rules, rate, sight) + sight.out if waiting and rate else 0
    refused = refuse(loads, before=sight.refused)
    held = Limit.SLOW_RECEIVER in limits or (refused and sum(load.backlog for load in loads) >= PUT_OFF)
    stays = sight.partial or held or (waiting and not rate)
    most = max(least, size if stays else 0, _carrying(rate, sight.arrivals, size - sight.out) + sight.out)
    why, troubles = _why(limits, sight, refused=refused, fewer=rules.bounded(most) < size)
    return Advice(least, most, why, troubles)


def _needed(rules: Rules, rate: int, sight: Sight) -> int:
    """Relays that send what arrives lately, and what waits in the time for it.

    A relay that is added takes none of the mail that waits in others, only a part of what arrives. So of what waits no
    more counts than may come again: what arrived in that time, or in a minute. And a relay that has more than it sends
    in that time, as after an outage, is left to it: others are to carry what arrives.
    """
    loads, taken_per_s = sight.loads.values(), sum(load.taken_per_s for load in sight.arrivals)
    arrived = sum(load.taken for load in sight.arrivals) * max(1.0, rules.drain_s / MINUTE_S)
    again = taken_per_s + min(sum(load.waiting for load in loads), arrived) / rules.drain_s
    free_per_s = sum(max(0.0, rate - load.waiting / rules.drain_s) for load in loads)
    return max(math.ceil(again / rate), len(loads) + math.ceil((taken_per_s - free_per_s) / rate))


def _carrying(rate: int, loads: Collection[Load], size: int) -> int:
    """Relays that carry what arrived in the last minute, also if one of them fails; 0 while it is not known what one
    carries.

    Not fewer than ``size`` while a steady load may have asked for those, reading high then and low now.
    """
    if not rate:
        return 0
    load = arriving_per_s(loads) / rate
    with_spare = max(0, math.ceil(load - TOLERANCE)) + (load >= SPARE_FROM)
    asked = math.ceil(load * (1 + NOISE) / (1 - NOISE))
    return max(with_spare, min(asked, size))


def _why(limits: set[Limit], sight: Sight, *, refused: bool, fewer: bool) -> tuple[Reason, tuple[str, ...]]:
    if Limit.RELAY in limits:
        return Reason.RELAYS_ARE_THE_LIMIT, ()
    if refused:
        most_first = sorted(sight.loads.values(), key=lambda load: -load.put_off)
        return Reason.RECEIVER_REFUSES, tuple(
            dict.fromkeys(word for load in most_first for word in load.troubles)
        )
    if Limit.SLOW_RECEIVER in limits:
        return Reason.RECEIVER_SLOW, ()
    return (Reason.FEWER_RELAYS_NEEDED if fewer else Reason.LOAD_CARRIED), ()


def _up(rules: Rules, memory: Memory, size: int, advice: Advice, now: datetime) -> Sizing:
    pace, asked = rules.up, rules.bounded(advice.least)
    goal = memory.up.stabilized(asked, window_s=pace.window_s, staying=min, now=now)
    allowed = size + max(0, pace.max_step - memory.up.changed_within(pace.period_s, now))
    to = max(size, min(goal, allowed))
    bound: Reason | None = None
    if goal > to:
        bound = Reason.STEP_LIMITED
    elif asked > to:
        bound = Reason.STABILIZING
    elif advice.least > asked:
        bound = Reason.MAX_REPLICAS_REACHED
    if to > size:
        memory = replace(memory, up=memory.up.change(to - size, pace.period_s, now))
    return Sizing(to, memory, advice.why, bound, advice.troubles)


def _down(rules: Rules, memory: Memory, size: int, advice: Advice, now: datetime, *, leaving: bool) -> Sizing:
    pace, asked = rules.down, rules.bounded(advice.most)
    goal = memory.down.stabilized(asked, window_s=pace.window_s, staying=max, now=now)
    allowed = size - max(0, pace.max_step - memory.down.changed_within(pace.period_s, now))
    to = size if leaving else min(size, max(goal, allowed))
    bound: Reason | None = None
    if advice.why in {Reason.RECEIVER_SLOW, Reason.RECEIVER_REFUSES}:
        bound = advice.why
    elif goal < to:
        bound = Reason.STEP_LIMITED
    elif asked < to:
        bound = Reason.STABILIZING
    if to < size:
        memory = replace(memory, down=memory.down.change(size - to, pace.period_s, now))
    return Sizing(to, memory, advice.why, bound, advice.troubles)
