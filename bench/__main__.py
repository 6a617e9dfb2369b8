"""``make bench``: every benchmark on the current local cluster; tables to the terminal, JSON to ``bench/results``.

Those that need no cluster run without one if only they are named.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final

from bench import (
    backups,
    balancing,
    dkim,
    failover,
    footprint,
    hostile,
    idle,
    probing,
    queuefacts,
    rotation,
    throughput,
    users,
)
from bench.report import Report, Series, describe_machine, render_report, write_json
from bench.scaling import comparison
from scenario.cluster import Local, current, install
from scenario.load import ROOT
from scenario.stage import CLUSTER_NETWORKS, Stage

RESULTS: Final = ROOT / "bench" / "results"
RELAYS: Final = 3
NAMESPACE: Final = "bench"
ATTACKS: Final = tuple(kind.name for kind in hostile.kinds())


def main() -> int:
    """Run the chosen benchmarks, all by default."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", choices=[*BENCHMARKS, *WITHOUT_CLUSTER, []], help="which ones; default: all"
    )
    parser.add_argument("--runs", type=int, default=5, help="runs of each measurement")
    parser.add_argument(
        "--attacks",
        nargs="+",
        default=ATTACKS,
        choices=ATTACKS,
        help="of the benchmark hostile; default: all",
    )
    parser.add_argument(
        "--sessions",
        type=int,
        default=hostile.SESSIONS,
        help="of the benchmark hostile: so many of each attack at a time",
    )
    arguments = parser.parse_args()
    names = arguments.names or [*BENCHMARKS, *WITHOUT_CLUSTER]
    benchmarks = dict(WITHOUT_CLUSTER)
    if not WITHOUT_CLUSTER.keys() >= set(names):
        local = current()
        install(local)
        benchmarks |= {name: partial(measure, local) for name, measure in BENCHMARKS.items()}
        benchmarks["hostile"] = partial(
            _hostile, local, attacks=arguments.attacks, sessions=arguments.sessions
        )
    for name in names:
        print(f"bench: {name}, {arguments.runs} runs", flush=True)
        report = benchmarks[name](arguments.runs)
        print(f"\n{render_report(report)}\n", flush=True)
        write_json(report, RESULTS / f"{name}.json")
    return 0


def _stage(local: Local) -> Stage:
    return Stage(kube=local.kube, namespace=NAMESPACE, sink_image=local.images["sink"])


def _report(title: str, series: list[Series], **parameters: object) -> Report:
    return Report(
        title=title,
        series=tuple(series),
        machine=describe_machine(),
        time=datetime.now(UTC),
        parameters=parameters,
    )


def _failover(local: Local, runs: int) -> Report:
    with _stage(local) as stage:
        stage.pool(replicas=RELAYS, health=failover.HEALTH)
        results = failover.alternate(stage, (failover.NO_FAULT, *failover.CASES), runs=runs, relays=RELAYS)
        results += failover.without_operator(stage, runs=runs, relays=RELAYS)
    return _faults("Failover: what a fault costs clients", results, load=(failover.RATE, failover.COUNT))


def _backups(local: Local, runs: int) -> Report:
    with _stage(local) as stage:
        results = backups.with_backups(stage, runs=runs, relays=RELAYS)
    title = "Backups: what it costs clients that no relay is left for four seconds"
    return _faults(title, results, load=backups.LOAD)


def _faults(title: str, results: list[failover.Result], *, load: tuple[int, int]) -> Report:
    series = []
    for result in results:
        case = result.case
        lasts = tuple(0.0 if run.last_error_s is None else run.last_error_s for run in result.runs)
        most = "" if case.errors_at_most is None else f"≤ {case.errors_at_most:.1%}"
        series += [
            Series(
                name=f"{case.name}: errors",
                unit="%",
                values=tuple(100 * run.errors / run.attempted for run in result.runs),
                bar=most,
            ),
            Series(
                name=f"{case.name}: last error",
                unit="s",
                values=lasts,
                bar="" if case.last_error_s is None else f"< {case.last_error_s} s",
            ),
            Series(
                name=f"{case.name}: lost",
                unit="messages",
                values=tuple(float(run.lost) for run in result.runs),
                bar="0",
            ),
            Series(
                name=f"{case.name}: duplicated",
                unit="messages",
                values=tuple(float(run.duplicated) for run in result.runs),
            ),
        ]
    return _report(
        title,
        series,
        rate=f"{load[0]}/s",
        messages=load[1],
        size="4 KiB",
        relays=RELAYS,
        balancers=2,
    )


