"""Accepted messages per second through the balancers and directly to the relays, in alternation.

The direct clients choose a relay in turn and send the PROXY header that the balancer would send. Relays, balancers and
clients share the machine, so only the ratio of neighbouring runs means anything.

What was accepted may wait while more is accepted: where intake gets more of the processor, deliveries get less. So how
long it takes until all of a run has arrived is measured as well.
"""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mailcheck.jsonl import read_attempts
from mailcheck.model import Attempt
from scenario.load import run_inside
from scenario.stage import Stage

CLIENTS: Final = 20
SECONDS: Final = 10.0


@dataclass(kw_only=True)
class Way:
    """One way in: flags of the generator, and what it took in each run."""

    name: str
    flags: tuple[str, ...]
    accepted_per_s: list[float] = field(default_factory=list)
    delivered_per_s: list[float] = field(default_factory=list)
    """Messages of a run by the time from its beginning to its last arrival."""
    errors: int = 0


def ways(stage: Stage, *, reuse: bool) -> tuple[Way, Way]:
    """Through the Service, and to the relays' own Services."""
    kept = ("--reuse", str(CLIENTS)) if reuse else ()
    relays = [f"{stage.address(pod.relay)}:2525" for pod in stage.pods("relay")]
    return (
        Way(name="balancer", flags=("--target", f"{stage.address()}:25", *kept)),
        Way(
            name="direct",
            flags=(
                "--targets",
                ",".join(relays),
                "--choice",
                "round-robin",
                "--proxy-header",
                "10.0.0.1",
                *kept,
            ),
        ),
    )


def alternate(stage: Stage, both: Sequence[Way], *, runs: int) -> list[Attempt]:
    """Run the ways in turn; each run waits for empty queues, so that it does not pay for the one before."""
    attempts: list[Attempt] = []
    for number in range(runs):
        for way in both:
            done = _closed_loop(stage, way)
            begin, end = min(a.start for a in done), max(a.end for a in done)
            taken = sum(a.acknowledged for a in done)
            attempts.extend(done)
            last = max(arrival.time for arrival in stage.wait_drained(attempts, timeout_s=300))
            way.accepted_per_s.append(taken / (end - begin))
            way.delivered_per_s.append(taken / (last - begin))
            way.errors += len(done) - taken
            print(
                f"  run {number + 1}/{runs} {way.name}: {way.accepted_per_s[-1]:.0f}/s accepted,"
                f" {way.delivered_per_s[-1]:.0f}/s until all had arrived, {len(done) - taken} errors",
                flush=True,
            )
    return attempts


def ratios(ones: Sequence[float], others: Sequence[float]) -> tuple[float, ...]:
    """Of runs that were neighbours."""
    return tuple(one / other for one, other in zip(ones, others, strict=True))


def _closed_loop(stage: Stage, way: Way) -> list[Attempt]:
    with tempfile.TemporaryDirectory(prefix="smtpfleet-bench-") as directory:
        output = Path(directory) / "attempts.jsonl"
        command = [
            sys.executable, "-m", "mailcheck", "generate", *way.flags,
            "--closed", str(CLIENTS), "--seconds", str(SECONDS), "--size", "2048", "--output", str(output),
        ]  # fmt: skip
        run_inside(stage.kube, command, timeout_s=SECONDS + 60)
        return read_attempts(output)
