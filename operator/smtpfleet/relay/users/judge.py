"""Whether somebody may come in: book, throttle and verifier put together.

Guarantees: a name that nobody has costs the same work and time as a wrong password; the same attempt many times at
once (a program that opens fifty connections) is one attempt; whoever is put off learns nothing about the password.
"""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Final

from smtpfleet.relay.users.book import Accounts, UnavailableError
from smtpfleet.relay.users.mechanisms import Password, Proof
from smtpfleet.relay.users.throttle import Throttle
from smtpfleet.relay.users.verifier import BusyError, Verifier

FAILURE_S: Final = 1.0
"""A failure is told after this time at the earliest: guessing in one session is slow, and no trial's time shows."""
REMEMBERED: Final = 2048
"""Wrong passwords that are known again. A program with an old password tries the same one for ever: that is no
guessing, costs no work, and shuts nobody else out who shares its address."""
MOST_HELD: Final = 50
"""Sessions that may be kept waiting at a time. Each holds one of the smtpd processes that others need."""


class Verdict(StrEnum):
    """What the client is told: 235, 535, or 454."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    DEFERRED = "deferred"


class Judge:
    """Use :meth:`password` and :meth:`proof`.

    Args:
        clock: seconds that only ever grow.
        pause: sleeps.
        exempt: whether nobody can guess the password of this name, so that its attempts are not slowed down.
        unseen: whether its attempts are not counted.
    """

    def __init__(
        self,
        book: Accounts,
        verifier: Verifier,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        exempt: Callable[[str], bool] = lambda _: False,
        unseen: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self.counts: Counter[str] = Counter()
        """Attempts by verdict."""
        self._book, self._verifier, self._clock, self._pause = book, verifier, clock, pause
        self._exempt, self._unseen = exempt, unseen
        self._throttle = Throttle()
        self._wrong: OrderedDict[bytes, None] = OrderedDict()
        self._generation = 0
        self._under_way: dict[tuple[str, bytes], asyncio.Future[Verdict]] = {}
        self._held = 0

    def forget(self) -> None:
        """The users have changed: what was wrong may be right."""
        self._wrong.clear()
        self._generation += 1

    def only_guesses(self, address: str) -> bool:
        """Whether nothing but failed log-ins comes from an address."""
        return self._throttle.only_guesses(address, self._clock())

    async def password(self, claim: Password, address: str) -> Verdict:
        """Judge a name and a password from a client's address."""
        digest = self._verifier.digest(claim.name, claim.password)
        if digest in self._wrong:
            held = await self._hold(FAILURE_S)
            return self._counted(claim.name, Verdict.REJECTED if held else Verdict.DEFERRED)
        same, generation = (address, digest), self._generation
        running = self._under_way.get(same)
        if running is None:
            running = asyncio.ensure_future(self._judged(claim.name, address, lambda: self._is_right(claim)))
            self._under_way[same] = running
            running.add_done_callback(lambda _: self._under_way.pop(same, None))
        verdict = await asyncio.shield(running)
        if verdict is Verdict.REJECTED and generation == self._generation:
            self._remember(digest)
        return self._counted(claim.name, verdict)

    async def proof(self, claim: Proof, address: str) -> Verdict:
        """Judge a proof of SCRAM, which cost no work worth counting."""

        async def is_right() -> bool:
            return claim.signature is not None and self._book.find(claim.name) is not None

        return self._counted(claim.name, await self._judged(claim.name, address, is_right))

    def _remember(self, digest: bytes) -> None:
        self._wrong[digest] = None
        while len(self._wrong) > REMEMBERED:
            self._wrong.popitem(last=False)

    def _counted(self, name: str, verdict: Verdict) -> Verdict:
        if not self._unseen(name):
            self.counts[verdict] += 1
        return verdict

    async def _judged(self, name: str, address: str, is_right: Callable[[], Awaitable[bool]]) -> Verdict:
        if self._exempt(name):
            return await self._not_counted(is_right)
        began_s = self._clock()
        delay_s = self._throttle.admit(address, name, began_s)
        if delay_s is None:
            return Verdict.DEFERRED
        right: bool | None = None
        try:
            if await self._hold(delay_s):
                right = await is_right()
        except (UnavailableError, BusyError):
            right = None
        finally:
            if right is None:
                self._throttle.abandoned(address, name)
        if right is None:
            return Verdict.DEFERRED
        if right:
            self._throttle.succeeded(address, name)
            return Verdict.ACCEPTED
        self._throttle.failed(address, name, self._clock())
        held = await self._hold(began_s + delay_s + FAILURE_S - self._clock())
        return Verdict.REJECTED if held else Verdict.DEFERRED

    async def _not_counted(self, is_right: Callable[[], Awaitable[bool]]) -> Verdict:
        """Whatever others do behind the same address or under this name changes nothing."""
        try:
            if await is_right():
                return Verdict.ACCEPTED
        except (UnavailableError, BusyError):
            return Verdict.DEFERRED
        return Verdict.REJECTED if await self._hold(FAILURE_S) else Verdict.DEFERRED

    async def _is_right(self, claim: Password) -> bool:
        user = self._book.find(claim.name)
        if user is not None:
            return await self._verifier.check(user, claim.password)
        await self._verifier.spend(self._book.decoy(claim.name), claim.password)
        return False

    async def _hold(self, seconds: float) -> bool:
        """Let the client wait; False: too many wait already."""
        if seconds <= 0:
            return True
        if self._held >= MOST_HELD:
            return False
        self._held += 1
        try:
            await self._pause(seconds)
        finally:
            self._held -= 1
        return True
