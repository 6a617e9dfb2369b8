"""Load from outside the fleet: the generator as a process of its own inside the cluster's network.

A process of its own, because faults are made by this one, and neither may wait for the other.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from mailcheck.jsonl import read_attempts
from mailcheck.model import Attempt
from mailcheck.timeline import Fault
from testbed.identity import CONTROL_PLANE

if TYPE_CHECKING:  # programs that begin often need none of what talks to the API server
    from scenario.kube import Kube

ROOT = Path(__file__).resolve().parent.parent
YIELDING: Final = (
    *("setsid", "--wait", "sh", "-c"),
    # A kernel without automatic groups has no such file, and needs none.
    '{ echo 19 > /proc/self/autogroup; } 2>/dev/null; exec nice -n 19 chrt --idle 0 "$@"',
    "sh",
)
"""Before a command: it gets only what processor time all others leave. Its session as well, for where the kernel gives
each session its part (sched_autogroup_enabled), a process's own priority counts only within it."""


class LoadError(Exception):
    """A program that plays a client failed by itself, so there is nothing to account for."""


def run_inside(
    kube: "Kube", command: Sequence[str], *, said: str = "", source: str = CONTROL_PLANE, timeout_s: float
) -> str:
    """Run a program of the repository inside the cluster's network, and return what it prints.

    Args:
        said: its standard input.
        source: the node whose address its connections come from, else the control plane's.

    Raises:
        LoadError: the program failed.
    """
    done = subprocess.run(
        kube.inside(command, source=source),
        cwd=ROOT,
        env=dict(kube.environment),
        input=said,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )
    if done.returncode:
        raise LoadError(f"{' '.join(command)} failed: {done.stderr}")
    return done.stdout


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What is handed in: ``rate`` messages per second, ``count`` in all, and further flags of the generator."""

    target: str
    rate: float
    count: int
    size_bytes: int = 4096
    flags: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Load:
    """A generator that runs; :meth:`finish` waits for it."""

    process: subprocess.Popen[str]
    directory: tempfile.TemporaryDirectory[str]
    began: float

    @classmethod
    def start(cls, kube: "Kube", shape: Shape, *, source: str = CONTROL_PLANE) -> Self:
        """Start the generator; ``source`` as for :func:`run_inside`."""
        directory = tempfile.TemporaryDirectory(prefix="smtpfleet-load-")
        command = [
            sys.executable, "-m", "mailcheck", "generate",
            "--target", shape.target,
            "--rate", str(shape.rate),
            "--count", str(shape.count),
            "--size", str(shape.size_bytes),
            "--output", f"{directory.name}/attempts.jsonl",
            *shape.flags,
        ]  # fmt: skip
        process = subprocess.Popen(
            kube.inside(command, source=source),
            cwd=ROOT,
            env=dict(kube.environment),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return cls(process=process, directory=directory, began=time.time())

    def last(self, seconds: float) -> None:
        """Wait until it has gone on for so long."""
        time.sleep(max(0.0, self.began + seconds - time.time()))

    def enough(self) -> list[Attempt]:
        """Let it begin no more messages, and read what became of each."""
        self.process.terminate()
        return self.finish()

    def finish(self, *, timeout_s: float = 300) -> list[Attempt]:
        """Wait for the generator and read what became of each message.

        Raises:
            LoadError: the generator failed.
        """
        try:
            said, _ = self.process.communicate(timeout=timeout_s)
            if self.process.returncode:
                raise LoadError(f"the generator failed: {said}")
            return read_attempts(Path(self.directory.name) / "attempts.jsonl")
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.directory.cleanup()


@dataclass(frozen=True, kw_only=True)
class Step:
    """A fault: ``act`` is called ``at_s`` seconds after the load began and returns the moment it took effect."""

    at_s: float
    name: str
    act: Callable[[], float]


def run(kube: "Kube", shape: Shape, steps: Sequence[Step] = ()) -> tuple[list[Attempt], list[Fault]]:
    """Run a load with faults at their times; return attempts and faults with the moments they took effect."""
    load = Load.start(kube, shape)
    faults = []
    try:
        for step in sorted(steps, key=lambda step: step.at_s):
            time.sleep(max(0.0, load.began + step.at_s - time.time()))
            faults.append(Fault(name=step.name, time=step.act()))
    finally:
        attempts = load.finish(timeout_s=shape.count / shape.rate + 120)
    return attempts, faults