def _throughput(local: Local, runs: int) -> Report:
    series = []
    with _stage(local) as stage:
        stage.pool(replicas=RELAYS)
        for reuse in (False, True):
            kind = "reused connections" if reuse else "a connection per message"
            balancer, direct = throughput.ways(stage, reuse=reuse)
            throughput.alternate(stage, (balancer, direct), runs=runs)
            accepted = throughput.ratios(balancer.accepted_per_s, direct.accepted_per_s)
            delivered = throughput.ratios(balancer.delivered_per_s, direct.delivered_per_s)
            series += [
                Series(name=f"balancer, {kind}", unit="accepted/s", values=tuple(balancer.accepted_per_s)),
                Series(name=f"direct, {kind}", unit="accepted/s", values=tuple(direct.accepted_per_s)),
                Series(name=f"ratio, {kind}", unit="", values=accepted, bar="≥ 0.90"),
                Series(name=f"ratio until all had arrived, {kind}", unit="", values=delivered),
            ]
    return _report(
        "Throughput: through the balancers and directly",
        series,
        clients=throughput.CLIENTS,
        seconds=throughput.SECONDS,
        size="2 KiB",
        relays=RELAYS,
    )


def _footprint(local: Local, runs: int) -> Report:
    ready, memory = footprint.measure(local, runs=runs, namespace=NAMESPACE)
    series = [Series(name="apply to Ready=True", unit="s", values=tuple(ready), bar="< 30 s")]
    series += [
        Series(name=f"memory of {name}", unit="MB", values=tuple(values), bar=f"< {footprint.BARS[name]} MB")
        for name, values in memory.items()
    ]
    return _report("Start and memory", series, relays=footprint.RELAYS)


def _users(local: Local, runs: int) -> Report:
    with _stage(local) as stage:
        users.pool(stage)
        secured, clear = users.ways(stage)
        throughput.alternate(stage, (secured, clear), runs=runs)
    ratios = throughput.ratios(secured.accepted_per_s, clear.accepted_per_s)
    return _report(
        "Users: throughput under STARTTLS",
        [
            Series(name="STARTTLS, users, reused", unit="accepted/s", values=tuple(secured.accepted_per_s)),
            Series(name="clear, trusted, reused", unit="accepted/s", values=tuple(clear.accepted_per_s)),
            Series(name="ratio", unit="", values=ratios, bar="≥ 0.80"),
        ],
        clients=throughput.CLIENTS,
        seconds=throughput.SECONDS,
        relays=1,
    )


def _rotation(local: Local, runs: int) -> Report:
    with _stage(local) as stage:
        results = rotation.measure(stage, runs=runs)
    series = []
    for what, figures in results.items():
        for name in ("errors", "lost", "duplicated"):
            values = tuple(float(getattr(each, name)) for each in figures)
            series.append(Series(name=f"{what}: {name}", unit="messages", values=values, bar="0"))
    return _report(
        "Changes of certificate, users and DKIM keys under messages",
        series,
        rate=f"{rotation.RATE}/s",
        messages=rotation.COUNT,
        relays=rotation.RELAYS,
    )


def _guessing(local: Local, runs: int) -> Report:
    with _stage(local) as stage:
        users.pool(stage)
        found = users.guessing(stage, runs=runs)
    pairs = zip(found.disturbed_p99_s, found.undisturbed_p99_s, strict=True)
    return _report(
        "Wrong log-ins: what other clients notice",
        [
            Series(name="p99 undisturbed", unit="s", values=tuple(found.undisturbed_p99_s)),
            Series(name="p99 under wrong log-ins", unit="s", values=tuple(found.disturbed_p99_s)),
            Series(name="ratio of p99", unit="", values=tuple(a / b for a, b in pairs), bar="< 2"),
            Series(name="wrong log-ins answered", unit="/s", values=tuple(found.guesses_per_s)),
            Series(name="errors of others", unit="messages", values=(float(found.errors),), bar="0"),
        ],
        relays=1,
        rate=f"{users.RATE}/s",
        guesses=f"{users.GUESSES_PER_S}/s from {users.GUESSERS} addresses",
    )


