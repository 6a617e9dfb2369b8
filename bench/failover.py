"""What a fault costs clients: each fault several times under load, accounted for.

A new connection for each message, no retry, 10 s client timeout. Runs of different faults alternate, so that a busy
minute of the machine does not fall on one of them.
"""

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from mailcheck.model import Attempt
from mailcheck.timeline import reasons
from scenario import faults
from scenario.accounts import Figures, figures, of_this_run
from scenario.apiserver import KubeError
from scenario.kube import NotReachedError, wait_until
from scenario.load import Shape, Step, run
from scenario.stage import Stage

RATE: Final = 200
COUNT: Final = 2000
FAULT_AT_S: Final = 3.0
HANG_S: Final = 4.0
LATE_S: Final = 1.0
"""So long a busy node may leave a balancer without processor time, and no check of it calls a relay down."""
HEALTH: Final = {"maxEjectedPercent": 0}
"""Of the pools: faults follow each other so soon that the operator would eject the relay that they befall."""
OPERATOR_NAMESPACE: Final = "smtpfleet-system"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A fault and its bars; ``steps`` looks its victims up when called."""

    name: str
    steps: Callable[[Stage], list[Step]]
    errors_at_most: float | None
    """Share of messages."""
    last_error_s: float | None


@dataclass(kw_only=True)
class Result:
    """All runs of one case."""

    case: Case
    runs: list[Figures] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def _victim(stage: Stage, component: str, container: str) -> faults.Container:
    pod = next(pod for pod in stage.pods(component) if pod.ready)
    return faults.find_container(stage.kube, namespace=stage.namespace, pod=pod.name, container=container)


def _kill(component: str, container: str) -> Callable[[Stage], list[Step]]:
    def steps(stage: Stage) -> list[Step]:
        victim = _victim(stage, component, container)
        return [Step(at_s=FAULT_AT_S, name=f"{component} killed", act=lambda: faults.kill(victim))]

    return steps


def _kill_postfix(stage: Stage) -> list[Step]:
    """Its master alone: the agent lives on, and starts it again."""
    victim = _victim(stage, "relay", "relay")

    def act() -> float:
        moment = time.time()
        if not faults.signal_program(victim, "master", signal.SIGKILL):
            raise LookupError("no Postfix runs there")
        return moment

    return [Step(at_s=FAULT_AT_S, name="Postfix killed", act=act)]


def _hang(stage: Stage) -> list[Step]:
    victim = _victim(stage, "relay", "relay")
    return [
        Step(at_s=FAULT_AT_S, name="relay hangs", act=lambda: faults.stop(victim)),
        Step(at_s=FAULT_AT_S + HANG_S, name="it goes on", act=lambda: faults.resume(victim)),
    ]


def _delete(component: str, *, force: bool) -> Callable[[Stage], list[Step]]:
    def steps(stage: Stage) -> list[Step]:
        pod = next(pod for pod in stage.pods(component) if pod.ready)
        return [
            Step(
                at_s=FAULT_AT_S,
                name=f"{component} deleted",
                act=lambda: faults.delete_pod(
                    stage.kube, namespace=stage.namespace, pod=pod.name, force=force
                ),
            )
        ]

    return steps


def _delete_unheard(stage: Stage) -> list[Step]:
    """One HAProxy of each balancer gets no processor time, as on a busy node; its twin polls on."""
    late = [
        faults.find_container(stage.kube, namespace=stage.namespace, pod=pod.name, container="haproxy-twin")
        for pod in stage.pods("balancer")
    ]

    def each(act: Callable[[faults.Container], float]) -> Callable[[], float]:
        return lambda: max([act(container) for container in late])

    return [
        Step(at_s=FAULT_AT_S, name="HAProxys are late", act=each(faults.stop)),
        *_delete("relay", force=False)(stage),
        Step(at_s=FAULT_AT_S + LATE_S, name="they go on", act=each(faults.resume)),
    ]


CASES: Final = (
    Case(
        name="relay killed (SIGKILL)", steps=_kill("relay", "relay"), errors_at_most=0.005, last_error_s=0.5
    ),
    Case(name="Postfix's master killed alone", steps=_kill_postfix, errors_at_most=0.005, last_error_s=1.0),
    Case(name="relay hangs (SIGSTOP)", steps=_hang, errors_at_most=0.01, last_error_s=1.0),
    Case(
        name="relay pod deleted", steps=_delete("relay", force=False), errors_at_most=0.0, last_error_s=None
    ),
    Case(
        name="relay pod deleted, HAProxys late", steps=_delete_unheard, errors_at_most=0.0, last_error_s=None
    ),
    Case(
        name="relay pod deleted by force",
        steps=_delete("relay", force=True),
        errors_at_most=0.005,
        last_error_s=0.5,
    ),
    Case(
        name="balancer pod deleted",
        steps=_delete("balancer", force=False),
        errors_at_most=0.0,
        last_error_s=None,
    ),
    Case(
        name="balancer killed (SIGKILL)",
        steps=_kill("balancer", "haproxy"),
        errors_at_most=None,
        last_error_s=0.5,
    ),
)
NO_FAULT: Final = Case(name="no fault", steps=lambda stage: [], errors_at_most=0.0, last_error_s=None)


def settle(stage: Stage, *, relays: int, balancers: int = 2) -> None:
    """Wait until every pod is ready again and the balancers' checks have seen it."""

    def seen() -> str:
        ready = [sum(p.ready for p in stage.pods(kind)) for kind in ("relay", "balancer")]
        return "" if ready == [relays, balancers] else f"ready relays and balancers: {ready}"

    wait_until(seen, timeout_s=120)

    def all_up() -> str:
        for pod in stage.pods("balancer"):
            try:
                servers = stage.balancer_status(pod.name)["servers"]
            except KubeError as error:
                return f"{pod.name} does not answer: {error}"
            down = [s["name"] for s in servers if not s["state"].startswith("UP")]
            if down:
                return f"{pod.name} sees as not up: {down}"
        return ""

    wait_until(all_up, timeout_s=60)


