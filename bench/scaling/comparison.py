"""Every trace under every scaler, and what it came to."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median

from bench.report import Report, Series, describe_machine
from bench.scaling.relays import BACKOFF_S, CONNECTIONS, RATE, START_S, Fleet, Receiver, percentile
from bench.scaling.scalers import CAUTIOUS_CPU_TARGET, CPU_TARGET, DRAIN_S, LEAST, MOST, SCALERS, Scaler
from bench.scaling.traces import TRACES, Trace


@dataclass(frozen=True)
class Cost:
    """Of one trace under one scaler: relays over time, delays of messages, the largest backlog, changes of the size."""

    minutes: float
    p50_s: float
    p99_s: float
    mean_s: float
    backlog: int
    changes: int


def play(trace: Trace, scaler: Scaler, *, seed: int) -> Cost:
    """Run a trace to its end, and on until all mail has been delivered."""
    fleet, changes, size = Fleet(LEAST, seed), 0, LEAST

    def second(arriving: int, receiver: Receiver) -> None:
        nonlocal changes, size
        wanted = scaler(fleet)
        changes, size = changes + (wanted != size), wanted
        fleet.resize(wanted)
        fleet.second(arriving, receiver)

    for arriving, receiver in trace.play(seed):
        second(arriving, receiver)
    minutes = fleet.minutes
    while any(relay.backlog or relay.deferred for relay in fleet.relays):
        second(0, Receiver())
    messages = sum(count for _, count in fleet.delays)
    return Cost(
        minutes=minutes,
        p50_s=percentile(fleet.delays, 0.5),
        p99_s=percentile(fleet.delays, 0.99),
        mean_s=sum(delay_s * count for delay_s, count in fleet.delays) / messages,
        backlog=fleet.most_backlog,
        changes=changes,
    )


Costs = Mapping[tuple[str, str], Sequence[Cost]]
"""By the names of trace and scaler, one a seed."""


def compare(runs: int) -> Costs:
    """Every trace under every scaler, with so many seeds."""
    return {
        (trace.name, name): [play(trace, make(), seed=seed) for seed in range(runs)]
        for trace in TRACES
        for name, make in SCALERS.items()
    }


def markdown(costs: Costs) -> str:
    """The table of docs/benchmarks.md: medians over the seeds."""
    lines = [
        "| trace | sized by | relay-minutes | delay p50, s | p99, s | mean, s | largest backlog | changes of size |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (trace, scaler), found in costs.items():
        figures = [
            median(each.minutes for each in found),
            median(each.p50_s for each in found),
            median(each.p99_s for each in found),
            median(each.mean_s for each in found),
            median(each.backlog for each in found),
            median(each.changes for each in found),
        ]
        cells = " | ".join(f"{figure:,.0f}" if figure >= 10 else f"{figure:.2g}" for figure in figures)
        lines.append(f"| {trace} | {scaler} | {cells} |")
    return "\n".join(lines)


def _series(costs: Costs) -> Iterator[Series]:
    for (trace, scaler), found in costs.items():
        name = f"{trace}, {scaler}"
        yield Series(name=f"{name}: relays", unit="minutes", values=tuple(each.minutes for each in found))
        yield Series(name=f"{name}: p99", unit="s", values=tuple(each.p99_s for each in found))


def run(runs: int) -> Report:
    """Compare, and print the table of the documentation."""
    costs = compare(runs)
    print(markdown(costs), flush=True)
    return Report(
        title="Scaling: relays and delays by who decides (simulated)",
        series=tuple(_series(costs)),
        machine=describe_machine(),
        time=datetime.now(UTC),
        parameters={
            "relays": f"{LEAST} to {MOST}",
            "rate of one": f"{RATE:g}/s",
            "ready after": f"{START_S} s",
            "targetDrainTime": f"{DRAIN_S} s",
            "CPU targets": f"{CPU_TARGET:.0%} and {CAUTIOUS_CPU_TARGET:.0%}",
            "connections": CONNECTIONS,
            "back-off": f"{BACKOFF_S[0]:g} to {BACKOFF_S[1]:g} s",
        },
    )
