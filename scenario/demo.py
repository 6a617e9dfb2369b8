"""``make demo``: 2,000 messages through a pool while one relay is killed and another one hangs.

Leaves the pool running and says how to use and remove it. The result stands in ``.cluster/demo.json``, too.
"""

import json
import sys
from pathlib import Path
from typing import Final

from mailcheck.chart import render_chart
from mailcheck.table import render_table
from mailcheck.timeline import impacts, reasons
from scenario import faults
from scenario.accounts import figures
from scenario.cluster import current, install
from scenario.kube import Kube
from scenario.load import ROOT, Shape, Step, run
from scenario.stage import Stage

NAMESPACE: Final = "mail"
RATE: Final = 100
COUNT: Final = 2000
RELAYS: Final = 3


def main() -> int:
    """Run the demo; 0 when nothing acknowledged was lost."""
    local = current()
    print("demo: installing the operator", flush=True)
    install(local)
    stage = Stage(kube=local.kube, namespace=NAMESPACE, sink_image=local.images["sink"])
    stage.__enter__()
    # An empty record: arrivals of an earlier demo are none of this one's.
    local.kube.run("rollout", "restart", "deployment/sink", "-n", NAMESPACE)
    local.kube.run("rollout", "status", "deployment/sink", "-n", NAMESPACE, "--timeout=120s")
    seconds = stage.pool(replicas=RELAYS)
    print(
        f"demo: pool outbound is Ready after {seconds:.0f} s: {RELAYS} relays behind 2 balancers", flush=True
    )
    print(f"demo: {COUNT} messages at {RATE}/s; one relay is killed, another one hangs", flush=True)
    attempts, made = run(
        local.kube,
        Shape(target=f"{stage.address()}:25", rate=RATE, count=COUNT),
        _faults(local.kube, stage),
    )
    arrivals = stage.wait_drained(attempts, timeout_s=180)
    result, verdict = figures(attempts, arrivals, made)
    print()
    print(render_chart(attempts, made))
    print()
    print(
        render_table(
            ["fault", "errors", "last error after (s)"],
            [
                [i.fault.name, i.errors, "none" if i.last_error_s is None else f"{i.last_error_s:.2f}"]
                for i in impacts(attempts, made)
            ],
        )
    )
    print()
    shown = {
        "messages": result.attempted,
        "acknowledged": result.acknowledged,
        "errors a client saw": result.errors,
        "longest gap between two acknowledgements (s)": f"{result.longest_gap_s:.2f}",
        "acknowledged after, median / p99 (ms)": f"{result.latency_p50_s * 1e3:.0f} / {result.latency_p99_s * 1e3:.0f}",
        "delivered": result.delivered,
        "lost": result.lost,
        "duplicated": result.duplicated,
    } | {f"  {reason}": number for reason, number in reasons(attempts).items()}
    print(render_table(["what", "figure"], list(shown.items())))
    _write(Path(".cluster/demo.json"), json.dumps(result.as_json(), indent=2) + "\n")
    print(_HINTS.format(kubeconfig=local.kube.kubeconfig, namespace=NAMESPACE))
    return 0 if verdict.ok else 1


def _faults(kube: Kube, stage: Stage) -> list[Step]:
    first, second, *_ = [
        faults.find_container(kube, namespace=NAMESPACE, pod=pod.name, container="relay")
        for pod in stage.pods("relay")
        if pod.ready
    ]
    return [
        Step(at_s=5, name="relay killed", act=lambda: faults.kill(first)),
        Step(at_s=11, name="relay hangs", act=lambda: faults.stop(second)),
        Step(at_s=16, name="it goes on", act=lambda: faults.resume(second)),
    ]


def _write(path: Path, text: str) -> None:
    (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
    (ROOT / path).write_text(text)


_HINTS: Final = """
The cluster goes on running. To look around and to send mail:

  export KUBECONFIG={kubeconfig}
  kubectl get smtp,pods -n {namespace}
  bin/in-cluster bash -c 'exec 3<>/dev/tcp/outbound.{namespace}.svc.cluster.local/25; head -n 1 <&3'
  make cluster-down        # removes everything
"""

if __name__ == "__main__":
    sys.exit(main())
