"""What a client saw over time: latency, errors after a fault, the longest time without an acknowledgement.

Pure functions over attempts. An *error* is any attempt that was not acknowledged, since a client without retries fails
with it. Errors count at the time when the client learns of them: a client that hangs until its own timeout is an error
ten seconds late, and that is what "last error" must show.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

from mailcheck.model import Arrival, Attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """A distribution in seconds."""

    n: int
    p50: float
    p90: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A time without any acknowledgement."""

    begin: float
    """Seconds since the epoch."""
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that was done to the fleet on purpose."""

    name: str
    time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Impact:
    """What one fault cost the clients."""

    fault: Fault
    errors: int
    last_error_s: float | None
    """From the fault to the last error that it caused; None without errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Buckets:
    """Acknowledgements and errors in slices of equal length."""

    begin: float
    width_s: float
    acknowledged: tuple[int, ...]
    errors: tuple[int, ...]


def percentiles(values: Iterable[float]) -> Percentiles | None:
    """Nearest-rank percentiles, so each figure is a value that occurred; None without values."""
    ordered = sorted(values)
    if not ordered:
        return None

    def rank(percent: int) -> float:
        return ordered[ceil(len(ordered) * percent / 100) - 1]

    return Percentiles(n=len(ordered), p50=rank(50), p90=rank(90), p99=rank(99), max=ordered[-1])


def acknowledge_latency(attempts: Iterable[Attempt]) -> Percentiles | None:
    """From the planned moment of sending to the acknowledgement.

    From the planned, not the real start: else a generator that is held up measures only the good moments
    ("coordinated omission").
    """
    return percentiles(a.end - a.planned for a in attempts if a.acknowledged)


def delivery_latency(attempts: Iterable[Attempt], arrivals: Iterable[Arrival]) -> Percentiles | None:
    """From the start of handing in to the first arrival at the sink, for messages that arrived."""
    first: dict[str, float] = {}
    for arrival in arrivals:
        first[arrival.id] = min(arrival.time, first.get(arrival.id, arrival.time))
    return percentiles(first[a.id] - a.start for a in attempts if a.id in first)


def schedule_lag(attempts: Iterable[Attempt]) -> Percentiles | None:
    """How late the generator itself was; large values mean that the rate was not the asked one."""
    return percentiles(a.start - a.planned for a in attempts)


def reasons(attempts: Iterable[Attempt]) -> Mapping[str, int]:
    """Errors by outcome and reason, the most frequent first: ``{"rejected rcpt 451": 12}``."""
    counts = Counter(f"{a.outcome} {a.reason}" for a in attempts if not a.acknowledged)
    return dict(counts.most_common())


def impacts(attempts: Iterable[Attempt], faults: Iterable[Fault]) -> tuple[Impact, ...]:
    """Errors attributed to faults, in the order of time; errors before any fault belong to none.

    An error belongs to the first fault during its life, else to the last one before it. So a client that hung from one
    fault until after the next counts for the first; faults should still lie further apart than the client's timeout.
    """
    ordered = sorted(faults, key=lambda f: f.time)
    ends: dict[Fault, list[float]] = {fault: [] for fault in ordered}
    for attempt in attempts:
        cause = None if attempt.acknowledged else _cause(attempt, ordered)
        if cause is not None:
            ends[cause].append(attempt.end)
    return tuple(
        Impact(fault=f, errors=len(times), last_error_s=max(times) - f.time if times else None)
        for f, times in ends.items()
    )


def longest_gap(attempts: Iterable[Attempt]) -> Gap | None:
    """The longest time between two acknowledgements; None without attempts.

    The first and the last planned moment of sending bound the run: an outage at its end, after which nothing was
    acknowledged any more, must not hide.
    """
    attempts = list(attempts)
    if not attempts:
        return None
    begin, end = min(a.planned for a in attempts), max(a.planned for a in attempts)
    marks = [begin, *sorted(a.end for a in attempts if a.acknowledged)]
    if end > marks[-1]:
        marks.append(end)
    gaps = [Gap(begin=a, seconds=b - a) for a, b in pairwise(marks)]
    return max(gaps, key=lambda g: g.seconds, default=Gap(begin=begin, seconds=0.0))


def buckets(attempts: Sequence[Attempt], *, width_s: float) -> Buckets:
    """Count acknowledgements and errors per slice, by the time at which the client learnt of them.

    The first slice begins with the first planned moment. Raises ValueError for a width that is not positive.
    """
    if width_s <= 0:
        raise ValueError("the width of a slice must be positive")
    if not attempts:
        return Buckets(begin=0.0, width_s=width_s, acknowledged=(), errors=())
    begin = min(a.planned for a in attempts)
    n = 1 + max(_slice(a, begin, width_s) for a in attempts)
    acknowledged, errors = [0] * n, [0] * n
    for attempt in attempts:
        (acknowledged if attempt.acknowledged else errors)[_slice(attempt, begin, width_s)] += 1
    return Buckets(begin=begin, width_s=width_s, acknowledged=tuple(acknowledged), errors=tuple(errors))


def _slice(attempt: Attempt, begin: float, width_s: float) -> int:
    return max(0, int((attempt.end - begin) / width_s))


def _cause(error: Attempt, ordered: Sequence[Fault]) -> Fault | None:
    during = next((f for f in ordered if error.start <= f.time <= error.end), None)
    return during or next((f for f in reversed(ordered) if f.time < error.start), None)
