"""Who decides the size: this operator's planning code, and models of what else there is.

All have the same bounds. The operator looks every 10 s, as agents report other numbers; a HorizontalPodAutoscaler
every 15 s. That one is modelled by its documented algorithm and default behaviour: a tolerance of a tenth, at most four
relays or twice as many in 15 s when growing, and the largest recommendation of five minutes when shrinking. What KEDA
adds is the metric: here every message in the queues, also those that wait for a retry.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from bench.scaling.relays import RATE, Fleet, Relay, percentile
from smtpfleet.api.autoscaling import Autoscaling, ScaleDown
from smtpfleet.api.reasons import Reason
from smtpfleet.domain.autoscaling import Rules, Sight, sizing
from smtpfleet.domain.load import Load, Sample, flow
from smtpfleet.domain.others import OthersMedian
from smtpfleet.domain.scaling_memory import Memory
from smtpfleet.domain.share import FULL, Share, follow

LEAST: Final = 2
MOST: Final = 10
DRAIN_S: Final = 60
CPU_TARGET: Final = 0.7
CAUTIOUS_CPU_TARGET: Final = 0.4
"""At which bursts wait no longer than this operator promises: the highest of 0.8, 0.7, …"""
_TOLERANCE: Final = 0.1
_HPA_S: Final = 15
_HPA_WINDOW_S: Final = 300
_BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)


class Scaler(Protocol):
    """One way to size a pool."""

    def __call__(self, fleet: Fleet) -> int:
        """How many relays there are to be now; asked every second."""


@dataclass
class Operator:
    """This operator: what its agents would report, through the code that decides in the cluster."""

    look_s: int = 10
    ask_s: int = 5
    rules: Rules = field(
        default_factory=lambda: Rules.of(
            Autoscaling(min_replicas=LEAST, max_replicas=MOST, target_drain_time=f"{DRAIN_S}s")
        )
    )
    memory: Memory = field(default_factory=Memory)
    size: int = LEAST
    refused: bool = False
    samples: dict[str, deque[Sample]] = field(default_factory=dict)
    shares: dict[str, Share | None] = field(default_factory=dict)

    def __call__(self, fleet: Fleet) -> int:
        """Ask the agents, and now and then decide."""
        serving = [relay for relay in fleet.relays if relay.serves(fleet.now)]
        if fleet.now % self.ask_s == 0:
            for relay in serving:
                queue = relay.backlog + relay.deferred
                said = Sample(fleet.now, relay.backlog, queue, relay.finished)
                self.samples.setdefault(relay.name, deque(maxlen=14)).append(said)
        if fleet.now % self.look_s == 0:
            self._decide(fleet, serving)
        return self.size

    def _decide(self, fleet: Fleet, serving: Sequence[Relay]) -> None:
        found = {relay.name: _load(relay, self.samples.get(relay.name, ())) for relay in serving}
        loads = {name: load for name, load in found.items() if load is not None}
        now = _BEGIN + timedelta(seconds=fleet.now)
        self._share_out(serving, loads, now)
        sight = Sight(
            self.size,
            loads,
            partial=len(loads) < len(found),
            leaving=len(fleet.relays) > len(fleet.staying),
            refused=self.refused,
        )
        result = sizing(self.rules, self.memory, sight, now)
        self.size, self.memory = result.size, result.memory
        self.refused = result.why is Reason.RECEIVER_REFUSES

    def _share_out(self, serving: Sequence[Relay], loads: Mapping[str, Load], now: datetime) -> None:
        """Relays that are behind get less of what arrives."""
        backlogs = OthersMedian({name: load.backlog for name, load in loads.items()})
        for relay in serving:
            share = follow(
                self.shares.get(relay.name), loads.get(relay.name), backlogs.without(relay.name), now
            )
            self.shares[relay.name] = share
            relay.share = (share.percent if share else FULL) / FULL


def _load(relay: Relay, samples: Sequence[Sample]) -> Load | None:
    seen = flow(list(samples))
    if seen is None:
        return None
    put_off = sum(each.count for each in relay.recent if each.put_off)
    reached = sum(each.count for each in relay.recent if not each.put_off)
    return Load(
        backlog=relay.backlog,
        taken=seen.taken,
        seconds=seen.seconds,
        taken_per_s=seen.taken_per_s,
        per_s=seen.per_s,
        busy=seen.busy,
        minute_per_s=reached / 60,
        queued_s=percentile([(each.queued_s, each.count) for each in relay.recent], 0.5),
        receiver_s=percentile([(each.receiver_s, each.count) for each in relay.recent], 0.5),
        reached=reached,
        put_off=put_off,
    )


@dataclass
class Hpa:
    """A HorizontalPodAutoscaler. ``ratio`` compares its metric with the target: 1 is as it should be."""

    ratio: Callable[[Fleet], float]
    size: int = LEAST
    recommended: deque[tuple[int, int]] = field(default_factory=deque)

    def __call__(self, fleet: Fleet) -> int:
        """Decide every 15 seconds."""
        if fleet.now % _HPA_S:
            return self.size
        ratio = self.ratio(fleet)
        wanted = self.size if abs(ratio - 1) <= _TOLERANCE else math.ceil(self.size * ratio)
        wanted = min(max(wanted, LEAST), MOST)
        self.recommended.append((fleet.now, wanted))
        while self.recommended[0][0] <= fleet.now - _HPA_WINDOW_S:
            self.recommended.popleft()
        if wanted > self.size:
            self.size = min(wanted, max(self.size + 4, 2 * self.size))
        else:
            self.size = min(self.size, max(size for _, size in self.recommended))
        return self.size


def by_cpu(target: float) -> Hpa:
    """On the CPU in use over the last 30 s; relays that start count as idle, as they do there when it grows."""

    def ratio(fleet: Fleet) -> float:
        used = [
            sum(relay.used) / max(1, len(relay.used)) for relay in fleet.relays if relay.serves(fleet.now)
        ]
        return sum(used) / (target * max(len(fleet.staying), 1))

    return Hpa(ratio)


def by_queue_length(per_relay: float) -> Hpa:
    """On all messages in all queues, so many for each relay."""

    def ratio(fleet: Fleet) -> float:
        total = sum(relay.backlog + relay.deferred for relay in fleet.relays)
        return total / (per_relay * max(len(fleet.staying), 1))

    return Hpa(ratio)


def quick_to_shrink() -> Operator:
    """This operator where relays start in seconds, so that one too few is put right before anybody waits long."""
    scale_down = ScaleDown(stabilization_window="1m", period="15s")
    autoscaling = Autoscaling(
        min_replicas=LEAST, max_replicas=MOST, target_drain_time=f"{DRAIN_S}s", scale_down=scale_down
    )
    return Operator(rules=Rules.of(autoscaling))


SCALERS: Final[dict[str, Callable[[], Scaler]]] = {
    "smtpfleet": Operator,
    "smtpfleet, quick to shrink": quick_to_shrink,
    f"HPA on CPU, {CPU_TARGET:.0%}": lambda: by_cpu(CPU_TARGET),
    f"HPA on CPU, {CAUTIOUS_CPU_TARGET:.0%}": lambda: by_cpu(CAUTIOUS_CPU_TARGET),
    "queue length": lambda: by_queue_length(RATE * DRAIN_S),
}
