"""What the operator measures of relays: probes, states, weights, ejections. Series of removed relays disappear."""

from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from smtpfleet.api.names import PoolKey
from smtpfleet.api.probes import ProbeResult
from smtpfleet.api.reasons import RelayState
from smtpfleet.api.status import SmtpPoolStatus
from smtpfleet.domain.transitions import remedies_decided

_PREFIX = "smtpfleet_operator"
_POOL = ("namespace", "pool")
_RELAY = (*_POOL, "relay")
_Metric = TypeVar("_Metric", Counter, Gauge)


class RelayMetrics:
    """The metrics that have a series for each relay."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._of_relays: list[MetricWrapperBase] = []
        self.probes = self._made(Counter, "probes", "Probes of a relay, by what they found.", "result")
        self.probe_seconds = self._made(
            Gauge, "probe_duration_seconds", "How long the last good probe of a relay took."
        )
        self.stage_seconds = Histogram(
            f"{_PREFIX}_probe_stage_duration_seconds", "How long a step of a probe takes, over all relays of a pool.",
            (*_POOL, "stage"), buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
            registry=registry,
        )  # fmt: skip
        self.canaries = self._made(
            Counter, "canaries", "Canaries of a relay, by what became of them.", "result"
        )
        self.canary_seconds = self._made(
            Gauge, "canary_duration_seconds", "How long the last canary was in a relay's queue."
        )
        self.states = self._made(Gauge, "relay_state", "1 for the present state of a relay.", "state")
        self.weights = self._made(Gauge, "relay_weight", "Weight of a relay in the routing table.")
        self.ejections = self._made(Counter, "ejections", "Ejections of a relay, by reason.", "reason")
        self.remedies = self._made(
            Counter, "remedies", "What was decided about a relay that stays bad.", "remedy"
        )
        self._shown: dict[PoolKey, dict[str, RelayState]] = {}

    def probed(self, key: PoolKey, relay: str, word: str, result: ProbeResult | None) -> None:
        """Count a probe; ``word`` is the finding's reason, or says that there is none."""
        self.probes.labels(*key, relay, word).inc()
        if result is None:
            return
        for stage, seconds in result.latency_s.items():
            self.stage_seconds.labels(*key, stage.value).observe(seconds)
        if result.ok:
            self.probe_seconds.labels(*key, relay).set(result.took_s)

    def show(self, key: PoolKey, old: SmtpPoolStatus, new: SmtpPoolStatus) -> None:
        """Show the relays of a pool as its status has them, and count who is out since the one before."""
        before = {entry.name: entry for entry in old.relays}
        states = {entry.name: entry.state for entry in new.relays}
        for entry in new.relays:
            self.weights.labels(*key, entry.name).set(entry.weight)
            self._show_state(key, entry.name, entry.state)
            was = before.get(entry.name)
            if entry.state is RelayState.EJECTED and (was is None or was.state is not RelayState.EJECTED):
                self.ejections.labels(*key, entry.name, entry.reason).inc()
            for remedy in remedies_decided(was, entry) if was else ():
                self.remedies.labels(*key, entry.name, remedy).inc()
        for gone in self._shown.get(key, {}).keys() - states.keys():
            self._remove(_labels(key) | {"relay": gone})
        self._shown[key] = states

    def forget(self, key: PoolKey) -> None:
        """Show nothing of a pool any longer."""
        self._shown.pop(key, None)
        self._remove(_labels(key))
        self.stage_seconds.remove_by_labels(_labels(key))

    def _show_state(self, key: PoolKey, relay: str, state: RelayState) -> None:
        if self._shown.get(key, {}).get(relay) is state:
            return
        for known in RelayState:
            self.states.labels(*key, relay, known.value).set(known is state)

    def _made(self, kind: type[_Metric], name: str, text: str, *labels: str) -> _Metric:
        """A metric with a series for each relay, and each value of further labels."""
        metric = kind(f"{_PREFIX}_{name}", text, (*_RELAY, *labels), registry=self._registry)
        self._of_relays.append(metric)
        return metric

    def _remove(self, labels: dict[str, str]) -> None:
        for metric in self._of_relays:
            metric.remove_by_labels(labels)


def _labels(key: PoolKey) -> dict[str, str]:
    return {"namespace": key[0], "pool": key[1]}
