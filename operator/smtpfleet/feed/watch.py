"""Keeps one watch of the API server going, whatever happens to it: what all followers share.

Guarantees: trouble is logged once, kept in ``error`` and tried again for ever, with pauses that grow to ten seconds and
are spread by jitter; a watch that was up is tried again soon, any other when :meth:`Watch.hurry` says so; no content of
any object is logged.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Final, Generic, TypeVar

from smtpfleet.feed.access import AccessError

logger = logging.getLogger(__name__)

RETRY_FIRST_S: Final = 0.25
RETRY_MOST_S: Final = 10.0

Content = TypeVar("Content")


class Watch(Generic[Content]):
    """One object of the API server, watched by :meth:`run`.

    Args:
        what: its kind and name, for the log.
        source: opens a watch; it yields the content now and after each change, ends, or raises AccessError.
        jitter: gives a factor from 0 to 1 that spreads the retries of many agents.

    Attributes:
        up: whether changes arrive at once.
        error: why not; empty while up, and before the first answer.
        answered: set once the API server has answered, or could not be reached.
    """

    def __init__(
        self, what: str, source: Callable[[], AsyncGenerator[Content]], jitter: Callable[[], float]
    ) -> None:
        self.up = False
        self.error = ""
        self.answered = asyncio.Event()
        self._what, self._source, self._jitter = what, source, jitter
        self._hurried = asyncio.Event()

    def hurry(self) -> None:
        """End the pause before the next try, for something speaks for it that it succeeds.

        If a try is under way, which may have begun too early, there is no pause after it. Does nothing while up.
        """
        if not self.up:
            self._hurried.set()

    async def run(self, take: Callable[[Content], Awaitable[None]]) -> None:
        """Give each content to ``take``, for ever."""
        retry_s = RETRY_FIRST_S
        while True:
            try:
                async with aclosing(self._source()) as contents:
                    async for content in contents:
                        self._is_up()
                        await take(content)
                retry_s = RETRY_FIRST_S
            except AccessError as error:
                retry_s = RETRY_FIRST_S if self.up else min(retry_s * 2, RETRY_MOST_S)
                self._is_down(error)
            await self._pause(retry_s * (0.5 + self._jitter() / 2))

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._hurried.wait()
        except TimeoutError:
            pass
        self._hurried.clear()

    def _is_up(self) -> None:
        if not self.up:
            logger.info("watching at the API server", extra={"object": self._what})
        self.up, self.error = True, ""
        self.answered.set()

    def _is_down(self, error: AccessError) -> None:
        if self.up or not self.error:
            logger.warning(
                "the API server cannot be watched", extra={"object": self._what, "reason": str(error)}
            )
        self.up, self.error = False, str(error)
        self.answered.set()