def _balancing(local: Local, runs: int) -> Report:
    with _stage(local) as stage:
        splits, affinity = balancing.measure(stage, runs=runs)
    whole = sum(balancing.WEIGHTS.values())
    series = [
        Series(
            name=f"{split.method}: weight {weight}",
            unit="%",
            values=tuple(100 * share for share in split.shares[name]),
            bar=f"{100 * weight / whole:.2f}" + (" ± 5 % of it" if split.method == "RoundRobin" else ""),
        )
        for split in splits
        for name, weight in balancing.WEIGHTS.items()
    ]
    for name, values, asked in (
        ("with more than one relay", affinity.unfaithful, "0"),
        ("moved with a relay less", affinity.moved, ""),
        ("moved though theirs stayed", affinity.moved_needlessly, "0"),
    ):
        series.append(
            Series(name=f"SourceAddress: {name}", unit="clients", values=tuple(map(float, values)), bar=asked)
        )
    return _report(
        "Balancing: how connections are split",
        series,
        connections=balancing.CONNECTIONS,
        clients=balancing.CLIENTS,
        balancers=2,
    )


def _hostile(
    local: Local, runs: int, *, attacks: Sequence[str] = ATTACKS, sessions: int = hostile.SESSIONS
) -> Report:
    with _stage(local) as stage:
        submission = {"trustedNetworks": list(CLUSTER_NETWORKS), "messageSizeLimit": "10Mi"}
        stage.pool(replicas=RELAYS, submission=submission)
        kinds, quiet = hostile.alternate(stage, attacks, runs=runs, sessions=sessions)
    series = [Series(name="undisturbed: p99", unit="s", values=tuple(quiet))]
    for kind in kinds:
        series += [
            Series(name=f"{kind.name}: p99", unit="s", values=tuple(kind.p99_s)),
            Series(name=f"{kind.name}: ratio", unit="", values=tuple(kind.ratio), bar="< 2"),
            Series(name=f"{kind.name}: errors", unit="", values=tuple(map(float, kind.errors)), bar="0"),
        ]
    return _report(
        "Hostile clients: what others notice",
        series,
        rate=f"{hostile.RATE}/s",
        messages=hostile.COUNT,
        sessions=sessions,
        relays=RELAYS,
    )


def _dkim(local: Local, runs: int) -> Report:
    with _stage(local) as stage:
        stage.pool(replicas=1, balancing={"replicas": 1})
        every = dkim.measure(stage, runs=runs)
    unsigned = every["unsigned"].accepted_per_s
    series = []
    for name, way in every.items():
        ratios = throughput.ratios(way.accepted_per_s, unsigned)
        series.append(Series(name=name, unit="accepted/s", values=tuple(way.accepted_per_s)))
        series.append(Series(name=f"ratio, {name}", unit="", values=ratios, bar="≥ 0.60"))
    return _report(
        "DKIM: signed and unsigned by the same relay",
        series,
        clients=throughput.CLIENTS,
        seconds=throughput.SECONDS,
        size="2 KiB",
    )


def _idle(local: Local, runs: int) -> Report:
    with _stage(local) as stage:
        cases = idle.measure(stage, runs=runs)
    series = []
    for case in cases:
        series += [
            Series(name=f"{case.name}: others refused or unanswered", unit="%", values=tuple(case.errors)),
            Series(name=f"{case.name}: the last of them", unit="s", values=tuple(case.last_error_s)),
        ]
    return _report(
        "Idle sessions: how long they keep others out",
        series,
        idle=idle.IDLE,
        rate=f"{idle.RATE}/s",
        patience=f"{idle.PATIENCE_S} s",
        relays=1,
    )


BENCHMARKS: Final[dict[str, Callable[[Local, int], Report]]] = {
    "footprint": _footprint,
    "throughput": _throughput,
    "dkim": _dkim,
    "failover": _failover,
    "users": _users,
    "rotation": _rotation,
    "backups": _backups,
    "balancing": _balancing,
    "guessing": _guessing,
    "hostile": _hostile,
    "idle": _idle,
}
WITHOUT_CLUSTER: Final[dict[str, Callable[[int], Report]]] = {
    "probing": probing.run,
    "queuefacts": queuefacts.run,
    "scaling": comparison.run,
}

if __name__ == "__main__":
    sys.exit(main())
