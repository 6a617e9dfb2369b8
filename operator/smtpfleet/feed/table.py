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
from pathlib import Path
from typing import Final, Protocol

from smtpfleet.api.names import ROUTING_KEY
from smtpfleet.api.routing import RoutingTable, TableError, parse_table
from smtpfleet.feed.watch import Watch

logger = logging.getLogger(__name__)

FILE_INTERVAL_S: Final = 5.0
"""How often the mounted file is read while the watch is down."""
PATIENCE_S: Final = 2.0
"""How long the API server may take for its first answer before the file is used."""
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
        self._namespace, self._name, self._file = namespace, name, file
        self._table_error = ""
        self._watch: Watch[str | None] | None = None
        if api is not None:
            self._watch = Watch(
                f"ConfigMap {namespace}/{name}",
                lambda: api.texts(namespace=namespace, name=name, key=ROUTING_KEY),
                jitter,
            )
        self._changed = asyncio.Condition()
        self._refused_text: str | None = None
        self._replaced: deque[str] = deque(maxlen=_REMEMBERED)

    @property
    def error(self) -> str:
        """Why the newest table is not in use; empty while it is."""
        if self._table_error or self.current is not None:
            return self._table_error
        watch_error = self._watch.error if self._watch else "no API server is known here"
        return f"no table yet; {watch_error}" if watch_error else "no table yet"

    @property
    def watching(self) -> bool:
        """Whether changes arrive from the API server at once (else from the file, up to minutes later)."""
        return self._watch is not None and self._watch.up

    def hurry(self) -> None:
        """Try to reach the API server now, if it is not being watched."""
        if self._watch is not None:
            self._watch.hurry()

    async def run(self) -> None:
        """Follow the table for ever. Trouble with network or file is logged and tried again, never raised."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_file())
            if self._watch is not None:
                group.create_task(self._watch.run(self._offer_told))

    async def next(self, after: str) -> RoutingTable:
        """Wait for a table whose revision is not ``after`` (``""`` for the first one) and return it."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.current is not None and self.current.revision != after)
            assert self.current is not None
            return self.current

    async def _offer_told(self, text: str | None) -> None:
        await self._offer(text, origin="API server")

    async def _follow_file(self) -> None:
        if self._watch is not None:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await self._watch.answered.wait()
            except TimeoutError:
                logger.warning("the API server does not answer yet: using the mounted routing table")
        while True:
            if not self.watching:
                await self._offer_file()
            await asyncio.sleep(FILE_INTERVAL_S)

    async def _offer_file(self) -> None:
        try:
            text = self._file.read_bytes().decode()  # unlike read_text, line ends as the API server has them
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
        if not self.watching and table.revision in self._replaced:
            return
        self._table_error, self._refused_text = "", None
        if self.current is not None and self.current.revision == table.revision:
            return
        if self.current is not None and self.watching:
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
