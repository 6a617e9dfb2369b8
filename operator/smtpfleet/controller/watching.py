"""Watches the cluster with kopf, and turns what it sees into nudges. Nothing else is done with an event.

kopf runs in a thread with a loop of its own, for three reasons: it takes over the signal handlers of the loop
that it runs in, it cancels every task of that loop when it ends, and its start after an outage must not be
ours. It only has ``on.event`` handlers, so it writes nothing: no finalizer, no annotation, no Event. When it
ends, for whatever reason (an outage longer than its patience, a definition that was deleted), it is started
again; so the process need not.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import kopf

from smtpfleet.api import names
from smtpfleet.cluster.credentials import Login
from smtpfleet.cluster.kinds import CHILDREN, POOL, Kind
from smtpfleet.controller.neighbours import neighbour
from smtpfleet.domain.neighbours import Neighbour

logger = logging.getLogger(__name__)

_JOIN_S: Final = 3.0
_RESTART_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Seen:
    """An object that a watch delivered. ``pool`` is the pool that it is, or that it belongs to."""

    kind: str
    namespace: str
    pool: str
    uid: str
    version: str
    deleted: bool
    neighbour: Neighbour | None = None
    """A pool that stays, as the others need it."""


class Watches:
    """The watches of one operator process.

    Args:
        login: gives the credentials as they are now.
        namespace: the only namespace watched; "" for all.
        seen: is called in the caller's loop for each event.
        starting: is awaited before all watches start (anew), until they may.
    """

    def __init__(
        self,
        *,
        login: Callable[[], Awaitable[Login]],
        namespace: str,
        seen: Callable[[Seen], None],
        starting: Callable[[], Awaitable[None]],
    ) -> None:
        self._login, self._namespace, self._seen, self._starting = login, namespace, seen, starting
        self._session: _Session | None = None

    def restart(self) -> None:
        """Start all watches anew, if they run: what they say is true of something that is no more."""
        if self._session is not None:
            self._session.give_up()

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await self._starting()
            session = self._session = _Session(
                namespace=self._namespace,
                login=self._login,
                seen=self._seen,
                loop=asyncio.get_running_loop(),
            )
            try:
                await session.run()
            finally:
                self._session = None
                await session.stop()
            await asyncio.sleep(_RESTART_S)


class _Session:
    """One life of kopf, in a thread."""

    def __init__(
        self,
        *,
        namespace: str,
        login: Callable[[], Awaitable[Login]],
        seen: Callable[[Seen], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._namespace, self._login, self._seen, self._caller = namespace, login, seen, loop
        self._ended = asyncio.Event()
        self._lock = threading.Lock()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        # A daemon, so that a watch that will not end cannot keep the process from ending.
        self._thread = threading.Thread(target=self._live, name="watches", daemon=True)

    async def run(self) -> None:
        """Start, and return when kopf has ended by itself, or is to end."""
        self._thread.start()
        await self._ended.wait()

    def give_up(self) -> None:
        """Let :meth:`run` return."""
        self._ended.set()

    async def stop(self) -> None:
        """End it if it has not ended, and wait for that, but not for ever."""
        with self._lock:
            self._stopping = True
            if self._task is not None:
                self._task.get_loop().call_soon_threadsafe(self._task.cancel)
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, _JOIN_S)

    def _live(self) -> None:
        try:
            asyncio.run(self._operate())
        except asyncio.CancelledError:
            logger.debug("watches stopped")
        except Exception as error:  # kopf ends with errors of many kinds; each of them means: start again
            logger.warning("watches ended, they start again", extra={"reason": repr(error)})
        finally:
            self._caller.call_soon_threadsafe(self._ended.set)

    async def _operate(self) -> None:
        with self._lock:
            if self._stopping:
                return
            self._task = asyncio.current_task()
        scope: dict[str, Any] = (
            {"namespaces": [self._namespace]} if self._namespace else {"clusterwide": True}
        )
        try:
            await kopf.operator(
                registry=self._registry(), settings=watch_settings(), standalone=True, **scope
            )
        finally:
            with self._lock:
                self._task = None

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        async def log_in(**_: Any) -> kopf.ConnectionInfo:
            login = await self._login()
            return kopf.ConnectionInfo(
                server=login.server,
                ca_path=login.ca_file,
                insecure=login.insecure,
                certificate_path=login.certificate_file,
                private_key_path=login.key_file,
                token=login.token,
            )

        kopf.on.login(registry=registry, errors=kopf.ErrorsMode.PERMANENT)(log_in)
        for kind in (POOL, *CHILDREN):
            kopf.on.event(kind.group, kind.version, kind.plural, registry=registry)(self._handler(kind))
        return registry

    def _handler(self, kind: Kind) -> Callable[..., Awaitable[None]]:
        async def deliver(*, event: Any, **_: Any) -> None:
            seen = what(kind, event)
            if seen is not None and not self._caller.is_closed():
                self._caller.call_soon_threadsafe(self._seen, seen)

        return deliver


def watch_settings() -> kopf.OperatorSettings:
    """kopf's settings: it writes nothing, watches only what is ours, and notices a dead connection."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.process.ultimate_exiting_timeout = None
    settings.persistence.finalizer = f"{names.GROUP}/watches"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=names.GROUP)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=names.GROUP)
    settings.queueing.exit_timeout = 0.2
    settings.queueing.idle_timeout = 0.1  # memory: one task for each object that was seen a moment ago
    settings.watching.chunk_size = 50  # memory: a chunk is held as a whole
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 310
    settings.watching.connect_timeout = 10
    settings.watching.reconnect_backoff = 0.5
    settings.networking.request_timeout = 30
    settings.networking.error_backoffs = (1, 2, 3, 5, 5, 5, 5, 5)
    for kind in CHILDREN:
        settings.watching.label_selectors[kind.group, kind.version, kind.plural] = (
            f"{names.MANAGED_BY_LABEL}={names.FIELD_MANAGER}"
        )
    return settings


def what(kind: Kind, event: Any) -> Seen | None:
    """The event as the operator needs it; None if it belongs to no pool."""
    metadata = event["object"].get("metadata", {})
    is_pool = kind is POOL
    pool = metadata.get("name") if is_pool else (metadata.get("labels") or {}).get(names.POOL_LABEL)
    if not pool or "uid" not in metadata:
        return None
    deleted = event.get("type") == "DELETED"
    return Seen(
        kind=kind.kind,
        namespace=metadata.get("namespace", ""),
        pool=pool,
        uid=metadata["uid"],
        version=metadata.get("resourceVersion", ""),
        deleted=deleted,
        neighbour=neighbour(event["object"]) if is_pool and not deleted else None,
    )
