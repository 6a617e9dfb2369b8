"""What users cost: throughput of STARTTLS with log-in against clear, and what wrong passwords do to other clients.

Everything shares the machine, so runs of the two sides alternate and only their ratio means anything. One relay, for
the bars are about one: 50 wrong log-ins a second arrive on it while others hand in mail.
"""

import subprocess
import sys
import time
from dataclasses import dataclass, field
from statistics import quantiles
from typing import Final

from bench import throughput
from mailcheck.model import Attempt
from scenario.kube import wait_until
from scenario.load import ROOT, Load, Shape
from scenario.stage import CLUSTER_NETWORKS, Stage

SECRET: Final = "bench-users"
USER: Final = "bench"
PASSWORD: Final = "the-password-of-the-benchmark"
GUESSES_PER_S: Final = 50
GUESSERS: Final = 10
"""Client addresses that the wrong log-ins come from, by PROXY header."""
RATE: Final = 40
COUNT: Final = 600


def pool(stage: Stage) -> None:
    """A pool of one relay with one user and trusted networks."""
    stage.apply_secret(SECRET, {USER: PASSWORD.encode()})
    submission = {"trustedNetworks": list(CLUSTER_NETWORKS), "authentication": {"secretName": SECRET}}
    stage.pool(replicas=1, balancing={"replicas": 1}, submission=submission)
    wait_until(lambda: "" if _known(stage) else "the relay does not know the user yet", timeout_s=90)


def _known(stage: Stage) -> bool:
    return all(stage.relay_status(pod.name)["users"]["users"] == 1 for pod in stage.pods("relay"))


def ways(stage: Stage) -> tuple[throughput.Way, throughput.Way]:
    """The same clients with kept connections: under TLS with a user, and in clear from a trusted network."""
    kept = ("--reuse", str(throughput.CLIENTS))
    login = ("--tls", "starttls", "--login", f"{USER}:{PASSWORD}")
    return (
        throughput.Way(name="users", flags=("--target", f"{stage.address()}:587", *login, *kept)),
        throughput.Way(name="clear", flags=("--target", f"{stage.address()}:25", *kept)),
    )


@dataclass(kw_only=True)
class Guessing:
    """Latencies of other clients, run by run, and what became of the wrong log-ins."""

    undisturbed_p99_s: list[float] = field(default_factory=list)
    disturbed_p99_s: list[float] = field(default_factory=list)
    errors: int = 0
    guesses_per_s: list[float] = field(default_factory=list)


def guessing(stage: Stage, *, runs: int) -> Guessing:
    """Others' latency with and without wrong log-ins, in turn."""
    result, attempts = Guessing(), list[Attempt]()
    for number in range(runs):
        for disturbed in (False, True):
            done, guesses_per_s = _others(stage, disturbed=disturbed)
            attempts.extend(done)
            stage.wait_drained(attempts, timeout_s=300)
            p99_s = quantiles((a.end - a.planned for a in done), n=100)[98]
            (result.disturbed_p99_s if disturbed else result.undisturbed_p99_s).append(p99_s)
            result.errors += sum(not a.acknowledged for a in done)
            if disturbed:
                result.guesses_per_s.append(guesses_per_s)
            print(
                f"  run {number + 1}/{runs} {'disturbed' if disturbed else 'undisturbed'}:"
                f" p99 {p99_s * 1e3:.0f} ms, {guesses_per_s:.0f} wrong log-ins/s",
                flush=True,
            )
    return result


def _others(stage: Stage, *, disturbed: bool) -> tuple[list[Attempt], float]:
    """Messages of others at a fixed rate; returns them, and how many wrong log-ins were answered a second."""
    attackers = _attackers(stage) if disturbed else []
    began = time.monotonic()
    try:
        shape = Shape(
            target=f"{stage.address()}:587",
            rate=RATE,
            count=COUNT,
            flags=("--tls", "starttls", "--login", f"{USER}:{PASSWORD}", "--reuse", "10"),
        )
        done = Load.start(stage.kube, shape).finish()
        seconds = time.monotonic() - began
    finally:
        answered = sum(_stopped(process) for process in attackers)
    return done, answered / seconds


def _attackers(stage: Stage) -> list[subprocess.Popen[str]]:
    """One generator for each address, straight to the relay, for it is the balancer who tells addresses."""
    relay = stage.address(stage.pods("relay")[0].relay)
    command = [sys.executable, "-m", "bench.guesser", f"{relay}:2587", str(GUESSES_PER_S), str(GUESSERS)]
    return [
        subprocess.Popen(
            stage.kube.inside(command), cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
    ]


def _stopped(process: subprocess.Popen[str]) -> int:
    said, _ = process.communicate("\n", timeout=60)
    return int(said.splitlines()[-1])
