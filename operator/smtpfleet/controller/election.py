"""Which of several operators is at work: a Lease, renewed by its holder, taken over when it is not.

Guarantees: two operators never act at the same time (given clocks that run at about the same speed), because
the holder stops acting ``deadline_s`` after the start of its last successful renewal, and others wait
``duration_s`` after the last change that they saw; every call is bounded, a write by what is left until the
deadline when it begins (one that was sent by then may still arrive: decision 9); a holder that stops gives the
Lease back, so its successor does not wait.

A holder whose API server is away stops acting at the deadline and goes on renewing: if nobody took the Lease
meanwhile, it acts again. Only when somebody did is it lost. So an outage of the API server alone does not
restart any operator.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from smtpfleet.cluster.errors import ClusterError, ConflictError, NotFoundError, NotLeadingError
from smtpfleet.cluster.leases import LeaseRecord

logger = logging.getLogger(__name__)


class LeaseLostError(Exception):
    """Another operator holds the Lease: this process must end."""


class Store(Protocol):
    """Where the Lease is kept, with compare-and-set."""

    async def read(self) -> LeaseRecord | None:
        """The record, or None if there is none."""

    async def write(self, record: LeaseRecord) -> LeaseRecord:
        """Store it if its version is still the current one, else ConflictError."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Times of the election, in seconds.

    Attributes:
        duration_s: how long after its last renewal a Lease may be taken over.
        deadline_s: how long after its last renewal the holder still acts.
        retry_s: time between renewals, and between looks of those that wait.
        call_s: the longest that one call may take.
    """

    duration_s: int = 12
    deadline_s: float = 8.0
    retry_s: float = 2.0
    call_s: float = 4.0

    def __post_init__(self) -> None:
        if not self.duration_s > self.deadline_s > 1.2 * self.retry_s > 0:
            raise ValueError("a lease needs duration > deadline > 1.2 * retry > 0")
        if self.deadline_s < self.call_s:
            raise ValueError("a call must end before the deadline")


class Elector:
    """One competitor for the Lease.

    Args:
        store: the Lease.
        identity: unique to this process, also over restarts of its container.
        timing: the times.
        jitter: gives numbers from 0 to 1; they spread the looks of those that wait.
        now: the time of day, for people who read the Lease; nothing is decided by it.
    """

    def __init__(
        self,
        store: Store,
        *,
        identity: str,
        timing: Timing,
        jitter: Callable[[], float],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store, self._identity, self._timing = store, identity, timing
        self._jitter, self._now = jitter, now
        self._held: LeaseRecord | None = None
        self._renewed_at = float("-inf")
        self._tried_at = self._clock()
        self._seen: LeaseRecord | None = None
        self._seen_at = 0.0

    @property
    def leading(self) -> bool:
        """Whether this process may act at this moment."""
        return self._held is not None and self._clock() - self._renewed_at < self._timing.deadline_s

    @property
    def idle_s(self) -> float:
        """How long ago the Lease was looked at or renewed last, successfully or not."""
        return self._clock() - self._tried_at

    def fence(self) -> float:
        """Let a write pass only while this process leads; returns for how many seconds it leads for sure.

        Raises:
            NotLeadingError: it does not.
        """
        if not self.leading:
            raise NotLeadingError("the lease has run out, nothing may be written")
        return self._renewed_at + self._timing.deadline_s - self._clock()

    async def acquire(self) -> None:
        """Wait until this process holds the Lease."""
        while True:
            if await self._try_to_take():
                logger.info("leading", extra={"identity": self._identity})
                return
            await asyncio.sleep(self._timing.retry_s * (1 + self._jitter() / 4))

    async def hold(self) -> None:
        """Renew the Lease for ever.

        Raises:
            LeaseLostError: another process holds it.
        """
        was_leading = True
        while True:
            await asyncio.sleep(self._timing.retry_s)
            await self._renew()
            if self.leading != was_leading:
                was_leading = self.leading
                logger.warning("leading again" if was_leading else "not leading: the lease cannot be renewed")

    async def release(self) -> None:
        """Give the Lease back, if it is ours. A failure is logged: others then wait for its end."""
        held, self._held = self._held, None
        if held is None:
            return
        record = replace(held, holder="", duration_s=1, renewed=self._now())
        try:
            async with asyncio.timeout(self._timing.retry_s):
                await self._store.write(record)
        except (ClusterError, TimeoutError) as error:
            logger.warning("the lease could not be released", extra={"reason": str(error)})
        else:
            logger.info("lease released")

    async def _try_to_take(self) -> bool:
        self._tried_at = self._clock()
        try:
            async with asyncio.timeout(self._timing.call_s):
                seen = await self._store.read()
                if not self._is_free(seen):
                    return False
                started = self._clock()
                self._held = await self._store.write(self._taken(seen))
        except ConflictError:
            return False
        except (ClusterError, TimeoutError) as error:
            logger.warning("the lease cannot be reached", extra={"reason": str(error)})
            return False
        self._renewed_at = started
        return True

    def _is_free(self, seen: LeaseRecord | None) -> bool:
        """Whether it may be taken. Only changes seen by our own clock count, never the times in the record."""
        if seen is None or seen.holder in {"", self._identity}:  # ours if the answer to our write was lost
            return True
        if self._seen is None or self._seen.version != seen.version:
            self._seen, self._seen_at = seen, self._clock()
            return False
        return self._clock() - self._seen_at > seen.duration_s

    def _taken(self, seen: LeaseRecord | None) -> LeaseRecord:
        now = self._now()
        return LeaseRecord(
            holder=self._identity,
            duration_s=self._timing.duration_s,
            acquired=now,
            renewed=now,
            transitions=seen.transitions + 1 if seen else 0,
            version=seen.version if seen else "",
        )

    async def _renew(self) -> None:
        assert self._held is not None
        self._tried_at = started = self._clock()
        try:
            async with asyncio.timeout(self._timing.call_s):
                self._held = await self._store.write(replace(self._held, renewed=self._now()))
        except (ConflictError, NotFoundError):
            await self._look_who_holds()
        except (ClusterError, TimeoutError) as error:
            logger.warning("the lease cannot be renewed", extra={"reason": str(error)})
        else:
            self._renewed_at = started

    async def _look_who_holds(self) -> None:
        """After a refused renewal: our own late write, a deleted Lease, or another holder."""
        assert self._held is not None
        try:
            async with asyncio.timeout(self._timing.call_s):
                seen = await self._store.read()
        except (ClusterError, TimeoutError) as error:
            logger.warning("the lease cannot be read", extra={"reason": str(error)})
            return
        if seen is not None and seen.holder != self._identity:
            self._held = None
            raise LeaseLostError(f"{seen.holder or 'nobody'} holds the lease now")
        self._held = replace(self._held, version=seen.version if seen else "")

    @staticmethod
    def _clock() -> float:
        return asyncio.get_running_loop().time()
