"""Attempts to hand in one message, each with its own first bytes: ``python -m tests.cluster.attempts``.

Runs inside the cluster's network. Standard input is a list of attempts as JSON, standard output what each was answered.
"""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, BinaryIO

from scenario.load import ROOT

if TYPE_CHECKING:  # programs that begin often need none of what talks to the API server
    from scenario.kube import Kube

_PATIENCE_S = 15.0


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """``first`` (hexadecimal) is sent before anything is read; then EHLO, MAIL, RCPT as far as they are taken."""

    host: str
    port: int = 25
    first: str = ""
    sender: str = "<sender@example.com>"
    options: str = ""
    recipient: str = "<recipient@example.net>"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The last reply: after which command it came, its code (0: the connection was closed), and how long it took."""

    stage: str
    code: int
    text: str
    waited_s: float


def try_all(kube: "Kube", attempts: Sequence[Attempt]) -> list[Answer]:
    """Make the attempts, one after the other."""
    done = subprocess.run(
        kube.inside([sys.executable, "-m", "tests.cluster.attempts"]),
        cwd=ROOT,
        input=json.dumps([asdict(attempt) for attempt in attempts]),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return [Answer(**found) for found in json.loads(done.stdout)]


def _try(attempt: Attempt) -> Answer:
    began = time.monotonic()
    stage, reply = "connect", ""
    try:
        with socket.create_connection((attempt.host, attempt.port), timeout=_PATIENCE_S) as connection:
            connection.sendall(bytes.fromhex(attempt.first))
            with connection.makefile("rb") as lines:
                reply = _reply(lines)
                for command in (
                    "EHLO attempts.test",
                    f"MAIL FROM:{attempt.sender}{attempt.options}",
                    f"RCPT TO:{attempt.recipient}",
                ):
                    if reply[:1] != "2":
                        break
                    connection.sendall(f"{command}\r\n".encode())
                    stage, reply = command[:4], _reply(lines)
    except OSError as error:
        reply = f"000 {type(error).__name__}"
    waited_s = round(time.monotonic() - began, 2)
    return Answer(stage=stage, code=int(reply[:3] or 0), text=reply, waited_s=waited_s)


def _reply(lines: BinaryIO) -> str:
    while (line := lines.readline().decode(errors="replace")) and line[3:4] == "-":
        continue
    return line.strip()


if __name__ == "__main__":
    answers = [asdict(_try(Attempt(**given))) for given in json.load(sys.stdin)]
    sys.stdout.write(json.dumps(answers))
