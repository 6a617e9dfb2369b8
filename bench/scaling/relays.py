"""A pool in steps of one second: relays with a queue each, behind a balancer, in front of one receiver.

The model, simple on purpose:

- A relay makes ``RATE`` delivery attempts a second at most, in the order in which messages became ready. That is all of
  its CPU, so its CPU in use is the part of these attempts that it makes.
- The pool may hold ``CONNECTIONS`` connections to the receiver, divided among its relays (also those that leave); each
  carries one message in the receiver's latency. So a slow receiver takes a number of messages a second that no relay
  more can raise.
- A receiver that is out answers every attempt with 451 at once: the message is tried again as Postfix does it, after
  its age, but at least ``BACKOFF_S[0]`` and at most ``BACKOFF_S[1]`` seconds.
- A new relay takes mail ``START_S`` after it was asked for, and for ``SLOW_START_S`` only a part of what others get.
- A relay that is to go takes no mail; it sends what it has ready, hands what waits for a retry to the others, at
  ``HAND_OFF`` messages a second, and goes once it is empty. It counts until then.
- Mail that stands in a queue does not move to a relay that is added. But whoever sizes the pool may give a relay less
  of what arrives.
"""

import heapq
import math
import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

RATE: Final = 100.0
CONNECTIONS: Final = 20
BACKOFF_S: Final = (60.0, 4000.0)
START_S: Final = 10
SLOW_START_S: Final = 30
HAND_OFF: Final = 200
LEAST_LEAVING_S: Final = 5
_STEPS: Final = (0.25, 0.5, 0.75)
_MINUTE_S: Final = 60


@dataclass(slots=True)
class Batch:
    """Messages that arrived in one second and share their fate. ``ready_at``: when they could be tried, last."""

    count: int
    arrived_at: int
    ready_at: int


@dataclass(frozen=True, slots=True)
class Receiver:
    """How the receiver is for a second."""

    latency_s: float = 0.01
    out: bool = False


@dataclass(frozen=True, slots=True)
class Attempted:
    """Attempts of one second that waited equally long: ``queued_s`` until tried, ``receiver_s`` with the receiver."""

    at: int
    count: int
    queued_s: float
    receiver_s: float
    put_off: bool


@dataclass
class Relay:
    """One relay. ``born`` is when it was asked for, ``share`` the most of its weight that it gets."""

    name: str
    born: int
    ready: deque[Batch] = field(default_factory=deque)
    waiting: list[tuple[int, int, Batch]] = field(default_factory=list)
    left_at: int | None = None
    finished: int = 0
    backlog: int = 0
    deferred: int = 0
    recent: deque[Attempted] = field(default_factory=deque)
    used: deque[float] = field(default_factory=lambda: deque(maxlen=30))
    share: float = 1.0
    _budget: float = 0.0

    def weight(self, now: int) -> float:
        """Its part of new mail, in comparison with others."""
        age = now - self.born - START_S
        if age < 0 or self.left_at is not None:
            return 0.0
        started = _STEPS[int(age / SLOW_START_S * len(_STEPS))] if age < SLOW_START_S else 1.0
        return min(started, self.share)

    def serves(self, now: int) -> bool:
        """Whether it takes mail."""
        return self.weight(now) > 0

    def take(self, batch: Batch) -> None:
        """Mail arrives, or becomes ready again."""
        if batch.count:
            self.ready.append(batch)
            self.backlog += batch.count

    def work(self, now: int, receiver: Receiver, connections: float) -> Iterator[tuple[int, float]]:
        """One second of attempts; gives what was delivered: number of messages and seconds since they arrived."""
        while self.waiting and self.waiting[0][0] <= now:
            batch = heapq.heappop(self.waiting)[2]
            self.deferred -= batch.count
            self.take(Batch(batch.count, batch.arrived_at, now))
        took_s = 0.0 if receiver.out else receiver.latency_s
        rate = min(RATE, connections / took_s) if took_s else RATE
        self._budget = min(self._budget + rate, max(1.0, rate))
        done = 0
        while self.ready and self._budget >= 1:
            batch = self.ready[0]
            count = min(batch.count, int(self._budget))
            batch.count -= count
            if not batch.count:
                self.ready.popleft()
            self._budget -= count
            self.backlog -= count
            done += count
            self.recent.append(Attempted(now, count, now - batch.ready_at, took_s, receiver.out))
            if receiver.out:
                self._put_off(Batch(count, batch.arrived_at, now), now)
            else:
                self.finished += count
                yield count, now - batch.arrived_at + took_s
        self.used.append(done / RATE)
        while self.recent and self.recent[0].at <= now - _MINUTE_S:
            self.recent.popleft()

    def _put_off(self, batch: Batch, now: int) -> None:
        least_s, most_s = BACKOFF_S
        wait_s = min(max(now - batch.arrived_at, least_s), most_s)
        heapq.heappush(self.waiting, (now + math.ceil(wait_s), id(batch), batch))
        self.deferred += batch.count

    def give(self, most: int) -> Iterator[Batch]:
        """Hand over so many messages that wait for a retry."""
        while self.waiting and most > 0:
            due, key, batch = self.waiting[0]
            count = min(batch.count, most)
            most -= count
            self.deferred -= count
            if count == batch.count:
                heapq.heappop(self.waiting)
            else:
                self.waiting[0] = (due, key, Batch(batch.count - count, batch.arrived_at, batch.ready_at))
            yield Batch(count, batch.arrived_at, batch.ready_at)


