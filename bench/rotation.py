"""What clients notice while certificate, users or DKIM keys change: messages at a fixed rate, judged by accounting.

Three relays, STARTTLS with a user, signed; connections are kept for 20 messages, so that both old sessions and new ones
are there whenever something changes.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Final

from bench.users import PASSWORD, USER
from mailcheck.model import Attempt
from scenario.accounts import Figures, figures, of_this_run
from scenario.kube import wait_until
from scenario.load import Shape, Step, run
from scenario.stage import CLUSTER_NETWORKS, Stage
from smtpfleet.controller.selfsigned import make

RATE: Final = 100
COUNT: Final = 3000
RELAYS: Final = 3
WHAT: Final = ("certificate", "users", "DKIM key")
_CERTIFICATE, _USERS = "rotation-certificate", "rotation-users"
_KEYS: Final = ({"domain": "example.com", "selector": "r1"}, {"domain": "example.com", "selector": "r2"})
_CHANGES_S: Final = (3.0, 10.0, 17.0, 24.0)


def measure(stage: Stage, *, runs: int) -> dict[str, list[Figures]]:
    """Each change four times in a run, and the figures of the runs by what changed."""
    _certificate(stage)
    _users(stage)
    _keys(stage, 0)
    stage.wait_ready()
    wait_until(partial(_lacks, stage), timeout_s=90)
    changes: dict[str, Callable[[int], None]] = {
        WHAT[0]: lambda _: _certificate(stage),
        WHAT[1]: lambda number: _users(stage, other=f"password {number}"),
        WHAT[2]: lambda number: _keys(stage, number),
    }
    results: dict[str, list[Figures]] = {what: [] for what in WHAT}
    attempts: list[Attempt] = []
    for number in range(runs):
        for what, change in changes.items():
            result = _run(stage, what, change, attempts)
            results[what].append(result)
            print(f"  run {number + 1}/{runs} {what}: {result.errors} errors, {result.lost} lost", flush=True)
    return results


def _run(stage: Stage, what: str, change: Callable[[int], None], attempts: list[Attempt]) -> Figures:
    def act(number: int) -> float:
        change(number)
        return time.time()

    steps = [
        Step(at_s=at_s, name=f"{what} changes", act=partial(act, number))
        for number, at_s in enumerate(_CHANGES_S, start=1)
    ]
    flags = ("--tls", "starttls", "--login", f"{USER}:{PASSWORD}", "--reuse", "20")
    shape = Shape(target=f"{stage.address()}:587", rate=RATE, count=COUNT, flags=flags)
    done, _ = run(stage.kube, shape, steps)
    arrivals = of_this_run(stage.wait_drained([*attempts, *done], timeout_s=300), attempts)
    attempts.extend(done)
    return figures(done, arrivals)[0]


def _certificate(stage: Stage) -> None:
    pair = make(["relay.example.com"], now=datetime.now(UTC))
    data = {"tls.crt": pair.certificate, "tls.key": pair.key}
    stage.apply_secret(_CERTIFICATE, data, kind="kubernetes.io/tls")


def _users(stage: Stage, **others: str) -> None:
    users = {USER: PASSWORD} | others
    stage.apply_secret(_USERS, {name: password.encode() for name, password in users.items()})


def _keys(stage: Stage, number: int) -> None:
    """The pool; which of two keys signs goes by the number."""
    stage.apply_pool(
        replicas=RELAYS,
        submission={
            "trustedNetworks": list(CLUSTER_NETWORKS),
            "tls": {"mode": "Optional", "secretName": _CERTIFICATE},
            "authentication": {"secretName": _USERS},
        },
        dkim=list(_KEYS if number % 2 == 0 else reversed(_KEYS)),
    )


def _lacks(stage: Stage) -> str:
    """What a relay still lacks before a run can begin."""
    for pod in stage.pods("relay"):
        status = stage.relay_status(pod.name)
        if status["users"]["users"] != 1:
            return f"{pod.name} does not know the user yet"
        if not any(key["signs"] for key in status["signing"]["keys"]):
            return f"{pod.name} does not sign yet"
    return ""
