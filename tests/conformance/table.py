"""The table of clients and features: what it is to be, as docs/clients.md shows it, and what a run found.

``python -m tests.conformance.table`` prints the table as it is to be.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

from mailcheck.model import Attempt
from scenario.kube import Kube
from scenario.load import LoadError, run_inside
from testbed import packages
from testbed.identity import CONTROL_PLANE
from tests.conformance.clients import CLIENTS, GO_PROGRAM, HERE, PORTS, Client, Security, Submission
from tests.conformance.drive import Outcome
from tests.conformance.features import EXTENSIONS, MECHANISMS, Feature, Letter, letter

OFFERED: Final = "✓"
PASSWORD: Final = 'correct horse: "battery" $ & % + = / \\ staple'
"""Of every user here: what a shell, a URL or a configuration file could take for something else."""
_TIMEOUT_S: Final = 300


@dataclass(frozen=True, kw_only=True)
class Case:
    """One message by one client through one port."""

    name: str
    client: Client
    feature: Feature
    port: int
    letter: Letter

    @property
    def mechanism(self) -> str:
        """By which its user logs in; empty for a client in a trusted network."""
        return MECHANISMS.get(self.feature, "")

    @property
    def user(self) -> str:
        """Of this client and mechanism alone, so that the relay's log tells how it logged in."""
        return f"{self.client.name}.{self.mechanism.lower()}" if self.mechanism else ""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where clients submit: the pool's name in the cluster, its certificate, and one that is not its own; files."""

    host: str
    ca: Path
    other_ca: Path


def missing(clients: Iterable[Client]) -> dict[str, str]:
    """Clients that cannot run here, each with what to do."""
    return {
        client.name: f"{client.program} is not installed: apt-get install {' '.join(client.packages)}"
        for client in clients
        if shutil.which(client.program) is None
    }


def install(clients: Iterable[Client]) -> None:
    """Install the clients' programs as Debian packages, as far as they are missing and this is root on Debian."""
    absent = missing(clients)
    wanted = {package for client in clients if client.name in absent for package in client.packages}
    if wanted and os.geteuid() == 0:
        packages.install(sorted(wanted))


def prepare(clients: Iterable[Client]) -> None:
    """Build or fetch what the clients run; each is locked."""
    names = {client.name for client in clients}
    if "go" in names:
        _call(["go", "build", "-o", str(GO_PROGRAM), "."], HERE / "go")
    if "nodemailer" in names:
        _call(["npm", "ci", "--no-audit", "--no-fund"], HERE / "node")
    if "jakarta" in names:
        _call(["mvn", "--batch-mode", "--quiet", "compile"], HERE / "java")


def _call(command: Sequence[str], directory: Path) -> None:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise LoadError(f"{' '.join(command)} failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")


def cases(clients: Iterable[Client], *, every_port: bool) -> list[Case]:
    """A case for every cell, and for every port that it makes sense for; else for one of these, in turn.

    Port 25 alone for what is not used, TLS ports for verification and users.
    """
    run = uuid4().hex[:8]
    return [
        Case(
            name=f"{client.name}, {feature}, port {port}",
            client=client,
            feature=feature,
            port=port,
            letter=letter(feature, f"{run}.{client.name}.{feature.name.lower()}.{port}@mailcheck.invalid"),
        )
        for client in clients
        for feature in Feature
        for port in _ports(client, feature, every_port=every_port)
    ]


def _ports(client: Client, feature: Feature, *, every_port: bool) -> list[int]:
    ways = _ways(client, feature)
    ports = [port for port, security in PORTS.items() if security in ways]
    if every_port or len(ports) < 2:
        return ports
    # Whether an extension is used is seen in clear.
    seen = feature in EXTENSIONS or feature is Feature.PIPELINING
    return ports[:1] if seen else [ports[[*Feature].index(feature) % len(ports)]]


def _ways(client: Client, feature: Feature) -> set[Security]:
    if feature is Feature.VERIFICATION:
        return {Security.STARTTLS, Security.IMPLICIT}
    if feature in MECHANISMS:
        return set() if feature in client.lacks else {Security.STARTTLS, Security.IMPLICIT}
    if feature not in client.lacks:
        return set(Security)
    # Without SMTPUTF8 there is no lawful way to say such an address.
    return set() if feature is Feature.SMTPUTF8 else {Security.CLEAR}


def submit(
    kube: Kube, place: Place, given: Sequence[Case], directory: Path, *, source: str = CONTROL_PLANE
) -> dict[str, Outcome]:
    """Run the cases inside the cluster's network, several at a time; outcomes by name of the case.

    ``source`` is the machine whose address the clients have.
    """
    told = json.dumps([_told(place, case, directory) for case in given])
    program = [sys.executable, "-m", "tests.conformance.drive"]
    found = run_inside(kube, program, said=told, source=source, timeout_s=_TIMEOUT_S)
    outcomes = [Outcome(**fields) for fields in json.loads(found)]
    return {outcome.name: outcome for outcome in outcomes}


def _told(place: Place, case: Case, directory: Path) -> dict[str, object]:
    message = directory / f"{case.letter.id}.eml"
    content = case.letter.content
    message.write_bytes(content.removesuffix(b"\r\n") if case.client.adds_line_end else content)
    submission = Submission(
        host=place.host,
        port=case.port,
        security=PORTS[case.port],
        ca=str(place.other_ca if case.feature is Feature.VERIFICATION else place.ca),
        sender=case.letter.sender,
        recipients=(case.letter.recipient,),
        message=str(message),
        feature=case.feature,
        user=case.user,
        password=PASSWORD if case.user else "",
        mechanism=case.mechanism,
    )
    return {"name": case.name, "client": case.client.name, "submission": asdict(submission)}


def attempts(given: Sequence[Case], outcomes: dict[str, Outcome], host: str) -> list[Attempt]:
    """What the accounting is to compare with what arrived."""
    return [
        case.letter.attempt(taken=outcomes[case.name].taken, target=f"{host}:{case.port}") for case in given
    ]


def wrong(case: Case, outcome: Outcome) -> str:
    """What is not as the table says; empty if all is well. Whether the message arrived is the accounting's to say."""
    if case.feature is Feature.VERIFICATION:
        return "it took a certificate that another CA has made" if outcome.taken else ""
    if not outcome.taken:
        return f"not acknowledged: {outcome.said}"
    if outcome.used is None:
        return ""
    claimed = case.feature not in case.client.lacks
    if outcome.used is claimed:
        return ""
    return "the extension was not used" if claimed else "the extension was used although the table denies it"


def render() -> str:
    """The table in Markdown."""
    titles = [client.title for client in CLIENTS]
    rows = [f"| | {' | '.join(titles)} |", f"| --- |{' --- |' * len(titles)}"]
    notes: list[str] = []
    for feature in Feature:
        cells = []
        for client in CLIENTS:
            why = client.lacks.get(feature)
            if why is not None and why not in notes:
                notes.append(why)
            cells.append(OFFERED if why is None else f"no {_superscript(notes.index(why) + 1)}")
        rows.append(f"| {feature} | {' | '.join(cells)} |")
    listed = [f"{_superscript(number)} {why}" for number, why in enumerate(notes, 1)]
    return "\n".join([*rows, "", ";\n".join(listed) + ".", ""])


def _superscript(number: int) -> str:
    return "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] for digit in str(number))


if __name__ == "__main__":
    sys.stdout.write(render())
