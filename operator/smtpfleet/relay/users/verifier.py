"""Tries passwords against hashes, in threads: bounded in number, in priority, and in what failures may cost.

Guarantees: the event loop never waits for a hash; a password that was right once is known again at once, by a keyed
digest that is in memory only and dies with the entry it was right for; wrong passwords get no more than a share of
one core (:class:`Budget`), and who would wait longer than Postfix does is told to come back.
"""

import asyncio
import hashlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from smtpfleet.relay.users.entry import User
from smtpfleet.relay.users.hashes import Hash, verify

AT_ONCE: Final = 2
NICENESS: Final = 10
"""Of the threads: mail under way goes first."""
SHARE: Final = 0.2
"""Of one core, for wrong passwords in the long run."""
BURST_S: Final = 2.0
MOST_WAITING: Final = 64
PATIENCE_S: Final = 6.0
"""smtpd gives up after 10 s (AUTH_TIMEOUT in xsasl_dovecot_server.c)."""


class BusyError(Exception):
    """Too many passwords are being tried; nothing is known about this one."""


class Budget:
    """Seconds of a processor that failures may still use: pure."""

    def __init__(self, *, share: float = SHARE, burst_s: float = BURST_S) -> None:
        self._share, self._burst_s = share, burst_s
        self._left_s, self._since_s = burst_s, 0.0

    def spend(self, cost_s: float, now_s: float) -> None:
        """A wrong password has cost so much."""
        self._left_s = self._left(now_s) - cost_s
        self._since_s = now_s

    def wait_s(self, now_s: float) -> float:
        """How long until there is something to spend again."""
        return max(0.0, -self._left(now_s) / self._share)

    def _left(self, now_s: float) -> float:
        return min(self._burst_s, self._left_s + (now_s - self._since_s) * self._share)


class Verifier:
    """Use :meth:`check`.

    Args:
        clock: seconds that only ever grow.
        trial: whether a password fits a hash; blocks.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        trial: Callable[[Hash, str], bool] = verify,
    ) -> None:
        self._clock, self._trial = clock, trial
        self._key = secrets.token_bytes(32)
        self._right: dict[User, bytes] = {}
        self._budget = Budget()
        self._places = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._threads = ThreadPoolExecutor(AT_ONCE, "passwords", initializer=_be_nice)

    async def check(self, user: User, password: str) -> bool:
        """Whether it is the user's password.

        Raises:
            BusyError: it was not tried.
        """
        digest = self.digest(user.name, password)
        if self._right.get(user) == digest:
            return True
        right = await self.spend(user.hash, password)
        if right:
            self._right[user] = digest
        return right

    async def spend(self, tried: Hash, password: str) -> bool:
        """Try a password without remembering anything.

        Raises:
            BusyError: it was not tried.
        """
        if self._waiting >= MOST_WAITING:
            raise BusyError
        self._waiting += 1
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._places.acquire()
                try:
                    await asyncio.sleep(self._budget.wait_s(self._clock()))
                except BaseException:
                    self._places.release()
                    raise
        except TimeoutError:
            raise BusyError from None
        finally:
            self._waiting -= 1
        try:
            right, cost_s = await asyncio.get_running_loop().run_in_executor(
                self._threads, self._timed, tried, password
            )
        finally:
            self._places.release()
        if not right:
            self._budget.spend(cost_s, self._clock())
        return right

    def keep(self, users: Collection[User]) -> None:
        """Forget what was known of everybody else."""
        self._right = {user: digest for user, digest in self._right.items() if user in users}

    def digest(self, name: str, password: str) -> bytes:
        """What a name and its password are told apart by, in this process only."""
        told = f"{len(name)} {name}{password}".encode()
        return hashlib.blake2b(told, key=self._key, digest_size=16).digest()

    def close(self) -> None:
        """Begin no further trial."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _timed(self, tried: Hash, password: str) -> tuple[bool, float]:
        began_s = time.thread_time()
        right = self._trial(tried, password)
        return right, time.thread_time() - began_s


def _be_nice() -> None:
    """Linux has a priority for each thread (setpriority(2)); a lower one needs no right."""
    thread = threading.get_native_id()
    os.setpriority(os.PRIO_PROCESS, thread, max(NICENESS, os.getpriority(os.PRIO_PROCESS, thread)))
