"""What it costs clients when every relay is gone and backups take over, and when the relays are back.

The backup is the receiver itself. The pool is paused meanwhile, or the operator would bring the relays back at once.
"""

import time
from typing import Final

from bench.failover import FAULT_AT_S, Case, Result, alternate
from scenario import faults
from scenario.load import Step
from scenario.stage import Stage

BACK_AT_S: Final = 7.0
LOAD: Final = (40, 480)
"""Messages a second, and in all: the first relay that is back takes all of it while the others start."""


def _deployments(stage: Stage) -> list[str]:
    return sorted({f"deployment/{pod.relay}" for pod in stage.pods("relay")})


def _pause(stage: Stage, mark: str) -> None:
    stage.kube.run("annotate", "smtppool/outbound", "-n", stage.namespace, "--overwrite", mark)


def _resume(stage: Stage) -> Step:
    def act() -> float:
        _pause(stage, "smtpfleet.io/paused-")
        return time.time()

    return Step(at_s=BACK_AT_S, name="the relays come back", act=act)


def _stop(stage: Stage) -> list[Step]:
    """As somebody does who scales all Deployments down."""
    _pause(stage, "smtpfleet.io/paused=true")
    relays = _deployments(stage)

    def act() -> float:
        moment = time.time()
        stage.kube.run("scale", *relays, "-n", stage.namespace, "--replicas=0")
        return moment

    return [Step(at_s=FAULT_AT_S, name="all relays stopped", act=act), _resume(stage)]


def _kill(stage: Stage) -> list[Step]:
    """All at the same moment, and not started again by the kubelet: their pods go, too."""
    _pause(stage, "smtpfleet.io/paused=true")
    relays = _deployments(stage)
    victims = [
        faults.find_container(stage.kube, namespace=stage.namespace, pod=pod.name, container="relay")
        for pod in stage.pods("relay")
    ]

    def act() -> float:
        moment = min(map(faults.kill, victims))
        stage.kube.run("scale", *relays, "-n", stage.namespace, "--replicas=0")
        return moment

    return [Step(at_s=FAULT_AT_S, name="all relays killed", act=act), _resume(stage)]


CASES: Final = (
    Case(name="all relays stopped, backup", steps=_stop, errors_at_most=None, last_error_s=1.0),
    Case(name="all relays killed, backup", steps=_kill, errors_at_most=None, last_error_s=1.0),
)


def with_backups(stage: Stage, *, runs: int, relays: int) -> list[Result]:
    """Every relay gone for four seconds, in a pool that has a backup."""
    backup = {"host": stage.address("sink"), "port": 25}
    stage.pool(replicas=relays, balancing={"backups": [backup]})
    return alternate(stage, CASES, runs=runs, relays=relays, load=LOAD)