def measure(
    stage: Stage, case: Case, earlier: list[Attempt], *, relays: int, load: tuple[int, int] = (RATE, COUNT)
) -> tuple[Figures, str]:
    """One run: load (rate and count), fault, drain, account. ``earlier`` grows by this run's attempts."""
    settle(stage, relays=relays)
    shape = Shape(target=f"{stage.address()}:25", rate=load[0], count=load[1])
    attempts, made = run(stage.kube, shape, case.steps(stage))
    try:
        arrivals = stage.wait_drained(attempts, timeout_s=150)
    except NotReachedError as error:
        print(f"  not drained: {error}", flush=True)
        arrivals = stage.arrivals()
    result, _ = figures(attempts, of_this_run(arrivals, earlier), made[:1])
    earlier.extend(attempts)
    return result, ", ".join(f"{number}x {reason}" for reason, number in reasons(attempts).items())


def alternate(
    stage: Stage, cases: Sequence[Case], *, runs: int, relays: int, load: tuple[int, int] = (RATE, COUNT)
) -> list[Result]:
    """Each case ``runs`` times, in turn."""
    results = [Result(case=case) for case in cases]
    earlier: list[Attempt] = []
    for number in range(runs):
        for result in results:
            begin = time.monotonic()
            measured, why = measure(stage, result.case, earlier, relays=relays, load=load)
            result.runs.append(measured)
            result.reasons.append(why)
            last = "none" if measured.last_error_s is None else f"{measured.last_error_s:.2f} s"
            print(
                f"  run {number + 1}/{runs} {result.case.name}: {measured.errors} errors of {measured.attempted},"
                f" last {last}, lost {measured.lost}, duplicated {measured.duplicated}"
                f" ({time.monotonic() - begin:.0f} s) {why}",
                flush=True,
            )
    return results


def without_operator(stage: Stage, *, runs: int, relays: int) -> list[Result]:
    """A relay killed while no operator runs."""
    kube = stage.kube
    scale = ("scale", "deployment/smtpfleet", "-n", OPERATOR_NAMESPACE)
    kube.run(*scale, "--replicas=0")
    try:
        case = Case(
            name="relay killed, no operator",
            steps=_kill("relay", "relay"),
            errors_at_most=0.005,
            last_error_s=0.5,
        )
        return alternate(stage, [case], runs=runs, relays=relays)
    finally:
        kube.run(*scale, "--replicas=2")
