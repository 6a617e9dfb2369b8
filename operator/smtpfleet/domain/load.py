"""How a relay's queue moves, and what keeps its mail from leaving: the relay itself, or those who are to receive it.

Queues grow for two reasons that call for opposite answers. Both fill the same directories; only the delays of Postfix's
log tell them apart. Mail that waits in the queue manager (``b``) while connecting and transmitting (``c`` and ``d``)
take no time waits for the relay; mail that waits while those take long, or that receivers put off, waits for them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MINUTE_S: Final = 60.0
"""Over this time arrivals are counted."""
LATELY_S: Final = 15.0
"""Over this time the rates are measured at which mail comes and leaves."""
LEAST_S: Final = 4.0
"""A rate that was measured over less says nothing."""
WAIT_S: Final = 1.0
"""Mail that is tried sooner than this does not wait."""
NEAR_S: Final = 0.1
"""A receiver that takes longer for a message makes it wait. Within a cluster or a region it takes some milliseconds."""
PUT_OFF: Final = 10
"""Fewer recipients put off in a minute are no sign of anything: mail to wrong domains is tried again for days."""
STILL: Final = 0.5
"""Receivers that put most off are said to do so until it is less than this part of what made it be said."""
TOLERANCE: Final = 0.1
"""So much of one relay's rate may be missing to a load: as between two sizes of a HorizontalPodAutoscaler."""
STALLED: Final = 0.5
"""If mail leaves at less than this part of the last minute's rate, what was measured in that minute says no more what
mail waits for."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A relay at a time ``at_s``: messages ready to be sent, messages in its queue in all, and those that ever left."""

    at_s: float
    backlog: int
    queued: int
    finished: int


class Limit(StrEnum):
    """What keeps mail from leaving."""

    NOTHING = "Nothing"
    RELAY = "Relay"
    SLOW_RECEIVER = "SlowReceiver"
    REFUSING_RECEIVER = "RefusingReceiver"


@dataclass(frozen=True, slots=True)
class Load:
    """What a relay has to do, and how it does it.

    Attributes:
        backlog: messages ready to be sent: complete ones in ``incoming`` and ``active``.
        taken: messages that arrived within the last ``seconds``, a minute at most.
        seconds: how long it was seen.
        taken_per_s: messages that arrived each second lately.
        per_s: messages that left it each second lately; while there were some to send, if it is ``busy``.
        busy: it had messages to send all the time for which ``per_s`` stands.
        minute_per_s: messages that left it each second over the last minute.
        queued_s: the median time that messages waited in the queue manager, over the last minute.
        receiver_s: the median time that connecting and transmitting took.
        reached: recipients of whom receivers took mail, or refused it for good, in the last minute.
        put_off: recipients that were put off in that time.
        troubles: the reasons for it, the most frequent first.
    """

    backlog: int = 0
    taken: int = 0
    seconds: float = MINUTE_S
    taken_per_s: float = 0.0
    per_s: float = 0.0
    busy: bool = False
    minute_per_s: float = 0.0
    queued_s: float = 0.0
    receiver_s: float = 0.0
    reached: int = 0
    put_off: int = 0
    troubles: tuple[str, ...] = ()

    @property
    def limit(self) -> Limit:
        """What its mail waits for."""
        if refuse([self]):
            return Limit.REFUSING_RECEIVER
        if not self.backlog or self.queued_s < WAIT_S:
            return Limit.NOTHING
        if self.receiver_s > NEAR_S or self.per_s < STALLED * self.minute_per_s:
            return Limit.SLOW_RECEIVER
        return Limit.RELAY

    @property
    def waiting(self) -> int:
        """Messages that wait because the relay itself is the limit."""
        return self.backlog if self.limit is Limit.RELAY else 0


def refuse(loads: Collection[Load], *, before: bool = False) -> bool:
    """Whether receivers put off more than they take from these relays together; ``before``: they were said to."""
    put_off, reached = sum(load.put_off for load in loads), sum(load.reached for load in loads)
    part = STILL if before else 1.0
    return put_off >= part * PUT_OFF and put_off > part * reached


def arriving_per_s(loads: Collection[Load]) -> float:
    """Messages that arrive at these relays together each second, over the last minute; there must be some of them."""
    return sum(load.taken for load in loads) / max(load.seconds for load in loads)


def limited_rate(loads: Collection[Load]) -> float | None:
    """Messages that one relay sends each second at most: the mean of those that are at their limit; None: none is."""
    rates = [load.per_s for load in loads if _at_limit(load)]
    return sum(rates) / len(rates) if rates else None


def slow_ones(loads: Collection[Load]) -> bool:
    """Whether those at their limit are slow themselves, as on a slow disk: they are half of the relays or fewer, and
    another one sends more without being at its limit. So their rate is not what one relay can send.
    """
    rate, limited = limited_rate(loads), sum(map(_at_limit, loads))
    if rate is None or 2 * limited > len(loads):
        return False
    return any(load.per_s > (1 + TOLERANCE) * rate for load in loads if not _at_limit(load))


def _at_limit(load: Load) -> bool:
    return load.busy and load.limit is Limit.RELAY


@dataclass(frozen=True, slots=True)
class Flow:
    """What samples alone tell of a relay; see :class:`Load`."""

    taken: int
    seconds: float
    taken_per_s: float
    per_s: float
    busy: bool


def flow(samples: Sequence[Sample]) -> Flow | None:
    """How mail came and went, by samples of one life of a relay's agent, the oldest first; None: too few of them.

    The last of them is now; those that are older than a minute are left out.
    """
    recent = [sample for sample in samples if samples[-1].at_s - sample.at_s <= MINUTE_S]
    if not recent or recent[-1].at_s - recent[0].at_s < LEAST_S:
        return None
    first, last = recent[0], recent[-1]
    lately = [sample for sample in recent if last.at_s - sample.at_s <= LATELY_S]
    working = _while_working(lately)
    busy = working[-1].at_s - working[0].at_s >= LEAST_S
    recently = lately[0] if last.at_s - lately[0].at_s >= LEAST_S else first
    since = working[0] if busy else recently
    return Flow(
        taken=_taken(first, last),
        seconds=last.at_s - first.at_s,
        taken_per_s=_taken(recently, last) / (last.at_s - recently.at_s),
        per_s=max(0, last.finished - since.finished) / (last.at_s - since.at_s),
        busy=busy,
    )


def _taken(first: Sample, last: Sample) -> int:
    """Messages that arrived between two samples: those that left, and those that are there more."""
    return max(0, last.finished - first.finished + last.queued - first.queued)


def _while_working(samples: Sequence[Sample]) -> Sequence[Sample]:
    """The last of the samples, as far back as there always was something to send."""
    idle = [place for place, sample in enumerate(samples) if not sample.backlog]
    return samples[idle[-1] + 1 :] or samples[-1:] if idle else samples
