"""Loads of relays, and a pool whose size follows them over time."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from smtpfleet.api.autoscaling import AutoscalingStatus
from smtpfleet.api.reasons import Reason
from smtpfleet.domain.autoscaling import Rules, Sight, Sizing, sizing
from smtpfleet.domain.load import Load
from smtpfleet.domain.scaling_memory import Memory

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def limited(backlog: int = 6000, *, per_s: float = 100.0, taken: int | None = None, **fields: Any) -> Load:
    """A relay that mail waits for. ``taken`` arrived in the last minute, evenly; else what waits, and none lately."""
    came, lately = (backlog, 0.0) if taken is None else (taken, taken / 60)
    return replace(
        Load(
            backlog=backlog,
            taken=came,
            taken_per_s=lately,
            per_s=per_s,
            busy=True,
            queued_s=5.0,
            receiver_s=0.01,
        ),
        **fields,
    )


def carrying(taken_per_s: float = 0.0) -> Load:
    """A relay that sends what arrives."""
    return Load(
        taken=round(taken_per_s * 60),
        taken_per_s=taken_per_s,
        per_s=taken_per_s,
        minute_per_s=taken_per_s,
        queued_s=0.1,
    )


def named(*loads: Load) -> dict[str, Load]:
    """Loads of relays by their names."""
    return {f"outbound-relay-{number}": load for number, load in enumerate(loads)}


def spread(taken_per_s: float) -> dict[str, Load]:
    """A load on so many relays that none of them sends more than is known that it can."""
    return named(*[carrying(taken_per_s / 10)] * 10)


@dataclass
class Sized:
    """A pool over time: what was decided becomes what is, and memory goes through the form in which it is stored."""

    rules: Rules
    size: int = 0
    memory: Memory = field(default_factory=Memory)
    now: datetime = NOW
    refused: bool = False

    def look(self, loads: Mapping[str, Load], *, after_s: float = 15.0, **seen: Any) -> Sizing:
        self.now += timedelta(seconds=after_s)
        result = sizing(
            self.rules, self.memory, Sight(self.size, loads, refused=self.refused, **seen), self.now
        )
        self.refused = result.why is Reason.RECEIVER_REFUSES
        stored = AutoscalingStatus.model_validate_json(result.memory.status().model_dump_json(by_alias=True))
        self.memory, self.size = Memory.of(stored), result.size
        return result

    def last(self, loads: Mapping[str, Load], seconds: float, **seen: Any) -> Sizing:
        """Look at the same loads for so long."""
        for _ in range(round(seconds / 15)):
            result = self.look(loads, **seen)
        return result
