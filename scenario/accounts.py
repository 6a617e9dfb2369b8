"""Figures of one run: what the clients saw, and whether what was acknowledged arrived."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from mailcheck.checker import Verdict, check
from mailcheck.model import Arrival, Attempt, Outcome
from mailcheck.timeline import Fault, acknowledge_latency, impacts, longest_gap


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One run in numbers; times in seconds. ``last_error_s`` counts from the fault that caused it (None: no error)."""

    attempted: int
    acknowledged: int
    errors: int
    last_error_s: float | None
    longest_gap_s: float
    latency_p50_s: float
    latency_p99_s: float
    delivered: int
    lost: int
    duplicated: int
    unexpected: int
    corrupted: int

    def as_json(self) -> dict[str, float | int | None]:
        """Keys in camelCase, with the unit spelled out: ``lastErrorSeconds``."""
        return {_camel(name): value for name, value in asdict(self).items()}


def _camel(name: str) -> str:
    first, *rest = name.removesuffix("_s").split("_")
    seconds = "Seconds" if name.endswith("_s") else ""
    return first + "".join(word.capitalize() for word in rest) + seconds


def figures(
    attempts: Sequence[Attempt], arrivals: Sequence[Arrival], faults: Sequence[Fault] = ()
) -> tuple[Figures, Verdict]:
    """Account for one run whose queues are drained."""
    verdict = check(attempts, arrivals)
    caused = [i.last_error_s for i in impacts(attempts, faults) if i.last_error_s is not None]
    gap = longest_gap(attempts)
    latency = acknowledge_latency(attempts)
    return (
        Figures(
            attempted=verdict.attempted,
            acknowledged=verdict.outcomes[Outcome.ACKNOWLEDGED],
            errors=verdict.errors,
            last_error_s=max(caused, default=None),
            longest_gap_s=gap.seconds if gap else 0.0,
            latency_p50_s=latency.p50 if latency else 0.0,
            latency_p99_s=latency.p99 if latency else 0.0,
            delivered=verdict.delivered,
            lost=len(verdict.lost),
            duplicated=verdict.extra_copies,
            unexpected=len(verdict.unexpected),
            corrupted=len(verdict.corrupted),
        ),
        verdict,
    )


def of_this_run(arrivals: Sequence[Arrival], earlier: Sequence[Attempt]) -> list[Arrival]:
    """Arrivals that are not of earlier, already accounted runs on the same stage."""
    known = {attempt.id for attempt in earlier}
    return [arrival for arrival in arrivals if arrival.id not in known]
