"""What runs only in the operator that holds the Lease: watches, work queue, agents' reports, and a safety net.

The safety net lists all pools now and then: so a pool is found even if its watch failed in silence, and the
ledger has something to compare that watch with.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final

from smtpfleet.api.names import PoolKey
from smtpfleet.api.probes import ProbeResult
from smtpfleet.cluster.client import Cluster
from smtpfleet.cluster.credentials import Login
from smtpfleet.cluster.errors import ClusterError, NotFoundError
from smtpfleet.cluster.events import EventRecorder
from smtpfleet.cluster.kinds import POOL, SECRET
from smtpfleet.controller.agents import INTERVAL_S, Agents, HttpAsker, open_session
from smtpfleet.controller.ledger import WatchLedger
from smtpfleet.controller.metrics import Metrics
from smtpfleet.controller.neighbours import Neighbourhood
from smtpfleet.controller.probes import Probes
from smtpfleet.controller.reconcile import Reconciler
from smtpfleet.controller.settings import Settings
from smtpfleet.controller.watching import Seen, Watches
from smtpfleet.controller.workqueue import Done, Pace, WorkQueue
from smtpfleet.domain.status import NUMBERS_S
from smtpfleet.probing.dialogue import Profile, probe
from smtpfleet.probing.prober import Target
from smtpfleet.resources.pool import Images

logger = logging.getLogger(__name__)

_RETRY_S: Final = 5.0


class Leader:
    """The work of the operator. It does nothing before :meth:`run`.

    Args:
        settings: of this process.
        cluster: the API server, behind the fence.
        login: gives the credentials as they are now.
        metrics: are kept up to date.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        cluster: Cluster,
        login: Callable[[], Awaitable[Login]],
        metrics: Metrics,
    ) -> None:
        self._settings, self._cluster, self._login, self._metrics = settings, cluster, login, metrics
        self._clock = asyncio.get_running_loop().time
        self.ledger = WatchLedger(self._clock)
        self.queue: WorkQueue[PoolKey] = WorkQueue(
            self._work,
            workers=settings.workers,
            pace=Pace(resync_s=settings.resync_s),
            jitter=random.random,
        )
        self._neighbourhood = Neighbourhood()
        self._reconcile: Reconciler | None = None

    async def run(self) -> None:
        """Work until cancelled."""
        async with open_session() as session:
            agents = Agents(HttpAsker(session), changed=self._agent_changed, clock=self._clock)
            probes = self._probes(agents)
            self._reconcile = self._reconciler(agents, probes)
            watches = Watches(
                login=self._login,
                namespace=self._settings.watch_namespace,
                seen=self._saw,
                starting=self._before_watches,
            )
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self.queue.run())
                    group.create_task(watches.run())
                    group.create_task(agents.run())
                    group.create_task(probes.run())
                    group.create_task(self._keep_finding_pools(watches))
            finally:
                self._metrics.forget_all(self.queue.known())

    def _probes(self, agents: Agents) -> Probes:
        async def probe_relay(target: Target, profile: Profile, canary: bytes) -> ProbeResult:
            return await probe(target.address, profile.of(target.relay), canary, clock=self._clock)

        return Probes(
            probe_relay,
            report=agents.report,
            changed=lambda key, wait_s: self.queue.nudge(key, delay_s=wait_s),
            metrics=self._metrics.of_relays,
            clock=self._clock,
            jitter=random.random,
        )

    def _reconciler(self, agents: Agents, probes: Probes) -> Reconciler:
        return Reconciler(
            cluster=self._cluster,
            images=Images(relay=self._settings.relay_image, balancer=self._settings.balancer_image),
            namespace=self._settings.pod_namespace,
            agents=agents,
            probes=probes,
            ledger=self.ledger,
            events=EventRecorder(self._cluster, instance=self._settings.pod_name),
            metrics=self._metrics,
            goes_on=self.queue.goes_on,
            clock=self._clock,
        )

    async def _work(self, key: PoolKey) -> Done:
        assert self._reconcile is not None
        try:
            return await self._reconcile(key)
        except ClusterError as error:
            logger.warning(
                "will be tried again", extra={"namespace": key[0], "pool": key[1], "reason": str(error)}
            )
            raise
        except Exception:  # a fault of ours: its stack is wanted, and the work queue tries again
            logger.exception("unexpected", extra={"namespace": key[0], "pool": key[1]})
            raise

    def _saw(self, seen: Seen) -> None:
        self.ledger.watched(kind=seen.kind, uid=seen.uid, version=seen.version, deleted=seen.deleted)
        key = (seen.namespace, seen.pool)
        self.queue.nudge(key)
        others: frozenset[PoolKey] = frozenset()
        if seen.kind == POOL.kind:
            others = self._neighbourhood.seen(key, seen.neighbour)
        elif seen.kind == SECRET.kind:
            others = self._neighbourhood.leading_to(key)
        for other in others:
            self.queue.nudge(other)

    def _agent_changed(self, key: PoolKey, more_than_numbers: bool) -> None:
        # Numbers alone may wait: they are written every 15 s at most.
        self.queue.nudge(key, delay_s=0.0 if more_than_numbers else NUMBERS_S - INTERVAL_S)

    async def _before_watches(self) -> None:
        """Watches that start find every kind served: kopf never looks for a definition that is missing."""
        await self._find_pools()
        self.ledger.restart()

    async def _keep_finding_pools(self, watches: Watches) -> None:
        while True:
            await asyncio.sleep(self._settings.resync_s / 2)
            if not await self._find_pools():
                # The API server may let a watch on the definition that was deleted go on for minutes, in silence.
                watches.restart()

    async def _find_pools(self) -> bool:
        """List all pools, as often as it takes; returns whether their definition was there all the time."""
        was_there = True
        while True:
            try:
                pools = await self._cluster.list(POOL, self._settings.watch_namespace, {})
            except NotFoundError:
                was_there = False
                logger.warning(
                    "the cluster does not know SmtpPool: its definition (crds/) is to be installed"
                )
            except ClusterError as error:
                logger.warning("pools cannot be listed", extra={"reason": str(error)})
            else:
                break
            await asyncio.sleep(_RETRY_S)
        known = self.queue.known()
        for pool in pools:
            key = (pool["metadata"]["namespace"], pool["metadata"]["name"])
            self.ledger.listed((POOL.kind, *key), [pool])
            if key not in known:
                self.queue.nudge(key)
        return was_there
