"""DKIM on a real cluster: keys of both kinds and algorithms, a rotation and a dead signer under load.

Signatures are verified by dkimpy, which has nothing in common with the signer, with the pool's status as its DNS.
"""

import base64
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import uuid4

import dkim
import pytest

from mailcheck.checker import check
from mailcheck.message import split_content
from mailcheck.model import Attempt
from scenario.accounts import of_this_run
from scenario.cluster import Local
from scenario.kube import Object, wait_until
from scenario.load import ROOT, Shape, Step, run
from scenario.stage import Stage
from smtpfleet.api.dkim import KeyAlgorithm
from smtpfleet.controller.dkimkeys import current_key
from tests.cluster import relays

LIVE_S = 90
RATE, COUNT = 25, 250
SECRET = "brought"
# mailcheck's generator writes From: sender@example.com.
BROUGHT = {"domain": "example.com", "selector": "s1", "secretName": SECRET}
MADE = {"domain": "example.com", "selector": "e1", "algorithm": "Ed25519"}
OTHER = {"domain": "made.example", "selector": "s1"}


@pytest.fixture(scope="module")
def stage(local: Local) -> Iterator[Stage]:
    namespace = f"dkim-{uuid4().hex[:6]}"
    with Stage(kube=local.kube, namespace=namespace, sink_image=local.images["sink"]) as stage:
        _store(stage, SECRET)
        _list(stage, BROUGHT, MADE, OTHER)
        stage.wait_ready()
        _published(stage, BROUGHT, MADE, OTHER)
        yield stage


@pytest.fixture(scope="module")
def earlier() -> list[Attempt]:
    """What earlier tests of this module handed in on the same stage."""
    return []


@dataclass(frozen=True)
class Records:
    """What the status wants to be published, as a DNS."""

    values: dict[str, str]

    def __call__(self, name: bytes, timeout: float = 5) -> bytes | None:
        found = self.values.get(name.decode().rstrip("."))
        return found.encode() if found else None


def _store(stage: Stage, name: str) -> None:
    pem = current_key(None, algorithm=KeyAlgorithm.RSA)
    stage.kube.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": stage.namespace},
            "data": {"s1.private": base64.b64encode(pem).decode()},
        }
    )


def _list(stage: Stage, *keys: dict[str, str]) -> None:
    stage.apply_pool(replicas=2, balancing={"replicas": 1}, dkim=list(keys))


def _status(stage: Stage) -> Object:
    found: Object = stage.kube.get("smtppool", "outbound", "-n", stage.namespace).get("status", {})
    return found


def _published(stage: Stage, *keys: dict[str, str], signing: Sequence[str] = ()) -> Records:
    """Wait until the status has these keys' records, and these selectors sign; return all of them."""
    seen: Object = {}

    def look() -> str:
        nonlocal seen
        seen = _status(stage)
        entries = seen.get("dkim", [])
        if [(e["domain"], e["selector"]) for e in entries] != [(k["domain"], k["selector"]) for k in keys]:
            return f"the status has {entries}"
        if not all(entry["record"] for entry in entries):
            return f"records lack: {entries}"
        off = [e["selector"] for e in entries if e["selector"] in signing and not e["signing"]]
        return f"{off} do not sign" if off else ""

    wait_until(look, timeout_s=LIVE_S)
    return Records({entry["recordName"]: entry["record"] for entry in seen["dkim"]})


def _condition(stage: Stage, status: str, reason: str, words: str) -> None:
    """Wait until SigningReady says so."""
    found: Object = {}

    def look() -> str:
        nonlocal found
        found = next(c for c in _status(stage)["conditions"] if c["type"] == "SigningReady")
        told = (found["status"], found["reason"]) == (status, reason) and words in found["message"]
        return "" if told else f"it is {found}"

    wait_until(look, timeout_s=LIVE_S)


def _signers(content: bytes, records: Records) -> list[str]:
    """Selectors of the signatures, all of which must verify."""
    header, _ = split_content(content)
    count = header.lower().count(b"\r\ndkim-signature:") + header.lower().startswith(b"dkim-signature:")
    selectors = []
    for index in range(count):
        verifier = dkim.DKIM(content)
        assert verifier.verify(idx=index, dnsfunc=records), f"signature {index} of {content.decode()}"
        selectors.append(verifier.selector.decode())
    return sorted(selectors)


def _send(stage: Stage, sender: str, subject: str, body: str = "Hello\r\n") -> None:
    """One message by Python's smtplib, from inside the cluster's network."""
    code = (
        "import smtplib,sys\n"
        "client = smtplib.SMTP(sys.argv[1], 25, timeout=20)\n"
        "client.sendmail('bounces@bounces.example', ['r@example.net'], sys.stdin.buffer.read())\n"
    )
    header = f"From: A B <{sender}>\r\nTo: r@example.net\r\nSubject: {subject}\r\n"
    message = f"{header}Message-ID: <{subject}@x>\r\n\r\n{body}"
    subprocess.run(
        stage.kube.inside([sys.executable, "-c", code, stage.address()]),
        cwd=ROOT, input=message.encode(), check=True, timeout=60,
    )  # fmt: skip


def _contents(stage: Stage) -> list[bytes]:
    return [message.content for message in stage.kept()]


