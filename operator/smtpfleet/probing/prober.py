"""When relays are probed: one task a relay, out of step with each other but for the ticks on which all begin
(:mod:`smtpfleet.probing.ticks`), for as long as the relay is a target.

Guarantees: a relay is probed at least once an interval, and twice as often while a fault of it is not yet certain; a
process that has fallen behind probes those first of which a fault is not yet certain (:mod:`smtpfleet.probing.turns`);
results of an earlier pod of a relay are forgotten; a result that this process's own slowness may have spoilt does not
count; no result and no fault, of a probe or of what is told of it, ends its task.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from smtpfleet.api.names import PoolKey
from smtpfleet.api.probes import ProbeResult
from smtpfleet.probing.canaries import Canaries
from smtpfleet.probing.dialogue import Profile
from smtpfleet.probing.ticks import sleep_until
from smtpfleet.probing.turns import Turns

logger = logging.getLogger(__name__)

KEPT: Final = 11
"""Results kept of a relay: the largest threshold, and one to see that there were more."""
AT_ONCE: Final = 256
"""Probes under way at a time; more of them wait, which only happens when most relays hang."""
BEGINNING: Final = 96
"""Of these, so many that have just begun: five ticks of 1,000 relays. Together they need some 0.2 s of CPU, so even
with a fifth of a core each takes a second. Whatever hangs, so many begin each second.
"""
_SPREAD: Final = 0.1
"""Pauses are shorter by up to this share, so that probes of many relays do not fall into step."""
_TICK_S: Final = 0.25
_USUAL_S: Final = 0.1
"""Timers that are late by less are usual on a busy machine, and spoil nothing."""
STALL_S: Final = 0.5
"""So much later than that may timers be in all while a probe is under way. If they are later, it tells of this process,
not of a relay.
"""


@dataclass(frozen=True, slots=True)
class Target:
    """A relay's pod that is to be probed."""

    relay: str
    pod_uid: str
    address: str


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the relays of a pool are probed: every ``interval_s``, at half of it while fewer than
    ``certain`` probes in a row were bad.
    """

    interval_s: float
    certain: int


@dataclass(frozen=True, slots=True)
class Timed:
    """A result, and by the prober's clock when its probe began and ended."""

    result: ProbeResult
    began: float
    ended: float


Probe = Callable[[Target, Profile, bytes], Awaitable[ProbeResult]]
"""Probes one relay, with a canary or none; :func:`smtpfleet.probing.dialogue.probe` is the one of production."""


@dataclass(slots=True)
class _Watched:
    target: Target
    since: float
    results: deque[Timed] = field(default_factory=lambda: deque(maxlen=KEPT))
    passed: float | None = None
    """When the last probe began that it passed, counted or not."""
    task: asyncio.Task[None] | None = None


@dataclass(slots=True)
class _Pool:
    profile: Profile
    pace: Pace
    relays: dict[str, _Watched] = field(default_factory=dict)


