"""Sessions of a client inside the cluster's network, and what tests of them wait for and account."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mailcheck.checker import check
from mailcheck.jsonl import decode_attempts
from mailcheck.model import Attempt, Stage
from scenario.kube import Object, wait_until
from scenario.load import ROOT
from scenario.stage import Stage as Theatre


@dataclass(frozen=True)
class Session:
    """What a client saw: the certificate, the mechanisms offered, the reply to its log-in (0: it made none), and what
    became of its messages."""

    certificate: str
    attempts: list[Attempt]
    offered: set[str]
    login: int

    @property
    def codes(self) -> set[tuple[Stage, int | None]]:
        """Where messages ended, with the reply."""
        return {(attempt.stage, attempt.code) for attempt in self.attempts}


@contextmanager
def opened(stage: Theatre, way: str, port: int, *flags: str, to: str = "") -> Iterator[subprocess.Popen[str]]:
    """A session that runs, with the pool or an address; ``flags`` as ``tests.cluster.tls_client`` has them."""
    address = to or stage.address()
    command = [sys.executable, "-m", "tests.cluster.tls_client", way, address, str(port), *flags]
    process = subprocess.Popen(
        stage.kube.inside(command), cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> Session:
    """Let it go on, and read what it saw."""
    said, _ = process.communicate("\n", timeout=60)
    assert process.returncode == 0
    told = json.loads(said.splitlines()[-1])
    return Session(
        told["certificate"], decode_attempts(told["attempts"]), set(told["offered"]), told["login"]
    )


def run_session(stage: Theatre, way: str, port: int, *flags: str, to: str = "") -> Session:
    """A whole session."""
    with opened(stage, way, port, *flags, to=to) as process:
        return ended(process)


def wait_condition(stage: Theatre, kind: str, status: str, reason: str, *words: str) -> str:
    """Wait until a condition of the pool says this; return its message."""
    seen: list[Object] = []

    def look() -> str:
        conditions = stage.kube.get("smtppool", "outbound", "-n", stage.namespace)["status"]["conditions"]
        seen[:] = [found for found in conditions if found["type"] == kind]
        is_it = [(c["status"], c["reason"]) for c in seen] == [(status, reason)]
        return "" if is_it and all(word in seen[0]["message"] for word in words) else f"it is {seen}"

    wait_until(look, timeout_s=60)
    return str(seen[0]["message"])


def account(stage: Theatre, attempts: list[Attempt]) -> None:
    """What was handed in was acknowledged, and has arrived, once."""
    assert all(attempt.acknowledged for attempt in attempts)
    ids = {attempt.id for attempt in attempts}
    arrived = [arrival for arrival in stage.wait_drained(attempts) if arrival.id in ids]
    assert check(attempts, arrived).ok
