"""Whether this process still does its work: what the kubelet asks, and what a person can read.

Healthy means: the event loop runs, the Lease is being looked at, every cycle of work goes on (however many pools wait
for theirs), no watch has fallen behind. An API server that is away makes nothing unhealthy: to restart the operator
would not help.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from smtpfleet.controller.election import Elector
from smtpfleet.controller.ledger import WatchLedger
from smtpfleet.controller.metrics import Metrics

STUCK_S: Final = 120.0
"""However long a whole cycle lasts, it tells at each step that it goes on. Each call to the API server is bounded by
10 s, and the longest step is that of all lists (10 s a page), or the first question to all agents of a pool (3 s for
each 32 that are silent).
"""
LEASE_IDLE_S: Final = 30.0
BEHIND_S: Final = 90.0
"""Longer than a watch needs to notice that its connection is dead (70 s)."""
_TICK_S: Final = 0.5


class OperatorStatus(BaseModel):
    """The answer to ``GET /status``."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)

    leading: bool
    pools: int
    queue_depth: int
    watches_behind: dict[str, float]


class Health:
    """Judges this process.

    Args:
        elector: the competition for the Lease.
        ledger: whether the watches keep up.
        stuck_s: for how long a cycle of work has not got on, in seconds.
        pools: how many pools are known.
        depth: how many of them wait for a worker.
    """

    def __init__(
        self,
        *,
        elector: Elector,
        ledger: WatchLedger,
        metrics: Metrics,
        stuck_s: Callable[[], float],
        pools: Callable[[], int],
        depth: Callable[[], int],
    ) -> None:
        self._elector, self._ledger, self._metrics = elector, ledger, metrics
        self._stuck_s, self._pools, self._depth = stuck_s, pools, depth

    def healthy(self) -> str:
        """Empty, or why this process must be restarted."""
        if self._elector.idle_s > LEASE_IDLE_S:
            return f"the lease was not looked at for {self._elector.idle_s:.0f} s"
        if (stuck_s := self._stuck_s()) > STUCK_S:
            return f"work on a pool is stuck for {stuck_s:.0f} s"
        behind = {kind: age_s for kind, age_s in self._ledger.behind_s().items() if age_s > BEHIND_S}
        if behind:
            return f"the watch of {', '.join(sorted(behind))} is dead"
        return ""

    def ready(self) -> str:
        """Empty: a process that stands by is as ready as the one at work."""
        return self.healthy()

    def status(self) -> OperatorStatus:
        """What a person wants to know."""
        return OperatorStatus(
            leading=self._elector.leading,
            pools=self._pools(),
            queue_depth=self._depth(),
            watches_behind=self._ledger.behind_s(),
        )

    async def measure(self) -> None:
        """Keep the gauges up to date, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            expected = loop.time() + _TICK_S
            await asyncio.sleep(_TICK_S)
            self._metrics.loop_lag_seconds.set(max(0.0, loop.time() - expected))
            self._metrics.leader.set(self._elector.leading)
            self._metrics.pools.set(self._pools())
            self._metrics.queue_depth.set(self._depth())
            behind = self._ledger.behind_s()
            for kind, age_s in self._ledger.age_s().items():
                self._metrics.watch_age_seconds.labels(kind).set(age_s)
                self._metrics.watch_behind_seconds.labels(kind).set(behind.get(kind, 0.0))