class Prober:
    """All probes of one operator process. :meth:`run` must run beside, and ends all tasks when it ends.

    Args:
        probe: probes one relay.
        canaries: gives the messages that probes hand in, and is told of those that were taken.
        told: is called after each probe that counts (with its result) or does not (None).
        clock: seconds that only ever grow.
        jitter: gives numbers from 0 to 1.
        now: the time of day.
    """

    def __init__(
        self,
        probe: Probe,
        *,
        canaries: Canaries,
        told: Callable[[PoolKey, str, ProbeResult | None], None],
        clock: Callable[[], float],
        jitter: Callable[[], float],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._probe, self._told, self._clock, self._jitter, self._now = probe, told, clock, jitter, now
        self._canaries = canaries
        self._pools: dict[PoolKey, _Pool] = {}
        self._turns, self._slots = Turns(BEGINNING), asyncio.Semaphore(AT_ONCE)
        self._late_s, self._due = 0.0, math.inf

    def follow(self, key: PoolKey, targets: Iterable[Target], profile: Profile, pace: Pace) -> None:
        """Set which relays of a pool are probed, and how."""
        pool = self._pools.setdefault(key, _Pool(profile, pace))
        pool.profile, pool.pace = profile, pace
        wanted = {target.relay: target for target in targets}
        for name, watched in list(pool.relays.items()):
            if wanted.get(name) != watched.target:
                self._drop(pool.relays.pop(name))
        for name, target in wanted.items():
            if name not in pool.relays:
                watched = pool.relays[name] = _Watched(target, since=self._clock())
                watched.task = asyncio.create_task(
                    self._keep_probing(key, pool, watched), name=f"probe {name}"
                )

    def forget(self, key: PoolKey) -> None:
        """The pool is gone."""
        pool = self._pools.pop(key, None)
        for watched in pool.relays.values() if pool else ():
            self._drop(watched)

    def results(self, key: PoolKey, relay: str) -> tuple[Timed, ...]:
        """The last results of a relay's present pod that count, the newest first."""
        watched = self._watched(key, relay)
        return tuple(reversed(watched.results)) if watched else ()

    def silent_s(self, key: PoolKey, relay: str) -> float | None:
        """Seconds since a relay's last result that counts, or since it became a target; None: it is none."""
        watched = self._watched(key, relay)
        if watched is None:
            return None
        last = watched.results[-1].ended if watched.results else watched.since
        return self._clock() - last

    def passed_s(self, key: PoolKey, relay: str) -> float | None:
        """Seconds since the last probe began that a relay's present pod passed: also one that took so long by this
        process's own delay that it does not count.
        """
        watched = self._watched(key, relay)
        return self._clock() - watched.passed if watched and watched.passed is not None else None

    async def run(self) -> None:
        """Notice when this process itself is late, until cancelled."""
        try:
            while True:
                self._due = self._clock() + _TICK_S
                await asyncio.sleep(_TICK_S)
                self._late_s = self._lateness_s()
        finally:
            for key in list(self._pools):
                self.forget(key)

    def _watched(self, key: PoolKey, relay: str) -> _Watched | None:
        pool = self._pools.get(key)
        return pool.relays.get(relay) if pool else None

    def _drop(self, watched: _Watched) -> None:
        if watched.task is not None:
            watched.task.cancel()

    async def _keep_probing(self, key: PoolKey, pool: _Pool, watched: _Watched) -> None:
        await sleep_until(watched.since + self._jitter() * pool.pace.interval_s, self._clock)
        while True:
            began = self._clock()
            try:
                began = await self._probe_once(key, pool, watched)
            except Exception:  # a fault of ours, also of those that are told: it must not end the task
                logger.exception("probing goes on after a fault", extra={"relay": watched.target.relay})
            await sleep_until(began + self._pause_s(pool.pace, watched), self._clock)

    async def _probe_once(self, key: PoolKey, pool: _Pool, watched: _Watched) -> float:
        """Probe when it is the relay's turn, and tell the result; returns when the probe began."""
        async with self._turns.turn(urgent=self._is_uncertain(pool.pace, watched)), self._slots:
            began, late_s = self._clock(), self._lateness_s()
            result = await self._tried(key, watched.target, pool.profile)
            ended = self._clock()
        if result is not None and result.ok:
            watched.passed = began
        late = self._lateness_s() - late_s > STALL_S
        spoilt = result is not None and late and _is_doubtful(result, self._now())
        counts = result is not None and not spoilt
        if counts and result is not None:
            watched.results.append(Timed(result, began, ended))
        self._told(key, watched.target.relay, result if counts else None)
        return began

    async def _tried(self, key: PoolKey, target: Target, profile: Profile) -> ProbeResult | None:
        canary = self._canaries.next(key, target.relay, target.pod_uid)
        try:
            result = await self._probe(target, profile, canary.message if canary else b"")
        except Exception:  # a fault of ours: it is not blamed on the relay
            logger.exception("a probe failed by itself", extra={"relay": target.relay})
            return None
        if canary and result.handed_in:
            self._canaries.sent(key, target.relay, target.pod_uid, canary)
        return result

    def _lateness_s(self) -> float:
        """How late timers of this process were in all until now, more than usual."""
        return self._late_s + max(0.0, self._clock() - self._due - _USUAL_S)

    def _pause_s(self, pace: Pace, watched: _Watched) -> float:
        """From the beginning of one probe to that of the next."""
        interval_s = pace.interval_s / 2 if self._is_uncertain(pace, watched) else pace.interval_s
        return interval_s * (1 - _SPREAD * self._jitter())

    def _is_uncertain(self, pace: Pace, watched: _Watched) -> bool:
        """Whether it may have a fault, and that is to be found out."""
        return 0 < _bad_in_a_row(watched.results, self._now()) < pace.certain


def _is_doubtful(result: ProbeResult, now: datetime) -> bool:
    """Whether what looks bad may only be this process's own delay. What a relay says by itself is not: however late it
    is read, the relay refused, or showed a certificate that has expired.
    """
    return not result.refused and not result.expired(now) and (not result.ok or result.took_s > STALL_S)


def _bad_in_a_row(results: Iterable[Timed], now: datetime) -> int:
    row = 0
    for timed in results:
        row = 0 if timed.result.ok and not timed.result.expired(now) else row + 1
    return row
