"""What others notice while hostile clients are at work: latency of their mail, undisturbed and attacked in alternation.

Attackers and others come from the same machine and share its cores with the relays. An attacker brings a machine of his
own, so his program only gets the time that all others leave; what it makes relays and balancers do has its full weight.
He has an address of his own, too. Beside the attacks stands what others notice of programs that only compute, one a
core: so much of it is the machine's, and comes from any neighbour that takes as much time.
"""

import os
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from mailcheck.model import Attempt
from mailcheck.timeline import acknowledge_latency
from scenario.conversation import hold
from scenario.hostile import Attack, attacks, slow
from scenario.load import Load, Shape
from scenario.stage import Stage

RATE: Final = 20
COUNT: Final = 400
"""Of a run. With less of them the 99th percentile is what happens to two or three messages."""
LIMIT_BYTES: Final = 10 * 2**20
SESSIONS: Final = 5
"""Of each attack at a time; they are begun again when all have ended."""
_PATIENCE_S: Final = 10.0
_ATTACKERS: Final = "n1"
"""The node whose address they have; others have the control plane's."""


@dataclass(kw_only=True)
class Kind:
    """Attacks that go on together, and what others saw of it in each run. Without an attack: programs that compute."""

    name: str
    attacks: Sequence[Attack]
    p99_s: list[float] = field(default_factory=list)
    ratio: list[float] = field(default_factory=list)
    errors: list[int] = field(default_factory=list)


def kinds() -> tuple[Kind, ...]:
    """All attacks of scenario.hostile, in groups."""
    by_title: Mapping[str, Attack] = {attack.title: attack for attack in attacks(LIMIT_BYTES)}
    large = [attack for title, attack in by_title.items() if "beyond" in title]
    many = [by_title["1001 recipients"]]
    rest = [attack for attack in by_title.values() if attack not in [*large, *many]]
    return (
        Kind(name="protocol breakers", attacks=rest),
        Kind(name="oversize", attacks=large),
        Kind(name="1001 recipients", attacks=many),
        Kind(name="slow at every stage", attacks=slow()),
        Kind(name="no attack, programs that compute", attacks=()),
    )


def alternate(
    stage: Stage, names: Sequence[str], *, runs: int, sessions: int
) -> tuple[tuple[Kind, ...], list[float]]:
    """Each kind that is named, right after an undisturbed run; returns them and the p99 of the undisturbed runs."""
    found = tuple(kind for kind in kinds() if kind.name in names)
    quiet, accounted = list[float](), list[Attempt]()
    for number in range(runs):
        for kind in found:
            before = _p99_s(_load(stage, accounted))
            attacked = _attacked(stage, kind, sessions, accounted)
            quiet.append(before)
            kind.p99_s.append(_p99_s(attacked))
            kind.ratio.append(kind.p99_s[-1] / before)
            kind.errors.append(sum(not attempt.acknowledged for attempt in attacked))
            print(
                f"  run {number + 1}/{runs} {kind.name}: p99 {kind.p99_s[-1]:.3f} s, before {before:.3f} s",
                flush=True,
            )
    return found, quiet


def _p99_s(attempts: Sequence[Attempt]) -> float:
    latency = acknowledge_latency(attempts)
    return latency.p99 if latency else float("inf")


def _load(stage: Stage, accounted: list[Attempt]) -> list[Attempt]:
    load = Load.start(stage.kube, _shape(stage))
    return _drained(stage, load.finish(), accounted)


def _attacked(stage: Stage, kind: Kind, sessions: int, accounted: list[Attempt]) -> list[Attempt]:
    with _attack(stage, kind, sessions) if kind.attacks else _computing():
        attempts = Load.start(stage.kube, _shape(stage)).finish()
    return _drained(stage, attempts, accounted)


@contextmanager
def _computing() -> Iterator[None]:
    """Programs of ordinary priority that keep every core busy, in a session of their own."""
    command = ["sh", "-c", "while :; do :; done"]
    programs = [subprocess.Popen(command, start_new_session=True) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


@contextmanager
def _attack(stage: Stage, kind: Kind, at_a_time: int) -> Iterator[None]:
    over, numbers = threading.Event(), count()

    def attack() -> None:
        while not over.is_set():
            sessions = [
                one.on(stage.address(), number=next(numbers), patience_s=_PATIENCE_S)
                for one in kind.attacks
                for _ in range(at_a_time)
            ]
            hold(stage.kube, sessions, source=_ATTACKERS, yielding=True)

    attacker = threading.Thread(target=attack)
    attacker.start()
    try:
        yield
    finally:
        over.set()
        attacker.join()


def _drained(stage: Stage, attempts: list[Attempt], accounted: list[Attempt]) -> list[Attempt]:
    """Empty queues, so that no run pays for the one before."""
    accounted.extend(attempts)
    stage.wait_drained(accounted)
    return attempts


def _shape(stage: Stage) -> Shape:
    return Shape(target=f"{stage.address()}:25", rate=RATE, count=COUNT, flags=("--timeout", "60"))