def _arrived(stage: Stage, subject: str) -> bytes:
    """Wait for the message with this subject."""
    found: list[bytes] = []

    def look() -> str:
        found[:] = [content for content in _contents(stage) if f"Subject: {subject}".encode() in content]
        return "" if found else "it has not arrived"

    wait_until(look, timeout_s=30)
    assert len(found) == 1
    return found[0]


def _load(stage: Stage, earlier: list[Attempt], steps: Sequence[Step]) -> tuple[list[Attempt], list[bytes]]:
    """Hand in under load, account for it, and return attempts and the messages that arrived."""
    attempts, _ = run(
        stage.kube, Shape(target=f"{stage.address()}:25", rate=RATE, count=COUNT, size_bytes=2048), steps
    )
    arrivals = of_this_run(stage.wait_drained(attempts), earlier)
    earlier.extend(attempts)
    verdict = check(attempts, arrivals)
    assert not verdict.lost, verdict
    ids = {attempt.id.encode() for attempt in attempts}
    contents = [content for content in _contents(stage) if _id(content) in ids]
    assert len(contents) >= sum(attempt.acknowledged for attempt in attempts)
    return attempts, contents


def _id(content: bytes) -> bytes:
    header, _ = split_content(content)
    line = next((line for line in header.split(b"\r\n") if line.lower().startswith(b"message-id:")), b"")
    return line.partition(b":")[2].strip(b" <>")


def test_a_key_of_a_secret_and_one_of_the_operators_sign_and_other_domains_are_left_alone(
    stage: Stage,
) -> None:
    records = _published(stage, BROUGHT, MADE, OTHER)
    _send(stage, "a@example.com", "both")
    _send(stage, "a@made.example", "made")
    _send(stage, "a@unlisted.example", "unlisted")
    _send(stage, "a@sub.example.com", "subdomain")
    _send(stage, "a@EXAMPLE.com", "capitals", "räksmörgås . \r\n\r\n  two  spaces \r\n\r\n")
    assert _signers(_arrived(stage, "both"), records) == ["e1", "s1"]
    assert _signers(_arrived(stage, "capitals"), records) == ["e1", "s1"]
    assert _signers(_arrived(stage, "made"), records) == ["s1"]
    assert _signers(_arrived(stage, "unlisted"), records) == []
    assert _signers(_arrived(stage, "subdomain"), records) == []
    _condition(stage, "True", "SigningReady", "3 keys")


def test_the_plugin_prints_what_dns_has_to_say(stage: Stage, local: Local) -> None:
    records = _published(stage, BROUGHT, MADE, OTHER)
    command = [sys.executable, "-m", "smtpfleet.cli", "dns", "outbound", "-n", stage.namespace]
    environment = {**local.kube.environment, "PYTHONPATH": str(ROOT / "operator")}
    zone = subprocess.run(command, env=environment, text=True, capture_output=True, check=True).stdout
    for name, value in records.values.items():
        assert f"{name}. IN TXT ( " in zone
        assert value in zone.replace('" "', "")


def test_a_rotation_under_load_fails_nothing_and_every_message_verifies(
    stage: Stage, earlier: list[Attempt]
) -> None:
    before = {pod.uid for pod in stage.pods("relay")}
    new = {"domain": "example.com", "selector": "s2"}
    both = [BROUGHT, new, MADE, OTHER]
    _list(stage, *both)
    records = _published(stage, *both)

    def rotate() -> float:
        _list(stage, new, BROUGHT, MADE, OTHER)
        return time.time()

    attempts, contents = _load(stage, earlier, [Step(at_s=3, name="rotate", act=rotate)])
    assert {attempt.reason for attempt in attempts if not attempt.acknowledged} == set()
    used = [tuple(_signers(content, records)) for content in contents]
    assert set(used) == {("e1", "s1"), ("e1", "s2")}
    assert {pod.uid for pod in stage.pods("relay")} == before


def test_a_broken_secret_leaves_the_last_good_key_in_use_and_a_new_domain_without_a_key_is_refused(
    stage: Stage,
) -> None:
    keyless = {"domain": "keyless.example", "selector": "s1", "secretName": "none-such"}
    _list(stage, BROUGHT, MADE, OTHER, keyless)
    _condition(stage, "False", "SecretMissing", "keyless.example/s1")
    with pytest.raises(subprocess.CalledProcessError):
        _send(stage, "a@keyless.example", "keyless")
    stage.kube.run("delete", "secret", SECRET, "-n", stage.namespace)
    _list(stage, BROUGHT, MADE, OTHER)
    _condition(stage, "False", "SecretMissing", "the last good key stays in use")
    _send(stage, "a@example.com", "last-good")
    assert "s1" in _signers(_arrived(stage, "last-good"), _published(stage, BROUGHT, MADE, OTHER))


def test_nothing_leaves_unsigned_while_signers_are_killed(stage: Stage, earlier: list[Attempt]) -> None:
    records = _published(stage, BROUGHT, MADE, OTHER)
    killed = 0

    def kill() -> float:
        nonlocal killed
        moment = time.time()
        for pod in stage.pods("relay"):
            killed += relays.signal_program(stage, pod.relay, "opendkim", signal.SIGKILL)
        return moment

    attempts, contents = _load(
        stage, earlier, [Step(at_s=second, name="kill", act=kill) for second in (2, 4, 6)]
    )
    assert killed
    assert sum(attempt.acknowledged for attempt in attempts) > COUNT / 2
    assert {tuple(_signers(content, records)) for content in contents} == {("e1", "s1")}
