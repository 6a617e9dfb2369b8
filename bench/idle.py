"""How long a client that holds idle sessions keeps others out of a relay's port, and what bounds it."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from scenario.load import ROOT, Load, Shape
from scenario.stage import CLUSTER_NETWORKS, Stage

IDLE: Final = 250
"""More than a relay has processes for one port (200): what is over waits for the next that is free."""
RATE: Final = 2
"""Messages of the others a second, each with this much patience:"""
PATIENCE_S: Final = 5
_IDLER: Final = "n1"
"""The node whose address the idle client has; others have another one."""


@dataclass(kw_only=True)
class Case:
    """A pool, how long it is watched, and what others saw in each run, from the moment the port was full."""

    name: str
    watched_s: int
    submission: Mapping[str, Any] = field(default_factory=dict)
    postfix: Mapping[str, str] = field(default_factory=dict)
    errors: list[float] = field(default_factory=list)
    last_error_s: list[float] = field(default_factory=list)


def cases() -> tuple[Case, ...]:
    """As it comes, with a shorter time-out, and with a limit per client."""
    return (
        Case(name="as it comes", watched_s=400),
        Case(name="smtpd_timeout 30s", watched_s=90, postfix={"smtpd_timeout": "${stress?{10}:{30}}s"}),
        Case(name="maxConnectionsPerClient 50", watched_s=30, submission={"maxConnectionsPerClient": 50}),
    )


def measure(stage: Stage, *, runs: int) -> tuple[Case, ...]:
    """Every case with a pool of one relay, made anew for each run, so that none begins under stress."""
    found = cases()
    for number in range(runs):
        for case in found:
            stage.pool(
                replicas=1,
                submission={"trustedNetworks": list(CLUSTER_NETWORKS), **case.submission},
                relay={"postfix": dict(case.postfix)},
            )
            _run(stage, case)
            stage.kube.run("delete", "smtppool", "outbound", "-n", stage.namespace, "--wait=true")
            print(
                f"  run {number + 1}/{runs} {case.name}: {case.errors[-1]:.0f} % failed, the last after"
                f" {case.last_error_s[-1]:.0f} s",
                flush=True,
            )
    return found


def _run(stage: Stage, case: Case) -> None:
    with _idling(stage):
        shape = Shape(
            target=f"{stage.address()}:25",
            rate=RATE,
            count=RATE * case.watched_s,
            flags=("--timeout", str(PATIENCE_S)),
        )
        attempts = Load.start(stage.kube, shape).finish(timeout_s=case.watched_s + 60)
    begin = min(attempt.start for attempt in attempts)
    failed = [attempt.start - begin for attempt in attempts if not attempt.acknowledged]
    case.errors.append(100 * len(failed) / len(attempts))
    case.last_error_s.append(max(failed, default=0.0))


@contextmanager
def _idling(stage: Stage) -> Iterator[None]:
    command = [sys.executable, "-m", "bench.idler", stage.address(), "25", str(IDLE)]
    with subprocess.Popen(
        stage.kube.inside(command),
        cwd=ROOT,
        env={**stage.kube.environment, "IN_CLUSTER_FROM": _IDLER},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.communicate("\n", timeout=60)
