"""The balancer's agent: makes HAProxy serve as the routing table says, and shows what it does.

Guarantees: traffic never depends on this process (HAProxy checks, balances and fails over by itself, and starts from
the file); a change of weights is made at run time and at once, everything else by a reload that keeps sessions; the
file is written first, so that a HAProxy that is started anew serves the same; a table that HAProxy refuses changes
nothing; a HAProxy that cannot be told keeps neither this table nor the next one from the other.

A reload costs processor time and begins all checks anew. So other relays wait a moment for what comes with them (they
are added and removed in groups), each balancer for a moment of its own.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from smtpfleet.api.agent_status import BalancerStatus, ServerStatus
from smtpfleet.api.routing import RoutingTable
from smtpfleet.balancer.backups import BACKUPS
from smtpfleet.balancer.config import BACKEND, UNCHECKED, render, settings, structure, weights
from smtpfleet.balancer.files import Files
from smtpfleet.balancer.place import Place
from smtpfleet.balancer.runtime import ConfigurationRefusedError, RuntimeCallError, Server

logger = logging.getLogger(__name__)

POLL_S: Final = 1.0
"""How often HAProxy's servers are looked at, for status and metrics only."""
RETRY_S: Final = 0.5
"""Until HAProxy, which is just starting or reloading, is asked again."""
REFUSED_AGAIN_S: Final = 60.0
"""Until a table that was refused is tried again: the reason may have been a passing one, such as memory."""
GATHER_S: Final = 1.0
"""How long other relays wait for more of them; the balancers of a pool for up to twice as long."""
STALLED_S: Final = 30.0


class Runtime(Protocol):
    """What the agent needs of HAProxy; :class:`smtpfleet.balancer.runtime.Haproxys` is the one of production."""

    async def servers(self, backend: str = BACKEND) -> tuple[Server, ...]:
        """Every server of a backend."""

    async def set_weights(self, weights: dict[str, int]) -> None:
        """Change weights at run time."""

    async def reload(self, text: str) -> None:
        """Load the file, which says ``text``."""


class Tables(Protocol):
    """Where tables come from; :class:`smtpfleet.feed.table.TableFollower` is the one of production."""

    @property
    def error(self) -> str:
        """Why the newest table is not in use."""

    async def next(self, after: str) -> RoutingTable:
        """The table, once its revision is another one."""


@dataclass(slots=True)
class Counters:
    """What has happened since the agent started."""

    reloads: int = 0
    weight_changes: int = 0
    refused_tables: int = 0


