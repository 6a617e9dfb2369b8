"""Follows the routing table, whatever happens to the API server.

Guarantees: ``current`` is always the last table that parsed, and is never taken away; a table that does not
parse, or is missing, shows in ``error`` and changes nothing else; the mounted file is used only while the
API server cannot be watched, and never to go back to a table that the API server has already replaced (the
kubelet writes the file up to a minute late).
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Final, Protocol

from smtpfleet.api.names import ROUTING_KEY
from smtpfleet.api.routing import RoutingTable, TableError, parse_table
from smtpfleet.feed.access import AccessError

logger = logging.getLogger(__name__)

FILE_INTERVAL_S: Final = 5.0
"""How often the mounted file is read while the watch is down."""
PATIENCE_S: Final = 2.0
"""How long the API server may take for its first answer before the file is used."""
_RETRY_FIRST_S: Final = 0.25
_RETRY_MOST_S: Final = 10.0
_REMEMBERED: Final = 256


class TableSource(Protocol):
    """Where tables come from; :class:`smtpfleet.feed.access.ApiAccess` is the one of production."""

    def texts(self, *, namespace: str, name: str, key: str) -> AsyncGenerator[str | None]:
        """The text now and after each change, None while there is none; ends or raises AccessError."""


class TableFollower:
    """Keeps the newest good routing table of one pool. :meth:`run` does the work, in a task of its own.

    Args:
        namespace: of the ConfigMap.
        name: of the ConfigMap.
        file: the mounted copy, usually ``/etc/smtpfleet/routing/routing.json``.
        api: the API server; None: only the file is followed.
        jitter: gives a factor from 0 to 1 that spreads the retries of many agents.
    """

    def __init__(
        self,
        *,
        namespace: str,
        name: str,
        file: Path,
        api: TableSource | None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.current: RoutingTable | None = None
        self.errors_total = 0
        self._namespace, self._name, self._file, self._api, self._jitter = namespace, name, file, api, jitter
        self._table_error = ""
        self._watch_error = "" if api else "no API server is known here"
        self._watching = False
        self._answered = asyncio.Event()
        self._changed = asyncio.Condition()
        self._refused_text: str | None = None
        self._replaced: deque[str] = deque(maxlen=_REMEMBERED)

    @property
    def error(self) -> str:
        """Why the newest table is not in use; empty while it is."""
        if self._table_error or self.current is not None:
            return self._table_error
        return f"no table yet; {self._watch_error}" if self._watch_error else "no table yet"

    @property
    def watching(self) -> bool:
        """Whether changes arrive from the API server at once (else from the file, up to minutes later)."""
        return self._watching

    async def run(self) -> None:
        """Follow the table for ever. Trouble with network or file is logged and tried again, never raised."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_file())
            if self._api is not None:
                group.create_task(self._follow_api(self._api))

    async def next(self, after: str) -> RoutingTable:
        """Wait for a table whose revision is not ``after`` (``""`` for the first one) and return it."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.current is not None and self.current.revision != after)
            assert self.current is not None
            return self.current

    async def _follow_api(self, api: TableSource) -> None:
        retry_s = _RETRY_FIRST_S
        while True:
            try:
                texts = api.texts(namespace=self._namespace, name=self._name, key=ROUTING_KEY)
                async with aclosing(texts):
                    async for text in texts:
                        self._watch_up()
                        await self._offer(text, origin="API server")
                retry_s = _RETRY_FIRST_S
            except AccessError as error:
                retry_s = min(retry_s * 2, _RETRY_MOST_S) if not self._watching else _RETRY_FIRST_S
                self._watch_down(error)
            await asyncio.sleep(retry_s * (0.5 + self._jitter() / 2))

    async def _follow_file(self) -> None:
        if self._api is not None:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await self._answered.wait()
            except TimeoutError:
                logger.warning("the API server does not answer yet: using the mounted routing table")
        while True:
            if not self._watching:
                await self._offer_file()
            await asyncio.sleep(FILE_INTERVAL_S)

    async def _offer_file(self) -> None:
        try:
            text = self._file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            if self.current is None:  # else nothing is lost: the file is only the way around the API server
                self._refuse(None, f"{self._file}: {error}")
            return
        await self._offer(text, origin="mounted file")

    async def _offer(self, text: str | None, *, origin: str) -> None:
        """Take the table if it is good and new; else say why not, once."""
        if text is None:
            self._refuse(None, f"ConfigMap {self._namespace}/{self._name} or its {ROUTING_KEY} is missing")
            return
        try:
            table = parse_table(text)
        except TableError as error:
            self._refuse(text, str(error))
            return
        if not self._watching and table.revision in self._replaced:
            return
        self._table_error, self._refused_text = "", None
        if self.current is not None and self.current.revision == table.revision:
            return
        if self.current is not None and self._watching:
            self._replaced.append(self.current.revision)
        async with self._changed:
            self.current = table
            self._changed.notify_all()
        logger.info("routing table received", extra={"revision": table.revision, "origin": origin})

    def _refuse(self, text: str | None, reason: str) -> None:
        if self._table_error == reason and self._refused_text == text:
            return
        self._table_error, self._refused_text = reason, text
        self.errors_total += 1
        logger.error("routing table refused, the last good one stays", extra={"reason": reason})

    def _watch_up(self) -> None:
        if not self._watching:
            logger.info("watching the routing table at the API server")
        self._watching, self._watch_error = True, ""
        self._answered.set()

    def _watch_down(self, error: AccessError) -> None:
        if self._watching or not self._watch_error:
            logger.warning("the API server cannot be watched", extra={"reason": str(error)})
        self._watching, self._watch_error = False, str(error)
        self._answered.set()
