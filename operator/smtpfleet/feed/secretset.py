"""Follows the Secrets that routing tables name, as the names come and go.

Guarantees: what is named is followed, what is no longer named is forgotten, copy included; the rest goes on
undisturbed when the names change.
"""

import asyncio
import random
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from smtpfleet.feed.secrets import Seal, SecretFollower, SecretSource


class SecretSet:
    """The Secrets of one pool. :meth:`run` does the work, in a task of its own.

    Args:
        namespace: of all of them.
        api: the API server; None: nothing but the copies is known.
        changed: called after each change of any content.
        copies: directory in memory for copies (made with mode 0700); None: no copies are kept.
        jitter: gives a factor from 0 to 1 that spreads the retries of many agents.
        seal: what the content of a Secret of this name goes through before it is kept; None: it is kept as it is.
    """

    def __init__(
        self,
        *,
        namespace: str,
        api: SecretSource | None,
        changed: Callable[[], None],
        copies: Path | None = None,
        jitter: Callable[[], float] = random.random,
        seal: Callable[[str], Seal | None] = lambda _: None,
    ) -> None:
        self._namespace, self._api, self._changed = namespace, api, changed
        self._copies, self._jitter, self._seal = copies, jitter, seal
        self._followers: dict[str, SecretFollower] = {}
        self._renamed = asyncio.Event()

    def follow(self, names: Collection[str]) -> None:
        """Follow exactly these Secrets from now on."""
        for name in self._followers.keys() - set(names):
            del self._followers[name]
        for copy in self._copies.glob("*") if self._copies else ():
            if copy.name not in names:
                copy.unlink()
        for name in set(names) - self._followers.keys():
            self._followers[name] = self._follower(name)
        self._renamed.set()

    def get(self, name: str) -> Mapping[str, bytes] | None:
        """The content of a Secret; None: never seen, missing, or not followed."""
        follower = self._followers.get(name)
        return follower.current if follower else None

    def missing(self, name: str) -> bool:
        """Whether the API server has said that there is no such Secret."""
        follower = self._followers.get(name)
        return follower is not None and follower.missing

    def error(self, name: str) -> str:
        """Why :meth:`get` may not give the newest content; empty while it does."""
        follower = self._followers.get(name)
        return follower.error if follower else f"Secret {self._namespace}/{name} is not followed"

    async def run(self) -> None:
        """Follow for ever. Trouble is logged and tried again, never raised."""
        tasks: dict[SecretFollower, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                wanted = set(self._followers.values())
                for follower in tasks.keys() - wanted:
                    tasks.pop(follower).cancel()
                for follower in wanted - tasks.keys():
                    tasks[follower] = group.create_task(follower.run())
                self._renamed.clear()
                await self._renamed.wait()

    def _follower(self, name: str) -> SecretFollower:
        copy = None
        if self._copies is not None:
            self._copies.mkdir(mode=0o700, parents=True, exist_ok=True)
            copy = self._copies / name
        return SecretFollower(
            self._namespace,
            name,
            self._api,
            self._changed,
            copy=copy,
            jitter=self._jitter,
            seal=lambda: self._seal(name),
        )
