"""What the operator measures of itself and of its pools; names and meaning are relied on by alerts."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from smtpfleet.api.names import PoolKey
from smtpfleet.api.reasons import ConditionType, RelayState
from smtpfleet.api.status import SmtpPoolStatus
from smtpfleet.controller.relay_metrics import RelayMetrics

_PREFIX = "smtpfleet_operator"
_POOL = ("namespace", "pool")


class Metrics:
    """The operator's metrics in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.reconciles = Counter(
            f"{_PREFIX}_reconcile", "Cycles of work on a pool, by how they ended.", ("result",),
            registry=registry,
        )  # fmt: skip
        self.reconcile_seconds = Histogram(
            f"{_PREFIX}_reconcile_duration_seconds", "How long a cycle of work on a pool takes.",
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60), registry=registry,
        )  # fmt: skip
        self.writes = Counter(
            f"{_PREFIX}_writes", "Objects written or deleted, statuses included.", registry=registry
        )
        self.last_success = Gauge(
            f"{_PREFIX}_last_success_timestamp_seconds", "When a cycle ended well last.", registry=registry
        )
        self.queue_depth = Gauge(
            f"{_PREFIX}_queue_depth", "Pools that are due and wait for a worker.", registry=registry
        )
        self.leader = Gauge(
            f"{_PREFIX}_leader", "1 while this process is the one at work.", registry=registry
        )
        self.loop_lag_seconds = Gauge(
            f"{_PREFIX}_loop_lag_seconds", "How late the event loop ran a timer last.", registry=registry
        )
        self.watch_age_seconds = Gauge(
            f"{_PREFIX}_watch_age_seconds", "Seconds since a watch delivered anything; idle ones grow old.",
            ("kind",), registry=registry,
        )  # fmt: skip
        self.watch_behind_seconds = Gauge(
            f"{_PREFIX}_watch_behind_seconds", "For how long a watch has owed a change that a list showed.",
            ("kind",), registry=registry,
        )  # fmt: skip
        self.pools = Gauge(f"{_PREFIX}_pools", "Pools that are known.", registry=registry)
        self.relays = Gauge(
            f"{_PREFIX}_relays", "Relays of a pool, by state.", (*_POOL, "state"), registry=registry
        )
        self.relays_desired = Gauge(
            f"{_PREFIX}_relays_desired", "Relays that a pool is to have.", _POOL, registry=registry
        )
        self.relays_ready = Gauge(
            f"{_PREFIX}_relays_ready", "Relays of a pool that take mail.", _POOL, registry=registry
        )
        self.relay_rate = Gauge(
            f"{_PREFIX}_relay_messages_per_second", "What one relay of a pool sends at most, as measured.",
            _POOL, registry=registry,
        )  # fmt: skip
        self.scaling = Gauge(
            f"{_PREFIX}_scaling", "1 for what the size of a pool goes by now.", (*_POOL, "reason"),
            registry=registry,
        )  # fmt: skip
        self.scaling_limited = Gauge(
            f"{_PREFIX}_scaling_limited", "1 for what keeps the size of a pool from following its queues.",
            (*_POOL, "reason"), registry=registry,
        )  # fmt: skip
        self.of_relays = RelayMetrics(registry)

    def show(self, namespace: str, pool: str, status: SmtpPoolStatus) -> None:
        """Show a pool as its status has it."""
        self.relays_desired.labels(namespace, pool).set(status.desired_replicas)
        self.relays_ready.labels(namespace, pool).set(status.ready_replicas)
        states = [entry.state for entry in status.relays]
        for state in RelayState:
            self.relays.labels(namespace, pool, state.value).set(states.count(state))
        self._show_scaling(namespace, pool, status)

    def _show_scaling(self, namespace: str, pool: str, status: SmtpPoolStatus) -> None:
        """What sizing by the queues goes by; nothing of a pool whose spec says its size."""
        self._forget(namespace, pool, self._of_scaling)
        if status.autoscaling is None:
            return
        if status.autoscaling.relay_rate:
            self.relay_rate.labels(namespace, pool).set(status.autoscaling.relay_rate)
        if active := status.condition(ConditionType.SCALING_ACTIVE):
            self.scaling.labels(namespace, pool, active.reason).set(1)
        limited = status.condition(ConditionType.SCALING_LIMITED)
        if limited and limited.status == "True":
            self.scaling_limited.labels(namespace, pool, limited.reason).set(1)

    @property
    def _of_scaling(self) -> tuple[Gauge, ...]:
        return self.relay_rate, self.scaling, self.scaling_limited

    @staticmethod
    def _forget(namespace: str, pool: str, gauges: Iterable[Gauge]) -> None:
        for gauge in gauges:
            gauge.remove_by_labels({"namespace": namespace, "pool": pool})

    def forget(self, namespace: str, pool: str) -> None:
        """Show a pool no longer."""
        gauges = (self.relays_desired, self.relays_ready, self.relays, *self._of_scaling)
        self._forget(namespace, pool, gauges)
        self.of_relays.forget((namespace, pool))

    def forget_all(self, pools: Iterable[PoolKey]) -> None:
        """Show none of these pools any longer: another operator is at work now."""
        for namespace, pool in pools:
            self.forget(namespace, pool)
