"""Accepted messages per second of one relay that signs and of the same relay that does not, in alternation.

The list of keys is live, so both are the same pods, on the same volume: only the ratio of neighbouring runs means
anything.
"""

from functools import partial
from typing import Final

from bench.throughput import Way, alternate
from scenario.kube import wait_until
from scenario.stage import Stage

KEYS: Final = {
    "unsigned": [],
    "RSA 2048": [{"domain": "example.com", "selector": "r1"}],
    "RSA 2048 and Ed25519": [
        {"domain": "example.com", "selector": "r1"},
        {"domain": "example.com", "selector": "e1", "algorithm": "Ed25519"},
    ],
}
"""What is signed: the generator's messages are from example.com."""
CLIENTS: Final = 20


def ways(stage: Stage) -> dict[str, Way]:
    """One way in for each list of keys: through the balancer, with reused connections."""
    flags = ("--target", f"{stage.address()}:25", "--reuse", str(CLIENTS))
    return {name: Way(name=name, flags=flags) for name in KEYS}


def measure(stage: Stage, *, runs: int) -> dict[str, Way]:
    """Run the lists of keys in turn."""
    every = ways(stage)
    for number in range(runs):
        print(f"  round {number + 1}/{runs}", flush=True)
        for name, way in every.items():
            stage.apply_pool(replicas=1, balancing={"replicas": 1}, dkim=KEYS[name])
            wait_until(partial(_difference, stage, len(KEYS[name])), timeout_s=90)
            alternate(stage, [way], runs=1)
    return every


def _difference(stage: Stage, keys: int) -> str:
    """What the relay still lacks before it signs with so many keys."""
    for pod in stage.pods("relay"):
        signing = stage.relay_status(pod.name).get("signing")
        known = [key for key in signing["keys"] if key["signs"]] if signing else []
        if len(known) != keys or (signing and signing["trouble"]):
            return f"{pod.name} signs with {len(known)} keys"
    return ""