class Agent:
    """Run :meth:`follow` and :meth:`watch` side by side; the rest answers questions of the HTTP port."""

    def __init__(
        self,
        *,
        place: Place,
        runtime: Runtime,
        files: Files,
        tables: Tables,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._place, self._runtime, self._files, self._tables, self._clock = (
            place,
            runtime,
            files,
            tables,
            clock,
        )
        self._applied: RoutingTable | None = None
        self._running = ""
        """Structure that every HAProxy has; empty: not known, for a reload did not succeed everywhere."""
        self._told: Mapping[str, int | None] = {}
        """Weights that every HAProxy has; None: some have one, others perhaps another one."""
        self._accepted = files.read()
        """The newest text that is known to be good."""
        self._refusal = ""
        self._refused = "", ""
        """The last table that was refused, by its revision, and why."""
        self._watched_s = clock()
        self.servers: tuple[Server, ...] = ()
        self.backups: tuple[Server, ...] = ()
        self.counters = Counters()

    async def follow(self) -> None:
        """Apply each table as it comes, for ever."""
        table = await self._tables.next("")
        while True:
            again_s = await self._apply(table)
            try:
                async with asyncio.timeout(again_s):
                    newer = await self._tables.next(table.revision)
            except TimeoutError:
                continue
            table = await self._gathered(newer)

    async def watch(self) -> None:
        """Look at HAProxy's servers, for ever."""
        while True:
            try:
                self.servers = await self._runtime.servers()
                self.backups = await self._look_at_backups()
            except RuntimeCallError as error:
                self.servers = self.backups = ()
                logger.debug("HAProxy cannot be asked", extra={"error": str(error)})
            self._watched_s = self._clock()
            await asyncio.sleep(POLL_S)

    def status(self) -> BalancerStatus:
        """What ``/status`` answers."""
        return BalancerStatus(
            balancer=self._place.pod,
            table_revision=self._applied.revision if self._applied else "",
            table_error=self._refusal or self._tables.error,
            servers=tuple(self._relays()),
            backups=tuple(map(_shown, self.backups)),
            on_backups=self.on_backups,
        )

    @property
    def on_backups(self) -> bool:
        """Whether backups take the connections, because no relay is available."""
        relays = any(server.available for server in self.servers if not server.name.endswith(UNCHECKED))
        return not relays and any(server.available for server in self.backups)

    def healthy(self) -> str:
        """Why the agent must be started anew; empty while it works."""
        late_s = self._clock() - self._watched_s
        return f"HAProxy was last looked at {late_s:.0f} s ago" if late_s > STALLED_S else ""

    def ready(self) -> str:
        """Why this balancer does not serve by the newest table; empty while it does."""
        if not self.servers and not (self._applied and not self._applied.relays):
            return "HAProxy does not answer"
        return self._refusal or ("" if self._applied else "no routing table yet")

    def _relays(self) -> Iterator[ServerStatus]:
        for server in self.servers:
            if not server.name.endswith(UNCHECKED):
                yield _shown(server)

    async def _look_at_backups(self) -> tuple[Server, ...]:
        table = self._applied
        return await self._runtime.servers(BACKUPS) if table and table.balancing.backups else ()

    async def _gathered(self, table: RoutingTable) -> RoutingTable:
        """The newest table, after a while if it has other relays; what it says of those that are known acts at once."""
        try:
            async with asyncio.timeout(GATHER_S * (1 + self._place.share)):
                while self._applied and self._is_resized(self._applied, table):
                    await self._weigh_known(table)
                    table = await self._tables.next(table.revision)
        except TimeoutError:
            pass
        return table

    def _is_resized(self, applied: RoutingTable, table: RoutingTable) -> bool:
        """Whether it needs a reload for no more than other relays."""
        if self._running == structure(table, self._place):
            return False
        return settings(applied, self._place) == settings(table, self._place)

    async def _weigh_known(self, table: RoutingTable) -> None:
        try:
            await self._weigh({name: weight for name, weight in weights(table).items() if name in self._told})
        except RuntimeCallError as error:  # the reload brings them
            logger.warning("HAProxy cannot be told yet", extra={"error": str(error)})

    async def _apply(self, table: RoutingTable) -> float | None:
        """Write the file, then tell HAProxy.

        Returns:
            After how many seconds to try it again if there is no newer table by then; None: HAProxy has taken it.
        """
        text = render(table, self._place)
        self._files.write(text)
        try:
            await self._tell(table, text)
        except ConfigurationRefusedError as error:
            self._refuse(table, str(error))
            return REFUSED_AGAIN_S
        except RuntimeCallError as error:
            logger.warning("HAProxy cannot be told yet", extra={"error": str(error)})
            return RETRY_S
        self._files.note_loaded(text)
        self._applied, self._accepted, self._refusal, self._refused = table, text, "", ("", "")
        logger.info("routing table applied", extra={"revision": table.revision})
        return None

    async def _tell(self, table: RoutingTable, text: str) -> None:
        wanted = structure(table, self._place)
        if self._running == wanted:
            self._accepted = text  # other weights make no file bad
            await self._weigh(weights(table))
        elif not self._files.is_loaded(text):
            self._running, self._told = "", dict.fromkeys(self._told)
            self._files.note_loaded("")
            await self._runtime.reload(text)
            self.counters.reloads += 1
        self._running, self._told = wanted, weights(table)

    async def _weigh(self, wanted: Mapping[str, int]) -> None:
        changed = {name: weight for name, weight in wanted.items() if weight != self._told[name]}
        if changed:
            self._files.note_loaded("")  # HAProxy is ahead of any file
            self._told = {**self._told, **dict.fromkeys(changed)}
            await self._runtime.set_weights(changed)
            self._told = {**self._told, **changed}
            self.counters.weight_changes += len(changed)

    def _refuse(self, table: RoutingTable, why: str) -> None:
        if self._accepted:
            self._files.write(self._accepted)
        self._refusal, before = why, self._refused
        self._refused = table.revision, why
        if self._refused == before:
            return  # tried again, to no avail
        self.counters.refused_tables += 1
        logger.error("HAProxy refused the routing table", extra={"revision": table.revision, "error": why})


def _shown(server: Server) -> ServerStatus:
    return ServerStatus(name=server.name, state=server.status, weight=server.weight, sessions=server.sessions)
