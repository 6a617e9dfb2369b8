"""``make bench``: every benchmark on the current local cluster; tables to the terminal, JSON to ``bench/results``."""

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from bench import failover, footprint, probing, throughput
from bench.report import Report, Series, describe_machine, render_report, write_json
from scenario.cluster import Local, current, install
from scenario.load import ROOT
from scenario.stage import Stage

RESULTS: Final = ROOT / "bench" / "results"
RELAYS: Final = 3
NAMESPACE: Final = "bench"


def main() -> int:
    """Run the chosen benchmarks, all by default."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], help="which ones; default: all")
    parser.add_argument("--runs", type=int, default=5, help="runs of each measurement")
    arguments = parser.parse_args()
    local = current()
    install(local)
    for name in arguments.names or BENCHMARKS:
        print(f"bench: {name}, {arguments.runs} runs", flush=True)
        report = BENCHMARKS[name](local, arguments.runs)
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
        stage.pool(replicas=RELAYS)
        results = failover.alternate(stage, (failover.NO_FAULT, *failover.CASES), runs=runs, relays=RELAYS)
        results += failover.without_operator(stage, runs=runs, relays=RELAYS)
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
        "Failover: what a fault costs clients",
        series,
        rate=f"{failover.RATE}/s",
        messages=failover.COUNT,
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
            ratios = [a / b for a, b in zip(balancer.accepted_per_s, direct.accepted_per_s, strict=True)]
            series += [
                Series(name=f"balancer, {kind}", unit="accepted/s", values=tuple(balancer.accepted_per_s)),
                Series(name=f"direct, {kind}", unit="accepted/s", values=tuple(direct.accepted_per_s)),
                Series(name=f"ratio, {kind}", unit="", values=tuple(ratios), bar="≥ 0.90"),
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


BENCHMARKS: Final[dict[str, Callable[[Local, int], Report]]] = {
    "footprint": _footprint,
    "throughput": _throughput,
    "failover": _failover,
    "probing": lambda _, runs: probing.run(runs),
}

if __name__ == "__main__":
    sys.exit(main())
