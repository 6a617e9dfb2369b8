"""One cycle of work on a pool, with agents that are silent and probes that do not end well."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from smtpfleet.api.names import PoolKey
from smtpfleet.cluster.events import EventRecorder
from smtpfleet.controller.agents import AgentError, Agents
from smtpfleet.controller.ledger import WatchLedger
from smtpfleet.controller.metrics import Metrics
from smtpfleet.controller.probes import Probes
from smtpfleet.controller.reconcile import Reconciler
from smtpfleet.controller.workqueue import Done
from tests.unit.controller.objects import POOL
from tests.unit.controller.server import Server

KEY: Final[PoolKey] = ("mail", "outbound")
AT: Final = datetime(2026, 5, 1, 12, tzinfo=UTC)


async def cycle(server: Server, *, minutes: int = 5) -> Done:
    """The cycle that begins so many minutes after ``AT``."""

    async def silent(*_: Any, **__: Any) -> Any:
        raise AgentError

    def nothing(*_: Any) -> None: ...

    metrics = Metrics()
    agents = Agents(silent, changed=nothing, clock=lambda: 0.0)
    reconcile = Reconciler(
        cluster=server.cluster,
        images=POOL.images,
        namespace=POOL.operator_namespace,
        agents=agents,
        probes=Probes(
            silent,
            report=agents.report,
            changed=nothing,
            metrics=metrics.of_relays,
            clock=lambda: 0.0,
            jitter=lambda: 0.0,
        ),
        ledger=WatchLedger(lambda: 0.0),
        events=EventRecorder(server.cluster, instance="test"),
        metrics=metrics,
        goes_on=server.goes_on,
        clock=lambda: 0.0,
        now=lambda: AT + timedelta(minutes=minutes),
    )
    return await reconcile(KEY)
