"""Which routing table Postfix runs with: the newest one whose parameters work.

Guarantees: a table whose ``postfix`` parameters were never seen working is not used; the last good one stays, also
over a restart, and the reason shows; what was refused is tried again now and then, because a map that was missing
may be there by then. The operator's wish about intake is taken from the newest table nevertheless: a mistake in a
parameter must not keep a relay from draining.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from smtpfleet.api.routing import RouteState, RoutingTable, TableError, parse_table
from smtpfleet.feed.table import TableFollower
from smtpfleet.relay.incarnation import write_durably
from smtpfleet.relay.rehearsal import RehearsalError

logger = logging.getLogger(__name__)

RETRY_S: Final = 60.0


class AcceptedTable:
    """Accepts or refuses tables. :meth:`run` does the work, in a task of its own.

    Args:
        rehearse: raises RehearsalError if Postfix does not work with a table's parameters.
        last_good: file that remembers the accepted table.
        changed: called after each decision.
    """

    def __init__(
        self,
        *,
        relay: str,
        follower: TableFollower,
        rehearse: Callable[[RoutingTable], Awaitable[None]],
        last_good: Path,
        changed: Callable[[], None],
    ) -> None:
        self.current: RoutingTable | None = None
        self.refused_total = 0
        self._relay, self._follower, self._rehearse = relay, follower, rehearse
        self._last_good, self._changed = last_good, changed
        self._error = ""
        self._working: Mapping[str, str] = {}
        self._draining = False

    @property
    def error(self) -> str:
        """Why the newest table is not in use; empty while it is."""
        return self._follower.error or self._error

    @property
    def newest(self) -> RoutingTable | None:
        """The newest table, in use or not: what it says of relays holds, whatever its parameters are worth."""
        return self._follower.current

    @property
    def draining(self) -> bool:
        """Whether the newest table wants no intake here. A table that does not list this relay changes nothing:
        it may not have been added yet, or it is about to be removed.
        """
        newest = self._follower.current
        route = newest.relay(self._relay) if newest else None
        if route is not None:
            self._draining = route.state is RouteState.DRAINING
        return self._draining

    async def run(self) -> None:
        """Decide about every table that arrives."""
        revision = ""
        while True:
            try:
                async with asyncio.timeout(RETRY_S if self._error else None):
                    table = await self._follower.next(revision)
            except TimeoutError:
                newest = self._follower.current
                assert newest is not None
                table = newest
            revision = table.revision
            await self._decide(table)
            self._changed()

    async def _decide(self, table: RoutingTable) -> None:
        if table.postfix and table.postfix != self._working:
            self._changed()  # its wish about intake does not wait for the rehearsal
            try:
                await self._rehearse(table)
            except (RehearsalError, OSError) as error:
                self._refuse(table, str(error))
                return
        self._working = table.postfix
        self._error = ""
        if self.current is None or self.current.revision != table.revision:
            self.current = table
            await self._remember(table)

    def _refuse(self, table: RoutingTable, complaint: str) -> None:
        reason = f"relay.postfix does not work: {complaint}"
        if reason != self._error:
            self.refused_total += 1
            logger.error(
                "routing table refused, the last good one stays",
                extra={"revision": table.revision, "reason": reason},
            )
        self._error = reason
        if self.current is None:
            self.current = self._remembered()

    async def _remember(self, table: RoutingTable) -> None:
        try:
            await asyncio.to_thread(write_durably, self._last_good, table.text)
        except OSError as error:  # a full volume must not end the relay whose mail fills it
            logger.warning("the routing table is not remembered", extra={"reason": str(error)})

    def _remembered(self) -> RoutingTable | None:
        try:
            return parse_table(self._last_good.read_bytes().decode())
        except (OSError, UnicodeDecodeError, TableError):
            logger.warning("there is no last good routing table on this volume")
            return None
