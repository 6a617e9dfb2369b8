"""How long a pool takes to be Ready, and the resident memory of operator and agents after mail has flowed."""

from typing import Final

from scenario import faults
from scenario.cluster import OPERATOR_NAMESPACE, Local
from scenario.load import Shape, run
from scenario.stage import Stage

RELAYS: Final = 2
BARS: Final = {"operator": 150, "relay agent": 60, "balancer agent": 60}


def measure(local: Local, *, runs: int, namespace: str) -> tuple[list[float], dict[str, list[float]]]:
    """Seconds from apply to Ready, and megabytes by program; one value a run and process."""
    ready: list[float] = []
    memory: dict[str, list[float]] = {name: [] for name in BARS}
    for number in range(runs):
        with Stage(
            kube=local.kube, namespace=f"{namespace}-{number}", sink_image=local.images["sink"]
        ) as stage:
            ready.append(stage.pool(replicas=RELAYS))
            attempts, _ = run(local.kube, Shape(target=f"{stage.address()}:25", rate=100, count=500))
            stage.wait_drained(attempts)
            memory["relay agent"] += _megabytes(stage, "relay", "relay")
            memory["balancer agent"] += _megabytes(stage, "balancer", "agent")
            memory["operator"] += _operator(local)
        print(f"  run {number + 1}/{runs}: Ready after {ready[-1]:.1f} s", flush=True)
    return ready, memory


def _megabytes(stage: Stage, component: str, container: str) -> list[float]:
    return [
        faults.resident_bytes(
            faults.find_container(stage.kube, namespace=stage.namespace, pod=pod.name, container=container)
        )
        / 1e6
        for pod in stage.pods(component)
    ]


def _operator(local: Local) -> list[float]:
    pods = local.kube.items("pods", "-n", OPERATOR_NAMESPACE, "-l", "app.kubernetes.io/component=operator")
    values = []
    for pod in pods:
        name = pod["metadata"]["name"]
        container = pod["spec"]["containers"][0]["name"]
        found = faults.find_container(local.kube, namespace=OPERATOR_NAMESPACE, pod=name, container=container)
        values.append(faults.resident_bytes(found) / 1e6)
    return values