class Fleet:
    """The relays of a pool. ``minutes`` counts relays over time, ``delays`` messages by their seconds on the way."""

    def __init__(self, size: int, seed: int) -> None:
        self._random = random.Random(seed)
        self._made = 0
        self.relays: list[Relay] = []
        self.now = 0
        self.minutes = 0.0
        self.most_backlog = 0
        self.delays: list[tuple[float, int]] = []
        self.resize(size)
        for relay in self.relays:
            relay.born = -START_S - SLOW_START_S

    @property
    def staying(self) -> list[Relay]:
        """Relays that are not on their way out."""
        return [relay for relay in self.relays if relay.left_at is None]

    def resize(self, size: int) -> None:
        """Ask for relays, or choose those with the shortest queue to go."""
        staying = self.staying
        for _ in range(size - len(staying)):
            self.relays.append(Relay(f"relay-{self._made}", self.now))
            self._made += 1
        by_queue = sorted(staying, key=lambda relay: (relay.backlog + relay.deferred, -relay.born))
        for relay in by_queue[: max(0, len(staying) - size)]:
            relay.left_at = self.now

    def second(self, arriving: int, receiver: Receiver) -> None:
        """Let a second pass."""
        self._spread(arriving)
        connections = CONNECTIONS / len(self.relays)
        for relay in self.relays:
            self.delays += [
                (delay_s, count) for count, delay_s in relay.work(self.now, receiver, connections)
            ]
        self._leave()
        self.minutes += len(self.relays) / 60
        self.most_backlog = max(
            self.most_backlog, sum(relay.backlog + relay.deferred for relay in self.relays)
        )
        self.now += 1

    def _spread(self, arriving: int) -> None:
        serving = [relay for relay in self.relays if relay.serves(self.now)]
        weights = [relay.weight(self.now) for relay in serving]
        left, rest = arriving, sum(weights)
        for relay, weight in zip(serving, weights, strict=True):
            part = round(left * weight / rest)
            relay.take(Batch(part, self.now, self.now))
            left, rest = left - part, rest - weight

    def _leave(self) -> None:
        for relay in [relay for relay in self.relays if relay.left_at is not None]:
            for batch in relay.give(HAND_OFF):
                self._random.choice(self.staying).take(Batch(batch.count, batch.arrived_at, self.now))
            assert relay.left_at is not None
            empty = not relay.backlog and not relay.deferred
            if empty and self.now - relay.left_at >= LEAST_LEAVING_S:
                self.relays.remove(relay)


def percentile(values_s: Sequence[tuple[float, int]], part: float) -> float:
    """The time that so large a part of all messages does not exceed, by times and their numbers of messages."""
    wanted, seen = part * sum(count for _, count in values_s), 0
    for value_s, count in sorted(values_s):
        seen += count
        if seen >= wanted:
            return value_s
    return 0.0
